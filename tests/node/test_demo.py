"""The demonstration's parts: what a lineage has to hold to be told, what a screen shows; and one whole run."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio

from glasslog.entry import number_entry
from glasslog.predicates.base import statement_id
from glasslog.predicates.values import HEAD, STATEMENT
from glasslog.statement import encode_statement, from_json
from glasslog_node.demo import training
from glasslog_node.demo.lineage import Follower
from glasslog_node.demo.model import check_model
from glasslog_node.demo.screen import Screen
from glasslog_node.errors import ConfigError, OperatingError
from glasslog_node.testnet import Testnet as Network

Json = dict[str, Any]
LOG_STARTS = 6
LIES = ["altered-replica", "forged-bundle", "loosened-policy", "lone-fork", "swapped-labels", "double-history"]


class Log:
    """A log and its search in memory: what the lineage asks of a replica."""

    def __init__(self, statements: list[Json]) -> None:
        encoded = [encode_statement(from_json(json.dumps(one))) for one in statements]
        self.leaves = {LOG_STARTS + at: number_entry("lab-1.example", at, one) for at, one in enumerate(encoded)}
        self.subjects = [
            (bytes.fromhex(digest), LOG_STARTS + at)
            for at, one in enumerate(statements)
            for subject in one["subject"]
            for digest in subject["digest"].values()
        ]

    def entry(self, index: int) -> bytes | None:
        return self.leaves.get(index)

    def bundle(self, index: int) -> bytes:
        return self.leaves[index]

    def by_subject(self, digest: bytes) -> list[int]:
        return sorted({index for one, index in self.subjects if one == digest})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lineage") / "run"
    program = [sys.executable, "-m", "glasslog_lab.example.digits"]
    subprocess.run([*program, "train", folder, "--steps", "9", "--every", "3"], check=True, capture_output=True)
    return folder


@pytest.fixture
def stated(run: Path) -> list[Json]:
    return [json.loads(file.read_text()) for file in sorted((run / "statements").iterdir())]


def follow(run: Path, tmp_path: Path, statements: list[Json]) -> Follower:
    log = Log(statements)
    follower = Follower(log, log, tmp_path / "policy", tmp_path)
    follower.follow(sha256((run / "digits.safetensors").read_bytes()).digest())
    return follower


def kind_of(statement: Json) -> str:
    return str(statement["predicateType"].split(":")[-2])


def test_a_lineage_leads_from_the_weights_to_the_data(run: Path, tmp_path: Path, stated: list[Json]) -> None:
    lineage = follow(run, tmp_path, stated).lineage
    assert (lineage.steps, lineage.segments) == (9, 3)
    found = {link.index: link.kind for link in lineage.links}
    kinds = {
        "dataset": "data set",
        "training-run": "training run",
        "evaluation-bar": "bar",
        "training-segment": "segment",
    }
    assert found == {LOG_STARTS + at: kinds.get(kind_of(one), kind_of(one)) for at, one in enumerate(stated)}


def of(kind: str, number: int = 0) -> Callable[[list[Json]], Json]:
    return lambda stated: [one for one in stated if kind_of(one) == kind][number]


def without(kind: str, number: int = 0) -> Callable[[list[Json]], list[Json]]:
    return lambda stated: [one for one in stated if one is not of(kind, number)(stated)]


def renamed(stated: list[Json], kind: str, number: int, change: Callable[[Json], None]) -> list[Json]:
    """One statement changed, and all that name it by its id name the changed one."""
    changed = of(kind, number)(stated)
    before = statement_id(from_json(json.dumps(changed))).hex()
    change(changed["predicate"])
    after = statement_id(from_json(json.dumps(changed))).hex()
    text = json.dumps(stated).replace(f'"{STATEMENT}": "{before}"', f'"{STATEMENT}": "{after}"')
    return list(json.loads(text))


def changed(kind: str, place: int, /, **members: Any) -> Callable[[list[Json]], list[Json]]:
    return lambda stated: renamed(stated, kind, place, lambda predicate: predicate.update(members))


def moved(kind: str, to: int) -> Callable[[list[Json]], list[Json]]:
    def move(stated: list[Json]) -> list[Json]:
        one = of(kind)(stated)
        rest = [other for other in stated if other is not one]
        return [*rest[:to], one, *rest[to:]]

    return move


def swap_segments(stated: list[Json]) -> list[Json]:
    places = [at for at, one in enumerate(stated) if kind_of(one) == "training-segment"]
    stated[places[0]], stated[places[1]] = stated[places[1]], stated[places[0]]
    return stated


SEAM = {"kind": "gap", "step": 4, "lost": 2}
ELSEWHERE = {"digest": {HEAD: "ab" * 32}}


@pytest.mark.parametrize(
    "plant",
    [
        *[
            without(kind, number)
            for kind, number in [
                ("dataset", 0), ("dataset", 1), ("training-run", 0), ("evaluation-bar", 0), ("training-segment", 0),
                ("training-segment", 1), ("training-segment", 2), ("model", 0), ("evaluation", 0), ("release", 0),
            ]
        ],
        changed("training-segment", 1, seams=[SEAM]),
        changed("training-segment", 1, number=3),
        changed("training-segment", 1, firstStep=5),
        changed("training-segment", 0, firstStep=2),
        changed("training-segment", 0, lastStep=2),
        changed("training-segment", 1, records=2),
        changed("training-segment", 2, closed="aborted"),
        changed("training-segment", 2, run=ELSEWHERE),
        changed("training-segment", 0, previousHead=ELSEWHERE),
        changed("training-run", 0, level="L0"),
        changed("release", 0, evaluations=[]),
        changed("release", 0, runs=[]),
        changed("release", 0, model={"digest": {STATEMENT: "ab" * 32}}),
        changed("evaluation", 0, bar={"digest": {STATEMENT: "ab" * 32}}),
        moved("evaluation-bar", 7),
        moved("training-run", 7),
        swap_segments,
        lambda stated: [*stated, copy.deepcopy(of("training-segment", 2)(stated))],
    ],
)  # fmt: skip
def test_a_lineage_with_a_fault_is_not_told(
    run: Path, tmp_path: Path, stated: list[Json], plant: Callable[[list[Json]], list[Json]]
) -> None:
    with pytest.raises(OperatingError, match=r"^DEMO-08 the lineage breaks: .* Next: "):
        follow(run, tmp_path, plant(stated))


def test_a_screen_without_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    told = list[str]()
    screen = Screen(told.append, live=False)
    screen.open({"parameters": 1_810, "digits": 1_297, "steps": 320, "batch": 32})
    screen.step({"step": 4, "loss": 0.5, "right": 3})
    screen.segment({"first": 1, "last": 40, "loss": 0.3, "right": 10, "seen": 20, "head": "ab" * 32}, 14)
    screen.digits([{"lines": ["##", "  "], "label": 5, "answer": 6}])
    screen.tell("long " * 100)
    screen.close()
    assert told == [
        "1,810 parameters will learn from 1,297 handwritten digits: 320 updates, 32 digits each",
        "  log index  14  steps   1 to  40  loss 0.300  50.0 % right  head abababab…",
        "", "  ##", "", "  a 6? It is 5", "", "long " * 100,
    ]  # fmt: skip
    assert capsys.readouterr() == ("", "")


def test_a_screen_wraps_what_a_terminal_is_too_narrow_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    told = list[str]()
    path = "/a/path/longer/than/forty/columns/that/is/not/broken"
    Screen(told.append, live=True).tell(f"  these words are broken {path} between words")
    assert told == ["  these words are broken", f"    {path}", "    between words"]


def test_a_model_that_is_not_there_is_refused_before_anything_starts(tmp_path: Path) -> None:
    assert check_model(None) is None
    assert check_model(tmp_path) == tmp_path
    with pytest.raises(ConfigError, match=r"^DEMO-01 there is no .* Next: "):
        check_model(tmp_path / "none")


@pytest.mark.processes
def test_a_model_of_ones_own_is_attested_and_six_lies_are_caught(run: Path, tmp_path: Path) -> None:
    model = run / "digits.safetensors"
    demo = [sys.executable, "-m", "glasslog_node", "demo", "--tamper", "--json"]
    done = subprocess.run(
        [*demo, "--model", model, "--keep", tmp_path / "kept"],
        capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["bundle_verified"]
    assert {audit["verdict"] for audit in value["audits"]} == {"intact"}
    assert [lie["name"] for lie in value["lies"] if lie["caught"]] == LIES
    assert all(re.fullmatch(r"[A-Z]+(-\d+|\d+)", lie["code"]) for lie in value["lies"])
    assert "diverged at step 33" in value["lies"][4]["says"]
    assert "training" not in value


@pytest.mark.parametrize(("program", "says"), [("glasslog_lab.example.none", "No module named"), ("glob", "status 0")])
def test_a_training_that_does_not_happen_is_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, says: str
) -> None:
    monkeypatch.setattr(training, "PROGRAM", program)
    testnet = Network(tmp_path, None, ())  # type: ignore[arg-type]  # nothing is submitted
    with pytest.raises(OperatingError, match=rf"^DEMO-02 the training failed: .*{says}.* Next: "):
        trio.run(training.train, testnet, tmp_path / "training", Screen(lambda _line: None, live=False))
