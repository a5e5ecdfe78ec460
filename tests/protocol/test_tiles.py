"""Tiles: the growing edge, hashes read back out of tiles, paths, bundles, and a whole public log."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glasslog import merkle, tiles
from glasslog.checkpoint import Checkpoint
from glasslog.errors import DecodeError, ProofError
from glasslog.identity import VerifierKey
from glasslog.note import Note, verify_note
from glasslog.tiles import Edge, HashReader, Tile, TilePath, entries_path, parse_tile_path, tile_path
from small_log import SmallLog
from vector_files import find_vectors

SIZE = 70_000
LEAF_HASHES = b"".join(sha256(str(number).encode()).digest() for number in range(SIZE))
WHOLE, WHOLE_TILES = Edge.empty().extend(LEAF_HASHES)

sizes = st.one_of(
    st.integers(0, 600),
    st.integers(0, SIZE),
    st.sampled_from([256, 65_536, 65_535, 65_537]),
)


def leaf_hashes(start: int, end: int) -> bytes:
    return LEAF_HASHES[32 * start : 32 * end]


def read_whole(level: int, index: int, width: int) -> bytes:
    """A tile of the 70,000-leaf tree, cut to ``width``."""
    for tile in WHOLE_TILES:
        if (tile.level, tile.index) == (level, index):
            return tile.hashes[: 32 * width]
    return WHOLE.partials[level][: 32 * width]


# --- the edge -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 700), max_size=8))
@example([256])
@example([255, 1, 256])
@example([65_536, 1])
@example([1] * 8)
def test_edge_extended_in_parts_equals_one_shot(counts: list[int]) -> None:
    edge, full = Edge.empty(), list[Tile]()
    at = 0
    for count in counts:
        edge, completed = edge.extend(leaf_hashes(at, at + count))
        full += completed
        at += count
        assert edge.root() == merkle.root(leaf_hashes(0, at))
    once, once_full = Edge.empty().extend(leaf_hashes(0, at))
    assert edge == once
    assert edge.size == at
    assert sorted(full, key=lambda tile: (tile.level, tile.index)) == list(once_full)
    # What is derived grows with the edge as it is derived anew.
    assert Edge(edge.size, edge.partials)._frontier == edge._frontier


def test_edge_extended_leaves_the_old_edge_alone() -> None:
    old, _ = Edge.empty().extend(leaf_hashes(0, 300))
    before = old.encode(), old.root()
    left, _ = old.extend(leaf_hashes(300, 900))
    right, _ = old.extend(leaf_hashes(400, 500))
    assert (old.encode(), old.root()) == before
    assert left.root() != right.root()
    assert old.extend(b"") == (old, ())


def test_edge_of_70000_has_the_widths_of_the_specification() -> None:
    full = [(tile.level, tile.index) for tile in WHOLE_TILES]
    assert full == [*[(0, index) for index in range(273)], (1, 0)]
    assert [len(partial) // 32 for partial in WHOLE.partials] == [112, 17, 1]
    assert [WHOLE.width(level) for level in range(4)] == [112, 17, 1, 0]
    for tile in WHOLE_TILES:
        span = 256**tile.level
        hashes = [
            merkle.root(leaf_hashes((tile.index * 256 + place) * span, (tile.index * 256 + place + 1) * span))
            for place in range(256)
        ]
        assert tile.hashes == b"".join(hashes)


def test_edge_of_256_leaves_an_empty_lowest_tile() -> None:
    edge, full = Edge.empty().extend(leaf_hashes(0, 256))
    assert full == (Tile(0, 0, leaf_hashes(0, 256)),)
    assert edge.partials == (b"", merkle.root(leaf_hashes(0, 256)))


def test_edge_hashes_each_node_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = 0
    hash_pairs = merkle.hash_pairs

    def count_pairs(hashes: bytes) -> bytes:
        nonlocal hashed
        hashed += len(hashes) // 64
        return hash_pairs(hashes)

    monkeypatch.setattr(merkle, "hash_pairs", count_pairs)
    edge = Edge.empty()
    for number in range(1000):
        edge, _ = edge.extend(leaf_hashes(number, number + 1))
    # A tree of n leaves has n - popcount(n) nodes that will never change.
    assert hashed == 1000 - (1000).bit_count()


@given(sizes)
def test_edge_encoding_round_trips(size: int) -> None:
    edge, _ = Edge.empty().extend(leaf_hashes(0, size))
    data = edge.encode()
    decoded = Edge.decode(data)
    assert decoded == edge
    assert decoded.root() == edge.root() == merkle.root(leaf_hashes(0, size))
    assert decoded.encode() == data
    for wrong in (data + b"\x00", data[:-1], data + bytes(32)):
        with pytest.raises(DecodeError, match="TILE-01"):
            Edge.decode(wrong)


@given(st.binary(max_size=200))
@example(b"\xff" * 8)
@example((1 << 63).to_bytes(8, "big"))
def test_edge_of_garbage_decodes_or_is_refused(data: bytes) -> None:
    try:
        edge = Edge.decode(data)
    except DecodeError:
        return
    assert edge.encode() == data


def test_edge_misbuilt_is_our_bug() -> None:
    for size, partials in ((1, ()), (1, (bytes(64),)), (256, (bytes(32),)), (1, (bytes(32), b""))):
        with pytest.raises(ValueError, match="follow from the size"):
            Edge(size, partials)
    with pytest.raises(ValueError, match="32-byte"):
        Edge.empty().extend(bytes(31))


# --- reading back ---------------------------------------------------------------------------------


@given(st.integers(1, SIZE), st.data())
def test_reader_computes_roots_and_proofs_out_of_tiles(size: int, data: st.DataObject) -> None:
    reader = HashReader(size, read_whole)
    root = merkle.root(leaf_hashes(0, size))
    assert reader.root() == root
    index = data.draw(st.integers(0, size - 1))
    assert reader.leaf_hash(index) == leaf_hashes(index, index + 1)
    merkle.verify_inclusion(index, size, reader.leaf_hash(index), reader.inclusion_proof(index), root)
    size1 = data.draw(st.integers(1, size))
    proof = reader.consistency_proof(size1)
    merkle.verify_consistency(size1, size, proof, merkle.root(leaf_hashes(0, size1)), root)


@given(sizes.filter(bool), st.data())
def test_reader_asks_for_tiles_the_size_has(size: int, data: st.DataObject) -> None:
    asked = list[tuple[int, int, int]]()

    def read(level: int, index: int, width: int) -> bytes:
        asked.append((level, index, width))
        return read_whole(level, index, width)

    HashReader(size, read).inclusion_proof(data.draw(st.integers(0, size - 1)))
    assert len(asked) == len(set(asked))
    for level, index, width in asked:
        assert 1 <= width == min(256, (size >> 8 * level) - 256 * index)


def test_reader_given_short_tile_raises() -> None:
    with pytest.raises(ProofError, match="TILE-04"):
        HashReader(300, lambda level, index, width: read_whole(level, index, width)[:-1]).root()


def test_reader_asked_beyond_its_tree_is_our_bug() -> None:
    reader = HashReader(300, read_whole)
    for start, end in ((0, 301), (1, 3), (5, 5)):
        with pytest.raises(ValueError, match="subtree"):
            reader.subtree_hash(start, end)
    with pytest.raises(ValueError, match="size"):
        HashReader(-1, read_whole)
    assert HashReader(0, read_whole).root() == merkle.EMPTY_ROOT


def test_small_log_files_are_the_paths_the_specification_names() -> None:
    log = SmallLog()
    log.append([str(number).encode() for number in range(300)])
    assert set(log.files) == {
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    }
    assert log.reader.root() == log.edge.root()


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "level", "index", "width"),
    [
        ("tile/0/000", 0, 0, 256),
        ("tile/0/x001/x234/067", 0, 1_234_067, 256),
        ("tile/1/x001/000.p/7", 1, 1000, 7),
        ("tile/63/999.p/255", 63, 999, 255),
        ("tile/entries/x123/456.p/1", None, 123_456, 1),
        ("tile/0/x009/x223/x372/x036/x854/x775/807", 0, (1 << 63) - 1, 256),
    ],
)
def test_paths_are_the_specifications(path: str, level: int | None, index: int, width: int) -> None:
    assert parse_tile_path(path) == TilePath(level, index, width)
    assert (entries_path(index, width) if level is None else tile_path(level, index, width)) == path


@given(st.one_of(st.none(), st.integers(0, 63)), st.integers(0, (1 << 63) - 1), st.integers(1, 256))
def test_paths_round_trip(level: int | None, index: int, width: int) -> None:
    path = entries_path(index, width) if level is None else tile_path(level, index, width)
    assert parse_tile_path(path) == TilePath(level, index, width)


@pytest.mark.parametrize(
    "path",
    [
        "", "tile/0/0", "tile/00/000", "tile/64/000", "tile/0/x000/001", "tile/0/001/002", "tile/0/x001/x002",
        "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000/", "/tile/0/000",
        "tile/0/000\n", "tile/-1/000", "tile/0/../000", "tile/0/0000", "tile/0/X001/000", "tile/entries/000.p/1000",
        "tile/0/x009/x223/x372/x036/x854/x775/808", "tile/\N{ARABIC-INDIC DIGIT ONE}/000",
    ],
)  # fmt: skip
def test_path_in_another_spelling_is_refused(path: str) -> None:
    with pytest.raises(DecodeError, match="TILE-02"):
        parse_tile_path(path)


@given(st.from_regex(r"tile/(entries|[0-9]{1,2})/(x?[0-9]{3}/){0,3}[0-9]{3}(\.p/[0-9]{1,3})?", fullmatch=True))
def test_path_accepted_is_the_path_written(path: str) -> None:
    try:
        parsed = parse_tile_path(path)
    except DecodeError:
        return
    assert path == (
        entries_path(parsed.index, parsed.width)
        if parsed.level is None
        else tile_path(parsed.level, parsed.index, parsed.width)
    )


def test_paths_of_impossible_tiles_are_our_bug() -> None:
    for level, index, width in ((64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)):
        with pytest.raises(ValueError, match="tile"):
            tile_path(level, index, width)


def test_tile_width_follows_from_the_size() -> None:
    assert [tiles.tile_width(70_000, 0, index) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tiles.tile_width(70_000, 1, index) for index in (0, 1, 2)] == [256, 17, 0]
    assert [tiles.tile_width(70_000, level, 0) for level in (2, 3)] == [1, 0]


# --- entry bundles --------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300), max_size=20))
@example([b""])
@example([b"x" * 65_535])
def test_entry_bundles_round_trip(entries: list[bytes]) -> None:
    bundle = tiles.join_entries(entries)
    assert tiles.split_entries(bundle) == entries
    if bundle:
        with pytest.raises(DecodeError, match="TILE-03"):
            tiles.split_entries(bundle + b"\x00")


@given(st.binary(max_size=40))
def test_entry_bundle_of_garbage_splits_or_is_refused(bundle: bytes) -> None:
    try:
        entries = tiles.split_entries(bundle)
    except DecodeError:
        return
    assert tiles.join_entries(entries) == bundle


def test_entry_over_65535_bytes_is_our_bug() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        tiles.join_entries([bytes(65_536)])


# --- a whole log by another implementation --------------------------------------------------------


def test_tessera_log_agrees_at_every_size() -> None:
    folder = find_vectors("tessera-testlog") / "testdata" / "log"
    key = VerifierKey.parse("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")
    entries = tiles.split_entries((folder / entries_path(0, 15)).read_bytes())
    edges = [Edge.empty()]
    for entry in entries:
        edges.append(edges[-1].extend(merkle.hash_leaf(entry))[0])
    checkpoints = list[Checkpoint]()
    for size in range(16):
        data = (folder / f"checkpoint.{size}").read_bytes()
        note = Note.parse(data)
        assert note.format() == data
        assert verify_note(note, [key], strict=True) == (key,)
        checkpoints.append(Checkpoint.parse(note.text))
        assert checkpoints[size] == Checkpoint("example.com/log/testdata", size, edges[size].root())
        if size:
            assert edges[size].partials[0] == (folder / tile_path(0, 0, size)).read_bytes()
            assert tiles.join_entries(entries[:size]) == (folder / entries_path(0, size)).read_bytes()
    reader = HashReader(15, lambda level, index, width: (folder / tile_path(level, index, width)).read_bytes())
    for old, _ in pairwise(checkpoints[1:]):
        proof = reader.consistency_proof(old.size)
        merkle.verify_consistency(old.size, 15, proof, old.root, checkpoints[15].root)
