"""Tiles checked from the root down: honest ones are all had, a changed one never is (P2)."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.audit.trusted import TrustedTiles
from glasslog.errors import ProofError
from glasslog.merkle import EMPTY_ROOT, hash_leaf
from glasslog.tiles import Edge, tile_width

LARGEST = 66_000  # three levels


@cache
def hashes() -> bytes:
    return b"".join(hash_leaf(b"%d" % number) for number in range(LARGEST))


@cache
def tree(size: int) -> tuple[Edge, dict[tuple[int, int], bytes]]:
    edge, full = Edge.empty().extend(hashes()[: size * 32])
    tiles = {(tile.level, tile.index): tile.hashes for tile in full}
    for level, partial in enumerate(edge.partials):
        if partial:
            tiles[level, size >> 8 * (level + 1)] = partial
    return edge, tiles


sizes = st.one_of(st.sampled_from([1, 255, 256, 257, 65_535, 65_536, 65_537, LARGEST]), st.integers(1, 2_000))


@given(sizes, st.data())
def test_every_tile_of_an_honest_tree_is_had_and_every_earlier_root(size: int, data: st.DataObject) -> None:
    edge, tiles = tree(size)
    trusted = TrustedTiles(size, edge.root(), lambda level, index, _: tiles.get((level, index)))
    for level, index in tiles:
        assert trusted.tile(level, index) == tiles[level, index]
    earlier = data.draw(st.integers(0, size))
    assert trusted.prefix(earlier).root() == tree(earlier)[0].root()


@given(sizes.filter(lambda size: size < 3_000), st.data())
def test_no_changed_missing_or_cut_tile_is_ever_returned(size: int, data: st.DataObject) -> None:
    edge, tiles = tree(size)
    key = data.draw(st.sampled_from(sorted(tiles)))
    at, how = (
        data.draw(st.integers(0, len(tiles[key]) - 1)),
        data.draw(st.sampled_from(["flip", "cut", "none", "long"])),
    )
    spoilt = {
        "flip": tiles[key][:at] + bytes((tiles[key][at] ^ 1,)) + tiles[key][at + 1 :],
        "cut": tiles[key][:at],
        "none": None,
        "long": tiles[key] + b"\0" * 32,
    }[how]

    def read(level: int, index: int, _: int) -> bytes | None:
        return spoilt if (level, index) == key else tiles.get((level, index))

    with pytest.raises(ProofError, match="MIRROR-01"):
        TrustedTiles(size, edge.root(), read).tile(*key)


def test_tree_without_leaves_and_tiles_beyond_its_end() -> None:
    empty = TrustedTiles(0, EMPTY_ROOT, lambda *_: None)
    assert empty.prefix(0).root() == EMPTY_ROOT
    edge, tiles = tree(300)
    trusted = TrustedTiles(300, edge.root(), lambda level, index, _: tiles.get((level, index)))
    assert tile_width(300, 0, 2) == 0
    with pytest.raises(ProofError, match="MIRROR-01"):
        trusted.tile(0, 2)
