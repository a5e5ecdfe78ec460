"""Our Yamux against itself over a pipe, against the library's, and against bytes no correct peer sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from glasslog_node.network.yamux import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    INITIAL_WINDOW,
    PING,
    RST,
    STREAMS_MAX,
    SYN,
    WINDOW_UPDATE,
    ConnectionEnded,
    StreamEnded,
    YamuxConnection,
    YamuxStream,
)
from node.network_rig import run


class Pipe:
    """A wire over trio's in-memory streams."""

    def __init__(
        self, stream: trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]
    ) -> None:
        self._stream = stream

    async def receive_some(self) -> list[bytes]:
        data = bytes(await self._stream.receive_some(1000))
        return [data] if data else []

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[YamuxConnection, YamuxConnection, trio.MemoryReceiveChannel[YamuxStream]]]:
    accepted_send, accepted = trio.open_memory_channel[YamuxStream](100)
    one, other = (Pipe(each) for each in trio.testing.memory_stream_pair())
    a = YamuxConnection(one, initiator=True, accept=lambda _: None)
    b = YamuxConnection(other, initiator=False, accept=accepted_send.send_nowait)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.run)
        nursery.start_soon(b.run)
        yield a, b, accepted
        a.close("test over")
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def raw() -> AsyncIterator[tuple[YamuxConnection, Pipe, trio.MemoryReceiveChannel[YamuxStream]]]:
    """One connection, and the bare other end of its wire."""
    accepted_send, accepted = trio.open_memory_channel[YamuxStream](100)
    one, other = (Pipe(each) for each in trio.testing.memory_stream_pair())
    connection = YamuxConnection(one, initiator=False, accept=accepted_send.send_nowait)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        yield connection, other, accepted
        nursery.cancel_scope.cancel()


async def read_all(stream: YamuxStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive_some()
    return data


def test_streams_carry_more_than_a_window_both_ways() -> None:
    async def test() -> None:
        async with pair() as (a, _, accepted):
            data = bytes(range(256)) * 8000
            here = await a.open_stream()
            there = await accepted.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.send_all, data)
                nursery.start_soon(there.send_all, data[::-1])
                assert await read_all(there, len(data)) == data
                assert await read_all(here, len(data)) == data[::-1]

    run(test)


def test_sender_stops_at_the_window_until_the_reader_reads() -> None:
    async def test() -> None:
        async with pair() as (a, b, accepted):
            here = await a.open_stream()
            there = await accepted.receive()
            with trio.move_on_after(0.2) as scope:
                await here.send_all(bytes(INITIAL_WINDOW + 1))
            assert scope.cancelled_caught
            await there.widen(INITIAL_WINDOW + 1)
            assert a.reason is None  # waiting for the window leaves no half frame behind
            await here.send_all(b"x")
            assert len(await read_all(there, INITIAL_WINDOW + 1)) == INITIAL_WINDOW + 1
            assert b.reason is None

    run(test)


def test_finish_is_an_end_after_all_data() -> None:
    async def test() -> None:
        async with pair() as (a, _, accepted):
            here = await a.open_stream()
            there = await accepted.receive()
            await here.send_all(b"last words")
            await here.finish()
            assert await read_all(there, 10) == b"last words"
            assert await there.receive_some() == b""
            with pytest.raises(StreamEnded):
                await here.send_all(b"more")
            await there.send_all(b"answer")
            assert await read_all(here, 6) == b"answer"

    run(test)


def test_reset_ends_the_stream_and_not_the_connection() -> None:
    async def test() -> None:
        async with pair() as (a, b, accepted):
            here = await a.open_stream()
            there = await accepted.receive()
            await here.reset()
            with pytest.raises(StreamEnded, match="reset by the peer"):
                await there.receive_some()
            await (await a.open_stream()).send_all(b"next")
            assert await read_all(await accepted.receive(), 4) == b"next"
            assert (a.reason, b.reason) == (None, None)

    run(test)


