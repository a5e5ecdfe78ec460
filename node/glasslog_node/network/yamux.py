"""Yamux, the stream multiplexer of libp2p, as far as members need it (hashicorp/yamux, spec.md; /yamux/1.0.0).

Our own because the library's costs a window update per read and polls a closed window, and lets a peer buffer
without bound. Wire compatible with it. Differences a peer can notice: data beyond the window we granted, an
unknown version or type, a frame for a stream never opened, too many streams or pings each end the connection;
the window is topped up when half of it has been consumed.

A writer cancelled in the middle leaves the connection useless, so ``run`` ends then as well: whoever puts a
deadline on a write closes the connection when it passes.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import trio

HEADER = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
INITIAL_WINDOW: Final = 256 << 10  # fixed by the specification
FRAME_DATA_MAX: Final = 65_519 - HEADER.size  # a frame fills one Noise message
STREAMS_MAX: Final = 32  # that a peer may have open; a member needs three
SEND_WINDOW_MAX: Final = 1 << 31


class Wire(Protocol):
    """The secured connection below."""

    async def receive_some(self) -> list[bytes]:
        """Return what has arrived, in pieces none of which is empty, or nothing at the end."""
        ...

    async def send_all(self, data: bytes) -> None:
        """Send everything."""
        ...

    async def aclose(self) -> None:
        """Close at once."""
        ...


class StreamEnded(Exception):  # noqa: N818 - a fact, not always an error
    """The stream is over, by its peer, by us or with its connection; the text says why, for people."""


class ConnectionEnded(StreamEnded):
    """The whole connection is over."""


class YamuxStream:
    """One ordered byte stream in each direction. One task reads, one task writes."""

    def __init__(self, connection: YamuxConnection, stream_id: int, *, accepted: bool = False) -> None:
        self.connection = connection
        self._owed_flags = ACK if accepted else 0  # the first frame back acknowledges the stream
        self.stream_id = stream_id
        self.window = INITIAL_WINDOW  # what we keep granted to the peer
        self._granted = INITIAL_WINDOW  # what of it the peer has not used yet
        self._consumed = 0
        self._chunks: deque[bytes] = deque()
        self._send_window = INITIAL_WINDOW
        self._wake_reader = trio.Event()
        self._wake_writer = trio.Event()
        self._ended: str | None = None
        self._finished_by_peer = False
        self._finished_by_us = False

    async def widen(self, window: int) -> None:
        """Grant the peer ``window`` bytes in all, which bounds what it can make us hold."""
        if window > self.window:
            grow, self.window = window - self.window, window
            self._granted += grow
            await self._send(WINDOW_UPDATE, 0, grow)

    async def receive_some(self) -> bytes:
        """Return the next bytes as they came, or nothing once the peer has finished.

        Raises:
            StreamEnded: reset, or the connection is over.
        """
        while not self._chunks:
            if self._ended is not None:
                raise StreamEnded(self._ended)
            if self._finished_by_peer:
                return b""
            self._wake_reader = trio.Event()
            await self._wake_reader.wait()
        chunk = self._chunks.popleft()
        self._consumed += len(chunk)
        if self._consumed * 2 >= self.window and self._ended is None:
            consumed, self._consumed = self._consumed, 0
            self._granted += consumed
            await self._send(WINDOW_UPDATE, 0, consumed)
        return chunk

    def unread(self, data: bytes) -> None:
        """Give back bytes just received that belong to the next reader."""
        if data:
            self._chunks.appendleft(data)
            self._consumed -= len(data)

    async def send_all(self, data: bytes) -> None:
        """Send everything, as fast as the peer's window allows.

        Raises:
            StreamEnded: reset, finished, or the connection is over.
        """
        view, at = memoryview(data), 0
        while at < len(data):
            if self._ended is not None or self._finished_by_us:
                raise StreamEnded(self._ended or "finished by us")
            if self._send_window == 0:
                self._wake_writer = trio.Event()
                await self._wake_writer.wait()
                continue
            size = min(self._send_window, FRAME_DATA_MAX, len(data) - at)
            self._send_window -= size
            await self._send(DATA, 0, size, view[at : at + size])
            at += size

    async def finish(self) -> None:
        """Say that we send no more; the peer still may."""
        if self._ended is None and not self._finished_by_us:
            self._finished_by_us = True
            await self._send(WINDOW_UPDATE, FIN, 0)
            self._forget_if_over()

    async def reset(self) -> None:
        """End both directions at once; harmless on a stream that has ended."""
        if self._ended is None:
            self.end("reset by us")
            await self._send(WINDOW_UPDATE, RST, 0)

    async def _send(self, kind: int, flags: int, length: int, data: bytes | memoryview = b"") -> None:
        flags, self._owed_flags = flags | self._owed_flags, 0
        await self.connection.send_frame(kind, flags, self.stream_id, length, data)

    # --- called by the connection ---------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """The peer sent data."""
        self._granted -= len(data)
        if self._granted < 0:
            raise ConnectionEnded("sent more than its window allows")
        if self._finished_by_peer:
            raise ConnectionEnded("sent data after it finished a stream")
        if self._ended is None:
            self._chunks.append(data)
            self._wake_reader.set()

    def on_window(self, increment: int) -> None:
        """The peer grants more."""
        self._send_window += increment
        if self._send_window > SEND_WINDOW_MAX:
            raise ConnectionEnded("granted an impossible window")
        self._wake_writer.set()

    def on_finish(self) -> None:
        """The peer sends no more."""
        self._finished_by_peer = True
        self._wake_reader.set()
        self._forget_if_over()

    def end(self, reason: str) -> None:
        """Wake whoever waits, with ``reason``."""
        if self._ended is None:
            self._ended = reason
            self._wake_reader.set()
            self._wake_writer.set()
            self.connection.forget(self)

    def _forget_if_over(self) -> None:
        if self._finished_by_peer and self._finished_by_us:
            self.connection.forget(self)


class YamuxConnection:
    """All the streams between two peers over one secured connection."""

    def __init__(self, wire: Wire, *, initiator: bool, accept: Callable[[YamuxStream], None]) -> None:
        self._wire = wire
        self._accept = accept
        self._next_id = 1 if initiator else 2
        self._peer_parity = 0 if initiator else 1
        self._peer_last_id = 0
        self._streams: dict[int, YamuxStream] = {}
        self._writing = trio.Lock()
        self._buffer = b""
        self._current: tuple[YamuxStream | None, int, int] | None = None  # stream, bytes of data left, flags
        self._pongs: deque[int] = deque()
        self._pong_wanted = trio.Event()
        self._pings: dict[int, trio.Event] = {}
        self._next_ping = 0
        self._ended: str | None = None
        self.ended = trio.Event()
        self.received_bytes = 0
        self.sent_bytes = 0

    async def run(self) -> str:
        """Read until the connection is over; return why, for people. Closes the wire."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answer_pings)
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.close("connection closed")
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await self._wire.aclose()
        return self._ended or "connection closed"

    async def _read(self) -> None:
        try:
            while self._ended is None:
                pieces = await self._wire.receive_some()
                if not pieces:
                    self.close("closed by the peer")
                for piece in pieces:
                    self.received_bytes += len(piece)
                    self._on_bytes(piece)
        except ConnectionEnded as end:
            self.close(str(end))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.close("connection broken")

    async def open_stream(self) -> YamuxStream:
        """Open a stream; it may be written to at once.

        Raises:
            ConnectionEnded: the connection is over.
        """
        stream = YamuxStream(self, self._next_id)
        self._next_id += 2
        self._streams[stream.stream_id] = stream
        await self.send_frame(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        return stream

    async def ping(self) -> None:
        """Return when the peer has answered. The caller puts a deadline on it.

        Raises:
            ConnectionEnded: the connection is over.
        """
        number = self._next_ping = (self._next_ping + 1) & 0xFFFFFFFF
        answered = self._pings[number] = trio.Event()
        try:
            await self.send_frame(PING, SYN, 0, number)
            await answered.wait()
        finally:
            del self._pings[number]
        if self._ended is not None:
            raise ConnectionEnded(self._ended)

    def close(self, reason: str) -> None:
        """End every stream and make ``run`` return; the first reason given stays."""
        if self._ended is None:
            self._ended = reason
            for stream in list(self._streams.values()):
                stream.end(reason)
            for answered in self._pings.values():
                answered.set()
            self.ended.set()

    @property
    def reason(self) -> str | None:
        """Why the connection is over, or None while it lasts."""
        return self._ended

    async def send_frame(
        self, kind: int, flags: int, stream_id: int, length: int, data: bytes | memoryview = b""
    ) -> None:
        """Write one frame; writers take turns in order.

        Raises:
            ConnectionEnded: the connection is over.
        """
        frame = b"".join((HEADER.pack(0, kind, flags, stream_id, length), data))
        async with self._writing:
            if self._ended is not None:
                raise ConnectionEnded(self._ended)
            whole = False
            try:
                await self._wire.send_all(frame)
                whole = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.close("connection broken")
                raise ConnectionEnded("connection broken") from None
            finally:
                if not whole:
                    self.close("a write was abandoned")
        self.sent_bytes += len(frame)

    def forget(self, stream: YamuxStream) -> None:
        """Drop the bookkeeping of an ended stream; late frames for it are ignored."""
        self._streams.pop(stream.stream_id, None)

    # --- what arrives -------------------------------------------------------------------------

    def _on_bytes(self, chunk: bytes) -> None:
        """Take frames apart, handing data on as it comes: no frame is ever held back until it is whole."""
        data = self._buffer + chunk if self._buffer else chunk
        at = 0
        while self._ended is None:
            if self._current is not None:
                stream, left, flags = self._current
                piece = data[at : at + left]
                at += len(piece)
                if piece and stream is not None:
                    stream.on_data(piece)
                if len(piece) < left:
                    self._current = (stream, left - len(piece), flags)
                    break
                self._current = None
                self._on_end_flags(stream, flags)
            if len(data) - at < HEADER.size:
                break
            self._on_header(*HEADER.unpack_from(data, at))
            at += HEADER.size
        self._buffer = data[at:]

    def _on_header(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if version != 0 or kind > GO_AWAY:
            raise ConnectionEnded(f"unknown frame: version {version}, type {kind}")
        if kind == GO_AWAY:
            raise ConnectionEnded("closed by the peer")
        if kind == PING:
            self._on_ping(flags, length)
            return
        stream = self._find(stream_id, flags)
        if kind == DATA:
            self._current = (stream, length, flags)
            return
        if stream is not None:
            stream.on_window(length)
        self._on_end_flags(stream, flags)

    def _find(self, stream_id: int, flags: int) -> YamuxStream | None:
        stream = self._streams.get(stream_id)
        if not flags & SYN:
            last = self._peer_last_id if stream_id % 2 == self._peer_parity else self._next_id - 1
            if stream_id == 0 or stream_id > last:
                raise ConnectionEnded("frame for a stream that never was")
            return stream  # None: a late frame for a stream that is over
        if stream is not None or stream_id % 2 != self._peer_parity or stream_id <= self._peer_last_id:
            raise ConnectionEnded("opened a stream under a number not its own")
        if sum(1 for number in self._streams if number % 2 == self._peer_parity) >= STREAMS_MAX:
            raise ConnectionEnded(f"opened more than {STREAMS_MAX} streams")
        self._peer_last_id = stream_id
        stream = self._streams[stream_id] = YamuxStream(self, stream_id, accepted=True)
        self._accept(stream)
        return stream

    def _on_end_flags(self, stream: YamuxStream | None, flags: int) -> None:
        if stream is None:
            return
        if flags & RST:
            stream.end("reset by the peer")
        elif flags & FIN:
            stream.on_finish()

    def _on_ping(self, flags: int, number: int) -> None:
        if flags & ACK:
            answered = self._pings.get(number)
            if answered is not None:
                answered.set()
        else:
            if len(self._pongs) >= STREAMS_MAX:
                raise ConnectionEnded("pings faster than they can be answered")
            self._pongs.append(number)
            self._pong_wanted.set()

    async def _answer_pings(self) -> None:
        """Apart from the reader, which must never wait for a peer to read."""
        while True:
            await self._pong_wanted.wait()
            self._pong_wanted = trio.Event()
            while self._pongs:
                try:
                    await self.send_frame(PING, ACK, 0, self._pongs.popleft())
                except ConnectionEnded:
                    return
