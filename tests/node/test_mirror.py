"""Static mirrors: of a replica and of an address, kept up to date, killed, lied to, and read alone (P1 to P6)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from audit_ledger import LAB, World, flip, write_tiles_folder
from claims_ledger import Story, root
from forked_ledger import make_branches
from glasslog.bundle import make_bundle
from glasslog.entry import StatementEntry, decode_leaf
from glasslog_node.store import Store, create_mark, default_mark_path


def glasslog(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glasslog_node", *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


class Handler(SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]]
    hold_after: ClassVar[int | None] = None  # requests answered before the server stalls
    stalled: ClassVar[threading.Event]
    release: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.hold_after is not None and len(self.asked) > self.hold_after:
            self.stalled.set()
            self.release.wait(60)
        super().do_GET()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class Site:
    """A folder of tiles, served by the standard library's web server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

        class Handling(Handler):
            asked: ClassVar[list[str]] = []
            stalled: ClassVar[threading.Event] = threading.Event()
            release: ClassVar[threading.Event] = threading.Event()

        self.handler = Handling
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(self.handler, directory=str(folder)))
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def asked(self) -> list[str]:
        return self.handler.asked

    def close(self) -> None:
        self.handler.release.set()
        self.server.shutdown()
        self.server.server_close()


def grow(world: World, *counts: int) -> World:
    for count in counts:
        world.add_height(world.make_blocks(LAB, (count,)))
    world.publish()
    return world


@pytest.fixture
def world() -> World:
    return grow(World(), 700, 300)


@pytest.fixture
def site(tmp_path: Path, world: World) -> Iterator[Site]:
    folder = tmp_path / "served"
    folder.mkdir()
    write_tiles_folder(world, folder)
    (tmp_path / "policy").write_bytes(world.policy.format())
    served = Site(folder)
    yield served
    served.close()


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".mirror.lock"
    }


def test_mirror_of_an_address_is_what_it_serves_and_passes_an_audit(tmp_path: Path, site: Site) -> None:
    policy, mirror = tmp_path / "policy", tmp_path / "mirror"
    result = glasslog("mirror", "sync", site.url, mirror, "--policy", policy, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["origin_confirmed"] is True
    assert files_of(mirror) == files_of(site.folder)
    assert glasslog("audit", mirror, "--policy", policy).returncode == 0


def test_replica_is_exported_as_the_same_files(tmp_path: Path, world: World, site: Site) -> None:
    replica = tmp_path / "replica"
    create_mark(default_mark_path(replica), world.membership.genesis_hash)
    with Store.open(replica, create=True, genesis=world.genesis) as store:
        for records in world.records:
            store.commit(records)
    mirror = tmp_path / "mirror"
    result = glasslog("mirror", "export", mirror, "--from", replica, "--policy", tmp_path / "policy")
    assert result.returncode == 0, result.stderr
    assert f"up to size {len(world.leaves)}, from the first leaf on" in result.stdout
    assert files_of(mirror) == files_of(site.folder)
    with Store.open(replica) as store:  # leaves above the published size are not mirrored
        seen = len(world.records)
        world.add_height(world.make_blocks(LAB, (40,)))
        for records in world.records[seen:]:
            store.commit(records)
    again = glasslog("mirror", "export", mirror, "--from", replica)
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, f"{mirror}: nothing new")
    assert files_of(mirror) == files_of(site.folder)


