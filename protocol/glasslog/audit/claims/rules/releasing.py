"""Releases and what is declared of them: the run's output, the lineage's compute, the summary of training content."""

from __future__ import annotations

from collections.abc import Iterator

from glasslog.audit.claims.ledger import Claim, Claims, digest_of
from glasslog.audit.claims.lineage import Lineage, find_runs, list_outputs, list_segments, trace
from glasslog.audit.claims.rule import Case, Judged, Severity, failed, passed, rule, unable
from glasslog.predicates.content_summary import ContentSummary
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.values import HEAD, RECORDS, TENSORS

THRESHOLDS = {
    10**23: "10^23, from which a model counts as general-purpose",
    10**25: "10^25, from which a model is presumed to have systemic risk",
}
"""FLOP: Commission guidelines C(2025) 5045, paragraph 17, and Regulation (EU) 2024/1689 Article 51(2)."""

_TOLERANCE = 20  # a declared sum may be off by one part in so many: estimates of FLOP are


@rule(
    "output-mismatch",
    Severity.CRITICAL,
    holds="what is released is what a run it names gave, or was made from that",
    cites="specs/custody.md C5, predicates release and training-segment",
    shows="No segment of the run states these tensors.",
    does_not_show="Where they come from. Another number format is another content root: a statement has to say it.",
)
def output_mismatch(case: Case) -> Iterator[Judged]:
    """Look for the released content root, or what it is declared to be made from, among the run's outputs."""
    claims = case.claims
    for release in claims.every(Release):
        root = release.digest(TENSORS)
        for named in release.said.runs:
            runs = find_runs(claims, digest_of(named, HEAD))
            if not runs or root is None:
                missing = "its content root" if root is None else "the run it names"
                yield unable(f"{missing} is not in the log", release.index)
            for run in runs:
                yield _judge_output(claims, release, run, _made_from(claims, root))


def _judge_output(claims: Claims, release: Claim[Release], run: Claim[TrainingRun], roots: set[bytes]) -> Judged:
    segments, outputs = list_segments(claims, run), list_outputs(claims, run)
    at = (release.index, run.index, *(one.index for one in segments[-1:]))
    if roots & outputs:
        return passed(*at)
    if not segments or segments[-1].said.closed not in ("finished", "aborted"):
        return unable("the run is not closed: what it came to is not in the log", *at)
    if not outputs:
        return unable("the run's segments state no parameters", *at)
    return failed("the released tensors are no output of the run", *at)


def _made_from(claims: Claims, root: bytes | None) -> set[bytes]:
    """Return a content root and all that statements of models say it is made from."""
    found, waiting = set[bytes](), [] if root is None else [root]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            bases = [base for model in claims.of(Model, TENSORS, one) for base in model.said.base_model]
            waiting += [digest for base in bases if (digest := digest_of(base, TENSORS)) is not None]
    return found


def count_flop(claims: Claims, lineage: Lineage) -> tuple[int, list[str]]:
    """Return the sum of the operations that a lineage's segments state, and what keeps it from being all."""
    total, gaps = 0, [fact for fact, _ in lineage.missing]
    for run in lineage.runs.values():
        segments = list_segments(claims, run)
        total += sum(int(one.said.flop) for one in segments if one.said.flop is not None)
        if not segments or any(one.said.flop is None for one in segments):
            gaps.append(f"run {run.said.name} does not state the operations of every segment")
        elif segments[-1].said.closed not in ("finished", "aborted"):
            gaps.append(f"run {run.said.name} is not closed")
    if not lineage.runs:
        gaps.append("no run in the log gave this model")
    made = {edge.target for edge in lineage.edges}
    gaps += [f"nothing says what model {root.hex()[:16]} was trained by" for root in lineage.models if root not in made]
    return total, gaps


