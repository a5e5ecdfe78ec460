"""``glasslog testnet up``: runs a testnet's nodes and shows them in one view until Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from itertools import compress
from pathlib import Path
from typing import Annotated, Any

import trio
import typer
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from glasslog_node.cli.output import print_line
from glasslog_node.errors import OperatingError
from glasslog_node.fleet import LOG_FILE, Fleet, open_fleet
from glasslog_node.testnet import load_testnet

REFRESH_SECONDS = 0.5
WIDE_COLUMNS = 90
_LEFT_OUT = {"role", "view"}  # on a terminal narrower than that
_COLUMNS = ("node", "role", "in", "state", "height", "leaves", "published", "view", "peers", "waiting")


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made by `glasslog testnet new`.")],
    seconds: Annotated[float | None, typer.Option(help="Stop by itself after this long.")] = None,
) -> None:
    """Run a testnet until Ctrl-C. A node that ends is reported and left as it is."""
    testnet = load_testnet(folder)

    async def main() -> None:
        async with open_fleet(testnet) as fleet:
            print_line(f"{len(testnet.nodes)} nodes started; logs are {folder}/NAME/{LOG_FILE}; Ctrl-C stops them")
            with trio.move_on_after(float("inf") if seconds is None else seconds):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_until_signal, nursery.cancel_scope)
                    await _watch(fleet)
                    nursery.cancel_scope.cancel()
        print_line("all nodes have stopped")

    trio.run(main)


async def _until_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _watch(fleet: Fleet) -> None:
    """Show the nodes until all have ended, each end told once."""
    told: set[str] = set()
    console = Console()
    live = Live(console=console, auto_refresh=False, transient=False) if sys.stdout.isatty() else None
    shown = ""
    if live is not None:
        live.start()
    try:
        while len(told) < len(fleet.testnet.nodes):
            statuses = {node.name: await fleet.status(node) for node in fleet.testnet.nodes}
            rows = [_row(node.name, node.role.name.lower(), node.jurisdiction, statuses, fleet.ended())
                    for node in fleet.testnet.nodes]  # fmt: skip
            if live is not None:
                live.update(_table(rows, console.width), refresh=True)
            elif (line := _line(rows)) != shown:
                print_line(line)
                shown = line
            for name, status in fleet.ended().items():
                if name not in told:
                    told.add(name)
                    _tell_end(fleet, name, status)
            await trio.sleep(REFRESH_SECONDS)
    finally:
        if live is not None:
            live.stop()
    raise OperatingError("FLEET-01", "every node has ended", f"read {LOG_FILE} in the nodes' folders")


def _tell_end(fleet: Fleet, name: str, status: int) -> None:
    node = next(node for node in fleet.testnet.nodes if node.name == name)
    how = f"signal {-status}" if status < 0 else f"status {status}"
    print_line(f"{name} ended with {how}; it is not restarted. Its last words ({node.folder / LOG_FILE}):")
    for line in fleet.last_words(node):
        print_line(f"  {_as_text(line)}")


def _as_text(line: str) -> str:
    """Return a line of a node's log as people read it: what happened, then the details."""
    try:
        value: dict[str, Any] = json.loads(line)
        event = f"{str(value.pop('time'))[:19]} {value.pop('event')}"
    except (ValueError, KeyError, AttributeError):
        return line
    return " ".join((event, *(f"{key}={item}" for key, item in value.items() if key != "level")))


def _row(
    name: str, role: str, jurisdiction: str, statuses: Mapping[str, dict[str, Any] | None], ended: Mapping[str, int]
) -> tuple[str, ...]:
    status = statuses.get(name)
    if name in ended or status is None:
        return (name, role, jurisdiction, "ended" if name in ended else "no answer yet", *[""] * 6)
    peers: list[dict[str, Any]] = status["peers"]
    connected = f"{sum(bool(peer['connected']) for peer in peers)}/{len(peers)}"
    figures = (str(status[key]) for key in ("height", "size", "published", "view"))
    return (name, role, jurisdiction, str(status["state"]), *figures, connected, str(status["spooled"]))


def _table(rows: list[tuple[str, ...]], width: int) -> Table:
    """Return the rows as a table; a narrow terminal gets fewer columns rather than names cut short."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown = [name not in _LEFT_OUT or width >= WIDE_COLUMNS for name in _COLUMNS]
    for name in compress(_COLUMNS, shown):
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*compress(row, shown))
    return table


def _line(rows: list[tuple[str, ...]]) -> str:
    return "; ".join(f"{row[0]} {row[3]}" + (f" height {row[4]} published {row[6]}" if row[4] else "") for row in rows)
