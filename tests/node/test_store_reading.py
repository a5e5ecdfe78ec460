"""Reads of the final ledger against a ledger kept in memory (S3, S8)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from glasslog.agreement.effects import SavedCertificate
from glasslog.agreement.messages import BlockBody, Kind
from glasslog.block import Block, Ref
from glasslog.errors import ProofError
from glasslog.limits import RUN_HEIGHTS_MAX
from glasslog.merkle import hash_leaf, verify_consistency, verify_inclusion
from glasslog.tiles import split_entries
from glasslog_node.errors import StoreError
from glasslog_node.store import Store, create_mark, default_mark_path
from node.store_world import World, certificate, held, split


class Filled:
    """A store of some heights, with blocks of 1 to 700 entries so that spans cross tiles every way."""

    def __init__(self, path: Path) -> None:
        self.world = World()
        create_mark(default_mark_path(path), self.world.genesis_hash)
        self.store = Store.open(path, create=True, genesis=self.world.genesis)
        self.blocks: list[Block] = []
        self.roots = {self.world.state.size: self.world.state.root}
        self.sizes = [self.world.state.size]
        for count in (1, 700, 0, 255, 3, 256):
            made = [self.world.block("lab-a", count), self.world.block("lab-b", 2)] if count else []
            self.store.commit(self.world.height(*made, certified=count != 3))
            self.blocks += made
            self.roots[self.world.state.size] = self.world.state.root
            self.sizes.append(self.world.state.size)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    filled = Filled(tmp_path_factory.mktemp("reading") / "s")
    yield filled
    filled.store.close()


def test_every_leaf_is_found_alone_and_in_ranges(filled: Filled) -> None:
    leaves, store = filled.world.leaves, filled.store
    assert store.size == len(leaves)
    assert [store.entry(index) for index in range(len(leaves) + 1)] == [*leaves, None]
    for start, end in ((0, 0), (0, 1), (6, 9), (300, 301), (700, 720), (255, 1200), (len(leaves) - 1, len(leaves) + 5)):
        assert list(store.leaves(start, end)) == leaves[start:end]


def test_a_location_names_the_block_and_the_place_in_it(filled: Filled) -> None:
    first = filled.store.locate(7)
    assert first is not None
    block = filled.blocks[0]
    assert (first.ref, first.position, first.leaves) == (block.ref, 0, 2)
    header = filled.store.locate(8)
    assert header is not None
    assert (header.ref, header.position) == (block.ref, 1)
    assert filled.store.entry(8) == block.leaf
    seal = filled.store.locate(filled.sizes[1] - 1)
    assert seal is not None
    assert seal.ref is None
    assert filled.store.locate(filled.store.size) is None


def test_heights_are_found_by_number_index_and_size(filled: Filled) -> None:
    store, sizes = filled.store, filled.sizes
    assert store.height == len(sizes) - 1
    for height, (start, end) in enumerate(pairwise(sizes), 1):
        found = store.finalized_height(height)
        assert found is not None
        assert (found.first_index, found.proposal.size, found.digest) == (start, end, found.proposal.digest)
        assert {store.height_of_index(index) for index in (start, end - 1)} == {height}
    assert [store.height_of_size(size) for size in sizes] == list(range(len(sizes)))
    assert store.height_of_index(0) == 0
    assert store.height_of_index(store.size) is None
    assert store.height_of_size(sizes[2] - 1) is None
    assert store.height_of_size(0) is None
    assert store.finalized_height(0) is None


def test_every_tile_and_partial_tile_is_what_the_leaves_make(filled: Filled) -> None:
    store, hashes = filled.store, [hash_leaf(leaf) for leaf in filled.world.leaves]
    for index in range(len(hashes) // 256 + 1):
        row = hashes[index * 256 : (index + 1) * 256]
        for width in (1, len(row)):
            assert store.tile(0, index, width) == b"".join(row[:width])
    full = len(hashes) // 256
    assert store.tile(0, full, 256) is None
    assert store.tile(0, full + 1, 1) is None
    assert store.tile(1, 0, full) is not None
    assert store.tile(1, 0, full + 1) is None
    assert store.tile(0, 0, 0) is None
    assert store.tile(2, 0, 1) is None
    assert store.tile(9, 0, 1) is None


def test_entry_bundles_cross_blocks_and_heights(filled: Filled) -> None:
    leaves = filled.world.leaves
    for index in range(len(leaves) // 256 + 1):
        row = leaves[index * 256 : (index + 1) * 256]
        bundle = filled.store.entry_bundle(index, len(row))
        assert bundle is not None
        assert split_entries(bundle) == row
    assert filled.store.entry_bundle(len(leaves) // 256, 256) is None


def test_proofs_from_stored_tiles_verify_at_every_size(filled: Filled) -> None:
    sizes = filled.sizes
    for size in sizes:
        reader = filled.store.hash_reader(size)
        assert reader.root() == filled.roots[size]
        for index in {0, size // 2, size - 1}:
            leaf = hash_leaf(filled.world.leaves[index])
            verify_inclusion(index, size, leaf, reader.inclusion_proof(index), filled.roots[size])
    proof = filled.store.hash_reader(sizes[-1]).consistency_proof(sizes[1])
    verify_consistency(sizes[1], sizes[-1], proof, filled.roots[sizes[1]], filled.roots[sizes[-1]])
    with pytest.raises((ProofError, StoreError)):
        filled.store.hash_reader(sizes[-1] + 300).root()


def test_entry_numbers_lead_to_log_indices(filled: Filled) -> None:
    number = 0
    for block in (block for block in filled.blocks if block.header.author == "lab-a"):
        for leaf in split(block)[:-1]:
            index = filled.store.entry_index("lab-a", number)
            assert index is not None
            assert filled.world.leaves[index] == leaf
            number += 1
    assert filled.store.entry_index("lab-a", number) is None
    assert filled.store.entry_index("lab-", 0) is filled.store.entry_index("nobody", 0) is None
    assert filled.store.tip("lab-a") == filled.world.tip("lab-a")
    assert filled.store.tip("nobody") is None
    assert filled.store.tips() == filled.world.tips


def test_blocks_are_walked_back_from_the_named_end(filled: Filled) -> None:
    chain = [block for block in filled.blocks if block.header.author == "lab-b"]
    bodies = [BlockBody(block.leaf, block.entries) for block in chain]
    last = chain[-1].ref
    assert list(filled.store.blocks("lab-b", 1, last.seq, last.hash)) == bodies
    assert list(filled.store.blocks("lab-b", 2, 3, chain[2].hash)) == bodies[1:3]
    assert not list(filled.store.blocks("lab-b", 1, last.seq, b"\0" * 32))
    assert not list(filled.store.blocks("lab-b", 3, 2, chain[1].hash))


def test_blocks_on_a_fork_sibling_are_served_from_its_own_end(tmp_path: Path) -> None:
    world = World()
    create_mark(default_mark_path(tmp_path / "s"), world.genesis_hash)
    first, fork_point = world.block(), world.tip("lab-a")
    second, sibling = world.block(count=1), world.block(count=2, prev=fork_point)
    with Store.open(tmp_path / "s", create=True, genesis=world.genesis) as store:
        store.commit([held(first), held(second), held(sibling)])
        for end in (second, sibling):
            served = list(store.blocks("lab-a", 1, 2, end.hash))
            assert [body.header for body in served] == [first.leaf, end.leaf]
        assert store.block(Ref("lab-a", 2, b"\0" * 32)) is None


def test_a_run_ends_in_a_height_with_a_certificate_of_its_own(filled: Filled) -> None:
    store = filled.store
    run = store.run(1)
    assert run is not None
    assert [proposal.height for proposal in run.proposals] == list(range(1, store.height + 1))
    assert run.certificate.digest == run.proposals[-1].digest
    # The fifth height is final by its descendant only.
    short = store.run(4, limit=2)
    assert short is not None
    assert [proposal.height for proposal in short.proposals] == [4]
    assert store.run(5, limit=1) is None
    assert store.run(store.height + 1) is None
    small = store.run(1, limit=RUN_HEIGHTS_MAX, bytes_max=len(run.proposals[0].encode()) + 10)
    assert small is not None
    assert len(small.proposals) == 1


def test_certificates_of_one_view_are_kept_side_by_side(tmp_path: Path) -> None:
    world = World()
    create_mark(default_mark_path(tmp_path / "s"), world.genesis_hash)
    both = [certificate(1, Kind.NOTARIZE, b"d" * 32), certificate(1, Kind.NULLIFY, b"")]
    with Store.open(tmp_path / "s", create=True, genesis=world.genesis) as store:
        store.commit([SavedCertificate(one) for one in both])
        store.commit(world.height())
        assert store.certificates(1, 1)[:2] == both
        assert store.certificate(1, 2, Kind.FINALIZE) is None


def test_a_forked_process_is_told_and_not_left_waiting(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(RuntimeError, match="fork"):
        filled.store.commit([])