@rule(
    "compute-mismatch",
    Severity.MAJOR,
    holds="declared training compute is the sum over the lineage, and no threshold is crossed undeclared",
    cites="Regulation (EU) 2024/1689 Articles 51(2) and 53, Annex XI; Commission guidelines C(2025) 5045",
    shows="The segments of the lineage sum up to another number than is declared, or pass a threshold silently.",
    does_not_show="How many operations were carried out: they are stated, as counted or estimated.",
)
def compute_mismatch(case: Case) -> Iterator[Judged]:
    """Sum up every run of the lineage and compare; a part that already is too much needs no rest."""
    for summary in case.claims.every(ContentSummary):
        for root in summary.digests(TENSORS):
            lineage = trace(case.claims, root)
            total, gaps = count_flop(case.claims, lineage)
            at = (summary.index, *sorted(run.index for run in lineage.runs.values()))
            yield _judge_compute(summary.said.compute, total, gaps, at)


def _judge_compute(stated: str | None, total: int, gaps: list[str], at: tuple[int, ...]) -> Judged:
    declared = 0 if stated is None else int(stated)
    crossed = [word for least, word in THRESHOLDS.items() if declared < least <= total]
    if crossed:
        return failed(f"the lineage has {total} FLOP, over {crossed[-1]}; {stated or 'nothing'} is declared", *at)
    if stated is None:
        return unable(f"no compute is declared, and {gaps[0]}", *at) if gaps else passed(*at)
    if total * _TOLERANCE > declared * (_TOLERANCE + 1):
        return failed(f"the lineage has {total} FLOP, {declared} are declared", *at)
    if gaps:
        return unable(f"{gaps[0]}: {total} FLOP are stated so far, {declared} declared", *at)
    if declared * _TOLERANCE > total * (_TOLERANCE + 1):
        return failed(f"the lineage has {total} FLOP, {declared} are declared", *at)
    return passed(*at)


@rule(
    "summary-mismatch",
    Severity.MAJOR,
    holds="the summary of training content fits the statements of the data sets that the model was trained on",
    cites="Regulation (EU) 2024/1689 Article 53(1)(d); template of the AI Office of 2025-07-24",
    shows="Summary and data-set statements cannot both be right.",
    does_not_show="Which is; or that data which nobody stated was not used.",
)
def summary_mismatch(case: Case) -> Iterator[Judged]:
    """Compare categories, languages and days with the data sets that are named or in the lineage."""
    claims = case.claims
    for summary in claims.every(ContentSummary):
        before = 0
        for fact, *at in _contradictions(claims, summary):
            before += 1
            yield failed(fact, summary.index, *at)
        unknown = [
            root for source in summary.said.sources for one in source.datasets
            if (root := digest_of(one, RECORDS)) is not None and not claims.of(Dataset, RECORDS, root)
        ]  # fmt: skip
        for root in unknown:
            yield unable(f"data set {root.hex()[:16]}, which it names, is not in the log", summary.index)
        if not before and not unknown:
            yield passed(summary.index)


def _contradictions(claims: Claims, summary: Claim[ContentSummary]) -> Iterator[tuple[str, int]]:
    said = summary.said
    listed = {one.category for one in said.sources}
    used = [
        dataset
        for root in summary.digests(TENSORS)
        for found in trace(claims, root).datasets.values()
        for dataset in found
    ]
    for dataset in {one.index: one for one in used}.values():
        left_out = set(dataset.said.source_category) - listed
        if left_out:
            yield (
                f"{dataset.said.name} is {', '.join(sorted(left_out))}, which the summary lists nowhere",
                dataset.index,
            )
    for source in said.sources:
        for one in source.datasets:
            for dataset in claims.of(Dataset, RECORDS, digest_of(one, RECORDS)):
                used.append(dataset)
                if source.category not in dataset.said.source_category:
                    yield f"{dataset.said.name} is listed as {source.category} and is not", dataset.index
    for dataset in {one.index: one for one in used}.values():
        unsaid = set(dataset.said.languages) - set(said.languages)
        if said.languages and unsaid:
            yield f"{dataset.said.name} is in {', '.join(sorted(unsaid))}, which the summary leaves out", dataset.index
        last = None if dataset.said.collected is None else dataset.said.collected.end
        if last is not None and said.latest_data is not None and last > said.latest_data:
            yield f"{dataset.said.name} was collected up to {last}, latest data is {said.latest_data}", dataset.index
