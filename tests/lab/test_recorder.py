"""The recorder without a framework: journals, seams, faults of the disk, hostile journals (specs/custody.md)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from glasslog.custody import Kind, Level, Record, Segment, verify_run, verify_segments
from glasslog.predicates.base import list_subjects
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.vocabulary import read_statement
from glasslog_lab.errors import ArtifactError
from glasslog_lab.recorder import Memory, Recorder
from glasslog_lab.recorder.digests import content_root
from glasslog_lab.recorder.journal import MAGIC, RECORD, Journal, JournalTail, frame, parse_journal, read_journal
from glasslog_lab.recorder.statements import PUBLISHABLE, RunFacts, journal_statements, run_statement


class Training:
    """A training of one tensor: every step adds one to its first byte."""

    def __init__(self, state: int = 0) -> None:
        self.weights = bytearray(64)
        self.weights[0] = state

    def params(self) -> list[Memory]:
        return [Memory("w", "F32", (16,), memoryview(self.weights))]

    def run(self, recorder: Recorder, steps: int) -> None:
        for _ in range(steps):
            self.weights[0] += 1
            recorder.step(self.params(), values={"loss": 1.5}, tokens=4)


def record(folder: Path, steps: int = 12, every: int = 5) -> Journal:
    training = Training()
    recorder = Recorder(folder, every=every, strict=True).begin(training.params())
    training.run(recorder, steps)
    recorder.close()
    return read_journal(folder / "run.journal")


def wait_for(recorder: Recorder) -> None:
    """Until what was recorded is written: its writer is another thread."""
    writer = recorder._writer
    assert writer is not None
    while writer._queue.unfinished_tasks:
        os.sched_yield()


def kinds(journal: Journal) -> list[Kind]:
    records = [data for _, records in journal.segments for data in records] + journal.open_records
    return [Record.decode(data).event.kind for data in records]


def test_every_step_is_in_the_chain_and_the_segments_verify_alone(tmp_path: Path) -> None:
    journal = record(tmp_path)
    assert journal.end.counts.steps == 12
    assert journal.end.every_update_committed
    assert journal.end == verify_run(journal.chain.start, journal.segments)
    assert verify_segments(journal.chain.start, [segment for segment, _ in journal.segments]) == journal.end


def test_the_statements_say_what_the_journal_has_and_publish_what_was_chosen(tmp_path: Path) -> None:
    training = Training()
    recorder = Recorder(
        tmp_path,
        every=5,
        strict=True,
        seed=7,
        dataset=b"\5" * 32,
        hyperparameters={"lr": "0.1"},
        commits=("gradients",),
    ).begin(training.params())
    for _ in range(7):
        training.weights[0] += 1
        recorder.step(training.params(), gradients=training.params(), tokens=4)
        wait_for(recorder)
    recorder.checkpoint()
    recorder.rollback(6, bytes(32))
    recorder.close()
    journal = read_journal(tmp_path / "run.journal")
    said = journal_statements(journal)
    assert said == journal_statements(journal)
    run, *segments = [read_statement(one) for one in said]
    assert isinstance(run, TrainingRun)
    assert (run.level, run.commits, run.world_size) == ("L2", ("parameters", "gradients"), 1)
    assert run.datasets[0].digest == {"glasslogRecordsV1": b"\5" * 32}
    assert (run.build_definition.external_parameters, run.environment_facts) == ({}, None)
    assert [one.closed for one in segments if isinstance(one, TrainingSegment)] == [
        "continues",
        "checkpoint",
        "finished",
    ]
    heads = [journal.chain.start.run]
    for one in segments:
        assert isinstance(one, TrainingSegment)
        assert one.previous_head.digest == {"glasslogHeadV1": heads[-1]}
        heads.append(one.head.digest["glasslogHeadV1"])  # type: ignore[arg-type]  # bytes, as all digests of ours
    assert heads[-1] == journal.end.head
    assert journal.end.counts.unbound == 1, "it was no state of step 6 that it went back to"
    last = segments[-1]
    assert isinstance(last, TrainingSegment)
    assert [(seam.kind, seam.step, seam.lost) for seam in last.seams] == [("rollback", 7, 1), ("gap", 7, 0)]
    assert list_subjects(said[2])[1].digest == {"glasslogTensorsV1": content_root(training.params())}
    shown = read_statement(run_statement(journal.chain.start, RunFacts(publish=PUBLISHABLE)))
    assert isinstance(shown, TrainingRun)
    assert shown.build_definition.external_parameters == {"lr": "0.1", "seed": "7"}
    assert shown.environment_facts == journal.chain.start.environment
    with pytest.raises(ValueError, match="published"):
        run_statement(journal.chain.start, RunFacts(publish=["secrets"]))


def test_a_journal_is_followed_while_it_grows(tmp_path: Path) -> None:
    tail, training = JournalTail(tmp_path / "run.journal"), Training()
    assert tail.poll() == []
    recorder = Recorder(tmp_path, every=3, strict=True).begin(training.params())
    seen = list[Segment]()
    for _ in range(10):
        training.run(recorder, 1)
        wait_for(recorder)
        seen += [segment for segment, _ in tail.poll()]
    assert [segment.index for segment in seen] == [0, 1, 2]
    recorder.close()
    seen += [segment for segment, _ in tail.poll()]
    whole = read_journal(tmp_path / "run.journal")
    assert seen == [segment for segment, _ in whole.segments]
    assert tail.journal is not None
    assert tail.journal.end == whole.end


def test_a_followed_journal_is_the_same_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = record(tmp_path, 5, every=2)
    data = (tmp_path / "run.journal").read_bytes()
    growing = tmp_path / "growing.journal"
    for first in range(0, len(data), 7):
        tail = JournalTail(growing)
        growing.write_bytes(data[:first])
        seen = tail.poll()
        growing.write_bytes(data)
        assert [*seen, *tail.poll()] == whole.segments


def test_what_is_resumed_from_other_parameters_is_told_and_never_every_update(tmp_path: Path) -> None:
    record(tmp_path, 6)
    training = Training(77)
    recorder = Recorder(tmp_path, every=5, strict=True).begin(training.params(), first_step=5)
    training.run(recorder, 2)
    line = recorder.close()
    end = read_journal(tmp_path / "run.journal").end
    assert (end.last_step, end.counts.resumes, end.counts.unbound) == (6, 1, 1)
    assert not end.every_update_committed
    assert "1 times from parameters that are not recorded" in line


def test_the_closing_line_counts(tmp_path: Path) -> None:
    training = Training()
    recorder = Recorder(tmp_path, strict=True).begin(training.params())
    training.run(recorder, 200)
    recorder.skip(reason="overflow")
    line = recorder.close()
    assert line.startswith("200 steps, 1 skipped, 0 gaps, ")
    assert line.endswith(" % of step time")
    assert recorder.close() == line


def test_one_changed_parameter_changes_the_chain(tmp_path: Path) -> None:
    first, second = record(tmp_path / "a"), Training()
    second.weights[40] = 1
    recorder = Recorder(tmp_path / "b", strict=True).begin(second.params())
    second.run(recorder, 12)
    recorder.close()
    assert first.end.params != read_journal(tmp_path / "b" / "run.journal").end.params


def test_the_root_is_the_content_root_of_the_same_tensors() -> None:
    tensors = pytest.importorskip("glasslog.tensors", reason="the content root of glasslog.tensors is not there")
    from blake3 import blake3

    data = bytes(range(24))
    made = tensors.content_root([tensors.Tensor(name, "F32", (2, 3), blake3(data).digest()) for name in ("b", "a")])
    assert content_root([Memory(name, "F32", (2, 3), data) for name in ("a", "b")]) == made


KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {protocol!r}, {node!r}]
from pathlib import Path
from glasslog_lab.recorder import Memory, Recorder
weights = bytearray(64)
params = lambda: [Memory("w", "F32", (16,), memoryview(weights))]
recorder = Recorder(Path({folder!r}), every=5, strict=True).begin(params())
for step in range({steps}):
    weights[0] += 1
    recorder.step(params())
if {wait}:
    while recorder._writer._queue.unfinished_tasks:
        pass
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.processes
@pytest.mark.parametrize("wait", [True, False])
def test_a_killed_training_resumes_with_a_declared_seam(tmp_path: Path, wait: bool) -> None:
    root = Path(__file__).parents[2]
    script = KILLED.format(
        tests=str(root / "tests"), protocol=str(root / "protocol"), node=str(root / "node"), folder=str(tmp_path),
        steps=17, wait=wait,
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    known = read_journal(tmp_path / "run.journal").end.last_step
    assert known == 17 or not wait
    training = Training(10)  # the checkpoint at step 10
    recorder = Recorder(tmp_path, every=5, strict=True).begin(training.params(), first_step=11)
    training.run(recorder, 10)
    recorder.close()
    journal = read_journal(tmp_path / "run.journal")
    assert journal.end.last_step == 20
    assert journal.end.counts.resumes == 1
    assert journal.end.counts.redone == max(0, known - 10)
    assert journal.end.counts.missing == max(0, 10 - known)
    assert verify_run(journal.chain.start, journal.segments) == journal.end


def test_the_step_to_go_on_with_is_found_by_the_parameters(tmp_path: Path) -> None:
    whole = record(tmp_path, 12)
    path = tmp_path / "run.journal"
    close = len(frame(RECORD, whole.segments[-1][1][-1]))
    path.write_bytes(path.read_bytes()[: whole.size - close - 200])
    training = Training(7)
    recorder = Recorder(tmp_path, every=5, strict=True).begin(training.params())
    training.run(recorder, 1)
    recorder.close()
    journal = read_journal(path)
    assert journal.end.last_step == 8
    assert Kind.RESUME in kinds(journal)


def test_a_journal_cut_at_every_byte_is_read_up_to_its_last_whole_frame(tmp_path: Path) -> None:
    record(tmp_path, 3, every=2)
    data = (tmp_path / "run.journal").read_bytes()
    seen, codes = set[int](), set[str]()
    for length in range(len(data)):
        try:
            journal = parse_journal(data[:length], "run")
        except ArtifactError as error:
            codes.add(error.code)
            continue
        assert journal.size + journal.torn == length
        seen.add(journal.end.last_step)
        assert parse_journal(data[:length] + bytes(40), "run").size == journal.size
    assert seen == {0, 1, 2, 3}
    assert codes == {"RECORD-02"}


def test_a_journal_with_any_byte_changed_is_refused_or_cut(tmp_path: Path) -> None:
    whole = record(tmp_path, 3, every=2)
    data = (tmp_path / "run.journal").read_bytes()
    refusals = list[str]()
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 0x01
        try:
            journal = parse_journal(bytes(spoilt), "run")
        except ArtifactError as error:
            refusals.append(str(error))
        else:
            assert journal.torn
            assert journal.end != whole.end
    assert refusals
    assert all(one.startswith("RECORD-0") and "\n" not in one for one in refusals)


def test_spliced_repeated_and_foreign_frames_are_refused(tmp_path: Path) -> None:
    journal = record(tmp_path / "a", 4, every=100)
    other = record(tmp_path / "b", 4, every=100)
    data = (tmp_path / "a" / "run.journal").read_bytes()
    records, foreign = journal.segments[0][1], other.segments[0][1]
    start = data[: data.index(frame(RECORD, records[0]))]
    for name, made, code in [
        ("repeated", [records[0], records[0]], "STEP-03"),
        ("left out", [records[0], records[2]], "STEP-03"),
        ("swapped", [records[1], records[0]], "STEP-03"),
        ("of another run", [records[0], foreign[1]], "STEP-02"),
    ]:
        with pytest.raises(ArtifactError, match=f"RECORD-04 .*{code}") as caught:
            parse_journal(start + b"".join(frame(RECORD, one) for one in made), name)
        assert "\n" not in str(caught.value)
    for body in [b"", MAGIC, b"x" * 100, MAGIC + b"\xff" * 100, MAGIC + frame(RECORD, b"")]:
        with pytest.raises(ArtifactError, match="RECORD-0"):
            parse_journal(body, "hostile")


def test_a_full_disk_is_a_declared_gap_and_no_exception(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    script = f"""
import resource, signal, sys, time
sys.path[:0] = [{str(root / "protocol")!r}, {str(root / "node")!r}]
from pathlib import Path
from glasslog_lab.recorder import Memory, Recorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
weights = bytearray(64)
params = lambda: [Memory("w", "F32", (16,), memoryview(weights))]
recorder = Recorder(Path({str(tmp_path)!r}), every=50).begin(params())
def run(steps):
    for _ in range(steps):
        weights[0] = (weights[0] + 1) % 256
        recorder.step(params())
    while recorder._writer._queue.unfinished_tasks:
        time.sleep(0.01)
