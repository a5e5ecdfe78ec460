"""A validator whose memory was rolled back or wiped says so, keeps silent until that is safe, then votes again (A10)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.rig import Load, Node, check_exactly_once, found, glasslog, network, report, run, settle, stop, until, wait_for_growth
from glasslog.agreement.messages import Kind
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


def closing_view(why: list[str]) -> int | None:
    """The view that VOTE-10 names."""
    return next((int(line.split("not voting before view ")[1].split()[0]) for line in why if "VOTE-10" in line), None)


async def view_of(fleet: Fleet, node: Node) -> int:
    status = await fleet.status(node)
    assert status is not None
    return int(status["view"])


@pytest.mark.parametrize("lose", [roll_back, wipe])
def test_validator_that_lost_state_does_not_vote_until_its_old_views_are_closed(
    tmp_path: Path, lose: Callable[[Node, Path], None]
) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        load = Load(testnet.labs[0])
        victim, witness, index = testnet.validators[1], testnet.validators[2], 1
        async with network(testnet) as fleet:
            async with load.running():
                await wait_for_growth(fleet, testnet.nodes)
                await stop(fleet, victim)
                shutil.copytree(victim.config.data, tmp_path / "older")
                await fleet.start(victim)
                await wait_for_growth(fleet, testnet.nodes)
            await settle(fleet)
            await stop(fleet, victim)
            lose(victim, tmp_path / "older")
            left_at = await view_of(fleet, witness)
            await fleet.start(victim)
            why = await waiting(fleet, victim)
            assert own_votes(victim) == 0
            closing = closing_view(why)
            assert closing is not None
            assert closing > left_at
            async with load.running():
                await until("the validator recovered", lambda: recovered(fleet, victim))
                await until_signs(fleet, victim, witness, index, closing)
            await settle(fleet)
            silent = {view for view in signed_views(witness, index) if left_at <= view < closing}
            assert not silent, f"signed in views {silent}, before {closing}"
        check_exactly_once(testnet, load)
        assert why[0].startswith("VOTE-10 ")

    async def waiting(fleet: Fleet, victim: Node) -> list[str]:
        """Idle, the validator cannot recover; it says what it waits for."""
        lines: list[str] = []

        async def told() -> bool:
            answer = await glasslog("status", "--config", victim.config_path, "--why")
            lines[:] = [line for line in answer.out.splitlines() if line.startswith("VOTE-")]
            return any("VOTE-10" in line for line in lines)

        await until("the validator says that its state is lost", told)
        report(lines[0])
        return lines

    async def recovered(fleet: Fleet, victim: Node) -> bool:
        status = await fleet.status(victim)
        return status is not None and status["state"] in {"finalizing", "idle"}

    async def until_signs(fleet: Fleet, victim: Node, witness: Node, index: int, closing: int) -> None:
        async def signs() -> bool:
            return any(view >= closing for view in signed_views(witness, index))

        seconds = await until("the validator votes again", signs)
        report(f"votes again {seconds:.1f} s after its recovery")

    run(test)


def test_signatures_are_found_where_they_are(tmp_path: Path) -> None:
    """What the test above does not find, it would find: every validator's signature is in the archive."""

    async def test() -> None:
        testnet = found(tmp_path / "net")
        load = Load(testnet.labs[0])
        async with network(testnet) as fleet:
            async with load.running():
                await wait_for_growth(fleet, testnet.nodes, 8)
            await settle(fleet)
        for index in range(4):
            assert signed_views(testnet.validators[0], index)
        with Store.open(testnet.validators[0].config.data, readonly=True) as store:
            last = store.finalized_height(store.height)
            assert last is not None
            assert {c.kind for c in store.certificates(1, last.proposal.view)} >= {Kind.FINALIZE}

    run(test)
