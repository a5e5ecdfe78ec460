"""What fails is cut down to what it fails by, and still fails in the same way."""

from __future__ import annotations

import shlex

import pytest

from simulation.planted_faults import FAULTS
from simulation.replay import adapt, command_of, find_violation, list_changes
from simulation.shrink import OFF, kind_of, shrink, weigh
from simulation.swarm import Swarm, draw


def settings_in(command: str) -> list[str]:
    words = shlex.split(command)
    return [words[at + 1] for at, word in enumerate(words) if word == "--set"]


def test_what_has_no_part_in_the_failure_is_turned_off() -> None:
    def fails(swarm: Swarm) -> str | None:
        is_met = swarm.loss > 0 and "silent" in swarm.behaviours and swarm.blocks > 1 and swarm.validators > 4
        return "A9 a block is lost" if is_met else None

    swarm = next(swarm for seed in range(9_999) if fails(swarm := draw(7, seed)) and len(swarm.behaviours) > 1)
    shrunk = shrink(swarm, fails)
    assert shrunk is not None
    assert shrunk.swarm.behaviours == ("silent",)
    assert (shrunk.swarm.validators, shrunk.swarm.blocks, shrunk.swarm.heal_at) == (5, 2, 1_500)
    assert [name for name, off in OFF.items() if getattr(shrunk.swarm, name) != off] == ["behaviours", "loss"]


def test_another_kind_of_failure_is_not_followed() -> None:
    def fails(swarm: Swarm) -> str:
        return "A1 twice" if swarm.crash else "LIVENESS for want of crashes"

    swarm = next(swarm for seed in range(99) if (swarm := draw(4, seed)).crash)
    shrunk = shrink(swarm, fails)
    assert shrunk is not None
    assert shrunk.violation == "A1 twice"
    assert shrunk.swarm.crash


def test_shrinking_ends_at_its_limit() -> None:
    shrunk = shrink(draw(7, 1), lambda swarm: "A1 always", runs_max=3)
    assert shrunk is not None
    assert shrunk.runs == 3


def test_what_holds_is_not_shrunk() -> None:
    assert shrink(draw(4, 0), lambda swarm: None) is None


@pytest.mark.parametrize("name", ["send before persist", "skipped-view certificate not required"])
def test_planted_fault_is_cut_down_and_found_again_by_the_command(name: str) -> None:
    fault = next(fault for fault in FAULTS if fault.name == name)

    def run(swarm: Swarm) -> str | None:
        return find_violation(swarm, fault.make_replica)

    with fault.planted():
        swarm, violation = next(
            (swarm, found) for seed in range(99) if (found := run(swarm := fault.swarm(seed))) is not None
        )
        shrunk = shrink(swarm, run, runs_max=60)
        assert shrunk is not None
        assert weigh(shrunk.swarm) < weigh(swarm)
        assert kind_of(shrunk.violation) == kind_of(violation)
        command = command_of(shrunk.swarm)
        base = Swarm(swarm.validators, swarm.seed) if " --plain" in command else draw(swarm.validators, swarm.seed)
        again = adapt(base, settings_in(command))
        assert again == shrunk.swarm
        assert run(again) == shrunk.violation


def test_every_setting_survives_the_command_line() -> None:
    for seed in range(200):
        swarm, plain = draw(7, seed, lost=seed % 2 == 0), Swarm(7, seed)
        changes = shlex.split(list_changes(plain, swarm))
        assert changes[::2] == ["--set"] * (len(changes) // 2)
        assert adapt(plain, changes[1::2]) == swarm
    with pytest.raises(ValueError, match="known settings"):
        adapt(draw(4, 0), ["validators=9"])
