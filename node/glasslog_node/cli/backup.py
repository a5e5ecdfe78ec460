"""``glasslog backup``: a consistent copy of a replica, taken beside its running node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glasslog_node.cli.connection import CONFIG_HELP
from glasslog_node.cli.output import print_json, print_line
from glasslog_node.config import load_config


def command(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The copy: a folder that does not exist yet.")],
    config: Annotated[Path, typer.Option(help=CONFIG_HELP)],
    full: Annotated[bool, typer.Option("--full", help="Also own votes and spool. Private: never hand it out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Copy a node's replica, consistent and complete, also while the node runs."""
    from glasslog_node.store.backup import backup_full, backup_replica
    from glasslog_node.store.store import Store

    with Store.open(load_config(config).data, readonly=True) as store:
        if full:
            backup_full(store, target)
            size = store.size
        else:
            size = backup_replica(store, target)
    if json:
        print_json({"backup": str(target), "size": size, "full": full})
    else:
        print_line(f"{target}: {size} leaves. Next: glasslog audit {target} --policy POLICY")
