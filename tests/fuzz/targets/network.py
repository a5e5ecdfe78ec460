"""What a peer's bytes reach on a connection, from the handshake to a message's frames."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterator
from functools import cache
from typing import Any, TypeVar, cast

import trio
from google.protobuf.message import DecodeError as ProtobufError  # type: ignore[import-untyped]  # it has no stubs

from fuzz import specimens
from fuzz.mutators import make_frame_mutator, mutate_bytes
from fuzz.target import Target
from glasslog.errors import DecodeError, ProtocolError
from glasslog.limits import MESSAGE_BYTES_MAX
from glasslog_node.config import split_address
from glasslog_node.errors import ConfigError
from glasslog_node.network import no_fastecdsa
from glasslog_node.network.batch import join_payloads, split_payloads
from glasslog_node.network.frames import FRAME_BYTES_MAX, FrameReader, frame_header
from glasslog_node.network.hello import Hello, decode_hello, hello_size
from glasslog_node.network.link import exchange_hello
from glasslog_node.network.members import parse_endpoint
from glasslog_node.network.transport import Lane
from glasslog_node.network.yamux import DATA, HEADER, SYN, WINDOW_UPDATE, ConnectionEnded, YamuxConnection, YamuxStream

no_fastecdsa.install()  # before anything of the library is imported, as in a node

from libp2p.peer.id import ID  # noqa: E402 - after the line above
from libp2p.pubsub.pb import rpc_pb2  # noqa: E402 - after the line above

from glasslog_node.network.gossip import Gossip, read_varint  # noqa: E402 - after the line above
from glasslog_node.network.noise import Handshaker, NoiseWire, RefusedError, identity, peer_id_of  # noqa: E402 - after the line above

T = TypeVar("T")
OWN = Hello(b"\x01" * 32, "v0", b"r" * 16)


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    raise AssertionError("it waits for something")


def cut(data: bytes) -> Iterator[bytes]:
    """Cut the rest of the input into chunks of sizes that its first byte draws."""
    step = data[0] if data else 1
    at, size = 1, 1 + step % 7
    while at < len(data):
        yield data[at : at + size]
        at += size
        size = 1 + (size * 5 + step) % 61


# --- frames ---------------------------------------------------------------------------------------


def _read_frames(chunks: Iterator[bytes]) -> tuple[list[bytes], str | None]:
    reader, found = FrameReader(), list[bytes]()
    try:
        for chunk in chunks:
            found += reader.feed(chunk)
            assert reader._held_bytes <= FRAME_BYTES_MAX + len(chunk) + 4
            assert max(reader._sizes) <= MESSAGE_BYTES_MAX
    except DecodeError as error:
        return found, error.code
    return found, None


def run_frames(data: bytes) -> None:
    """However the bytes are cut, the same messages and the same refusal come out."""
    pieces, whole = _read_frames(cut(data)), _read_frames(iter([data[1:]]))
    assert pieces == whole, "what arrives depends on how it was cut"
    if whole[1] is not None:
        raise DecodeError(whole[1], "refused")


def _frames(*messages: bytes) -> bytes:
    lanes = (Lane.CONTROL, Lane.BULK)
    parts = [b"\x03"]
    for number, message in enumerate(messages):
        half = len(message) // 2
        lane = lanes[number % 2]
        parts += [frame_header(half, lane, last=False), message[:half]] if half else []
        parts += [frame_header(len(message) - half, lane, last=True), message[half:]]
    return b"".join(parts)


def run_hello(data: bytes) -> None:
    assert hello_size(data.ljust(59, b"\x00")) > 0
    hello = decode_hello(data)
    assert hello.encode() == data, "accepted, and written otherwise"


class _Stream:
    """A stream of given chunks that remembers what was put back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.back = b""
        self.sent = b""

    async def receive_some(self) -> bytes:
        return next(self.chunks, b"")

    def unread(self, data: bytes) -> None:
        self.back = data

    async def send_all(self, data: bytes) -> None:
        self.sent += data


def run_hello_exchange(data: bytes) -> None:
    stream = _Stream(cut(data))
    hello = drive(exchange_hello(stream, OWN, peer="v1"))
    assert (hello.name, hello.genesis_hash) == ("v1", OWN.genesis_hash)
    rest = b"".join(stream.chunks)
    assert data[1:] == hello.encode() + stream.back + rest, "bytes behind the hello are lost"


# --- yamux ----------------------------------------------------------------------------------------


