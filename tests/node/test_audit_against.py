"""``glasslog audit --against``: two histories of one origin, as the command line shows them to an auditor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from audit_ledger import World, write_tiles_folder
from forked_ledger import Branch, make_branches
from glasslog.agreement.evidence import decode_evidence, verify_evidence
from glasslog.audit import Fork, convict
from glasslog.bundle import make_bundle
from glasslog.identity import verify_ed25519
from glasslog.merkle import hash_leaf
from glasslog.proof import TlogProof
from glasslog_node.store import Store, create_mark, default_mark_path

COMMAND = [sys.executable, "-m", "glasslog_node", "audit"]


def show(text: str) -> None:
    """What the command printed: seen with ``pytest -s``."""
    print(text, flush=True)  # noqa: T201 - a test's report


def glasslog_audit(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip


def judge(*arguments: object) -> tuple[int, dict[str, Any]]:
    result = glasslog_audit(*arguments, "--json")
    assert len(result.stdout.splitlines()) == 1, result.stderr
    return result.returncode, json.loads(result.stdout)


def write_store(folder: Path, world: World) -> Path:
    create_mark(default_mark_path(folder), world.membership.genesis_hash)
    with Store.open(folder, create=True, genesis=world.genesis) as store:
        for records in world.records:
            store.commit(records)
    return folder


class Network:
    """Four validators of which two keys served two ledgers, and what the auditor has of both."""

    def __init__(self, folder: Path) -> None:
        self.one, self.other = make_branches((0, 1, 2), (1, 2, 3), heights=(2, 3))
        self.folder = folder
        self.first, self.second = write_store(folder / "paris", self.one), write_store(folder / "lyon", self.other)
        self.policy = folder / "policy"
        self.policy.write_bytes(self.one.policy.format())

    def write(self, name: str, data: bytes) -> Path:
        (self.folder / name).write_bytes(data)
        return self.folder / name

    def write_mirror(self, world: World, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        write_tiles_folder(world, folder)
        return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return Network(tmp_path_factory.mktemp("network"))


CULPRITS = ["institute-1.example", "institute-2.example"]


def named(value: dict[str, Any]) -> list[str]:
    return sorted({culprit["name"] for culprit in value["culprits"]})


# --- the report --------------------------------------------------------------------------------------------


def test_audit_detects_two_quorum_checkpoints_and_names_the_culprits(network: Network) -> None:
    """f = 1 of n = 4 is exceeded: two keys signed both. Each replica alone is intact; together they are not."""
    for replica in (network.first, network.second):
        assert judge(replica, "--policy", network.policy)[0] == 0
    result = glasslog_audit(network.first, "--policy", network.policy, "--against", network.second)
    show(f"\n$ glasslog audit paris --policy policy --against lyon   (status {result.returncode})\n{result.stdout}")
    assert result.returncode == 1, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("BROKEN")
    assert any(line.startswith("  AUDIT-22 ") for line in lines)
    for name, jurisdiction in zip(CULPRITS, ("FR", "JP"), strict=True):
        assert any(line.startswith(f"  culprit      {name} ({jurisdiction}): two-roots") for line in lines)
    for name in ("institute-0.example", "institute-3.example"):
        assert not any(line.startswith("  culprit") and name in line for line in lines)
    assert "2 signed both; two quorums share at least 2 (f + 1)" in result.stdout
    assert "a stolen key signs as well" in result.stdout


def test_json_names_key_and_both_signed_lines(network: Network) -> None:
    status, value = judge(network.first, "--policy", network.policy, "--against", network.second)
    assert (status, value["status"], value["verdict"]) == (1, 1, "broken")
    assert named(value) == CULPRITS
    (comparison,) = value["comparisons"]
    assert (comparison["relation"], comparison["contradicts"], comparison["culprits_least"]) == ("fork", True, 2)
    for culprit in value["culprits"]:
        assert set(culprit) >= {"name", "jurisdiction", "key", "first", "second"}
        if culprit["offence"] == "two-roots":
            notes = comparison["fork"]["smaller"], comparison["fork"]["larger"]
            for signed, note in zip((culprit["first"], culprit["second"]), notes, strict=True):
                assert signed["line"] in note.splitlines()
                assert signed["key"] == culprit["key"]
    differing = [i for i, leaf in enumerate(network.one.leaves) if leaf != network.other.leaves[i]]
    assert comparison["differing_leaf"] == differing[0]


def test_exported_evidence_convicts_by_itself(network: Network, tmp_path: Path) -> None:
    """From the files and the policy alone: no replica, and no word of the report is believed."""
    out = tmp_path / "evidence"
    arguments = (network.first, "--policy", network.policy, "--against", network.second, "--evidence-out", out)
    status, value = judge(*arguments)
    assert status == 1
    assert [Path(path) for path in value["evidence_files"]] == sorted(out.iterdir())
    kept = json.loads((out / "1-conflict.json").read_text())["fork"]
    fork = Fork(
        (out / "1-smaller.note").read_bytes(), (out / "1-larger.note").read_bytes(),
        bytes.fromhex(kept["prefix_root"]), tuple(map(bytes.fromhex, kept["proof"])),
    )  # fmt: skip
    assert [culprit.name for culprit in convict(fork, network.one.policy.bft())] == CULPRITS
    accused: set[str] = set()
    for path in out.glob("*.evidence"):
        evidence = decode_evidence(path.read_bytes())
        verify_evidence(evidence, network.one.membership, verify_ed25519)
        accused.add(evidence.accused)
    assert sorted(accused) == CULPRITS
    again = judge(*arguments)
    assert (again[0], again[1]["code"]) == (2, "VERIFY-03")


# --- every kind of other -----------------------------------------------------------------------------------


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def url(network: Network, tmp_path: Path) -> Iterator[str]:
    write_tiles_folder(network.other, tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_address_of_a_mirror_is_compared(network: Network, url: str) -> None:
    for address in (url, url + "/checkpoint"):
        status, value = judge(network.first, "--policy", network.policy, "--against", address)
        assert (status, named(value)) == (1, CULPRITS)


def test_files_with_a_checkpoint_are_compared(network: Network) -> None:
    """The larger log's replica is at hand, so the smaller one needs to be no more than a note."""
    assert network.one.note is not None
    index = len(network.one.genesis)
    tree = network.one.source()
    proof = TlogProof(index, (), network.one.note)
    assert hash_leaf(tree.leaves[index])
    files = {
        "one.note": network.one.note,
        "one.bundle": make_bundle(network.one.reader(), index),
        "one.tlog-proof": proof.format(),
    }
    for name, data in files.items():
        path = network.write(name, data)
        status, value = judge(network.second, "--policy", network.policy, "--against", path)
        assert (status, named(value), value["findings_count"]) == (1, CULPRITS, 1), name


