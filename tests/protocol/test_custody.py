"""The step chain: what follows what, and what breaks it (specs/custody.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import isnan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.custody import (
    Chain,
    Event,
    Kind,
    Level,
    Record,
    Roots,
    RunStart,
    Segment,
    Shard,
    choose_segments,
    detection_probability,
    merge_ranks,
    shards_root,
    verify_run,
    verify_segments,
)
from glasslog.errors import DecodeError, ProofError, ProtocolError

START = RunStart(
    name="run", level=Level.L2, commits=("parameters",), salt=bytes(32), started=5, initial_params=b"\7" * 32
)
LOW = replace(START, level=Level.L0, commits=(), initial_params=None)
hashes = st.binary(min_size=32, max_size=32)
counts = st.integers(0, (1 << 63) - 1)
events = st.builds(
    Event, kind=st.sampled_from(Kind), step=counts, count=counts, epoch=counts, batch=st.none() | hashes,
    rng=st.none() | hashes, gradients=st.none() | hashes, params=st.none() | hashes, optimizer=st.none() | hashes,
    tokens=counts, flop=st.integers(0, (1 << 128) - 1), reason=st.text(max_size=40),
    values=st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False), max_size=4),
)  # fmt: skip


def params(step: int) -> bytes:
    return step.to_bytes(32, "big")


def step(number: int) -> Event:
    return Event(kind=Kind.STEP, step=number, params=params(number), tokens=2, flop=1 << 70)


def make(story: Sequence[Event], cuts: int = 3) -> tuple[Chain, list[tuple[Segment, list[bytes]]]]:
    chain, segments, records = Chain(START), list[tuple[Segment, list[bytes]]](), list[bytes]()
    for number, event in enumerate(story, 1):
        records.append(chain.extend(event))
        if number % cuts == 0 or number == len(story):
            segments.append((chain.seal(7), records))
            records = []
    return chain, segments


STORY = [
    step(1), step(2), Event(kind=Kind.SKIP, step=3, reason="overflow"), step(3),
    Event(kind=Kind.CHECKPOINT, step=3, params=params(3)), step(4), step(5),
    Event(kind=Kind.RESUME, step=4, count=2, params=params(3)), step(4), step(5),
    Event(kind=Kind.ROLLBACK, step=5, count=1, params=params(4)), step(5),
    Event(kind=Kind.GAP, step=6, count=3), step(9),
    Event(kind=Kind.CLOSE, step=9),
]  # fmt: skip


@given(events, hashes, hashes, counts)
def test_a_record_is_read_back_as_it_was(event: Event, run: bytes, previous: bytes, number: int) -> None:
    record = Record(run, number, previous, event)
    assert Record.decode(record.encode()) == record


def test_nan_and_infinity_are_committed_as_they_are() -> None:
    data = Record(bytes(32), 0, bytes(32), replace(step(1), values={"a": float("nan"), "b": float("-inf")})).encode()
    values = Record.decode(data).event.values
    assert isnan(values["a"])
    assert values["b"] == float("-inf")


@given(st.integers(1, 20))
def test_a_run_is_verified_however_it_is_cut(cuts: int) -> None:
    chain, segments = make(STORY, cuts)
    end = verify_run(START, segments)
    assert end == verify_segments(START, [segment for segment, _ in segments])
    assert end.head == chain.head
    assert (end.counts.steps, end.counts.skips, end.counts.gaps, end.counts.missing) == (9, 1, 1, 3)
    assert (end.counts.resumes, end.counts.rollbacks, end.counts.redone) == (1, 1, 3)
    assert (end.counts.tokens, end.counts.flop, end.last_step, end.closed) == (18, 9 << 70, 9, True)
    assert not end.every_update_committed
    assert all(Segment.decode(segment.encode()) == segment for segment, _ in segments)


def test_only_l2_without_gap_or_unbound_seam_commits_every_update() -> None:
    _, segments = make([step(1), step(2)])
    assert verify_run(START, segments).every_update_committed
    _, segments = make([step(1), step(2), Event(kind=Kind.RESUME, step=2, count=1, params=params(1)), step(2)])
    assert verify_run(START, segments).every_update_committed
    _, segments = make([step(1), step(2), Event(kind=Kind.RESUME, step=2, count=1), step(2)])
    assert not verify_run(START, segments).every_update_committed, "it may have gone on from any parameters"
    unknown = replace(START, initial_params=None)
    chain = Chain(unknown)
    records = [chain.extend(step(1))]
    assert not verify_run(unknown, [(chain.seal(7), records)]).every_update_committed, "nor is it known from which"
    chain = Chain(LOW)
    records = [chain.extend(Event(kind=Kind.STEP, step=1))]
    assert not verify_run(LOW, [(chain.seal(7), records)]).every_update_committed


def test_a_start_is_read_back_and_every_member_changes_the_run() -> None:
    changed = [
        replace(START, name="other"), LOW, replace(START, commits=("parameters", "optimizer")),
        replace(START, started=6),
        replace(START, salt=b"\1" * 32),
        replace(START, seed=-5), replace(START, data_order=bytes(32)), replace(START, dataset=bytes(32)),
        replace(START, initial_params=None), replace(START, world_size=2, rank=1), replace(START, world_size=2),
        replace(START, hyperparameters={"lr": "0.1"}), replace(START, environment={"python": "3.11"}),
    ]  # fmt: skip
    assert all(RunStart.decode(one.encode()) == one for one in [START, *changed])
    assert len({one.run for one in [START, *changed]}) == len(changed) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"commits": ()}, {"commits": ("gradients",)}, {"commits": ("gradients", "parameters")},
        {"commits": ("parameters", "parameters")}, {"commits": ("parameters", "secrets")}, {"level": Level.L0},
        {"salt": b""}, {"started": -1}, {"rank": 1}, {"name": ""}, {"initial_params": b"short"},
    ],
)  # fmt: skip
def test_a_start_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="STEP-01"):
        RunStart.decode(replace(START, **change).encode())


def test_what_a_run_commits_to_has_to_be_in_every_step() -> None:
    chain = Chain(replace(START, commits=("parameters", "gradients", "optimizer")))
    whole = replace(step(1), gradients=bytes(32), optimizer=bytes(32))
    for missing in ("params", "gradients", "optimizer"):
        with pytest.raises(ProofError, match="STEP-07"):
            chain.extend(replace(whole, **{missing: None}))  # type: ignore[arg-type]  # one of the three
    chain.extend(whole)


@given(st.lists(st.tuples(st.integers(0, 300) | st.integers((1 << 62), (1 << 62) + 2), st.booleans()), max_size=40))
def test_roots_are_found_kept_and_forgotten_as_a_map_would(moves: list[tuple[int, bool]]) -> None:
    roots, plain = Roots(), dict[int, bytes]()
    for number, forget in moves:
        if forget:
            roots.forget_after(number)
            plain = {one: root for one, root in plain.items() if one <= number}
        else:
            roots[number] = plain[number] = bytes([number % 5 + 1]) * 32
    assert all(roots[number] == plain.get(number) for number in [*range(303), 1 << 62, (1 << 62) + 1, (1 << 62) + 2])
    for value in range(1, 7):
        found = [number for number, root in plain.items() if root == bytes([value]) * 32]
        assert roots.find(bytes([value]) * 32) == max(found, default=None)


@given(st.data())
def test_any_changed_byte_of_any_record_breaks_the_run(data: st.DataObject) -> None:
    _, segments = make(STORY)
    which = data.draw(st.integers(0, len(segments) - 1))
    segment, records = segments[which]
    at = data.draw(st.integers(0, len(records) - 1))
    place = data.draw(st.integers(0, len(records[at]) - 1))
    spoilt = bytearray(records[at])
    spoilt[place] ^= data.draw(st.integers(1, 255))
    segments[which] = segment, [*records[:at], bytes(spoilt), *records[at + 1 :]]
    with pytest.raises(ProtocolError):
        verify_run(START, segments)


@pytest.mark.parametrize("what", ["drop", "swap", "repeat", "other-run", "lie"])
def test_segments_that_are_not_the_runs_are_refused(what: str) -> None:
    _, segments = make(STORY)
    stated = [segment for segment, _ in segments]
    if what == "drop":
        del segments[1], stated[1]
    elif what == "swap":
        segments[1], segments[2] = segments[2], segments[1]
        stated[1], stated[2] = stated[2], stated[1]
    elif what == "repeat":
        segments.insert(1, segments[1])
        stated.insert(1, stated[1])
    elif what == "other-run":
        other = replace(START, salt=b"\1" * 32)
        with pytest.raises(ProofError, match="STEP-02"):
            verify_run(other, segments)
        with pytest.raises(ProofError, match="STEP-02"):
            verify_segments(other, stated)
        return
    else:
        first, records = segments[0]
        segments[0] = replace(first, counts=replace(first.counts, steps=99)), records
        with pytest.raises(ProofError, match="STEP-10"):
            verify_run(START, segments)
        return
    with pytest.raises(ProofError, match="STEP-03"):
        verify_run(START, segments)
    with pytest.raises(ProofError, match="STEP-11"):
        verify_segments(START, stated)


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("STEP-05", step(4)),
        ("STEP-05", step(2)),
        ("STEP-05", Event(kind=Kind.SKIP, step=2)),
        ("STEP-05", Event(kind=Kind.RESUME, step=4)),
        ("STEP-05", Event(kind=Kind.ROLLBACK, step=0, count=3)),
        ("STEP-05", Event(kind=Kind.CLOSE, step=3)),
        ("STEP-06", Event(kind=Kind.RESUME, step=2, count=0)),
        ("STEP-06", replace(step(3), count=1)),
        ("STEP-07", Event(kind=Kind.STEP, step=3)),
        ("STEP-07", Event(kind=Kind.CHECKPOINT, step=2)),
        ("STEP-08", Event(kind=Kind.CHECKPOINT, step=2, params=params(1))),
        ("STEP-08", Event(kind=Kind.RESUME, step=2, count=1, params=params(2))),
        ("STEP-08", Event(kind=Kind.ROLLBACK, step=1, count=2, params=params(1))),
        ("STEP-08", Event(kind=Kind.SKIP, step=3, params=params(9))),
    ],
)
def test_what_may_not_come_next_is_refused_and_changes_nothing(code: str, event: Event) -> None:
    chain, _ = make([step(1), step(2)])
    head = chain.head
    with pytest.raises(ProofError, match=code):
        chain.extend(event)
    assert chain.head == head
    chain.extend(step(3))


def test_after_a_close_comes_only_a_resume() -> None:
    chain, _ = make([step(1), Event(kind=Kind.CLOSE, step=1)])
    with pytest.raises(ProofError, match="STEP-04"):
        chain.extend(step(2))
    chain.extend(Event(kind=Kind.RESUME, step=2))
    chain.extend(step(2))


@pytest.mark.parametrize(
    "event",
    [replace(step(1), step=-1), replace(step(1), flop=1 << 200), replace(step(1), reason="x" * 20_000)],
)
def test_what_no_record_can_state_is_refused(event: Event) -> None:
    with pytest.raises((ProtocolError, OverflowError)):
        Record.decode(Record(bytes(32), 0, bytes(32), event).encode())


@pytest.mark.parametrize("total", [1, 2, 5, 6])
def test_a_bad_segment_is_sampled_with_the_stated_probability(total: int) -> None:
    for bad in range(total + 1):
        for sampled in range(total + 1):
            samples = list(combinations(range(total), sampled))
            hits = sum(any(one < bad for one in sample) for sample in samples)
            assert detection_probability(total, bad, sampled) * len(samples) == hits


def test_segments_are_chosen_by_the_beacon_alone_and_evenly() -> None:
    seen = dict.fromkeys(combinations(range(5), 2), 0)
    for number in range(2_000):
        chosen = choose_segments(number.to_bytes(4, "big"), START.run, 5, 2)
        assert chosen == choose_segments(number.to_bytes(4, "big"), START.run, 5, 2)
        seen[chosen] += 1  # type: ignore[index]  # two of five
    assert all(140 < times < 260 for times in seen.values()), "200 each, 4.5 standard deviations either way"
    assert choose_segments(b"x", START.run, 5, 5) == (0, 1, 2, 3, 4)


def test_shards_merge_whatever_order_they_come_in() -> None:
    places = [(rank, name, offset) for rank in (0, 1) for name in "ab" for offset in (0, 8)]
    shards = [Shard(*place, bytes([number]) * 32) for number, place in enumerate(places)]
    assert shards_root(shards) == shards_root(shards[::-1])
    assert shards_root(shards[1:]) != shards_root(shards)
    assert merge_ranks([params(1), params(2)]) != merge_ranks([params(2), params(1)])
    with pytest.raises(ValueError, match="one place"):
        shards_root([*shards, shards[0]])
