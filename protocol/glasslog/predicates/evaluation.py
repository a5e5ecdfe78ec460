"""What an evaluation gave. The members follow in-toto's draft predicate eval-result (in-toto/attestation, PR 575)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.evaluation_bar import Comparator
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Decimal, Flag, Name, Natural, Organisation, Resource, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Predicate):
    """One metric on one data set, and whether the bar was met."""

    NAME: ClassVar[str] = "evaluation"
    SUBJECTS: ClassVar[str] = "The model, by content root."
    SHOWS: ClassVar[str] = (
        "That the author claims this result no later than the checkpoint, and which bar it is held against."
    )
    DOES_NOT_SHOW: ClassVar[str] = (
        "That it was measured so: who has model, data and harness can measure again. Other results may have been "
        "kept back."
    )

    metric: Name = field(metadata=doc("What was measured."))
    value: Decimal = field(metadata=doc("The result."))
    comparator: Comparator | None = field(default=None, metadata=doc("How it is compared with the threshold."))
    threshold: Decimal | None = field(default=None, metadata=doc("With what."))
    passed: Flag | None = field(default=None, metadata=doc("Whether the threshold was met."))
    sample_size: Natural | None = field(default=None, metadata=doc("On how many records."))
    uncertainty: Decimal | None = field(default=None, metadata=doc("Standard error of the result."))
    dataset: Resource = field(metadata=doc("On which data, by records root."))
    harness: Resource = field(metadata=doc("By which program, by digest."))
    seed: Natural | None = field(default=None, metadata=doc("With which seed."))
    bar: Resource | None = field(default=None, metadata=doc("The bar it answers, by the id of its statement."))
    evaluator: Organisation | None = field(default=None, metadata=doc("Who measured, where that is not the author."))
    assurance_level: Literal["self-reported", "reproduced", "independent", "witnessed"] = field(
        metadata=doc("By whom, and how it was made sure.")
    )
    anchors: tuple[Resource, ...] = field(default=(), metadata=doc("Outputs and logs of the run, by digest."))
    measured: Time | None = field(default=None, metadata=doc("When, by the evaluator's clock."))
