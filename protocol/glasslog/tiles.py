"""C2SP tlog-tiles: the tree cut into tiles of 256 hashes, its growing edge, its paths and entry bundles.

``Edge`` is all of a tree that can still change. It is immutable, so that every unfinalized branch of a
replica holds its own and shares what it has in common; extending it costs one hash a leaf, whatever
the batches. Full tiles leave it once, complete, and never change again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from struct import Struct
from typing import TypeAlias

from glasslog import merkle
from glasslog.errors import DecodeError, ProofError
from glasslog.limits import LEAF_BYTES_MAX
from glasslog.merkle import HASH_BYTES, SIZE_MAX

TILE_WIDTH = 256
TILE_BYTES = TILE_WIDTH * HASH_BYTES
_TILE_BITS = 8
_LEVEL_MAX = 63

TileRead: TypeAlias = Callable[[int, int, int], bytes]
"""``(level, index, width)`` to the ``width * 32`` bytes of that tile."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A full tile: 256 hashes, each the root of 256**level leaves."""

    level: int
    index: int
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Edge:
    """The partial tiles of a tree of ``size`` leaves, one byte string a level, lowest first.

    ``partials[l]`` holds ``(size >> 8 * l) % 256`` hashes; the last is not empty. Beside them go, derived,
    the roots of the complete binary subtrees of the compact range, so that no hash is computed twice.
    """

    size: int
    partials: tuple[bytes, ...]
    _frontier: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    _root: list[bytes] = field(default_factory=list[bytes], init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self._frontier and self.size:
            object.__setattr__(self, "_frontier", _frontier_of(self.size, self.partials))

    @classmethod
    def empty(cls) -> Edge:
        """Return the edge of the tree without leaves."""
        return cls(0, ())

    def extend(self, leaf_hashes: bytes) -> tuple[Edge, tuple[Tile, ...]]:
        """Return the edge after appending leaves, and the tiles this completed: each once, lower levels first.

        ``leaf_hashes`` are concatenated 32-byte hashes. Costs one hash a leaf, amortised over any batches.
        """
        count, rest = divmod(len(leaf_hashes), HASH_BYTES)
        if rest:
            raise ValueError("leaf hashes are not whole 32-byte hashes")
        if not count:
            return self, ()
        size = self.size
        partials = list(self.partials)
        frontier = list(self._frontier)
        tiles: list[Tile] = []
        nodes, bit = leaf_hashes, 0
        while nodes:
            if bit % _TILE_BITS == 0:
                _fill(partials, tiles, bit // _TILE_BITS, size >> bit + _TILE_BITS, nodes)
            if bit == len(frontier):
                frontier.append(b"")
            # The frontier holds a node at this level exactly where the bit of the size is set.
            nodes = frontier[bit] + nodes
            if len(nodes) % 64:
                frontier[bit] = nodes[-HASH_BYTES:]
                nodes = nodes[:-HASH_BYTES]
            else:
                frontier[bit] = b""
            nodes = merkle.hash_pairs(nodes)
            bit += 1
        return Edge(size + count, tuple(partials), tuple(frontier)), tuple(tiles)

    def root(self) -> bytes:
        """Return the tree's root: at most 63 hashes the first time, none after."""
        if not self._root:
            self._root.append(merkle.fold_compact_range([node for node in reversed(self._frontier) if node]))
        return self._root[0]

    def width(self, level: int) -> int:
        """Return how many hashes the partial tile of ``level`` holds, 0 where there is none."""
        return (self.size >> _TILE_BITS * level) % TILE_WIDTH

    def encode(self) -> bytes:
        """Return ``uint64 BE size || partials``, the one form ``decode`` accepts."""
        return self.size.to_bytes(8, "big") + b"".join(self.partials)

    @classmethod
    def decode(cls, data: bytes) -> Edge:
        """Return the edge; raises ``DecodeError`` ``TILE-01`` where the length does not follow from the size."""
        size = int.from_bytes(data[:8], "big")
        if len(data) < 8 or size > SIZE_MAX:
            raise DecodeError("TILE-01", "a tree edge without a size below 2**63")
        partials: list[bytes] = []
        at = 8
        for shift in range(0, size.bit_length(), _TILE_BITS):
            end = at + (size >> shift) % TILE_WIDTH * HASH_BYTES
            partials.append(data[at:end])
            at = end
        if at != len(data):
            raise DecodeError("TILE-01", f"a tree edge of {len(data)} bytes where size {size} takes {at}")
        return cls(size, tuple(partials))


def _fill(partials: list[bytes], tiles: list[Tile], level: int, index: int, nodes: bytes) -> None:
    """Append a level's new hashes to its partial tile, moving full tiles out from ``index`` on."""
    if level == len(partials):
        partials.append(b"")
    filling = partials[level] + nodes
    full = len(filling) - len(filling) % TILE_BYTES
    for at in range(0, full, TILE_BYTES):
        tiles.append(Tile(level, index, filling[at : at + TILE_BYTES]))
        index += 1
    partials[level] = filling[full:]


def _frontier_of(size: int, partials: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return, by binary level, the root of the compact range's subtree there, or nothing."""
    if len(partials) != (size.bit_length() + _TILE_BITS - 1) // _TILE_BITS:
        raise ValueError("the partial tiles do not follow from the size")
    frontier: list[bytes] = []
    for level, partial in enumerate(partials):
        width = (size >> _TILE_BITS * level) % TILE_WIDTH
        if len(partial) != width * HASH_BYTES:
            raise ValueError("a partial tile's width does not follow from the size")
        end = len(partial)
        for bit in range(_TILE_BITS):
            start = end - (HASH_BYTES << bit if width >> bit & 1 else 0)
            frontier.append(merkle.root(partial[start:end]) if start < end else b"")
            end = start
    return tuple(frontier[: size.bit_length()])


def tile_width(size: int, level: int, index: int) -> int:
    """Return how many hashes tile ``index`` of ``level`` holds in a tree of ``size`` leaves: 0 (absent) to 256."""
    return max(0, min(TILE_WIDTH, (size >> _TILE_BITS * level) - index * TILE_WIDTH))


class HashReader:
    """Computes any subtree hash of a tree of ``size`` leaves, and proofs, out of tiles it asks for.

    ``read`` is trusted no further than the proof it leads to; a tile of the wrong length is ``ProofError``
    ``TILE-04``. Tiles are kept for the reader's life, so make one for each proof or each audit step.
    """

    def __init__(self, size: int, read: TileRead) -> None:
        if not 0 <= size <= SIZE_MAX:
            raise ValueError("a tree size outside 0..2**63-1")
        self.size = size
        self._read = read
        self._tiles: dict[tuple[int, int], bytes] = {}

    def subtree_hash(self, start: int, end: int) -> bytes:
        """Return the root of the subtree ``[start, end)``."""
        if not (merkle.is_subtree(start, end) and end <= self.size):
            raise ValueError(f"[{start}, {end}) is not a subtree of {self.size} leaves")
        return merkle.fold_compact_range(
            [self._node(level, index) for level, index in merkle.compact_range(start, end)]
        )

    def root(self) -> bytes:
        """Return the root of the whole tree."""
        return self.subtree_hash(0, self.size) if self.size else merkle.EMPTY_ROOT

    def leaf_hash(self, index: int) -> bytes:
        """Return one leaf's hash."""
        return self.subtree_hash(index, index + 1)

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Return the path of leaf ``index`` in the whole tree."""
        return merkle.inclusion_proof(index, self.size, self.subtree_hash)

    def consistency_proof(self, size1: int) -> list[bytes]:
        """Return the proof that the whole tree extends its first ``size1 >= 1`` leaves."""
        return merkle.consistency_proof(size1, self.size, self.subtree_hash)

    def _node(self, level: int, index: int) -> bytes:
        tile_level, inner = divmod(level, _TILE_BITS)
        first = (index << inner) % TILE_WIDTH
        tile = self._tile(tile_level, index >> _TILE_BITS - inner)
        return merkle.root(tile[first * HASH_BYTES : (first + (1 << inner)) * HASH_BYTES])

    def _tile(self, level: int, index: int) -> bytes:
        tile = self._tiles.get((level, index))
        if tile is None:
            width = tile_width(self.size, level, index)
            tile = self._read(level, index, width)
            if len(tile) != width * HASH_BYTES:
                raise ProofError("TILE-04", f"tile {tile_path(level, index, width)} has {len(tile)} bytes")
            self._tiles[level, index] = tile
        return tile


# --- paths ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TilePath:
    """What a tlog-tiles path names: a tile, or where ``level`` is None an entry bundle."""

    level: int | None
    index: int
    width: int


_PATH = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile (C2SP tlog-tiles, "Merkle tree"): ``tile/0/x001/x234/067.p/8``."""
    if not 0 <= level <= _LEVEL_MAX:
        raise ValueError(f"tile level {level}")
    return f"tile/{level}/{_index_path(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of an entry bundle (C2SP tlog-tiles, "Log entries")."""
    return f"tile/entries/{_index_path(index, width)}"


def parse_tile_path(path: str) -> TilePath:
    """Return what a path names, in its only spelling; raises ``DecodeError`` ``TILE-02``."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise DecodeError("TILE-02", "not a tlog-tiles path")
    level, index, width = match[1], int(match[2].replace("x", "").replace("/", "")), int(match[3] or TILE_WIDTH)
    # A full tile has no suffix, and a leading group of zeros would be a second spelling.
    if match[2].startswith("x000") or index > SIZE_MAX or (match[3] and width >= TILE_WIDTH):
        raise DecodeError("TILE-02", "not a canonical tlog-tiles path")
    return TilePath(None if level == "entries" else int(level), index, width)


def _index_path(index: int, width: int) -> str:
    if not (0 <= index <= SIZE_MAX and 1 <= width <= TILE_WIDTH):
        raise ValueError(f"tile index {index}, width {width}")
    groups = f"{index % 1000:03}"
    while index := index // 1000:
        groups = f"x{index % 1000:03}/{groups}"
    return groups if width == TILE_WIDTH else f"{groups}.p/{width}"


# --- entry bundles --------------------------------------------------------------------------------

_LENGTH = Struct(">H")


def join_entries(entries: Iterable[bytes]) -> bytes:
    """Return ``(uint16 BE length || entry)*`` (C2SP tlog-tiles, "Log entries"). Entries hold <= 65,535 bytes."""
    parts: list[bytes] = []
    append, pack = parts.append, _LENGTH.pack
    for entry in entries:
        if len(entry) > LEAF_BYTES_MAX:
            raise ValueError(f"an entry of {len(entry)} bytes")
        append(pack(len(entry)))
        append(entry)
    return b"".join(parts)


def split_entries(bundle: bytes) -> list[bytes]:
    """Return the entries of a bundle; raises ``DecodeError`` ``TILE-03`` where it ends within one."""
    entries: list[bytes] = []
    append = entries.append
    at, end = 0, len(bundle)
    while at + 2 <= end:
        stop = at + 2 + (bundle[at] << 8 | bundle[at + 1])
        append(bundle[at + 2 : stop])
        at = stop
    if at != end:
        raise DecodeError("TILE-03", f"an entry bundle of {end} bytes ends within an entry")
    return entries
