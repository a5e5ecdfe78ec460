"""What an audit of the log came to: the question, what was looked at, and the four verdicts, never merged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Commitment, Count, Name, Organisation, Resource, Text, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """One rule, and what it gave."""

    rule: Name = field(metadata=doc("Name of the rule."))
    severity: Literal["critical", "major", "minor", "note"] = field(metadata=doc("How much it weighs."))
    result: Literal["pass", "fail", "not-applicable", "unable"] = field(metadata=doc("What it gave."))
    indices: tuple[Count, ...] = field(default=(), metadata=doc("Log indices of what it rests on."))
    note: Text | None = field(default=None, metadata=doc("In words."))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport(Predicate):
    """The report itself is kept by digest; here stands what others need to find and repeat it."""

    NAME: ClassVar[str] = "audit-report"
    SUBJECTS: ClassVar[str] = "The report, by sha256, and what was audited."
    SHOWS: ClassVar[str] = (
        "That the examiner came to this, with this software, over this log at this size. Anybody can repeat it."
    )
    DOES_NOT_SHOW: ClassVar[str] = "Whether any statement in the log is true of the world: that is not assessed."

    question: Text = field(metadata=doc("What was asked."))
    scope: Text = field(metadata=doc("What was looked at, and what was not."))
    origin: Name = field(metadata=doc("The log's origin."))
    genesis: Commitment = field(metadata=doc("sha256 of the genesis leaf."))
    size: Count = field(metadata=doc("Size of the log."))
    root: Commitment = field(metadata=doc("sha256: its root at that size."))
    policy: Commitment = field(metadata=doc("sha256 of the policy file."))
    policy_source: Text = field(metadata=doc("How the policy was obtained."))
    ledger: Literal["intact", "broken", "unable"] = field(
        metadata=doc("First verdict: leaves, tree, signatures, chains.")
    )
    signer: Literal["known", "unknown", "unable"] = field(
        metadata=doc("Second: whether the keys are those of who they should be.")
    )
    claims: Literal["consistent", "inconsistent", "unable"] = field(
        metadata=doc("Third: whether statements fit one another.")
    )
    world: Literal["not assessed"] = field(metadata=doc("Fourth, always the same."))
    rules: tuple[RuleResult, ...] = field(
        default=(), metadata=doc("Rule by rule, as far as it fits; all of it is in the report.")
    )
    rule_set: Name = field(metadata=doc("Version of the rules."))
    software: Resource = field(metadata=doc("What it was done with, by digest."))
    report: Resource = field(metadata=doc("The report, by digest."))
    examiner: Organisation = field(metadata=doc("Who."))
    finished: Time = field(metadata=doc("When, by the examiner's clock."))
    reply: Resource | None = field(default=None, metadata=doc("What the other side says to it, by digest."))
