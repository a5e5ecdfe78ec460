"""Every planted fault makes the simulation fail, by name: what cannot find these would not find the next one."""

from __future__ import annotations

import sys

import pytest

from simulation.planted_faults import FAULTS, PlantedFault
from simulation.replay import find_violation

SEEDS_MAX = 150


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_planted_fault_is_found(fault: PlantedFault) -> None:
    with fault.planted():
        for seed in range(SEEDS_MAX):
            violation = find_violation(fault.swarm(seed), fault.make_replica)
            if violation is not None:
                sys.stdout.write(f"{fault.name:<40} {seed + 1:>3} seeds  {violation}\n")
                break
        else:
            pytest.fail(f"{fault.name}: not found in {SEEDS_MAX} seeds")
    assert violation.startswith(fault.finding)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_seed_that_finds_the_fault_is_clean_without_it(fault: PlantedFault) -> None:
    """What the fault's configuration shows is the fault, not the configuration."""
    swarms = [fault.swarm(seed) for seed in range(3)]
    assert [find_violation(swarm) for swarm in swarms if not swarm.quorum_judged] == [None] * len(
        [swarm for swarm in swarms if not swarm.quorum_judged]
    )
