"""Traces recorded from the simulator are behaviours of the model, and traces of planted faults are not."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from formal.recording import Trace, record, write_traces
from formal.tool import Quint
from simulation.planted_faults import FAULTS
from simulation.swarm import draw

HIDDEN = ("proposals", "sent", "live", "disk", "outbox", "boot", "replies", "answers", "reached")
SEEDS_MAX = 60


@dataclass(frozen=True)
class Seeds:
    """A network, and the first so many seeds that draw so many faulty validators and traces of bearable length."""

    validators: int
    faulty: int
    traces: int
    lost: bool = False


SEEDS = (Seeds(4, 1, 3), Seeds(4, 0, 1, lost=True), Seeds(5, 1, 2), Seeds(7, 2, 1))
EVENTS_MIN, EVENTS_MAX = 80, 420

# What the model is about; the others concern liveness and cosignatures, which it does not have.
SAFETY = (
    "notarize twice",
    "finalize after nullify",
    "nullify after finalize",
    "send before persist",
    "skipped-view certificate not required",
)


@dataclass(frozen=True)
class Verdict:
    """How far the model followed."""

    conforms: bool
    trace: int
    events: int
    said: str


def follow(quint: Quint, folder: Path, traces: list[Trace]) -> Verdict:
    """Take the model through each event; every one must be possible, and what holds at the end must be safe."""
    steps = sum(len(trace.events) + 1 for trace in traces)
    hidden = [f"conformance::agreement::{name}" for name in HIDDEN] + ["recorded::conformance::traces"]
    status, said = quint(
        "run", str(write_traces(folder, traces)), "--backend=typescript", "--init=begin", "--step=follow", "--seed=1",
        "--max-samples=1", f"--max-steps={steps}", "--invariant=endsSafe", "--witnesses", "conforms",
        "--verbosity=2", "--hide", *hidden,
    )  # fmt: skip
    reached = re.findall(r"\bat: \((\d+), (\d+)\)", said)
    assert reached, said
    trace, events = map(int, reached[-1])
    conforms = status == 0 and "conforms was witnessed in 1 trace" in said
    return Verdict(conforms, trace, events, said[-600:])


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_recorded_traces_are_behaviours_of_the_model(quint: Quint, tmp_path: Path, seeds: Seeds) -> None:
    traces = find_traces(seeds)
    verdict = follow(quint, tmp_path, traces)
    events = [len(trace.events) for trace in traces]
    drawn = [(trace.swarm.seed, *trace.swarm.behaviours) for trace in traces]
    sys.stdout.write(f"n = {seeds.validators}: {sum(events)} events of {len(traces)} traces, seeds {drawn}\n")
    assert verdict.conforms, explain(traces, verdict)
    assert (verdict.trace, verdict.events) == (len(traces) - 1, events[-1])


@pytest.mark.parametrize("name", SAFETY)
def test_trace_of_a_planted_fault_is_refused(quint: Quint, tmp_path: Path, name: str) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    with fault.planted():
        found = (record(fault.swarm(seed), fault.make_replica) for seed in range(SEEDS_MAX))
        trace = next(trace for trace in found if trace.violation and len(trace.events) < EVENTS_MAX)
    verdict = follow(quint, tmp_path, [trace])
    assert not verdict.conforms, f"{trace.violation}, and the model takes all {len(trace.events)} events"
    refused = trace.events[verdict.events]
    sys.stdout.write(
        f"{name}: {trace.violation}; event {verdict.events + 1} of {len(trace.events)} refused: {refused}\n"
    )


def find_traces(seeds: Seeds) -> list[Trace]:
    """Seeds are drawn until there are enough, all of one network."""
    traces: list[Trace] = []
    for seed in range(SEEDS_MAX):
        swarm = draw(seeds.validators, seed, lost=seeds.lost)
        if len(swarm.behaviours) != seeds.faulty or swarm.heal_at > 9_000:
            continue
        trace = record(swarm)
        assert trace.violation is None
        fits = EVENTS_MIN <= len(trace.events) <= EVENTS_MAX and bool(trace.losers) == seeds.lost
        if fits and (not traces or trace.network == traces[0].network):
            traces.append(trace)
        if len(traces) == seeds.traces:
            return traces
    raise AssertionError(f"{len(traces)} traces in {SEEDS_MAX} seeds for {seeds}")


def explain(traces: list[Trace], verdict: Verdict) -> str:
    """Where the model stopped, with what led there."""
    trace = traces[verdict.trace]
    before = "\n".join(trace.events[max(verdict.events - 12, 0) : verdict.events])
    after = trace.events[verdict.events] if verdict.events < len(trace.events) else "the end"
    return f"{trace.swarm}\n{before}\nREFUSED: {after}\n{verdict.said}"
