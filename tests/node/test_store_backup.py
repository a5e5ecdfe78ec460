"""Copies of a store (S9): consistent while the node writes, ledger only, and honest about being copies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glasslog.agreement.effects import OwnVote, PublishedNote
from glasslog.agreement.messages import Kind
from glasslog.block import Ref
from glasslog_node.errors import StoreError
from glasslog_node.store import (
    SpoolBatch,
    Store,
    backup_full,
    backup_replica,
    create_mark,
    default_mark_path,
    open_replica,
)
from glasslog_node.store import backup as backup_module
from glasslog_node.store.serving import Serving
from node.store_world import World, held, vote

TESTS = Path(__file__).parent.parent
SECRET = b"what only the client may read " * 40


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def store(tmp_path: Path, world: World) -> Iterator[Store]:
    create_mark(default_mark_path(tmp_path / "s"), world.genesis_hash)
    with Store.open(tmp_path / "s", create=True, genesis=world.genesis) as store:
        for count in (3, 600, 1):
            store.commit(world.height(world.block("lab-a", count), world.block("lab-b", 2)))
        store.commit([PublishedNote(world.state.size, b"note"), OwnVote(vote(9, Kind.NOTARIZE, b"d" * 32))])
        store.commit([held(world.block("lab-a", 1))])
        store.spool_append(SpoolBatch(b"key", b"\0" * 32, (SECRET,)))
        yield store


def check_whole(copy: Serving, world: World, size: int) -> None:
    """Every read of the copy agrees with the ledger as it was at ``size``."""
    assert copy.size == size
    assert list(copy.leaves(0, size + 1)) == world.leaves[:size]
    assert copy.edge().root() == copy.hash_reader(size).root()
    assert copy.height_of_size(size) == copy.height
    assert copy.tile(0, size // 256) is None
    for author, tip in copy.tips().items():
        assert copy.entry_index(author, tip.next_entry - 1) is not None
        assert copy.entry_index(author, tip.next_entry) is None
        assert copy.block(Ref(author, tip.seq, tip.hash)) is not None


def test_a_replica_copy_is_the_ledger_and_nothing_private(tmp_path: Path, store: Store, world: World) -> None:
    assert backup_replica(store, tmp_path / "copy") == world.state.size
    copy = open_replica(tmp_path / "copy")
    check_whole(copy, world, world.state.size)
    assert copy.published() == store.published()
    assert copy.tips() == store.tips()
    for height in range(1, copy.height + 1):
        assert copy.finalized_height(height) == store.finalized_height(height)
        assert copy.certificates(1, height) == store.certificates(1, height) != []
    copy.environment.close()
    data = (tmp_path / "copy" / "data.mdb").read_bytes()
    assert SECRET not in data
    assert vote(9, Kind.NOTARIZE, b"d" * 32).signature not in data
    assert SECRET in (tmp_path / "s" / "data.mdb").read_bytes()
    assert sorted(path.name for path in (tmp_path / "copy").iterdir() if path.name != "lock.mdb") == ["data.mdb"]


def test_what_becomes_final_during_a_copy_is_left_out(
    tmp_path: Path, store: Store, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, take = world.state.size, backup_module._take

    def take_and_grow(*arguments: Any) -> object:
        snapshot = take(*arguments)
        for _ in range(3):
            store.commit(world.height(world.block("lab-b", 500)))
        return snapshot

    monkeypatch.setattr(backup_module, "_take", take_and_grow)
    assert backup_replica(store, tmp_path / "copy") == before < store.size
    copy = open_replica(tmp_path / "copy")
    check_whole(copy, world, before)
    assert copy.certificates(1, world.view) == []
    copy.environment.close()


@pytest.mark.parametrize("backup", [backup_replica, backup_full])
def test_a_node_booted_from_a_copy_knows_it_is_one(tmp_path: Path, store: Store, world: World, backup: object) -> None:
    assert callable(backup)
    backup(store, tmp_path / "copy")
    create_mark(default_mark_path(tmp_path / "copy"), world.genesis_hash)
    for _ in range(2):
        with Store.open(tmp_path / "copy") as copy:
            assert copy.lost_reason == "restored from a backup"
            durable = copy.load()
            assert durable.lost
            assert durable.floor == store.load().floor
            assert bool(durable.votes) == (backup is backup_full)
            copy.commit([])


def test_a_full_copy_goes_on_where_the_node_was(tmp_path: Path, store: Store, world: World) -> None:
    backup_full(store, tmp_path / "copy")
    create_mark(default_mark_path(tmp_path / "copy"), world.genesis_hash)
    with Store.open(tmp_path / "copy") as copy:
        check_whole(copy, world, world.state.size)
        assert copy.spool_pending().items == (SECRET,)
        assert copy.load().blocks == store.load().blocks
        copy.commit([world.final([world.blocks[ref] for ref in copy.load().blocks])])
        check_whole(copy, world, world.state.size)


def test_nothing_that_exists_is_overwritten(tmp_path: Path, store: Store) -> None:
    for backup in (backup_replica, backup_full):
        with pytest.raises(StoreError, match="STORE-10"):
            backup(store, tmp_path / "s")


def test_a_failed_backup_leaves_nothing_that_looks_like_one(tmp_path: Path, store: Store) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="STORE-05"):
        backup_replica(store, tmp_path / "file" / "copy")
    store.environment.close()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreError, match="STORE-05"):
        backup_replica(store, tmp_path / "copy")
    assert sorted(tmp_path.iterdir()) == before


WRITER = """
import sys
from pathlib import Path
from typing import Any
from node.store_world import World
from glasslog_node.store import Store
world = World()
with Store.open(Path(sys.argv[1]), create=True, genesis=world.genesis) as store:
    for height in range(int(sys.argv[2])):
        store.commit(world.height(world.block("lab-a", 90, size=300), world.block("lab-b", 7)))
        print(height, flush=True)
