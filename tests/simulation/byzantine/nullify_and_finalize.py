"""A validator that signs Z and F of one view: the one pair that could skip a view which others made final.

A3 and A4: no honest one does, so F(v) and Z(v) never both reach a quorum (I3); A14: both together are evidence
(commonware's ``NullifyFinalize``; ava-labs/Simplex #280 did it by accident, on resending).
"""

from __future__ import annotations

from glasslog.agreement.messages import NO_DIGEST, Certificate, Kind, Message, SignedProposal
from simulation.byzantine.behaviour import Byzantine


class NullifyingAndFinalizing(Byzantine):
    """Gives every view up and makes it final, each before a part of the network."""

    def received(self, message: Message) -> None:
        if isinstance(message, SignedProposal):
            self._both(message.proposal.view, message.proposal.digest)
        elif isinstance(message, Certificate) and message.kind is not Kind.NULLIFY:
            self._both(message.view, message.digest)

    def _both(self, view: int, digest: bytes) -> None:
        self.did("nullify and finalize of one view")
        self.tell_some(self.vote(view, Kind.FINALIZE, digest), 0.6)
        self.tell_some(self.vote(view, Kind.NULLIFY, NO_DIGEST), 0.6)
