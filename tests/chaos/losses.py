"""Faults of disks, clocks, memory and keys: after these a node may not go on as if nothing had happened.

What is asserted has to hold while the fault lasts: a node says nothing that it cannot keep, or before A10 lets it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from random import Random

import trio

from chaos.links import Weather
from chaos.rig import PATIENCE, Node, log_of, until, wait_for_growth
from chaos.world import World, fill_disk, free_disk, make_twin, set_clock
from glasslog_node.store.mark import create_mark, default_mark_path
from glasslog_node.store.store import Store

CLOCK_JUMP = 3_600  # seconds
_UNABLE = 2


# --- disks and clocks -----------------------------------------------------------------------------------


async def disk_full(world: World, rng: Random) -> None:
    """The node ends with a reason rather than say what it cannot keep, and does not come up until there is room."""
    victim = rng.choice(world.with_disks)
    world.counts["full disks"] += 1
    world.history.may_end.add(victim.name)
    fill_disk(victim)
    process = world.fleet.processes[victim.name]
    with trio.fail_after(PATIENCE):
        assert await process.wait() == _UNABLE, world.fleet.last_words(victim)
    del world.fleet.processes[victim.name]
    assert "STORE-05 " in log_of(victim).splitlines()[-1], world.fleet.last_words(victim)
    if victim is not world.lab:
        await wait_for_growth(world.fleet, [node for node in world.live if node is not victim], 3)
    free_disk(victim)
    await world.start(victim)
    world.history.may_end.discard(victim.name)


async def clock_jump(world: World, rng: Random) -> None:
    """An hour ahead or behind, and back again. The others go on; it goes on with them."""
    victim, seconds = rng.choice(world.with_clocks), rng.choice([CLOCK_JUMP, -CLOCK_JUMP])
    world.counts["clock jumps"] += 1
    set_clock(victim, seconds)
    await trio.sleep(1.5)
    await wait_for_growth(world.fleet, world.live, 5)
    assert await _clock_of(world, victim) == seconds, "its clock did not jump"
    set_clock(victim, 0)


async def _clock_of(world: World, node: Node) -> int:
    """How many seconds off the wall clock is by which it writes its log, to the hour."""
    mine = world.host_of[node.name]
    pairs = [pair for pair in world.pairs(world.testnet.nodes, world.testnet.nodes) if mine in pair]
    before = len(log_of(node))
    async with world.weather(Weather(reset=1), pairs):

        async def wrote() -> bool:
            return "\n" in log_of(node)[before:]

        await until(f"{node.name} notices that its connections broke", wrote)
    written = datetime.fromisoformat(json.loads(log_of(node)[before:].splitlines()[0])["time"])
    return round((written - datetime.now(UTC)).total_seconds() / CLOCK_JUMP) * CLOCK_JUMP


# --- memory and keys ----------------------------------------------------------------------------------


def roll_back(node: Node, older: os.PathLike[str]) -> None:
    """What a restored backup or a snapshot leaves: a folder of before, and the mark of now."""
    shutil.rmtree(node.config.data)
    shutil.copytree(older, node.config.data)


def wipe(node: Node, older: os.PathLike[str]) -> None:
    """A new disk: neither folder nor mark."""
    shutil.rmtree(node.config.data)
    default_mark_path(node.config.data).unlink()


def own_votes(node: Node) -> set[bytes]:
    """The votes that it holds as its own, by epoch, view and kind."""
    if not node.config.data.exists():
        return set()
    with Store.open(node.config.data, readonly=True) as store, store.environment.read() as txn:
        return {bytes(key) for key, _ in txn.cursor(store.environment.db.votes)}


def signed_views(witness: Node, index: int, first: int, last: int) -> set[int]:
    """The views of these in whose archived certificates validator ``index`` signs."""
    with Store.open(witness.config.data, readonly=True) as store:
        certificates = [certificate for view in range(first, last) for certificate in store.certificates(1, view)]
    return {certificate.view for certificate in certificates if index in certificate.signers}


async def _view_of(world: World, node: Node) -> int:
    status = await world.fleet.status(node)
    assert status is not None
    return int(status["view"])


async def lose_memory(world: World, rng: Random, *, lose: Callable[[Node, os.PathLike[str]], None], what: str) -> None:
    """A10: silent as long as one of the n - f others has not told it what it may have signed; then it votes again."""
    world.counts[what] += 1
    victim, older = world.suspect, world.folder / "older"
    index, witness = world.testnet.validators.index(victim), world.testnet.validators[2]
    await world.kill(victim)
    shutil.copytree(victim.config.data, older)
    await world.start(victim)
    await wait_for_growth(world.fleet, world.live, 5)
    await world.kill(victim)
    lose(victim, older)
    shutil.rmtree(older)
    silent_from = await _view_of(world, witness) + 1
    others = [node for node in world.testnet.validators if node is not victim]
    world.cut([victim], others[: world.testnet.genesis.membership.faults], at_sender=True)
    said, before = own_votes(victim), len(log_of(victim))  # the older copy holds what it said back then
    await world.start(victim)
    await _keep_silent(world, victim, others, before, said)
    silent_to = await _view_of(world, witness)
    assert silent_to > silent_from, "the others did not go on: silence shows nothing"
    world.hosts.heal()

    async def votes_again() -> bool:
        view = await _view_of(world, witness)
        return bool(signed_views(witness, index, silent_to, view))

    await until(f"{victim.name} votes again", votes_again)
    broken = signed_views(witness, index, silent_from, silent_to)
    assert not broken, f"{victim.name} has lost its memory and signed in views {sorted(broken)}"


async def _keep_silent(world: World, victim: Node, others: Iterable[Node], log_from: int, said: set[bytes]) -> None:
    """It says that it lost its memory and for whom it waits, and stores no vote while the others finalize."""

    async def told() -> bool:
        why = (await world.fleet.status(victim) or {}).get("why", ())
        return any(line.startswith("VOTE-11 ") for line in why)

    await until(f"{victim.name} says that its memory is lost", told)
    assert "state was lost" in log_of(victim)[log_from:]
    for _ in range(4):
        await wait_for_growth(world.fleet, others, 3)
        new = own_votes(victim) - said
        assert not new, f"{victim.name} has lost its memory, and voted: {[vote.hex() for vote in new]}"
        assert (await world.fleet.status(victim) or {})["state"] == "recovering"


async def stolen_key(world: World, rng: Random) -> None:
    """A thief runs a twin, from nothing or from a copy of the whole machine: the others go on and do not fork."""
    world.counts["stolen keys"] += 1
    original = world.suspect
    world.history.suspects.add(original.name)
    twins = make_twin(world, f"twin-{world.counts['stolen keys']}")
    (twin,) = twins.testnet.nodes
    if rng.random() < 0.5:
        await world.kill(original)
        shutil.copytree(original.config.data, twin.config.data)
        shutil.copy2(default_mark_path(original.config.data), default_mark_path(twin.config.data))
        await world.start(original)
    else:
        create_mark(default_mark_path(twin.config.data), world.testnet.genesis.hash)
    others = [node for node in world.testnet.nodes if node is not original]
    try:
        await twins.start(twin)
        await wait_for_growth(world.fleet, others, 5)
        for _ in range(4):
            deaf = rng.sample(others, 2)
            places = [(len(world.testnet.nodes), world.host_of[node.name]) for node in deaf]
            async with world.weather(Weather(delay=0.3, jitter=0.3), [*places, *(pair[::-1] for pair in places)]):
                await wait_for_growth(world.fleet, others, 5)
        assert twins.ended() == {}, twins.last_words(twin)
    finally:
        await twins.kill(twin.name)
