"""Trainings: where they began, whether they go on without a break, on what, and whether a replay agrees."""

from __future__ import annotations

from collections.abc import Iterator

from glasslog.audit.claims.ledger import Claim, digest_of
from glasslog.audit.claims.lineage import list_data, list_segments
from glasslog.audit.claims.rule import Case, Judged, Severity, failed, passed, rule, unable
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.replay import Replay
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.values import HEAD, ORDER, RECORDS, TENSORS
from glasslog.predicates.withdrawal import Withdrawal


@rule(
    "parent-mismatch",
    Severity.CRITICAL,
    holds="a run that continues a model begins with that model's tensors",
    cites="specs/custody.md C1, predicate training-run",
    shows="The first parameters are not those of the parent that is named.",
    does_not_show="What they are.",
)
def parent_mismatch(case: Case) -> Iterator[Judged]:
    """Compare the parent's content root with the root of the initial weights."""
    for run in case.claims.every(TrainingRun):
        if run.said.parent is None:
            continue
        parent, first = digest_of(run.said.parent, TENSORS), digest_of(run.said.initial_weights, TENSORS)
        if parent is None or first is None:
            missing = "its parent's content root" if parent is None else "its initial weights"
            yield unable(f"the run does not state {missing}", run.index)
        elif parent == first:
            yield passed(run.index)
        else:
            yield failed(f"the run begins with {first.hex()[:16]}, its parent is {parent.hex()[:16]}", run.index)


@rule(
    "step-gap",
    Severity.CRITICAL,
    holds="a run's segments follow one another from its start to its close, and no update is missing",
    cites="specs/custody.md C4 to C6",
    shows="Updates of the run are not committed to, or are declared as lost.",
    does_not_show="What happened in between.",
)
def step_gap(case: Case) -> Iterator[Judged]:
    """Join each run's segments by number, head and step, and read the seams they declare."""
    for run in case.claims.every(TrainingRun):
        yield _judge_run(run, list_segments(case.claims, run))


def _judge_run(run: Claim[TrainingRun], segments: list[Claim[TrainingSegment]]) -> Judged:
    number, head, step = 0, run.digest(HEAD), 0
    for segment in segments:
        said, at = segment.said, (run.index, segment.index)
        if said.number == number:
            return failed(f"there are two segments {number} that differ", *at)
        if said.number != number + 1:
            return failed(f"segment {said.number} follows segment {number}", *at)
        if digest_of(said.previous_head, HEAD) != head:
            return failed(f"segment {said.number} does not go on from the head before it", *at)
        gap = next((seam for seam in said.seams if seam.kind == "gap"), None)
        if gap is not None:
            return failed(f"segment {said.number} declares {gap.lost} updates before step {gap.step} as lost", *at)
        if said.first_step > step + 1:
            return failed(f"segment {said.number} begins at step {said.first_step}, after step {step}", *at)
        if said.first_step <= step and said.records and not said.seams and said.last_step > step:
            return failed(f"segment {said.number} takes step {said.first_step} again and does not say so", *at)
        number, head, step = said.number, digest_of(said.head, HEAD), said.last_step
    indices = (run.index, *(segment.index for segment in segments[-1:]))
    if not segments or segments[-1].said.closed not in ("finished", "aborted"):
        return unable(f"the run is not closed after step {step}: more may follow or be missing", *indices)
    return passed(*indices)


@rule(
    "undeclared-data",
    Severity.CRITICAL,
    holds="the order of data that a run committed to is of data sets that it declares",
    cites="specs/custody.md C1, specs/datasets.md D7",
    shows="The run committed to going through a data set that it does not declare.",
    does_not_show="What a run trained on that committed to a sampler's digest: that takes its journal.",
)
def undeclared_data(case: Case) -> Iterator[Judged]:
    """Compare the committed order, and the data sets among the dependencies, with what is declared."""
    claims = case.claims
    by_order = {digest_of(one.said.order_root, ORDER): one for one in claims.every(Dataset)}
    by_order.pop(None, None)
    for run in claims.every(TrainingRun):
        declared = list_data(claims, run)
        roots = {root for root, _ in declared}
        hidden = [
            root
            for one in run.said.build_definition.resolved_dependencies
            if (root := digest_of(one, RECORDS)) is not None and root not in roots
        ]
        order = digest_of(run.said.data_order, ORDER) or digest_of(run.said.data_order, "sha256")
        other = by_order.get(order)
        at = (run.index, *(one.index for _, one in declared if one is not None))
        if hidden:
            yield failed(f"data set {hidden[0].hex()[:16]} is among its dependencies and not declared", *at)
        elif other is not None and not roots & set(other.digests(RECORDS)):
            yield failed("its data order is that of a data set that it does not declare", run.index, other.index)
        elif other is not None:
            yield passed(*at)
        else:
            yield unable("its data order is of no data set here: its journal would show what it trained on", *at)


