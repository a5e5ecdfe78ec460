"""The recorder's journal: one append-only file a run, which a process may leave at any byte (specs/custody.md, C7).

A magic line, then frames of ``uint32 length || uint32 CRC-32 || tag || content``, big-endian: the start, records, and
the boundaries of segments. What a killed process leaves unfinished is at the end and is cut; damage anywhere else is no
accident of a kill, and is refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from zlib import crc32

from glasslog.custody import Chain, Counts, RunEnd, RunStart, Segment, count_event, end_of
from glasslog.errors import ProtocolError
from glasslog_lab.errors import ArtifactError

MAGIC = b"glasslog journal v1\n"
FRAME_BYTES_MAX = 65_535
START, RECORD, BOUNDARY = b"S", b"R", b"B"
_HEAD_BYTES = 8


@dataclass(slots=True)
class Journal:
    """A journal as read: the chain as far as it goes, its segments, and how many bytes at the end were cut off."""

    chain: Chain
    segments: list[tuple[Segment, list[bytes]]] = field(default_factory=list[tuple[Segment, list[bytes]]])
    open_records: list[bytes] = field(default_factory=list[bytes])
    counts: Counts = field(default_factory=Counts)
    size: int = 0
    torn: int = 0

    @property
    def end(self) -> RunEnd:
        """The run as far as the journal has it."""
        return end_of(self.chain, self.counts)


def read_journal(path: Path) -> Journal:
    """Read and verify a whole journal.

    Raises:
        ArtifactError: RECORD-01 not readable, RECORD-02 no journal, RECORD-03 damaged, RECORD-04 its chain is broken.
    """
    return parse_journal(_read(path, 0), path.name)


def parse_journal(data: bytes, name: str) -> Journal:
    """Read and verify a journal's bytes; raises as ``read_journal``."""
    journal = _take_all(None, data, name)
    if journal is None:
        raise _refusal("RECORD-02", f"{name} ends before the start of a run")
    return journal


class JournalTail:
    """Reads a journal as it grows, written by this process or another. It keeps no record that it has returned."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.journal: Journal | None = None

    def poll(self) -> list[tuple[Segment, list[bytes]]]:
        """Return the segments that were ended since the last poll, each with its records.

        Raises:
            ArtifactError: as ``read_journal``; no file, or one without a start yet, is none.
        """
        if self.journal is None and not self._path.exists():
            return []
        data = _read(self._path, self.journal.size if self.journal else 0)
        if self.journal is None and len(data) <= len(MAGIC) and MAGIC.startswith(data):
            return []
        self.journal = _take_all(self.journal, data, self._path.name)
        if self.journal is None:
            return []
        ended, self.journal.segments = self.journal.segments, []
        return ended


def _read(path: Path, at: int) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(at)
            return stream.read()
    except OSError as error:
        raise ArtifactError(
            "RECORD-01", f"{path} cannot be read: {error.strerror}", "check the path and its mode"
        ) from error


def _take_all(journal: Journal | None, data: bytes, name: str) -> Journal | None:
    """Take what ``data`` has behind what ``journal`` has already; None while there is no start."""
    base = journal.size if journal else 0
    at = 0
    if journal is None:
        if not data.startswith(MAGIC):
            raise ArtifactError("RECORD-02", f"{name} is no journal", "name a file that the recorder wrote")
        at = len(MAGIC)
    try:
        for tag, content, end in _frames(data, at, base, name):
            if journal is None:
                if tag != START:
                    _refuse("RECORD-03", f"{name} does not begin with the start of a run")
                journal = Journal(Chain(RunStart.decode(content)))
            else:
                _take(journal, tag, content, name)
            journal.size = base + end
    except ProtocolError as error:
        raise _refusal("RECORD-04", f"{name}: {error}") from error
    if journal is not None:
        journal.torn = base + len(data) - journal.size
    return journal


def _take(journal: Journal, tag: bytes, content: bytes, name: str) -> None:
    chain = journal.chain
    if tag == RECORD:
        event = chain.verify(content).event
        journal.open_records.append(content)
        journal.counts += count_event(event)
    elif tag == BOUNDARY and chain.pending and (stated := Segment.decode(content)) == chain.open_segment(stated.ended):
        journal.segments.append((chain.seal(stated.ended), journal.open_records))
        journal.open_records = []
    else:
        _refuse("RECORD-03", f"{name} has a frame that belongs elsewhere behind record {chain.number - 1}")


def _frames(data: bytes, at: int, base: int, name: str) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield tag, content and end of each whole frame from ``at`` on; ``base`` is where ``data`` begins in the file."""
    while at + _HEAD_BYTES <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        start, end = at + _HEAD_BYTES, at + _HEAD_BYTES + length
        if not 1 <= length <= FRAME_BYTES_MAX:
            if not any(data[at:]):  # a file lengthened, and not yet written, when the power went
                return
            _refuse("RECORD-03", f"{name} has a frame of {length} bytes at byte {base + at}")
        if end > len(data):
            return
        if crc32(data[start:end]) != int.from_bytes(data[at + 4 : at + 8], "big"):
            if end == len(data) or not any(data[end:]):
                return
            _refuse("RECORD-03", f"{name} is damaged at byte {base + at}, before its end")
        yield data[start : start + 1], data[start + 1 : end], end
        at = end


def frame(tag: bytes, content: bytes) -> bytes:
    """Return the frame of ``content``."""
    body = tag + content
    return len(body).to_bytes(4, "big") + crc32(body).to_bytes(4, "big") + body


class JournalFile:
    """Appends frames to a journal; whatever fails leaves it ending with the last whole frame."""

    def __init__(self, path: Path, size: int = 0) -> None:
        self._path = path
        self._size = size
        self._descriptor: int | None = None

    def open(self, start: RunStart) -> None:
        """Open the file for this process alone, cut what is torn, and write the start where it is new.

        Raises:
            OSError: it cannot be opened or written; BlockingIOError where another process records into it.
        """
        import fcntl

        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._size == 0 and os.fstat(descriptor).st_size > 0:
                raise FileExistsError(17, "it holds another run", str(self._path))
            os.ftruncate(descriptor, self._size)
            self._descriptor = descriptor
            if self._size == 0:
                self._write(MAGIC + frame(START, start.encode()))
        except OSError:
            os.close(descriptor)
            self._descriptor = None
            raise

    @property
    def is_open(self) -> bool:
        """Whether frames can be appended."""
        return self._descriptor is not None

    def append(self, tag: bytes, content: bytes) -> None:
        """Append one frame, whole or not at all.

        Raises:
            OSError: it was not written.
        """
        self._write(frame(tag, content))

    def sync(self) -> None:
        """Put on disk what was written; raises OSError."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; never raises."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _write(self, data: bytes) -> None:
        if self._descriptor is None:
            raise OSError(9, "the journal is not open", str(self._path))
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], self._size + written)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)


def _refusal(code: str, fact: str) -> ArtifactError:
    return ArtifactError(code, fact, "restore the file from a copy; what was submitted of it stays as it is")


def _refuse(code: str, fact: str) -> NoReturn:
    raise _refusal(code, fact)
