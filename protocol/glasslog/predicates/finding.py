"""What an examination found about whether one artifact comes from another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Decimal, Natural, Organisation, Resource, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How it was examined, so that another can repeat it."""

    name: Text = field(metadata=doc("Name and version, with the paper or specification."))
    program: Resource | None = field(default=None, metadata=doc("The program, by digest."))
    parameters: Text | None = field(default=None, metadata=doc("Its parameters."))


@dataclass(frozen=True, slots=True, kw_only=True)
class NullCalibration:
    """How the statistic comes out where nothing is linked: without it a statistic says nothing."""

    pairs: Natural = field(metadata=doc("How many unlinked pairs it was measured on."))
    described: Text = field(metadata=doc("Which ones."))
    false_positive_rate: Decimal = field(
        metadata=doc("Share of them beyond the threshold, or its upper bound where none was.")
    )
    evidence: Resource | None = field(default=None, metadata=doc("The measurements, by digest."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Predicate):
    """Linked, not linked or inconclusive: an outcome of a test, never a verdict on anybody."""

    NAME: ClassVar[str] = "finding"
    SUBJECTS: ClassVar[str] = "The suspect, by content root or whatever the examiner had of it."
    SHOWS: ClassVar[str] = (
        "That this examiner claims this outcome of this test, and how often the test is wrong where nothing is linked."
    )
    DOES_NOT_SHOW: ClassVar[str] = (
        "Which of the two was first (that is for the log's times), by what right, or who did it."
    )

    suspect: Resource = field(metadata=doc("What was examined."))
    reference: Resource = field(metadata=doc("What it may come from."))
    access: Literal["weights", "logits", "text", "metadata"] = field(
        metadata=doc("What the examiner had of the suspect.")
    )
    method: Method = field(metadata=doc("How."))
    statistic: Decimal = field(metadata=doc("What came out."))
    threshold: Decimal = field(metadata=doc("From where on it counts as linked, fixed beforehand."))
    null_calibration: NullCalibration = field(metadata=doc("How it comes out where nothing is linked."))
    outcome: Literal["linked", "not-linked", "inconclusive"] = field(metadata=doc("The outcome."))
    examiner: Organisation = field(metadata=doc("Who examined."))
    limitations: Text = field(metadata=doc("What the outcome cannot say."))
