"""Votes and certificates of every view above the floor, each verified before it counts (agreement.md, A14, A15)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from glasslog.agreement.evidence import Evidence, fault_of, of_votes
from glasslog.agreement.messages import Certificate, Kind, Vote, vote_bytes
from glasslog.agreement.view import Round, make_certificate
from glasslog.errors import AdmissionError, SignatureError
from glasslog.identity import Verify
from glasslog.membership import Membership

VIEWS_AHEAD_MAX = 128  # single votes further ahead are not kept; a certificate always is


class Tally:
    """The rounds above the floor."""

    def __init__(self, membership: Membership, verify: Verify, floor_view: int) -> None:
        self._membership = membership
        self._verify = verify
        self.floor_view = floor_view
        self.rounds: dict[int, Round] = {}

    def round(self, view: int) -> Round:
        """Return the round of a view above the floor."""
        assert view > self.floor_view, "nothing is decided at or below the floor (A5)"
        found = self.rounds.get(view)
        if found is None:
            found = self.rounds[view] = Round(view)
        return found

    @property
    def highest_left(self) -> int:
        """The highest view that a certificate lets replicas leave; the floor when there is none (A6)."""
        return max((view for view, round_ in self.rounds.items() if round_.is_left), default=self.floor_view)

    def finals(self) -> Iterator[bytes]:
        """Yield what has a finalize certificate above the floor, the highest view first."""
        for _, round_ in sorted(self.rounds.items(), reverse=True):
            if Kind.FINALIZE in round_.certificates:
                yield round_.certificates[Kind.FINALIZE].digest

    def prune(self, floor_view: int) -> None:
        """Forget everything at or below a new floor: no rule will ever look there again (A5)."""
        self.floor_view = floor_view
        self.rounds = {view: round_ for view, round_ in self.rounds.items() if view > floor_view}

    # --- votes ------------------------------------------------------------------------------------

    def is_relevant(self, vote: Vote, view: int) -> bool:
        """Say whether a vote is of this epoch, above the floor and not absurdly far ahead of *view*."""
        return vote.epoch == self._membership.epoch and self.floor_view < vote.view <= view + VIEWS_AHEAD_MAX

    def verify_vote(self, vote: Vote) -> None:
        """Check a vote's signature.

        Raises:
            SignatureError: it is not by the validator it names.
        """
        if vote.voter >= len(self._membership.validators):
            raise SignatureError("VOTE-01", f"no validator {vote.voter}")
        message = vote_bytes(self._membership.genesis_hash, vote.epoch, vote.view, vote.kind, vote.digest)
        if not self._verify(self._membership.vote_key(vote.voter), message, vote.signature):
            name = self._membership.validators[vote.voter].name
            raise SignatureError("VOTE-02", f"{name} did not sign this {vote.kind.name.lower()} vote")

    def is_known(self, vote: Vote) -> bool:
        """Say whether this very vote is counted already: most repeats end here, before any signature check."""
        found = self.rounds.get(vote.view)
        return found is not None and found.votes[vote.kind].get(vote.voter) == vote

    def add_vote(self, vote: Vote) -> tuple[Certificate | None, Evidence | None]:
        """Count a verified vote; return the certificate it completes and the evidence it makes, if any."""
        round_ = self.round(vote.view)
        evidence = self._find_evidence(round_, vote)
        if round_.votes[vote.kind][vote.voter].digest != vote.digest or vote.kind in round_.certificates:
            return None, evidence
        votes = round_.count(vote.kind, vote.digest)
        quorum = self._membership.quorum
        if len(votes) < quorum:
            return None, evidence
        return make_certificate(vote.epoch, vote.view, vote.kind, vote.digest, votes, quorum), evidence

    def _find_evidence(self, round_: Round, vote: Vote) -> Evidence | None:
        other = round_.add_vote(vote) or round_.contradicting(vote)
        fault = None if other is None else fault_of(other, vote)
        if other is None or fault is None:
            return None
        return of_votes(fault, self._membership.validators[vote.voter].name, other, vote)

    # --- certificates -----------------------------------------------------------------------------

    def verify_certificate(self, certificate: Certificate) -> None:
        """Check that a quorum of distinct validators signed.

        Raises:
            AdmissionError: too few signers.
            SignatureError: a signature does not verify.
        """
        if len(certificate.signers) < self._membership.quorum:
            raise AdmissionError("CERT-01", f"{len(certificate.signers)} signers, {self._membership.quorum} needed")
        for vote in votes_of(certificate):
            if not self.is_known(vote):
                self.verify_vote(vote)

    def add_certificate(self, certificate: Certificate) -> tuple[bool, str | None]:
        """Keep a verified certificate; return whether it is new, and what it contradicts, if anything."""
        round_ = self.round(certificate.view)
        known = round_.certificates.get(certificate.kind)
        if known is not None:
            clash = known.digest != certificate.digest
            return False, f"two {certificate.kind.name.lower()} certificates" if clash else None
        round_.certificates[certificate.kind] = certificate
        return True, _contradiction(round_.certificates)

    def evidence_in(self, certificate: Certificate) -> list[Evidence]:
        """Return the evidence that a certificate's votes make against votes known here."""
        round_ = self.rounds.get(certificate.view)
        if round_ is None:
            return []
        found = (self._find_evidence(round_, vote) for vote in votes_of(certificate))
        return [evidence for evidence in found if evidence is not None]


def _contradiction(certificates: Mapping[Kind, Certificate]) -> str | None:
    notarize, finalize = certificates.get(Kind.NOTARIZE), certificates.get(Kind.FINALIZE)
    if finalize is not None and Kind.NULLIFY in certificates:
        return "a nullify and a finalize certificate"
    if finalize is not None and notarize is not None and finalize.digest != notarize.digest:
        return "a notarize and a finalize certificate of different proposals"
    return None


def votes_of(certificate: Certificate) -> Iterable[Vote]:
    """Yield the votes a certificate is made of."""
    for voter, signature in zip(certificate.signers, certificate.signatures, strict=True):
        yield Vote(certificate.epoch, certificate.view, certificate.kind, certificate.digest, voter, signature)
