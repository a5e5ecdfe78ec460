"""Whoever is far behind comes back a run at a time (A18): no single answer has to bridge all that it missed."""

from __future__ import annotations

import pytest

from glasslog.agreement.replica import Replica
from simulation.node import RUN_MAX
from simulation.stage import Stage

HEIGHTS = 4 * RUN_MAX


def fall_behind(behind: str) -> Stage:
    """Let one member miss many heights; it is told of the last one before anything else."""
    stage = Stage(4, faulty=None, observer=True)
    stage.do("crash", [behind])
    for _ in range(HEIGHTS):
        stage.do("seal", ["lab"])
        stage.do("run", ["1000"])
    assert len(stage.oracle.chain) > 2 * RUN_MAX  # one of four views is lost while its leader is away
    stage.do("start", [behind])
    return stage


@pytest.mark.parametrize("behind", ["v3", "watch"])
@pytest.mark.parametrize("goes_on", [False, True])
def test_member_far_behind_catches_up_while_the_network_rests_or_goes_on(behind: str, *, goes_on: bool) -> None:
    stage = fall_behind(behind)
    for _ in range(HEIGHTS):
        if goes_on:
            stage.do("seal", ["lab"])
        stage.do("run", ["1000"])
    stage.do("run", ["3000"])
    replica: Replica = stage.nodes[behind].replica
    assert replica.branches.floor.height == len(stage.oracle.chain)
    assert replica.branches.state.size == stage.oracle.size
