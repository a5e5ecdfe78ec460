"""One member link: the long-lived stream between two members while a connection lasts.

The side that dialled the connection opens the stream: exactly one side can, so there is never a second stream to
choose from, and one stream carries both directions because Yamux flows each way on its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from glasslog.errors import DecodeError, ProtocolError
from glasslog.limits import MESSAGE_BYTES_MAX
from glasslog_node.network.frames import FrameReader
from glasslog_node.network.hello import HELLO_BYTES_MIN, Hello, decode_hello, hello_size
from glasslog_node.network.send_queue import SendQueue
from glasslog_node.network.timing import Timing
from glasslog_node.network.transport import Lane
from glasslog_node.network.yamux import StreamEnded

LINK_PROTOCOL = "/glasslog/link/1"
_PING_PARTS = 4
LINK_WINDOW = 1 << 20  # what a peer may have sent that we have not read: bounds memory, and bytes per round trip

assert LINK_WINDOW <= 2 * MESSAGE_BYTES_MAX, "a peer's unread bytes stay in the order of one message"


class ByteStream(Protocol):
    """What a link runs on: ``YamuxStream``."""

    async def receive_some(self) -> bytes:
        """The next bytes as they came, or nothing at the end."""
        ...

    def unread(self, data: bytes) -> None:
        """Give back bytes for the next reader."""
        ...

    async def send_all(self, data: bytes) -> None:
        """Send everything."""
        ...


class LinkEnded(Exception):  # noqa: N818 - a fact, not always an error
    """The link is over; the text says why, for people."""


async def exchange_hello(stream: ByteStream, own: Hello, *, peer: str) -> Hello:
    """Send our hello, read theirs, check it. The caller sets a deadline.

    Raises:
        AdmissionError: another version, network or name.
        DecodeError: not a hello.
        StreamEnded: the stream ended first.
    """
    await stream.send_all(own.encode())
    data = b""
    size = HELLO_BYTES_MIN
    while len(data) < size:
        chunk = await stream.receive_some()
        if not chunk:
            raise DecodeError("LINK-01", "the link ended before its hello")
        data += chunk
        if len(data) >= HELLO_BYTES_MIN:
            size = hello_size(data)
    hello = decode_hello(data[:size])
    stream.unread(data[size:])
    hello.check(genesis_hash=own.genesis_hash, name=peer)
    return hello


class Link:
    """Reads, writes and pings until one of them ends."""

    def __init__(
        self, stream: ByteStream, ping: Callable[[], Awaitable[None]], queue: SendQueue, timing: Timing
    ) -> None:
        self._stream = stream
        self._ping = ping
        self._timing = timing
        self._queue = queue
        self._wake_writer = trio.Event()
        self._scope = trio.CancelScope()
        self._reason: str | None = None
        self.fault: str | None = None  # the code of the rule that the peer broke on the link itself
        self.round_trip_ms: float | None = None
        self.received_messages = 0
        self.sent_messages = 0

    def send(self, data: bytes, lane: Lane) -> None:
        """Queue one message; over the bound the link ends, since a gap would not heal by itself."""
        if self._reason is not None:
            return
        if self._queue.push(data, lane):
            self.sent_messages += 1
            self._wake_writer.set()
        else:
            self.end(f"reads too slowly, {self._queue.queued_bytes} bytes were waiting")

    def end(self, reason: str) -> None:
        """Make ``run`` return; the first reason given stays."""
        if self._reason is None:
            self._reason = reason
            self._scope.cancel()

    @property
    def queued_bytes(self) -> int:
        """Bytes of messages not handed to the connection yet."""
        return self._queue.queued_bytes

    async def run(self, deliver: Callable[[bytes], Awaitable[None]]) -> str:
        """Carry messages until the link is over; return why, for people."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guard, self._write)
                nursery.start_soon(self._guard, self._keep_pinging)
                nursery.start_soon(self._guard, self._read, deliver)
        return self._reason or "closed by us"

    async def _guard(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        try:
            await work(*args)
        except (StreamEnded, LinkEnded) as end:
            self.end(str(end))
        except ProtocolError as error:
            self.fault = error.code
            self.end(f"sent what breaks the protocol: {error}")

    async def _read(self, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        reader = FrameReader()
        while True:
            chunk = await self._stream.receive_some()
            if not chunk:
                raise LinkEnded("finished by the peer")
            for message in reader.feed(chunk):
                self.received_messages += 1
                await deliver(message)  # waits while our own side is behind: the peer's window closes

    async def _write(self) -> None:
        while True:
            data = self._queue.next_write()
            if not data:
                self._wake_writer = trio.Event()
                await self._wake_writer.wait()
                continue
            with trio.move_on_after(self._timing.write) as deadline:
                await self._stream.send_all(data)
            if deadline.cancelled_caught:
                raise LinkEnded(f"read nothing for {self._timing.write:g} s")

    async def _keep_pinging(self) -> None:
        while True:
            sent_at = trio.current_time()
            if not await self._answered():
                raise LinkEnded(f"did not answer a ping within {self._timing.ping:g} s")
            latest = (trio.current_time() - sent_at) * 1000
            before = self.round_trip_ms
            self.round_trip_ms = latest if before is None else 0.8 * before + 0.2 * latest
            await trio.sleep(self._timing.ping_every)

    async def _answered(self) -> bool:
        """Ping; whether the answer came in time. Counted in parts: a pause of our own process uses up one, not all."""
        answered = trio.Event()

        async def ping() -> None:
            await self._guard(self._ping)
            answered.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            for _ in range(_PING_PARTS):
                with trio.move_on_after(self._timing.ping / _PING_PARTS):
                    await answered.wait()
                    break
            nursery.cancel_scope.cancel()
        return answered.is_set()
