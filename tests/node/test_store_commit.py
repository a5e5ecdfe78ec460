"""The durability contract (specs/storage.md, S1 to S7): what is there after a crash, a full disk, a rollback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from glasslog.agreement.effects import CosignIntent, DroppedBlocks, OwnVote, StateRecovered
from glasslog.agreement.messages import Kind
from glasslog_node.errors import StoreError
from glasslog_node.store import Store, create_mark, default_mark_path
from glasslog_node.store.mark import Mark, read_mark
from node.store_world import World, held, vote

TESTS = Path(__file__).parent.parent


def new_store(path: Path, world: World) -> Store:
    create_mark(default_mark_path(path), world.genesis_hash)
    return Store.open(path, create=True, genesis=world.genesis)


@pytest.fixture
def world() -> World:
    return World()


def reopen(store: Store) -> Store:
    store.close()
    return Store.open(store.environment.path)


def test_a_new_store_holds_the_genesis_and_vouches_for_its_past(tmp_path: Path, world: World) -> None:
    with new_store(tmp_path / "s", world) as store:
        assert store.size == len(world.genesis)
        assert list(store.leaves(0, 99)) == world.leaves
        assert store.genesis_hash == world.genesis_hash
        assert store.edge().root() == world.state.root
        assert not store.state_lost
        assert store.height == 0


def test_a_committed_height_is_there_after_reopening(tmp_path: Path, world: World) -> None:
    store = new_store(tmp_path / "s", world)
    generation = store.commit(world.height(world.block("lab-a"), world.block("lab-b", 5)))
    with reopen(store) as store:
        assert store.generation == generation == 2
        assert list(store.leaves(0, store.size)) == world.leaves
        assert not store.state_lost


def test_a_height_on_a_block_that_is_not_held_is_refused_whole(tmp_path: Path, world: World) -> None:
    store = new_store(tmp_path / "s", world)
    intent = CosignIntent(7, b"r" * 32, 1)
    with pytest.raises(StoreError, match="STORE-07"):
        store.commit([intent, world.final([world.block()])])
    with pytest.raises(StoreError, match="STORE-06"):
        store.commit([intent])
    with reopen(store) as store:
        assert store.load().intent is None
        assert store.size == len(world.genesis)
        store.commit([intent])
        assert store.load().intent == intent


def test_a_dropped_sibling_goes_and_a_final_block_stays(tmp_path: Path, world: World) -> None:
    start = world.tip("lab-a")
    block, sibling = world.block(), world.block(count=4, prev=start)
    with new_store(tmp_path / "s", world) as store:
        store.commit([held(block), held(sibling)])
        store.commit([world.final([block]), DroppedBlocks((sibling.ref,))])
        store.commit([held(block)])
        store.commit([DroppedBlocks((block.ref,))])
        assert store.block(sibling.ref) is None
        assert store.block(block.ref) is not None
        assert list(store.leaves(0, store.size)) == world.leaves


def test_a_group_of_queued_commits_costs_one_generation(tmp_path: Path, world: World) -> None:
    with new_store(tmp_path / "s", world) as store:
        futures = [store.submit([OwnVote(vote(view, Kind.NOTARIZE, b"d" * 32))]) for view in range(1, 200)]
        generations = [future.result() for future in futures]
        assert generations == sorted(generations)
        assert len(set(generations)) < len(generations)
        assert len(store.load().votes) == 199


# --- refusals -------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused_by_number(tmp_path: Path, world: World) -> None:
    new_store(tmp_path / "s", world).close()
    with lmdb.open(str(tmp_path / "s"), max_dbs=20) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True) as txn:
            txn.put(b"schema", (2).to_bytes(8, "big"), db=meta)
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"STORE-01 .* has schema 2, this program knows up to 1\. Next: "):
            Store.open(tmp_path / "s", readonly=readonly)


def test_another_networks_store_is_refused(tmp_path: Path, world: World) -> None:
    new_store(tmp_path / "s", world).close()
    with pytest.raises(StoreError, match="STORE-04"):
        Store.open(tmp_path / "s", genesis=World("othernet").genesis)
    Store.open(tmp_path / "s", genesis=world.genesis).close()


def test_an_absent_store_is_not_made_by_opening_it(tmp_path: Path) -> None:
    for readonly in (False, True):
        with pytest.raises(StoreError, match="STORE-02"):
            Store.open(tmp_path / "s", readonly=readonly)
    assert not (tmp_path / "s").exists()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path, world: World) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="STORE-03"):
        Store.open(tmp_path / "s")


def test_a_truncated_store_is_refused_before_it_is_touched(tmp_path: Path, world: World) -> None:
    with new_store(tmp_path / "s", world) as store:
        store.commit(world.height(world.block(count=500, size=200)))
    data = tmp_path / "s" / "data.mdb"
    os.truncate(data, data.stat().st_size // 2)
    with pytest.raises(StoreError, match="STORE-03"):
        Store.open(tmp_path / "s")


def test_a_store_whose_making_was_cut_off_is_made_by_the_next_start(tmp_path: Path, world: World) -> None:
    (tmp_path / "s").mkdir()
    create_mark(default_mark_path(tmp_path / "s"), world.genesis_hash)
    lmdb.open(str(tmp_path / "s"), max_dbs=20).close()
    with pytest.raises(StoreError, match="STORE-03"):
        Store.open(tmp_path / "s")
    with Store.open(tmp_path / "s", create=True, genesis=world.genesis) as store:
        assert store.size == len(world.genesis)
        assert not store.state_lost


def test_a_second_process_cannot_own_the_store(tmp_path: Path, world: World) -> None:
    code = "import sys; from pathlib import Path; from glasslog_node.store import Store; Store.open(Path(sys.argv[1]))"
    with new_store(tmp_path / "s", world):
        ended = subprocess.run([sys.executable, "-c", code, tmp_path / "s"], capture_output=True, check=False)
    assert b"STORE-08" in ended.stderr


def test_a_reader_neither_writes_nor_needs_the_mark(tmp_path: Path, world: World) -> None:
    new_store(tmp_path / "s", world).close()
    default_mark_path(tmp_path / "s").unlink()
    with Store.open(tmp_path / "s", readonly=True) as store:
        assert list(store.leaves(0, 99)) == world.leaves
        with pytest.raises(StoreError, match="STORE-06"):
            store.commit([])


# --- the high-water mark --------------------------------------------------------------------------


def test_a_rolled_back_store_says_so_and_goes_on_saying_so(tmp_path: Path, world: World) -> None:
    with new_store(tmp_path / "s", world) as store:
        store.commit([OwnVote(vote(1, Kind.NOTARIZE, b"d" * 32))])
    shutil.copytree(tmp_path / "s", tmp_path / "old")
    with Store.open(tmp_path / "s") as store:
        store.commit([OwnVote(vote(1, Kind.FINALIZE, b"d" * 32))])
    shutil.rmtree(tmp_path / "s")
    (tmp_path / "old").rename(tmp_path / "s")
    mark = default_mark_path(tmp_path / "s").read_bytes()
    with Store.open(tmp_path / "s") as store:
        assert store.load().lost
        assert "rolled back" in (store.lost_reason or "")
        for view in range(2, 9):  # its generation now passes the mark's
            store.commit([OwnVote(vote(view, Kind.NULLIFY, b""))])
    assert default_mark_path(tmp_path / "s").read_bytes() == mark, "another old copy would pass by a newer mark"
    with Store.open(tmp_path / "s") as store:
        assert store.load().lost
        store.commit([StateRecovered(12)])
    with Store.open(tmp_path / "s") as store:
        assert not store.state_lost
        assert not store.load().lost


@pytest.mark.parametrize("damage", ["gone", "torn", "empty", "other network"])
def test_a_store_without_a_believable_mark_is_lost(tmp_path: Path, world: World, damage: str) -> None:
    mark = default_mark_path(tmp_path / "s")
    new_store(tmp_path / "s", world).close()
    if damage == "gone":
        mark.unlink()
    elif damage == "other network":
        mark.unlink()
        create_mark(mark, b"\7" * 32)
    else:
        mark.write_bytes(b"" if damage == "empty" else mark.read_bytes().replace(b"0", b"1"))
    with Store.open(tmp_path / "s") as store:
        assert store.state_lost


def test_a_vanished_store_is_lost_though_the_mark_is_there(tmp_path: Path, world: World) -> None:
    with new_store(tmp_path / "s", world) as store:
        for view in range(1, 4):
            store.commit([OwnVote(vote(view, Kind.NULLIFY, b""))])
    shutil.rmtree(tmp_path / "s")
    with Store.open(tmp_path / "s", create=True, genesis=world.genesis) as store:
        assert store.state_lost
        store.commit([StateRecovered(9)])
    with Store.open(tmp_path / "s") as store:
        assert not store.state_lost, "the new store is short, and the mark must not have gone back"


def test_one_torn_slot_of_the_mark_leaves_the_other_as_a_bound(tmp_path: Path, world: World) -> None:
    mark = default_mark_path(tmp_path / "s")
    with new_store(tmp_path / "s", world) as store:
        for view in range(1, 6):
            store.commit([OwnVote(vote(view, Kind.NULLIFY, b""))])
        generation = store.generation
    data = bytearray(mark.read_bytes())
    data[generation % 2 * 128 + 60] ^= 1
    mark.write_bytes(data)
    assert read_mark(mark, world.genesis_hash) == Mark(world.genesis_hash, generation - 1)
    with Store.open(tmp_path / "s") as store:
        assert not store.state_lost


def test_a_mark_is_not_made_twice(tmp_path: Path) -> None:
    create_mark(tmp_path / "m", b"\1" * 32)
    with pytest.raises(StoreError, match="STORE-09"):
        create_mark(tmp_path / "m", b"\1" * 32)


# --- crashes and full disks -----------------------------------------------------------------------

COMMITTER = """
import sys
from pathlib import Path
from node.store_world import World
from glasslog_node.store import Store
world = World()
with Store.open(Path(sys.argv[1]), create=True, genesis=world.genesis) as store:
    while True:
        print(store.commit(world.height(world.block("lab-a", 20, size=100))), world.state.size, flush=True)
