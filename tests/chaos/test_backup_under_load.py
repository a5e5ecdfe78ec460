"""Copies of a replica taken while its node writes: ours are consistent, torn ones are never believed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import trio

from chaos.rig import (
    Load,
    Node,
    check_exactly_once,
    found,
    glasslog,
    network,
    read_replica,
    report,
    run,
    settle,
    wait_for_growth,
)
from glasslog.merkle import hash_leaves, root
from glasslog_node.store.store import Store

INTACT, BROKEN, UNABLE, UNCONFIRMED = 0, 1, 2, 3
COPIES = 6
_PIECE = 1 << 16


async def copy_torn(source: Path, target: Path) -> None:
    """What ``cp`` makes of a database that is being written: early pages of one moment, late ones of another."""
    with (source / "data.mdb").open("rb") as file, (target / "data.mdb").open("wb") as copy:
        while piece := file.read(_PIECE):
            copy.write(piece)
            await trio.sleep(0.01)


def root_at(node: Node, size: int) -> bytes:
    with Store.open(node.config.data, readonly=True) as store:
        return root(hash_leaves(store.leaves(0, size)))


async def audit(folder: Path, *more: object) -> tuple[int, dict[str, object]]:
    answer = await glasslog("audit", folder, "--json", *more)
    assert answer.status >= 0, f"the audit of {folder} died of signal {-answer.status}"
    assert "Traceback" not in answer.err, answer.err
    return answer.status, json.loads(answer.out) if answer.out.strip() else {}


def test_backup_of_a_node_under_load_is_intact_and_torn_copies_are_not_believed(tmp_path: Path) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        node, witness, policy = testnet.validators[0], testnet.validators[1], testnet.policy_path
        load = Load(testnet.labs[0])
        copies = [tmp_path / f"torn-{number}" for number in range(COPIES)]
        async with network(testnet) as fleet:
            async with load.running():
                await wait_for_growth(fleet, testnet.nodes)
                answer = await glasslog("backup", tmp_path / "copy", "--config", node.config_path, "--json")
                assert answer.status == 0, answer.err
                again = await glasslog("backup", tmp_path / "copy", "--config", node.config_path)
                assert again.status == UNABLE
                assert again.err.startswith("STORE-10 ")
                for copy in copies:
                    await wait_for_growth(fleet, [node], 2)
                    copy.mkdir()
                    await copy_torn(node.config.data, copy)
            await settle(fleet)
        check_exactly_once(testnet, load)
        replica = read_replica(tmp_path / "copy")
        assert replica.size == json.loads(answer.out)["size"]
        assert 0 < replica.published <= replica.size
        assert replica.root == root_at(witness, replica.size)
        status, said = await audit(tmp_path / "copy", "--policy", policy)
        assert (status, said["verdict"]) == (INTACT, "intact")
        assert (await audit(tmp_path / "copy"))[0] == UNCONFIRMED
        await judge_torn(copies, policy, witness)

    async def judge_torn(copies: list[Path], policy: Path, witness: Node) -> None:
        verdicts: list[int] = []
        for copy in copies:
            status, _ = await audit(copy, "--policy", policy)
            verdicts.append(status)
            assert status in {INTACT, BROKEN, UNABLE}
            if status == INTACT:
                replica = read_replica(copy)
                assert replica.root == root_at(witness, replica.size)
            shutil.rmtree(copy)
        report(f"torn copies: {verdicts.count(INTACT)} intact at an earlier height, {verdicts.count(BROKEN)} broken, "
               f"{verdicts.count(UNABLE)} refused")  # fmt: skip

    run(test)
