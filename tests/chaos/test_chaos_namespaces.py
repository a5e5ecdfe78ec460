"""One fault of each family, on real nodes that each have a host of their own; what was acknowledged is kept."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
import trio

from chaos.faults import FAULTS
from chaos.history import check_ledgers
from chaos.hosts import why_not
from chaos.rig import report, run, settle
from chaos.world import World, faketime, open_world

SEED = 1
IN_SUITE = [
    "kill all, and again", "split", "one-way", "unplug", "split and kill", "foul", "corrupted", "half-open", "freeze",
    "disk full", "clock jump", "roll back", "stolen key", "new version",
]  # fmt: skip


def check_hosts() -> None:
    reason = why_not()
    if reason is not None and os.environ.get("GLASSLOG_CHAOS") != "1":
        pytest.skip(reason)
    assert reason is None, reason


async def spoil(world: World, kind: str, rng: Random) -> None:
    if kind == "clock jump" and faketime() is None:
        report("no clock jumps: libfaketime is not installed")
        return
    begun = trio.current_time()
    await FAULTS[kind](world, rng)
    lasted = trio.current_time() - begun
    report(f"{kind}: {lasted:.1f} s, recovered {await world.recovered(kind):.1f} s after it was mended")


@pytest.mark.processes
def test_every_family_of_faults_is_survived_under_load(tmp_path: Path) -> None:
    check_hosts()

    async def test() -> None:
        rng = Random(SEED)
        async with open_world(tmp_path, validators=4) as world:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.history.watch)
                async with world.load.running():
                    await world.load.wait_for(200)
                    for kind in IN_SUITE:
                        await spoil(world, kind, rng)
                await settle(world.fleet)
                nursery.cancel_scope.cancel()
            for node in world.testnet.nodes:
                await world.history.hear_accusations(node)
            ledger = await check_ledgers(world.testnet, world.history, world.load)
            report(f"{len(world.load.acknowledged)} acknowledged, {ledger.size} leaves, {dict(world.counts)}")
            report(f"links: {world.links.seen}; evidence: {[(e.fault.value, e.accused) for e in ledger.evidence]}")
            assert world.links.seen["corrupt"], "no byte was changed: nothing was tested"

    run(test, seconds=600)
