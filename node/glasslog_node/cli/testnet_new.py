"""``glasslog testnet new``: founds a network on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from glasslog_node.cli.output import print_json, print_line
from glasslog_node.testnet import new_testnet


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet.")],
    validators: Annotated[int, typer.Option(help="How many institutes vote.")] = 4,
    labs: Annotated[int, typer.Option(help="How many labs submit.")] = 1,
    network: Annotated[str, typer.Option(help="The network's name.")] = "testnet.example",
    base_port: Annotated[int | None, typer.Option(help="First of two ports a node; free ones by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a network's keys, genesis, policy and configurations. One person holds all its keys: for trials only."""
    now = time.time_ns() // 1_000_000
    made = new_testnet(folder, validators=validators, labs=labs, time_ms=now, network=network, base_port=base_port)
    if json:
        nodes = [
            {
                "name": node.name,
                "role": node.role.name.lower(),
                "jurisdiction": node.jurisdiction,
                "config": str(node.config_path),
                "http": node.config.http.bind,
            }
            for node in made.nodes
        ]
        print_json({"genesis": made.genesis.hash.hex(), "policy": str(made.policy_path), "nodes": nodes})
        return
    for node in made.nodes:
        print_line(f"{node.name} ({node.role.name.lower()}, {node.jurisdiction}) http://{node.config.http.bind}")
    print_line(f"Next: glasslog testnet up {folder}")
