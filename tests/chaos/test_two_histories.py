"""Whoever has more than f keys can make two histories, with the real node; an audit of both says so, and whose keys."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

from audit_ledger import make_statement
from chaos.rig import Load, Node, found, glasslog, network, report, run, until
from glasslog.statement import decode_statement, to_json
from glasslog_node import testnet as testnets
from glasslog_node.fleet import Fleet, open_client

STATEMENTS = 200


async def publish(fleet: Fleet, load: Load) -> None:
    """Make statements final and published on every node that runs."""
    async with load.running():
        await load.wait_for(STATEMENTS)
    for node in fleet.testnet.nodes:
        if node.name in fleet.processes:
            await until(f"{node.name} published them", partial(has_published, fleet, node))


async def has_published(fleet: Fleet, node: Node) -> bool:
    return int((await fleet.status(node) or {}).get("published", 0)) > STATEMENTS


async def publish_one(fleet: Fleet, statement: Path) -> bytes:
    """Make one statement final, and return the first checkpoint over it: of one size in every life."""
    submitted = await glasslog("submit", statement, "--config", fleet.testnet.labs[0].config_path, "--wait")
    assert submitted.status == 0, submitted.err
    async with open_client(fleet.testnet.validators[1].config) as client:
        return (await client.get("/checkpoint")).content


async def live(testnet: testnets.Testnet, absent: str, replica: Path) -> None:
    """One life of the network, from its first day on; its first checkpoint, and a copy of a replica when it is over."""
    statement = replica.with_suffix(".json")
    statement.write_text(to_json(decode_statement(make_statement(len(replica.name)))))
    async with network(testnet, absent={absent}) as fleet:
        replica.with_suffix(".note").write_bytes(await publish_one(fleet, statement))
        await publish(fleet, Load(testnet.labs[0]))
    shutil.copytree(testnet.validators[1].config.data, replica)


def test_network_that_lived_twice_with_two_common_keys_is_a_fork_by_these_two(tmp_path: Path) -> None:
    """n = 4, f = 1. The first life has validators 0, 1, 2; the second 1, 2, 3, on disks of the first day."""

    async def test() -> None:
        testnet = found(tmp_path / "net")
        first_day, replicas = tmp_path / "first-day", (tmp_path / "one", tmp_path / "other")
        shutil.copytree(testnet.folder, first_day)
        await live(testnet, testnet.validators[3].name, replicas[0])
        shutil.rmtree(testnet.folder)
        shutil.copytree(first_day, testnet.folder)
        await live(testnet, testnet.validators[0].name, replicas[1])

        for replica in replicas:
            assert (await glasslog("audit", replica, "--policy", testnet.policy_path)).status == 0
        arguments = ("audit", replicas[0], "--policy", testnet.policy_path, "--against", replicas[1])
        answer = await glasslog(*arguments, "--json")
        value = json.loads(answer.out)
        assert (answer.status, value["verdict"]) == (1, "broken")
        assert {finding["rule"] for finding in value["findings"]} >= {"AUDIT-22"}
        twice = {validator.name for validator in testnet.validators[1:3]}
        assert {culprit["name"] for culprit in value["culprits"]} == twice
        notes = [replica.with_suffix(".note") for replica in replicas]
        compared = await glasslog("compare", *notes, "--policy", testnet.policy_path, "--json")
        culprits = json.loads(compared.out)["culprits"]
        assert (compared.status, {culprit["name"] for culprit in culprits}) == (1, twice)
        assert {culprit["offence"] for culprit in culprits} == {"two-roots"}
        for again in (arguments, ("compare", *notes, "--policy", testnet.policy_path)):
            for line in (await glasslog(*again)).out.splitlines():
                if line.startswith(("BROKEN", "FORK", "  AUDIT", "  cosigned", "  culprit", "  shown")):
                    report(line)

    run(test)
