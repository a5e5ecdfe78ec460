"""What a training may hand a recorder by mistake: it costs that step, never the journal."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import pytest

from glasslog.custody import Kind, Record
from glasslog_lab.errors import ArtifactError
from glasslog_lab.recorder import Memory, Recorder
from glasslog_lab.recorder.digests import batch_digest, content_root
from glasslog_lab.recorder.journal import Journal, read_journal


def params(value: int) -> list[Memory]:
    return [Memory("w", "F32", (2,), bytes([value] * 8))]


@pytest.mark.parametrize(
    "mistake",
    [{"params": b"short"}, {"batch": b"xyz"}, {"gradients": b""}, {"rng": b"1"}, {"tokens": -1}, {"epoch": -1}],
)
def test_a_step_that_no_reader_would_take_becomes_a_gap(tmp_path: Path, mistake: dict[str, Any]) -> None:
    recorder = Recorder(tmp_path, strict=True).begin(params(0))
    recorder.step(params(1))
    recorder.step(**{"params": params(2), **mistake})
    recorder.step(params(3))
    assert "1 gaps of 1 steps" in recorder.close()
    end = read_journal(tmp_path / "run.journal").end
    assert (end.counts.steps, end.counts.missing, end.last_step) == (2, 1, 3)
    assert not end.every_update_committed


@pytest.mark.parametrize(
    "mistake",
    [{"dataset": b"twenty bytes of that"}, {"data_order": b""}, {"hyperparameters": {"lr": 0.1}}, {"rank": 1}],
)
def test_a_start_that_no_reader_would_take_is_refused(tmp_path: Path, mistake: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=r"^RECORD-05 .*STEP-01"):
        Recorder(tmp_path, strict=True, **mistake).begin(params(0))
    assert not list(tmp_path.glob("*.journal"))


def kinds(journal: Journal) -> list[Kind]:
    return [Record.decode(data).event.kind for _, segment in journal.segments for data in segment]


def test_a_tensor_with_other_bytes_than_its_shape_costs_the_step(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, strict=True).begin(params(0))
    recorder.step([Memory("w", "F32", (3, 5), b"1234")])
    recorder.step(params(2))
    assert "1 gaps of 1 steps" in recorder.close()
    with pytest.raises(ArtifactError, match=r"'w' has 4 bytes, and 60 by its type and shape"):
        Recorder(tmp_path, "other", strict=True).begin([Memory("w", "F32", (3, 5), b"1234")])


@pytest.mark.parametrize(
    "other",
    [
        [Memory("w", "F32", (2,), bytes(8)), Memory("v", "F32", (1,), bytes(4))],
        [Memory("v", "F32", (2,), bytes(8))],
        [Memory("w", "F32", (1, 2), bytes(8))],
        [Memory("w", "I32", (2,), bytes(8))],
        [],
    ],
)
def test_other_tensors_in_mid_run_are_recorded_behind_a_gap(tmp_path: Path, other: list[Memory]) -> None:
    recorder = Recorder(tmp_path, strict=True).begin(params(0))
    recorder.step(params(1))
    recorder.step(other)
    recorder.step(other)
    recorder.checkpoint(other)
    recorder.close()
    journal = read_journal(tmp_path / "run.journal")
    assert kinds(journal) == [Kind.STEP, Kind.GAP, Kind.STEP, Kind.STEP, Kind.CHECKPOINT, Kind.CLOSE]
    assert (journal.counts.gaps, journal.counts.missing, journal.end.last_step) == (1, 0, 3)
    assert not journal.end.every_update_committed
    assert journal.end.params == content_root(other)


def test_other_tensors_after_a_rollback_are_recorded_behind_a_gap(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, strict=True).begin(params(0))
    recorder.step(params(1))
    recorder.step(params(2))
    recorder.rollback(1, [*params(1), Memory("v", "U8", (1,), b"v")])
    recorder.step(params(3))
    recorder.close()
    assert not read_journal(tmp_path / "run.journal").end.every_update_committed


def test_a_run_of_the_same_tensors_commits_to_every_update(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, strict=True).begin(params(0))
    recorder.step(params(1))
    recorder.rollback(0, params(0))
    recorder.step(params(2))
    recorder.checkpoint(params(2))
    recorder.close()
    assert read_journal(tmp_path / "run.journal").end.every_update_committed


@pytest.mark.parametrize("given", [b"short", [Memory("w", "F32", (9,), b"")], "root of another step"])
def test_a_refused_checkpoint_is_declared(tmp_path: Path, given: Any) -> None:
    recorder = Recorder(tmp_path, strict=True).begin(params(0))
    recorder.step(params(1))
    recorder.checkpoint(content_root(params(9)) if isinstance(given, str) else given)
    recorder.step(params(2))
    recorder.close()
    journal = read_journal(tmp_path / "run.journal")
    assert kinds(journal) == [Kind.STEP, Kind.GAP, Kind.STEP, Kind.CLOSE]
    assert not journal.end.every_update_committed


def test_a_skip_that_no_reader_would_take_is_declared(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, strict=True).begin(params(0))
    recorder.skip(batch=b"short")
    recorder.step(params(1))
    recorder.close()
    assert kinds(read_journal(tmp_path / "run.journal")) == [Kind.GAP, Kind.STEP, Kind.CLOSE]


def test_calls_outside_a_run_are_counted_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.step(params(1))
        recorder.step(params(2))
    assert recorder.close() == "not recorded; 2 calls came when no run was being recorded"
    assert capsys.readouterr().err.count("RECORD-05 no run is open: begin was not called") == 1
    recorder = Recorder(tmp_path).begin(params(0))
    recorder.step(params(1))
    line = recorder.close()
    recorder.step(params(2))
    assert recorder.close() == line + "; 1 calls came when no run was being recorded"
    assert "no run is open: close was called before" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".", "..", ".hidden", "a\x00b", "a" * 101, "r\u00e9sum\u00e9"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match=r"^RECORD-06 "):
        Recorder(tmp_path / "in", name)


@pytest.mark.parametrize("level", [0, 2])
def test_a_level_may_be_a_plain_number(tmp_path: Path, level: Any) -> None:
    recorder = Recorder(tmp_path, level=level, strict=True).begin(params(0))
    recorder.step(params(1))
    recorder.close()
    start = read_journal(tmp_path / "run.journal").chain.start
    assert (start.level, start.commits) == (level, ("parameters",) if level else ())


@pytest.mark.parametrize("level", [1, 3, -1, None, "L2"])
def test_a_level_that_there_is_not_is_refused(tmp_path: Path, level: Any) -> None:
    with pytest.raises(ArtifactError, match=r"^RECORD-06 level "):
        Recorder(tmp_path, level=level)


@pytest.mark.parametrize("segments", [{"every": 0}, {"every": -1}, {"seconds": 0.0}, {"seconds": float("nan")}])
def test_segments_of_nothing_are_refused(tmp_path: Path, segments: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=r"^RECORD-06 "):
        Recorder(tmp_path, **segments)


def test_memory_of_any_kind_is_its_bytes() -> None:
    numbers = array("f", [1, 2, 3, 4])
    expected = content_root([Memory("w", "F32", (2, 2), numbers.tobytes())])
    view = memoryview(numbers)
    for data in (numbers, view, view.cast("B"), view.cast("B").cast("f", (2, 2)), bytearray(numbers.tobytes())):
        assert content_root([Memory("w", "F32", (2, 2), data)]) == expected
        assert batch_digest([Memory("w", "F32", (2, 2), data)]) == batch_digest(
            [Memory("w", "F32", (2, 2), numbers.tobytes())]
        )
    assert content_root([Memory("e", "F32", (0, 4), array("f"))]) == content_root([Memory("e", "F32", (0, 4), b"")])
    with pytest.raises(TypeError):
        content_root([Memory("w", "U8", (2,), memoryview(b"abcd")[::2])])


def test_what_was_recorded_until_now_can_be_asked(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, strict=True)
    assert (recorder.path, recorder.counts.steps) == (None, 0)
    recorder.begin(params(0)).step(params(1))
    recorder.skip()
    recorder.close()
    assert recorder.path == tmp_path / "run.journal"
    assert (recorder.counts.steps, recorder.counts.skips, recorder.counts.gaps) == (1, 1, 0)
