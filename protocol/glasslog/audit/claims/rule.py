"""The rule engine: what a custody rule is, what it may give, and what it gave (specs/claims.md, Q1 and Q3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from glasslog.audit.claims.ledger import Claims
    from glasslog.audit.report import Report

KEPT_MAX = 100  # instances of one rule that are listed; all are counted
RULE_SET = "glasslog-custody/1"


class Severity(Enum):
    """How much a failure weighs. Only *critical* and *major* ones make claims inconsistent."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    NOTE = "note"

    @property
    def weighs(self) -> bool:
        """Whether a failure counts for the verdict."""
        return self in (Severity.CRITICAL, Severity.MAJOR)


class Outcome(Enum):
    """What a rule gave. *unable*: what would decide it is sealed, missing or not of this ledger."""

    PASS = "pass"  # noqa: S105 - a result, not a secret
    FAIL = "fail"
    UNABLE = "unable"
    NOT_APPLICABLE = "not-applicable"


class Question(Enum):
    """Which of the verdicts a rule belongs to."""

    LEDGER = "ledger"
    SIGNER = "signer"
    CLAIMS = "claims"


@dataclass(frozen=True, slots=True)
class Judged:
    """One thing that a rule looked at: what came out, the log indices it rests on, and in words why."""

    outcome: Outcome
    indices: tuple[int, ...] = ()
    fact: str = ""


def passed(*indices: int) -> Judged:
    """Return that the rule holds here."""
    return Judged(Outcome.PASS, indices)


def failed(fact: str, *indices: int) -> Judged:
    """Return that the rule does not hold here."""
    return Judged(Outcome.FAIL, indices, fact)


def unable(fact: str, *indices: int) -> Judged:
    """Return that it cannot be said here."""
    return Judged(Outcome.UNABLE, indices, fact)


@dataclass(frozen=True, slots=True)
class Case:
    """What rules judge: the ledger's claims, and what the audit of the ledger came to."""

    claims: Claims
    report: Report


Judge: TypeAlias = Callable[[Case], Iterator[Judged]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A custody rule. ``shows`` and ``does_not_show`` are of a failure, in words that stand in reports."""

    name: str
    severity: Severity
    question: Question
    holds: str
    cites: str
    shows: str
    does_not_show: str
    judge: Judge


@dataclass(slots=True)
class Result:
    """What one rule gave over a ledger. ``counts`` has every instance, ``kept`` the first that did not pass."""

    rule: Rule
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    kept: list[Judged] = field(default_factory=list[Judged])

    @property
    def outcome(self) -> Outcome:
        """The worst of its instances, or that there was none."""
        for outcome in (Outcome.FAIL, Outcome.UNABLE, Outcome.PASS):
            if self.counts[outcome]:
                return outcome
        return Outcome.NOT_APPLICABLE

    def add(self, judged: Judged) -> None:
        """Take one instance; failures push out what could not be said, so that no flood of the latter hides one."""
        self.counts[judged.outcome] += 1
        if judged.outcome is Outcome.PASS:
            return
        if len(self.kept) < KEPT_MAX:
            self.kept.append(judged)
        elif judged.outcome is Outcome.FAIL:
            for place, one in enumerate(self.kept):
                if one.outcome is Outcome.UNABLE:
                    self.kept[place] = judged
                    return

    def to_value(self) -> dict[str, object]:
        """Return the JSON object of a report."""
        rule = self.rule
        return {
            "rule": rule.name,
            "severity": rule.severity.value,
            "question": rule.question.value,
            "result": self.outcome.value,
            "must_hold": rule.holds,
            "cites": rule.cites,
            "shows": rule.shows,
            "does_not_show": rule.does_not_show,
            "counts": {one.value: self.counts[one] for one in (Outcome.PASS, Outcome.FAIL, Outcome.UNABLE)},
            "instances": [
                {"result": one.outcome.value, "indices": list(one.indices), "fact": one.fact} for one in self.kept
            ],
        }


CUSTODY_RULES: dict[str, Rule] = {}
"""Every rule by name, in the order of their modules."""


def rule(
    name: str,
    severity: Severity,
    *,
    holds: str,
    cites: str,
    shows: str,
    does_not_show: str,
    question: Question = Question.CLAIMS,
) -> Callable[[Judge], Judge]:
    """Enter a judge as a custody rule."""

    def enter(judge: Judge) -> Judge:
        assert name not in CUSTODY_RULES, "a rule has one name"
        CUSTODY_RULES[name] = Rule(name, severity, question, holds, cites, shows, does_not_show, judge)
        return judge

    return enter
