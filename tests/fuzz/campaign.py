"""Long fuzzing: ``PYTHONPATH=tests python -m fuzz.campaign --minutes 15 --json FILE``.

Every target gets its share of the time, in rounds. ``--seeds N`` instead runs N slices of RUNS executions per target
with the loop of our own, each repeatable: ``--first-seed S --seeds 1 --target T`` does the same again. Findings are
kept with a line that makes each a regression; ``--resume FILE`` adds to an earlier run's totals; ``--keep`` minimises
what was reached into ``tests/vectors/fuzz``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.instrument import has_atheris, import_instrumented

RUNS = 2_000  # executions of one seed of one target
SLICE_SECONDS = 20.0
REPORT_SECONDS = 15.0
HEADER = ["target", "executions", "per CPU second", "accepted %", "outcomes", "edges", "features", "corpus", "findings"]


@dataclass
class Totals:
    """A target's figures, over all slices and all runs resumed."""

    executions: int = 0
    accepted: float = 0.0
    seconds: float = 0.0
    outcomes: int = 0
    edges: int = 0
    features: int = 0
    corpus: int = 0
    findings: int = 0

    def row(self, name: str) -> list[Any]:
        """Return the target's row under HEADER."""
        rate = round(self.executions / self.seconds) if self.seconds else 0
        share = round(100 * self.accepted / self.executions, 2) if self.executions else 0
        return [
            name,
            self.executions,
            rate,
            share,
            self.outcomes,
            self.edges,
            self.features,
            self.corpus,
            self.findings,
        ]

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Totals:
        """Return what ``row`` wrote."""
        _, executions, rate, share, outcomes, edges, features, corpus, findings = row
        accepted, seconds = executions * share / 100, executions / rate if rate else 0
        return cls(executions, accepted, seconds, outcomes, edges, features, corpus, findings)


@dataclass
class Campaign:
    """What has been done so far, and where it is told."""

    engine: str
    report: Path
    workers: int
    started: float = field(default_factory=time.monotonic)
    earlier: float = 0.0
    totals: dict[str, Totals] = field(default_factory=dict[str, Totals])
    failures: list[str] = field(default_factory=list[str])
    stopped: bool = False

    def resume(self, path: Path) -> None:
        """Take up the totals of an earlier run."""
        if path.is_file():
            value = json.loads(path.read_text())
            self.earlier = value["seconds"]
            self.failures = value["failures"]
            self.totals = {row[0]: Totals.of_row(row) for row in value["tables"]["Targets"][1:]}

    def take(self, result: Any) -> None:
        """Add a slice."""
        total = self.totals.setdefault(result.target, Totals())
        total.executions += result.executions
        total.accepted += result.accepted
        total.seconds += result.seconds
        for name in ("outcomes", "edges", "features", "corpus"):
            setattr(total, name, max(getattr(total, name), getattr(result, name)))
        for failure in result.failures:
            if failure not in self.failures:
                self.failures.append(failure)
                total.findings += 1

    @property
    def executions(self) -> int:
        """Return how many there were in all."""
        return sum(total.executions for total in self.totals.values())

    def write(self) -> None:
        """Write the report, whole or not at all."""
        fuzzed = sum(total.seconds for total in self.totals.values())
        seconds = self.earlier + time.monotonic() - self.started
        figures = {
            "executions": self.executions,
            "executions per CPU second": round(self.executions / fuzzed) if fuzzed else 0,
            "targets": len(self.totals),
            "findings": len(self.failures),
            "edges": sum(total.edges for total in self.totals.values()),
            "corpus inputs": sum(total.corpus for total in self.totals.values()),
            "workers": self.workers,
            "engine": self.engine,
        }
        rows = [total.row(name) for name, total in self.totals.items()]
        value = {
            "part": "fuzz",
            "passed": not self.failures,
            "seconds": round(seconds, 1),
            "figures": figures,
            "tables": {"Targets": [HEADER, *rows]},
            "failures": self.failures,
        }
        self.report.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.report.with_name(f".{self.report.name}.{os.getpid()}")
        temporary.write_text(json.dumps(value, indent=1) + "\n")
        temporary.replace(self.report)


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz.campaign")
    parser.add_argument("--minutes", type=float, default=None, help="how long in all (default 1 without --seeds)")
    parser.add_argument("--seeds", type=int, default=None, help=f"slices of {RUNS} executions per target, repeatable")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--target", action="append", default=[], help="only this one (may be given again)")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--engine", choices=("auto", "atheris", "own"), default="auto")
    parser.add_argument("--work", type=Path, default=None, help="where corpora and findings go (default: a new folder)")
    parser.add_argument("--resume", type=Path, default=None, help="an earlier report, whose totals this adds to")
    parser.add_argument("--keep", action="store_true", help="minimise the corpora into tests/vectors/fuzz")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    return parser.parse_args(arguments)


