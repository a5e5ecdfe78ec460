"""``glasslog mirror``: static copies of a log that anybody can serve, and anybody can check."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from glasslog_node.cli.audit import load_policy
from glasslog_node.cli.output import print_error, print_json, print_line
from glasslog_node.errors import ConfigError
from glasslog_node.mirror.syncing import Mirrored, sync_mirror
from glasslog_node.sources import open_source

_THREADS = 8  # over an address, where waiting is what takes the time
_PLAIN_SECONDS = 5.0  # between two lines of progress where there is no terminal
_POLICY_HELP = "Whose signatures you trust: nothing is mirrored that a quorum of it did not cosign."


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The mirror: a new folder, or one to go on with.")],
    replica: Annotated[str, typer.Option("--from", metavar="REPLICA", help="A replica's folder or backup.")],
    policy: Annotated[Path | None, typer.Option(help=_POLICY_HELP)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a replica's published log as files, or what is new in it since the last time."""
    _run(replica, folder, policy, json=json)


def sync(
    source: Annotated[str, typer.Argument(metavar="URL|PATH", help="A node, a mirror's address or folder.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The mirror: a new folder, or one to go on with.")],
    policy: Annotated[Path | None, typer.Option(help=_POLICY_HELP)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring a mirror up to what is published elsewhere, verifying everything; run it as often as you like."""
    _run(source, folder, policy, json=json)


def _run(source: str, folder: Path, policy: Path | None, *, json: bool) -> None:
    trusted = None if policy is None else load_policy(policy)
    if "://" not in source and Path(source).resolve() == folder.resolve():
        raise ConfigError("MIRROR-08", f"{folder} would be a mirror of itself", "name another folder")
    with open_source(source) as upstream, _progress() as progress:
        threads = _THREADS if "://" in source else 1
        mirrored = sync_mirror(upstream, folder, trusted, progress, threads=threads)
    if json:
        print_json({**mirrored.to_value(), "mirror": str(folder)})
    else:
        for line in _describe(mirrored, folder):
            print_line(line)


def _describe(mirrored: Mirrored, folder: Path) -> list[str]:
    new = mirrored.size - mirrored.before
    grown = f"{new} leaves more than before" if mirrored.before else "from the first leaf on"
    lines = [f"{folder}: {mirrored.origin} up to size {mirrored.size}, {grown}" if new else f"{folder}: nothing new"]
    lines.append(f"  written      {mirrored.files} files, {mirrored.bytes} bytes")
    if not mirrored.confirmed:
        lines.append("  not checked  whose log it is: no policy was given")
    return [*lines, f"Next: serve the folder as it is, or glasslog audit {folder} --policy POLICY"]


@contextmanager
def _progress() -> Generator[Callable[[int, int], None]]:
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("mirroring"), BarColumn(), TextColumn("{task.completed:,} leaves"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("mirror", total=None)

        def show(done: int, size: int) -> None:
            bar.update(task, completed=done, total=size)

        yield show


def _plain_progress() -> Callable[[int, int], None]:
    last = time.monotonic()

    def show(done: int, size: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _PLAIN_SECONDS:
            last = time.monotonic()
            print_error(f"mirrored {done} of {size} leaves")

    return show