"""


@pytest.mark.processes
def test_copies_taken_from_another_process_under_load_are_whole(tmp_path: Path, world: World) -> None:
    create_mark(default_mark_path(tmp_path / "s"), world.genesis_hash)
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    sizes: list[int] = []
    command = [sys.executable, "-c", WRITER, str(tmp_path / "s"), "150"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with Store.open(tmp_path / "s", readonly=True) as reader:
            while process.poll() is None and len(sizes) < 12:
                sizes.append(backup_replica(reader, tmp_path / f"copy{len(sizes)}"))
        process.stdout.read()
    assert len(set(sizes)) > 1, "the copies were not taken while it wrote"
    while world.state.size < max(sizes):
        world.height(world.block("lab-a", 90, size=300), world.block("lab-b", 7))
    for number, size in enumerate(sizes):
        copy = open_replica(tmp_path / f"copy{number}")
        check_whole(copy, world, size)
        copy.environment.close()


@pytest.mark.parametrize("damage", ["cut", "page", "meta", "not lmdb"])
def test_a_torn_or_forged_replica_is_refused_without_a_crash(tmp_path: Path, store: Store, damage: str) -> None:
    backup_replica(store, tmp_path / "copy")
    path = tmp_path / "copy" / "data.mdb"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "page":
        data[3 * 4096 + 8 : 3 * 4096 + 300] = b"\xff" * 292
    elif damage == "meta":
        data[:8192] = b"\0" * 8192
    else:
        data = bytearray(b"{}")
    path.write_bytes(data)
    with pytest.raises(StoreError, match="STORE-03"):
        open_replica(tmp_path / "copy")


def test_there_is_no_replica_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="STORE-02"):
        open_replica(tmp_path)


@pytest.mark.processes
def test_a_raw_copy_taken_under_load_is_refused_or_an_earlier_ledger(tmp_path: Path, world: World) -> None:
    create_mark(default_mark_path(tmp_path / "s"), world.genesis_hash)
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", WRITER, str(tmp_path / "s"), "100"]
    copies: list[Path] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while process.poll() is None and len(copies) < 12:
            copies.append(tmp_path / f"raw{len(copies)}")
            copies[-1].mkdir()
            shutil.copyfile(tmp_path / "s" / "data.mdb", copies[-1] / "data.mdb")
        process.stdout.read()
    for path in copies:
        try:
            copy = open_replica(path)
        except StoreError:
            continue
        while world.state.size < copy.size:
            world.height(world.block("lab-a", 90, size=300), world.block("lab-b", 7))
        assert list(copy.leaves(0, copy.size)) == world.leaves[: copy.size]
        copy.environment.close()
