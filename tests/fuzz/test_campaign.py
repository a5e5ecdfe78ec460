"""The long mode itself: it finds a planted fault, repeats itself, adds up, and keeps what it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from random import Random

import pytest

from fuzz.corpus import FILES_MAX, keep, list_regressions, minimise, read_folder
from fuzz.engines import COUNTERS, Recorder, run_own
from fuzz.instrument import has_atheris
from fuzz.registry import TARGETS
from fuzz.target import Target
from glasslog.errors import DecodeError

ROOT = Path(__file__).parents[2]
PLANTED = """
import json, sys
from pathlib import Path
from fuzz.instrument import import_instrumented
if sys.argv[1] == "atheris":
    import_instrumented()
from fuzz.slices import start
from fuzz.target import Target
from glasslog import codec
from glasslog.errors import ProtocolError

def run(data):
    value = codec.decode(data, size_max=100)
    if isinstance(value, list) and len(value) == 3 and value[1] in range(3, 24):
        raise IndexError("planted")

target = Target("planted", run, lambda: [codec.encode([1, 2, 3])], size_max=64)
running = start(target, Path(sys.argv[2]), target.seeds(), engine=sys.argv[1], seed=1, runs=5_000)
while not running.is_over():
    pass
result = running.finish()
print(json.dumps([result.executions, result.edges, result.failures]))
"""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def odd_length(data: bytes) -> None:
    if len(data) % 2:
        raise DecodeError("ODD", "odd")
    if data[:1] == b"!":
        raise ZeroDivisionError("planted")


def make_target(run: Callable[[bytes], None] = odd_length) -> Target:
    return Target("planted", run, lambda: [b"ab", b"abc"], size_max=16)


def fuzz(folder: Path, *, seed: int, runs: int = 3_000) -> tuple[tuple[int, ...], list[bytes]]:
    counters = mmap(-1, COUNTERS.size)
    target = make_target()
    run_own(target, Recorder(target, counters, folder), list(target.seeds()), seed=seed, seconds=None, runs=runs)
    return COUNTERS.unpack_from(counters), read_folder(folder)


def test_own_loop_finds_what_is_planted_and_repeats_itself(tmp_path: Path) -> None:
    first, again, other = fuzz(tmp_path / "a", seed=5), fuzz(tmp_path / "b", seed=5), fuzz(tmp_path / "c", seed=6)
    assert first == again
    assert first != other
    (executions, accepted, outcomes), findings = first
    assert executions == 3_000
    assert 0 < accepted < executions
    assert outcomes == 2
    assert len(findings) == 1
    assert findings[0][:1] == b"!"


@pytest.mark.processes
@pytest.mark.parametrize("engine", ["own", "atheris"])
def test_a_slice_finds_what_is_planted(engine: str, tmp_path: Path) -> None:
    if engine == "atheris" and not has_atheris():
        pytest.skip("atheris has no wheel for this Python; the campaign says so and runs its own loop")
    done = run_python("-c", PLANTED, engine, str(tmp_path))
    assert done.returncode == 0, done.stderr
    executions, edges, failures = json.loads(done.stdout)
    assert executions >= 5_000
    assert (edges > 0) == (engine == "atheris")
    assert len(failures) == 1
    assert "IndexError" in failures[0]
    assert "tests/vectors/fuzz/regressions/planted-WHAT.bin" in failures[0]


@pytest.mark.processes
def test_campaign_writes_its_report_and_adds_to_an_earlier_one(tmp_path: Path) -> None:
    report = tmp_path / "fuzz.json"
    line = ["-m", "fuzz.campaign", "--seeds", "1", "--target", "varint", "--target", "tile-path", "--json", str(report)]
    runs: list[int] = []
    for more in ([], ["--resume", str(report)]):
        done = run_python(*line, *more)
        assert done.returncode == 0, done.stderr
        value = json.loads(report.read_text())
        assert (value["part"], value["passed"], value["failures"]) == ("fuzz", True, [])
        assert [row[0] for row in value["tables"]["Targets"]] == ["target", "varint", "tile-path"]
        runs.append(value["figures"]["executions"])
    assert runs == [4_000, 8_000]


@pytest.mark.processes
def test_interrupted_campaign_tells_what_it_has(tmp_path: Path) -> None:
    report = tmp_path / "fuzz.json"
    line = [sys.executable, "-m", "fuzz.campaign", "--minutes", "9", "--engine", "own", "--target", "varint"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    with subprocess.Popen([*line, "--json", str(report)], cwd=ROOT, env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert b"1 targets" in process.stderr.readline()
        process.terminate()
        assert process.wait(60) == 0
    assert json.loads(report.read_text())["passed"]


def test_unknown_target_is_told(tmp_path: Path) -> None:
    done = run_python("-m", "fuzz.campaign", "--seeds", "1", "--target", "nothing", "--json", str(tmp_path / "f"))
    assert done.returncode == 2
    assert "no target nothing" in done.stderr


def test_minimised_corpus_takes_every_step_of_the_whole(tmp_path: Path) -> None:
    target = TARGETS["tile-path"]
    rng = Random(3)
    inputs = [*target.seeds(), *[rng.randbytes(6) for _ in range(50)], b"x" * 5_000]
    kept = minimise(target, inputs)
    assert len(kept) < 8
    assert any(target.accepts(data) for data in kept)
    assert keep(target, inputs, tmp_path) == len(read_folder(tmp_path / "tile-path")) <= FILES_MAX
    assert sorted(kept) == sorted(read_folder(tmp_path / "tile-path"))


def test_regression_belongs_to_the_longest_name(tmp_path: Path) -> None:
    (tmp_path / "regressions").mkdir()
    (tmp_path / "regressions" / "statement-json-what.bin").write_bytes(b"{}")
    assert list_regressions(TARGETS, tmp_path)[0][0] is TARGETS["statement-json"]
    (tmp_path / "regressions" / "nobody-what.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="nobody-what"):
        list_regressions(TARGETS, tmp_path)
