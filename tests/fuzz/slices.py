"""One slice of a campaign: one target, for a while, in a forked process, so that nothing it does outlives it.

Forked, because instrumenting the product takes seconds and is done once; the counts are in memory shared with the
child, so that they are right whatever becomes of it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

from fuzz.corpus import read_folder, write_input
from fuzz.engines import COUNTERS, TIMEOUT_SECONDS, Recorder, run_atheris, run_own
from fuzz.target import Target

_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")


@dataclass(frozen=True)
class SliceResult:
    """What came of a slice. ``edges`` and ``features`` are libFuzzer's, 0 where it did not run.

    ``seconds`` are of processor time: the machine may have other work.
    """

    target: str
    executions: int
    accepted: int
    outcomes: int
    seconds: float
    edges: int
    features: int
    corpus: int
    failures: tuple[str, ...]


@dataclass
class Slice:
    """A slice that runs. ``folder`` holds its target's corpus, findings and log."""

    target: Target
    folder: Path
    counters: mmap
    log: Path
    pid: int
    last_seen: tuple[int, float] = (0, 0.0)
    status: int = 0
    seconds: float = 0.0

    def is_over(self) -> bool:
        """Say whether the child has ended; kill it where one input takes it far too long."""
        executions = COUNTERS.unpack_from(self.counters)[0]
        now = time.monotonic()
        if executions != self.last_seen[0] or not self.last_seen[1]:
            self.last_seen = executions, now
        elif now - self.last_seen[1] > 3 * TIMEOUT_SECONDS:
            os.kill(self.pid, signal.SIGKILL)
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid:
            self.status, self.seconds = status, usage.ru_utime + usage.ru_stime
        return pid != 0

    def stop(self) -> None:
        """End it now. What it has counted and found stays."""
        os.kill(self.pid, signal.SIGKILL)
        _, _, usage = os.wait4(self.pid, 0)
        self.status, self.seconds = 0, usage.ru_utime + usage.ru_stime

    def finish(self) -> SliceResult:
        """Return the result of a slice that is over."""
        executions, accepted, outcomes = COUNTERS.unpack_from(self.counters)
        log = self.log.read_text("utf-8", "replace") if self.log.is_file() else ""
        found = _COVERAGE.findall(log)
        edges, features, corpus = map(int, found[-1]) if found else (0, 0, 0)
        failures = _read_findings(self.target, self.folder / "findings")
        ended_badly = os.waitstatus_to_exitcode(self.status) if self.status else 0
        if ended_badly and not failures:
            tail = " / ".join(log.strip().splitlines()[-3:])
            failures = (f"{self.target.name}: the process ended with {ended_badly}: {tail[:400]}",)
        size = corpus or len(read_folder(self.folder / "corpus"))
        return SliceResult(
            self.target.name, executions, accepted, outcomes, self.seconds, edges, features, size, failures
        )  # fmt: skip


def start(
    target: Target,
    folder: Path,
    inputs: Sequence[bytes],
    *,
    engine: str,
    seed: int,
    seconds: float | None = None,
    runs: int | None = None,
) -> Slice:
    """Fork a child that runs ``target`` for ``seconds`` or ``runs``, from ``inputs`` and what the folder has."""
    corpus, findings = folder / "corpus", folder / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        write_input(corpus, data)
    counters, log = mmap(-1, COUNTERS.size), folder / f"log-{seed}"
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Slice(target, folder, counters, log, pid)
    status = 1
    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_IGN if signum == signal.SIGINT else signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        recorder = Recorder(target, counters, findings)
        if engine == "atheris":
            run_atheris(target, recorder, corpus, seed=seed, seconds=seconds, runs=runs)
        else:
            run_own(target, recorder, inputs, seed=seed, seconds=seconds, runs=runs)
        status = 0
    finally:
        os._exit(status)


def _read_findings(target: Target, folder: Path) -> tuple[str, ...]:
    """Return a line for each finding: what, and the command that keeps it as a regression."""
    if not folder.is_dir():
        return ()
    failures: list[str] = []
    for path in sorted(folder.glob(f"{target.name}-*")):
        if path.suffix == ".json":
            continue
        told = path.with_suffix(".json")
        value = (
            json.loads(told.read_text()) if told.is_file() else {"finding": path.name, "says": "hang, memory or signal"}
        )
        line = f"cp {path} tests/vectors/fuzz/regressions/{target.name}-WHAT.bin"
        failures.append(f"{target.name}: {value['finding']}: {value['says']} | {line}")
    return tuple(failures)
