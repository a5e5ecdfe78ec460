"""``glasslog find``: everything that a log says about a file or a digest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glasslog.audit import Report, Verdict
from glasslog.audit.claims import Hit, Search, standing_sentence
from glasslog_node.cli.audit import run_audit
from glasslog_node.cli.output import print_json, print_line
from glasslog_node.cli.sought import Digests, read_sought
from glasslog_node.cli.verify import show_time

_SHOWN = 200  # on a terminal; JSON has up to ten thousand
POLICY_HELP = "The policy: whose signatures you trust."
LOG_HELP = "A replica's folder, a folder of tiles, a URL."


def command(
    sought: Annotated[str, typer.Argument(metavar="FILE|DIGEST", help="Weights, or a digest: [ALGORITHM:]HEX.")],
    log: Annotated[str, typer.Option("--in", metavar="PATH|URL", help=LOG_HELP)],
    policy: Annotated[Path | None, typer.Option(help=POLICY_HELP)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Search every leaf of a log for what it says about a file or a digest, while it is audited.

    Status: 0 found, 1 the log is broken, 2 unreadable, 3 found, but whose log it is cannot be said, 4 not found.
    """
    digests = read_sought(sought)
    search = Search(digests.values())
    report, _ = run_audit(log, policy, (), search)
    status = 4 if not search.count and report.verdict is Verdict.INTACT else report.status
    if json:
        print_json(_to_value(digests, search, report, status))
    else:
        for line in _describe(digests, search, report):
            print_line(line)
    raise typer.Exit(status)


def describe_completeness(search: Search, report: Report) -> str:
    """Return whether a search saw all there is, in a sentence."""
    if report.verdict is Verdict.BROKEN:
        return "incomplete: this replica is broken, and nothing follows from what is not found in it"
    whole = f"complete up to size {report.size}: every leaf was searched"
    if report.verdict is Verdict.UNABLE:
        whole += ", in a log whose origin nothing confirms"
    if search.sealed:
        entries = "1 sealed entry" if search.sealed == 1 else f"{search.sealed} sealed entries"
        whole += f"; what is in {entries} cannot be searched"
    return f"{whole}. What other logs say, or this one later, is not in it"


def _to_value(digests: Digests, search: Search, report: Report, status: int) -> dict[str, object]:
    return {
        "sought": {name: digest.hex() for name, digest in digests.items()},
        "status": status,
        "ledger": report.verdict.value,
        "origin": report.origin,
        "size": report.size,
        "published": report.published,
        "root": report.root.hex(),
        "complete": report.verdict is not Verdict.BROKEN,
        "completeness": describe_completeness(search, report),
        "sealed_entries": search.sealed,
        "count": search.count,
        "found": [
            {
                "index": hit.index,
                "author": hit.author,
                "type": hit.kind,
                "subject": hit.subject,
                "digest": hit.digest.hex(),
                "statement": hit.id.hex(),
                "no_later_than": _time(hit),
                "sentence": _sentence(hit, report),
            }
            for hit in search.hits
        ],
    }


def _describe(digests: Digests, search: Search, report: Report) -> list[str]:
    lines = [f"sought {name:<18} {digest.hex()}" for name, digest in digests.items()]
    count = "1 statement" if search.count == 1 else f"{search.count} statements"
    lines.append(f"found  {count} in {report.origin or 'a log without origin'}, ledger {report.verdict.value}")
    for hit in search.hits[:_SHOWN]:
        about = f"about {hit.subject}" if hit.subject is not None else "refers to it"
        lines.append(f"  leaf {hit.index}  {_time(hit) or 'in no closed height'}  {hit.author}  {hit.kind}  {about}")
    if search.count > _SHOWN:
        lines.append(f"  and {search.count - _SHOWN} more: --json lists up to ten thousand")
    if search.hits:
        lines.append(_sentence(search.hits[0], report))
    return [*lines, describe_completeness(search, report)]


def _time(hit: Hit) -> str | None:
    return show_time(hit.time // 1000) if hit.time else None


def _sentence(hit: Hit, report: Report) -> str:
    if hit.index >= report.published:
        return f"Leaf {hit.index} is not yet under a published checkpoint: nothing is shown of it."
    said = f"statement {hit.id.hex()[:16]} (leaf {hit.index})"
    time = _time(hit) or "an unknown time"
    return standing_sentence(report, size=report.published, author=hit.author, said=said, time=time)
