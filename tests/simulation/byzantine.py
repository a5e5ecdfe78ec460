"""Faulty validators: a real replica, so that they know what is going on, with a will of its own beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from glasslog.agreement.messages import (
    BlockBody,
    Certificate,
    FinalizedRun,
    Kind,
    Message,
    Proposal,
    SignedProposal,
    Vote,
    vote_bytes,
)
from glasslog.errors import AdmissionError
from glasslog.ledger import LedgerState, Place, extend
from simulation.suite import public_key, sign

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.node import Node

FORKS_MAX = 3


class Byzantine:
    """Behaves like an honest validator; subclasses add what is wrong."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self._cluster = cluster
        self._node = node
        self._key = public_key(node.name, "vote")
        self._genesis_hash = cluster.network.membership.genesis_hash
        self._others = [name for name in cluster.nodes if name != node.name]

    def may_send(self, message: Message) -> bool:
        """Judge a message of the replica's before it leaves."""
        return True

    def received(self, message: Message) -> None:
        """See a message before the replica does."""

    def vote(self, view: int, kind: Kind, digest: bytes) -> Vote:
        """Sign whatever it likes."""
        index = self._node.index
        assert index is not None
        signature = sign(self._key, vote_bytes(self._genesis_hash, 1, view, kind, digest))
        return Vote(1, view, kind, digest, index, signature)

    def tell_some(self, message: Message, share: float) -> None:
        """Send to a random part of the network."""
        for name in self._others:
            if self._cluster.random.random() < share:
                self._cluster.send(self._node.name, name, message)


class Silent(Byzantine):
    """Says nothing at all."""

    def may_send(self, message: Message) -> bool:
        return False


class Withholding(Byzantine):
    """Proposes and votes, and gives nobody a block, a certificate or a run."""

    def may_send(self, message: Message) -> bool:
        return not isinstance(message, BlockBody | Certificate | FinalizedRun)


class DoubleVoting(Byzantine):
    """Votes for everything it sees, in all three ways, each to a part of the network."""

    def received(self, message: Message) -> None:
        if isinstance(message, SignedProposal):
            view, digest = message.proposal.view, message.proposal.digest
            for kind in Kind:
                self.tell_some(self.vote(view, kind, b"" if kind is Kind.NULLIFY else digest), 0.7)
        elif isinstance(message, Certificate) and message.kind is Kind.NOTARIZE:
            self.tell_some(self.vote(message.view, Kind.FINALIZE, message.digest), 0.7)
            self.tell_some(self.vote(message.view, Kind.NULLIFY, b""), 0.7)


class Equivocating(Byzantine):
    """As a leader signs several proposals that are each right, and shows each half of the network another."""

    def may_send(self, message: Message) -> bool:
        replica = self._node.replica
        if not isinstance(message, SignedProposal) or message.proposal.view % self._cluster.swarm.validators != (
            self._node.index
        ):
            return True
        own = message.proposal
        parent = replica.branches.parent(own.parent_view, own.parent_digest)
        if parent is None:
            return True
        variants = [message]
        for number in range(1, FORKS_MAX):
            other = self.propose(own, own.parent_view, own.parent_digest, own.time + number, parent.state)
            variants += [other] if other is not None else []
        for name in self._others:
            self._cluster.send(self._node.name, name, self._cluster.random.choice(variants))
        return False

    def propose(
        self, own: Proposal, parent_view: int, parent_digest: bytes, time: int, state: LedgerState
    ) -> SignedProposal | None:
        """Sign a proposal like *own* but on that parent at that time, with its size and root right."""
        replica = self._node.replica
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


class StaleFork(Equivocating):
    """As a leader proposes on old parents, as early as it can, skipping views that were not nullified."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        super().__init__(cluster, node)
        self._led = 0

    def received(self, message: Message) -> None:
        replica = self._node.replica
        if not isinstance(message, Certificate):
            return
        view = message.view + 1
        if view <= self._led or view % self._cluster.swarm.validators != self._node.index:
            return
        self._led = view
        floor, now = replica.branches.floor, replica.now.wall
        own = Proposal(1, view, 0, 0, b"", now, (), 0, b"")
        stale = [(floor.view, floor.digest, floor.time, replica.branches.state)]
        for round_ in replica.tally.rounds.values():
            certificate = round_.parent_certificate
            if certificate is None or round_.view >= view:
                continue
            parent = replica.branches.parent(round_.view, certificate.digest)
            if parent is not None:
                stale.append((parent.view, parent.digest, parent.time, parent.state))
        for parent_view, digest, time, state in stale[-FORKS_MAX:]:
            forged = self.propose(own, parent_view, digest, max(time + 1, now), state)
            if forged is not None:
                self.tell_some(forged, 0.8)


class Everything(DoubleVoting, StaleFork):
    """All of it at once."""

    def received(self, message: Message) -> None:
        DoubleVoting.received(self, message)
        StaleFork.received(self, message)


_BEHAVIOURS: dict[str, type[Byzantine]] = {
    "silent": Silent,
    "withholding": Withholding,
    "double-voting": DoubleVoting,
    "equivocating": Equivocating,
    "stale-fork": StaleFork,
    "everything": Everything,
}


def make_byzantine(behaviour: str, cluster: Cluster, node: Node) -> Byzantine:
    """Return the behaviour of this name."""
    return _BEHAVIOURS[behaviour](cluster, node)
