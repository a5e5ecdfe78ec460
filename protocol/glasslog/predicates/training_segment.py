"""A stretch of a training run: its steps by one root, chained to the stretch before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Commitment, Count, Natural, Resource, Text, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """Where the chain does not simply go on: a resume, a rollback or a gap, declared as such."""

    kind: Literal["resume", "rollback", "gap"] = field(metadata=doc("What happened."))
    step: Count = field(metadata=doc("The first step after it."))
    lost: Count = field(metadata=doc("How many steps before it are not in the chain, or were taken again."))
    reason: Text | None = field(default=None, metadata=doc("Why, as far as the recorder knows."))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSegment(Predicate):
    """Steps are counted from 1; a skipped step (an overflow under loss scaling) has a record and no update."""

    NAME: ClassVar[str] = "training-segment"
    SUBJECTS: ClassVar[str] = (
        "The segment by its head (glasslogHeadV1); at a checkpoint also the weights (glasslogTensorsV1)."
    )
    SHOWS: ClassVar[str] = (
        "That these steps were committed to, in this order, no later than the checkpoint and not before their "
        "predecessor; at level L2 every update of the parameters. Any one step can be shown against the root."
    )
    DOES_NOT_SHOW: ClassVar[str] = (
        "That the steps were computed from the committed data: that takes a replay, and shows it of the sample."
    )

    run: Commitment = field(metadata=doc("The run, as its statement's subject names it."))
    number: Count = field(metadata=doc("Of the run's segments, from 1."))
    first_step: Count = field(metadata=doc("First step."))
    last_step: Count = field(metadata=doc("Last step."))
    previous_head: Commitment = field(metadata=doc("Head of the chain before it."))
    head: Commitment = field(metadata=doc("Head of the chain after it."))
    steps_root: Commitment = field(metadata=doc("glasslogStepsV1 over its step records."))
    params_root: Commitment | None = field(
        default=None, metadata=doc("glasslogTensorsV1 of the parameters after its last step.")
    )
    optimizer_root: Commitment | None = field(default=None, metadata=doc("The same of the optimizer's state."))
    checkpoint: Resource | None = field(default=None, metadata=doc("The checkpoint that was written, by content root."))
    records: Count = field(metadata=doc("How many step records its root is over."))
    skipped: Count = field(metadata=doc("How many of its steps changed nothing."))
    tokens: Natural | None = field(
        default=None, metadata=doc("Tokens, or samples where there are none, trained on in it.")
    )
    flop: Natural | None = field(
        default=None, metadata=doc("Floating-point operations in it, as counted or estimated.")
    )
    seams: tuple[Seam, ...] = field(default=(), metadata=doc("Where the chain does not simply go on."))
    closed: Literal["continues", "checkpoint", "finished", "aborted"] = field(metadata=doc("Why it ends here."))
    ended: Time = field(metadata=doc("When, by the recorder's clock."))
