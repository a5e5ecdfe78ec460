"""The parts of a long run: each is a process that writes one JSON file, so that one's end is not another's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"


@dataclass(frozen=True)
class Part:
    """One campaign: its package under ``tests/``, its share of ``--minutes``, and what it can do."""

    name: str
    shows: str
    share: float
    takes_seeds: bool = False
    resumes: bool = False
    compiled: bool = False


PARTS = (
    Part("mutants", "one-line faults of the core, each found by the simulation", 0.0),
    Part("simulation", "real replicas on a simulated network, under every fault", 0.5, True, True, True),
    Part("exhaustive", "every interleaving of a small world with a twin", 0.05),
    Part("chaos", "real nodes as processes in network namespaces", 0.3),
    Part("fuzz", "every parser that a stranger's bytes reach", 0.15, resumes=True),
)


@dataclass(frozen=True)
class Outcome:
    """What a part wrote, or why it wrote nothing. Figures and tables are the part's own (specs/evidence.md)."""

    part: str
    passed: bool
    seconds: float
    figures: dict[str, Any]
    tables: dict[str, list[list[Any]]]
    failures: list[str]

    @classmethod
    def read(cls, part: Part, file: Path, *, status: int, seconds: float) -> Outcome:
        """Read what the part wrote; a part that wrote nothing, or ended badly, has failed."""
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            failures = [str(failure) for failure in said["failures"]]
            found = cls(part.name, bool(said["passed"]), said["seconds"], said["figures"], said["tables"], failures)
        except (OSError, ValueError, KeyError, TypeError) as error:
            fact = f"{part.name} ended with {status} and left no readable report ({type(error).__name__}: {error})"
            return cls(part.name, False, seconds, {}, {}, [fact])
        if status and found.passed:
            fact = f"{part.name} ended with {status} although its report says that all held"
            return cls(part.name, False, found.seconds, found.figures, found.tables, [*found.failures, fact])
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "part": self.part, "passed": self.passed, "seconds": self.seconds,
            "figures": self.figures, "tables": self.tables, "failures": self.failures,
        }  # fmt: skip


def run_part(part: Part, out: Path, options: Sequence[str], *, core: Path | None, resume: bool) -> Outcome:
    """Run one campaign to its end. An interrupt is passed on; what the part has by then is its report."""
    file = out / f"{part.name}.json"
    if not (resume and part.resumes and file.exists()):
        file.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"{part.name}.campaign", *options, "--json", str(file)]
    if resume and part.resumes and file.exists():
        command += ["--resume", str(file)]
    path = [str(core)] * (core is not None and part.compiled) + [str(TESTS)]
    begun = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    # In a session of its own, or a terminal's Ctrl-C would reach it twice: from the terminal, and from here.
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
    return Outcome.read(part, file, status=status, seconds=time.monotonic() - begun)
