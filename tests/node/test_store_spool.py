"""The spool (specs/storage.md, S10 to S12): nothing acknowledged is lost or doubled, whatever comes between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from glasslog.agreement.effects import HeldBlock
from glasslog.block import Block, build_block
from glasslog.entry import number_entry
from glasslog.ledger import Tip
from glasslog_node.errors import RequestError, StoreError
from glasslog_node.store import AdoptTip, SealBlock, SpoolBatch, Stage, Store, create_mark, default_mark_path
from node.store_world import World, held

AUTHOR = "lab-a"


def batch(key: bytes, *items: bytes) -> SpoolBatch:
    return SpoolBatch(key, sha256(b"\0".join(items)).digest(), items)


@dataclass
class Lab:
    """An author's node: seals what waits, finalizes what is sealed."""

    path: Path
    world: World
    store: Store

    @classmethod
    def new(cls, path: Path) -> Lab:
        world = World()
        create_mark(default_mark_path(path), world.genesis_hash)
        return cls(path, world, Store.open(path, create=True, genesis=world.genesis))

    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.path)

    def seal(self, count: int = 4_096) -> SealBlock | None:
        pending = self.store.spool_pending(items_max=count)
        if not pending.items:
            return None
        state = self.store.next_seal_state()
        block = self._build(pending.items, Tip(state.seq - 1, state.prev, state.first_entry))
        record = SealBlock(
            block.ref, state.prev, state.first_entry, len(pending.items), block.leaf, block.entries
        )  # fmt: skip
        self.store.commit([record])
        return record

    def _build(self, items: tuple[bytes, ...], tip: Tip) -> Block:
        block = build_block(
            [number_entry(AUTHOR, tip.next_entry + i, item) for i, item in enumerate(items)],
            genesis_hash=self.world.genesis_hash, author=AUTHOR, seq=tip.seq + 1, prev=tip.hash,
            first=tip.next_entry, time=1, sign=lambda message: sha256(message).digest() * 2,
        )  # fmt: skip
        self.world.blocks[block.ref] = block
        return block

    def finalize(self, count: int | None = None) -> None:
        blocks = [self.world.blocks[held.ref] for held in self.store.unfinal_blocks()][:count]
        self.store.commit(self.world.height(*blocks))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab.new(tmp_path / "s")
    yield lab
    lab.store.close()


def test_the_same_key_and_bytes_get_the_same_answer(lab: Lab) -> None:
    first = lab.store.spool_append(batch(b"k", b"one", b"two"))
    lab.reopen()
    assert lab.store.spool_append(batch(b"k", b"one", b"two")) == first
    assert lab.store.spool_depth().unsealed == 2


def test_the_same_key_with_other_bytes_is_a_conflict_and_harms_nobody(lab: Lab) -> None:
    lab.store.spool_append(batch(b"k", b"one"))
    futures = [lab.store.spool_submit(batch(*words)) for words in ((b"k", b"other"), (b"l", b"two"), (b"", b"three"))]
    with pytest.raises(RequestError, match="SUBMIT-09") as conflict:
        futures[0].result()
    assert conflict.value.status == 409
    assert futures[1].result().position == 1
    with pytest.raises(RequestError, match="SUBMIT-08"):
        futures[2].result()
    assert lab.store.spool_depth().unsealed == 2


def test_a_submission_is_followed_from_spool_to_log_index(lab: Lab) -> None:
    store = lab.store
    store.spool_append(batch(b"a", b"\1", b"\2", b"\3"))
    store.spool_append(batch(b"b", b"\4"))
    found = store.submission(b"a")
    assert found is not None
    assert (found.stage, found.entries) == (Stage.SPOOLED, ())
    lab.seal(2)
    found = store.submission(b"a")
    assert found is not None
    assert (found.stage, found.entries) == (Stage.SPOOLED, ((0, 2),))
    lab.seal()
    found = store.submission(b"a")
    assert found is not None
    assert (found.stage, found.entries) == (Stage.SEALED, ((0, 3),))
    assert store.entry_index(AUTHOR, 0) is None
    lab.finalize()
    found = store.submission(b"b")
    assert found is not None
    assert (found.stage, found.entries) == (Stage.FINAL, ((3, 1),))
    index = store.entry_index(AUTHOR, 3)
    assert index is not None
    assert store.entry(index) == number_entry(AUTHOR, 3, b"\4")
    assert store.spool_depth().bytes == 0
    assert store.submission(b"unknown") is None


