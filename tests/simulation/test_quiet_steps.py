"""A step that brings nothing new judges no rule: that saves half of a replica's work, and must miss nothing."""

from __future__ import annotations

from typing import ClassVar

import pytest

from glasslog.agreement.effects import Effect, Event, Now
from glasslog.agreement.replica import Replica
from simulation.cluster import Cluster
from simulation.swarm import draw


class Restless(Replica):
    """After every step judges every rule once more, and counts what that brings."""

    missed: ClassVar[list[Effect]] = []
    steps = 0

    def step(self, now: Now, event: Event) -> list[Effect]:
        effects, deadline = super().step(now, event), self._deadline
        self._drive()
        Restless.missed += self._take()
        self._deadline = deadline
        Restless.steps += 1
        return effects


@pytest.mark.parametrize(("validators", "seeds"), [(4, 20), (7, 4)])
def test_judging_rules_again_brings_nothing_whatever_the_step(validators: int, seeds: int) -> None:
    for seed in range(seeds):
        Cluster(draw(validators, seed), Restless).run()
        assert Restless.missed == [], f"n = {validators}, seed {seed}"
    assert Restless.steps > 1_000
