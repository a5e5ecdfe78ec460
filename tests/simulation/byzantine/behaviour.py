"""What every faulty validator has: a real replica, so that it knows what is going on, and a will of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from glasslog.agreement.effects import Received
from glasslog.agreement.messages import (
    BlockBody,
    Kind,
    Message,
    SignedProposal,
    Vote,
    decode_message,
    encode_message,
    vote_bytes,
)
from glasslog.block import Block
from glasslog.errors import DecodeError
from simulation.suite import public_key, seal_block, sign

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.node import Node


class Byzantine:
    """Behaves like an honest validator; subclasses add what is wrong. What they do is counted in ``cluster.deeds``."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        assert node.index is not None
        self.cluster = cluster
        self.node = node
        self.index = node.index
        self.genesis_hash = cluster.network.membership.genesis_hash
        self.others = [name for name in cluster.network.names if name not in (node.member, "forker")]
        self._tip = (0, self.genesis_hash, 0)

    # --- what subclasses change -------------------------------------------------------------------

    def start(self) -> None:
        """Begin: for what comes with time."""

    def reaches(self, peer: str) -> bool:
        """Tell whether anything passes between this seat and a member now, either way."""
        return True

    def recipients(self, message: Message, peers: Sequence[str]) -> Iterable[str]:
        """Judge a message of the replica's before it leaves; return who gets it."""
        return peers

    def received(self, message: Message) -> None:
        """See a message before the replica does."""

    # --- what they do it with ---------------------------------------------------------------------

    def did(self, what: str) -> None:
        self.cluster.deeds[what] += 1

    def chance(self, share: float) -> bool:
        return self.cluster.random.random() < share

    def again(self, least: int, most: int) -> None:
        """Come back to ``act`` after a while, as long as the run lasts."""
        self.cluster.later(self.cluster.random.randint(least, most), self.act)

    def act(self) -> None:
        """Do what comes with time."""

    def leads(self, view: int) -> bool:
        return view % self.cluster.swarm.validators == self.index

    def is_own_proposal(self, message: Message) -> bool:
        return isinstance(message, SignedProposal) and self.leads(message.proposal.view)

    def vote(self, view: int, kind: Kind, digest: bytes) -> Vote:
        """Sign whatever it likes."""
        message = vote_bytes(self.genesis_hash, 1, view, kind, digest)
        return Vote(1, view, kind, digest, self.index, sign(public_key(self.node.member, "vote"), message))

    def tell(self, peer: str, message: Message) -> None:
        self.cluster.send(self.node.name, peer, message)

    def tell_some(self, message: Message, share: float) -> None:
        """Send to a random part of the network."""
        for name in self.others:
            if self.chance(share):
                self.tell(name, message)

    def tell_bytes(self, message: Message, what: str, share: float) -> None:
        """Send what may be no message at all: a receiver's decoder sees it first, as on the wire."""
        try:
            decoded = decode_message(encode_message(message))
        except DecodeError:
            self.did(f"{what}, refused unread")
            return
        self.did(what)
        self.tell_some(decoded, share)

    def seal(self, entries: Sequence[bytes]) -> Block:
        """Seal a block of its own and give it to its own replica, which passes it on."""
        seq, prev, first = self._tip
        block = seal_block(self.genesis_hash, self.node.member, seq + 1, prev, first, entries)
        self._tip = (seq + 1, block.hash, block.next_entry)
        self.cluster.blocks[block.hash] = block
        if self.node.alive:
            self.cluster.step(self.node.name, Received(self.node.member, BlockBody(block.leaf, block.entries)))
        return block

    @property
    def next_entry(self) -> int:
        return self._tip[2]
