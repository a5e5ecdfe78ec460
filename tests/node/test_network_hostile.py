"""What a member gone bad, or a stranger, can do to a node over the network: end its own connection, and nothing else.

The victim is a process of its own. Beside the attacker an honest member keeps a link to it all the while, which
must neither break nor lose a message.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import trio

from glasslog_node.network.frames import FRAME_BYTES_MAX
from glasslog_node.network.hello import RUN_BYTES, Hello
from glasslog_node.network.libp2p import Libp2pTransport
from glasslog_node.network.link import exchange_hello
from glasslog_node.network.members import Endpoint
from glasslog_node.network.transport import MessageReceived, PeerConnected
from glasslog_node.network.yamux import DATA, SYN, WINDOW_UPDATE, StreamEnded
from node.network_rig import GENESIS, QUICK, Child, Town, next_event, run, running, seed_of, until

if TYPE_CHECKING:
    from glasslog_node.network.host import MemberConnection, MemberHost

pytestmark = pytest.mark.processes

Attack: TypeAlias = "Callable[[MemberConnection], Awaitable[None]]"


class Scene:
    """A victim process, an honest member here, and the means to attack."""

    def __init__(self, town: Town, victim: Child, honest: Libp2pTransport, host: MemberHost) -> None:
        self.town, self.victim, self.honest, self.host = town, victim, honest, host
        self.endpoint = Endpoint("127.0.0.1", town.ports["victim"])

    async def attack(self, act: Attack) -> None:
        """Connect as the member mallory, say hello, and act."""
        from glasslog_node.network.noise import peer_id_of

        async def serve(connection: MemberConnection) -> None:
            with trio.move_on_after(10):
                try:
                    await act(connection)
                except (StreamEnded, OSError):
                    return  # the victim closed: that is the point

        await self.host.dial(self.endpoint, peer_id_of(self.town.members()["victim"].public_key), serve)

    async def check(self) -> None:
        """The victim lives, and the honest member's link has not noticed anything."""
        self.honest.send(["victim"], b"echo " + os.urandom(8))
        await next_event(self.honest, MessageReceived, peer="victim")
        assert self.victim.alive


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    from glasslog_node.network.host import MemberHost

    town = Town("honest", "mallory", "victim")
    honest = town.transport("honest", unknown=("mallory",))
    host = MemberHost(seed_of("mallory"), lambda _: True, QUICK)
    with town.child("victim", unknown=("honest", "mallory")) as victim:
        await victim.wait_for(event="listening")
        async with running(honest):
            await next_event(honest, PeerConnected, peer="victim")
            yield Scene(town, victim, honest, host)


async def joined(connection: MemberConnection, victim: str = "victim") -> Any:
    """Become an established member as the protocol has it."""
    stream = await connection.link_stream()
    await exchange_hello(stream, Hello(GENESIS, "mallory", os.urandom(RUN_BYTES)), peer=victim)
    return stream


def on_gossip(data: bytes) -> Attack:
    async def act(connection: MemberConnection) -> None:
        await joined(connection)
        stream, _ = await connection.negotiate(["/meshsub/1.1.0"])
        await stream.send_all(data)
        await connection.yamux.ended.wait()

    return act


def on_link(data: bytes) -> Attack:
    async def act(connection: MemberConnection) -> None:
        stream = await joined(connection)
        await stream.send_all(data)
        await connection.yamux.ended.wait()

    return act


def instead_of_hello(data: bytes) -> Attack:
    async def act(connection: MemberConnection) -> None:
        stream = await connection.link_stream()
        await stream.send_all(data)
        await connection.yamux.ended.wait()

    return act


def rpc(**fields: Any) -> bytes:
    from libp2p.pubsub.pb import rpc_pb2

    data: bytes = rpc_pb2.RPC(**fields).SerializeToString()
    prefix, size = b"", len(data)
    while size > 0x7F:
        prefix, size = prefix + bytes([size & 0x7F | 0x80]), size >> 7
    return prefix + bytes([size]) + data


