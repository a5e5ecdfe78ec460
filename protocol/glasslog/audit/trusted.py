"""Tiles that are known to be of a checkpoint's tree before anything is done with them (specs/mirror.md, P2).

The partial tiles of a size make its root; they are read first. Every full tile's root stands in the tile above it, and
so, from the top down, each is checked by what has been checked. Nothing depends on who served them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from glasslog import merkle
from glasslog.errors import ProofError
from glasslog.merkle import HASH_BYTES
from glasslog.tiles import TILE_BYTES, TILE_WIDTH, Edge, tile_path, tile_width

ReadTile: TypeAlias = Callable[[int, int, int], bytes | None]
"""``(level, index, width)`` to a tile's bytes, whoever has them; None where nobody has."""

_KEPT = 64  # tiles above the lowest level: each covers 65,536 leaves or more


class TrustedTiles:
    """The tiles of the tree of ``size`` leaves with this root, each checked before it is returned.

    Raises, at once:
        ProofError: MIRROR-01, the partial tiles are missing or do not make the root.
    """

    def __init__(self, size: int, root: bytes, read: ReadTile) -> None:
        self.size = size
        self._read = read
        partials: list[bytes] = []
        for level in range((size.bit_length() + 7) // 8):
            width = (size >> 8 * level) % TILE_WIDTH
            partials.append(self._fetch(level, size >> 8 * (level + 1), width) if width else b"")
        self.edge = Edge(size, tuple(partials))
        if self.edge.root() != root:
            raise ProofError("MIRROR-01", f"the tiles at the end of the log do not make the root at size {size}")
        self._upper = lru_cache(_KEPT)(self._check)

    def tile(self, level: int, index: int) -> bytes:
        """Return a tile, full or as wide as the size makes it.

        Raises:
            ProofError: MIRROR-01, it is missing, or is not of this tree.
        """
        width = tile_width(self.size, level, index)
        if not width:
            raise ProofError("MIRROR-01", f"size {self.size} has no {tile_path(level, index)}")
        if width < TILE_WIDTH:
            return self.edge.partials[level]
        return self._upper(level, index) if level else self._check(level, index)

    def prefix(self, size: int) -> Edge:
        """Return the edge of the same tree when it had ``size`` leaves.

        Raises:
            ProofError: MIRROR-01.
        """
        partials: list[bytes] = []
        for level in range((size.bit_length() + 7) // 8):
            width = (size >> 8 * level) % TILE_WIDTH
            partials.append(self.tile(level, size >> 8 * (level + 1))[: width * HASH_BYTES] if width else b"")
        return Edge(size, tuple(partials))

    def _check(self, level: int, index: int) -> bytes:
        found = self._fetch(level, index, TILE_WIDTH)
        above, place = divmod(index, TILE_WIDTH)
        expected = self.tile(level + 1, above)[place * HASH_BYTES : (place + 1) * HASH_BYTES]
        if merkle.root(found) != expected:
            raise ProofError("MIRROR-01", f"{tile_path(level, index)} is not of the tree that the checkpoint states")
        return found

    def _fetch(self, level: int, index: int, width: int) -> bytes:
        found = self._read(level, index, width)
        if found is None:
            raise ProofError("MIRROR-01", f"{tile_path(level, index, width)} is missing")
        if len(found) != width * HASH_BYTES or len(found) > TILE_BYTES:
            raise ProofError("MIRROR-01", f"{tile_path(level, index, width)} has {len(found)} bytes")
        return found
