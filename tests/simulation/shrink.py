"""Cut a failing configuration down: what remains is as little as still fails in the same way.

One fault after another is turned off, one member after another made honest, one number after another made smaller.
Every change moves the dice as well, so each is tried with several of them. This is greedy and ends; it promises no
smallest configuration, only one that is no larger and fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from simulation.swarm import Swarm

CHANCES = 6  # dice for each candidate, beside those that failed last
RUNS_MAX = 600

Run = Callable[[Swarm], str | None]

LINKS_OFF: dict[str, Any] = {
    "partition": 0.0, "moving": False, "split": "any", "loss": 0.0, "duplicate": 0.0, "late": 0.0, "reorder": 0.0,
    "bandwidth": 0.0, "uneven": False, "distribution": "exponential", "delay": 30.0,
}  # fmt: skip
NODES_OFF: dict[str, Any] = {
    "storm": 0.0, "crash": 0.0, "crash_at_boundary": 0.0, "pause": 0.0, "full_disk": 0.0, "slow_disk": 0.0, "sync": 0,
    "clock_jump": False, "clock_skew": 0, "drift": 0, "lost": None, "losers": 1, "losses": 1,
}  # fmt: skip
MEMBERS_OFF: dict[str, Any] = {
    "behaviours": (), "forker": None, "authoring_validator": False, "observer": False, "tail": 0,
}  # fmt: skip
OFF = MEMBERS_OFF | NODES_OFF | LINKS_OFF
SHORTEST = 1_500


def kind_of(violation: str) -> str:
    """The rule that is broken, or LIVENESS: the violation's first word."""
    return violation.split(maxsplit=1)[0]


def weigh(swarm: Swarm) -> tuple[int, int]:
    """How large a configuration is: settings that are not off, faulty members counted each; then its length."""
    values = asdict(swarm)
    switched = sum(values[name] != off for name, off in OFF.items() if name != "behaviours")
    return swarm.validators + switched + len(swarm.behaviours) + swarm.blocks + swarm.tail, swarm.heal_at


@dataclass(frozen=True)
class Shrunk:
    """What shrinking came to."""

    swarm: Swarm
    violation: str
    runs: int


def list_smaller(swarm: Swarm) -> Iterator[Swarm]:
    """All configurations that are one step smaller, the largest steps first."""
    values: dict[str, Any] = asdict(swarm)
    for group in (OFF, MEMBERS_OFF, NODES_OFF, LINKS_OFF):
        if sum(values[name] != off for name, off in group.items()) > 1:
            yield replace(swarm, **group)
    for name, off in OFF.items():
        if values[name] != off:
            yield replace(swarm, **{name: off})
    for at in range(len(swarm.behaviours) if len(swarm.behaviours) > 1 else 0):
        yield replace(swarm, behaviours=swarm.behaviours[:at] + swarm.behaviours[at + 1 :])
    for name in ("blocks", "tail"):
        number = values[name]
        yield from (
            replace(swarm, **{name: fewer}) for fewer in sorted({1, number // 2, number - 1}) if 0 < fewer < number
        )
    if swarm.validators > 4:
        smaller = replace(swarm, validators=swarm.validators - 1)
        if smaller.faults >= len(swarm.behaviours) + (swarm.losers if swarm.lost else 0):
            yield smaller
    for sooner in (SHORTEST, swarm.heal_at // 2, swarm.heal_at * 3 // 4):
        if SHORTEST <= sooner < swarm.heal_at:
            yield replace(swarm, heal_at=sooner)


def shrink(swarm: Swarm, run: Run, *, runs_max: int = RUNS_MAX) -> Shrunk | None:
    """Return the smallest configuration found, or None when this one does not fail at all."""
    violation = run(swarm)
    if violation is None:
        return None
    best, runs = Shrunk(swarm, violation, 1), 1
    tried = set[Swarm]()
    is_smaller = True
    while is_smaller and runs < runs_max:
        is_smaller = False
        for candidate in list_smaller(best.swarm):
            if candidate in tried:
                continue
            tried.add(candidate)
            for chance in (candidate.chance, *range(1, CHANCES)):
                runs += 1
                dice = replace(candidate, chance=chance)
                found = run(dice)
                if found is not None and kind_of(found) == kind_of(violation):
                    best, is_smaller = Shrunk(dice, found, runs), True
                    break
            if is_smaller or runs >= runs_max:
                break
    return replace(best, runs=runs)