def test_pending_items_are_bounded_in_number_and_bytes(lab: Lab) -> None:
    items = tuple(bytes([i]) * 100 for i in range(10))
    lab.store.spool_append(batch(b"a", *items[:4]))
    lab.store.spool_append(batch(b"b", *items[4:]))
    assert lab.store.spool_pending().items == items
    assert lab.store.spool_pending(items_max=5).items == items[:5]
    assert lab.store.spool_pending(bytes_max=102 * 6).items == items[:6]
    assert lab.store.spool_pending(bytes_max=102 * 6 + 101).items == items[:6]
    assert lab.store.spool_pending(bytes_max=50).items == items[:1]
    lab.seal(3)
    assert lab.store.spool_pending(items_max=3).items == items[3:6]


def test_a_block_that_does_not_follow_the_last_one_is_refused(lab: Lab) -> None:
    lab.store.spool_append(batch(b"a", b"\1", b"\2", b"\3"))
    record = lab.seal(1)
    assert record is not None
    with pytest.raises(StoreError, match="STORE-07"):
        lab.store.commit([record])
    lab.reopen()
    assert lab.store.next_seal_state().seq == 2
    assert lab.store.next_seal_state().prev == record.ref.hash


def test_holding_the_own_sealed_block_writes_its_body_once(lab: Lab) -> None:
    lab.store.spool_append(batch(b"a", b"\1"))
    lab.seal()
    (own,) = lab.store.unfinal_blocks()
    assert own.ref not in lab.store.load().blocks
    lab.store.commit([own])
    assert lab.store.load().blocks == {own.ref: own}


def test_an_own_chain_that_goes_through_the_reported_tip_is_kept(lab: Lab) -> None:
    lab.store.spool_append(batch(b"a", b"\1", b"\2", b"\3"))
    first, _second = lab.seal(1), lab.seal(1)
    assert first is not None
    state = lab.store.next_seal_state()
    lab.store.commit([AdoptTip(AUTHOR, Tip(1, first.ref.hash, 1))])
    assert lab.store.next_seal_state() == state
    lab.finalize(1)
    lab.store.commit([AdoptTip(AUTHOR, Tip(1, first.ref.hash, 1))])
    assert lab.store.next_seal_state() == state


def test_what_was_sealed_beside_the_final_chain_is_sealed_again(lab: Lab) -> None:
    """A lost state let another block 1 of ours become final: the clients of this one still get their entries."""
    lab.store.spool_append(batch(b"a", b"\1", b"\2"))
    lab.seal()
    other = lab.world.block(AUTHOR, 5)
    lab.store.commit(lab.world.height(other))
    assert lab.store.next_seal_state().prev == other.hash
    again = lab.seal()
    assert again is not None
    assert (again.ref.seq, again.first_entry) == (2, 5)
    found = lab.store.submission(b"a")
    assert found is not None
    assert found.entries == ((5, 2),)
    lab.finalize()
    found = lab.store.submission(b"a")
    assert found is not None
    assert found.stage is Stage.FINAL


def test_an_author_that_lost_everything_goes_on_from_the_reported_tip(lab: Lab) -> None:
    blocks = [lab.world.block(AUTHOR, 2), lab.world.block(AUTHOR, 3)]
    lab.store.commit([AdoptTip(AUTHOR, lab.world.tip(AUTHOR))])
    lab.store.spool_append(batch(b"a", b"\1"))
    lab.store.commit(lab.world.height(*blocks))
    record = lab.seal()
    assert record is not None
    assert (record.ref.seq, record.first_entry) == (3, 5)
    found = lab.store.submission(b"a")
    assert found is not None
    assert found.entries == ((5, 1),)


