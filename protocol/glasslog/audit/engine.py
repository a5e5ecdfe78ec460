"""The audit: everything derived again from leaves and signatures, trusting a policy and nothing else (T8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Protocol

from glasslog.agreement.evidence import decode_evidence, verify_evidence
from glasslog.audit.comparison import Comparison, Side, compare
from glasslog.audit.finality import Finality
from glasslog.audit.published import Published
from glasslog.audit.report import Conviction, Report
from glasslog.audit.source import Archive, Run, Source
from glasslog.audit.tree import Tree
from glasslog.audit.walk import EVIDENCE_MAX, ClosedHeight, TrackLostError, Walk
from glasslog.entry import Genesis, StatementEntry, decode_leaf
from glasslog.errors import ProtocolError
from glasslog.identity import verify_ed25519
from glasslog.membership import Membership
from glasslog.predicates.evidence import EVIDENCE_TYPE, read_evidence
from glasslog.statement import decode_statement

if TYPE_CHECKING:
    from glasslog.policy import Policy


class Listener(Protocol):
    """Who is told of what an audit reads, as it reads it: runs of leaves that are framed, and heights."""

    def founded(self, genesis: Genesis, membership: Membership) -> None:
        """Take the members, once."""

    def feed(self, run: Run) -> None:
        """Take the next leaves, after the audit."""

    def close_height(self, closed: ClosedHeight) -> None:
        """Take the end of a height."""


def audit(
    source: Source,
    policy: Policy | None = None,
    *,
    listener: Listener | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Audit one moment of a replica; ``progress`` is told how many leaves are done, after every run.

    What the replica states is reported, never raised. Raises what ``source`` raises where it cannot be read, and

    Raises:
        ProofError: POLICY-10 or POLICY-11, the policy is not of the shape that glasslog writes.
    """
    if policy is not None:
        policy.bft()
    report = Report(source.label)
    tree = Tree(source, report.findings)
    walk = Walk(tree, report.findings)
    published = Published(source.checkpoint(), policy, tree, report)
    walk.subscribe(published.founded, published.height)
    archive = source.archive()
    finality = None if archive is None else Finality(archive, report)
    if finality is not None:
        walk.subscribe(finality.founded, finality.height)
    if listener is not None:
        walk.subscribe(listener.founded, listener.close_height)
    try:
        for run in source.runs():
            walk.feed(run)
            if listener is not None:
                listener.feed(run)
            if progress is not None:
                progress(walk.index)
        walk.finish(source.size)
    except TrackLostError:
        report.unchecked.append(f"what follows leaf {walk.index}: the leaves can no longer be told apart")
    else:
        tree.finish()
        published.finish(walk.index)
        if finality is not None:
            finality.finish()
    if archive is not None and walk.membership is not None:
        _compare_tips(archive, walk, report)
    _fill(report, walk, tree)
    _say_unchecked(report, published, policy, finality)
    return report


def audit_against(report: Report, source: Source, others: Sequence[Side], policy: Policy) -> None:
    """Compare an audited replica, and the others among themselves, and add to its report what that comes to.

    Whose signatures count is the policy's word alone: the members that a replica names may be made up.
    """
    bft = policy.bft()
    sides = [Side(source.label, source.checkpoint(), source), *others]
    logs = [side.source for side in sides if side.source is not None]
    for first, second in combinations(sides, 2):
        comparison = compare(first, second, bft, logs)
        report.comparisons.append(comparison)
        where = second.label if first is sides[0] else f"{first.label} and {second.label}"
        if comparison.is_fork:
            report.findings.add("AUDIT-22", where, comparison.fact, comparison.differing_leaf)
        for fact in comparison.votes.contradictions:
            report.findings.add("AUDIT-23", where, fact)
        _note_comparison(report, where, comparison)


def _note_comparison(report: Report, where: str, comparison: Comparison) -> None:
    say, leaf = report.notices.append, comparison.differing_leaf
    if leaf is not None:
        say(f"{where}: the two replicas differ from leaf {leaf} on")
    for name in sorted(comparison.votes.unvouched):
        say(f"{where}: a vote key under the name of {name} signed both, which {name} itself never vouched for")


def _fill(report: Report, walk: Walk, tree: Tree) -> None:
    genesis, membership = walk.genesis, walk.membership
    if genesis is not None and membership is not None:
        report.network, report.origin = genesis.network, genesis.origin
        report.genesis_hash, report.members = membership.genesis_hash, len(membership.members)
        _judge_entered_evidence(report, walk, membership)
    report.size, report.root, report.height = tree.edge.size, tree.edge.root(), walk.height
    report.blocks, report.entries = walk.blocks, walk.entries


def _judge_entered_evidence(report: Report, walk: Walk, membership: Membership) -> None:
    """Say what the ledger's evidence comes to. A false accusation is a statement like any other: it breaks nothing."""
    for index, leaf in walk.evidence:
        try:
            entry = decode_leaf(leaf)
            if not isinstance(entry, StatementEntry):
                continue
            statement = decode_statement(entry.statement)
            if statement["predicateType"] != EVIDENCE_TYPE:
                continue
            evidence = decode_evidence(read_evidence(statement))
            verify_evidence(evidence, membership, verify_ed25519)
        except ProtocolError as error:
            report.notices.append(f"leaf {index}: entered as evidence, but convicts nobody: {error}")
        else:
            report.convicted.append(Conviction(index, evidence.accused, evidence.fault.value))
            report.notices.append(f"leaf {index}: evidence convicts {evidence.accused} of {evidence.fault.value}")
    if walk.evidence_left:
        fact = f"{walk.evidence_left} more evidence entries were not judged: {EVIDENCE_MAX} of each author are"
        report.notices.append(fact)


def _compare_tips(archive: Archive, walk: Walk, report: Report) -> None:
    stated = dict(archive.tips())
    for author in sorted(stated.keys() | walk.frontier.keys()):
        if stated.get(author) != walk.frontier.get(author):
            report.findings.add("AUDIT-21", f"tip of {author}", "it is not where the author's chain ends")


def _say_unchecked(report: Report, published: Published, policy: Policy | None, finality: Finality | None) -> None:
    say = report.unchecked.append
    if policy is None:
        say("whose log this is: no policy was given")
    elif published.checkpoint is None:
        say("whose log this is: no checkpoint is published here that the policy could confirm")
    if finality is None:
        say("certificates and proposals: this is the log alone, without a node's archive")
    final = max(report.published, report.certified)
    if report.size > report.published:
        word = "certificate" if report.certified > report.published else "nothing yet"
        count = report.size - report.published
        report.notices.append(f"{count} leaves from {report.published} on are not yet published (final by {word})")
    if finality is not None and report.size > max(final, 1 + report.members):
        report.notices.append(f"leaves from {final} on are shown final by neither certificate nor checkpoint")
    say("signatures inside third parties' statements, and the tables that a node finds its own leaves by")
