"""``glasslog compare``: replicas, mirrors and checkpoints of one log beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Annotated

import typer

from glasslog.audit import Comparison, Relation
from glasslog.audit.comparison import collect_culprits, compare
from glasslog_node.cli.audit import load_policy
from glasslog_node.cli.conflict import describe_comparisons, write_evidence
from glasslog_node.cli.output import print_json, print_line
from glasslog_node.errors import ConfigError
from glasslog_node.sources import open_side

_HEADLINES = {
    0: "ONE HISTORY, as far as these show: whoever was shown something else is not among them",
    1: "FORK: quorums signed what no one history holds; rely on neither until it is known which stands",
    3: "UNDECIDED: what would decide it is not here",
}


def command(
    sides: Annotated[
        list[str], typer.Argument(metavar="A B ...", help="Replicas, tiles, URLs, notes, bundles or proofs of one log.")
    ],
    policy: Annotated[Path, typer.Option(help="The policy: only its names and keys count.")],
    evidence_out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write what convicts, if two histories were signed.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say whether two or more are the same, one the beginning of the other, or a fork, and who signed both.

    Nothing is audited: two signed checkpoints are enough to convict. Status: 0 one history, 1 a fork, 2 unreadable,
    3 undecided.
    """
    comparisons = run_comparison(sides, policy)
    status = judge(comparisons)
    written = [] if evidence_out is None else write_evidence(comparisons, evidence_out)
    if json:
        print_json(
            {
                "status": status,
                "comparisons": [one.to_value() for one in comparisons],
                "culprits": [one.to_value() for one in collect_culprits(comparisons)],
                "evidence_files": [str(path) for path in written],
            }
        )
    else:
        for line in describe(comparisons, status):
            print_line(line)
        for path in written:
            print_line(f"  evidence     {path}")
    raise typer.Exit(status)


def run_comparison(sides: Sequence[str], policy: Path) -> list[Comparison]:
    """Compare each pair.

    Raises:
        OperatingError: a side or the policy cannot be read; COMPARE-01 fewer than two sides; VERIFY-04 one twice.
    """
    if len(sides) < 2:
        raise ConfigError("COMPARE-01", "one side alone is compared with nothing", "name two or more")
    places = [name if "://" in name else str(Path(name).resolve()) for name in sides]
    if len(set(places)) < len(places):
        raise ConfigError("VERIFY-04", "one replica is named twice", "name each once")
    bft = load_policy(policy).bft()
    with ExitStack() as stack:
        opened = [stack.enter_context(open_side(side)) for side in sides]
        logs = [side.source for side in opened if side.source is not None]
        return [compare(first, second, bft, logs) for first, second in combinations(opened, 2)]


def judge(comparisons: Sequence[Comparison]) -> int:
    """Return the exit status: a fork outweighs what is undecided, that outweighs one history."""
    if any(one.contradicts for one in comparisons):
        return 1
    return 3 if any(one.undecided for one in comparisons) else 0


def describe(comparisons: Sequence[Comparison], status: int) -> list[str]:
    """Return the comparisons for people."""
    lines = [_HEADLINES[status], *describe_comparisons(comparisons)]
    for one in comparisons:
        if one.differing_leaf is not None:
            lines.append(f"  differ       {one.first.label} and {one.second.label}: from leaf {one.differing_leaf} on")
        if one.undecided and one.relation is Relation.UNDECIDED and one.first.source is one.second.source is None:
            lines.append("  missing      with either log, or checkpoints of one size, it can be decided")
    return lines
