"""Audits of what a replica really is: an LMDB folder, copies of it whole and torn, a folder of tiles, an address."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from audit_ledger import LAB, OTHER_LAB, World, flip, make_world, write_tiles_folder
from glasslog.audit import Report, audit
from glasslog.bundle import make_bundle, verify_bundle
from glasslog_node.errors import NetworkError, StoreError
from glasslog_node.sources import open_source
from glasslog_node.store import Store, backup_replica, create_mark, default_mark_path, open_replica, schema
from glasslog_node.store.environment import open_environment
from glasslog_node.store.ledger import Ledger

TESTS = Path(__file__).parent.parent
CHILD = Path(__file__).with_name("audit_child.py")


def fill_store(folder: Path, world: World) -> Path:
    create_mark(default_mark_path(folder), world.membership.genesis_hash)
    with Store.open(folder, create=True, genesis=world.genesis) as store:
        for records in world.records:
            store.commit(records)
    return folder


def large_world() -> World:
    """Over two hundred and fifty-six leaves, so that tiles are full and two levels high."""
    world = World()
    for height in range(4):
        world.add_height([*world.make_blocks(LAB, (90, 3)), *world.make_blocks(OTHER_LAB, (2,))], skip_views=height % 2)
    world.publish()
    return world


def judge(target: Path | str, world: World) -> Report:
    with open_source(str(target)) as source:
        return audit(source, world.policy)


def assert_intact(report: Report, world: World) -> None:
    assert [one.line for one in report.findings.kept] == []
    assert (report.status, report.size, report.root) == (0, world.state.size, world.state.root)


# --- LMDB folders -----------------------------------------------------------------------------------


def test_store_and_its_backup_are_intact(tmp_path: Path) -> None:
    world = large_world()
    folder = fill_store(tmp_path / "store", world)
    report = judge(folder, world)
    assert_intact(report, world)
    assert report.certified == world.state.size
    with Store.open(folder) as store:
        backup_replica(store, tmp_path / "copy")
    assert_intact(judge(tmp_path / "copy", world), world)


def test_running_nodes_store_is_read_by_its_lock(tmp_path: Path) -> None:
    """A second process, for an environment may be open only once in one."""
    world = large_world()
    folder = fill_store(tmp_path / "store", world)
    with Store.open(folder):
        (answer,) = audit_in_child(tmp_path, world, [folder])
    assert (answer["status"], answer["size"]) == (0, world.state.size), answer


def test_store_with_nothing_but_its_genesis_is_unconfirmed(tmp_path: Path) -> None:
    world = World()
    report = judge(fill_store(tmp_path / "store", world), world)
    assert (report.status, report.size) == (3, len(world.genesis))


def test_bundle_made_from_a_store_verifies(tmp_path: Path) -> None:
    world = large_world()
    ledger = open_replica(fill_store(tmp_path / "store", world))
    try:
        for index in (len(world.genesis), len(world.genesis) + 89, 210):
            verified = verify_bundle(make_bundle(ledger, index), world.policy)
            assert verified.leaf == world.leaves[index]
    finally:
        ledger.environment.close()


def status_of(folder: Path, world: World) -> int | str:
    """The audit's status, or the code of the error where the folder cannot be read."""
    try:
        return judge(folder, world).status
    except StoreError as error:
        return error.code


ROWS = ("blocks", "spans", "heights", "certificates", "tiles", "tips", "meta")


@pytest.mark.parametrize("database", ROWS)
def test_changed_row_of_a_replica_is_never_accepted(tmp_path: Path, database: str) -> None:
    """One byte of every row, at several places, through LMDB itself: pages are sound, content is not."""
    world = large_world()
    original = fill_store(tmp_path / "store", world)
    chosen = random.Random(database)
    environment = open_environment(original, readonly=True)
    with environment.read() as txn, txn.cursor(getattr(environment.db, database)) as cursor:
        rows = {bytes(key): bytes(value) for key, value in cursor}
    environment.close()
    # The rest of meta is the node's own business, and nothing in it is the ledger's.
    stated = {schema.META_PUBLISHED, schema.META_EDGE} if database == "meta" else set(rows)
    keys = chosen.sample(sorted(stated), min(8, len(stated)))
    for number, key in enumerate(keys):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(original, copy)
        environment = open_environment(copy)
        at = chosen.randrange(8 if key == schema.META_PUBLISHED else 0, len(rows[key]))
        with environment.env.begin(write=True) as writing:
            writing.put(key, flip(rows[key], at, 1 << chosen.randrange(8)), db=getattr(environment.db, database))
        environment.close()
        assert status_of(copy, world) in (1, "STORE-03"), (key, at)
        shutil.rmtree(copy)