@rule(
    "replay-diverged",
    Severity.CRITICAL,
    holds="no segment that was carried out again came out otherwise",
    cites="specs/custody.md C10, predicate replay",
    shows="An examiner claims that a segment was not computed as it was committed.",
    does_not_show="Why: another environment diverges too.",
)
def replay_diverged(case: Case) -> Iterator[Judged]:
    """Read the outcomes of all replays, whoever's."""
    for replay in case.claims.every(Replay):
        worst = [one.outcome for one in replay.said.sampled] + [replay.said.outcome]
        where = [str(one.diverged_at) for one in replay.said.sampled if one.diverged_at is not None]
        if "diverged" in worst:
            place = f" at step {where[0]}" if where else ""
            yield failed(
                f"{replay.author} saw it diverge{place}, environment {replay.said.same_environment}", replay.index
            )
        elif "unable" in worst:
            yield unable("a sampled segment could not be carried out again", replay.index)
        else:
            yield passed(replay.index)


@rule(
    "beacon-early",
    Severity.MAJOR,
    holds="what chose a replay's sample came after the run's last segment",
    cites="specs/custody.md C10",
    shows="Whoever trained could have known which segments would be looked at.",
    does_not_show="That it did.",
)
def beacon_early(case: Case) -> Iterator[Judged]:
    """Find the beacon among the roots of heights, and compare its size with the last segment's index."""
    claims = case.claims
    for replay in claims.every(Replay):
        size = claims.size_at(digest_of(replay.said.beacon, "sha256"))
        last = max(
            (one.index for run in claims.of(TrainingRun, HEAD, digest_of(replay.said.run, HEAD))
             for one in list_segments(claims, run)),
            default=None,
        )  # fmt: skip
        if size is None or last is None:
            missing = "its beacon is the root of no height here" if size is None else "its run has no segment here"
            yield unable(missing, replay.index)
        elif size > last:
            yield passed(replay.index, last)
        else:
            yield failed(f"its beacon is the root at size {size}, the run went on at leaf {last}", replay.index, last)


@rule(
    "data-committed-late",
    Severity.MAJOR,
    holds="a data set is committed to before a run on it begins",
    cites="specs/statements.md V9, predicate dataset",
    shows="The records were fixed only after the run that is said to be on them was stated.",
    does_not_show="That they were changed in between.",
)
def data_committed_late(case: Case) -> Iterator[Judged]:
    """Compare log indices of run and data set."""
    for run in case.claims.every(TrainingRun):
        for root, dataset in list_data(case.claims, run):
            if dataset is None:
                continue
            late = dataset.index > run.index
            fact = f"data set {root.hex()[:16]} was stated after the run"
            yield failed(fact, run.index, dataset.index) if late else passed(run.index, dataset.index)


@rule(
    "withdrawn-used",
    Severity.MAJOR,
    holds="no run begins on a data set or a model that had been withdrawn",
    cites="specs/statements.md V8, predicate withdrawal",
    shows="What the run is on had been taken back, by who stated it, before the run was stated.",
    does_not_show="That whoever ran it knew.",
)
def withdrawn_used(case: Case) -> Iterator[Judged]:
    """Look for withdrawals, by the author of what is used, that stand before the run."""
    claims = case.claims
    for run in claims.every(TrainingRun):
        used = [(RECORDS, root, one) for root, one in list_data(claims, run)]
        parent = digest_of(run.said.parent, TENSORS)
        if parent is not None:
            used.append((TENSORS, parent, None))
        for algorithm, digest, _ in used:
            authors = {one.author for one in claims.about(algorithm, digest) if not isinstance(one.said, Withdrawal)}
            before = [one for one in claims.of(Withdrawal, algorithm, digest) if one.index < run.index]
            found = next((one for one in before if one.author in authors), None)
            if found is None:
                yield passed(run.index)
            else:
                fact = f"{digest.hex()[:16]} had been withdrawn ({found.said.reason})"
                yield failed(fact, run.index, found.index)