def announcement(origin: str, *, signer: str | None = None, data: bytes = b"\0\0\0\1x") -> Any:
    """A gossip message that claims to be of ``origin``, signed by ``signer``'s key as the library would."""
    from libp2p.peer.id import ID
    from libp2p.pubsub.pb import rpc_pb2

    from glasslog_node.network.noise import identity

    pair = identity(seed_of(origin))
    topic = f"glasslog/{GENESIS.hex()[:32]}/blocks"
    message = rpc_pb2.Message(
        data=data, topicIDs=[topic], from_id=ID.from_pubkey(pair.public_key).to_bytes(), seqno=os.urandom(8)
    )
    signing = identity(seed_of(signer or origin))
    message.signature = signing.private_key.sign(b"libp2p-pubsub:" + message.SerializeToString())
    message.key = pair.public_key.serialize()
    return message


NOISE = random.Random(11).randbytes(4096)

ENDING_ATTACKS: dict[str, Callable[[], Attack]] = {
    "gossip that is no protobuf": lambda: on_gossip(b"\x80\x02" + NOISE[:256]),
    "gossip longer than allowed": lambda: on_gossip(b"\xff\xff\xff\xff\x7f" + NOISE),
    "gossip with a bad varint": lambda: on_gossip(b"\xff" * 40),
    "gossip with 1000 subscriptions": lambda: on_gossip(
        rpc(subscriptions=[{"subscribe": True, "topicid": f"t{number}"} for number in range(1000)])
    ),
    "link frame longer than allowed": lambda: on_link(b"\x01" + (FRAME_BYTES_MAX + 1).to_bytes(3, "big")),
    "link frame with unknown flags": lambda: on_link(NOISE),
    "endless message on the link": lambda: on_link(
        b"".join(b"\x00" + FRAME_BYTES_MAX.to_bytes(3, "big") + bytes(FRAME_BYTES_MAX) for _ in range(6))
    ),
    "no hello": lambda: instead_of_hello(NOISE),
    "hello of another network": lambda: instead_of_hello(Hello(bytes(32), "mallory", bytes(RUN_BYTES)).encode()),
    "hello under another name": lambda: instead_of_hello(Hello(GENESIS, "honest", bytes(RUN_BYTES)).encode()),
}


async def random_frame(connection: MemberConnection) -> None:
    await joined(connection)
    await connection.yamux._wire.send_all(NOISE[:64])
    await connection.yamux.ended.wait()


async def ignored_window(connection: MemberConnection) -> None:
    stream = await joined(connection)
    for _ in range(64):
        await connection.yamux.send_frame(DATA, 0, stream.stream_id, 60_000, bytes(60_000))
    await connection.yamux.ended.wait()


async def stream_flood(connection: MemberConnection) -> None:
    await joined(connection)
    for number in range(600):
        await connection.yamux.send_frame(WINDOW_UPDATE, SYN, 1001 + 2 * number, 0)
    await connection.yamux.ended.wait()


async def broken_cipher(connection: MemberConnection) -> None:
    await joined(connection)
    await connection.yamux._wire._stream.send_all(b"\x01\x00" + NOISE[:256])  # type: ignore[attr-defined]  # the wire is a NoiseWire here
    await connection.yamux.ended.wait()


ENDING_ATTACKS |= {
    "random yamux frame": lambda: random_frame,
    "more data than the window": lambda: ignored_window,
    "600 streams": lambda: stream_flood,
    "bytes that do not decrypt": lambda: broken_cipher,
}


def test_member_gone_bad_ends_only_its_own_connection() -> None:
    async def test() -> None:
        async with scene() as here:
            for name, attack in ENDING_ATTACKS.items():
                ended = False

                async def act(connection: MemberConnection) -> None:
                    nonlocal ended
                    try:
                        await attack()(connection)  # noqa: B023 - used within its turn of the loop
                    finally:
                        ended = connection.yamux.reason is not None

                await here.attack(act)
                assert ended, f"the victim put up with: {name}"
                await here.check()

    run(test)


async def odd_negotiation(connection: MemberConnection) -> None:
    """Streams of protocols nobody has, half negotiations and bytes that are no negotiation at all."""
    await joined(connection)
    for data in (NOISE, b"\x13/multistream/1.0.0\n\x05\xff\xfe\xfd\n", b"\xff" * 20, b""):
        stream = await connection.yamux.open_stream()
        await stream.send_all(data)
        await stream.finish()
    second, _ = await connection.negotiate(["/glasslog/link/1"])
    with pytest.raises(StreamEnded, match="reset by the peer"):
        await second.receive_some()
    assert connection.yamux.reason is None


