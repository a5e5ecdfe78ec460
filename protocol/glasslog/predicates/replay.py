"""What came out when parts of a run were carried out again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Commitment, Count, Decimal, Organisation, Resource, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedSegment:
    """One segment that was carried out again."""

    segment: Commitment = field(metadata=doc("The segment, by its head (glasslogHeadV1)."))
    outcome: Literal["exact", "within-tolerance", "diverged", "unable"] = field(metadata=doc("What came out."))
    largest_difference: Decimal | None = field(default=None, metadata=doc("Of any parameter, in its own units."))
    diverged_at: Count | None = field(default=None, metadata=doc("First step that came out otherwise."))
    reason: Text | None = field(default=None, metadata=doc("Why it could not be done."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Predicate):
    """A sample of segments, chosen by what nobody knew when the run was committed to."""

    NAME: ClassVar[str] = "replay"
    SUBJECTS: ClassVar[str] = "The run, as its statement's subject names it."
    SHOWS: ClassVar[str] = (
        "That the examiner claims the sampled segments came out so. `detectionProbability` is how likely a run with "
        "one segment that was not computed as committed would have been noticed."
    )
    DOES_NOT_SHOW: ClassVar[str] = (
        "Anything of segments that were not sampled beyond that probability, or that there was no unlogged training."
    )

    run: Commitment = field(metadata=doc("The run."))
    examiner: Organisation | None = field(default=None, metadata=doc("Who did it, where that is not the author."))
    beacon: Resource = field(
        metadata=doc("What chose the sample: a checkpoint of the log, later than the run's last segment.")
    )
    segments: Count = field(metadata=doc("How many segments the run has."))
    sampled: tuple[ReplayedSegment, ...] = field(metadata=doc("What came out, segment by segment."))
    detection_probability: Decimal = field(
        metadata=doc("1 - C(S-1, s) / C(S, s) for s of S segments: of noticing one bad one, if it was not exact.")
    )
    tolerance: Decimal | None = field(
        default=None, metadata=doc("Bound for within-tolerance, and how it was measured in `note`.")
    )
    outcome: Literal["exact", "within-tolerance", "diverged", "unable"] = field(
        metadata=doc("The worst of the sample's.")
    )
    environment: Commitment | None = field(default=None, metadata=doc("Digest of the environment it was done in."))
    same_environment: Literal["same", "different", "unknown"] = field(metadata=doc("Whether that is the run's."))
    note: Text | None = field(default=None, metadata=doc("How it was done."))
