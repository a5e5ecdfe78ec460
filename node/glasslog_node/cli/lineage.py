"""``glasslog lineage``: what a model comes from, as text, as a drawing, or for other tools."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from glasslog.audit import Report, Verdict
from glasslog.audit.claims import Claims, Lineage, trace
from glasslog_node.cli.assess import require_size
from glasslog_node.cli.audit import run_audit
from glasslog_node.cli.find import LOG_HELP, POLICY_HELP
from glasslog_node.cli.output import print_error, printable
from glasslog_node.cli.sought import read_model
from glasslog_node.errors import ConfigError
from glasslog_node.lineage.text import draw_text


class Format(Enum):
    """What a lineage is written as."""

    TEXT = "text"
    SVG = "svg"
    PROV_JSON = "prov-json"
    JSON = "json"


def command(
    model: Annotated[str, typer.Argument(help="Weights, or a model's content root in hexadecimal.")],
    log: Annotated[str, typer.Option("--in", metavar="PATH|URL", help=LOG_HELP)],
    policy: Annotated[Path | None, typer.Option(help=POLICY_HELP)] = None,
    at: Annotated[int | None, typer.Option(metavar="SIZE", help="As of this size of the log; left out: now.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TEXT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; left out: standard output.")] = None,
) -> None:
    """Show what a model comes from, as far as the log says. Status: the audit's; 4 where nothing is about it."""
    root = read_model(model)
    claims = Claims(at)
    report, _ = run_audit(log, policy, (), claims)
    require_size(claims, at)
    lineage = trace(claims, root)
    _write(_render(form, lineage, report, claims), output)
    if report.verdict is not Verdict.INTACT:
        print_error(f"the ledger is {report.verdict.value}: {report.sentence}")
    raise typer.Exit(4 if not lineage.indices and report.status == 0 else report.status)


def _render(form: Format, lineage: Lineage, report: Report, claims: Claims) -> str:
    match form:
        case Format.JSON:
            facts = {"origin": report.origin, "size": claims.size, "ledger": report.verdict.value}
            return json.dumps({**facts, **lineage.to_value()}) + "\n"
        case Format.SVG:
            from glasslog_node.lineage.svg import draw_svg

            return draw_svg(lineage)
        case Format.PROV_JSON:
            from glasslog_node.lineage.prov_json import write_prov_json

            return write_prov_json(lineage, origin=report.origin or "", size=claims.size)
        case Format.TEXT:
            lines = [*draw_text(lineage), *(f"missing: {fact}" for fact, _ in lineage.missing)]
            return "".join(f"{printable(line)}\n" for line in lines)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as e:
        fact = f"{output} cannot be written: {(e.strerror or str(e)).lower()}"
        raise ConfigError("LINEAGE-01", fact, "name another file with -o") from e
