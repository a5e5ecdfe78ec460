"""Runs what a README tells its reader to type, word for word."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 180.0


def blocks(readme: Path, language: str) -> list[str]:
    """Return the code blocks of one language in a README."""
    return re.findall(rf"```{language}\n(.*?)```", readme.read_text(), re.DOTALL)


def commands(readme: Path) -> list[str]:
    """Return a README's commands in the order in which a reader meets them."""
    return [line.partition("  #")[0].strip() for block in blocks(readme, "sh") for line in block.splitlines()]


def start(command: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a command as a reader would, from a folder beside the checkout."""
    tools = ROOT / ".venv" / "bin"
    absolute = command.replace("deploy/run", shlex.quote(str(ROOT / "deploy" / "run")))
    absolute = absolute.replace(".venv/bin/python", shlex.quote(str(tools / "python")))
    environment = {**os.environ, "COLUMNS": "120", "PATH": f"{tools}:{os.environ['PATH']}"}
    return subprocess.Popen(
        ["/bin/sh", "-c", f"exec {absolute}"], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True, env=environment,
    )  # fmt: skip


def run(command: str, folder: Path) -> str:
    """Run a command to its end, which has to be a good one, and return what it printed."""
    process = start(command, folder)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, f"{command}: {output.decode()}"
    return output.decode()


def await_node(status: str, folder: Path) -> None:
    """Wait until the network that runs answers: a reader would see it in the other terminal."""
    deadline = time.monotonic() + PATIENCE
    while True:
        process = start(status, folder)
        output, _ = process.communicate(timeout=PATIENCE)
        if process.returncode == 0:
            return
        assert time.monotonic() < deadline, output.decode()
