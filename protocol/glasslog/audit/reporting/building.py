"""Making the document out of what an audit and the custody rules gave (specs/report.md)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256

from glasslog.audit.claims import RULE_SET, Judgement, Result
from glasslog.audit.claims.verdicts import WORLD
from glasslog.audit.report import Report, Verdict
from glasslog.audit.reporting.document import (
    FORMAT,
    Asked,
    Clock,
    CustodyRule,
    Examiner,
    Finalizer,
    Finding,
    Instance,
    LedgerRule,
    Log,
    NotChecked,
    Reply,
    ReportDocument,
    Seals,
    SigningKey,
    Software,
    Trusted,
    Verdicts,
)
from glasslog.audit.reporting.keys import KEY_VALIDITY, list_keys
from glasslog.audit.reporting.lineage import show_lineage
from glasslog.audit.reporting.summary import list_stated, show_time, summarize
from glasslog.audit.rules import RULES
from glasslog.policy import Policy

INDICES_MAX = 50  # of one instance
NOTICES_MAX = 100
_ARCHIVE_RULES = {"AUDIT-17", "AUDIT-18", "AUDIT-19", "AUDIT-20", "AUDIT-21"}
_CHECKPOINT_RULES = {"AUDIT-13", "AUDIT-14", "AUDIT-15", "AUDIT-16"}
_COMPARING_RULES = {"AUDIT-22", "AUDIT-23"}

_CLOCKS = (
    Clock("no later than (of statements)", "the seal of the height that the statement stands in: proposed by a"
          " validator, and accepted by a quorum of them as later than the height before and at most 10 seconds ahead of"
          " their own clocks (specs/agreement.md, A2)"),
    Clock("finalized", "each validator's own clock, under its own signature"),
    Clock("dates inside statements", "the author's word alone"),
    Clock("examination finished", "the examiner's own clock, which nobody else vouches for"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All of a report that is not in the log. ``policy`` and ``reply`` are the files' bytes, ``model`` a content root.

    ``finished`` is RFC 3339 in UTC. The same order over the same log gives the same document (G2).
    """

    question: str
    scope: str
    policy: bytes
    policy_source: str
    model: bytes | None
    examiners: tuple[str, ...]
    keys: tuple[SigningKey, ...]
    finished: str
    software: Software
    reply: bytes | None


def build_report(judgement: Judgement, order: Order) -> ReportDocument:
    """Return the document. The log has to have been audited under ``order.policy``, and without a node's archive.

    Raises:
        ProofError: POLICY-nn, the policy is none.
        UnicodeDecodeError: the reply is not UTF-8.
    """
    report, claims = judgement.report, judgement.claims
    bft = Policy.parse(order.policy).bft()
    stated, stated_count = list_stated(judgement, order.model)
    rules = tuple([_custody_rule(result) for result in judgement.results])
    lineage = None if order.model is None else show_lineage(claims, order.model)
    reply = None if order.reply is None else Reply(sha256(order.reply).hexdigest(), order.reply.decode())
    verdicts = Verdicts(
        judgement.ledger.value, judgement.signer.value, judgement.consistency.value, WORLD
    )  # fmt: skip
    summary, standing = summarize(judgement, order.model, stated, stated_count)
    return ReportDocument(
        format=FORMAT,
        asked=Asked(order.question, order.scope, None if order.model is None else order.model.hex()),
        examiner=Examiner(order.examiners, order.finished, order.keys),
        summary=summary,
        verdicts=verdicts,
        standing=standing,
        log=_log(judgement),
        policy=Trusted(
            sha256(order.policy).hexdigest(), order.policy_source, len(bft.members), bft.quorum, report.policy_confirms
        ),
        keys=list_keys(claims, bft),
        key_validity=KEY_VALIDITY,
        ledger_rules=_ledger_rules(report),
        findings_count=report.findings.count,
        notices=tuple(report.notices[:NOTICES_MAX]),
        rule_set=RULE_SET,
        custody_rules=rules,
        lineage=lineage,
        seals=_seals(judgement),
        not_checked=_not_checked(judgement),
        clocks=_CLOCKS,
        software=order.software,
        reply=reply,
    )


