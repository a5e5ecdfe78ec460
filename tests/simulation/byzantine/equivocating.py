"""A leader that signs several proposals of one view, each right in itself, and shows each member another.

A1 and A15: honest validators notarize one each, so at most one is certified; A14: two proposals under one
signature are a double N.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from glasslog.agreement.messages import Kind, Message, Proposal, SignedProposal
from glasslog.errors import AdmissionError
from glasslog.ledger import LedgerState, Place, extend
from simulation.byzantine.behaviour import Byzantine

VARIANTS = 3


class Equivocating(Byzantine):
    """Leads everybody, each somewhere else."""

    def recipients(self, message: Message, peers: Sequence[str]) -> Iterable[str]:
        if not isinstance(message, SignedProposal) or not self.is_own_proposal(message):
            return peers
        own = message.proposal
        parent = self.node.replica.branches.parent(own.parent_view, own.parent_digest)
        if parent is None:
            return peers
        variants = [message]
        for number in range(1, VARIANTS):
            other = self.propose(own, own.parent_view, own.parent_digest, own.time + number, parent.state)
            variants += [other] if other is not None else []
        self.did("equivocating leader: several proposals in a view")
        for name in self.others:
            self.tell(name, self.cluster.random.choice(variants))
        return ()

    def propose(
        self, own: Proposal, parent_view: int, parent_digest: bytes, time: int, state: LedgerState
    ) -> SignedProposal | None:
        """Sign a proposal like *own* but on that parent at that time, with its size and root right."""
        replica = self.node.replica
        place = Place(state.height + 1, own.view, own.epoch, time)
        try:
            plan = extend(state, replica.membership, place, own.advance, replica.shelf.chain_of)
        except AdmissionError:
            plan = extend(state, replica.membership, place, (), replica.shelf.chain_of)
            own = replace(own, advance=())
        if plan is None:
            return None
        forged = Proposal(
            own.epoch, own.view, place.height, parent_view, parent_digest, time, own.advance,
            plan.state.size, plan.state.root,
        )  # fmt: skip
        return SignedProposal(forged, self.vote(own.view, Kind.NOTARIZE, forged.digest).signature)
