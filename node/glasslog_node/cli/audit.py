"""``glasslog audit``: a replica derived again from its leaves and signatures."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasslog.audit import Report, Source, audit
from glasslog.bundle import read_policy
from glasslog.errors import ProtocolError
from glasslog.policy import NEXT_STEPS, POLICY_BYTES_MAX, Policy
from glasslog_node.cli.output import EXIT_UNABLE, print_error, print_json, print_line
from glasslog_node.cli.verify import read_file, show_time
from glasslog_node.errors import ConfigError, OperatingError
from glasslog_node.sources import open_source

if TYPE_CHECKING:
    from rich.progress import TaskID

_PLAIN_SECONDS = 5.0  # between two lines of progress where there is no terminal
_HEADLINES = {
    0: "INTACT",
    1: "BROKEN",
    3: "UNABLE to say whose log this is: it agrees with itself, and nothing confirms its origin",
}


def command(
    target: Annotated[str, typer.Argument(metavar="PATH|URL", help="A replica's folder, a folder of tiles, a URL.")],
    policy: Annotated[Path | None, typer.Option(help="The policy: whose signatures you trust.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Re-derive a replica. Status: 0 intact, 1 broken, 2 it cannot be read, 3 consistent but origin unconfirmed."""
    try:
        report, seconds = run_audit(target, policy)
    except OperatingError as error:
        if json:
            print_json(_unable(target, error))
        else:
            print_error(str(error))
        raise typer.Exit(EXIT_UNABLE) from error
    if json:
        print_json({**report.to_value(), "seconds": round(seconds, 3)})
    else:
        for line in describe(report, seconds):
            print_line(line)
    raise typer.Exit(report.status)


def run_audit(target: str, policy: Path | None) -> tuple[Report, float]:
    """Audit what *target* names, with progress on standard error; return the report and the seconds it took.

    Raises:
        OperatingError: the replica or the policy cannot be read.
    """
    trusted = None if policy is None else _load_policy(policy)
    start = time.monotonic()
    with open_source(target) as source, _progress(source) as progress:
        report = audit(source, trusted, progress=progress)
    return report, time.monotonic() - start


def _load_policy(path: Path) -> Policy:
    data = read_file(path, POLICY_BYTES_MAX)
    try:
        return read_policy(data)
    except ProtocolError as error:
        raise ConfigError(error.code, f"{path}: {error.fact}", NEXT_STEPS[error.code]) from error


def _unable(target: str, error: OperatingError) -> dict[str, object]:
    failure = {"code": error.code, "fact": error.fact, "next": error.next_step}
    return {"verdict": "unable", "status": EXIT_UNABLE, "path": target, **failure}


@contextmanager
def _progress(source: Source) -> Generator[Callable[[int], None]]:
    """Show how far an audit is: a bar on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _plain_progress(source)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("auditing"), BarColumn(), TextColumn("{task.completed:,} leaves"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task: TaskID = bar.add_task("audit", total=source.size)

        def show(done: int) -> None:
            bar.update(task, completed=done)

        yield show


def _plain_progress(source: Source) -> Callable[[int], None]:
    last = time.monotonic()

    def show(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _PLAIN_SECONDS:
            last = time.monotonic()
            print_error(f"audited {done} of {source.size} leaves")

    return show


def describe(report: Report, seconds: float) -> list[str]:
    """Return the report for people: the verdict, then figures, findings, and what was not checked."""
    lines = [f"{_HEADLINES[report.status]}  {report.label}", report.sentence]
    lines += [f"  {finding.line}" for finding in report.findings.kept]
    more = report.findings.count - len(report.findings.kept)
    if more:
        lines.append(f"  and {more} findings more")
    genesis = "unknown" if report.genesis_hash is None else report.genesis_hash.hex()
    rate = int(report.entries / seconds) if seconds else 0
    held = f"{report.entries} entries in {report.blocks} blocks, {report.height} heights, {report.members} members"
    lines += [
        f"  log          {report.origin or 'unknown'}, network {report.network or 'unknown'}, genesis {genesis}",
        f"  leaves       {report.size}: {held}",
        f"  root         {report.root.hex()}",
        f"  published    {_published(report)}",
        f"  certificates {_certified(report)}",
        f"  took         {seconds:.1f} s, {rate} entries/s",
    ]
    lines += [f"  note         {notice}" for notice in report.notices]
    lines += [f"  not checked  {what}" for what in report.unchecked]
    return lines


def _published(report: Report) -> str:
    if report.published_root is None:
        return "nothing that holds"
    names = ", ".join(f"{each.name} ({each.jurisdiction}) {show_time(each.time)}" for each in report.finalized_by)
    return f"size {report.published}, height {report.published_height}, cosigned by {names}"


def _certified(report: Report) -> str:
    if not report.certificates:
        return "none here"
    return f"{report.certificates} hold; final by certificate up to size {report.certified}"
