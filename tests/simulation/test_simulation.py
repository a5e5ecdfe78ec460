"""Thousands of seeds of a whole network, judged after every event; then the same seeds must give the same end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.cluster import Cluster
from simulation.invariants import Violation
from simulation.replay import Tally, check
from simulation.swarm import Swarm, draw

ROOT = Path(__file__).parents[2]
SEEDS = int(os.environ.get("GLASSLOG_SEEDS", "2000"))
CHUNKS = 4
# Larger networks cost more and find less: most seeds go to the smallest that tolerates a fault.
SHARES = {4: 0.6, 5: 0.2, 7: 0.2}
LOST_SHARES = {4: 0.1, 7: 0.02}


def list_seeds(total: int, chunk: int) -> range:
    each = -(-total // CHUNKS)
    return range(chunk * each, min(total, (chunk + 1) * each))


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("validators", SHARES)
def test_seeds_keep_every_invariant_and_finalize_after_healing(validators: int, chunk: int) -> None:
    tally = Tally()
    for seed in list_seeds(round(SEEDS * SHARES[validators]), chunk):
        check(draw(validators, seed), tally)
    sys.stdout.write(f"n = {validators}: {tally}\n")


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("validators", LOST_SHARES)
def test_validator_that_lost_its_state_waits_and_recovers(validators: int, chunk: int) -> None:
    """A10: wiped or rolled back at a random moment, it signs nothing until a finalization closed what it forgot."""
    tally = Tally()
    for seed in list_seeds(round(SEEDS * LOST_SHARES[validators]), chunk):
        check(draw(validators, seed, lost=True), tally)
    sys.stdout.write(f"n = {validators}, state lost: {tally}\n")


@pytest.mark.parametrize("lost", [False, True])
def test_same_seed_gives_same_state_whatever_the_hash_seed(lost: bool) -> None:
    """No iteration over a set or a dictionary of strings may decide anything."""
    script = (
        "from simulation.cluster import Cluster; from simulation.swarm import draw\n"
        f"for seed in range(6):\n c = Cluster(draw(4, seed, lost={lost})); c.run(); print(c.state_hash())"
    )
    path = os.pathsep.join((str(ROOT / "tests"), str(ROOT / "protocol")))
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "1", "4711")
    ]
    assert len(outputs[0].split()) == 6
    assert len(set(outputs)) == 1


def test_different_seeds_give_different_states() -> None:
    ends = set[str]()
    for seed in range(4):
        cluster = Cluster(draw(4, seed))
        cluster.run()
        ends.add(cluster.state_hash())
    assert len(ends) == 4


def test_failure_names_seed_transcript_and_replay_command() -> None:
    impossible = Swarm(4, 5, behaviours=("silent", "silent"), deadline=6_000)
    with pytest.raises(Violation) as caught:
        check(impossible, Tally())
    text = str(caught.value)
    assert text.startswith("LIVENESS after")
    assert "python -m simulation --validators 4 --seed 5" in text
    assert "nullify view 1" in text
