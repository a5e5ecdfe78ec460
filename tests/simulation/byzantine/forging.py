"""A validator that forges certificates and the messages that carry them.

A15: a certificate is q distinct validators' true signatures of one thing; A16: a signature binds network, epoch, view,
kind and digest; wire.md W4: signers ascend strictly, so that none counts twice; A18: a run is believed by its
certificate alone; A10: answers to a recovering member prove what they say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

from glasslog.agreement.messages import (
    Certificate,
    Cosignature,
    FinalizedRun,
    Kind,
    Message,
    Proposal,
    RecoveryReply,
    SignedProposal,
    Vote,
)
from simulation.byzantine.behaviour import Byzantine
from simulation.suite import PQ_BYTES

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.node import Node

SHARE = 0.15  # of the messages it sees that it answers with a forgery
NONSENSE = b"\x5a" * 64

Claim = tuple[int, Kind, bytes]


class Forging(Byzantine):
    """Forges what honest members would need a quorum for."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        super().__init__(cluster, node)
        self._signed: dict[Claim, dict[int, bytes]] = defaultdict(dict)  # true signatures, as they were seen

    def received(self, message: Message) -> None:
        match message:
            case Vote():
                self._signed[message.view, message.kind, message.digest][message.voter] = message.signature
            case SignedProposal(proposal, signature):
                leader = proposal.view % self.cluster.swarm.validators
                self._signed[proposal.view, Kind.NOTARIZE, proposal.digest][leader] = signature
            case Certificate():
                claim = message.view, message.kind, message.digest
                self._signed[claim].update(zip(message.signers, message.signatures, strict=True))
            case _:
                return
        if self.chance(SHARE):
            self._forge()

    def _forge(self) -> None:
        forgeries: dict[str, Callable[[int, Kind, bytes], Certificate]] = {
            "wrong signatures": self._unsigned,
            "too few signers": self._too_few,
            "repeated signers": self._repeated,
            "a foreign epoch": self._foreign_epoch,
            "mixed claims": self._mixed,
            "unknown signers": self._unknown,
        }
        view = self.node.replica.view + self.cluster.random.choice((-1, 0, 0, 1))
        kind = self.cluster.random.choice(list(Kind))
        proposal = self._impossible(view)
        digest = b"" if kind is Kind.NULLIFY else proposal.digest
        flaw = self.cluster.random.choice(list(forgeries))
        certificate = forgeries[flaw](max(view, 1), kind, digest)
        wrapped: tuple[Message, ...] = (
            certificate,
            FinalizedRun((proposal,), certificate),
            RecoveryReply(b"\0" * 16, certificate, certificate, 1 << 40, None),
        )
        self.tell_bytes(self.cluster.random.choice(wrapped), f"forging: certificates with {flaw}", 0.5)
        if self.chance(0.2):
            self._impersonate(view, proposal)

    def _impossible(self, view: int) -> Proposal:
        """A proposal that is right in all but that nobody made it: empty, on what is final."""
        floor, state = self.node.replica.branches.floor, self.node.replica.branches.state
        root = sha256(b"%d" % view).digest()
        return Proposal(
            1, max(view, 1), floor.height + 1, floor.view, floor.digest, floor.time + 1, (), state.size, root
        )

    def _impersonate(self, view: int, proposal: Proposal) -> None:
        """A proposal, a vote and a cosignature under another's name."""
        other = (self.index + 1) % self.cluster.swarm.validators
        self.tell_bytes(SignedProposal(proposal, NONSENSE), "forging: proposals of others", 0.5)
        vote = Vote(1, max(view, 1), Kind.FINALIZE, proposal.digest, other, NONSENSE)
        self.tell_bytes(vote, "forging: votes of others", 0.5)
        cosignature = Cosignature(proposal.size, proposal.root, 1, NONSENSE, NONSENSE, b"\0" * PQ_BYTES, other)
        self.tell_bytes(cosignature, "forging: cosignatures of others", 0.5)

    # --- certificates, each with one flaw ---------------------------------------------------------

    @property
    def _quorum(self) -> int:
        return self.cluster.swarm.validators - self.cluster.swarm.faults

    def _unsigned(self, view: int, kind: Kind, digest: bytes) -> Certificate:
        """All but the forger's own are nonsense."""
        signers = sorted(self.cluster.random.sample(range(self.cluster.swarm.validators), self._quorum))
        own = self.vote(view, kind, digest).signature
        signatures = tuple(own if signer == self.index else NONSENSE for signer in signers)
        return Certificate(1, view, kind, digest, tuple(signers), signatures)

    def _too_few(self, view: int, kind: Kind, digest: bytes) -> Certificate:
        """True signatures, one short of a quorum."""
        fewest = [claim for claim, signed in self._signed.items() if signed]
        view, kind, digest = self.cluster.random.choice(fewest[-8:])
        signed = sorted(self._signed[view, kind, digest].items())[: self._quorum - 1]
        return Certificate(
            1, view, kind, digest, tuple(signer for signer, _ in signed), tuple(line for _, line in signed)
        )

    def _repeated(self, view: int, kind: Kind, digest: bytes) -> Certificate:
        """Its own true signature as often as a quorum needs."""
        own = self.vote(view, kind, digest).signature
        return Certificate(1, view, kind, digest, (self.index,) * self._quorum, (own,) * self._quorum)

    def _foreign_epoch(self, view: int, kind: Kind, digest: bytes) -> Certificate:
        """True signatures under an epoch that has not begun."""
        view, kind, digest = self.cluster.random.choice(list(self._signed)[-8:])
        signed = sorted(self._signed[view, kind, digest].items())
        return Certificate(
            2, view, kind, digest, tuple(signer for signer, _ in signed), tuple(line for _, line in signed)
        )

    def _mixed(self, view: int, kind: Kind, digest: bytes) -> Certificate:
        """True signatures of the view, of other kinds and digests."""
        signed = {self.index: self.vote(view, kind, digest).signature}
        for (signed_view, _, _), lines in self._signed.items():
            if signed_view == view:
                signed = {**lines, **signed}
        for signer in range(self._quorum):
            signed.setdefault(signer, NONSENSE)
        chosen = sorted(signed.items())[: self._quorum]
        return Certificate(
            1, view, kind, digest, tuple(signer for signer, _ in chosen), tuple(line for _, line in chosen)
        )

    def _unknown(self, view: int, kind: Kind, digest: bytes) -> Certificate:
        """Signers that no membership has."""
        count = self.cluster.swarm.validators
        signers = tuple(range(count, count + self._quorum))
        return Certificate(1, view, kind, digest, signers, (NONSENSE,) * self._quorum)