def choose_engine(options: argparse.Namespace) -> str:
    """Return the engine: repeatable seeds are our own loop's; else atheris where it is installed."""
    if options.engine == "atheris" or (options.engine == "auto" and options.seeds is None and has_atheris()):
        return "atheris"
    if options.engine == "auto" and options.seeds is None:
        say("fuzz: atheris is not installed for this Python; the loop of our own runs, which coverage does not guide")
    return "own"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; return 0 where nothing was found."""
    options = parse(arguments)
    campaign = Campaign(choose_engine(options), options.json, options.workers)

    def stop(*_: object) -> None:
        campaign.stopped = True

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    if options.resume is not None:
        campaign.resume(options.resume)
    if campaign.engine == "atheris":
        import_instrumented()
    from fuzz.registry import TARGETS  # only now: the first import is the instrumented one

    unknown = set(options.target) - TARGETS.keys()
    if unknown:
        say(f"fuzz: no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
        return 2
    targets = [TARGETS[name] for name in options.target or TARGETS]
    work = options.work or Path(tempfile.mkdtemp(prefix="glasslog-fuzz-"))
    say(f"fuzz: {len(targets)} targets, engine {campaign.engine}, {options.workers} workers, inputs under {work}")
    run(campaign, plan(targets, options), work)
    if options.keep and not campaign.stopped:
        from fuzz.corpus import keep, read_folder

        for target in targets:
            kept = keep(
                target, [*target.seeds(), *read_folder(work / target.name / "corpus"), *found(work, target.name)]
            )
            campaign.totals.setdefault(target.name, Totals()).corpus = kept
    campaign.write()
    say(f"fuzz: {campaign.executions:,} executions, {len(campaign.failures)} findings: {options.json}")
    for failure in campaign.failures:
        say(f"  {failure}")
    return 1 if campaign.failures else 0


def found(work: Path, name: str) -> list[bytes]:
    """Return what libFuzzer added to a corpus, under names of its own."""
    folder = work / name / "corpus"
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".bin"] if folder.is_dir() else []


def plan(targets: Sequence[Any], options: argparse.Namespace) -> Iterator[tuple[Any, int, float | None, int | None]]:
    """Yield ``(target, seed, seconds, runs)``, in rounds, until the time or the seeds are used up."""
    if options.seeds is not None:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for target in targets:
                yield target, seed, None, RUNS
        return
    budget = (options.minutes or 1.0) * 60
    end = time.monotonic() + budget
    weights = sum(target.weight for target in targets)
    rounds = max(1, round(budget * options.workers / (weights * SLICE_SECONDS)))
    for number in range(rounds):
        for place, target in enumerate(targets):
            left = end - time.monotonic()
            ahead = sum(each.weight for each in targets[place:]) + weights * (rounds - 1 - number)
            seconds = left * options.workers * target.weight / ahead
            if left < 0.5:
                return
            yield target, options.first_seed + number, max(1.0, seconds), None


def run(campaign: Campaign, slices: Iterator[tuple[Any, int, float | None, int | None]], work: Path) -> None:
    """Keep ``workers`` slices running until there are no more; write the report now and then."""
    from fuzz.corpus import CORPUS, read_folder
    from fuzz.slices import Slice, start

    running: list[Slice] = []
    reported = time.monotonic()
    more = True
    while (more and not campaign.stopped) or running:
        if campaign.stopped:
            for each in running:
                each.stop()
        for each in [each for each in running if campaign.stopped or each.is_over()]:
            running.remove(each)
            campaign.take(each.finish())
        while more and not campaign.stopped and len(running) < campaign.workers:
            planned = next(slices, None)
            more = planned is not None
            if planned is None:
                break
            target, seed, seconds, runs = planned
            inputs = [*target.seeds(), *read_folder(CORPUS / target.name)]
            folder = work / target.name
            running.append(start(target, folder, inputs, engine=campaign.engine, seed=seed, seconds=seconds, runs=runs))
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            campaign.write()
            say(f"fuzz: {campaign.executions:,} executions, {len(campaign.failures)} findings")
        time.sleep(0.02)


if __name__ == "__main__":
    raise SystemExit(main())