def test_announcements_of_strangers_forgers_and_nobody_are_dropped() -> None:
    async def test() -> None:
        from libp2p.pubsub.pb import rpc_pb2

        topic = f"glasslog/{GENESIS.hex()[:32]}/blocks"
        nobody = rpc_pb2.Message(data=b"\0\0\0\1x", topicIDs=[topic], from_id=b"\x01", seqno=b"")
        sent = [
            nobody,
            announcement("stranger"),
            announcement("honest", signer="mallory"),
            announcement("mallory", data=b"\0\0\0\7torn"),
            announcement("mallory", data=b"\0\0\0\4good"),
        ]

        async def act(connection: MemberConnection) -> None:
            await joined(connection)
            stream, _ = await connection.negotiate(["/meshsub/1.1.0"])
            await stream.send_all(rpc(publish=sent))
            await connection.yamux.ping()  # in order: all of it has been read when the answer comes
            await here.victim.wait_for(event="gossip", origin="mallory", data=b"good".hex())

        async with scene() as here:
            here.victim.forbid = {"event": "gossip", "data": b"x".hex()}
            await here.attack(act)
            await here.check()

    run(test)


def test_handler_that_raises_ends_its_stream_alone() -> None:
    async def test() -> None:
        from glasslog_node.network.noise import peer_id_of

        async def boom(_: object) -> None:
            raise RuntimeError("a bug met by a peer's bytes")

        async def act(connection: MemberConnection) -> None:
            await joined(connection, "honest")
            for _ in range(3):
                stream, _ = await connection.negotiate(["/boom/1"])
                with pytest.raises(StreamEnded, match="reset by the peer"):
                    await stream.receive_some()
            assert connection.yamux.reason is None

        async with scene() as here:
            assert here.honest._host is not None
            here.honest._host.set_stream_handler("/boom/1", boom)
            here.endpoint = Endpoint("127.0.0.1", here.town.ports["honest"])
            with trio.fail_after(10):
                await here.host.dial(here.endpoint, peer_id_of(here.town.members()["honest"].public_key), act)
            await here.check()

    run(test)


def test_odd_streams_end_alone() -> None:
    async def test() -> None:
        async with scene() as here:
            await here.attack(odd_negotiation)
            await here.check()

    run(test)


def test_strangers_key_is_refused_in_the_handshake() -> None:
    async def test() -> None:
        from glasslog_node.network.host import MemberHost
        from glasslog_node.network.noise import RefusedError, peer_id_of

        async with scene() as here:
            stranger = MemberHost(seed_of("stranger"), lambda _: True, QUICK)
            reached: list[MemberConnection] = []

            async def serve(connection: MemberConnection) -> None:
                reached.append(connection)  # only after the victim agreed on a multiplexer

            victim = peer_id_of(here.town.members()["victim"].public_key)
            with pytest.raises(RefusedError):
                await stranger.dial(here.endpoint, victim, serve)
            assert reached == []
            await here.check()

    run(test)


def test_idle_and_babbling_sockets_do_not_keep_members_out() -> None:
    async def test() -> None:
        async with scene() as here:
            sockets: list[trio.SocketStream] = []
            for number in range(200):
                stream = await trio.open_tcp_stream("127.0.0.1", here.endpoint.port)
                sockets.append(stream)
                if number % 4 == 0:
                    with trio.move_on_after(1):
                        try:
                            await stream.send_all(NOISE[: number + 1])
                        except trio.BrokenResourceError:
                            continue
            await here.check()
            files = Path(f"/proc/{here.victim.process.pid}/fd")
            await until(lambda: len(list(files.iterdir())) < 100, "the victim lets go of the oldest")
            entered = trio.Event()

            async def enter(connection: MemberConnection) -> None:
                await joined(connection)
                entered.set()

            await here.attack(enter)  # a new member gets in while they sit there
            assert entered.is_set()
            await here.check()
            for stream in sockets:
                await stream.aclose()

    run(test)
