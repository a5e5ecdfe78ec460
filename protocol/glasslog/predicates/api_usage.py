"""What went through an interface: volumes and sketches under an agreement, period by period."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Commitment, Name, Organisation, Period, Quantity, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A commitment to a summary of requests or answers, from which overlap can be estimated when it is opened."""

    method: Name = field(metadata=doc("Algorithm and its parameters: minhash-128, hyperloglog-14, simhash-64."))
    of: Name = field(metadata=doc("What was summarised: prompts, completions, records."))
    commitment: Commitment = field(metadata=doc("Salted digest of the sketch."))


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiUsage(Predicate):
    """One side's account of a period. Both sides can give theirs; where they differ, one of them is wrong."""

    NAME: ClassVar[str] = "api-usage"
    SUBJECTS: ClassVar[str] = (
        "The model behind the interface, by content root or, while that is a secret, by commitment."
    )
    SHOWS: ClassVar[str] = (
        "That the author fixed these volumes and sketches no later than the checkpoint, before any dispute about them."
    )
    DOES_NOT_SHOW: ClassVar[str] = (
        "That volumes are complete, that a sketch is of what it says, or what answers were used for."
    )

    agreement: Resource = field(metadata=doc("The rights statement it was used under, by its id."))
    side: Name = field(metadata=doc("Whose account it is: `provider` or `user`."))
    counterpart: Organisation | None = field(default=None, metadata=doc("The other side, where it may be named."))
    period: Period = field(metadata=doc("Which days."))
    volumes: tuple[Quantity, ...] = field(metadata=doc("How much: requests, input tokens, output tokens."))
    sketches: tuple[Sketch, ...] = field(default=(), metadata=doc("Commitments to summaries."))
