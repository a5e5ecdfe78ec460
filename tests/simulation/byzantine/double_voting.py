"""A validator that votes for two things of one kind in one view, each before another part of the network.

A1: no honest one does; A15: two quorums share an honest validator, so at most one digest is certified; A14: whoever
sees both votes has evidence, double N or double F.
"""

from __future__ import annotations

from hashlib import sha256

from glasslog.agreement.messages import Certificate, Kind, Message, SignedProposal
from simulation.byzantine.behaviour import Byzantine


class DoubleVoting(Byzantine):
    """Votes for everything it sees, and for what nobody proposed."""

    def received(self, message: Message) -> None:
        if isinstance(message, SignedProposal):
            view, digest = message.proposal.view, message.proposal.digest
            for kind in (Kind.NOTARIZE, Kind.FINALIZE):
                self._twice(view, kind, digest)
        elif isinstance(message, Certificate) and message.kind is Kind.NOTARIZE:
            self._twice(message.view, Kind.FINALIZE, message.digest)

    def _twice(self, view: int, kind: Kind, digest: bytes) -> None:
        self.did(f"double voter: two {kind.name.lower()} votes in a view")
        self.tell_some(self.vote(view, kind, digest), 0.7)
        self.tell_some(self.vote(view, kind, sha256(digest).digest()), 0.3)
