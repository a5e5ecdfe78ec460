"""A member with real keys lies, babbles and floods; another one freezes: the rest finalizes on, and names the liar."""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import trio

from chaos.mallory import OVERSIZED, Mallory
from chaos.rig import (
    Load,
    Node,
    check_exactly_once,
    found,
    height_of,
    network,
    peer_faults,
    report,
    run,
    settle,
    until,
    wait_for_growth,
    wait_for_height,
)
from glasslog.agreement.messages import (
    BlockRequest,
    CertificateRequest,
    RunRequest,
    Status,
    encode_message,
)
from glasslog_node.bench.gauges import _anonymous_rss
from glasslog_node.fleet import Fleet, open_client
from glasslog_node.network.transport import Lane
from glasslog_node.store.store import Store

AHEAD = 60  # views: votes for those at or below the floor are answered, not judged


async def hear_lies(fleet: Fleet, mallory: Mallory, honest: str) -> None:
    """Every lie is refused by every node, and counted against the liar under its code; nobody else is blamed."""
    nodes = [node for node in fleet.testnet.nodes if node is not mallory.node]
    status = await fleet.status(nodes[0])
    assert status is not None
    lies = mallory.lies(int(status["view"]) + AHEAD, honest)
    expected = Counter((mallory.name, code) for _, code in lies.values())
    for lie, _ in lies.values():
        mallory.say(lie)
    for node in nodes:
        faults: Counter[tuple[str, str]] = Counter()

        async def counted() -> bool:
            faults.update(await peer_faults(node) - faults)  # noqa: B023 - used within its turn of the loop
            return faults.total() >= expected.total()  # noqa: B023 - used within its turn of the loop

        await until(f"{node.name} counts {len(lies)} lies", counted)
        assert faults == expected


def replayed_blocks(fleet: Fleet) -> list[bytes]:
    """Real blocks of the honest lab, final long ago."""
    lab = fleet.testnet.labs[0]
    with Store.open(lab.config.data, readonly=True) as store:
        tip = store.tip(lab.name)
        assert tip is not None
        return [encode_message(body) for body in store.blocks(lab.name, 1, tip.seq, tip.hash)]


async def has_counted(node: Node, liar: Node, code: str) -> bool:
    return (await peer_faults(node))[liar.name, code] > 0


async def is_ready(node: Node) -> bool:
    async with open_client(node.config) as client:
        return (await client.get("/ready")).status_code == 200


async def has_heard(fleet: Fleet, node: Node, mallory: Mallory, boast: Status) -> bool:
    mallory.say(boast)
    status = await fleet.status(node)
    return status is not None and any(
        peer["name"] == mallory.name and peer["height"] == boast.height for peer in status["peers"]
    )


async def flood(mallory: Mallory, author: str) -> None:
    """Cheap questions with large answers, as fast as they are taken; until cancelled."""
    while True:
        for height in range(1, 21):
            mallory.say(RunRequest(height))
            mallory.say(BlockRequest(author, 1, 64, bytes(32)))
            mallory.say(CertificateRequest(1, tuple(range(1, 129))))
            mallory.say(Status(1, 1, 1, height, height, 0))
        await mallory.said()


def test_lying_babbling_flooding_member_harms_nobody_and_is_named(tmp_path: Path) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net", labs=2)
        honest, bad = testnet.labs
        nodes = [node for node in testnet.nodes if node is not bad]
        load = Load(honest)
        async with network(testnet, absent={bad.name}) as fleet:
            mallory = Mallory(fleet, bad)
            memory = {name: _anonymous_rss(process.pid) for name, process in fleet.processes.items()}
            async with load.running():
                await wait_for_growth(fleet, nodes)
                async with mallory.joined():
                    await hear_lies(fleet, mallory, honest.name)
                    before = {node.name: await peer_faults(node) for node in nodes}
                    for block in replayed_blocks(fleet):
                        mallory.say(block, Lane.BULK)
                    await wait_for_growth(fleet, nodes)
                    boast = Status(1, 1, 1, 1 << 62, 1 << 62, 0)
                    for node in nodes:
                        await until("the boast is heard", partial(has_heard, fleet, node, mallory, boast))
                        assert (await fleet.status(node) or {})["state"] in {"finalizing", "idle", "waiting"}
                        assert await is_ready(node), "one liar makes every node look as if it lagged"
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(flood, mallory, honest.name)
                        seconds = await wait_for_growth(fleet, nodes, 3)
                        report(f"3 heights in {seconds:.1f} s under a flood of requests")
                        nursery.cancel_scope.cancel()
                    after = {node.name: await peer_faults(node) for node in nodes}
                    assert after == before, "replays and requests are no faults"
                for code, data in OVERSIZED:
                    await mallory.send_frames(testnet.validators[0], data)
                    await until(f"{code} is counted", partial(has_counted, testnet.validators[0], bad, code))
                await wait_for_growth(fleet, nodes)
            await settle(fleet)
            grown = {name: _anonymous_rss(p.pid) - memory[name] for name, p in fleet.processes.items()}
            report(f"anonymous memory grew by at most {max(grown.values()) / 2**20:.0f} MiB")
            faults = await peer_faults(testnet.validators[0])
            report(f"{testnet.validators[0].name} counted {dict(sorted(faults.items()))}")
            assert {peer for peer, _ in faults} == {bad.name}
        check_exactly_once_among(fleet, nodes, load)

    run(test)


def check_exactly_once_among(fleet: Fleet, nodes: list[Node], load: Load) -> None:
    from dataclasses import replace

    check_exactly_once(replace(fleet.testnet, nodes=tuple(nodes)), load)


def test_frozen_validator_is_passed_over_and_catches_up_when_it_thaws(tmp_path: Path) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        load = Load(testnet.labs[0])
        frozen, others = testnet.validators[2], [n for n in testnet.nodes if n is not testnet.validators[2]]
        async with network(testnet) as fleet:
            async with load.running():
                await wait_for_growth(fleet, testnet.nodes)
                process = fleet.processes[frozen.name]
                os.kill(process.pid, signal.SIGSTOP)
                try:
                    report(f"one frozen: 12 more heights after {await wait_for_growth(fleet, others, 12):.1f} s")
                finally:
                    os.kill(process.pid, signal.SIGCONT)
                reached = await height_of(fleet, others[0])
                report(f"thawed: caught up after {await wait_for_height(fleet, [frozen], reached):.1f} s")
            await settle(fleet)
            faults: Counter[tuple[str, str]] = sum([await peer_faults(node) for node in testnet.nodes], Counter())
            assert not faults
        check_exactly_once(testnet, load)

    run(test)
