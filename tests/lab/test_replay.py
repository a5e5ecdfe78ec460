"""Replay: exact, within tolerance, diverged; a tampered segment is found whenever it is sampled (specs/custody.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.custody import Level, choose_segments, detection_probability
from glasslog.predicates.replay import Replay as ReplayPredicate
from glasslog.predicates.vocabulary import read_statement
from glasslog_lab.errors import ArtifactError
from glasslog_lab.recorder import Memory, Recorder
from glasslog_lab.recorder.digests import batch_digest, content_root
from glasslog_lab.recorder.journal import Journal, read_journal
from glasslog_lab.recorder.replay import Replayed, load_function, replay_run
from glasslog_lab.recorder.statements import format_probability, replay_statement

DECIMAL = re.compile(r"0(\.[0-9]*[1-9])?|1")


def state(step: int, tampered: int | None = None) -> list[Memory]:
    value = step * 7 + (1 if step == tampered else 0)
    return [Memory("w", "I64", (1,), value.to_bytes(8, "little"))]


def record(folder: Path, steps: int = 20, every: int = 4, tampered: int | None = None) -> Journal:
    recorder = Recorder(folder, every=every, strict=True).begin(state(0))
    for step in range(1, steps + 1):
        recorder.step(state(step, tampered))
        wait_for(recorder)
    recorder.close()
    return read_journal(folder / "run.journal")


def wait_for(recorder: Recorder) -> None:
    """Until what was recorded is written, so that segments end where they are expected to."""
    assert recorder._writer is not None
    while recorder._writer._queue.unfinished_tasks:
        os.sched_yield()


def honest(first: int, last: int) -> Iterator[Replayed]:
    yield from (Replayed(step, content_root(state(step))) for step in range(first - 1, last + 1))


def with_batches(first: int, last: int, wrong: int | None = None) -> Iterator[Replayed]:
    for step in range(first - 1, last + 1):
        yield Replayed(step, content_root(state(step)), batch=batch(step + (step == wrong)) if step >= first else None)


def batch(step: int) -> bytes:
    return batch_digest([Memory("x", "U8", (1,), bytes([step]))])


def drifting(first: int, last: int) -> Iterator[Replayed]:
    yield from (Replayed(step, bytes(32), 0.25) for step in range(first - 1, last + 1))


def failing(first: int, last: int) -> Iterator[Replayed]:
    raise FileNotFoundError(f"no checkpoint at {first - 1}")


def test_an_honest_run_is_exact(tmp_path: Path) -> None:
    outcome = replay_run(record(tmp_path), honest, beacon=b"beacon", count=3)
    assert (outcome.state, outcome.first_diverged, len(outcome.sampled)) == ("exact", None, 3)
    assert sum(one.steps for one in outcome.outcomes) >= 8, "one segment has the close alone"


def test_a_tampered_step_is_found_exactly_when_its_segment_is_sampled(tmp_path: Path) -> None:
    journal = record(tmp_path, tampered=10)
    total = len(journal.segments)
    (bad,) = [one.index for one, _ in journal.segments if one.first_step <= 10 <= one.last_step]
    found = 0
    for number in range(60):
        beacon = number.to_bytes(4, "big")
        outcome = replay_run(journal, honest, beacon=beacon, count=2)
        sampled = choose_segments(beacon, journal.chain.start.run, total, 2)
        assert (outcome.state == "diverged") == (bad in sampled)
        assert outcome.first_diverged == (10 if bad in sampled else None)
        assert outcome.detection == detection_probability(total, 1, 2) == Fraction(2, total)
        found += outcome.state == "diverged"
    assert 0 < found < 60


def test_a_segment_replayed_from_parameters_put_in_its_place_diverges(tmp_path: Path) -> None:
    """Each step is computed honestly, but the third segment starts from a state that no step made."""
    swapped = 100

    def run(step: int) -> list[Memory]:
        return state(step if step <= 8 else step + swapped)

    recorder = Recorder(tmp_path, every=4, strict=True).begin(run(0))
    for step in range(1, 17):
        recorder.step(run(step))
        wait_for(recorder)
    recorder.close()
    journal = read_journal(tmp_path / "run.journal")

    def lying(first: int, last: int) -> Iterator[Replayed]:
        """What the lab would give an examiner: the swapped checkpoint, and honest steps from there."""
        offset = swapped if first > 8 else 0
        yield from (Replayed(step, content_root(state(step + offset))) for step in range(first - 1, last + 1))

    outcome = replay_run(journal, lying, beacon=b"", count=len(journal.segments))
    assert (outcome.state, outcome.first_diverged) == ("diverged", 9)
    assert [one.state for one in outcome.outcomes].count("diverged") == 1


def test_a_replay_on_another_batch_diverges_there(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, every=4, strict=True).begin(state(0))
    for step in range(1, 9):
        recorder.step(state(step), batch=batch(step))
        wait_for(recorder)
    recorder.close()
    journal = read_journal(tmp_path / "run.journal")
    count = len(journal.segments)
    assert replay_run(journal, with_batches, beacon=b"beacon", count=count).state == "exact"
    assert replay_run(journal, honest, beacon=b"beacon", count=count).state == "exact", "it says no batch"
    outcome = replay_run(journal, lambda a, b: with_batches(a, b, wrong=6), beacon=b"beacon", count=count)
    assert (outcome.state, outcome.first_diverged) == ("diverged", 6)
    assert [one.reason for one in outcome.outcomes if one.reason] == ["step 6 was done with another batch"]


def test_a_deviation_is_within_tolerance_or_diverges(tmp_path: Path) -> None:
    journal = record(tmp_path)
    near = replay_run(journal, drifting, beacon=b"", count=len(journal.segments), tolerance=0.5)
    assert (near.state, near.bound) == ("within-tolerance", 0.25)
    far = replay_run(journal, drifting, beacon=b"", count=len(journal.segments), tolerance=0.1)
    assert (far.state, far.first_diverged) == ("diverged", 1)


def test_what_cannot_be_replayed_is_unable_never_exact(tmp_path: Path) -> None:
    outcome = replay_run(record(tmp_path), failing, beacon=b"", count=1)
    assert outcome.state == "unable"
    assert "no checkpoint" in outcome.outcomes[0].reason


def test_a_segment_without_update_is_exact_and_one_without_parameters_unable(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a", strict=True).begin(state(0))
    recorder.step(state(1))
    recorder.checkpoint()
    wait_for(recorder)
    recorder.close()
    journal = read_journal(tmp_path / "a" / "run.journal")
    assert journal.segments[-1][0].counts.steps == 0, "the close alone"
    assert replay_run(journal, failing, beacon=b"", count=2).outcomes[-1].state == "exact"
    recorder = Recorder(tmp_path / "b", level=Level.L0, strict=True).begin()
    recorder.step()
    recorder.close()
    assert replay_run(read_journal(tmp_path / "b" / "run.journal"), honest, beacon=b"", count=1).state == "unable"


def test_steps_left_out_by_the_lab_count_as_diverged(tmp_path: Path) -> None:
    journal = record(tmp_path)
    outcome = replay_run(journal, lambda first, last: list(honest(first, last))[:-1], beacon=b"", count=5)
    assert outcome.state == "diverged"


@pytest.mark.parametrize("count", [0, 99])
def test_more_segments_than_there_are_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ArtifactError, match="REPLAY-01"):
        replay_run(record(tmp_path, 4), honest, beacon=b"", count=count)


@pytest.mark.parametrize("name", ["", "json", "json:none", "no_such_module:f", "json:__name__"])
def test_a_function_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ArtifactError, match="REPLAY-02"):
        load_function(name)


def test_a_function_is_loaded_by_its_name() -> None:
    assert load_function("json:dumps") is not None


def test_the_statement_of_a_replay_says_what_came_out(tmp_path: Path) -> None:
    journal = record(tmp_path, tampered=10)
    outcome = replay_run(journal, honest, beacon=bytes(32), count=len(journal.segments))
    said = read_statement(replay_statement(journal, outcome, same_environment="same"))
    assert isinstance(said, ReplayPredicate)
    assert (said.outcome, said.detection_probability, said.segments) == ("diverged", "1", len(journal.segments))
    assert [one.diverged_at for one in said.sampled].count(10) == 1
    one = replay_run(journal, drifting, beacon=bytes(32), count=len(journal.segments), tolerance=0.5)
    said = read_statement(replay_statement(journal, one, same_environment="different", note="another machine"))
    assert isinstance(said, ReplayPredicate)
    assert (said.tolerance, said.sampled[0].largest_difference) == ("0.5", "0.25")


@given(st.fractions(0, 1))
def test_a_probability_is_never_rounded_up(value: Fraction) -> None:
    text = format_probability(value)
    assert 0 <= value - Fraction(text) < Fraction(1, 10**12)
    assert DECIMAL.fullmatch(text)
