"""A long run that goes on later is of the same sources: all that its outcome depends on, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from simulation.sources import digest_sources, find_sources
from simulation.test_campaign import ENVIRONMENT

ROOTS = ("simulation.replay", "simulation.swarm")
LOADED = """
import sys
for name in {roots}:
    __import__(name)
print(*(name for name in sys.modules if name.split(".")[0] in ("glasslog", "simulation")))
"""


def test_every_module_that_is_loaded_is_among_the_sources() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(roots=ROOTS)], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    folders = {"simulation", "simulation.byzantine", "simulation.oracles"}  # without a file of their own
    assert set(done.stdout.split()) - folders <= find_sources(*ROOTS).keys()


def test_what_a_seed_does_not_depend_on_is_not_among_the_sources() -> None:
    found = find_sources(*ROOTS)
    assert {"glasslog", "glasslog.agreement.replica", "simulation.cluster", "simulation.oracles.heights"} < found.keys()
    assert not {"glasslog.bundle", "glasslog.audit", "simulation.campaign", "simulation.test_sources"} & found.keys()


def test_digest_is_of_every_source_and_its_place(tmp_path: Path) -> None:
    code = "import simulation.sources as s; print(s.digest_sources('simulation.one'))"

    def digest(one: str, other: str) -> str:
        folder = tmp_path / "simulation"
        folder.mkdir(exist_ok=True)
        (folder / "one.py").write_text(one)
        (folder / "other.py").write_text(other)
        path = f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"
        environment = {**ENVIRONMENT, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    first = digest("def late():\n    from simulation import other\n", "X = 1\n")
    assert digest("def late():\n    from simulation import other\n", "X = 2\n") != first
    assert digest("def late():\n    from simulation.other import X\n", "X = 1\n") != first
    assert digest("def late():\n    from simulation import other\n", "X = 1\n") == first
    alone = digest("", "X = 1\n")
    assert digest("", "X = 2\n") == alone
    assert digest_sources(*ROOTS) == digest_sources(*ROOTS)
