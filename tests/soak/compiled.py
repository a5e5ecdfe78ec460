"""The core and the simulated network compiled by mypyc, for long runs: the same sources, asserts included.

What is compiled is a copy; nothing of it is installed. That it behaves as the sources do is not assumed but looked
at: the same seeds must end in the same state hashes. The judge, the oracles and the faulty members stay interpreted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE, TESTS = ROOT / "protocol", ROOT / "tests"
COMPILED = (
    "glasslog/agreement/*.py",
    *(f"glasslog/{name}.py" for name in ("block", "codec", "cose", "entry", "ledger", "merkle")),
    *(f"simulation/{name}.py" for name in ("authors", "cluster", "links", "node", "suite", "weather", "transcript")),
)
SAME_SEEDS = 12
SAME_VALIDATORS = (4, 7)
SEEDS_COMPARED = SAME_SEEDS * len(SAME_VALIDATORS)
_WHICH = ("glasslog.agreement.replica", "simulation.cluster")
_ENDS = """
import sys
from simulation.cluster import Cluster
from simulation.swarm import draw
for name in {which}:
    sys.stdout.write(sys.modules[name].__file__ + chr(10))
for seed in range({seeds}):
    for validators in {validators}:
        cluster = Cluster(draw(validators, seed, lost=seed % 4 == 3))
        cluster.run()
        sys.stdout.write(cluster.state_hash() + chr(10))
"""


class CompilationError(Exception):
    """It could not be compiled, or behaves otherwise when it is."""


def compiled_core(cache: Path) -> Path:
    """Return a folder to put before ``tests/`` on the path, compiled anew where the sources changed.

    Raises:
        CompilationError: no mypyc or C compiler here, or the compiled core ends a seed in another state.
    """
    digest = sha256(sys.version.encode() + Path(__file__).read_bytes())
    for path in sorted([*CORE.rglob("*.py"), *(TESTS / "simulation").rglob("*.py")]):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    folder = cache / digest.hexdigest()[:16]
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _compile(folder)
        _compare(folder)
        (folder / "done").touch()
    return folder


def _compile(folder: Path) -> None:
    shutil.copytree(CORE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TESTS / "simulation", folder / "simulation", ignore=shutil.ignore_patterns("__pycache__"))
    modules = [str(path.relative_to(folder)) for what in COMPILED for path in sorted(folder.glob(what))]
    program = Path(sys.executable).with_name("mypyc")
    try:
        done = subprocess.run(
            [program, "--explicit-package-bases", *modules],
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise CompilationError(f"mypyc does not start: {error}") from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()
        raise CompilationError(f"mypyc: {last[-1] if last else done.returncode}")


def _compare(folder: Path) -> None:
    """Run the same seeds on both; the first lines say what ran."""
    ends = [_ends(folder), _ends(CORE, TESTS)]
    which = len(_WHICH)
    for path in ends[0][:which]:
        if not path.endswith(".so"):
            raise CompilationError(f"what is compiled is not what runs, but {path}")
    if ends[0][which:] != ends[1][which:]:
        raise CompilationError("the compiled core ends the same seeds in other states than the sources")


def _ends(*paths: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _ENDS.format(seeds=SAME_SEEDS, validators=SAME_VALIDATORS, which=_WHICH)],
        env=_environment(*paths),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CompilationError(f"a seed fails on {paths[0]}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.split()


def _environment(*paths: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return kept | ({"PYTHONPATH": os.pathsep.join(map(str, paths))} if paths else {})
