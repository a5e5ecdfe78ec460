"""The search index (S13): derived, resumable, deletable, and the same however it was built."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from glasslog.entry import read_prefix
from glasslog_node.errors import StoreError
from glasslog_node.store import Index, Store, create_mark, default_mark_path
from glasslog_node.store import index as index_module
from node.store_world import AUTHORS, World, subject_digest


def new_store(path: Path, world: World) -> Store:
    create_mark(default_mark_path(path), world.genesis_hash)
    return Store.open(path, create=True, genesis=world.genesis)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store(tmp_path: Path, world: World) -> Iterator[Store]:
    with new_store(tmp_path / "s", world) as store:
        yield store


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path / "index")
    yield index
    index.close()


def grow(store: Store, world: World, heights: int) -> None:
    for number in range(heights):
        store.commit(world.height(world.block("lab-a", 5 + number), world.block("lab-b", 2)))


def everything(index: Index) -> list[list[int]]:
    found = [index.by_subject(subject_digest(number)) for number in range(80)]
    found += [index.by_predicate(f"https://example.org/p{number}") for number in range(4)]
    return found + [index.by_author(author) for author in AUTHORS]


def expected(world: World) -> list[list[int]]:
    """Worked out from the leaves by their numbers alone: ``statement(n)`` has subject n and predicate n mod 3."""
    numbered = [(read_prefix(leaf)[2], at) for at, leaf in enumerate(world.leaves) if leaf[:2] == b"\x84\x00"]
    found = [[at for number, at in numbered if number == wanted] for wanted in range(80)]
    found += [[at for number, at in numbered if number % 3 == wanted] for wanted in range(4)]
    leaf_of = {block.leaf: block.header.author for block in world.blocks.values()}
    headers = [(leaf_of[leaf], at) for at, leaf in enumerate(world.leaves) if leaf in leaf_of]
    return found + [[at for name, at in headers if name == author] for author in AUTHORS]


def test_the_index_finds_what_the_leaves_say(store: Store, world: World, index: Index) -> None:
    grow(store, world, 5)
    assert index.catch_up(store) == store.size == index.size
    assert everything(index) == expected(world)


def test_an_index_built_in_steps_equals_one_rebuilt(
    store: Store, world: World, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_ROWS_MAX", 7)
    for until in (0, 3, 9, 20, None):
        grow(store, world, 2)
        index.catch_up(store, until)
    stepwise = everything(index)
    index.rebuild()
    assert index.size == 0
    index.catch_up(store)
    assert everything(index) == stepwise == expected(world)


def test_an_index_goes_on_where_it_stopped(tmp_path: Path, store: Store, world: World) -> None:
    for _ in range(3):
        grow(store, world, 1)
        index = Index(tmp_path / "index")
        index.catch_up(store)
        index.close()
    index = Index(tmp_path / "index")
    assert index.size == store.size
    assert everything(index) == expected(world)
    index.close()


def test_an_index_of_another_ledger_is_thrown_away(tmp_path: Path, store: Store, world: World, index: Index) -> None:
    other = World("othernet")
    with new_store(tmp_path / "other", other) as elsewhere:
        grow(elsewhere, other, 6)
        index.catch_up(elsewhere)
    grow(store, world, 3)
    assert index.catch_up(store) == store.size
    assert everything(index) == expected(world)


def test_no_transaction_is_large(index: Index, store: Store, world: World) -> None:
    """LMDB keeps the pages of its largest transaction in memory: with every row on a page of its own, 4 KiB a row."""
    grow(store, world, 1)
    rows = [(0, sha256(bytes([number % 256, number // 256])).digest()) for number in range(5_000)]
    before = index._env.info()["last_txnid"]
    index._write(rows, store.size, store)
    assert index._env.info()["last_txnid"] - before >= 5


def stopped_in_the_middle(index: Index, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first of several transactions of a batch is written."""
    put, written = Index._put, list[int]()

    def stop(self: Index, *arguments: object) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(1)
        put(self, *arguments)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(index_module, "_TRANSACTION_ROWS_MAX", 9)
    monkeypatch.setattr(Index, "_put", stop)
    with pytest.raises(KeyboardInterrupt):
        index.catch_up(store)
    monkeypatch.undo()


def test_a_batch_that_was_written_in_part_is_done_again(
    store: Store, world: World, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(store, world, 5)
    stopped_in_the_middle(index, store, monkeypatch)
    assert index.size == 0
    assert index.catch_up(store) == store.size
    assert everything(index) == expected(world)


def test_part_of_a_batch_of_another_ledger_is_thrown_away(
    tmp_path: Path, store: Store, world: World, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = World("othernet")
    with new_store(tmp_path / "other", other) as elsewhere:
        grow(elsewhere, other, 6)
        stopped_in_the_middle(index, elsewhere, monkeypatch)
    assert any(everything(index))
    grow(store, world, 1)
    index.catch_up(store)
    assert everything(index) == expected(world)


def test_results_come_in_pages(store: Store, world: World, index: Index) -> None:
    grow(store, world, 5)
    index.catch_up(store)
    whole = index.by_predicate("https://example.org/p0")
    assert len(whole) > 4
    assert index.by_predicate("https://example.org/p0", limit=2) == whole[:2]
    assert index.by_predicate("https://example.org/p0", start=whole[1] + 1) == whole[2:]
    assert index.by_subject(b"unknown") == []


def test_an_index_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="STORE-05"):
        Index(tmp_path / "file")
