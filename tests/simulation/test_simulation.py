"""Thousands of seeds of a whole network, judged after every event; then the same seeds must give the same end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from simulation.cluster import Cluster
from simulation.links import SPLITS
from simulation.regressions import REGRESSIONS, Regression
from simulation.replay import Tally, check, command_of, find_violation
from simulation.swarm import BEHAVIOURS, FORKERS, LOSSES, Swarm, draw

ROOT = Path(__file__).parents[2]
SEEDS = int(os.environ.get("GLASSLOG_SEEDS", "5000"))
HOURS_PER_SEED = 10 / 5_000  # simulated; so 5,000 seeds are ten hours
# A chunk is a small campaign: every network, with state lost or not, and every fault there is. Larger networks cost
# more and find less: most seeds go to the smallest that tolerates a fault.
CHUNK = {
    (4, False): 165, (5, False): 30, (6, False): 12, (7, False): 18, (4, True): 16, (5, True): 4, (7, True): 5,
}  # fmt: skip
CHUNKS = max(1, SEEDS // sum(CHUNK.values()))
FAULTS = {
    "lost", "duplicated", "reordered", "late", "cut off", "queued for bandwidth", "lost from a full queue",
    *(f"partition: {split}" for split in SPLITS), "partition moves",
    "crash", "crash between effects", "everybody crashes", "pause", "slow sync", "full disk stops a node",
    "unsynced write lost", *(f"lost state: {loss}" for loss in LOSSES), "clock jump",
}  # fmt: skip


def test_default_suite_is_five_thousand_seeds_of_four_to_seven_validators() -> None:
    assert CHUNKS * sum(CHUNK.values()) == SEEDS
    assert {validators for validators, _ in CHUNK} == {4, 5, 6, 7}
    assert 25 * sum(count for (_, lost), count in CHUNK.items() if lost) >= sum(CHUNK.values())


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_seeds_keep_every_invariant_and_finalize_after_healing(chunk: int) -> None:
    """Safety after every event; after healing finality within 20 views, everybody level, everything published."""
    total = Tally()
    for (validators, lost), count in CHUNK.items():
        tally = Tally()
        for seed in range(chunk * count, (chunk + 1) * count):
            check(draw(validators, seed, lost=lost), tally)
        sys.stdout.write(f"n = {validators}{', state lost' if lost else ''}: {tally}\n")
        total.merge(tally)
    sys.stdout.write(f"together: {total}\n")
    assert total.seeds == sum(CHUNK.values())
    assert total.hours >= total.seeds * HOURS_PER_SEED
    assert total.faults.keys() >= FAULTS
    assert total.behaviours.keys() >= {*BEHAVIOURS, *(f"author: {forker}" for forker in FORKERS)}


@pytest.mark.parametrize(("validators", "lost", "seeds"), [(4, False, 10), (4, True, 6), (7, False, 3)])
def test_same_seed_gives_same_state_whatever_the_hash_seed(validators: int, lost: bool, seeds: int) -> None:
    """No iteration over a set or a dictionary of strings may decide anything."""
    script = (
        "from simulation.cluster import Cluster; from simulation.swarm import draw\n"
        f"for seed in range({seeds}):\n"
        f" c = Cluster(draw({validators}, seed, lost={lost})); c.run(); print(c.state_hash())"
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
    assert len(set(outputs[0].split())) == seeds
    assert len(set(outputs)) == 1


def test_same_configuration_with_another_chance_is_another_run() -> None:
    ends = set[str]()
    for chance in range(3):
        cluster = Cluster(replace(draw(4, 1), chance=chance))
        cluster.run()
        ends.add(cluster.state_hash())
    assert len(ends) == 3


def test_swarm_draws_at_most_f_members_that_are_faulty_or_lose_state() -> None:
    seen = Counter[int]()
    for validators in range(4, 14):
        for seed in range(60):
            for lost in (False, True):
                swarm = draw(validators, seed, lost=lost)
                faulty = len(swarm.behaviours) + swarm.losers * lost
                assert faulty <= (validators - 1) // 3
                seen[faulty] += 1
    assert seen.keys() == set(range(5))


def test_failure_names_seed_transcript_and_a_command_that_repeats_it() -> None:
    impossible = Swarm(4, 5, behaviours=("silent", "silent"), deadline=6_000)
    with pytest.raises(AssertionError) as caught:
        check(impossible, Tally())
    text = str(caught.value)
    assert text.startswith("LIVENESS after")
    assert "nullify view 1" in text
    assert text.endswith(command_of(impossible))
    again = subprocess.run(
        ["/bin/sh", "-c", text.split("replay: ")[1].replace(" python ", f" {sys.executable} ")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1
    assert again.stdout.splitlines()[-1] == text.splitlines()[0]


def check_regressions(regressions: tuple[Regression, ...]) -> list[str]:
    return [one.name for one in regressions if find_violation(one.swarm) is not None]


def test_what_once_failed_holds_now() -> None:
    assert check_regressions(REGRESSIONS) == []


def test_three_leaders_in_a_row_that_cannot_propose_are_waited_for() -> None:
    """After 95 seconds of partitions views last 15; then come a faulty leader and two that lost their state."""
    swarm = draw(13, 248, lost=True)
    assert find_violation(swarm) is None
    assert swarm.deadline > 45_000, "which was too short for them"


def test_regression_that_fails_is_named() -> None:
    impossible = Swarm(4, 5, behaviours=("silent", "silent"), deadline=6_000)
    assert check_regressions((Regression("too many silent", "LIVENESS", impossible),)) == ["too many silent"]
