"""The whole enumeration: ``PYTHONPATH=tests python -m exhaustive.campaign --json FILE [--minutes M]``.

Scripts are numbered: first by whose key has the twin, then in the order of their partitions. ``--first-seed S`` begins
with script S and ``--seeds N`` ends after N; FILE says where to go on. Rounds that scripts share are explored once, so
a run from the start is cheaper than its parts.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from exhaustive.enumeration import Counts, Enumeration
from exhaustive.script import VALIDATORS, Cast, Script, list_scripts, list_splits
from exhaustive.search import Universe
from exhaustive.story import find_story, tell

SAVE_EVERY = 20.0  # s
LOCALS_MAX = 60_000  # local states of one cast kept in memory; then its automata begin anew


@dataclass(frozen=True)
class Family:
    """Which scripts: how many rounds, of how many views, and how large the part with the quorum is."""

    rounds: int = 4
    stretch: int = 1
    sizes: tuple[int, ...] = (3,)

    def scripts(self, twin: int) -> Iterator[Script]:
        """Yield the scripts with a twin of this validator's key."""
        cast = Cast((twin,))
        return list_scripts(cast, [list_splits(cast, self.sizes)] * self.rounds, self.stretch)

    def __str__(self) -> str:
        return f"{self.rounds} rounds of {self.stretch} views, parts of {' or '.join(map(str, self.sizes))}"


@dataclass
class Campaign:
    """What was enumerated so far."""

    family: Family
    report: Path
    first: int
    counts: dict[int, Counts] = field(default_factory=dict[int, Counts])
    local_states: dict[int, int] = field(default_factory=dict[int, int])
    steps: int = 0
    failures: list[str] = field(default_factory=list[str])
    next_script: int = 0
    total: int = 0
    started: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)
    stopped: bool = False

    def run(self, until: float, seeds: int) -> None:
        """Play scripts until the time or their number is up."""
        last = self.first + seeds if seeds else None
        self.total = sum(1 for twin in range(VALIDATORS) for _ in self.family.scripts(twin))
        number = 0
        saved = time.monotonic()
        for twin in range(VALIDATORS):
            begun = number
            number += sum(1 for _ in self.family.scripts(twin))
            if number <= self.first or (last is not None and begun >= last):
                continue
            scripts = islice(
                self.family.scripts(twin), max(self.first - begun, 0), None if last is None else last - begun
            )
            self.next_script = max(self.first, begun)
            for _ in self._play(twin, scripts):
                self.next_script += 1
                if time.monotonic() - saved > SAVE_EVERY:
                    saved = time.monotonic()
                    self.write()
                if self.stopped or time.monotonic() > until:
                    return

    def _play(self, twin: int, scripts: Iterator[Script]) -> Iterator[None]:
        counts = self.counts.setdefault(twin, Counts())
        one = Enumeration(Universe(Cast((twin,)), self.family.rounds * self.family.stretch), counts)
        for script in scripts:
            before = one.universe.steps
            round_ = one.play(script)
            self.steps += one.universe.steps - before
            self.local_states[twin] = max(self.local_states.get(twin, 0), one.universe.local_states)
            if round_.violation is not None:
                self.failures.append(explain(script, self.next_script))
            if one.universe.local_states > LOCALS_MAX:
                one = Enumeration(Universe(Cast((twin,)), self.family.rounds * self.family.stretch), counts)
            yield

    def write(self) -> None:
        """Write the report, whole or not at all, and a line of progress."""
        value = self.to_json()
        scratch = self.report.with_suffix(".partial")
        scratch.write_text(json.dumps(value, indent=1))
        scratch.replace(self.report)
        figures = value["figures"]
        sys.stderr.write(
            f"exhaustive: script {self.next_script} of {self.total}, {figures['worlds']} worlds, "
            f"{figures['transitions']} transitions, {len(self.failures)} violations\n"
        )

    def to_json(self) -> dict[str, Any]:
        """The report."""
        every = Counts()
        for counts in self.counts.values():
            every.add(counts)
        rows = [[f"v{twin}", *astuple(counts), self.local_states.get(twin, 0)] for twin, counts in self.counts.items()]
        return {
            "part": "exhaustive",
            "passed": not self.failures,
            "seconds": round(time.monotonic() - self.started, 1),
            "figures": {
                "family": str(self.family),
                "scripts": every.scripts,
                "scripts in the family": self.total,
                "next script": self.next_script,
                "rounds": every.rounds,
                "worlds": every.worlds,
                "transitions": every.transitions,
                "distinct replica states": sum(self.local_states.values()),
                "steps of real replicas": self.steps,
                "CPU seconds": round(time.process_time() - self.cpu, 1),
                "violations": len(self.failures),
            },
            "tables": {
                "By twin": [
                    ["twin", "scripts", "rounds", "worlds", "transitions", "ends", "distinct replica states"],
                    *rows,
                ]
            },
            "failures": self.failures,
        }


def explain(script: Script, number: int) -> str:
    """Tell how a script's violation comes about, and how to see it again."""
    universe = Universe(script.cast, script.views)
    found = find_story(universe, script)
    story = ["NOT DETERMINISTIC: it did not happen again"] if found is None else [found[0], *tell(universe, found[1])]
    command = f"PYTHONPATH=tests python -m exhaustive.campaign --first-seed {number} --seeds 1 --json FILE"
    return "\n".join([f"{script}: {story[0]}", *story[1:], f"replay: {command}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="exhaustive.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long (0: when all is done)")
    parser.add_argument("--seeds", type=int, default=0, help="stop after so many scripts (0: all)")
    parser.add_argument("--first-seed", type=int, default=0, help="number of the first script")
    parser.add_argument("--rounds", type=int, default=Family.rounds)
    parser.add_argument("--stretch", type=int, default=Family.stretch, help="views a round")
    parser.add_argument("--sizes", type=int, nargs="+", default=Family.sizes, help="sizes of the part with a quorum")
    parser.add_argument("--json", type=Path, required=True, help="where the report goes")
    given = parser.parse_args(arguments)
    campaign = Campaign(Family(given.rounds, given.stretch, tuple(given.sizes)), given.json, given.first_seed)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(campaign, "stopped", True))
    until = time.monotonic() + given.minutes * 60 if given.minutes else float("inf")
    campaign.run(until, given.seeds)
    campaign.write()
    return int(bool(campaign.failures))


if __name__ == "__main__":
    sys.exit(main())
