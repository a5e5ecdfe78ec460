"""What an idle node costs and how fast a network starts: printed, not asserted, since a machine's load decides."""

from __future__ import annotations

from pathlib import Path

import trio

from chaos.rig import Load, check_exactly_once, found, report, run, settle, until, wait_for_height
from glasslog_node.bench.gauges import _anonymous_rss
from glasslog_node.fleet import open_fleet


def test_network_starts_from_nothing_and_stops_cleanly_on_request(tmp_path: Path) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        load = Load(testnet.labs[0], clients=1, batch=1)
        begun = trio.current_time()
        async with open_fleet(testnet) as fleet:
            async with load.running():  # its first call is made before the lab listens: it repeats until it does
                await wait_for_height(fleet, testnet.nodes, 1)
                report(f"start to the first finalized height on all five: {trio.current_time() - begun:.1f} s")
            await settle(fleet)
            rss = {name: _anonymous_rss(process.pid) / 2**20 for name, process in fleet.processes.items()}
            report(f"anonymous memory of idle nodes: {', '.join(f'{n} {size:.0f} MiB' for n, size in rss.items())}")
            assert await fleet.stop() == [], "a node had to be killed"
            assert set(fleet.ended().values()) == {0}
        check_exactly_once(testnet, load)

    run(test)


def test_whole_network_stops_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    """A child ends with its parent's pipe, so that no node outlives a killed test or demonstration."""

    async def test() -> None:
        testnet = found(tmp_path / "net")
        node = testnet.labs[0]
        async with open_fleet(testnet, start=False) as fleet:
            process = await fleet.start(node)

            async def answers() -> bool:
                return await fleet.status(node) is not None

            await until("the lab answers", answers)
            assert process.stdin is not None
            await process.stdin.aclose()
            with trio.fail_after(60):
                assert await process.wait() == 0

    run(test)
