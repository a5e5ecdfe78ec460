"""``glasslog status``: where a node stands, and by name what it waits for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from glasslog_node.cli.connection import CONFIG_HELP, URL_HELP, connect
from glasslog_node.cli.output import print_json, print_line


def command(
    config: Annotated[Path | None, typer.Option(help=CONFIG_HELP)] = None,
    url: Annotated[str | None, typer.Option(help=URL_HELP)] = None,
    why: Annotated[bool, typer.Option("--why", help="Say why nothing is being finalized.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show where a node stands; with --why, what keeps it from finalizing."""
    with connect(config, url, None) as node:
        status: dict[str, Any] = node.get("/v1/status").json()
    if json:
        print_json(status)
        return
    for line in describe_status(status):
        print_line(line)
    if why:
        for line in status["why"] or ["nothing keeps this node from finalizing"]:
            print_line(line)


def describe_status(status: dict[str, Any]) -> list[str]:
    """Return a node's status as lines for people."""
    peers: list[dict[str, Any]] = status["peers"]
    connected = sum(bool(peer["connected"]) for peer in peers)
    lines = [
        f"{status['name']} ({status['role']}, {status['jurisdiction']}) in {status['network']}: {status['state']}",
        (
            f"height {status['height']}, {status['size']} leaves, {status['published']} published, "
            f"epoch {status['epoch']}, view {status['view']}, entries waiting: {status['spooled']}"
        ),
        f"root {status['root']}",
        f"{connected} of {len(peers)} peers connected",
    ]
    for peer in peers:
        state = "connected" if peer["connected"] else f"absent ({peer['last_error'] or 'not seen yet'})"
        height = "" if peer["height"] is None else f", height {peer['height']}"
        lines.append(f"  {peer['name']} ({peer['role']}, {peer['jurisdiction']}): {state}{height}")
    return lines
