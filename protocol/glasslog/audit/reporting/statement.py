"""The statement by which an examiner enters a report into the log: the report by digest, and what it came to (G8)."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast

from glasslog.audit.reporting.document import CustodyRule, ReportDocument
from glasslog.predicates.audit_report import AuditReport, RuleResult
from glasslog.predicates.base import Subject
from glasslog.predicates.values import TENSORS, Commitment, Organisation, Resource
from glasslog.statement import Statement

_Ledger: TypeAlias = Literal["intact", "broken", "unable"]
_Signer: TypeAlias = Literal["known", "unknown", "unable"]
_Claims: TypeAlias = Literal["consistent", "inconsistent", "unable"]
_Severity: TypeAlias = Literal["critical", "major", "minor", "note"]
_Result: TypeAlias = Literal["pass", "fail", "not-applicable", "unable"]
_TEXT_MAX, _NAME_MAX = 2_000, 255  # of the predicates' texts and names
_INDICES_MAX, _NOTE_MAX = 20, 300


def make_statement(document: ReportDocument) -> Statement:
    """Return the statement, ready to be submitted by the examiner.

    Raises:
        ValueError: the log has no genesis, or nobody is named as examiner: there is nothing to state.
        DecodeError: PRED-nn or STMT-nn, the report has what no statement may.
    """
    log = document.log
    if log.origin is None or log.genesis is None or not document.examiner.names:
        raise ValueError("a statement needs a log with a genesis, and a named examiner")
    subjects = [Subject("audit report", {"sha256": document.digest})]
    if document.asked.model is not None:
        subjects.append(Subject("model", {TENSORS: bytes.fromhex(document.asked.model)}))
    reply = document.reply
    report = AuditReport(
        question=_cut(document.asked.question, _TEXT_MAX),
        scope=_cut(document.asked.scope, _TEXT_MAX),
        origin=log.origin,
        genesis=_sha256(log.genesis),
        size=log.size,
        root=_sha256(log.root),
        policy=_sha256(document.policy.digest),
        policy_source=_cut(document.policy.source, _TEXT_MAX),
        ledger=cast("_Ledger", document.verdicts.ledger),
        signer=cast("_Signer", document.verdicts.signer),
        claims=cast("_Claims", document.verdicts.claims),
        world="not assessed",
        rules=tuple([_rule(rule) for rule in document.custody_rules if rule.result != "not-applicable"]),
        rule_set=document.rule_set,
        software=Resource(name=document.software.name, digest={"sha256": bytes.fromhex(document.software.digest)}),
        report=Resource(media_type="application/json", digest={"sha256": document.digest}),
        examiner=Organisation(name=_cut(", ".join(document.examiner.names), _NAME_MAX)),
        finished=document.examiner.finished,
        reply=None if reply is None else Resource(digest={"sha256": bytes.fromhex(reply.digest)}),
    )
    return report.statement(*subjects)


def _rule(rule: CustodyRule) -> RuleResult:
    indices = dict.fromkeys(index for one in rule.instances for index in one.indices)
    notes = "; ".join(one.fact for one in rule.instances)
    severity, result = cast("_Severity", rule.severity), cast("_Result", rule.result)
    note = _cut(notes, _NOTE_MAX) if notes else None
    return RuleResult(
        rule=rule.rule, severity=severity, result=result, indices=tuple(indices)[:_INDICES_MAX], note=note
    )


def _sha256(digest: str) -> Commitment:
    return Commitment(digest={"sha256": bytes.fromhex(digest)})


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
