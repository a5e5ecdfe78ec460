"""One view's votes, certificates and proposals, and the only place that decides what may be signed in it.

Every rule on one's own votes lives in ``Round.may_*`` (specs/agreement.md, A1, A3, A4), judged on the durable
own votes alone, so that a rebroadcast or a restart can never sign what a first pass would not have (P1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from glasslog.agreement.messages import Certificate, Kind, SignedProposal, Vote


@dataclass(slots=True)
class Round:
    """What is known of one view above the finalized floor."""

    view: int
    own: dict[Kind, Vote] = field(default_factory=dict[Kind, Vote])
    votes: dict[Kind, dict[int, Vote]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    certificates: dict[Kind, Certificate] = field(default_factory=dict[Kind, Certificate])
    proposals: list[SignedProposal] = field(default_factory=list[SignedProposal])
    refused: set[bytes] = field(default_factory=set[bytes])
    expired: bool = False

    def may_notarize(self, digest: bytes) -> bool:
        """A1: one notarize digest per view; A2: none after an own nullify."""
        if Kind.NULLIFY in self.own:
            return False
        own = self.own.get(Kind.NOTARIZE)
        return own is None or own.digest == digest

    def may_finalize(self) -> bool:
        """A3: with the notarize certificate in hand and no own nullify."""
        return Kind.NOTARIZE in self.certificates and Kind.NULLIFY not in self.own

    def may_nullify(self) -> bool:
        """A4: never after an own finalize."""
        return Kind.FINALIZE not in self.own

    def add_vote(self, vote: Vote) -> Vote | None:
        """Count a verified vote; return the voter's earlier vote of this kind when it was for another digest.

        The first vote stands: counting the second would let one faulty key help two quorums.
        """
        first = self.votes[vote.kind].setdefault(vote.voter, vote)
        return first if first.digest != vote.digest else None

    def contradicting(self, vote: Vote) -> Vote | None:
        """Return the same voter's nullify to this finalize, or finalize to this nullify (A14)."""
        other = {Kind.NULLIFY: Kind.FINALIZE, Kind.FINALIZE: Kind.NULLIFY}.get(vote.kind)
        return None if other is None else self.votes[other].get(vote.voter)

    def count(self, kind: Kind, digest: bytes) -> dict[int, Vote]:
        """Return the votes of this kind for this digest, by voter."""
        return {voter: vote for voter, vote in self.votes[kind].items() if vote.digest == digest}

    @property
    def parent_certificate(self) -> Certificate | None:
        """The certificate that lets a child name this view's proposal as its parent (A2)."""
        return self.certificates.get(Kind.FINALIZE) or self.certificates.get(Kind.NOTARIZE)

    @property
    def is_unfinished(self) -> bool:
        """A12: notarized and not final, or voted for by oneself; a nullified view's own vote asks for nothing more."""
        is_open = Kind.NOTARIZE in self.own and Kind.NULLIFY not in self.certificates
        return is_open or Kind.NOTARIZE in self.certificates

    def to_resend(self) -> list[SignedProposal | Certificate | Vote]:
        """Return the proposals certified or voted for, the certificates and the own votes of this view (A7)."""
        wanted = {certificate.digest for certificate in self.certificates.values()}
        wanted |= {vote.digest for vote in self.own.values()}
        proposals = [signed for signed in self.proposals if signed.proposal.digest in wanted]
        return [*proposals, *self.certificates.values(), *(vote for _, vote in sorted(self.own.items()))]

    @property
    def is_left(self) -> bool:
        """Whether any certificate lets replicas leave this view (A6)."""
        return bool(self.certificates)


def make_certificate(
    epoch: int, view: int, kind: Kind, digest: bytes, votes: dict[int, Vote], quorum: int
) -> Certificate:
    """Return the certificate of the *quorum* lowest-indexed voters: deterministic, and no larger than needed."""
    signers = tuple(sorted(votes)[:quorum])
    return Certificate(epoch, view, kind, digest, signers, tuple(votes[voter].signature for voter in signers))