@pytest.mark.parametrize(
    ("database", "rule"),
    [("blocks", "AUDIT-01"), ("spans", "AUDIT-01"), ("heights", "AUDIT-17"), ("tiles", "AUDIT-12")],
)
def test_missing_row_of_a_replica_is_never_accepted(tmp_path: Path, database: str, rule: str) -> None:
    world = large_world()
    folder = fill_store(tmp_path / "store", world)
    environment = open_environment(folder)
    with environment.env.begin(write=True) as txn, txn.cursor(getattr(environment.db, database)) as cursor:
        assert cursor.first()
        assert cursor.next() or cursor.first()
        cursor.delete()
    environment.close()
    report = judge(folder, world)
    assert report.status == 1
    assert rule in {one.rule for one in report.findings.kept}


def start_child(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )  # fmt: skip


def audit_in_child(folder: Path, world: World, targets: Sequence[Path]) -> list[dict[str, Any]]:
    """Audit folders whose pages may be forged in a process of its own: LMDB trusts its file."""
    policy = folder / "policy"
    policy.write_bytes(world.policy.format())
    child = start_child("audit", policy)
    out, _ = child.communicate("".join(f"{target}\n" for target in targets), timeout=300)
    assert child.returncode == 0, "an audit ended its process"
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.processes
def test_torn_and_flipped_files_are_never_wrongly_accepted(tmp_path: Path) -> None:
    """Files put together from two moments, cut short, or with any byte changed: refused, broken, or what was true."""
    world = World()
    folder = tmp_path / "store"
    create_mark(default_mark_path(folder), world.membership.genesis_hash)
    moments: list[bytes] = []
    truths = {(len(world.genesis), world.state.root.hex())}
    with Store.open(folder, create=True, genesis=world.genesis) as store:
        for _ in range(6):
            world.add_height([*world.make_blocks(LAB, (40,)), *world.make_blocks(OTHER_LAB, (2,))])
            world.publish()
            for records in world.records[-2:]:
                store.commit(records)
            moments.append((folder / "data.mdb").read_bytes())
            truths.add((world.state.size, world.state.root.hex()))
    chosen = random.Random(7)
    files: list[bytes] = []
    for _ in range(40):
        early, late = sorted(chosen.sample(range(6), 2))
        page = chosen.randrange(1, len(moments[late]) // 4096) * 4096
        files += [moments[early][:page] + moments[late][page:], moments[late][:page] + moments[early][page:]]
    files += [moments[-1][: chosen.randrange(len(moments[-1]))] for _ in range(10)]
    files += [flip(moments[-1], chosen.randrange(len(moments[-1])), 1 << chosen.randrange(8)) for _ in range(60)]
    targets = [tmp_path / f"torn-{number}" for number in range(len(files))]
    for target, data in zip(targets, files, strict=True):
        target.mkdir()
        (target / "data.mdb").write_bytes(data)
    answers = audit_in_child(tmp_path, world, targets)
    assert len(answers) == len(files)
    for answer in answers:
        assert answer["status"] != 0 or (answer["size"], answer["root"]) in truths, answer
    assert {answer["status"] for answer in answers} >= {0, 1, 2} - ({1} if truths else set())


@pytest.mark.processes
def test_copies_taken_while_a_process_commits_are_intact_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    writer = start_child("write", folder)
    assert writer.stdin is not None
    assert writer.stdout is not None
    told = [writer.stdout.readline().split() for _ in range(3)]
    ledger = Ledger(open_environment(folder, readonly=True))
    targets: list[Path] = []
    for number in range(4):
        raw, backup = tmp_path / f"raw-{number}", tmp_path / f"backup-{number}"
        raw.mkdir()
        shutil.copyfile(folder / "data.mdb", raw / "data.mdb")
        backup_replica(ledger, backup)
        targets += [raw, backup]
        told.append(writer.stdout.readline().split())
    ledger.environment.close()
    world = World()
    live = audit_in_child(tmp_path, world, [folder])
    writer.stdin.close()
    told += [line.split() for line in writer.stdout]
    assert writer.wait(60) == 0
    writer.stdout.close()
    truths = {(int(size), root) for _, size, root in told}
    answers = audit_in_child(tmp_path, world, targets)
    for target, answer in zip(targets, answers, strict=True):
        if target.name.startswith("backup"):
            assert answer["status"] == 0, answer
        assert answer["status"] != 0 or (answer["size"], answer["root"]) in truths, answer
    assert live[0]["status"] == 0, live
    assert (live[0]["size"], live[0]["root"]) in truths


# --- tiles: folders and addresses -------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path: Path) -> tuple[Path, World]:
    world = large_world()
    folder = tmp_path / "mirror"
    folder.mkdir()
    write_tiles_folder(world, folder)
    return folder, world


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_folder_of_tiles_is_intact(mirror: tuple[Path, World]) -> None:
    folder, world = mirror
    report = judge(folder, world)
    assert_intact(report, world)
    assert any("certificates" in what for what in report.unchecked)


def test_full_tile_serves_for_a_partial_one(mirror: tuple[Path, World]) -> None:
    """A mirror may drop partial files once the full ones are there."""
    folder, world = mirror
    size = world.state.size
    while world.state.size < 512:
        world.add_height(world.make_blocks(LAB, (60,)))
    later = folder.with_name("later")
    later.mkdir()
    write_tiles_folder(world, later)
    (later / "checkpoint").write_bytes((folder / "checkpoint").read_bytes())
    shutil.copytree(folder / "tile" / "1", later / "tile" / "1", dirs_exist_ok=True)
    report = judge(later, world)
    assert (report.status, report.size) == (0, size), [one.line for one in report.findings.kept]


def test_address_is_intact_and_what_it_lacks_is_found(mirror: tuple[Path, World], serve: Any) -> None:
    folder, world = mirror
    url = serve(folder)
    assert_intact(judge(url, world), world)
    assert_intact(judge(url + "/checkpoint", world), world)
    (folder / "tile/0/000").unlink()
    assert {one.rule for one in judge(url, world).findings.kept} == {"AUDIT-12"}
    (folder / "tile/entries/000").unlink()
    assert {one.rule for one in judge(url, world).findings.kept} == {"AUDIT-02"}


def test_missing_entries_of_a_mirror_are_named(mirror: tuple[Path, World]) -> None:
    folder, world = mirror
    last = next((folder / "tile/entries").glob("001.p/*"))
    last.unlink()
    report = judge(folder, world)
    assert ("AUDIT-01", 256) in [(one.rule, one.leaf) for one in report.findings.kept]


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000", "tile/entries/000", "tile/1/000.p/*"])
def test_changed_byte_of_a_mirrors_file_is_found(mirror: tuple[Path, World], name: str) -> None:
    folder, world = mirror
    path = next(path for path in (folder, *folder.rglob("*")) if path.is_file() and path.match(f"mirror/{name}"))
    data = path.read_bytes()
    chosen = random.Random(name)
    for _ in range(25):
        path.write_bytes(flip(data, chosen.randrange(len(data)), 1 << chosen.randrange(8)))
        report = judge(folder, world)
        assert report.status == 1
        if name == "tile/entries/000":
            assert any(one.leaf is not None and one.leaf < 256 for one in report.findings.kept)


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_path_that_is_no_replica_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no replica")
    with pytest.raises(StoreError, match="SOURCE-01"):
        judge(tmp_path / name, make_world(heights=1))


def test_address_that_cannot_be_read_is_refused(tmp_path: Path, serve: Any) -> None:
    world = make_world(heights=1)
    with pytest.raises(NetworkError, match="SOURCE-03"):
        judge(serve(tmp_path), world)
    with pytest.raises(NetworkError, match="SOURCE-02"):
        judge("http://127.0.0.1:1", world)
