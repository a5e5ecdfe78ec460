"""A member that enters evidence against honest keys into the ledger, out of what they truly signed.

Anybody may state anything; A14: what convicts is two signatures that no honest key makes both, and whoever reads the
leaves finds that these do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

from glasslog import codec
from glasslog.agreement.messages import Kind, Message, Vote, encode_message, vote_bytes
from simulation.byzantine.behaviour import Byzantine
from simulation.suite import make_statement_entry, public_key, sign

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.node import Node

ELSEWHERE = sha256(b"another network of the same members").digest()
LATEST_MS = 3_000


class Accusing(Byzantine):
    """Accuses whomever it heard."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        super().__init__(cluster, node)
        self._votes: dict[tuple[int, Kind, int], Vote] = {}

    def start(self) -> None:
        self.again(LATEST_MS // 3, LATEST_MS)

    def received(self, message: Message) -> None:
        if isinstance(message, Vote) and message.voter != self.index:
            self._votes[message.voter, message.kind, message.view] = message

    def act(self) -> None:
        false = list(self._accusations())
        if not false:
            self.again(LATEST_MS // 3, LATEST_MS)
            return
        entries = list[bytes]()
        for fault, one, other in false:
            first, second = sorted((encode_message(one), encode_message(other)))
            accused = self.cluster.network.validators[one.voter]
            evidence = codec.encode(["glasslog/evidence/v1", fault, 1, accused, first, second])
            number = self.next_entry + len(entries)
            entries.append(make_statement_entry(self.node.member, number, evidence, fault, accused))
            self.did("accusing: false accusations entered")
        self.seal(entries)

    def _accusations(self) -> Iterator[tuple[str, Vote, Vote]]:
        true = next((vote for _, vote in sorted(self._votes.items()) if vote.kind is Kind.NOTARIZE), None)
        if true is None:
            return
        voter, view, digest = true.voter, true.view, sha256(true.digest).digest()
        key = public_key(self.cluster.network.validators[voter], "vote")
        yield "double-notarize", true, true
        yield "double-notarize", true, Vote(1, view, Kind.NOTARIZE, digest, voter, bytes(64))
        elsewhere = sign(key, vote_bytes(ELSEWHERE, 1, view, Kind.NOTARIZE, digest))
        yield "double-notarize", true, Vote(1, view, Kind.NOTARIZE, digest, voter, elsewhere)
        later = sign(key, vote_bytes(self.genesis_hash, 2, view, Kind.NOTARIZE, digest))
        yield "double-notarize", true, Vote(2, view, Kind.NOTARIZE, digest, voter, later)
        for other in [vote for _, vote in sorted(self._votes.items()) if vote.voter == voter and vote != true][:3]:
            yield "double-notarize", true, other
            yield "nullify-and-finalize", true, other
        mine = self.vote(view, Kind.NOTARIZE, digest)
        yield "double-notarize", true, mine
