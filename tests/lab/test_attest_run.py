"""From a journal to the ledger: the run and its segments, once each, whenever and however often they are stated."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from glasslog.predicates.replay import Replay
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.vocabulary import read_statement
from glasslog.statement import Statement, decode_statement, from_json
from glasslog_lab.recorder import Memory, Recorder
from glasslog_lab.recorder.digests import content_root
from glasslog_lab.recorder.journal import read_journal
from glasslog_lab.recorder.replay import Replayed
from glasslog_node.cli.app import build_app

REPLAY = "lab_replay_here:function"


class Training:
    """One tensor, and a step that anybody can take again."""

    def __init__(self, step: int = 0) -> None:
        self.weights = bytearray(64)
        self.weights[0] = step

    def state(self) -> list[Memory]:
        return [Memory("w", "F32", (16,), memoryview(self.weights))]

    def run(self, recorder: Recorder, steps: int) -> None:
        for _ in range(steps):
            self.weights[0] += 1
            recorder.step(self.state(), tokens=3)
            writer = recorder._writer
            assert writer is not None
            while writer._queue.unfinished_tasks:
                os.sched_yield()


def glasslog(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), list(arguments))


def record(folder: Path, steps: int = 7) -> Path:
    training = Training()
    with Recorder(folder, every=3, strict=True, hyperparameters={"lr": "0.1"}).begin(training.state()) as recorder:
        training.run(recorder, steps)
    return folder / "run.journal"


def spooled(folder: Path) -> list[Statement]:
    return [decode_statement(path.read_bytes()) for path in sorted(folder.glob("*.cbor"))]


def test_stating_a_run_again_states_the_same(tmp_path: Path) -> None:
    journal = record(tmp_path / "records")
    for _ in range(2):
        done = glasslog("attest", "run", str(journal), "--spool", str(tmp_path / "spool"), "--json")
        assert done.exit_code == 0, done.output
    said = [read_statement(one) for one in spooled(tmp_path / "spool")]
    assert [isinstance(one, TrainingRun) for one in said].count(True) == 1
    segments = {one.number: one for one in said if isinstance(one, TrainingSegment)}
    assert sorted(segments) == [1, 2, 3]
    assert all(segments[number].head == segments[number + 1].previous_head for number in (1, 2))
    assert len(json.loads(done.output)["statements"]) == 4


def test_what_is_published_is_what_was_chosen_and_is_shown_before(tmp_path: Path) -> None:
    journal = record(tmp_path)
    shown = glasslog("attest", "run", str(journal), "--show-public", "--author", "lab.example")
    assert shown.exit_code == 0
    assert '"lr"' not in shown.output
    shown = glasslog(
        "attest", "run", str(journal), "--publish", "hyperparameters", "--parent", "aa" * 32, "--dataset", "bb" * 32,
        "--json",
    )  # fmt: skip
    run = read_statement(from_json(json.dumps(json.loads(shown.output)["statements"][0]["statement"]).encode()))
    assert isinstance(run, TrainingRun)
    assert run.build_definition.external_parameters == {"lr": "0.1"}
    assert run.parent is not None
    assert run.datasets[0].digest == {"glasslogRecordsV1": b"\xbb" * 32}


def test_a_run_is_followed_to_its_close_and_what_was_sent_before_is_not_sent_again(tmp_path: Path) -> None:
    journal, spool = tmp_path / "records" / "run.journal", tmp_path / "spool"
    training = Training()
    recorder = Recorder(tmp_path / "records", every=3, strict=True).begin(training.state())
    training.run(recorder, 4)
    assert glasslog("attest", "run", str(journal), "--spool", str(spool)).exit_code == 0
    assert len(spooled(spool)) == 2
    results = list[Result]()
    follower = threading.Thread(
        target=lambda: results.append(glasslog("attest", "run", str(journal), "--follow", "--spool", str(spool)))
    )
    follower.start()
    training.run(recorder, 4)
    recorder.close()
    follower.join(60)
    assert [one.exit_code for one in results] == [0]
    assert len(spooled(spool)) == 4, "the run, and its segments of 3, 3 and 2 steps"


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("RECORD-08", ["--publish", "secrets"]),
        ("RECORD-09", ["--follow"]),
        ("RECORD-10", ["--dataset", "no root"]),
        ("RECORD-10", ["--parent", "ab"]),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, code: str, arguments: list[str]) -> None:
    done = glasslog("attest", "run", str(record(tmp_path)), *arguments)
    assert str(done.exception).startswith(f"{code} ")
    assert "\n" not in str(done.exception)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"not one")
    assert str(glasslog("attest", "run", str(tmp_path / "x")).exception).startswith("RECORD-02 ")
    assert str(glasslog("attest", "run", str(tmp_path / "none")).exception).startswith("RECORD-01 ")


def test_a_replay_is_stated_with_its_probability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(os)("lab_replay_here")
    module.function = lambda first, last: [  # type: ignore[attr-defined]  # a module made on the spot
        Replayed(step, content_root(Training(step).state())) for step in range(first - 1, last + 1)
    ]
    monkeypatch.setitem(__import__("sys").modules, "lab_replay_here", module)
    journal = record(tmp_path)
    done = glasslog("replay", str(journal), REPLAY, "--beacon", "00" * 32, "--count", "2", "--json")
    assert done.exit_code == 0, done.output
    said = read_statement(from_json(json.dumps(json.loads(done.stdout)["statements"][0]["statement"]).encode()))
    assert isinstance(said, Replay)
    assert (said.outcome, said.segments, said.detection_probability) == ("exact", 3, "0.666666666666")
    assert said.same_environment == "same"
    assert "2 of 3 segments replayed" in done.stderr
    heads = [segment.head for segment, _ in read_journal(journal).segments]
    assert {one.segment.digest["glasslogHeadV1"] for one in said.sampled} <= set(heads)
    for beacon in ("zz", "00"):
        refused = glasslog("replay", str(journal), REPLAY, "--beacon", beacon)
        assert str(refused.exception).startswith("REPLAY-03 ")
