"""The core compiled by mypyc, for long simulations: the same sources, asserts included, 1.6 to 2 times as fast.

What is compiled is a copy; nothing of it is installed. That it behaves as the sources do is not assumed but looked
at: the same seeds must end in the same state hashes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "protocol"
COMPILED = ("agreement/*.py", *(f"{name}.py" for name in ("block", "codec", "cose", "entry", "ledger", "merkle")))
SAME_SEEDS = 12
SAME_VALIDATORS = (4, 7)
SEEDS_COMPARED = SAME_SEEDS * len(SAME_VALIDATORS)
_ENDS = """
import sys
from simulation.cluster import Cluster
from simulation.swarm import draw
import glasslog.agreement.replica as core
sys.stdout.write(core.__file__ + chr(10))
for seed in range({seeds}):
    for validators in {validators}:
        cluster = Cluster(draw(validators, seed, lost=seed % 4 == 3))
        cluster.run()
        sys.stdout.write(cluster.state_hash() + chr(10))
"""


class CompilationError(Exception):
    """The core could not be compiled, or the compiled core behaves otherwise."""


def compiled_core(cache: Path) -> Path:
    """Return a folder to put before ``protocol/`` on the path, compiled anew where the sources changed.

    Raises:
        CompilationError: no mypyc or C compiler here, or the compiled core ends a seed in another state.
    """
    digest = sha256(sys.version.encode())
    for path in sorted(SOURCES.rglob("*.py")):
        digest.update(path.relative_to(SOURCES).as_posix().encode() + b"\0" + path.read_bytes())
    folder = cache / digest.hexdigest()[:16]
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _compile(folder)
        _compare(folder)
        (folder / "done").touch()
    return folder


def _compile(folder: Path) -> None:
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    modules = [str(path.relative_to(folder)) for what in COMPILED for path in sorted((folder / "glasslog").glob(what))]
    program = Path(sys.executable).with_name("mypyc")
    try:
        done = subprocess.run(
            [program, *modules], cwd=folder, env=_environment(), capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise CompilationError(f"mypyc does not start: {error}") from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()
        raise CompilationError(f"mypyc: {last[-1] if last else done.returncode}")


def _compare(folder: Path) -> None:
    """Run the same seeds on both; the first line says which core ran."""
    ends = [_ends(path) for path in (folder, SOURCES)]
    if not ends[0][0].endswith(".so"):
        raise CompilationError(f"the compiled core is not the one that runs, but {ends[0][0]}")
    if ends[0][1:] != ends[1][1:]:
        raise CompilationError("the compiled core ends the same seeds in other states than the sources")


def _ends(core: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _ENDS.format(seeds=SAME_SEEDS, validators=SAME_VALIDATORS)],
        env=_environment(core, ROOT / "tests"),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CompilationError(f"a seed fails on {core}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.split()


def _environment(*paths: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return kept | ({"PYTHONPATH": os.pathsep.join(map(str, paths))} if paths else {})
