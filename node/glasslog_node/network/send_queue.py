"""What waits to be written to one member: two lanes, one bound, and what goes into the next write.

Control messages that wait together leave in one write, so that a step's worth of votes and certificates costs
one frame, one encryption and one system call per peer. Bulk messages are cut, and at most one piece of them follows
the control messages of a write: a vote never waits for more than one piece of a body.
"""

from __future__ import annotations

from collections import deque

from glasslog.limits import MESSAGE_BYTES_MAX
from glasslog_node.network.frames import FRAME_BYTES_MAX, FRAME_HEADER_BYTES, frame_header
from glasslog_node.network.transport import Lane
from glasslog_node.network.yamux import FRAME_DATA_MAX

WRITE_BYTES = FRAME_DATA_MAX  # of control per write, and of bulk per piece: what one Noise message holds
QUEUE_BYTES_MAX = 64 << 20
QUEUE_MESSAGES_MAX = 65_536

assert WRITE_BYTES <= FRAME_BYTES_MAX, "a piece must fit a frame"
assert 2 * MESSAGE_BYTES_MAX <= QUEUE_BYTES_MAX, "the queue must hold messages of the largest size"


class SendQueue:
    """FIFO within a lane; control before bulk."""

    def __init__(self, *, bytes_max: int = QUEUE_BYTES_MAX, messages_max: int = QUEUE_MESSAGES_MAX) -> None:
        self._lanes: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self._offsets = [0, 0]  # how much of each lane's first message has left already
        self._bytes_max = bytes_max
        self._messages_max = messages_max
        self.queued_bytes = 0

    def push(self, data: bytes, lane: Lane) -> bool:
        """Queue one message; False when the bound is reached, and then nothing is queued.

        Raises:
            ValueError: the message is empty or over MESSAGE_BYTES_MAX, which is a bug of the caller.
        """
        if not 0 < len(data) <= MESSAGE_BYTES_MAX:
            raise ValueError(f"message of {len(data)} bytes, 1..{MESSAGE_BYTES_MAX} allowed")
        if self.queued_bytes + len(data) > self._bytes_max:
            return False
        if len(self._lanes[0]) + len(self._lanes[1]) >= self._messages_max:
            return False
        self._lanes[lane.value].append(data)
        self.queued_bytes += len(data)
        return True

    def __bool__(self) -> bool:
        return self.queued_bytes > 0

    def next_write(self) -> bytes:
        """Take out the next bytes to write: waiting control frames, then at most one bulk frame. Empty if none wait."""
        parts: list[bytes | memoryview] = []
        room = WRITE_BYTES
        while room > FRAME_HEADER_BYTES and self._lanes[0]:
            room -= self._take(Lane.CONTROL, room - FRAME_HEADER_BYTES, parts)
        if self._lanes[1]:  # however much control there is: bulk is never starved
            self._take(Lane.BULK, WRITE_BYTES - FRAME_HEADER_BYTES, parts)
        return b"".join(parts)

    def _take(self, lane: Lane, most: int, parts: list[bytes | memoryview]) -> int:
        """Move up to ``most`` bytes of the lane's first message into ``parts``, behind a frame header."""
        waiting = self._lanes[lane.value]
        offset = self._offsets[lane.value]
        data = waiting[0]
        size = min(most, len(data) - offset)
        last = offset + size == len(data)
        parts.append(frame_header(size, lane, last=last))
        parts.append(data if size == len(data) else memoryview(data)[offset : offset + size])
        if last:
            waiting.popleft()
        self._offsets[lane.value] = 0 if last else offset + size
        self.queued_bytes -= size
        return size + FRAME_HEADER_BYTES
