"""Processes die by SIGKILL under load: what was acknowledged is finalized exactly once on every replica."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from chaos.rig import (
    Load,
    Node,
    check_exactly_once,
    found,
    glasslog,
    height_of,
    kill,
    network,
    peer_faults,
    report,
    run,
    settle,
    until,
    wait_for_growth,
    wait_for_height,
)


def test_killed_validator_is_missed_by_nobody_and_catches_up_and_the_killed_lab_loses_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        load = Load(testnet.labs[0])
        async with network(testnet) as fleet:
            async with load.running():
                await wait_for_growth(fleet, testnet.nodes)
                victim, others = testnet.validators[0], [*testnet.validators[1:], *testnet.labs]
                await kill(fleet, victim)
                report(f"validator killed: 5 more heights after {await wait_for_growth(fleet, others, 5):.1f} s")
                reached = await height_of(fleet, others[0])
                await fleet.start(victim)
                seconds = await wait_for_height(fleet, [victim], reached)
                report(f"restarted: at the height of the others after {seconds:.1f} s, start included")
                for _ in range(2):
                    await load.wait_for(200)
                    await kill(fleet, testnet.labs[0])
                    await fleet.start(testnet.labs[0])
                await load.wait_for(200)
            await settle(fleet)
        size = check_exactly_once(testnet, load)
        report(f"{len(load.acknowledged)} acknowledged, {size} leaves, {load.refusals['unreachable']} calls unanswered")
        assert load.refusals["unreachable"], "the lab was never missed: nothing was tested"

    run(test)


async def names_missing(node: Node, dead: Sequence[Node]) -> bool:
    answer = await glasslog("status", "--config", node.config_path, "--why")
    reason = answer.out.partition("QUORUM-01 ")[2].partition(". Next")[0]
    return answer.status == 0 and all(f"{gone.name} ({gone.jurisdiction})" in reason for gone in dead)


def test_with_two_validators_killed_finalization_stops_names_them_and_goes_on_when_they_are_back(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        load = Load(testnet.labs[0])
        async with network(testnet) as fleet:
            async with load.running():
                await wait_for_growth(fleet, testnet.nodes)
                dead, live = testnet.validators[:2], [*testnet.validators[2:], *testnet.labs]
                await kill(fleet, *dead)
                for node in live:
                    await until(f"{node.name} names who is missing", partial(names_missing, node, dead))
                answer = await glasslog("status", "--config", live[0].config_path, "--why")
                report(answer.out.splitlines()[-1])
                stopped = [await height_of(fleet, node) for node in live]
                await load.wait_for(500)
                assert [await height_of(fleet, node) for node in live] == stopped, "finalized without a quorum"
                for node in dead:
                    await fleet.start(node)
                seconds = await wait_for_height(fleet, live, max(stopped) + 1)
                report(f"two restarted: finalization goes on {seconds:.1f} s after their start")
                await wait_for_growth(fleet, testnet.nodes)
            await settle(fleet)
        check_exactly_once(testnet, load)

    run(test)


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_whole_network_killed_at_once_loses_and_doubles_nothing(tmp_path: Path, times: int) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        load = Load(testnet.labs[0])
        async with network(testnet) as fleet:
            async with load.running():
                await load.wait_for(100)
                for turn in range(times):
                    # At another moment of the work each time: the statements come in batches of 50.
                    await load.wait_for(100 + 150 * (turn % 5))
                    await kill(fleet, *testnet.nodes)
                    for node in testnet.nodes:
                        await fleet.start(node)
                    seconds = await wait_for_growth(fleet, testnet.nodes, 1)
                    report(f"kill {turn + 1}: the next height on all five {seconds:.1f} s after the start")
            await settle(fleet)
            faults = {node.name: sorted((await peer_faults(node)).items()) for node in testnet.nodes}
        size = check_exactly_once(testnet, load)
        report(f"killed {times} times: {len(load.acknowledged)} acknowledged, {size} leaves, equal roots")
        assert not any(faults.values()), f"honest nodes accuse one another: {faults}"

    run(test, seconds=120 + 60 * times)
