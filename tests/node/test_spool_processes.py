"""A recorded training whose node is down for all of it: nothing is lost, and nothing enters the ledger twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from glasslog.entry import StatementEntry, decode_leaf
from glasslog.predicates.base import statement_id
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.vocabulary import read_statement
from glasslog.statement import decode_statement
from glasslog_lab.recorder import Memory, Recorder
from glasslog_lab.recorder.journal import read_journal
from glasslog_node import testnet as testnets
from glasslog_node.store import Store

COMMAND = [sys.executable, "-m", "glasslog_node"]
PATIENCE_SECONDS = 90


def glasslog(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


@contextmanager
def running(network: testnets.Testnet) -> Iterator[None]:
    log = network.folder / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, "testnet", "up", str(network.folder)], stdout=file, stderr=file)
    try:
        wait_until(lambda: any(line.count(" idle height 0") == 5 for line in log.read_text().splitlines()))
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def record(folder: Path) -> Path:
    """A training of one tensor: ten updates, in segments of three."""
    weights = bytearray(64)
    state = [Memory("w", "F32", (16,), memoryview(weights))]
    with Recorder(folder, every=3, strict=True).begin(state) as recorder:
        for _ in range(10):
            weights[0] += 1
            recorder.step(state)
    return folder / "run.journal"


@pytest.mark.processes
def test_a_run_without_node_is_in_the_ledger_once(tmp_path: Path) -> None:
    network = testnets.new_testnet(tmp_path / "t", validators=4, labs=1, time_ms=1_000)
    config, spool = str(network.labs[0].config_path), str(tmp_path / "spool")
    journal = record(tmp_path / "records")
    spooled = glasslog("attest", "run", str(journal), "--spool", spool, "--node", config, "--json")
    assert spooled.returncode == 0, spooled.stderr
    assert {one["state"] for one in json.loads(spooled.stdout)["submissions"]} == {"spooled"}, "no node runs"
    ids = [one["id"] for one in json.loads(spooled.stdout)["statements"]]
    assert len(ids) == 1 + 4
    with running(network):
        for _ in range(2):
            sent = glasslog("submit", spool, "--wait", "--config", config)
            assert sent.returncode == 0, sent.stderr
        again = glasslog("attest", "run", str(journal), "--node", config, "--wait", "--json")
        assert again.returncode == 0, again.stderr
        receipts = json.loads(again.stdout)["submissions"]
        bundle = tmp_path / "bundle"
        proved = glasslog("prove", f"{receipts[0]['submission']}/0", "-o", str(bundle), "--config", config)
        assert proved.returncode == 0, proved.stderr
        assert glasslog("verify", str(bundle), "--policy", str(network.policy_path)).returncode == 0
    for node in network.validators:
        with Store.open(node.config.data, readonly=True) as store:
            leaves = [store.entry(index) for index in range(store.size)]
        entries = [decode_leaf(leaf) for leaf in leaves if leaf is not None]
        said = [decode_statement(entry.statement) for entry in entries if isinstance(entry, StatementEntry)]
        entered = Counter(statement_id(one).hex() for one in said)
        assert [entered[one] for one in ids] == [1] * len(ids)
        read = [read_statement(one) for one in said]
        (run,) = [one for one in read if isinstance(one, TrainingRun)]
        segments = sorted((one for one in read if isinstance(one, TrainingSegment)), key=lambda one: one.number)
        heads = [read_journal(journal).chain.start.run, *[one.head.digest["glasslogHeadV1"] for one in segments]]
        assert [one.previous_head.digest["glasslogHeadV1"] for one in segments] == heads[:-1]
        assert (run.level, segments[-1].closed, segments[-1].last_step) == ("L2", "finished", 10)
