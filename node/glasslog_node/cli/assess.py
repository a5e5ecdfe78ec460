"""``glasslog assess``: one model: what it comes from, which rules hold, what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glasslog.audit.claims import PROFILES, Assessment, Claims, assess
from glasslog.audit.claims.ledger import day_of
from glasslog.predicates.values import TENSORS
from glasslog_node.cli.audit import run_audit
from glasslog_node.cli.claims import describe_judgement, show_leaves
from glasslog_node.cli.find import LOG_HELP, POLICY_HELP
from glasslog_node.cli.output import print_json, print_line
from glasslog_node.cli.sought import read_model
from glasslog_node.errors import ConfigError
from glasslog_node.lineage.text import draw_text

_MARKS = {True: "stated", False: "MISSING", None: "not asked"}


def command(
    model: Annotated[str, typer.Argument(help="Weights, or a model's content root in hexadecimal.")],
    log: Annotated[str, typer.Option("--in", metavar="PATH|URL", help=LOG_HELP)],
    policy: Annotated[Path | None, typer.Option(help=POLICY_HELP)] = None,
    at: Annotated[int | None, typer.Option(metavar="SIZE", help="As of this size of the log; left out: now.")] = None,
    profile: Annotated[str | None, typer.Option(help=f"What the law asks for: {', '.join(PROFILES)}.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Assess one model. Status: 0 nothing missing or contradicting, 1 a contradiction, 2 unreadable, 3 gaps."""
    if profile is not None and profile not in PROFILES:
        raise ConfigError("ASSESS-01", f"there is no profile {profile}", f"name one of {', '.join(PROFILES)}")
    root = read_model(model)
    claims = Claims(at)
    report, _ = run_audit(log, policy, (), claims)
    require_size(claims, at)
    assessment = assess(claims, report, root, PROFILES.get(profile or "", ()))
    if json:
        print_json(assessment.to_value())
    else:
        for line in describe(assessment):
            print_line(line)
    raise typer.Exit(assessment.status)


def require_size(claims: Claims, at: int | None) -> None:
    """Require that what was asked for as of a size is of a height's end: checkpoints are of no other.

    Raises:
        ConfigError: ASSESS-02, no height ends there.
    """
    if at is not None and claims.size != at:
        near = f"the last one before it ends at {claims.size}" if claims.size else "none ends before it"
        raise ConfigError("ASSESS-02", f"no height ends at size {at}: {near}", "give a size that a checkpoint has")


def describe(assessment: Assessment) -> list[str]:
    """Return the assessment for people."""
    lines = [f"model  {TENSORS} {assessment.root.hex()}"]
    lines.append(f"as of  size {assessment.size}, {day_of(assessment.now)}")
    if not assessment.known:
        lines.append(
            "Nothing in this log is about these tensors. That says nothing of them: another root is another model."
        )
        return lines
    lines += ["lineage", *(f"  {line}" for line in draw_text(assessment.lineage))]
    lines += [f"  missing: {fact}" for fact, _ in assessment.lineage.missing]
    if assessment.answers:
        lines.append("documentation that the law asks for, as far as it is stated here")
        for requirement, answer in assessment.answers:
            note = f": {answer.note}" if answer.note else ""
            mark, leaves = _MARKS[answer.stated], show_leaves(answer.indices)
            lines.append(f"  {mark:<9} {requirement.name}: {requirement.asks} [{requirement.cites}]{note}{leaves}")
    return [*lines, *describe_judgement(assessment.judgement)]
