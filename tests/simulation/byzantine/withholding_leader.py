"""A leader that names a block of its own which nobody else has, and shows the proposal to a few.

A2: who lacks the proposal or a block does not notarize; A6: the view ends by its timer; A9: an author whose missing
block cost a view goes to the back; P3: a proposal that was notarized all the same is asked for from its signers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from glasslog.agreement.messages import BlockBody, Message, SignedProposal
from glasslog.block import Ref
from simulation.byzantine.equivocating import Equivocating
from simulation.suite import make_entries

SHOWN = 0.6


class WithholdingLeader(Equivocating):
    """Leads where nobody can follow."""

    _own: Ref | None = None

    def start(self) -> None:
        self._own = self.seal(make_entries(self.node.member, 0, 1)).ref

    def recipients(self, message: Message, peers: Sequence[str]) -> Iterable[str]:
        if isinstance(message, BlockBody):
            self.did("withholding leader: bodies kept back")
            return ()
        if not isinstance(message, SignedProposal) or not self.is_own_proposal(message):
            return peers
        self.tell_some(self._naming_own(message), SHOWN)
        return ()

    def _naming_own(self, message: SignedProposal) -> SignedProposal:
        own = message.proposal
        parent = self.node.replica.branches.parent(own.parent_view, own.parent_digest)
        if parent is None or self._own is None:
            return message
        others = [ref for ref in own.advance if ref.author != self._own.author]
        advance = tuple(sorted([*others, self._own], key=lambda ref: ref.author))
        forged = self.propose(
            replace(own, advance=advance), own.parent_view, own.parent_digest, own.time, parent.state
        )  # fmt: skip
        if forged is None or self._own not in forged.proposal.advance:
            return message
        self.did("withholding leader: proposals with a block that nobody has")
        return forged
