"""The log as its readers may see it: what is published, straight from the store (specs/storage.md, S9)."""

from __future__ import annotations

from glasslog.bundle import make_bundle
from glasslog.errors import ProtocolError
from glasslog.tiles import TILE_WIDTH, TilePath, tile_width
from glasslog_node.errors import RequestError
from glasslog_node.store.store import Store


class StoreReader:
    """``seams.LogReader`` over a store, of this process or another's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def checkpoint(self) -> bytes | None:
        """Return the published signed note."""
        published = self._store.published()
        return None if published is None else published.note

    def published_size(self) -> int:
        """Return the published size."""
        published = self._store.published()
        return 0 if published is None else published.size

    def entry(self, index: int) -> bytes | None:
        """Return a published leaf."""
        return self._store.entry(index) if 0 <= index < self.published_size() else None

    def tile(self, path: TilePath) -> bytes | None:
        """Return a tile or entry bundle of exactly the width asked for, if the published log has it."""
        level = 0 if path.level is None else path.level
        available = tile_width(self.published_size(), level, path.index)
        # A full tile that exists makes its partial ones optional (C2SP tlog-tiles); serving them costs nothing.
        if not 0 < path.width <= min(available, TILE_WIDTH):
            return None
        if path.level is None:
            return self._store.entry_bundle(path.index, path.width)
        return self._store.tile(path.level, path.index, path.width)

    def bundle(self, index: int) -> bytes:
        """Return the bundle of a published entry.

        Raises:
            RequestError: 422, no bundle proves this leaf.
        """
        try:
            return make_bundle(self._store, index)
        except ProtocolError as error:
            raise RequestError(error.code, error.fact, "ask for the index of an entry", status=422) from error
