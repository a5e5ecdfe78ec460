"""Reading a file by offset: parsers ask for the few bytes they need and skip the rest unread."""

from __future__ import annotations

from typing import Protocol

from glasslog_lab.weights.refusals import refuse

_READ_AHEAD = 64 << 10


class Window(Protocol):
    """Bytes that can be read anywhere: a file, or part of one."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read_at(self, offset: int, count: int) -> bytes:
        """Return at most ``count`` bytes; fewer at the end only."""
        ...


class MemoryWindow:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self._data)

    def read_at(self, offset: int, count: int) -> bytes:
        """Return at most ``count`` bytes."""
        return self._data[offset : offset + count]


class Cursor:
    """A place in a window that moves on as it is read. ``code`` is the refusal of a window that ends too early."""

    def __init__(self, window: Window, begin: int, end: int, code: str) -> None:
        self._window = window
        self._code = code
        self._buffer = b""
        self._start = begin  # where the buffer begins
        self._at = 0
        self.end = end

    @property
    def offset(self) -> int:
        """Where the next byte is."""
        return self._start + self._at

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes.

        Raises:
            ArtifactError: ``code``, there are fewer.
        """
        at = self._at
        if at + count > len(self._buffer):
            self._fill(count)
            at = 0
        self._at = at + count
        return self._buffer[at : self._at]

    def skip(self, count: int) -> None:
        """Go on without reading.

        Raises:
            ArtifactError: ``code``, there are fewer bytes.
        """
        target = self.offset + count
        if target > self.end:
            self._end_early(count)
        if target <= self._start + len(self._buffer):
            self._at += count
        else:
            self._start, self._at, self._buffer = target, 0, b""

    def read_line(self, longest: int) -> bytes:
        """Return the bytes up to a line feed, which is passed over.

        Raises:
            ArtifactError: ``code``, there is none within ``longest`` bytes.
        """
        found = self._buffer.find(b"\n", self._at)
        if found < 0:
            self._fill(min(longest, self.end - self.offset))
            found = self._buffer.find(b"\n")
        if found < 0 or found - self._at > longest:
            refuse(self._code, f"a line at byte {self.offset} does not end")
        line = self._buffer[self._at : found]
        self._at = found + 1
        return line

    def _fill(self, count: int) -> None:
        begin = self.offset
        if begin + count > self.end:
            self._end_early(count)
        wanted = max(count, min(_READ_AHEAD, self.end - begin))
        self._buffer, self._start, self._at = self._window.read_at(begin, wanted), begin, 0
        if len(self._buffer) < count:
            self._end_early(count)

    def _end_early(self, count: int) -> None:
        refuse(self._code, f"ends early: {count} bytes are needed at byte {self.offset} of {self.end}")
