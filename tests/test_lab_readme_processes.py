"""A lab's first ten minutes: its README's commands, word for word, in the order in which a reader meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from glasslog_lab.example.perceptron import Perceptron
from glasslog_lab.example.weights_file import write_tensors
from readmes import PATIENCE, ROOT, await_node, blocks, commands, run, start

README = ROOT / "node" / "glasslog_lab" / "README.md"
RUNS_ON = "glasslog testnet up net"
STATUS = "glasslog status --config net/lab-1.example/config.toml"
SAYS = {
    "glasslog verify-tensor w.proof --statement model.json": "hidden.weight",
    "glasslog verify-record out.proof": "is not in the data set of 2 records",
    "python train.py": "200 steps, 0 skipped, 0 gaps, ",
    "glasslog journal run/run.journal": "level L2: every update is committed",
    "glasslog import card.md": "Nothing was sent or written",
    "glasslog seal data.json --vault vault --show-public": "<commitment>",
}


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="the README's commands use the checkout's own .venv")
def test_every_command_of_the_labs_readme_does_what_it_says(tmp_path: Path) -> None:
    write_tensors(tmp_path / "model.safetensors", Perceptron.initial(1).parameters)
    rows = [{"question": "What is a log?", "answer": "What only grows."}, {"question": "Who signs?", "answer": "All."}]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "card.md").write_text("---\nlicense: mit\nbase_model: example/base\n---\n# A model\n")
    (program,) = blocks(README, "python")
    (tmp_path / "train.py").write_text(program)
    said = dict[str, str]()
    network: subprocess.Popen[bytes] | None = None
    try:
        for command in commands(README):
            if command == RUNS_ON:
                network = start(command, tmp_path)
                await_node(STATUS, tmp_path)
            else:
                said[command] = run(command, tmp_path)
    finally:
        if network is not None:
            os.killpg(network.pid, signal.SIGINT)
            network.communicate(timeout=PATIENCE)
    for words, expected in SAYS.items():
        assert any(command.startswith(words) and expected in output for command, output in said.items()), (words, said)
