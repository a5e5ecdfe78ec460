"""A validator that sends far too much of what is each allowed, or nearly.

A9 and the shelf's window bound blocks and Haves, ``VIEWS_AHEAD_MAX`` bounds votes, A18: a status only prompts, T4:
whatever breaks a rule is refused by code and leaves nothing behind.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING

from glasslog.agreement.messages import (
    BlockBody,
    BlockRequest,
    CertificateRequest,
    Have,
    Kind,
    Message,
    RecoveryRequest,
    RunRequest,
    Status,
)
from glasslog.block import Ref
from simulation.byzantine.behaviour import Byzantine
from simulation.suite import QUOTA_ENTRIES, make_entries, seal_block

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.node import Node

FAR = 4_000
VIEW_MAX = 1 << 60


class Flooding(Byzantine):
    """Floods two members at a time."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        super().__init__(cluster, node)
        self._seen = deque[Message](maxlen=8)
        self._blocks = 0

    def start(self) -> None:
        self.again(50, 400)

    def received(self, message: Message) -> None:
        self._seen.append(message)

    def act(self) -> None:
        self.again(300, 900)
        victims = self.cluster.random.sample(self.others, 2)
        for message in [*self._votes(), *self._words(), *self._seen, *self._block()]:
            self.did("flooding: messages")
            for victim in victims:
                self.tell(victim, message)

    def _votes(self) -> list[Message]:
        random, view = self.cluster.random, self.node.replica.view
        votes = list[Message]()
        for ahead in (random.randint(1, 128), random.randint(100, 200), random.randint(200, VIEW_MAX)):
            digest = random.randbytes(32)
            votes += [self.vote(view + ahead, kind, b"" if kind is Kind.NULLIFY else digest) for kind in Kind]
        return votes

    def _words(self) -> list[Message]:
        random, view = self.cluster.random, self.node.replica.view
        made_up = Ref("lab", random.randint(1, FAR), random.randbytes(32))
        return [
            Have((made_up,)),
            BlockRequest("lab", 0, FAR, made_up.hash),
            BlockRequest("lab", 1, 16, made_up.hash),
            CertificateRequest(1, tuple(range(max(0, view - 64), view + 64))),
            RunRequest(1),
            RecoveryRequest(made_up.hash[:16], None),
            Status(1, VIEW_MAX, VIEW_MAX, VIEW_MAX, VIEW_MAX, VIEW_MAX),
        ]

    def _block(self) -> list[Message]:
        """Its own largest block once, and many times one that is larger than it may be."""
        self._blocks += 1
        if self._blocks == 1 and self.node.alive:
            self.seal(make_entries(self.node.member, 0, QUOTA_ENTRIES))
        prev = sha256(b"%d" % self._blocks).digest()
        entries = make_entries(self.node.member, QUOTA_ENTRIES, QUOTA_ENTRIES + 1)
        block = seal_block(self.genesis_hash, self.node.member, 2, prev, QUOTA_ENTRIES, entries)
        return [BlockBody(block.leaf, block.entries)]