"""


@pytest.mark.processes
@pytest.mark.parametrize("lines", [1, 7, 40])
def test_every_acknowledged_commit_survives_kill_9(tmp_path: Path, world: World, lines: int) -> None:
    create_mark(default_mark_path(tmp_path / "s"), world.genesis_hash)
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", COMMITTER, str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.readlines()
    generation, size = map(int, seen[-1].split())
    with Store.open(tmp_path / "s") as store:
        assert store.generation >= generation
        assert store.size >= size
        assert not store.state_lost
        while world.state.size < store.size:
            world.height(world.block("lab-a", 20, size=100))
        assert list(store.leaves(0, store.size)) == world.leaves
        assert store.edge() == world.state.edge


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs needs root")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_stops_the_store_and_keeps_what_was_acknowledged(small_disk: Path, world: World) -> None:
    store = new_store(small_disk / "s", world)
    sizes = [store.size]

    def fill() -> None:
        while True:
            store.commit(world.height(world.block(count=50, size=400)))
            sizes.append(world.state.size)

    with pytest.raises(StoreError, match=r"STORE-05 .*\. Next: free disk space"):
        fill()
    with pytest.raises(StoreError, match="STORE-06"):
        store.commit([OwnVote(vote(99, Kind.NULLIFY, b""))])
    assert store.failure is not None
    with reopen(store) as store:
        assert store.size == sizes[-1]
        assert len(sizes) > 2
        assert list(store.leaves(0, store.size)) == world.leaves[: store.size]
        assert not store.state_lost
        assert not store.load().votes


def test_a_mark_that_cannot_be_written_stops_the_store(tmp_path: Path, world: World) -> None:
    store = new_store(tmp_path / "s", world)
    store.commit([])
    fd = next(int(fd.name) for fd in Path("/proc/self/fd").iterdir() if str(fd.resolve()).endswith("/s.mark"))
    unwritable = os.open(os.devnull, os.O_RDONLY)
    os.dup2(unwritable, fd)
    os.close(unwritable)
    with pytest.raises(StoreError, match="STORE-05"):
        store.commit([])
    with pytest.raises(StoreError, match="STORE-06"):
        store.commit([])
    store.close()
