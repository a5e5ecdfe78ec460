"""From a journal to the statements that are submitted: the run, its segments, and what a replay showed.

The run's statement says what its owner publishes of it and no more. All the rest is committed to by the run's id, and
shown, if at all, by handing over the journal's start (specs/custody.md, C1).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, cast

from glasslog.custody import Event, Kind, Record, RunStart, Segment
from glasslog.predicates.base import Subject
from glasslog.predicates.replay import Replay, ReplayedSegment
from glasslog.predicates.training_run import BUILD_TYPE, BuildDefinition, TrainingRun
from glasslog.predicates.training_segment import Seam, TrainingSegment
from glasslog.predicates.values import HEAD, RECORDS, STEPS, TENSORS, Commitment, Resource
from glasslog.statement import Statement
from glasslog_lab.recorder.journal import Journal
from glasslog_lab.recorder.replay import ReplayOutcome

PUBLISHABLE = "hyperparameters", "environment", "seed"
_SEAMS: dict[Kind, Literal["gap", "resume", "rollback"]] = {
    Kind.GAP: "gap", Kind.RESUME: "resume", Kind.ROLLBACK: "rollback",
}  # fmt: skip
_PROBABILITY_PLACES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What an owner says of a run besides the journal; ``publish`` are some of ``PUBLISHABLE``."""

    publish: Collection[str] = ()
    datasets: tuple[Resource, ...] = ()
    dependencies: tuple[Resource, ...] = ()
    parent: Resource | None = None
    evidence: tuple[Resource, ...] = ()


def run_statement(start: RunStart, facts: RunFacts | None = None) -> Statement:
    """Return the ``training-run`` statement of a run, the same each time.

    Raises:
        DecodeError: PRED-nn or STMT-nn, what is published does not fit a statement.
        ValueError: ``publish`` names something else.
    """
    facts = facts or RunFacts()
    if not set(facts.publish) <= set(PUBLISHABLE):
        raise ValueError(f"what can be published is {', '.join(PUBLISHABLE)}")
    chosen: dict[str, Any] = dict(start.hyperparameters) if "hyperparameters" in facts.publish else {}
    if "seed" in facts.publish and start.seed is not None:
        chosen["seed"] = str(start.seed)
    recorded = () if start.dataset is None else (Resource(digest={RECORDS: start.dataset}),)
    said = TrainingRun(
        name=start.name,
        build_definition=BuildDefinition(
            build_type=BUILD_TYPE, external_parameters=chosen, resolved_dependencies=facts.dependencies
        ),
        level="L2" if start.level else "L0",
        commits=cast("Any", start.commits),
        initial_weights=_commit(TENSORS, start.initial_params),
        parent=facts.parent,
        datasets=facts.datasets or recorded,
        data_order=_commit("sha256", start.data_order),
        environment_facts=dict(start.environment) if "environment" in facts.publish else None,
        world_size=start.world_size,
        started=format_time(start.started),
        evidence=facts.evidence,
    )
    return said.statement(Subject(start.name, {HEAD: start.run}))


def segment_statement(start: RunStart, segment: Segment, records: Sequence[bytes]) -> Statement:
    """Return the ``training-segment`` statement of a segment, the same each time.

    At a checkpoint its weights are a second subject, so that a search for them finds the run.

    Raises:
        DecodeError: STEP-01, a record is none; PRED-nn.
    """
    events = [Record.decode(data).event for data in records]
    at_checkpoint = bool(events) and events[-1].kind is Kind.CHECKPOINT
    optimizer = next((one.optimizer for one in reversed(events) if one.kind in (Kind.STEP, Kind.CHECKPOINT)), None)
    counts = segment.counts
    said = TrainingSegment(
        run=Commitment(digest={HEAD: segment.run}),
        number=segment.index + 1,
        first_step=segment.first_step,
        last_step=segment.last_step,
        previous_head=Commitment(digest={HEAD: segment.previous}),
        head=Commitment(digest={HEAD: segment.head}),
        steps_root=Commitment(digest={STEPS: segment.steps_root}),
        params_root=_commit(TENSORS, segment.params),
        optimizer_root=_commit(TENSORS, optimizer),
        checkpoint=Resource(digest={TENSORS: segment.params}) if at_checkpoint and segment.params else None,
        records=len(events),
        skipped=counts.skips,
        tokens=str(counts.tokens) if counts.tokens else None,
        flop=str(counts.flop) if counts.flop else None,
        seams=tuple(_seam(one) for one in events if one.kind in _SEAMS),
        closed="finished" if segment.closed else "checkpoint" if at_checkpoint else "continues",
        ended=format_time(segment.ended),
    )
    subjects = [Subject(f"{start.name}, segment {segment.index + 1}", {HEAD: segment.head})]
    if (at_checkpoint or segment.closed) and segment.params:
        subjects.append(Subject(f"{start.name}, weights after step {segment.last_step}", {TENSORS: segment.params}))
    return said.statement(*subjects)


def journal_statements(journal: Journal, facts: RunFacts | None = None) -> list[Statement]:
    """Return the statements of a run and of its ended segments; raises as the two above."""
    start = journal.chain.start
    segments = [segment_statement(start, segment, records) for segment, records in journal.segments]
    return [run_statement(start, facts), *segments]


def replay_statement(
    journal: Journal,
    outcome: ReplayOutcome,
    *,
    same_environment: Literal["same", "different", "unknown"],
    note: str = "",
) -> Statement:
    """Return the ``replay`` statement of what a replay showed.

    Raises:
        DecodeError: PRED-nn, the beacon is no digest.
    """
    heads = {segment.index: segment.head for segment, _ in journal.segments}
    said = Replay(
        run=Commitment(digest={HEAD: outcome.run}),
        beacon=Resource(name="root of a checkpoint", digest={"sha256": outcome.beacon}),
        segments=outcome.segments,
        sampled=tuple(
            ReplayedSegment(
                segment=Commitment(digest={HEAD: heads[one.index]}),
                outcome=one.state,
                largest_difference=None if one.bound is None else _decimal(one.bound),
                diverged_at=one.first_diverged,
                reason=one.reason or None,
            )
            for one in outcome.outcomes
        ),
        detection_probability=format_probability(outcome.detection),
        tolerance=_decimal(outcome.tolerance) if outcome.tolerance else None,
        outcome=outcome.state,
        same_environment=same_environment,
        note=note or None,
    )
    return said.statement(Subject(journal.chain.start.name, {HEAD: outcome.run}))


def format_probability(value: Fraction) -> str:
    """Return a probability as a decimal of at most 12 places, never rounded up."""
    scaled = value.numerator * 10**_PROBABILITY_PLACES // value.denominator
    return _decimal(Decimal(scaled).scaleb(-_PROBABILITY_PLACES))


def format_time(seconds: int) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seam(event: Event) -> Seam:
    after = event.step + event.count if event.kind is Kind.GAP else event.step
    return Seam(kind=_SEAMS[event.kind], step=after, lost=event.count, reason=event.reason or None)


def _commit(name: str, digest: bytes | None) -> Commitment | None:
    return None if digest is None else Commitment(digest={name: digest})


def _decimal(value: float | Decimal) -> str:
    text = format(Decimal(repr(value)) if isinstance(value, float) else value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
