"""``glasslog audit``: a replica derived again from its leaves and signatures."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasslog.audit import Listener, Report, Source, Verdict, audit, audit_against
from glasslog.audit.claims import Claims, judge_claims
from glasslog.audit.since import Since, Together
from glasslog.bundle import read_policy
from glasslog.checkpoint import Checkpoint
from glasslog.errors import ProtocolError
from glasslog.note import Note
from glasslog.policy import NEXT_STEPS, POLICY_BYTES_MAX, Policy
from glasslog_node.cli.claims import describe_judgement
from glasslog_node.cli.conflict import describe_comparisons, write_evidence
from glasslog_node.cli.output import EXIT_UNABLE, print_error, print_json, print_line
from glasslog_node.cli.verify import read_file, show_time
from glasslog_node.errors import ConfigError, OperatingError
from glasslog_node.sources import open_side, open_source

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
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH|URL|FILE", help="Another replica, mirror, checkpoint, bundle or proof to compare with."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="OLD", help="An earlier note, bundle or copy, which this log has to go on from."),
    ] = None,
    evidence_out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write what convicts, if two histories were signed.")
    ] = None,
    claims: Annotated[
        bool, typer.Option("--claims/--ledger-only", help="Judge too whether the statements fit one another.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Re-derive a replica, and compare it with others. Status: 0 intact, 1 broken, 2 unreadable, 3 cannot be said.

    The status is that of the ledger alone: whether its statements fit one another is a verdict of its own.
    """
    stated = Claims() if claims else None
    try:
        news = None if since is None else Since(_read_size(since))
        listeners = [one for one in (stated, news) if one is not None]
        others = [*(against or ()), *([] if since is None else [since])]
        report, seconds = run_audit(target, policy, others, Together(listeners))
        written = [] if evidence_out is None else write_evidence(report.comparisons, evidence_out)
    except OperatingError as error:
        if json:
            print_json(_unable(target, error))
        else:
            print_error(str(error))
        raise typer.Exit(EXIT_UNABLE) from error
    judgement = None if stated is None else judge_claims(stated, report)
    if json:
        judged: dict[str, object] = {} if judgement is None else {"judgement": judgement.to_value()}
        judged |= {} if news is None else {"since": news.to_value()}
        files = {} if evidence_out is None else {"evidence_files": [str(path) for path in written]}
        print_json({**report.to_value(), **judged, **files, "seconds": round(seconds, 3)})
    else:
        for line in describe(report, seconds):
            print_line(line)
        if news is not None:
            print_line(_describe_news(news, report))
        if judgement is not None:
            for line in describe_judgement(judgement):
                print_line(line)
        for path in written:
            print_line(f"  evidence     {path}")
    raise typer.Exit(report.status)


def run_audit(
    target: str, policy: Path | None, against: Sequence[str] = (), listener: Listener | None = None
) -> tuple[Report, float]:
    """Audit what *target* names, and compare it with others; return the report and the seconds it took.

    ``listener`` is told of what the audit reads. Progress goes to standard error.

    Raises:
        OperatingError: a replica or the policy cannot be read; VERIFY-02, a comparison without a policy;
            VERIFY-04, with itself.
    """
    if against and policy is None:
        fact = "--against and --since need --policy: the names that a replica gives to keys may be made up"
        raise ConfigError("VERIFY-02", fact, "name the policy whose signatures you trust")
    places = [name if "://" in name else str(Path(name).resolve()) for name in (target, *against)]
    if len(set(places)) < len(places):
        raise ConfigError("VERIFY-04", "one replica is named twice", "name another replica after --against")
    trusted = None if policy is None else load_policy(policy)
    start = time.monotonic()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(target))
        others = [stack.enter_context(open_side(other)) for other in against]
        with _progress(source) as progress:
            report = audit(source, trusted, listener=listener, progress=progress)
        if trusted is not None and others:
            audit_against(report, source, others, trusted)
    return report, time.monotonic() - start


def _read_size(old: str) -> int:
    with open_side(old) as side:
        try:
            return 0 if side.note is None else Checkpoint.parse(Note.parse(side.note).text).size
        except ProtocolError as error:
            fact = f"{old} has no checkpoint that can be read: {error}"
            raise ConfigError("SOURCE-04", fact, "name a note, a bundle or an earlier copy of the log") from error


def _describe_news(news: Since, report: Report) -> str:
    if news.size > report.size:
        return f"  since        size {news.size}: this log ends before it, at size {report.size}"
    new = ", ".join(f"{count} of {author}" for author, count in sorted(news.entries.items()))
    return f"  since        size {news.size}: {news.heights} heights, {new or 'no entry'}"


def load_policy(path: Path) -> Policy:
    """Return the policy in a file.

    Raises:
        ConfigError: VERIFY-01, or POLICY-nn: it cannot be read.
    """
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
    headline = _HEADLINES[report.status]
    if report.verdict is Verdict.UNABLE and report.policy_confirms:
        headline = "UNABLE to say whether this is the only history: a comparison came to nothing"
    lines = [f"{headline}  {report.label}", report.sentence]
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
    lines += describe_comparisons(report.comparisons)
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
