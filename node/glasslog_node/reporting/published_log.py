"""A replica as everybody can have it: its published log, without a node's archive (G2)."""

from __future__ import annotations

from collections.abc import Iterator

from glasslog.audit import Archive, Run, Source
from glasslog.checkpoint import Checkpoint
from glasslog.errors import ProtocolError
from glasslog.note import Note
from glasslog.tiles import TILE_WIDTH, join_entries, split_entries, tile_width

_HASH_BYTES = 32


class PublishedLog:
    """The first leaves of another source: as many as its checkpoint says, or all where it has none that can be read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._note = source.checkpoint()
        self.label = "the log"
        self.size = min(source.size, _stated_size(self._note, source.size))

    def checkpoint(self) -> bytes | None:
        """Return the published signed note."""
        return self._note

    def runs(self) -> Iterator[Run]:
        """Yield the leaves in whole entry bundles; what cannot be told apart comes as it is, and last."""
        waiting: list[bytes] = []
        first = 0
        for run in self._source.runs():
            if first + len(waiting) >= self.size:
                break
            if run.first_index != first + len(waiting):
                break
            try:
                waiting += split_entries(run.bundle)
            except ProtocolError:
                yield Run(first, join_entries(waiting) + run.bundle)
                return
            while len(waiting) >= TILE_WIDTH and first + TILE_WIDTH <= self.size:
                yield Run(first, join_entries(waiting[:TILE_WIDTH]))
                del waiting[:TILE_WIDTH]
                first += TILE_WIDTH
        rest = waiting[: self.size - first]
        if rest:
            yield Run(first, join_entries(rest))

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """Return a tile of the published tree: what the source holds of it, in however wide a tile."""
        wider = tile_width(self._source.size, level, index)
        found = None
        for stored in sorted({width, wider, TILE_WIDTH}):
            if stored >= width and found is None and stored <= max(wider, width):
                found = self._source.tile(level, index, stored)
        return None if found is None else found[: width * _HASH_BYTES]

    def archive(self) -> Archive | None:
        """Nothing but the log."""
        return None


def _stated_size(note: bytes | None, size: int) -> int:
    if note is None:
        return size
    try:
        return Checkpoint.parse(Note.parse(note).text).size
    except ProtocolError:
        return size  # the audit says why
