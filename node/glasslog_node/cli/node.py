"""``glasslog node``: one node in the foreground, or the public's read-only view of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import trio
import typer

from glasslog_node.cli.connection import CONFIG_HELP
from glasslog_node.config import NodeConfig, load_config
from glasslog_node.errors import ConfigError
from glasslog_node.telemetry import configure_logging

RunNode = Callable[[NodeConfig], Awaitable[None]]
_WITH_PARENT = "Stop when standard input closes: the process that started this one has ended."


def run(
    config: Annotated[Path, typer.Option(help=CONFIG_HELP)],
    with_parent: Annotated[bool, typer.Option("--with-parent", help=_WITH_PARENT)] = False,
) -> None:
    """Run one node in the foreground until Ctrl-C or SIGTERM. What it is, the genesis membership says."""
    _run(config, import_module("glasslog_node.node").run_node, with_parent=with_parent)


def serve_public(
    config: Annotated[Path, typer.Option(help=CONFIG_HELP)],
    with_parent: Annotated[bool, typer.Option("--with-parent", help=_WITH_PARENT)] = False,
) -> None:
    """Serve a node's replica read-only at http.public_bind, in a process of its own, beside the node."""
    from glasslog_node.api.public import run_public

    _run(config, run_public, with_parent=with_parent)


def _run(path: Path, work: RunNode, *, with_parent: bool) -> None:
    config = load_config(path)
    configure_logging(config.log.level, config.log.format)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_signal, nursery.cancel_scope)
            if with_parent:
                nursery.start_soon(_until_orphaned, nursery.cancel_scope)
            await work(config)
            nursery.cancel_scope.cancel()

    trio.run(main)


async def _until_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _until_orphaned(scope: trio.CancelScope) -> None:
    try:
        stdin = trio.lowlevel.FdStream(os.dup(0))
    except OSError as e:
        raise ConfigError("CONFIG-07", "--with-parent needs a standard input", "leave it out") from e
    async with stdin:
        async for _ in stdin:
            pass
    scope.cancel()