def _log(judgement: Judgement) -> Log:
    report = judgement.report
    finalizers = tuple(
        [Finalizer(one.name, one.jurisdiction, show_time(1000 * one.time)) for one in report.finalized_by]
    )
    genesis = None if report.genesis_hash is None else report.genesis_hash.hex()
    return Log(
        report.origin, report.network, genesis, report.size, report.root.hex(), report.height, report.entries,
        report.blocks, len(judgement.claims), len(judgement.claims.sealed), report.published, finalizers,
    )  # fmt: skip


def _custody_rule(result: Result) -> CustodyRule:
    value, rule = {outcome.value: count for outcome, count in result.counts.items()}, result.rule
    instances = [Instance(one.outcome.value, one.indices[:INDICES_MAX], one.fact) for one in result.kept]
    return CustodyRule(
        rule.name, rule.severity.value, rule.question.value, result.outcome.value, rule.holds, rule.cites, rule.shows,
        rule.does_not_show, value["pass"], value["fail"], value["unable"], tuple(instances),
    )  # fmt: skip


def _ledger_rules(report: Report) -> tuple[LedgerRule, ...]:
    """Return every rule of the audit: those that were not looked at, or may have unlisted findings, as *unable*."""
    found: dict[str, list[Finding]] = {}
    for one in report.findings.kept:
        found.setdefault(one.rule, []).append(Finding(one.where, one.leaf, one.fact))
    all_listed = report.findings.count == len(report.findings.kept)
    sound = report.verdict is not Verdict.BROKEN  # a reading that went astray was not looked at to its end
    passed_over = _ARCHIVE_RULES | _COMPARING_RULES
    if report.published_root is None:
        passed_over |= _CHECKPOINT_RULES
    rules: list[LedgerRule] = []
    for code, rule in RULES.items():
        if code in found:
            result = "fail"
        elif code in passed_over or not (all_listed and sound):
            result = "unable"
        else:
            result = "pass"
        rules.append(LedgerRule(code, result, rule.holds, rule.sources, tuple(found.get(code, ()))))
    return tuple(rules)


def _seals(judgement: Judgement) -> tuple[Seals, ...]:
    claims = judgement.claims
    shut: Counter[str] = Counter()
    first: dict[str, int] = {}
    for (author, commitment), index in claims.sealed.items():
        if (author, commitment) not in claims.opened:
            shut[author] += 1
            first.setdefault(author, index)
    members = () if claims.membership is None else claims.membership.members
    places = {member.name: member.jurisdiction for member in members}
    return tuple([Seals(author, places.get(author, ""), shut[author], first[author]) for author in sorted(shut)])


def _not_checked(judgement: Judgement) -> tuple[NotChecked, ...]:
    report = judgement.report
    out = [
        NotChecked("whether any statement is true of the world", "nothing in a log can show it"),
        NotChecked("whether anybody was shown another history of this log", "it was compared with no other replica"),
        NotChecked(
            "votes, certificates and proposals by which validators agreed",
            "a report is made from the published log alone, so that anybody can make it again from it",
        ),
        NotChecked("signatures inside third parties' own statements", "whose keys these are is not this log's to say"),
        NotChecked("what originals say that statements name by digest", "they are kept outside the log"),
    ]
    if judgement.claims.sealed:
        out.append(NotChecked("what sealed entries say that nobody opened", "their authors keep that to themselves"))
    if judgement.claims.others:
        fact = f"{judgement.claims.others} statements of types that these rules do not know"
        out.append(NotChecked(fact, "they are in the log, and no custody rule is about them"))
    covered = ("certificates and proposals", "signatures inside third parties")
    out += [NotChecked(one, "the audit could not") for one in report.unchecked if not one.startswith(covered)]
    return tuple(out)
