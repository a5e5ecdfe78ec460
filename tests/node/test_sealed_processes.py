"""Sealed training on a real network: commitments in the ledger, openings at the auditor, erasure, audits (X1 to X9)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.values import Resource
from glasslog.statement import Statement
from glasslog_lab.recorder import Memory, Recorder
from glasslog_lab.recorder.journal import read_journal
from glasslog_lab.recorder.statements import PUBLISHABLE, RunFacts, journal_statements
from glasslog_lab.sealing.vault import Vault, write_openings
from glasslog_node import testnet as testnets
from glasslog_node.store import Store

COMMAND = [sys.executable, "-m", "glasslog_node"]
SECRET_WORDS = ("batch-size-4711", "dataset-nobody-may-know")


def glasslog(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=90, check=False)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[testnets.Testnet]:
    made = testnets.new_testnet(tmp_path / "t", validators=4, labs=1, time_ms=1_000)
    log = made.folder / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, "testnet", "up", str(made.folder)], stdout=file, stderr=file)
    try:
        wait_until(lambda: any(line.count(" idle height 0") == 5 for line in log.read_text().splitlines()))
        yield made
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def record_run(folder: Path) -> list[Statement]:
    """A training of one tensor, every update recorded: what a lab states of it, and wants to keep to itself."""
    weights = bytearray(64)
    state = [Memory("w", "F32", (16,), memoryview(weights))]
    recorder = Recorder(folder, every=4, strict=True, hyperparameters={"batch": SECRET_WORDS[0]}).begin(state)
    for _ in range(6):
        weights[0] += 1
        recorder.step(state)
    recorder.close()
    facts = RunFacts(publish=PUBLISHABLE, datasets=(Resource(name=SECRET_WORDS[1]),))
    return journal_statements(read_journal(folder / "run.journal"), facts)


def test_sealed_run_is_verified_opened_erased_and_still_verifies(network: testnets.Testnet, tmp_path: Path) -> None:
    config, policy = str(network.labs[0].config_path), str(network.policy_path)
    vault = Vault.create(tmp_path / "vault")
    said = record_run(tmp_path / "records")
    assert [one["predicateType"] for one in said] == [TrainingRun.type_uri(), *[TrainingSegment.type_uri()] * 2]
    kept = [vault.keep(statement) for statement in said]
    (tmp_path / "run.sealed").write_bytes(b"".join(item for _, item in kept))
    done = glasslog("submit", str(tmp_path / "run.sealed"), "--config", config, "--wait", "--json", "--key", "run")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["count"] == 3

    def prove(position: int, *opening: str) -> Path:
        out = tmp_path / f"bundle-{position}-{len(opening)}"
        done = glasslog("prove", f"run/{position}", "-o", str(out), "--config", config, *opening)
        assert done.returncode == 0, done.stderr
        return out

    def verify(bundle: Path) -> dict[str, object]:
        done = glasslog("verify", str(bundle), "--policy", policy, "--json")
        value: dict[str, object] = json.loads(done.stdout)
        return value

    closed = [prove(position) for position in range(3)]
    for bundle in closed:
        shown = verify(bundle)
        assert (shown["verified"], shown["kind"], shown["statement"], shown["field"]) == (True, "sealed", None, None)
    name = kept[0][0]
    write_openings(tmp_path / "opening", vault.read(name).openings(["/predicate/datasets/0/name", "/subject/0/name"]))
    opening = ("--opening", str(tmp_path / "opening"))
    opened = prove(0, *opening, "--field", "/predicate/datasets/0/name")
    assert verify(opened)["field"] == {"name": "/predicate/datasets/0/name", "value": SECRET_WORDS[1]}
    unnamed = glasslog("prove", "run/0", "-o", str(tmp_path / "x"), "--config", config, *opening)
    assert unnamed.stderr.startswith("SEAL-25 ")
    wrong = glasslog(
        "prove", "run/1", "-o", str(tmp_path / "x"), "--config", config, *opening, "--field", "/subject/0/name"
    )
    assert wrong.stderr.startswith("BUNDLE-08 ")
    assert not (tmp_path / "x").exists()

    vault.erase(name, at="2027-01-01T00:00:00Z")
    (tmp_path / "opening").unlink()
    assert [verify(bundle)["verified"] for bundle in (*closed, opened, prove(0))] == [True] * 5
    for node in network.nodes:
        with Store.open(node.config.data, readonly=True) as store:
            leaves = b"".join(filter(None, (store.entry(index) for index in range(store.size))))
        assert not any(word.encode() in leaves for word in SECRET_WORDS)
        files = [path for path in node.folder.rglob("*") if path.is_file()]
        assert not any(word.encode() in path.read_bytes() for path in files for word in SECRET_WORDS)
    copy = glasslog("backup", str(tmp_path / "copy"), "--config", config)
    assert copy.returncode == 0, copy.stderr
    audited = glasslog("audit", str(tmp_path / "copy"), "--policy", policy)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    salts = [part for _, item in kept for part in (item[3:35], item[37:])]
    assert not any(part in path.read_bytes() for path in (tmp_path / "copy").rglob("*.mdb") for part in salts)
    assert vault.read(kept[1][0]).statement == said[1]