def _feed_yamux(chunks: Iterator[bytes]) -> tuple[list[tuple[int, bytes, str | None, bool]], str | None]:
    accepted: list[YamuxStream] = []
    connection = YamuxConnection(cast("Any", None), initiator=False, accept=accepted.append)
    reason: str | None = None
    try:
        for chunk in chunks:
            connection._on_bytes(chunk)
            assert len(connection._buffer) < HEADER.size, "more is held back than a header"
            assert len(connection._streams) <= 32
            assert len(connection._pongs) <= 32
    except ConnectionEnded as error:
        reason = str(error)
    held = [(each.stream_id, b"".join(each._chunks), each._ended, each._finished_by_peer) for each in accepted]
    assert all(len(content) <= each.window for (_, content, _, _), each in zip(held, accepted, strict=True))
    return held, reason


def run_yamux(data: bytes) -> None:
    pieces, whole = _feed_yamux(cut(data)), _feed_yamux(iter([data[1:]]))
    assert pieces == whole, "what arrives depends on how it was cut"
    if whole[1] is not None:
        raise DecodeError("YAMUX", whole[1])


def _yamux(*frames: tuple[int, int, int, int, bytes]) -> bytes:
    return b"\x05" + b"".join(
        HEADER.pack(0, kind, flags, stream, length) + content for kind, flags, stream, length, content in frames
    )


# --- noise ----------------------------------------------------------------------------------------


class _Cipher:
    """Encrypts nothing; a message that begins with 0xff does not decrypt."""

    def encrypt_with_ad(self, ad: bytes | None, plaintext: bytes) -> bytes:
        return plaintext

    def decrypt_with_ad(self, ad: bytes | None, ciphertext: memoryview) -> bytes:
        if bytes(ciphertext[:1]) == b"\xff":
            raise ValueError("forged")
        return bytes(ciphertext)


class _Socket:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks

    async def recv_into(self, view: memoryview) -> int:
        assert len(view), "no room is left for the rest of a message"
        chunk = next(self.chunks, b"")
        view[: len(chunk)] = chunk
        return len(chunk)


class _Anything:
    """An object that has whatever is asked for: stands for the library's session around the two ciphers."""

    def __init__(self, **parts: object) -> None:
        self.__dict__.update(parts)


def run_noise(data: bytes) -> None:
    protocol = _Anything(cipher_state_encrypt=_Cipher(), cipher_state_decrypt=_Cipher())
    session = _Anything(conn=_Anything(noise_state=_Anything(noise_protocol=protocol)))
    stream = _Anything(socket=_Socket(cut(data)))
    wire = _fresh_wire(stream, session)
    found = list[bytes]()
    expected, forged = _noise_pieces(data[1:])
    try:
        while pieces := drive(wire.receive_some()):
            found += pieces
    except trio.BrokenResourceError:
        assert forged, "an honest message does not decrypt"
        raise
    assert not forged
    assert found == expected, "the pieces are not what was sent"


def _fresh_wire(stream: object, session: object) -> NoiseWire:
    wire = NoiseWire(cast("Any", stream), cast("Any", session), initiator=False)
    _BUFFERS.append(wire._buffer)
    wire._buffer = _BUFFERS[0]  # clearing 192 KiB an execution would be most of the work
    del _BUFFERS[1:]
    return wire


_BUFFERS: list[bytearray] = []


def _noise_pieces(data: bytes) -> tuple[list[bytes], bool]:
    found, at = list[bytes](), 0
    while at + 2 <= len(data) and at + 2 + int.from_bytes(data[at : at + 2], "big") <= len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if data[at + 2 : min(end, at + 3)] == b"\xff":
            return found, True
        if end > at + 2:
            found.append(data[at + 2 : end])
        at = end
    return found, False


@cache
def _handshaker() -> Handshaker:
    return Handshaker(identity(b"\x01" * 32), lambda _peer: True)


class _Trickle:
    """A TCP stream that holds these bytes and swallows whatever is sent."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.socket = self

    async def receive_some(self, most: int | None = None) -> bytes:
        most = len(self.data) if most is None else most
        data, self.data = self.data[:most], self.data[most:]
        return data

    async def recv_into(self, view: memoryview) -> int:
        data = await self.receive_some(len(view))
        view[: len(data)] = data
        return len(data)

    async def send_all(self, data: bytes) -> None: ...

    async def aclose(self) -> None: ...


def run_handshake(data: bytes) -> None:
    """A stranger who dials, or whom we dialled: nobody gets in without the key, and nothing but a refusal is raised."""
    expected = peer_id_of(b"\x07" * 32) if data[:1] < b"\x80" else None

    async def main() -> None:
        with trio.fail_after(5):
            await _handshaker().run(cast("Any", _Trickle(data[1:])), expected)

    logging.disable(logging.ERROR)  # the library tells its log about every refusal
    try:
        trio.run(main)
    finally:
        logging.disable(logging.NOTSET)
    raise AssertionError("a stranger has shaken hands")


# --- gossip ---------------------------------------------------------------------------------------


def run_varint(data: bytes) -> None:
    found = read_varint(bytearray(data))
    if found is None:
        assert len(data) < 10
        return
    value, length = found
    assert 1 <= length <= 10
    assert value == sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data[:length]))


def run_payloads(data: bytes) -> None:
    payloads = list(split_payloads(data))
    assert join_payloads(payloads) == data, "cut, and joined otherwise"
    assert all(payloads)


def run_gossip(data: bytes) -> None:
    """An RPC as it is read: the library's protobuf, then what is asked of each message before it goes on."""
    rpc = rpc_pb2.RPC()
    rpc.ParseFromString(data)
    admits = _Anything(_admits=lambda peer: peer == ID(b"\x01"))
    for message in rpc.publish:
        valid = Gossip._validate(cast("Gossip", admits), ID(b""), message)
        assert not valid or (message.from_id == b"\x01" and len(message.topicIDs) == 1)
        if valid:
            list(split_payloads(message.data))