def test_next_run_asks_for_what_is_new_alone_and_old_partial_files_go(tmp_path: Path, world: World, site: Site) -> None:
    mirror = tmp_path / "mirror"
    sizes = [len(world.leaves)]
    assert glasslog("mirror", "sync", site.url, mirror).returncode == 0
    for count in (90, 400):
        shutil.rmtree(site.folder / "tile")
        grow(world, count)
        write_tiles_folder(world, site.folder)
        site.asked.clear()
        result = glasslog("mirror", "sync", site.url, mirror, "--json")
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["before"] == sizes[-1]
        bundles = [path for path in site.asked if path.startswith("/tile/entries/")]
        assert len(bundles) == -(-len(world.leaves) // 256) - sizes[-1] // 256
        sizes.append(len(world.leaves))
    kept = files_of(mirror)
    assert files_of(site.folder).items() <= kept.items()
    others = kept.keys() - files_of(site.folder).keys()
    assert {name.rpartition("/")[2] for name in others} == {str(sizes[-2] % 256), str(sizes[-2] >> 8)}
    assert glasslog("audit", mirror, "--policy", tmp_path / "policy").returncode == 0


def test_killed_run_leaves_no_checkpoint_and_the_next_goes_on(tmp_path: Path, site: Site) -> None:
    """What it left is verified again and not asked for again (P4)."""
    mirror = tmp_path / "mirror"
    site.handler.hold_after = 8  # the checkpoint, two tiles of the edge, four bundles asked for ahead, a tile
    command = [sys.executable, "-m", "glasslog_node", "mirror", "sync", site.url, str(mirror)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert site.handler.stalled.wait(60)
        process.send_signal(signal.SIGKILL)
    assert not (mirror / "checkpoint").exists()
    left = {name for name in files_of(mirror) if not name.endswith(".partial")}
    assert left
    assert {name: files_of(mirror)[name] for name in left}.items() <= files_of(site.folder).items()
    site.handler.hold_after = None
    site.handler.release.set()
    site.asked.clear()
    assert glasslog("mirror", "sync", site.url, mirror).returncode == 0
    assert files_of(mirror) == files_of(site.folder)
    assert not {f"/{name}" for name in left if "entries" in name} & set(site.asked)


SPOILT = ["tile/0/000", "tile/0/003.p/*", "tile/1/000.p/*", "tile/entries/001", "tile/entries/003.p/*", "checkpoint"]


@pytest.mark.parametrize("name", SPOILT)
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_nothing_that_is_not_of_the_tree_gets_its_name(tmp_path: Path, site: Site, name: str, how: str) -> None:
    honest = files_of(site.folder)
    (path,) = site.folder.glob(name)
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(flip(data, 40) if how == "flipped" else data[:-1])
    mirror = tmp_path / "mirror"
    result = glasslog("mirror", "sync", site.url, mirror, "--policy", tmp_path / "policy")
    assert result.returncode in (1, 2), result.stdout
    assert len(result.stderr.splitlines()) == 1
    code = result.stderr.split()[0]
    assert code == "MIRROR-01" or (name == "checkpoint" and code.partition("-")[0] in {
        "NOTE", "CHECKPOINT", "POLICY", "SOURCE",
    }), result.stderr  # fmt: skip
    if mirror.exists():
        assert files_of(mirror).items() <= honest.items()
        assert not (mirror / "checkpoint").exists()


def test_fork_changes_nothing_and_its_note_is_kept(tmp_path: Path) -> None:
    one, other = make_branches((0, 1, 2), (1, 2, 3), heights=(1, 3))
    folders = [tmp_path / "one", tmp_path / "other"]
    for world, folder in zip((one, other), folders, strict=True):
        folder.mkdir()
        write_tiles_folder(world, folder)
    (tmp_path / "policy").write_bytes(one.policy.format())
    mirror = tmp_path / "mirror"
    assert glasslog("mirror", "sync", folders[0], mirror).returncode == 0
    before = files_of(mirror)
    result = glasslog("mirror", "sync", folders[1], mirror)
    assert (result.returncode, result.stderr.split()[0]) == (2, "MIRROR-05")
    kept = f"fork-{len(other.leaves)}.note"
    assert files_of(mirror) == before | {kept: other.note}
    compared = glasslog("compare", mirror, folders[1], "--policy", tmp_path / "policy", "--json")
    culprits = json.loads(compared.stdout)["culprits"]
    assert {culprit["name"] for culprit in culprits} == {"institute-1.example", "institute-2.example"}


def test_older_checkpoint_other_log_and_itself_are_refused(tmp_path: Path, world: World, site: Site) -> None:
    mirror = tmp_path / "mirror"
    earlier = tmp_path / "earlier"
    shutil.copytree(site.folder, earlier)
    grow(world, 10)
    write_tiles_folder(world, site.folder)
    assert glasslog("mirror", "sync", site.url, mirror).returncode == 0
    before = files_of(mirror)
    strange = tmp_path / "strange"
    shutil.copytree(earlier, strange)
    note = (strange / "checkpoint").read_bytes()
    (strange / "checkpoint").write_bytes(note.replace(b"ledger.example/audited\n", b"ledger.example/another\n", 1))
    for source, code in ((earlier, "MIRROR-04"), (strange, "MIRROR-03"), (mirror, "MIRROR-08")):
        result = glasslog("mirror", "sync", source, mirror)
        assert (result.returncode, result.stderr.split()[0]) == (2, code)
    assert files_of(mirror) == before


def test_folder_that_cannot_be_written_or_is_being_written(tmp_path: Path, site: Site) -> None:
    (tmp_path / "file").write_bytes(b"")
    result = glasslog("mirror", "sync", site.url, tmp_path / "file")
    assert (result.returncode, result.stderr.split()[0]) == (2, "MIRROR-06")
    mirror = tmp_path / "mirror"
    site.handler.hold_after = len(site.asked) + 1  # its checkpoint alone: it holds the folder by then
    command = [sys.executable, "-m", "glasslog_node", "mirror", "sync", site.url, str(mirror)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert site.handler.stalled.wait(60)
        site.handler.hold_after = None
        result = glasslog("mirror", "sync", site.url, mirror)
        process.kill()
    assert (result.returncode, result.stderr.split()[0]) == (2, "MIRROR-07")


def test_unconfirmed_checkpoint_is_refused_under_a_policy(tmp_path: Path) -> None:
    world = grow(World(), 5)
    folder = tmp_path / "served"
    folder.mkdir()
    world.publish(signers=[0])
    write_tiles_folder(world, folder)
    (tmp_path / "policy").write_bytes(world.policy.format())
    result = glasslog("mirror", "sync", folder, tmp_path / "mirror", "--policy", tmp_path / "policy")
    assert (result.returncode, result.stderr[:7]) == (1, "POLICY-")
    assert not files_of(tmp_path / "mirror")


def test_mirror_is_all_that_find_and_assess_need(tmp_path: Path) -> None:
    story = Story()
    served = tmp_path / "served"
    served.mkdir()
    write_tiles_folder(story.grow(), served)
    (tmp_path / "policy").write_bytes(story.world.policy.format())
    mirror = tmp_path / "mirror"
    assert glasslog("mirror", "sync", served, mirror).returncode == 0
    shutil.rmtree(served)
    log = ("--in", mirror, "--policy", tmp_path / "policy")
    assert "found  10 statements" in glasslog("find", root("tuned").hex(), *log).stdout
    assert glasslog("assess", root("tuned").hex(), *log).returncode == 0


@pytest.mark.parametrize("entry", ["index", "statement", "author"])
def test_bundles_are_made_from_a_mirror_and_verify(tmp_path: Path, site: Site, world: World, entry: str) -> None:
    """Of an entry in the middle of a block that reaches over three bundles."""
    mirror, policy, bundle = tmp_path / "mirror", tmp_path / "policy", tmp_path / "bundle"
    assert glasslog("mirror", "sync", site.url, mirror).returncode == 0
    index = 600
    leaf = decode_leaf(world.leaves[index])
    assert isinstance(leaf, StatementEntry)
    sought = {
        "index": str(index), "statement": sha256(leaf.statement).hexdigest(), "author": f"{leaf.author}/{leaf.seq}",
    }[entry]  # fmt: skip
    made = glasslog("prove", sought, "--in", mirror, "-o", bundle)
    assert made.returncode == 0, made.stderr
    assert bundle.read_bytes() == make_bundle(world.reader(), index)
    verified = glasslog("verify", bundle, "--policy", policy, "--json")
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("entry", ["999999", "0", "00" * 32, f"{LAB}/99999", "what?", f"{LAB}/x", "-1", "707", "708"])
def test_entry_that_is_not_there_has_one_line(tmp_path: Path, site: Site, entry: str) -> None:
    made = glasslog("prove", "--in", site.folder, "-o", tmp_path / "bundle", "--", entry)
    assert (made.returncode, made.stderr.split()[0]) == (2, "PROVE-01")
    assert len(made.stderr.splitlines()) == 1
    assert not (tmp_path / "bundle").exists()
