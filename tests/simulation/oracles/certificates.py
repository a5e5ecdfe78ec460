"""Certificates: q distinct validators' true signatures, no two quorums for what excludes each other (A15, I1-I3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from glasslog.agreement.messages import Certificate, Kind
from simulation.oracles.violation import Violation
from simulation.oracles.witness import Witness, is_signed


class Certificates:
    """Every certificate that an honest member kept or sent."""

    def __init__(self, genesis_hash: bytes, quorum: int, voters: Sequence[Witness], honest: set[str]) -> None:
        self._genesis_hash = genesis_hash
        self._quorum = quorum
        self._voters = voters
        self._honest = honest
        self._certified: dict[tuple[int, Kind], bytes] = {}
        self._judged: dict[int, Certificate] = {}  # by id, and kept, so that no id is used again

    def digest(self, view: int, kind: Kind) -> bytes | None:
        """What is certified; None: nothing of this kind in this view."""
        return self._certified.get((view, kind))

    def finals(self) -> Iterator[tuple[int, bytes]]:
        """Every finalize certificate's view and digest."""
        return ((view, digest) for (view, kind), digest in self._certified.items() if kind is Kind.FINALIZE)

    def judge(self, certificate: Certificate) -> None:
        """Judge one certificate, the first time it is seen."""
        if id(certificate) in self._judged:
            return
        view, kind, digest = certificate.view, certificate.kind, certificate.digest
        signers = certificate.signers
        what = f"{kind.name} certificate of view {view}"
        if len(set(signers)) != len(signers) or len(signers) < self._quorum or max(signers) >= len(self._voters):
            raise Violation(f"A15 {what} by {signers}")
        if certificate.epoch != 1 or (digest == b"") != (kind is Kind.NULLIFY):
            raise Violation(f"A16 {what}: epoch {certificate.epoch}, a digest of {len(digest)} bytes")
        for signer, signature in zip(signers, certificate.signatures, strict=True):
            witness = self._voters[signer]
            if witness.name in self._honest and (view, kind, digest) not in witness.votes:
                raise Violation(f"A8 {witness.name} is in the {what}: never durable")
            if not is_signed(self._genesis_hash, witness.name, (view, kind, digest), signature):
                raise Violation(f"A15 {witness.name} is in the {what}, which it did not sign")
        if self._certified.setdefault((view, kind), digest) != digest:
            raise Violation(f"A15 two {kind.name} certificates in view {view}")
        final, noted = self.digest(view, Kind.FINALIZE), self.digest(view, Kind.NOTARIZE)
        if final is not None and self.digest(view, Kind.NULLIFY) is not None:
            raise Violation(f"A15 view {view} is both nullified and finalized")
        if final is not None and noted is not None and final != noted:
            raise Violation(f"A15 view {view}: notarized and finalized proposals differ")
        self._judged[id(certificate)] = certificate
