"""The tree, made anew from the leaves, beside the tiles that the replica stores (specs/log.md, L3)."""

from __future__ import annotations

from collections.abc import Iterator

from glasslog.audit.report import Findings
from glasslog.audit.source import Source
from glasslog.merkle import HASH_BYTES
from glasslog.tiles import TILE_WIDTH, Edge, Tile, tile_path, tile_width


class Tree:
    """Grows by a height at a time, and compares every tile once, when it is full or the log has ended."""

    def __init__(self, source: Source, findings: Findings) -> None:
        self._source = source
        self._findings = findings
        self.edge = Edge.empty()
        self._differing = False  # above the lowest level, what follows from a reported difference is not news

    def extend(self, leaf_hashes: bytes) -> None:
        """Append leaves and check the tiles that they complete."""
        self.edge, tiles = self.edge.extend(leaf_hashes)
        for tile in tiles:
            self._compare(tile, TILE_WIDTH)

    def finish(self) -> None:
        """Check the partial tiles of the whole log."""
        size = self.edge.size
        for level, partial in enumerate(self.edge.partials):
            if partial:
                width = len(partial) // HASH_BYTES
                self._compare(Tile(level, size >> 8 * (level + 1), partial), width)

    def stored_leaf_hashes(self, start: int, end: int) -> bytes:
        """Return what the stored tiles say the hashes of leaves ``start`` to ``end - 1`` are; empty if they do not."""
        parts: list[bytes] = []
        for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            stored = self._source.tile(0, index, tile_width(self._source.size, 0, index))
            if stored is None:
                return b""
            first = index * TILE_WIDTH
            low, high = max(start, first) - first, min(end, first + TILE_WIDTH) - first
            parts.append(stored[low * HASH_BYTES : high * HASH_BYTES])
        hashes = b"".join(parts)
        return hashes if len(hashes) == (end - start) * HASH_BYTES else b""

    def _compare(self, tile: Tile, width: int) -> None:
        path = tile_path(tile.level, tile.index, width)
        stored = self._source.tile(tile.level, tile.index, width)
        if stored == tile.hashes:
            return
        if stored is None:
            self._findings.add("AUDIT-12", path, "the tile is missing")
        elif len(stored) != len(tile.hashes):
            self._findings.add("AUDIT-12", path, f"the tile has {len(stored)} bytes, not {len(tile.hashes)}")
        elif tile.level == 0:
            for place in differing(stored, tile.hashes):
                leaf = tile.index * TILE_WIDTH + place
                self._findings.add("AUDIT-12", path, f"leaf {leaf} does not hash to what the tile holds for it", leaf)
        elif not self._differing:
            place = next(differing(stored, tile.hashes))
            self._findings.add("AUDIT-12", path, f"hash {place} is not the root of what the lower tiles hold")
        self._differing = True


def differing(one: bytes, other: bytes) -> Iterator[int]:
    """Yield the places at which two strings of hashes of the same length differ."""
    for at in range(0, len(one), HASH_BYTES):
        if one[at : at + HASH_BYTES] != other[at : at + HASH_BYTES]:
            yield at // HASH_BYTES