def _rpcs() -> list[bytes]:
    message = rpc_pb2.Message(from_id=b"\x01", data=join_payloads([b"abc", b"d"]), seqno=b"\x01" * 8, topicIDs=["t"])
    subscription = rpc_pb2.RPC.SubOpts(subscribe=True, topicid="t")
    return [rpc_pb2.RPC(publish=[message], subscriptions=[subscription]).SerializeToString()]


def run_endpoint(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        host, port = split_address(text)
    except ValueError:
        pass
    else:
        assert host
        assert 1 <= port <= 65_535
    endpoint = parse_endpoint(text)
    assert endpoint.host
    assert 0 <= endpoint.port <= 65_535


TARGETS = (
    Target(
        "frames",
        run_frames,
        lambda: [_frames(b"abc", b"defgh"), _frames(*specimens.message_bytes()[:3])],
        allowed=(DecodeError,),
        tokens=(
            b"\x00\x00\x00\x01",
            b"\x01\x00\x00\x01",
            b"\x03\x00\x00\x02",
            b"\x02\x04\x00\x00",
            b"\x01\x04\x00\x01",
        ),
        size_max=1_024,
        weight=3,
    ),
    Target("hello", run_hello, lambda: [OWN.encode()], size_max=128),
    Target(
        "hello-exchange",
        run_hello_exchange,
        lambda: [b"\x05" + Hello(b"\x01" * 32, "v1", b"s" * 16).encode() + b"rest"],
        size_max=160,
    ),
    Target(
        "yamux",
        run_yamux,
        lambda: [
            _yamux((WINDOW_UPDATE, SYN, 1, 0, b""), (DATA, 0, 1, 5, b"hello"), (DATA, 4, 1, 0, b"")),
            _yamux((DATA, SYN, 1, 2, b"ab"), (DATA, SYN, 3, 1, b"c"), (WINDOW_UPDATE, 8, 1, 0, b""), (2, 1, 0, 9, b"")),
        ],
        allowed=(DecodeError,),
        tokens=(HEADER.pack(0, 0, 1, 5, 3), HEADER.pack(0, 1, 0, 1, 1 << 31), HEADER.pack(0, 2, 1, 0, 7)),
        size_max=1_024,
        weight=2,
    ),
    Target(
        "noise",
        run_noise,
        lambda: [b"\x05\x00\x03abc\x00\x00\x00\x02de", b"\x02\x00\x01\xff"],
        allowed=(trio.BrokenResourceError,),
        size_max=512,
        mutators=(make_frame_mutator(2, mutate_bytes),),
    ),
    Target(
        "handshake",
        run_handshake,
        lambda: [
            b"\x80\x13/multistream/1.0.0\n\x07/noise\n\x00\x20" + b"\x09" * 32,
            b"\x00\x13/multistream/1.0.0\n\x03na\n",
        ],
        allowed=(RefusedError,),
        tokens=(b"\x13/multistream/1.0.0\n", b"\x07/noise\n", b"\x0d/yamux/1.0.0\n", b"\x03ls\n", b"\x00\x20"),
        size_max=512,
        weight=0.5,
    ),
    Target("varint", run_varint, lambda: [b"\x00", b"\x80\x01", b"\xff" * 9 + b"\x01"], size_max=16, weight=2),
    Target(
        "payloads",
        run_payloads,
        lambda: [join_payloads([b"a", b"bc"])],
        size_max=512,
        mutators=(make_frame_mutator(4, mutate_bytes),),
        weight=2,
    ),
    Target("gossip", run_gossip, _rpcs, allowed=(ProtobufError, ProtocolError), size_max=512),
    Target(
        "endpoint",
        run_endpoint,
        lambda: [b"a.example:7001", b"[::1]:7001", b"/ip4/127.0.0.1/tcp/7001", b"/dns/a.example/tcp/1"],
        allowed=(ConfigError,),
        tokens=(b"/ip6/", b"/ip4/", b"/tcp/", b"::", b"%1", b"65536", b"00000"),
        size_max=96,
    ),
)