def test_folder_of_tiles_is_compared(network: Network) -> None:
    mirror = network.write_mirror(network.other, "mirror")
    status, value = judge(mirror, "--policy", network.policy, "--against", network.first)
    assert (status, named(value)) == (1, CULPRITS)


def test_several_others_are_each_compared(network: Network) -> None:
    note = network.write("same.note", network.one.note or b"")
    status, value = judge(
        network.first, "--policy", network.policy, "--against", note, "--against", network.second
    )  # fmt: skip
    assert status == 1
    assert [each["relation"] for each in value["comparisons"]] == ["same", "fork", "fork"]


# --- nothing to convict ------------------------------------------------------------------------------------


def test_replica_and_its_later_self_are_intact(tmp_path: Path) -> None:
    early, late = Branch(), Branch()
    for branch, heights in ((early, 2), (late, 5)):
        for _ in range(heights):
            branch.grow((3, 2))
        branch.publish()
    policy = tmp_path / "policy"
    policy.write_bytes(early.policy.format())
    folders = write_store(tmp_path / "early", early), write_store(tmp_path / "late", late)
    out = tmp_path / "evidence"
    for one, other in (folders, folders[::-1]):
        status, value = judge(one, "--policy", policy, "--against", other, "--evidence-out", out)
        assert (status, value["verdict"], value["culprits"], value["evidence_files"]) == (0, "intact", [], [])
        assert value["comparisons"][0]["relation"] == "prefix"
    assert not out.exists()


def test_larger_note_alone_is_undecided_and_says_so(network: Network) -> None:
    path = network.write("larger.note", network.other.note or b"")
    result = glasslog_audit(network.first, "--policy", network.policy, "--against", path)
    assert result.returncode == 3
    assert result.stdout.startswith("UNABLE to say whether this is the only history")
    assert "undecided: nobody here has the log" in result.stdout


def test_comparison_without_a_policy_is_refused(network: Network) -> None:
    status, value = judge(network.first, "--against", network.second)
    assert (status, value["code"]) == (2, "VERIFY-02")


@pytest.mark.parametrize(("name", "code"), [("nothing", "SOURCE-01"), ("bad.bundle", "SOURCE-04")])
def test_other_that_cannot_be_read_is_refused(network: Network, name: str, code: str) -> None:
    network.write("bad.bundle", b"\x88rubbish")
    status, value = judge(network.first, "--policy", network.policy, "--against", network.folder / name)
    assert (status, value["code"]) == (2, code)


def test_replica_against_itself_is_refused(network: Network) -> None:
    around = network.folder / "lyon" / ".." / "paris"
    status, value = judge(network.first, "--policy", network.policy, "--against", around)
    assert (status, value["code"]) == (2, "VERIFY-04")


# --- since -------------------------------------------------------------------------------------------------


def test_audit_since_an_earlier_note_says_what_is_new(network: Network) -> None:
    """The common beginning, published by itself, then each of the two histories that go on from it."""
    earlier = Branch()
    for _ in range(2):
        earlier.grow((3, 2))
    earlier.publish()
    assert earlier.note is not None
    old = network.write("earlier.note", earlier.note)
    status, value = judge(network.first, "--policy", network.policy, "--since", old)
    assert status == 0
    assert value["since"] == {"size": len(earlier.leaves), "heights": 2, "entries": {"lab-1.example": 84}}
    assert [one["relation"] for one in value["comparisons"]] == ["prefix"]
    text = glasslog_audit(network.first, "--policy", network.policy, "--since", old).stdout
    assert f"  since        size {len(earlier.leaves)}: 2 heights, 84 of lab-1.example" in text


def test_audit_since_what_it_does_not_go_on_from_is_a_fork(network: Network) -> None:
    assert network.one.note is not None
    old = network.write("one.note", network.one.note)
    status, value = judge(network.second, "--policy", network.policy, "--since", old)
    assert (status, named(value)) == (1, CULPRITS)


def test_audit_since_what_is_no_note_or_without_a_policy_is_refused(network: Network) -> None:
    old = network.write("no.note", b"nothing")
    for arguments, code in (
        (("--policy", network.policy, "--since", old), "SOURCE-04"),
        (("--since", old), "SOURCE-04"),
    ):
        status, value = judge(network.first, *arguments)
        assert (status, value["code"]) == (2, code)
    assert network.one.note is not None
    status, value = judge(network.first, "--since", network.write("one.note", network.one.note))
    assert (status, value["code"]) == (2, "VERIFY-02")
