"""Something stated before is taken back or replaced. The statement itself stays: a log forgets nothing (V8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Date, Resource, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal(Predicate):
    """Of a statement of the same author, or of an artifact it answers for."""

    NAME: ClassVar[str] = "withdrawal"
    SUBJECTS: ClassVar[str] = (
        "What is withdrawn: a statement by its id, a model by content root, a data set by records root."
    )
    SHOWS: ClassVar[str] = (
        "That the author no longer stands by it from the given day on, at the latest from the checkpoint on."
    )
    DOES_NOT_SHOW: ClassVar[str] = "That copies are gone, or that anybody who uses it knows."

    target: Resource = field(metadata=doc("What is withdrawn."))
    reason: Literal["error", "superseded", "rights", "consent-revoked", "safety", "order", "contamination", "other"] = (
        field(metadata=doc("Why."))
    )
    since: Date = field(metadata=doc("From which day on."))
    superseded_by: Resource | None = field(default=None, metadata=doc("What takes its place, by its statement's id."))
    description: Text | None = field(default=None, metadata=doc("In words."))
