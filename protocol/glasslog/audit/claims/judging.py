"""Running every custody rule over an audited ledger."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from glasslog.audit.claims import rules
from glasslog.audit.claims.ledger import Claims
from glasslog.audit.claims.rule import CUSTODY_RULES, Case, Result, Severity
from glasslog.audit.claims.verdicts import Judgement
from glasslog.audit.report import Report

_ORDER = {severity: place for place, severity in enumerate(Severity)}
assert rules.__all__, "importing them enters them"


def judge_claims(claims: Claims, report: Report, *, within: AbstractSet[int] | None = None) -> Judgement:
    """Run all rules and return the verdicts they make, with what each rule gave.

    ``within`` are log indices: of places that rest on leaves, only those that rest on one of these count.
    """
    case = Case(claims, report)
    results: list[Result] = []
    for rule in sorted(CUSTODY_RULES.values(), key=lambda one: _ORDER[one.severity]):
        result = Result(rule)
        for judged in rule.judge(case):
            if within is None or not judged.indices or not within.isdisjoint(judged.indices):
                result.add(judged)
        results.append(result)
    return Judgement(report, claims, tuple(results))