run(5)
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY))
run(60)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
run(5)
print(recorder.close())
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    journal = read_journal(tmp_path / "run.journal")
    assert journal.end.last_step == 70
    assert journal.end.counts.gaps == 1
    assert journal.end.counts.missing + journal.end.counts.steps == 70
    assert not journal.end.every_update_committed
    assert "1 gaps of" in done.stdout
    assert done.stderr.count("RECORD-05") == 1


def test_a_folder_that_cannot_be_written_is_a_warning_or_with_strict_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    training = Training()
    recorder = Recorder(tmp_path / "file" / "x").begin(training.params())
    training.run(recorder, 3)
    assert recorder.close().startswith("0 steps")
    assert capsys.readouterr().err.count("RECORD-05") == 1
    with pytest.raises(ArtifactError, match="RECORD-05"):
        Recorder(tmp_path / "file" / "x", strict=True).begin(training.params())


def test_a_fault_of_ours_is_a_gap_and_no_exception(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training()
    recorder = Recorder(tmp_path, strict=True).begin(training.params())
    training.run(recorder, 2)
    recorder.step([Memory("w", "F32", (16,), "no memory")])  # type: ignore[arg-type]  # the fault
    training.run(recorder, 2)
    recorder.close()
    assert kinds(read_journal(tmp_path / "run.journal")) == [
        Kind.STEP, Kind.STEP, Kind.GAP, Kind.STEP, Kind.STEP, Kind.CLOSE
    ]  # fmt: skip
    assert capsys.readouterr().err.count("RECORD-05") == 1


def test_two_processes_never_share_a_journal(tmp_path: Path) -> None:
    first, second = Training(), Training()
    one = Recorder(tmp_path, strict=True).begin(first.params())
    first.run(one, 2)
    assert one._writer is not None
    while not one._writer._file.is_open:  # opened at begin; the loop ends at once
        os.sched_yield()
    two = Recorder(tmp_path, strict=True).begin(second.params())
    second.run(two, 3)
    two.close()
    one.close()
    assert read_journal(tmp_path / "run.journal").end.counts.steps == 2
    assert read_journal(tmp_path / "run-2.journal").end.counts.steps == 3


def test_a_damaged_journal_is_left_alone_and_a_new_one_begun(tmp_path: Path) -> None:
    record(tmp_path)
    path = tmp_path / "run.journal"
    spoilt = bytearray(path.read_bytes())
    spoilt[200] ^= 1
    path.write_bytes(bytes(spoilt))
    training = Training()
    with pytest.raises(ArtifactError, match="RECORD-0"):
        Recorder(tmp_path, strict=True).begin(training.params())
    recorder = Recorder(tmp_path).begin(training.params())
    training.run(recorder, 2)
    recorder.close()
    assert path.read_bytes() == bytes(spoilt)
    assert read_journal(tmp_path / "run-2.journal").end.counts.steps == 2


def test_rollback_and_metadata_level(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, level=Level.L0, strict=True).begin()
    for _ in range(3):
        recorder.step(values={"loss": float("nan")})
    recorder.rollback(1, reason="the loss is no number")
    recorder.step()
    recorder.checkpoint()
    recorder.close()
    end = read_journal(tmp_path / "run.journal").end
    assert (end.last_step, end.counts.rollbacks, end.counts.redone, end.counts.gaps) == (2, 1, 2, 0)
    assert not end.every_update_committed
