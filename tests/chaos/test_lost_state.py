"""A validator whose memory was rolled back or wiped says so, is silent until that is safe, then votes again (A10)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from chaos.rig import (
    PATIENCE,
    Load,
    Node,
    check_exactly_once,
    found,
    glasslog,
    network,
    report,
    run,
    settle,
    stop,
    until,
    wait_for_growth,
)
from glasslog_node.fleet import Fleet
from glasslog_node.store.mark import default_mark_path
from glasslog_node.store.store import Store


def roll_back(node: Node, older: Path) -> None:
    """The data folder of a day ago, and the mark of now: what a restored backup or a snapshot leaves."""
    shutil.rmtree(node.config.data)
    shutil.copytree(older, node.config.data)


def wipe(node: Node, _older: Path) -> None:
    """A new disk: neither data nor mark."""
    shutil.rmtree(node.config.data)
    default_mark_path(node.config.data).unlink()


def own_votes(node: Node) -> int:
    with Store.open(node.config.data, readonly=True) as store, store.environment.read() as txn:
        return int(txn.stat(store.environment.db.votes)["entries"])


def signed_views(witness: Node, index: int) -> set[int]:
    """The views in whose archived certificates another validator holds a signature by validator ``index``."""
    views: set[int] = set()
    with Store.open(witness.config.data, readonly=True) as store:
        last = store.finalized_height(store.height)
        assert last is not None
        for view in range(1, last.proposal.view + 1):
            views |= {view for certificate in store.certificates(1, view) if index in certificate.signers}
    return views


async def view_of(fleet: Fleet, node: Node) -> int:
    status = await fleet.status(node)
    assert status is not None
    return int(status["view"])


def test_validators_that_lost_state_keep_silent_until_their_old_views_are_closed(tmp_path: Path) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        load = Load(testnet.labs[0])
        witness = testnet.validators[3]
        async with network(testnet) as fleet:
            async with load.running():
                await wait_for_growth(fleet, testnet.nodes)
            for index, lose in ((1, roll_back), (2, wipe)):
                victim, older = testnet.validators[index], tmp_path / f"older-{index}"
                await grow_old(fleet, victim, older, load)
                await lose_and_recover(fleet, victim, witness, load, lambda: lose(victim, older))  # noqa: B023 - used within its turn of the loop
            await settle(fleet)
            # What was looked for would have been found: the archive holds signatures of all four.
            assert all(signed_views(witness, index) for index in range(4))
        check_exactly_once(testnet, load)

    run(test)


async def grow_old(fleet: Fleet, victim: Node, older: Path, load: Load) -> None:
    """Put a copy of the validator's folder aside, then let it vote on."""
    await stop(fleet, victim)
    shutil.copytree(victim.config.data, older)
    await fleet.start(victim)
    await fleet.wait_until_connected(PATIENCE)
    async with load.running():
        await wait_for_growth(fleet, fleet.testnet.nodes)
    await settle(fleet)
    await stop(fleet, victim)


async def lose_and_recover(fleet: Fleet, victim: Node, witness: Node, load: Load, lose: Callable[[], None]) -> None:
    index = fleet.testnet.validators.index(victim)
    left_at = await view_of(fleet, witness)
    lose()
    await fleet.start(victim)
    closing = await wait_until_told(fleet, victim)
    assert closing > left_at
    assert own_votes(victim) == 0

    async def signs() -> bool:
        return any(view >= closing for view in signed_views(witness, index))

    async with load.running():
        seconds = await until("the validator votes again", signs)
        report(f"votes again {seconds:.1f} s after there was work")
    silent = {view for view in signed_views(witness, index) if left_at <= view < closing}
    assert not silent, f"signed in views {silent}, before {closing}"


async def wait_until_told(fleet: Fleet, victim: Node) -> int:
    """In an idle network it cannot recover, and says what it waits for; return the view it names."""
    lines: list[str] = []

    async def told() -> bool:
        answer = await glasslog("status", "--config", victim.config_path, "--why")
        lines[:] = [line for line in answer.out.splitlines() if line.startswith("VOTE-")]
        return any(line.startswith("VOTE-10 ") for line in lines)

    await until("the validator says that its state is lost", told)
    report(lines[0])
    assert ": recovering" in (await glasslog("status", "--config", victim.config_path)).out
    return int(lines[0].split("not voting before view ")[1].split()[0])
