"""Labs: one that seals blocks and sends them until they are final, and one that does what it must not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from glasslog.agreement.effects import Received
from glasslog.agreement.evidence import decode_evidence
from glasslog.agreement.messages import BlockBody, Have
from glasslog.block import Block
from simulation.suite import make_block, make_statement_entry, seal_block

if TYPE_CHECKING:
    from simulation.cluster import Cluster

RESEND_EVERY = 1_000
MORE_MAX = 24


class Lab:
    """An honest author beside its own node. What it sealed survives every crash."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.sealed: list[Block] = []
        self._waiting: list[bytes] = []  # evidence to enter
        self._more = 0
        self._sealing = 0  # blocks planned and not sealed yet
        self._resending = False

    def start(self) -> None:
        swarm, random = self._cluster.swarm, self._cluster.random
        for _ in range(swarm.blocks):
            self.plan(random.randrange(50, swarm.heal_at))

    def finish(self) -> None:
        """Healed: publish the tail."""
        for number in range(self._cluster.swarm.tail):
            self.plan(200 + number * self._cluster.swarm.tail_gap)
        self._resend()

    def seal_more(self) -> None:
        """Keep heights coming, for whoever waits for one more."""
        if self._more < MORE_MAX and not self._sealing:
            self._more += 1
            self.plan(300)
            self._resend()

    def plan(self, delay: int) -> None:
        self._sealing += 1
        self._cluster.later(delay, self._seal)

    def _seal(self) -> None:
        cluster = self._cluster
        self._sealing -= 1
        genesis_hash = cluster.network.membership.genesis_hash
        last = self.sealed[-1] if self.sealed else None
        prev, first = (last.hash, last.next_entry) if last else (genesis_hash, 0)
        evidence, self._waiting = self._waiting, []
        if evidence:
            entries = [self._state(first + number, found) for number, found in enumerate(evidence)]
            block = seal_block(genesis_hash, self.name, len(self.sealed) + 1, prev, first, entries)
        else:
            count = cluster.random.randint(1, 3)
            block = make_block(genesis_hash, self.name, len(self.sealed) + 1, prev, first, count)
        self.sealed.append(block)
        cluster.blocks[block.hash] = block
        self._hand_over([block])
        if not self._resending:
            self._resending = True
            cluster.later(RESEND_EVERY, self._resend)

    def enter(self, evidence: bytes) -> None:
        """State evidence that its node found (A14)."""
        self._waiting.append(evidence)
        if len(self._waiting) == 1:
            self.plan(self._cluster.random.randint(1, 100))

    def _state(self, number: int, evidence: bytes) -> bytes:
        found = decode_evidence(evidence)
        return make_statement_entry(self.name, number, evidence, found.fault.value, found.accused)

    def _resend(self) -> None:
        """Hand over again what is not final: the node may have crashed before it was durable there."""
        waiting = self.sealed[self.final_seq() :]
        self._resending = bool(waiting)
        if waiting:
            self._cluster.later(RESEND_EVERY, self._resend)
            self._hand_over(waiting)

    def _hand_over(self, blocks: Iterable[Block]) -> None:
        node = self._cluster.nodes[self.name]
        for block in blocks:
            if node.alive:
                self._cluster.step(self.name, Received(self.name, BlockBody(block.leaf, block.entries)))

    def final_seq(self) -> int:
        return self._cluster.oracle.tips.get(self.name, (0,))[0]

    def is_final(self) -> bool:
        return not self._sealing and self.final_seq() == len(self.sealed)


class Desk(Lab):
    """A member that seals nothing but the evidence it finds."""

    def finish(self) -> None:
        """Healed: evidence needs no tail."""

    def seal_more(self) -> None:
        """Others keep heights coming."""


class Forker:
    """A faulty author without a node: it writes straight to whom it likes."""

    def __init__(self, cluster: Cluster, behaviour: str) -> None:
        self._cluster = cluster
        self._behaviour = behaviour
        self._tips: list[tuple[int, bytes, int]] = [(0, cluster.network.membership.genesis_hash, 0)]

    def start(self) -> None:
        swarm = self._cluster.swarm
        for _ in range(4):
            self._cluster.later(self._cluster.random.randrange(50, swarm.heal_at), self._act)

    def _seal(self, salt: int, *, misnumbered: bool = False) -> Block:
        cluster = self._cluster
        seq, prev, first = cluster.random.choice(self._tips[-4:])
        block = make_block(
            cluster.network.membership.genesis_hash, "forker", seq + 1, prev,
            first + (3 if misnumbered and seq else 0), cluster.random.randint(1, 2), salt=salt,
        )  # fmt: skip
        cluster.blocks[block.hash] = block
        self._tips.append((seq + 1, block.hash, block.next_entry))
        return block

    def _act(self) -> None:
        cluster, validators = self._cluster, self._cluster.network.validators
        if self._behaviour == "one-copy":
            self._tell(cluster.random.choice(validators), self._seal(0))
            return
        sides = [self._seal(salt, misnumbered=self._behaviour == "misnumbering") for salt in range(3)]
        for name in validators:
            for _ in range(cluster.random.randint(1, 2)):
                self._tell(name, cluster.random.choice(sides))

    def _tell(self, name: str, block: Block) -> None:
        delay = self._cluster.random.randint(1, 200)
        body = BlockBody(block.leaf, block.entries)
        self._cluster.later(delay, partial(self._cluster.send, "forker", name, body))
        if self._cluster.random.random() < 0.3:
            boast = Have((block.ref,))
            self._cluster.later(delay, partial(self._cluster.send, "forker", name, boast))
