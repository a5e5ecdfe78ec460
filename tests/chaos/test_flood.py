"""A member with real keys asks and talks without pause: its allowance bounds what it costs, and heights go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from chaos.mallory import Mallory
from chaos.rig import (
    Load,
    Node,
    check_exactly_once,
    found,
    height_of,
    network,
    report,
    run,
    settle,
    until,
    wait_for_growth,
)
from glasslog.agreement.messages import (
    NO_DIGEST,
    BlockRequest,
    CertificateRequest,
    Kind,
    Message,
    RunRequest,
    Status,
    Vote,
)
from glasslog_node.fleet import Fleet, open_client

SECONDS = 8.0  # of each measurement
AHEAD = 60  # views: votes for those at or below the floor are answered, not judged


def questions(_number: int, author: str) -> list[Message]:
    """Cheap to ask, dear to answer."""
    views = tuple(range(1, 129))
    return [RunRequest(1), CertificateRequest(1, views), BlockRequest(author, 1, 64, bytes(32))]


def statuses(number: int, _author: str) -> list[Message]:
    return [Status(1, 1, 1, number % 20, number % 20, 0)] * 4


def forged_votes(number: int, _author: str) -> list[Message]:
    return [Vote(1, AHEAD + number % 50, Kind.NULLIFY, NO_DIGEST, voter, bytes(64)) for voter in range(4)]


async def flood(mallory: Mallory, make: Callable[[int, str], list[Message]], author: str) -> None:
    """As fast as it is taken; until cancelled."""
    number = 0
    while True:
        for _ in range(20):
            number += 1
            for message in make(number, author):
                mallory.say(message)
        await mallory.said()


async def heights_a_second(fleet: Fleet, node: Node) -> float:
    before, at = await height_of(fleet, node), trio.current_time()
    await trio.sleep(SECONDS)
    after = -1
    while after < 0:  # a busy node may be late with its answer
        after = await height_of(fleet, node)
    return (after - before) / (trio.current_time() - at)


async def dropped_by(node: Node) -> Counter[str]:
    """What the node dropped, by the peer that sent it."""
    dropped: Counter[str] = Counter()
    async with open_client(node.config) as client:
        for line in (await client.get("/metrics")).text.splitlines():
            if line.startswith("glasslog_peer_dropped_total{"):
                dropped[line.partition('"')[2].partition('"')[0]] = int(float(line.rpartition(" ")[2]))
    return dropped


async def has_dropped(node: Node, peer: str) -> bool:
    return (await dropped_by(node))[peer] > 0


def test_flooding_member_is_held_to_its_allowance_and_heights_go_on(tmp_path: Path) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net", labs=2)
        honest, bad = testnet.labs
        witness = testnet.validators[0]
        nodes = [node for node in testnet.nodes if node is not bad]
        load = Load(honest)
        async with network(testnet, absent={bad.name}) as fleet:
            mallory = Mallory(fleet, bad)
            async with load.running():
                await load.wait_for(100)
                async with mallory.joined():
                    quiet = await heights_a_second(fleet, witness)
                    for make in (questions, statuses, forged_votes):
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(flood, mallory, make, honest.name)
                            for node in testnet.validators:
                                await until(f"{node.name} drops", partial(has_dropped, node, bad.name))
                            flooded = await heights_a_second(fleet, witness)
                            await wait_for_growth(fleet, nodes)
                            nursery.cancel_scope.cancel()
                        ratio = flooded / quiet if quiet else 0.0
                        report(f"{make.__name__}: {flooded:.1f} heights/s, {quiet:.1f} without: {ratio:.0%}")
            await settle(fleet)
            for node in testnet.validators:
                dropped = await dropped_by(node)
                assert set(dropped) == {bad.name}, "an honest member was taken for a flood"
            report(f"{witness.name} dropped {dict(await dropped_by(witness))}")
        check_exactly_once(replace(testnet, nodes=tuple(nodes)), load)

    run(test)
