"""What runs a target over and over: atheris (libFuzzer, guided by coverage) where it is, else a loop of our own.

Both mutate in the same ways, count in the same places and go on after a finding: one input is kept for each place in
the code that a finding comes from.
"""

from __future__ import annotations

import importlib
import json
import random
import struct
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from mmap import mmap
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutators import mutate_bytes
from fuzz.target import Target

COUNTERS = struct.Struct("QQQ")  # executions, accepted, distinct outcomes
TIMEOUT_SECONDS = 60  # an input of a few kilobytes takes milliseconds: this long is a finding, also on a busy machine
MEMORY_MIB_MAX = 2_048


@dataclass
class Recorder:
    """Runs the target on each input, counts into shared memory, and keeps what is a finding."""

    target: Target
    counters: mmap
    findings: Path
    executions: int = 0
    accepted: int = 0
    outcomes: set[str] = field(default_factory=set[str])
    seen: set[str] = field(default_factory=set[str])

    def run(self, data: bytes) -> bool:
        """Run once; return whether the outcome is one that no input had before."""
        known = len(self.outcomes)
        try:
            self.target.run(data)
        except self.target.allowed as refusal:
            self.outcomes.add(f"{type(refusal).__name__} {getattr(refusal, 'code', '')}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            self.record(data, error)
        else:
            self.accepted += 1
            self.outcomes.add("accepted")
        self.executions += 1
        COUNTERS.pack_into(self.counters, 0, self.executions, self.accepted, len(self.outcomes))
        return len(self.outcomes) > known

    def record(self, data: bytes, error: Exception) -> None:
        """Keep the input and the way to it, once for each place that raises."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        key = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno} {place.name}"
        if key in self.seen:
            return
        self.seen.add(key)
        self.findings.mkdir(parents=True, exist_ok=True)
        name = f"{self.target.name}-{sha256(key.encode()).hexdigest()[:8]}"
        (self.findings / f"{name}.bin").write_bytes(data)
        value = {"target": self.target.name, "finding": key, "says": str(error)[:300]}
        (self.findings / f"{name}.json").write_text(json.dumps(value))


def mutate(target: Target, data: bytes, rng: Random) -> bytes:
    """Change an input in one of the target's ways, or anywhere."""
    if target.mutators and rng.random() < 0.6:
        return rng.choice(target.mutators)(data, rng)[: target.size_max]
    return mutate_bytes(data, rng, target.tokens)[: target.size_max]


def run_own(
    target: Target, recorder: Recorder, inputs: Sequence[bytes], *, seed: int, seconds: float | None, runs: int | None
) -> None:
    """Mutate from a pool that grows by every input with a new outcome. The same seed and runs do the same again."""
    rng = Random(f"{seed} {target.name}")
    pool = [*inputs] or [b""]
    for data in pool:
        recorder.run(data)
    end = None if seconds is None else time.monotonic() + seconds
    while runs is None or recorder.executions < runs:
        if end is not None and recorder.executions % 64 == 0 and time.monotonic() >= end:
            return
        data = rng.choice(pool)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
            data = mutate(target, data, rng)
        if recorder.run(data):
            pool.append(data)


def run_atheris(
    target: Target, recorder: Recorder, corpus: Path, *, seed: int, seconds: float | None, runs: int | None
) -> None:
    """Run libFuzzer in this process, which it ends. ``corpus`` is read, and grows."""
    atheris: Any = importlib.import_module("atheris")
    rng = random.Random()

    def custom(data: bytes, size_max: int, drawn: int) -> bytes:
        rng.seed(drawn)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, size_max))
        return mutate(target, data, rng)[:size_max]

    recorder.findings.mkdir(parents=True, exist_ok=True)
    options = [
        f"-seed={seed % (1 << 31) or 1}", f"-max_len={target.size_max}", f"-timeout={TIMEOUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MIB_MAX}", f"-artifact_prefix={recorder.findings}/{target.name}-",
        "-print_final_stats=1", "-verbosity=1", "-len_control=0",
    ]  # fmt: skip
    options += [] if seconds is None else [f"-max_total_time={max(1, round(seconds))}"]
    options += [] if runs is None else [f"-runs={runs}"]
    if target.tokens:
        words = corpus.parent / f"{target.name}.dict"
        words.write_text("".join(f'"{_escape(token)}"\n' for token in target.tokens))
        options.append(f"-dict={words}")

    def one_input(data: bytes) -> None:
        recorder.run(data)

    atheris.Setup(["fuzz", *options, str(corpus)], one_input, custom_mutator=custom)
    atheris.Fuzz()


def _escape(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)