def test_ping_is_answered_and_ends_with_the_connection() -> None:
    async def test() -> None:
        async with pair() as (a, b, _):
            await a.ping()
            await b.ping()
            b.close("enough")
            with pytest.raises(ConnectionEnded, match="enough"):
                await b.ping()

    run(test)


def test_many_streams_one_after_another_are_forgotten() -> None:
    async def test() -> None:
        async with pair() as (a, b, accepted):
            for _ in range(10 * STREAMS_MAX):
                here = await a.open_stream()
                there = await accepted.receive()
                await here.finish()
                assert await there.receive_some() == b""
                await there.finish()
                assert await here.receive_some() == b""
            assert not a._streams
            assert not b._streams

    run(test)


def frame(kind: int, flags: int, stream_id: int, length: int, data: bytes = b"", version: int = 0) -> bytes:
    return HEADER.pack(version, kind, flags, stream_id, length) + data


OPEN = frame(WINDOW_UPDATE, SYN, 1, 0)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (frame(DATA, 0, 1, 0, version=1), "unknown frame"),
        (frame(9, 0, 1, 0), "unknown frame"),
        (frame(GO_AWAY, 0, 0, 0), "closed by the peer"),
        (frame(DATA, 0, 1, 5, b"hello"), "never was"),
        (frame(DATA, 0, 0, 5, b"hello"), "never was"),
        (frame(WINDOW_UPDATE, ACK, 2, 0), "never was"),
        (frame(WINDOW_UPDATE, SYN, 2, 0), "number not its own"),
        (OPEN + OPEN, "number not its own"),
        (OPEN + frame(WINDOW_UPDATE, RST, 1, 0) + OPEN, "number not its own"),
        (OPEN + frame(WINDOW_UPDATE, 0, 1, 0xFFFFFFFF), "impossible window"),
        (OPEN + frame(DATA, 0, 1, INITIAL_WINDOW + 1, bytes(INITIAL_WINDOW + 1)), "more than its window"),
        (OPEN + frame(DATA, FIN, 1, 0) + frame(DATA, 0, 1, 1, b"x"), "after it finished"),
        (b"".join(frame(WINDOW_UPDATE, SYN, 2 * n + 1, 0) for n in range(STREAMS_MAX + 1)), "more than 32 streams"),
        (frame(PING, SYN, 0, 1) * 10_000, "pings faster"),
    ],
)
def test_connection_ends_over_what_no_correct_peer_sends(sent: bytes, reason: str) -> None:
    async def test() -> None:
        async with raw() as (connection, wire, _):
            with trio.move_on_after(5):
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await wire.send_all(sent)
                await connection.ended.wait()
            assert connection.reason is not None
            assert reason in connection.reason

    run(test)


def test_late_frames_for_an_ended_stream_are_ignored() -> None:
    async def test() -> None:
        async with raw() as (connection, wire, accepted):
            await wire.send_all(OPEN)
            await (await accepted.receive()).reset()
            await wire.send_all(frame(DATA, 0, 1, 5, b"hello") + frame(WINDOW_UPDATE, 0, 1, 7) + frame(DATA, FIN, 1, 0))
            await wire.send_all(frame(WINDOW_UPDATE, SYN, 3, 0))
            assert (await accepted.receive()).stream_id == 3
            assert connection.reason is None

    run(test)


def test_abandoned_write_ends_the_connection() -> None:
    class Stuck(Pipe):
        async def send_all(self, data: bytes) -> None:
            await trio.sleep_forever()

    async def test() -> None:
        one, _ = trio.testing.memory_stream_pair()
        connection = YamuxConnection(Stuck(one), initiator=True, accept=lambda _: None)
        with trio.move_on_after(0.05):
            await connection.open_stream()
        assert connection.reason == "a write was abandoned"
        with pytest.raises(ConnectionEnded):
            await connection.open_stream()

    run(test)
