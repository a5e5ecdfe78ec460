"""A training run as it was planned and committed to before its first step: SLSA provenance of a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Commitment, Count, Name, Natural, Object, Organisation, Resource, Time, Uri

BUILD_TYPE = "urn:glasslog:buildtype:training:v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildDefinition:
    """SLSA provenance v1 ``buildDefinition``: everything that goes into the run."""

    build_type: Uri = field(
        metadata=doc("What kind of run the parameters are of; ours is urn:glasslog:buildtype:training:v1.")
    )
    external_parameters: Object = field(
        metadata=doc("What whoever started it chose: hyperparameters, as text where not whole.")
    )
    internal_parameters: Object | None = field(default=None, metadata=doc("What the platform added."))
    resolved_dependencies: tuple[Resource, ...] = field(
        default=(), metadata=doc("Code, containers, data sets and initial weights, by digest.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun(Predicate):
    """Submitted before the first step; segments follow as the run goes on (predicate training-segment)."""

    NAME: ClassVar[str] = "training-run"
    SUBJECTS: ClassVar[str] = "The run, by the head of its empty chain (glasslogHeadV1), which no other run has."
    SHOWS: ClassVar[str] = (
        "That data order, seeds, initial weights and parameters were fixed no later than the checkpoint. With the "
        "segments: in which order the run's steps were committed to, and that nobody changed them since."
    )
    DOES_NOT_SHOW: ClassVar[str] = (
        "That the run was carried out as committed (replay samples that), that there was no other run, or that the "
        "code did what it is called."
    )

    name: Name = field(metadata=doc("What its owner calls the run."))
    build_definition: BuildDefinition = field(metadata=doc("SLSA's buildDefinition."))
    operator: Organisation | None = field(default=None, metadata=doc("Who runs it, where that is not the author."))
    level: Literal["L0", "L2"] = field(
        metadata=doc(
            "L0: metadata of every step. L2: besides all parameters at every step. Only L2 commits to every update."
        )
    )
    commits: tuple[Literal["parameters", "gradients", "optimizer"], ...] = field(
        default=(), metadata=doc("Which state each step's record commits to.")
    )
    initial_weights: Commitment | None = field(
        default=None,
        metadata=doc("glasslogTensorsV1 of the parameters before the first step. Without it no update is bound."),
    )
    parent: Resource | None = field(
        default=None, metadata=doc("The model these weights are of, where it is not from scratch.")
    )
    datasets: tuple[Resource, ...] = field(
        default=(), metadata=doc("Data sets, by records root; nothing else is declared to be trained on.")
    )
    data_order: Commitment | None = field(
        default=None,
        metadata=doc("In which order records come: an order root, or a salted digest of sampler and seed."),
    )
    seeds: Commitment | None = field(default=None, metadata=doc("Salted digest of all seeds."))
    environment: Commitment | None = field(
        default=None, metadata=doc("Digest of the environment: versions, devices, thread counts, determinism flags.")
    )
    environment_facts: Object | None = field(default=None, metadata=doc("The same in the open, as far as it may be."))
    world_size: Count = field(metadata=doc("How many processes train together."))
    planned_steps: Count | None = field(default=None, metadata=doc("How many optimizer steps are meant."))
    planned_flop: Natural | None = field(default=None, metadata=doc("How many floating-point operations are meant."))
    segment_steps: Count | None = field(default=None, metadata=doc("At most so many steps a segment."))
    segment_seconds: Count | None = field(default=None, metadata=doc("At most so many seconds a segment."))
    started: Time = field(metadata=doc("When, by its own clock."))
