"""Everything that the threat model lets happen to nodes and wires, one function each; and all faults by name.

A fault spoils something under load, lasts a while, and puts it back. That the network then goes on, and that nothing
was lost, is for ``World.recovered`` and ``check_ledgers``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random

import trio

from chaos.hosts import Pair
from chaos.links import CLEAR, Weather
from chaos.losses import clock_jump, disk_full, lose_memory, roll_back, stolen_key, wipe
from chaos.rig import PATIENCE, Node
from chaos.world import NEW_VERSION, World, copy_sources

Fault = Callable[[World, Random], Awaitable[None]]


# --- processes ----------------------------------------------------------------------------------------


async def kill_one(world: World, rng: Random) -> None:
    victim = rng.choice(world.targets)
    await world.kill(victim)
    await trio.sleep(rng.uniform(0, 2))
    await world.start(victim)


async def kill_several(world: World, rng: Random) -> None:
    victims = rng.sample(world.targets, rng.randint(2, len(world.targets) - 1))
    await world.kill(*victims)
    await trio.sleep(rng.uniform(0, 2))
    await world.start(*victims)


async def kill_all(world: World, rng: Random) -> None:
    await world.kill(*world.targets)
    await world.start(*world.targets)


async def kill_all_again(world: World, rng: Random) -> None:
    """Once more while they are starting, or have just found one another."""
    await kill_all(world, rng)
    await trio.sleep(rng.uniform(0.1, 4))
    await kill_all(world, rng)


async def freeze(world: World, rng: Random) -> None:
    """SIGSTOP: it neither answers nor closes anything, and then believes that no time has passed."""
    process = world.fleet.processes[rng.choice(world.targets).name]
    world.counts["freezes"] += 1
    os.kill(process.pid, signal.SIGSTOP)
    try:
        await trio.sleep(rng.choice([rng.uniform(1, 4), rng.uniform(1, 4), rng.uniform(7, 20)]))
    finally:
        os.kill(process.pid, signal.SIGCONT)


async def new_version(world: World, rng: Random) -> None:
    """One node after another is stopped and started with other sources, while the others go on."""
    world.counts["rolling restarts"] += 1
    version = f"{NEW_VERSION}.{world.counts['rolling restarts']}"
    world.fleet.sources = copy_sources(world.fleet.sources, world.folder / version, version=version)
    for node in world.targets:
        process = world.fleet.processes.pop(node.name)
        process.terminate()
        with trio.fail_after(PATIENCE):
            assert await process.wait() == 0, world.fleet.last_words(node)
        await world.start(node)
        await world.recovered("restart on a new version")
        assert version in "".join(world.fleet.last_words(node, 200)), f"{node.name} runs the old version"


# --- wires --------------------------------------------------------------------------------------------


async def _apart(world: World, rng: Random, *, long: bool = True) -> None:
    """How long a partition lasts: sometimes for longer than connections do."""
    await trio.sleep(rng.uniform(7, 12) if long and rng.random() < 0.1 else rng.uniform(0.4, 2.5))


def _halves(world: World, rng: Random) -> tuple[list[Node], list[Node]]:
    nodes = rng.sample(world.testnet.nodes, len(world.testnet.nodes))
    at = rng.randint(1, len(nodes) - 1)
    return nodes[:at], nodes[at:]


async def split(world: World, rng: Random) -> None:
    world.counts["partitions"] += 1
    world.cut(*_halves(world, rng), at_sender=rng.random() < 0.5)
    await _apart(world, rng)
    world.hosts.heal()


async def isolate(world: World, rng: Random) -> None:
    world.counts["partitions"] += 1
    alone = rng.choice(world.testnet.nodes)
    world.cut([alone], world.testnet.nodes, at_sender=rng.random() < 0.5)
    await _apart(world, rng)
    world.hosts.heal()


async def one_way(world: World, rng: Random) -> None:
    """One side hears the other and is not heard."""
    world.counts["partitions"] += 1
    world.hosts.cut(world.pairs(*_halves(world, rng)), at_sender=rng.random() < 0.5)
    await _apart(world, rng)
    world.hosts.heal()


async def ring(world: World, rng: Random) -> None:
    """Everybody hears two neighbours only."""
    world.counts["partitions"] += 1
    nodes = rng.sample(world.testnet.nodes, len(world.testnet.nodes))
    near = {frozenset((node.name, nodes[place - 1].name)) for place, node in enumerate(nodes)}
    far = [
        pair
        for one in nodes
        for other in nodes
        if frozenset((one.name, other.name)) not in near
        for pair in world.pairs([one], [other])
    ]
    world.hosts.cut(far, at_sender=rng.random() < 0.5)
    await _apart(world, rng)
    world.hosts.heal()


async def moving(world: World, rng: Random) -> None:
    """Another one is alone each second."""
    world.counts["partitions"] += 1
    for alone in rng.sample(world.testnet.nodes, 4):
        world.cut([alone], world.testnet.nodes, at_sender=rng.random() < 0.5)
        await trio.sleep(rng.uniform(0.5, 1.2))
        world.hosts.heal()


async def flapping(world: World, rng: Random) -> None:
    world.counts["partitions"] += 1
    one, other = _halves(world, rng)
    for _ in range(rng.randint(3, 6)):
        world.cut(one, other, at_sender=rng.random() < 0.5)
        await trio.sleep(rng.uniform(0.1, 0.8))
        world.hosts.heal()
        await trio.sleep(rng.uniform(0.1, 0.8))


async def unplug(world: World, rng: Random) -> None:
    world.counts["partitions"] += 1
    for node in rng.sample(world.testnet.nodes, rng.randint(1, 2)):
        world.hosts.set_wire(world.host_of[node.name], up=False)
    await _apart(world, rng)
    world.hosts.heal()


async def split_and_kill(world: World, rng: Random) -> None:
    """Nodes die while they are cut off, and come back before or after the others are reachable."""
    world.counts["partitions"] += 1
    world.cut(*_halves(world, rng), at_sender=rng.random() < 0.5)
    await trio.sleep(rng.uniform(0.3, 1))
    victims = rng.sample(world.targets, rng.randint(2, 3))
    await world.kill(*victims)
    if rng.random() < 0.5:
        await world.start(*victims)
        await _apart(world, rng, long=False)
        world.hosts.heal()
    else:
        await _apart(world, rng, long=False)
        world.hosts.heal()
        await world.start(*victims)


# --- links --------------------------------------------------------------------------------------------


def _all_pairs(world: World) -> list[Pair]:
    return world.pairs(world.testnet.nodes, world.testnet.nodes)


async def _storm(
    world: World, rng: Random, weather: Mapping[Pair, Weather], seconds: tuple[float, float] = (2, 5)
) -> None:
    world.counts["bad weather"] += 1
    await world.links.set(weather)
    await trio.sleep(rng.uniform(*seconds))
    await world.links.set(dict.fromkeys(weather, CLEAR))


async def slow(world: World, rng: Random) -> None:
    """Every link has a delay of its own, and connections overtake one another."""
    await _storm(
        world, rng,
        {pair: Weather(delay=rng.uniform(0, 0.15), jitter=0.05, skew=0.1) for pair in _all_pairs(world)},
    )  # fmt: skip


async def lossy(world: World, rng: Random) -> None:
    await _storm(world, rng, dict.fromkeys(_all_pairs(world), Weather(delay=0.02, loss=rng.uniform(0.01, 0.1))))


async def narrow(world: World, rng: Random) -> None:
    await _storm(world, rng, dict.fromkeys(_all_pairs(world), Weather(rate=rng.uniform(50_000, 300_000))))


async def torn(world: World, rng: Random) -> None:
    await _storm(world, rng, dict.fromkeys(_all_pairs(world), Weather(reset=rng.uniform(0.005, 0.05))))


async def corrupted(world: World, rng: Random) -> None:
    """Bytes change on their way: the handshake or the cipher notices, and nobody is blamed."""
    await _storm(world, rng, dict.fromkeys(_all_pairs(world), Weather(corrupt=rng.uniform(0.005, 0.05))))


async def stalled(world: World, rng: Random) -> None:
    """Half of the directions stand still; nothing is lost and nobody is told."""
    pairs = _all_pairs(world)
    await _storm(world, rng, dict.fromkeys(rng.sample(pairs, len(pairs) // 2), Weather(stalled=True)))


async def half_open(world: World, rng: Random) -> None:
    """All connections break, and some of those opened anew lead nowhere."""
    pairs = _all_pairs(world)
    await world.links.set(dict.fromkeys(pairs, Weather(reset=1)))
    await trio.sleep(0.3)
    await world.links.set(dict.fromkeys(pairs, CLEAR))
    await _storm(world, rng, dict.fromkeys(rng.sample(pairs, len(pairs) // 2), Weather(swallow=True)))


async def foul(world: World, rng: Random) -> None:
    """A bit of everything."""
    weather = {
        pair: Weather(
            delay=rng.uniform(0, 0.05), jitter=0.05, skew=0.05, loss=rng.uniform(0, 0.05),
            reset=rng.uniform(0, 0.01), corrupt=rng.uniform(0, 0.01),
        )
        for pair in _all_pairs(world)
    }  # fmt: skip
    await _storm(world, rng, weather)


# --- all of them --------------------------------------------------------------------------------------

KILLS: Mapping[str, Fault] = {
    "kill one": kill_one,
    "kill several": kill_several,
    "kill all": kill_all,
    "kill all, and again": kill_all_again,
}
PARTITIONS: Mapping[str, Fault] = {
    "split": split,
    "isolate": isolate,
    "one-way": one_way,
    "ring": ring,
    "moving": moving,
    "flapping": flapping,
    "unplug": unplug,
    "split and kill": split_and_kill,
}
LINKS: Mapping[str, Fault] = {
    "slow": slow,
    "lossy": lossy,
    "narrow": narrow,
    "torn": torn,
    "corrupted": corrupted,
    "stalled": stalled,
    "half-open": half_open,
    "foul": foul,
}
RARE: Mapping[str, Fault] = {
    "freeze": freeze,
    "disk full": disk_full,
    "clock jump": clock_jump,
    "roll back": partial(lose_memory, lose=roll_back, what="rollbacks"),
    "wipe": partial(lose_memory, lose=wipe, what="wipes"),
    "stolen key": stolen_key,
    "new version": new_version,
}
FAULTS: Mapping[str, Fault] = {**KILLS, **PARTITIONS, **LINKS, **RARE}
