"""A log in the static layout of C2SP tlog-tiles: a checkpoint, tiles and entry bundles under their paths."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property

from glasslog.audit import Archive, Run, Source
from glasslog.checkpoint import Checkpoint
from glasslog.errors import ProtocolError
from glasslog.note import NOTE_BYTES_MAX, Note
from glasslog.tiles import TILE_BYTES, TILE_WIDTH, entries_path, join_entries, split_entries, tile_path, tile_width

BUNDLE_BYTES_MAX = TILE_WIDTH * (2 + 65_535)


class TlogSource(Source):
    """Reads a log by its paths; where they lead is the subclass's business."""

    @abstractmethod
    def read(self, path: str, *, size_max: int) -> bytes | None:
        """Return the file at a path of the layout; None where there is none. At most ``size_max`` + 1 bytes."""

    @cached_property
    def _checkpoint(self) -> bytes | None:
        return self.read("checkpoint", size_max=NOTE_BYTES_MAX)

    @property
    def size(self) -> int:
        """The published size: there is nothing more to ask for. 0 where the checkpoint cannot be read."""
        return self._size

    @cached_property
    def _size(self) -> int:
        try:
            return 0 if self._checkpoint is None else Checkpoint.parse(Note.parse(self._checkpoint).text).size
        except ProtocolError:
            return 0  # the audit says why

    def checkpoint(self) -> bytes | None:
        """Return the published signed note."""
        return self._checkpoint

    def runs(self) -> Iterator[Run]:
        """Yield the entry bundles, up to the first that is missing."""
        for index in range(-(-self.size // TILE_WIDTH)):
            bundle = self.entries(index, tile_width(self.size, 0, index))
            if bundle is None:
                return
            yield Run(index * TILE_WIDTH, bundle)

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """Return a tile; where its partial file is gone, the first hashes of the full one."""
        found = self.read(tile_path(level, index, width), size_max=TILE_BYTES)
        if found is None and width < TILE_WIDTH:
            full = self.read(tile_path(level, index), size_max=TILE_BYTES)
            found = None if full is None else full[: width * 32]
        return found

    def archive(self) -> Archive | None:
        """A log's files hold nothing but the log."""
        return None

    def entries(self, index: int, width: int) -> bytes | None:
        """Return an entry bundle; where its partial file is gone, the first entries of the full one."""
        found = self.read(entries_path(index, width), size_max=BUNDLE_BYTES_MAX)
        if found is None and width < TILE_WIDTH:
            full = self.read(entries_path(index), size_max=BUNDLE_BYTES_MAX)
            found = None if full is None else _first_entries(full, width)
        return found


def _first_entries(bundle: bytes, width: int) -> bytes:
    try:
        return join_entries(split_entries(bundle)[:width])
    except ProtocolError:
        return bundle  # the audit says what is wrong with it
