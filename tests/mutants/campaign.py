"""Every mutant against the simulation: ``PYTHONPATH=tests python -m mutants.campaign [--minutes M] --json FILE``.

One process a mutant, on a copy of the core of its own; the first expected violation ends it. With ``--minutes`` the
seeds go on where they ended, round after round, so that the table says how soon a fault is found as a rule.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import FrameType

from mutants.catalogue.everything import MUTANTS
from mutants.mutant import Mutant
from mutants.planting import ROOT, copy_core, plant

SEEDS = 200  # a mutant that outlives them is a survivor
WORKERS = 2
PATIENCE_S = 300  # of a mutant that never comes to an end


@dataclass(frozen=True)
class Verdict:
    """What one mutant's search gave. ``seeds`` is 0 where a test of the suite is what kills."""

    mutant: Mutant
    seeds: int
    seed: int
    finding: str | None
    others: tuple[str, ...]

    @property
    def row(self) -> list[str]:
        """The table's row."""
        mutant = self.mutant
        where = mutant.test.rsplit("::", maxsplit=1)[-1] or mutant.world.name
        found = self.finding or "; ".join(("SURVIVES", *self.others[:1]))
        return [mutant.rule, mutant.name, where, str(self.seeds) if not mutant.test else "-", found]


HEADER = ["rule", "the core ...", "world or test", "seeds", "finding"]


def run_search(copy: Path, *arguments: str) -> dict[str, object]:
    """Run ``mutants.search`` on a copy, in a process of its own."""
    path = os.pathsep.join((str(copy), str(ROOT / "tests")))
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": path, "PYTHONHASHSEED": "0", "CI": "1"}
    command = [sys.executable, "-m", "mutants.search", str(copy), *arguments]
    try:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return {"seeds": 0, "seed": -1, "finding": None, "others": ["does not come to an end"]}
    if done.returncode:
        return {"seeds": 0, "seed": -1, "finding": None, "others": [done.stderr.strip()[-500:]]}
    result: dict[str, object] = json.loads(done.stdout)
    return result


def judge(mutant: Mutant, sound: Path, first: int, seeds: int) -> Verdict:
    """Plant one mutant, look for it, and throw it away."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = plant(mutant, sound, Path(folder))
        if mutant.test:
            result = run_search(copy, "--test", mutant.test)
        else:
            result = run_search(copy, "--mutant", mutant.name, "--first-seed", str(first), "--seeds", str(seeds))
    finding, others = result["finding"], result["others"]
    assert isinstance(others, list)
    count, seed = (int(str(result[key])) for key in ("seeds", "seed"))
    return Verdict(mutant, count, seed, None if finding is None else str(finding), tuple(map(str, others)))


def judge_all(
    mutants: Iterable[Mutant], sound: Path, *, first: int = 0, seeds: int = SEEDS, workers: int = WORKERS
) -> Iterator[Verdict]:
    """Judge mutants side by side; verdicts come as they are reached."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[Verdict]] = [pool.submit(judge, mutant, sound, first, seeds) for mutant in mutants]
        try:
            for one in as_completed(waiting):
                yield one.result()
        finally:
            for one in waiting:
                one.cancel()


def find_without_fault(verdicts: Sequence[Verdict], sound: Path) -> list[str]:
    """Repeat on the sound core what killed the mutants; return what it shows too: the fault was not the reason."""
    killers = {(v.mutant.world.name, v.seed): f"{v.seed}:{v.mutant.name}" for v in verdicts if v.seed >= 0}
    found = list[str]()
    if killers:
        found += _others(run_search(sound, "--repeat", *killers.values()))
    tests = sorted({verdict.mutant.test for verdict in verdicts if verdict.mutant.test})
    if tests:
        result = run_search(sound, "--test", *tests)
        found += _others(result) + ([] if result["finding"] is None else [str(result["finding"])])
    return found


def _others(result: dict[str, object]) -> list[str]:
    others = result["others"]
    assert isinstance(others, list)
    return [str(other) for other in others]


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join("  ".join((*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1])) for row in rows)  # noqa: B905 - the last cell is as wide as it likes


@dataclass
class Campaign:
    """What rounds of all mutants added up to."""

    started: float = field(default_factory=time.monotonic)
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict[str, list[Verdict]])
    failures: list[str] = field(default_factory=list[str])
    rounds: int = 0

    def add(self, verdict: Verdict) -> None:
        self.verdicts.setdefault(verdict.mutant.name, []).append(verdict)
        if verdict.finding is None:
            others = "".join(f"\n  {other}" for other in verdict.others[:5])
            self.failures.append(
                f"SURVIVES: {verdict.mutant.rule} {verdict.mutant.name}, {verdict.seeds} seeds{others}"
            )

    def report(self) -> dict[str, object]:
        """The result in the form that every long run has."""
        rows = [["rule", "the core ...", "world or test", "killed", "seeds, median", "seeds, most", "finding"]]
        for mutant in MUTANTS:
            found = self.verdicts.get(mutant.name)
            if found:
                seeds = [verdict.seeds for verdict in found]
                killed = sum(verdict.finding is not None for verdict in found)
                counts = ["-", "-"] if mutant.test else [f"{median(seeds):g}", str(max(seeds))]
                row = found[0].row
                rows.append([*row[:3], f"{killed}/{len(found)}", *counts, row[-1]])
        every = [verdict for found in self.verdicts.values() for verdict in found]
        is_whole = len(self.verdicts) == len(MUTANTS)
        return {
            "part": "mutants",
            "passed": is_whole and not self.failures,
            "seconds": round(time.monotonic() - self.started, 1),
            "figures": {
                "mutants": len(MUTANTS),
                "killed": sum(all(v.finding is not None for v in found) for found in self.verdicts.values()),
                "seeds": sum(verdict.seeds for verdict in every),
                "rounds": self.rounds,
                "by a test instead of a seed": sum(bool(mutant.test) for mutant in MUTANTS),
            },
            "tables": {"Mutants": rows},
            "failures": self.failures,
        }


def write_atomically(path: Path, value: object) -> None:
    """Replace a file in one step."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(value, indent=1))
    draft.replace(path)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the campaign and write its report; also what there is of it when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m mutants.campaign")
    parser.add_argument("--minutes", type=float, default=0.0, help="go on for so long, in rounds of all mutants")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="a mutant, a round")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    campaign = Campaign()
    end = campaign.started + options.minutes * 60
    try:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            sound = copy_core(Path(folder))
            while not campaign.rounds or time.monotonic() < end:
                first = options.first_seed + campaign.rounds * options.seeds
                run_round(campaign, sound, first, options.seeds)
                write_atomically(options.json, campaign.report())
    except KeyboardInterrupt:
        campaign.failures.append("interrupted")
    report = campaign.report()
    write_atomically(options.json, report)
    return int(not report["passed"])


def run_round(campaign: Campaign, sound: Path, first: int, seeds: int) -> None:
    """Judge every mutant once; those that a test kills only in the first round."""
    mutants = [mutant for mutant in MUTANTS if not (campaign.rounds and mutant.test)]
    verdicts = list[Verdict]()
    for verdict in judge_all(mutants, sound, first=first, seeds=seeds):
        campaign.add(verdict)
        verdicts.append(verdict)
        word = "killed" if verdict.finding is not None else "SURVIVES"
        sys.stderr.write(f"{len(verdicts)}/{len(mutants)} {word} {verdict.mutant.name}: {verdict.row[-1][:100]}\n")
    campaign.failures += find_without_fault(verdicts, sound)
    campaign.rounds += 1


if __name__ == "__main__":
    raise SystemExit(main())
