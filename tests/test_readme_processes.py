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

from glasslog_lab.example.perceptron import Perceptron
from glasslog_lab.example.weights_file import write_tensors

ROOT = Path(__file__).parents[1]
PATIENCE = 180.0
NOT_HERE = {"deploy/run test": "this is it"}
TRAINS = "deploy/run demo --once"
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
    write_tensors(tmp_path / "model.safetensors", Perceptron.initial(1).parameters)
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
                if command == TRAINS:
                    assert_lineage(output.decode())
            ran.append(command)
    finally:
        if network is not None:
            os.killpg(network.pid, signal.SIGINT)
            network.communicate(timeout=PATIENCE)
    assert len(ran) == len(COMMANDS) - len(NOT_HERE)


def assert_lineage(output: str) -> None:
    """What the README quotes is what the demonstration prints, but for digests, indices and times."""
    readme = (ROOT / "README.md").read_text()
    quoted = next(block for block in re.findall(r"```text\n(.*?)```", readme, re.DOTALL) if "data set" in block)
    printed = bare(output)
    missing = [line for line in quoted.splitlines() if bare(line) not in printed]
    assert not missing, output


def bare(text: str) -> str:
    """Without digests, numbers, what is left out, and the widths of columns."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "0", re.sub(r"[0-9a-f]{8,16}…", "#", text))).replace("…", "").strip(" ,")


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
