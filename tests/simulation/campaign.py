"""A long run over many seeds on all cores: ``PYTHONPATH=tests python -m simulation.campaign --minutes 10 --json FILE``.

Seeds are dealt in chunks of one network size, by the shares below. What is done is kept in FILE, so that a run can
be interrupted and go on later (``--resume FILE``), as long as the core and the simulation are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from simulation.replay import Tally, check, command_of, find_violation
from simulation.shrink import shrink
from simulation.sources import digest_sources
from simulation.swarm import draw

# Of all seeds, by validators and whether state is lost (A10). Large networks cost more and find less.
SHARES = {
    (4, False): 0.69, (5, False): 0.09, (6, False): 0.03, (7, False): 0.08, (8, False): 0.01, (9, False): 0.01,
    (10, False): 0.015, (11, False): 0.005, (12, False): 0.005, (13, False): 0.01,
    (4, True): 0.04, (5, True): 0.005, (7, True): 0.007, (10, True): 0.002, (13, True): 0.001,
}  # fmt: skip
CHUNK_SEEDS = 80  # of a network of one, so to speak: larger networks have smaller chunks
FAILURES_MAX = 20
SHRINK_RUNS = 150
SAVE_EVERY = 30.0  # s

Group = tuple[int, bool]  # validators, whether state is lost
Span = tuple[int, int]  # seeds, from and before


@dataclass(frozen=True)
class Failure:
    """One seed that did not hold."""

    validators: int
    seed: int
    violation: str
    replay: str
    story: str


@dataclass(frozen=True)
class Chunk:
    """Some seeds of one group, and what came of them."""

    group: Group
    span: Span
    tally: Tally
    cpu: float
    failures: tuple[Failure, ...]


def run_chunk(group: Group, span: Span) -> Chunk:
    """Run these seeds, each to its end or its violation."""
    validators, lost = group
    started, tally, failures = time.process_time(), Tally(), list[Failure]()
    for seed in range(*span):
        swarm = draw(validators, seed, lost=lost)
        try:
            check(swarm, tally)
        except AssertionError as error:
            story = str(error)
            shrunk = shrink(swarm, find_violation, runs_max=SHRINK_RUNS) if not failures else None
            replay = command_of(shrunk.swarm if shrunk else swarm)
            failures.append(Failure(validators, seed, story.split("\n", maxsplit=1)[0], replay, story))
    return Chunk(group, span, tally, time.process_time() - started, tuple(failures))


class Results:
    """What has been run so far, by group."""

    def __init__(self) -> None:
        self.spans: dict[Group, list[Span]] = {}
        self.tallies: dict[Group, Tally] = {}
        self.cpu: defaultdict[Group, float] = defaultdict(float)
        self.failures: list[Failure] = []
        self.seconds = 0.0
        self.sources = digest_sources("simulation.replay", "simulation.swarm")

    def add(self, chunk: Chunk) -> None:
        """Enter what came of a chunk."""
        self.tallies.setdefault(chunk.group, Tally()).merge(chunk.tally)
        self.cpu[chunk.group] += chunk.cpu
        self.failures += chunk.failures
        self.spans[chunk.group] = join_spans([*self.spans.get(chunk.group, []), chunk.span])

    @property
    def total(self) -> Tally:
        """All groups together."""
        total = Tally()
        for tally in self.tallies.values():
            total.merge(tally)
        return total

    def to_json(self, workers: int) -> dict[str, object]:
        """The report, and under ``resume`` what a later run needs."""
        total = self.total
        seeds = total.seeds + len(self.failures)
        return {
            "part": "simulation",
            "passed": not self.failures,
            "seconds": round(self.seconds, 1),
            "figures": {
                "seeds": seeds,
                "seeds of lost state": sum(count_seeds(self.spans[group]) for group in self.spans if group[1]),
                "validators": f"{min(n for n, _ in SHARES)} to {max(n for n, _ in SHARES)}",
                "simulated hours": round(total.hours, 2),
                "events": total.events,
                "faults injected": total.faults.total(),
                "violations": len(self.failures),
                "seeds a second": round(seeds / self.seconds, 1) if self.seconds else 0,
                "worker processes": workers,
                "p50 ms from healing to all final and published": total.quantile(0.5),
                "p99 ms from healing to all final and published": total.quantile(0.99),
                "longest ms from healing to all final and published": max(total.waited, default=0),
                "most views from healing to all final and published": total.views_max,
            },
            "tables": {
                "Seeds by network": list(self._list_groups()),
                "Faults injected": [["fault", "times"], *map(list, sorted(total.faults.items()))],
                "Faulty members": [["behaviour", "seeds"], *map(list, sorted(total.behaviours.items()))],
                "What faulty validators did": [["deed", "times"], *map(list, sorted(total.deeds.items()))],
                "Evidence in the ledger": [["it convicts of", "entries"], *map(list, sorted(total.evidence.items()))],
                "Violations": [["validators", "seed", "violation", "replay"]]
                + [[one.validators, one.seed, one.violation, one.replay] for one in self.failures],
            },
            "failures": [f"{one.story}\ncut down: {one.replay}" for one in self.failures],
            "resume": {
                "sources": self.sources,
                "groups": [
                    {"validators": n, "lost": lost, "spans": self.spans[n, lost], "cpu": self.cpu[n, lost]}
                    | {"tally": vars(self.tallies[n, lost])}
                    for n, lost in sorted(self.spans)
                ],
                "failures": [vars(one) for one in self.failures],
            },
        }

    def _list_groups(self) -> Iterator[list[object]]:
        yield ["validators", "state is lost", "seeds", "simulated hours", "events", "seeds a CPU second"]
        for group in sorted(self.spans):
            tally, seeds = self.tallies[group], count_seeds(self.spans[group])
            rate = round(seeds / self.cpu[group], 1) if self.cpu[group] else 0
            yield [group[0], "yes" if group[1] else "no", seeds, round(tally.hours, 2), tally.events, rate]

    @classmethod
    def resumed(cls, path: Path) -> Results:
        """Read back what a run wrote.

        Raises:
            ValueError: it ran another core or another simulation; its figures and these do not add up.
        """
        results, kept = cls(), json.loads(path.read_text())
        if kept["resume"]["sources"] != results.sources:
            raise ValueError(f"{path} is of other sources than these: begin a new file")
        results.seconds = kept["seconds"]
        for each in kept["resume"]["groups"]:
            group = each["validators"], each["lost"]
            results.spans[group] = [(first, end) for first, end in each["spans"]]
            results.cpu[group] = each["cpu"]
            values = each["tally"]
            waited = {int(waited): count for waited, count in values.pop("waited").items()}
            faults, behaviours = Counter(values.pop("faults")), Counter(values.pop("behaviours"))
            deeds, evidence = Counter(values.pop("deeds")), Counter(values.pop("evidence"))
            results.tallies[group] = Tally(
                **values, faults=faults, behaviours=behaviours, deeds=deeds, evidence=evidence, waited=Counter(waited)
            )
        results.failures = [Failure(**one) for one in kept["resume"]["failures"]]
        return results


def join_spans(spans: list[Span]) -> list[Span]:
    """The same seeds in as few spans as can be, in order."""
    joined = list[Span]()
    for first, end in sorted(spans):
        if joined and joined[-1][1] >= first:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((first, end))
    return joined


def count_seeds(spans: list[Span]) -> int:
    """Return how many seeds lie in disjoint spans."""
    return sum(end - first for first, end in spans)


class Plan:
    """Deals chunks so that at any time the groups stand to one another as their shares do."""

    def __init__(self, results: Results, first_seed: int, *, amnesia: bool, seeds: int | None) -> None:
        self._shares = {group: share for group, share in SHARES.items() if group[1] or not amnesia}
        self._dealt = {group: list(results.spans.get(group, [])) for group in self._shares}
        self._first = first_seed
        self._left = seeds

    def deal(self) -> tuple[Group, Span] | None:
        """Return the next seeds to run, or None when as many as asked for were dealt."""
        if self._left is not None and self._left <= 0:
            return None
        group = min(self._shares, key=lambda group: (count_seeds(self._dealt[group]) / self._shares[group], group))
        count = max(1, CHUNK_SEEDS // group[0] // max(1, group[0] // 4))
        first = self._first
        for start, end in self._dealt[group]:
            if start > first:
                count = min(count, start - first)
                break
            first = max(first, end)
        if self._left is not None:
            count = min(count, self._left)
            self._left -= count
        span = first, first + count
        self._dealt[group] = join_spans([*self._dealt[group], span])
        return group, span


class Campaign:
    """Keeps every core busy until the time, the seeds or the patience with violations end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.results = Results.resumed(options.resume) if options.resume else Results()
        self._plan = Plan(self.results, options.first_seed, amnesia=options.amnesia, seeds=options.seeds)
        self._path: Path = options.json
        self._workers: int = options.workers
        self._before = self.results.seconds
        self._started = time.monotonic()
        self._end = self._started + options.minutes * 60 if options.minutes else float("inf")
        self._is_stopped = False

    def stop(self, *_: object) -> None:
        """Finish the chunks that are running, then write and leave."""
        self._is_stopped = True

    def run(self) -> bool:
        """Return whether every invariant held in every seed."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.stop)
        try:
            with ProcessPoolExecutor(self._workers, initializer=ignore_signals) as pool:
                self._work(pool)
        finally:
            self._save()
        return not self.results.failures

    def _work(self, pool: ProcessPoolExecutor) -> None:
        saved, running = 0.0, set[Future[Chunk]]()
        while True:
            while len(running) < 2 * self._workers and self._may_go_on() and (dealt := self._plan.deal()):
                running.add(pool.submit(run_chunk, *dealt))
            if not running:
                break
            done, running = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            if not self._may_go_on():
                running = {future for future in running if not future.cancel()}
            for future in done:
                self.results.add(future.result())
            if time.monotonic() - saved > SAVE_EVERY:
                saved = time.monotonic()
                self._save()

    def _may_go_on(self) -> bool:
        is_in_time = time.monotonic() < self._end
        return is_in_time and not self._is_stopped and len(self.results.failures) < FAILURES_MAX

    def _save(self) -> None:
        results = self.results
        results.seconds = self._before + time.monotonic() - self._started
        draft = self._path.with_name(self._path.name + ".new")
        draft.write_text(json.dumps(results.to_json(self._workers), indent=1))
        draft.replace(self._path)
        total = results.total
        sys.stderr.write(
            f"simulation: {total.seeds} seeds, {total.hours:.1f} h simulated, {total.events} events, "
            f"{len(results.failures)} violations in {results.seconds:.0f} s\n"
        )


def ignore_signals() -> None:
    """A worker finishes its chunk; the parent says when it is over."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main() -> int:
    """Return 0 when every seed held, 1 when one did not."""
    parser = argparse.ArgumentParser(prog="python -m simulation.campaign")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seeds", type=int, help="this many more seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--amnesia", action="store_true", help="only seeds of lost state (A10)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="add to what this file holds")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    if options.minutes is None and options.seeds is None:
        parser.error("say how long, by --minutes or --seeds")
    try:
        campaign = Campaign(options)
    except ValueError as error:
        parser.error(str(error))
    return int(not campaign.run())


if __name__ == "__main__":
    raise SystemExit(main())
