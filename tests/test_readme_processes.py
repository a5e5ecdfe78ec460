"""The README's commands, word for word, in the order in which a reader meets them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from glasslog_node.demo.model import find_model
from glasslog_node.errors import ConfigError

ROOT = Path(__file__).parents[1]
PATIENCE = 180.0
NOT_HERE = {"deploy/run test": "this is it"}
RUNS_ON = "deploy/run testnet up net"
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for line in block.splitlines()
]


def start(command: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a command as a reader would, from a folder beside the checkout."""
    absolute = command.replace("deploy/run", shlex.quote(str(ROOT / "deploy" / "run")))
    absolute = absolute.replace(".venv/bin/python", shlex.quote(str(ROOT / ".venv" / "bin" / "python")))
    return subprocess.Popen(
        ["/bin/sh", "-c", f"exec {absolute}"], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="the README's commands use the checkout's own .venv")
def test_every_command_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    try:
        model = find_model(None)
    except ConfigError as error:
        pytest.skip(f"the demonstration's model is not installed: {error}")
    (tmp_path / "model.safetensors").write_bytes(model.read_bytes())
    ran: list[str] = []
    network: subprocess.Popen[bytes] | None = None
    try:
        for command in COMMANDS:
            if command in NOT_HERE:
                continue
            if command == RUNS_ON:
                network = start(command, tmp_path)
                await_node(tmp_path)
            else:
                process = start(command, tmp_path)
                output, _ = process.communicate(timeout=PATIENCE)
                assert process.returncode == 0, f"{command}: {output.decode()}"
            ran.append(command)
    finally:
        if network is not None:
            os.killpg(network.pid, signal.SIGINT)
            network.communicate(timeout=PATIENCE)
    assert len(ran) == len(COMMANDS) - len(NOT_HERE)


def await_node(folder: Path) -> None:
    """Wait until the network that runs answers: a reader would see it in the other terminal."""
    deadline = time.monotonic() + PATIENCE
    status = "deploy/run status --config net/lab-1.example/config.toml"
    while True:
        process = start(status, folder)
        output, _ = process.communicate(timeout=PATIENCE)
        if process.returncode == 0:
            return
        assert time.monotonic() < deadline, output.decode()
