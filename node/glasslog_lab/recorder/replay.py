"""Re-executes segments of a recorded run and compares every step (specs/custody.md, C10).

The lab supplies a function ``replay(first_step, last_step)``. It restores the state after ``first_step - 1``, yields
it as a ``Replayed``, does each step and yields the state after it. What it yields is compared with the records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple, cast

from glasslog.custody import Kind, Record, Segment, choose_segments, detection_probability
from glasslog_lab.errors import ArtifactError
from glasslog_lab.recorder.journal import Journal

State = Literal["exact", "within-tolerance", "diverged", "unable"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """The state after ``step``. ``deviation``: its greatest absolute difference from what the run kept there.

    ``batch`` is what the step was done with (``digests.batch_digest``); where given it has to be the recorded one.
    """

    step: int
    params: bytes
    deviation: float | None = None
    batch: bytes | None = None


ReplayFunction = Callable[[int, int], Iterable[Replayed]]


@dataclass(frozen=True, slots=True)
class SegmentOutcome:
    """What replaying one segment showed. ``first_diverged`` is a step; ``bound`` the greatest deviation measured."""

    index: int
    first_step: int
    last_step: int
    state: State
    steps: int
    first_diverged: int | None = None
    bound: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """What a replay showed: what a ``replay`` statement carries.

    ``detection`` is the chance that this many segments, chosen at random, include a bad one if ``bad`` are bad.
    """

    run: bytes
    head: bytes
    beacon: bytes
    segments: int
    sampled: tuple[int, ...]
    state: State
    first_diverged: int | None
    bound: float | None
    tolerance: float
    bad: int
    detection: Fraction
    outcomes: tuple[SegmentOutcome, ...]


def replay_run(
    journal: Journal, function: ReplayFunction, *, beacon: bytes, count: int, tolerance: float = 0.0, bad: int = 1
) -> ReplayOutcome:
    """Replay ``count`` segments that ``beacon`` chooses: bytes published after the run's last head was logged.

    ``bad`` is how many bad segments the stated detection probability is for.

    Raises:
        ArtifactError: REPLAY-01, the run has fewer segments than asked for, or none.
    """
    total, run = len(journal.segments), journal.chain.start.run
    if not 1 <= count <= total or not 1 <= bad <= total:
        raise ArtifactError("REPLAY-01", f"the run has {total} segments", "ask for at least 1 and at most all of them")
    sampled = choose_segments(beacon, run, total, count)
    before = [journal.chain.start.initial_params, *[segment.params for segment, _ in journal.segments]]
    outcomes = tuple(
        replay_segment(*journal.segments[index], function, tolerance, before=before[index]) for index in sampled
    )
    order: tuple[State, ...] = ("diverged", "unable", "within-tolerance", "exact")
    worst = order[min(order.index(one.state) for one in outcomes)]
    diverged = [one.first_diverged for one in outcomes if one.first_diverged is not None]
    bounds = [one.bound for one in outcomes if one.bound is not None]
    return ReplayOutcome(
        run, journal.chain.head, beacon, total, sampled, worst, min(diverged, default=None),
        max(bounds, default=None), tolerance, bad, detection_probability(total, bad, count), outcomes,
    )  # fmt: skip


def replay_segment(
    segment: Segment,
    records: list[bytes],
    function: ReplayFunction,
    tolerance: float = 0.0,
    *,
    before: bytes | None = None,
) -> SegmentOutcome:
    """Replay one segment; each stretch between seams on its own. A fault of the lab's function is ``unable``.

    ``before`` is the root recorded of the state the segment starts from: what the function restores has to be that
    state, or a segment could be replayed exactly from parameters that were put in its place.
    """
    states, first, bounds, steps = set[State](), list[int](), list[float](), 0
    made = SegmentOutcome(segment.index, segment.first_step, segment.last_step, "unable", 0)
    reason = ""
    for stretch in _stretches(records, before):
        begin, end = min(stretch.steps), max(stretch.steps)
        steps += end - begin + 1
        try:
            found = {one.step: one for one in function(begin, end)}
        except Exception as error:  # noqa: BLE001  the lab's own function may fail in any way, and that is the outcome
            return replace(made, steps=steps, reason=f"{type(error).__name__}: {error}"[:200])
        recorded = stretch.steps if stretch.before is None else {begin - 1: stretch.before, **stretch.steps}
        for step, root in sorted(recorded.items()):
            replayed = found.get(step)
            same_batch = replayed is None or replayed.batch in (None, stretch.batches.get(step, replayed.batch))
            if replayed is not None and replayed.params == root and same_batch:
                continue
            deviation = replayed.deviation if replayed and same_batch else None
            if deviation is not None and deviation <= tolerance:
                bounds.append(deviation)
                states.add("within-tolerance")
                continue
            states.add("diverged")
            first.append(max(step, begin))
            reason = reason or ("" if same_batch else f"step {step} was done with another batch")
            break
    if not steps:
        without = any(Record.decode(data).event.kind in (Kind.STEP, Kind.GAP) for data in records)
        return replace(made, reason="no step with its parameters") if without else replace(made, state="exact")
    state: State = "diverged" if first else "within-tolerance" if states else "exact"
    return replace(
        made, state=state, steps=steps, first_diverged=min(first, default=None), bound=max(bounds, default=None),
        reason=reason,
    )  # fmt: skip


class _Stretch(NamedTuple):
    """Steps that follow one another: the roots recorded after them, their batches, the root before the first."""

    before: bytes | None
    steps: dict[int, bytes]
    batches: dict[int, bytes]


def _stretches(records: list[bytes], before: bytes | None) -> list[_Stretch]:
    found = [_Stretch(before, {}, {})]
    for data in records:
        event = Record.decode(data).event
        if event.kind in (Kind.GAP, Kind.RESUME, Kind.ROLLBACK):
            found.append(_Stretch(event.params, {}, {}))
        elif event.kind is Kind.STEP and event.params is not None:
            found[-1].steps[event.step] = event.params
            if event.batch is not None:
                found[-1].batches[event.step] = event.batch
    return [stretch for stretch in found if stretch.steps]


def load_function(name: str) -> ReplayFunction:
    """Return the function that ``module:function`` names, the current folder being looked in.

    Raises:
        ArtifactError: REPLAY-02 there is no such function.
    """
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        function: object = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ArtifactError("REPLAY-02", f"{name} cannot be loaded: {error}", "give it as module:function") from error
    if not callable(function):
        raise ArtifactError("REPLAY-02", f"{name} is no function", "give it as module:function")
    return cast("ReplayFunction", function)
