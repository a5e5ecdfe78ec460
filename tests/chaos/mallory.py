"""A member gone bad: it has a lab's real keys and says what it likes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from chaos.rig import PATIENCE, Node, statement_of
from glasslog.agreement.messages import (
    Announcement,
    BlockBody,
    Certificate,
    Cosignature,
    FinalizedRun,
    Have,
    Kind,
    Message,
    Proposal,
    Published,
    SignedProposal,
    Vote,
    encode_message,
)
from glasslog.block import Block, Ref, build_block
from glasslog.entry import number_entry
from glasslog.identity import Ed25519Key
from glasslog_node.config import split_address
from glasslog_node.fleet import Fleet
from glasslog_node.keys import Purpose, read_key
from glasslog_node.network.frames import FRAME_BYTES_MAX
from glasslog_node.network.libp2p import Libp2pTransport
from glasslog_node.network.members import Endpoint, PeerAddress
from glasslog_node.network.transport import Lane


class Mallory:
    """Speaks as one member to the nodes of a running network."""

    def __init__(self, fleet: Fleet, node: Node) -> None:
        self.node = node
        self.name = node.name
        self.fleet = fleet
        self._testnet = fleet.testnet
        self.genesis_hash = fleet.testnet.genesis.hash
        self._network_seed = read_key(node.config.keys, Purpose.NETWORK, node.name).seed
        self._author = Ed25519Key(read_key(node.config.keys, Purpose.AUTHOR, node.name).seed)
        members = {
            other.name: PeerAddress(
                fleet.testnet.genesis.member(other.name).network_key or b"",
                Endpoint(*split_address(other.config.network.listen)),
            )
            for other in fleet.testnet.nodes
            if other.name in fleet.processes or other is node
        }
        self.victims = sorted(set(members) - {node.name})
        listen = Endpoint(*split_address(node.config.network.listen))
        self.transport = Libp2pTransport(node.name, self._network_seed, listen, members, genesis_hash=self.genesis_hash)

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Connected to every node; what they say is read and thrown away."""

        async def read() -> None:
            async for _ in self.transport.events:
                pass

        async with trio.open_nursery() as nursery:
            await nursery.start(self.transport.run)
            nursery.start_soon(read)
            with trio.fail_after(PATIENCE):
                while not await self._is_settled():
                    await trio.sleep(0.05)
            yield
            nursery.cancel_scope.cancel()

    async def _is_settled(self) -> bool:
        """Whether both ends of every link have had a ping answered.

        Two sides that dial each other at once keep one connection, and what was said on the other is lost.
        """
        peers = self.transport.peers()
        if any(peers[victim].round_trip_ms is None for victim in self.victims):
            return False
        for node in self.fleet.testnet.nodes:
            if node.name in self.victims:
                seen = {peer["name"]: peer for peer in ((await self.fleet.status(node)) or {}).get("peers", ())}
                if seen.get(self.name, {}).get("round_trip_ms") is None:
                    return False
        return True

    def say(self, message: Message | bytes, lane: Lane = Lane.CONTROL) -> None:
        """To everybody."""
        data = message if isinstance(message, bytes) else encode_message(message)
        self.transport.send(self.victims, data, lane)

    async def said(self) -> None:
        """Wait until all that was said has left."""
        with trio.fail_after(PATIENCE):
            while any(state.queued_bytes for state in self.transport.peers().values()):
                await trio.sleep(0.02)

    def block(self, *, author: str | None = None, genesis_hash: bytes | None = None, seq: int = 1) -> Block:
        """A block under this member's author key, whatever it claims to be."""
        author = author or self.name
        genesis_hash = genesis_hash or self.genesis_hash
        prev = genesis_hash if seq == 1 else os.urandom(32)
        entry = number_entry(author, seq - 1, statement_of(os.urandom(32)))
        return build_block(
            [entry], genesis_hash=genesis_hash, author=author, seq=seq, prev=prev, first=seq - 1, time=1,
            sign=self._author.sign,
        )  # fmt: skip

    def lies(self, view: int, honest: str) -> dict[str, tuple[Message | bytes, str]]:
        """What breaks a rule whoever says it: the message, and the code that it must be counted under."""
        own, forged = self.block(), self.block(author=honest)
        foreign, stranger = self.block(genesis_hash=b"\1" * 32), self.block(author="stranger.example")
        ref = Ref(honest, 1, b"\2" * 32)
        proposal = Proposal(1, view + 1, 1, view, b"\3" * 32, 1, (ref,), 9, b"\4" * 32)
        quorum = Certificate(1, view + 1, Kind.FINALIZE, proposal.digest, (0, 1, 2), (bytes(64),) * 3)
        line = Cosignature(1 << 40, b"\5" * 32, 1, bytes(64), bytes(64), bytes(2420), 0)
        few = Certificate(1, view + 1, Kind.NULLIFY, b"", (0,), (bytes(64),))
        return {
            "no CBOR": (b"\xff\xfe\xfd", "CBOR-06"),
            "CBOR of another shape": (b"\xa1\x01\x02", "WIRE-01"),
            "a message of an unknown type": (b"\x82\x18\x63\x00", "WIRE-02"),
            "a number not in its shortest form": (b"\x82\x08\x18\x01", "CBOR-08"),
            "bytes after the end": (encode_message(Have(())) + b"\x00", "CBOR-05"),
            "nothing but an array head of 2^32 elements": (b"\x9a\xff\xff\xff\xff", "CBOR-02"),
            "an unsigned vote": (Vote(1, view, Kind.NULLIFY, b"", 0, bytes(64)), "VOTE-02"),
            "a vote of nobody": (Vote(1, view, Kind.NULLIFY, b"", 63, bytes(64)), "VOTE-01"),
            "an unsigned proposal": (SignedProposal(proposal, bytes(64)), "VOTE-02"),
            "a forged certificate": (quorum, "VOTE-02"),
            "a certificate of too few": (few, "CERT-01"),
            "a forged cosignature": (line, "COSIGN-02"),
            "a forged run": (FinalizedRun((proposal,), quorum), "VOTE-02"),
            "a run without its certificate": (FinalizedRun((), quorum), "RUN-02"),
            "a published note that is none": (Published(b"not a note\n"), "NOTE-02"),
            "an announcement that is none": (Announcement((b"no header",)), "BLOCK-02"),
            "a Have of a stranger": (Have((Ref("stranger.example", 1, b"\6" * 32),)), "HAVE-01"),
            "a block of another network": (BlockBody(foreign.leaf, foreign.entries), "BLOCK-03"),
            "a block of a stranger": (BlockBody(stranger.leaf, stranger.entries), "BLOCK-04"),
            "a block in another's name": (BlockBody(forged.leaf, forged.entries), "BLOCK-05"),
            "a block whose entries are others": (BlockBody(own.leaf, self.block().entries), "BLOCK-07"),
            "a block with torn entries": (BlockBody(own.leaf, own.entries[:-1]), "BLOCK-06"),
        }  # fmt: skip

    async def send_frames(self, victim: Node, data: bytes) -> None:
        """Join with a connection of its own, send these bytes on the link, and wait until the victim ends it."""
        from glasslog_node.network.hello import RUN_BYTES, Hello
        from glasslog_node.network.host import MemberConnection, MemberHost
        from glasslog_node.network.link import exchange_hello
        from glasslog_node.network.noise import peer_id_of
        from glasslog_node.network.timing import DEFAULT_TIMING
        from glasslog_node.network.yamux import StreamEnded

        async def act(connection: MemberConnection) -> None:
            stream = await connection.link_stream()
            await exchange_hello(stream, Hello(self.genesis_hash, self.name, os.urandom(RUN_BYTES)), peer=victim.name)
            try:
                await stream.send_all(data)
            except StreamEnded:
                return
            await connection.yamux.ended.wait()

        host = MemberHost(self._network_seed, lambda _: True, DEFAULT_TIMING)
        peer_id = peer_id_of(self._testnet.genesis.member(victim.name).network_key or b"")
        with trio.fail_after(PATIENCE):
            await host.dial(Endpoint(*split_address(victim.config.network.listen)), peer_id, act)


OVERSIZED = (  # on the link itself: the code, the bytes
    ("WIRE-21", b"\x01" + (FRAME_BYTES_MAX + 1).to_bytes(3, "big")),
    ("WIRE-21", b"".join(b"\x00" + FRAME_BYTES_MAX.to_bytes(3, "big") + bytes(FRAME_BYTES_MAX) for _ in range(6))),
    ("WIRE-20", b"\xf0" + (1).to_bytes(3, "big") + b"x"),
    ("WIRE-22", b"\x01" + (0).to_bytes(3, "big")),
)
