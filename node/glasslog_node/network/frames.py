"""How messages are cut into frames on a member link, and put together again (specs/wire.md, W3).

A frame is ``flags (1 byte) || length (3 bytes, big-endian) || data``, 1 <= length <= FRAME_BYTES_MAX. Bit 0 of
``flags`` marks the last frame of its message, bit 1 the bulk lane; other bits are refused. The frames of one
lane are in order; those of the two lanes may alternate, so that a vote need not wait for a body.
"""

from __future__ import annotations

from collections.abc import Iterator

from glasslog.errors import DecodeError
from glasslog.limits import MESSAGE_BYTES_MAX
from glasslog_node.network.transport import Lane

FRAME_BYTES_MAX = 256 << 10
FRAME_HEADER_BYTES = 4
_LAST = 1
_BULK = 2


def frame_header(length: int, lane: Lane, *, last: bool) -> bytes:
    """The four bytes in front of ``length`` bytes of a message."""
    flags = (_LAST if last else 0) | (_BULK if lane is Lane.BULK else 0)
    return (flags << 24 | length).to_bytes(FRAME_HEADER_BYTES, "big")


class FrameReader:
    """Turns what arrives, in whatever pieces, into whole messages; never buffers past the message bound."""

    def __init__(self) -> None:
        self._held: list[bytes] = []  # an incomplete frame, in pieces: joined once, however small they are
        self._held_bytes = 0
        self._needed = FRAME_HEADER_BYTES
        self._parts: tuple[list[bytes], list[bytes]] = ([], [])
        self._sizes = [0, 0]

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield every message that ``chunk`` completes, in order of completion.

        Raises:
            DecodeError: WIRE-20 unknown flags, WIRE-21 a frame or message over its bound, WIRE-22 an empty frame.
        """
        self._held.append(chunk)
        self._held_bytes += len(chunk)
        if self._held_bytes < self._needed:
            return
        data = b"".join(self._held) if len(self._held) > 1 else chunk
        self._held.clear()
        at = 0
        self._needed = FRAME_HEADER_BYTES
        while len(data) - at >= FRAME_HEADER_BYTES:
            flags, length = data[at], int.from_bytes(data[at + 1 : at + FRAME_HEADER_BYTES], "big")
            self._check(flags, length)
            end = at + FRAME_HEADER_BYTES + length
            if end > len(data):
                self._needed = end - at
                break
            message = self._add(flags, data[at + FRAME_HEADER_BYTES : end])
            at = end
            if message is not None:
                yield message
        self._held_bytes = len(data) - at
        if self._held_bytes:
            self._held.append(data[at:])

    def _check(self, flags: int, length: int) -> None:
        if flags & ~(_LAST | _BULK):
            raise DecodeError("WIRE-20", f"frame with unknown flags {flags:#04x}")
        if length > FRAME_BYTES_MAX:
            raise DecodeError("WIRE-21", f"frame of {length} bytes, at most {FRAME_BYTES_MAX}")
        if length == 0:
            raise DecodeError("WIRE-22", "empty frame")
        if self._sizes[1 if flags & _BULK else 0] + length > MESSAGE_BYTES_MAX:
            raise DecodeError("WIRE-21", f"message over {MESSAGE_BYTES_MAX} bytes")

    def _add(self, flags: int, data: bytes) -> bytes | None:
        lane = 1 if flags & _BULK else 0
        parts = self._parts[lane]
        if not flags & _LAST:
            parts.append(data)
            self._sizes[lane] += len(data)
            return None
        if not parts:
            return data
        parts.append(data)
        message = b"".join(parts)
        parts.clear()
        self._sizes[lane] = 0
        return message
