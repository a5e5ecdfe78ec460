"""A validator that replays true signatures where they do not belong, and old messages when they no longer matter.

A16: a vote binds its domain, network, epoch, view and kind, so what honest keys signed elsewhere is nothing here;
A5, A7: what is at or below the floor is answered with the latest F certificate and changes nothing.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING

from glasslog import codec
from glasslog.agreement.messages import Certificate, Kind, Message, Vote, vote_bytes
from simulation.byzantine.behaviour import Byzantine
from simulation.suite import public_key, sign

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.node import Node

RECORDED = 256
ELSEWHERE = sha256(b"another network of the same members").digest()


class Replaying(Byzantine):
    """Plays back what was said in another network, another epoch, as another kind, or long ago."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        super().__init__(cluster, node)
        self._tape = deque[Message](maxlen=RECORDED)

    def start(self) -> None:
        self.again(50, 300)

    def received(self, message: Message) -> None:
        self._tape.append(message)

    def act(self) -> None:
        self.again(150, 500)
        random, tape = self.cluster.random, list(self._tape)
        for message in random.sample(tape, min(4, len(tape))):
            self.did("replay: messages of earlier")
            self.tell_some(message, 0.4)
        view = max(1, self.node.replica.view + random.choice((-1, 0, 0, 1)))
        kind = random.choice(list(Kind))
        digest = b"" if kind is Kind.NULLIFY else sha256(b"elsewhere %d" % view).digest()
        self._from_elsewhere(random.choice(("network", "epoch", "domain")), view, kind, digest)
        self._as_another_kind([message for message in tape if isinstance(message, Vote | Certificate)])

    def _from_elsewhere(self, where: str, view: int, kind: Kind, digest: bytes) -> None:
        """What honest keys truly signed for another genesis or epoch, or under another domain, as a vote of here."""
        signed = {
            "network": vote_bytes(ELSEWHERE, 1, view, kind, digest),
            "epoch": vote_bytes(self.genesis_hash, 2, view, kind, digest),
            "domain": codec.encode(["glasslog/vote/v0", self.genesis_hash, 1, view, int(kind), digest]),
        }[where]
        keys = [public_key(name, "vote") for name in self.cluster.network.validators]
        lines = tuple(sign(key, signed) for key in keys)
        self.did(f"replay: certificates and votes of another {where}")
        self.tell_some(Certificate(1, view, kind, digest, tuple(range(len(keys))), lines), 0.6)
        for voter, line in enumerate(lines):
            if voter != self.index:
                self.tell_some(Vote(1, view, kind, digest, voter, line), 0.3)

    def _as_another_kind(self, recorded: list[Vote | Certificate]) -> None:
        if not recorded:
            return
        message = self.cluster.random.choice(recorded)
        kind = self.cluster.random.choice([kind for kind in Kind if kind is not message.kind])
        digest = message.digest or self.genesis_hash
        digest = b"" if kind is Kind.NULLIFY else digest
        self.did("replay: signatures as another kind")
        if isinstance(message, Vote):
            self.tell_some(Vote(message.epoch, message.view, kind, digest, message.voter, message.signature), 0.6)
        else:
            replayed = Certificate(message.epoch, message.view, kind, digest, message.signers, message.signatures)
            self.tell_some(replayed, 0.6)
