"""The README's commands, word for word, in the order in which a reader meets them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from glasslog_lab.example.perceptron import Perceptron
from glasslog_lab.example.weights_file import write_tensors
from readmes import PATIENCE, ROOT, await_node, blocks, commands, run, start

README = ROOT / "README.md"
NOT_HERE = {"deploy/run test": "this is it"}
TRAINS = "deploy/run demo --once"
RUNS_ON = "deploy/run testnet up net"
STATUS = "deploy/run status --config net/lab-1.example/config.toml"
COMMANDS = commands(README)


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
                await_node(STATUS, tmp_path)
            else:
                output = run(command, tmp_path)
                if command == TRAINS:
                    assert_lineage(output)
            ran.append(command)
    finally:
        if network is not None:
            os.killpg(network.pid, signal.SIGINT)
            network.communicate(timeout=PATIENCE)
    assert len(ran) == len(COMMANDS) - len(NOT_HERE)


def assert_lineage(output: str) -> None:
    """What the README quotes is what the demonstration prints, but for digests, indices and times."""
    quoted = next(block for block in blocks(README, "text") if "data set" in block)
    printed = bare(output)
    missing = [line for line in quoted.splitlines() if bare(line) not in printed]
    assert not missing, output


def bare(text: str) -> str:
    """Without digests, numbers, what is left out, and the widths of columns."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "0", re.sub(r"[0-9a-f]{8,16}…", "#", text))).replace("…", "").strip(" ,")