def test_items_sealed_again_get_new_entry_numbers_throughout(lab: Lab) -> None:
    """Two eras are given up at once; nothing of the old numbers may show through."""
    lab.store.spool_append(batch(b"a", b"\1", b"\2", b"\3", b"\4"))
    lab.seal(2)
    theirs = [lab.world.block(AUTHOR, 10), lab.world.block(AUTHOR, 7)]
    lab.store.commit([AdoptTip(AUTHOR, lab.world.tip(AUTHOR))])
    lab.seal(1)
    found = lab.store.submission(b"a")
    assert found is not None
    assert found.entries == ((0, 2), (17, 1))
    lab.store.commit(lab.world.height(*theirs))
    lab.seal()
    found = lab.store.submission(b"a")
    assert found is not None
    assert found.entries == ((17, 4),)


class SpoolMachine(RuleBasedStateMachine):
    """Batches, seals, heights and restarts in any order: every item ends in the log once, in order."""

    @initialize()
    def begin(self) -> None:
        from tempfile import TemporaryDirectory

        self.folder = TemporaryDirectory(prefix="spool-")
        self.lab = Lab.new(Path(self.folder.name) / "s")
        self.items: list[bytes] = []
        self.batches: list[SpoolBatch] = []

    @rule(count=st.integers(1, 5), size=st.sampled_from([1, 40, 3_000]))
    def spool(self, count: int, size: int) -> None:
        start = len(self.items)
        self.items += [b"%d " % (start + i) * size for i in range(count)]
        self.batches.append(batch(b"key %d" % start, *self.items[start:]))
        self.lab.store.spool_append(self.batches[-1])

    @rule()
    def repeat(self) -> None:
        for known in self.batches[-2:]:
            self.lab.store.spool_append(known)

    @rule(count=st.integers(1, 7))
    def seal(self, count: int) -> None:
        self.lab.seal(count)

    @rule(count=st.integers(0, 2))
    def finalize(self, count: int) -> None:
        self.lab.finalize(count)

    @rule()
    def restart(self) -> None:
        self.lab.reopen()

    @precondition(lambda self: hasattr(self, "lab"))
    @invariant()
    def items_are_in_the_log_once_and_in_order(self) -> None:
        lab = self.lab
        sealed: list[HeldBlock] = lab.store.unfinal_blocks()
        depth = lab.store.spool_depth()
        unsealed = lab.store.spool_pending().items
        assert unsealed == tuple(self.items[len(self.items) - depth.unsealed :])
        entries = [leaf for leaf in lab.world.leaves if leaf[:2] == b"\x84\x00"]
        assert entries == [number_entry(AUTHOR, i, item) for i, item in enumerate(self.items[: len(entries)])]
        in_blocks = sum(lab.world.blocks[block.ref].header.count for block in sealed)
        assert len(entries) + in_blocks + depth.unsealed == len(self.items)
        assert depth.unfinal == in_blocks + depth.unsealed

    def teardown(self) -> None:
        if hasattr(self, "lab"):
            for known in self.batches:
                found = self.lab.store.submission(known.key)
                assert found is not None
                assert found.count == len(known.items)
                assert all(first == found.position for first, _ in found.entries)
            self.lab.store.close()
            self.folder.cleanup()


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_a_held_block_of_another_author_is_no_business_of_the_spool(lab: Lab) -> None:
    lab.store.spool_append(batch(b"a", b"\1"))
    lab.seal()
    other = lab.world.block("lab-b", 2)
    lab.store.commit([held(other)])
    lab.store.commit([lab.world.final([other])])
    assert (lab.store.spool_depth().unsealed, lab.store.spool_depth().unfinal) == (0, 1)
    assert len(lab.store.unfinal_blocks()) == 1
