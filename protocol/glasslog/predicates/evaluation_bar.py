"""A bar that is set before the result is known: what will be measured, how, and what counts as passed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Commitment, Date, Decimal, Name, Natural, Resource, Text

Comparator: TypeAlias = Literal["lt", "lte", "gt", "gte", "eq"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBar:
    """A bar whose content is a secret for now. That it is a bar is not, and it has to be opened."""

    commitment: Commitment = field(metadata=doc("The sealed entry that holds the bar (glasslogSealedV1)."))
    open_by: Date = field(metadata=doc("From this day on an unopened bar counts against its author."))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationBar(Predicate):
    """Either all of the bar, or its seal."""

    NAME: ClassVar[str] = "evaluation-bar"
    SUBJECTS: ClassVar[str] = (
        "The model or the run that will be evaluated; where there is neither yet, the bar by its own name and digest."
    )
    SHOWS: ClassVar[str] = (
        "That the bar stood no later than the checkpoint: a result that is logged after it was not known to decide it."
    )
    DOES_NOT_SHOW: ClassVar[str] = (
        "That nobody had measured before, or that no other bar was set and kept back: unopened seals are counted."
    )

    metric: Name | None = field(default=None, metadata=doc("What is measured."))
    comparator: Comparator | None = field(default=None, metadata=doc("How the result is compared with the threshold."))
    threshold: Decimal | None = field(default=None, metadata=doc("With what."))
    dataset: Resource | None = field(default=None, metadata=doc("On which data, by records root."))
    seed: Natural | None = field(default=None, metadata=doc("With which seed."))
    harness: Resource | None = field(default=None, metadata=doc("By which program, by digest."))
    sample_size: Natural | None = field(default=None, metadata=doc("On how many records."))
    due: Date | None = field(default=None, metadata=doc("By which day a result has to be there."))
    note: Text | None = field(default=None, metadata=doc("What else was decided beforehand."))
    sealed: SealedBar | None = field(default=None, metadata=doc("Instead of all others: the seal."))

    def __post_init__(self) -> None:
        """Require the bar or its seal, and not both.

        Raises:
            ValueError: something is missing, or is there beside the seal.
        """
        needed = (self.metric, self.comparator, self.threshold, self.dataset, self.harness, self.due)
        if self.sealed is None and None in needed:
            raise ValueError("a bar needs metric, comparator, threshold, dataset, harness and due, or a seal instead")
        if self.sealed is not None and any(item is not None for item in (*needed, self.seed, self.sample_size)):
            raise ValueError("a sealed bar says nothing beside its seal")
