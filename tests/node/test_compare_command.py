"""``glasslog compare``: two files are enough to name who signed two histories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audit_ledger import World, write_tiles_folder
from forked_ledger import make_branches
from glasslog.audit import Fork, convict
from glasslog.bundle import make_bundle

CULPRITS = ["institute-1.example", "institute-2.example"]


def glasslog_compare(place: Path, *arguments: str, policy: str = "policy") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glasslog_node", "compare", *arguments, "--policy", policy]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=place, env=environment)


def judge(place: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    result = glasslog_compare(place, *arguments, "--json")
    assert len(result.stdout.splitlines()) == 1, result.stderr
    return result.returncode, json.loads(result.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notes of one size and of two, and mirrors, of two histories that validators 1 and 2 signed both."""
    folder = tmp_path_factory.mktemp("compare")
    one, other = make_branches((0, 1, 2), (1, 2, 3))
    _, longer = make_branches((0, 1, 2), (1, 2, 3), heights=(2, 3))
    honest, _ = make_branches((0, 1, 2), (0, 1, 2), heights=(1, 1))
    few, _ = make_branches((0, 1), (0, 1), heights=(3, 3))
    for name, world in {"one": one, "other": other, "longer": longer, "shorter": honest, "few": few}.items():
        assert world.note is not None
        (folder / f"{name}.note").write_bytes(world.note)
        write_mirror(world, folder / name)
    (folder / "other.bundle").write_bytes(make_bundle(other.reader(), len(other.genesis)))
    (folder / "policy").write_bytes(one.policy.format())
    return folder


def write_mirror(world: World, folder: Path) -> None:
    folder.mkdir()
    write_tiles_folder(world, folder)


def test_two_notes_convict_whoever_signed_both(place: Path) -> None:
    result = glasslog_compare(place, "one.note", "other.note")
    assert result.returncode == 1, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("FORK")
    for name, jurisdiction in zip(CULPRITS, ("FR", "JP"), strict=True):
        assert any(line.startswith(f"  culprit      {name} ({jurisdiction}): two-roots") for line in lines)
    assert sum(line.startswith("  culprit") for line in lines) == 2
    assert "2 signed both; two quorums share at least 2 (f + 1)" in result.stdout
    assert "a stolen key signs as well" in result.stdout


def test_note_and_bundle_convict_and_the_evidence_stands_alone(place: Path, tmp_path: Path) -> None:
    status, value = judge(place, "one.note", "other.bundle", "--evidence-out", str(tmp_path / "out"))
    assert (status, [one["name"] for one in value["culprits"]]) == (1, CULPRITS)
    smaller, larger = ((tmp_path / "out" / f"1-{name}.note").read_bytes() for name in ("smaller", "larger"))
    kept = json.loads((tmp_path / "out" / "1-conflict.json").read_text())["fork"]
    fork = Fork(smaller, larger, bytes.fromhex(kept["prefix_root"]), tuple(map(bytes.fromhex, kept["proof"])))
    policy = make_branches((0, 1, 2), (1, 2, 3))[0].policy
    assert [one.name for one in convict(fork, policy.bft())] == CULPRITS


def test_mirrors_are_compared_to_the_leaf(place: Path) -> None:
    status, value = judge(place, "one", "longer")
    assert (status, [one["name"] for one in value["culprits"]]) == (1, CULPRITS)
    (comparison,) = value["comparisons"]
    assert comparison["relation"] == "fork"
    assert isinstance(comparison["differing_leaf"], int)
    assert f"from leaf {comparison['differing_leaf']} on" in glasslog_compare(place, "one", "longer").stdout


@pytest.mark.parametrize(
    ("sides", "relations"),
    [
        (("one.note", "one"), ["same"]),
        (("shorter.note", "one"), ["prefix"]),
        (("shorter", "one", "one.note"), ["prefix", "prefix", "same"]),
    ],
)
def test_one_history_is_status_0(place: Path, sides: tuple[str, ...], relations: list[str]) -> None:
    status, value = judge(place, *sides)
    assert (status, [one["relation"] for one in value["comparisons"]]) == (0, relations)
    assert value["culprits"] == []
    assert glasslog_compare(place, *sides).stdout.startswith("ONE HISTORY, as far as these show")


def test_notes_of_two_sizes_decide_nothing_and_it_is_said_what_is_missing(place: Path) -> None:
    result = glasslog_compare(place, "one.note", "longer.note")
    assert result.returncode == 3, result.stdout
    assert result.stdout.startswith("UNDECIDED")
    assert "with either log, or checkpoints of one size, it can be decided" in result.stdout


def test_checkpoint_without_a_quorum_convicts_nobody(place: Path) -> None:
    status, value = judge(place, "few.note", "longer")
    assert (status, value["comparisons"][0]["contradicts"]) == (3, False)


def test_of_three_sides_every_pair_is_compared(place: Path) -> None:
    status, value = judge(place, "one.note", "other.note", "shorter")
    assert (status, len(value["comparisons"])) == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("one.note",), "COMPARE-01"),
        (("one.note", "./one.note"), "VERIFY-04"),
        (("one.note", "nothing"), "SOURCE-01"),
        (("one.note", "policy", "--evidence-out", "one"), "VERIFY-03"),
    ],
)
def test_wrong_use_has_one_line(place: Path, arguments: tuple[str, ...], code: str) -> None:
    result = glasslog_compare(place, *arguments)
    if code == "VERIFY-03":  # a policy is no note: undecided, and so nothing is written
        assert result.returncode == 3
        return
    assert (result.returncode, result.stderr.split()[0]) == (2, code)
    assert len(result.stderr.splitlines()) == 1


def test_policy_that_cannot_be_read_is_named(place: Path) -> None:
    result = glasslog_compare(place, "one.note", "other.note", policy="one.note")
    assert (result.returncode, result.stderr[:7]) == (2, "POLICY-")
