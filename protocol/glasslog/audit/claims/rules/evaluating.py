"""Evaluations: whether bars stood before results, stayed as they were, were opened, answered and met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from glasslog.audit.claims.ledger import Claim, Claims, day_of, digest_of
from glasslog.audit.claims.lineage import Kind, trace
from glasslog.audit.claims.rule import Case, Judged, Severity, failed, passed, rule, unable
from glasslog.bundle.bars import Bar, BarState, Logged, list_bars
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.evaluation_bar import EvaluationBar
from glasslog.predicates.release import Release
from glasslog.predicates.values import RECORDS, SEALED, STATEMENT, TENSORS


def _bar_of(claims: Claims, evaluation: Claim[Evaluation]) -> Claim[EvaluationBar] | None:
    return claims.stated(EvaluationBar, digest_of(evaluation.said.bar, STATEMENT))


def _sealed_bars(claims: Claims) -> list[Bar]:
    if claims.membership is None:
        return []
    log = (Logged(one.index, one.author, one.day, claims.statement(one)) for one in claims.every(EvaluationBar))
    return list_bars(log, genesis_hash=claims.membership.genesis_hash, today=day_of(claims.now))


def is_met(evaluation: Evaluation) -> bool | None:
    """Whether the stated value meets the stated threshold; None where it states no threshold."""
    if evaluation.comparator is None or evaluation.threshold is None:
        return None
    value, threshold = Decimal(evaluation.value), Decimal(evaluation.threshold)
    return {
        "lt": value < threshold,
        "lte": value <= threshold,
        "gt": value > threshold,
        "gte": value >= threshold,
        "eq": value == threshold,
    }[evaluation.comparator]


@rule(
    "bar-after-result",
    Severity.CRITICAL,
    holds="a bar is logged before the result that answers it, and before it was measured",
    cites="predicate evaluation-bar, in-toto/attestation PR 575 and PR 587",
    shows="The bar was set when the result was already stated or measured.",
    does_not_show="That it was set to suit it.",
)
def bar_after_result(case: Case) -> Iterator[Judged]:
    """Compare log indices, and the stated time of measuring with the time of the bar's height."""
    for evaluation in case.claims.every(Evaluation):
        if evaluation.said.bar is None:
            continue
        bar = _bar_of(case.claims, evaluation)
        if bar is None:
            yield unable("the bar it answers is not in the log", evaluation.index)
            continue
        measured, at = evaluation.said.measured, (evaluation.index, bar.index)
        if bar.index > evaluation.index:
            yield failed(f"the bar is leaf {bar.index}, its result leaf {evaluation.index}", *at)
        elif measured is not None and measured[:10] < bar.day and not _was_sealed(case.claims, bar):
            yield failed(f"measured on {measured[:10]}, the bar stood on {bar.day}", *at)
        else:
            yield passed(*at)


def _was_sealed(claims: Claims, bar: Claim[EvaluationBar]) -> bool:
    return any(one.opened_at == bar.index for one in _sealed_bars(claims))


@rule(
    "bar-changed",
    Severity.CRITICAL,
    holds="a result is held against the bar as it was set, and no bar is set twice in two ways",
    cites="predicate evaluation-bar",
    shows="What was measured, or what counts as passed, is not what was fixed beforehand.",
    does_not_show="Why.",
)
def bar_changed(case: Case) -> Iterator[Judged]:
    """Compare each result with its bar member by member, and each author's bars for one thing with one another."""
    claims = case.claims
    for evaluation in claims.every(Evaluation):
        bar = _bar_of(claims, evaluation)
        if bar is None or bar.said.sealed is not None:
            continue
        other = next(_differing(evaluation.said, bar.said), None)
        at = (evaluation.index, bar.index)
        yield passed(*at) if other is None else failed(f"its {other} is not the bar's", *at)
    first: dict[tuple[object, ...], Claim[EvaluationBar]] = {}
    for bar in claims.every(EvaluationBar):
        if bar.said.sealed is not None or bar.digest(TENSORS) is None:
            continue
        key = (bar.author, bar.digest(TENSORS), bar.said.metric, digest_of(bar.said.dataset, RECORDS))
        before = first.setdefault(key, bar)
        if (before.said.comparator, before.said.threshold) != (bar.said.comparator, bar.said.threshold):
            yield failed(f"the bar for {bar.said.metric} was set again otherwise", before.index, bar.index)


def _differing(result: Evaluation, bar: EvaluationBar) -> Iterator[str]:
    if result.metric != bar.metric:
        yield "metric"
    for name, stated, fixed in (
        ("comparator", result.comparator, bar.comparator),
        ("threshold", result.threshold, bar.threshold),
        ("seed", result.seed, bar.seed),
        ("sample size", result.sample_size, bar.sample_size),
    ):
        if stated is not None and fixed is not None and stated != fixed:
            yield name
    fixed_data, fixed_harness = (bar.dataset and bar.dataset.digest), (bar.harness and bar.harness.digest)
    if fixed_data and result.dataset.digest and not _agree(fixed_data, result.dataset.digest):
        yield "data set"
    if fixed_harness and result.harness.digest and not _agree(fixed_harness, result.harness.digest):
        yield "harness"


def _agree(first: Mapping[str, bytes | str], second: Mapping[str, bytes | str]) -> bool:
    return all(first[name] == second[name] for name in first.keys() & second.keys())


@rule(
    "seal-mismatch",
    Severity.CRITICAL,
    holds="an opened bar is what its sealed entry commits to, and an announced one is sealed",
    cites="specs/secrecy.md X11",
    shows="What is shown as the sealed bar is not what was sealed.",
    does_not_show="What was.",
)
def seal_mismatch(case: Case) -> Iterator[Judged]:
    """Recompute the commitment of every bar in the clear that says what it opens."""
    claims = case.claims
    bars = _sealed_bars(claims)
    for bar in bars:
        held = claims.sealed.get((bar.author, bar.commitment))
        if held is None:
            yield failed(f"no sealed entry of {bar.author} has the commitment that is announced", bar.leaf)
        else:
            yield passed(bar.leaf, held)
    opened = {bar.opened_at for bar in bars}
    for claim in claims.every(EvaluationBar):
        if any(digest_of(one, SEALED) for one in claim.said.evidence):
            first = claim.index in opened or any(
                bar.author == claim.author and bar.opened_at is not None and bar.opened_at < claim.index
                and any(digest_of(one, SEALED) == bar.commitment for one in claim.said.evidence)
                for bar in bars
            )  # fmt: skip
            fact = "it opens no bar of its author's that was announced before it"
            yield passed(claim.index) if first else failed(fact, claim.index)


@rule(
    "contamination",
    Severity.MAJOR,
    holds="no model is evaluated on a data set that it was trained on, or that its training data was made from",
    cites="predicate evaluation",
    shows="The result is on data that the model has seen.",
    does_not_show="That differently committed data sets share no record: record proofs show that.",
)
def contamination(case: Case) -> Iterator[Judged]:
    """Compare the evaluation's records root with every data set of the model's lineage."""
    claims = case.claims
    for evaluation in claims.every(Evaluation):
        root, model = digest_of(evaluation.said.dataset, RECORDS), evaluation.digest(TENSORS)
        if root is None or model is None:
            continue
        lineage = trace(claims, model)
        if not lineage.runs:
            yield unable("no run in the log says what this model was trained on", evaluation.index)
            continue
        trained = {root for root, node in lineage.nodes.items() if node.kind is Kind.DATASET}
        runs = sorted(run.index for run in lineage.runs.values())
        at = (evaluation.index, *runs)
        fact = f"data set {root.hex()[:16]} was trained on"
        yield failed(fact, *at) if root in trained else passed(*at)


@rule(
    "file-drawer",
    Severity.MAJOR,
    holds="a bar that is due has a result, and a sealed one that is due is opened",
    cites="specs/secrecy.md X11, predicate evaluation-bar",
    shows="A result that was promised is not there.",
    does_not_show="What it was.",
)
def file_drawer(case: Case) -> Iterator[Judged]:
    """Judge by the day of the last height."""
    claims = case.claims
    today = day_of(claims.now)
    for bar in claims.every(EvaluationBar):
        if bar.said.due is None or bar.said.sealed is not None:
            continue
        answers = [one.index for one in claims.mentioning(Evaluation, STATEMENT, bar.id) if one.author == bar.author]
        if answers or bar.said.due >= today:
            yield passed(bar.index, *answers[:1])
        else:
            yield failed(f"a result for {bar.said.metric} was due on {bar.said.due}", bar.index)
    for sealed in _sealed_bars(claims):
        if sealed.state in (BarState.OVERDUE, BarState.LATE):
            word = "is not opened" if sealed.state is BarState.OVERDUE else "was opened late"
            opened = () if sealed.opened_at is None else (sealed.opened_at,)
            yield failed(f"a sealed bar to be opened by {sealed.open_by} {word}", sealed.leaf, *opened)
        else:
            yield passed(sealed.leaf)


@rule(
    "released-below-bar",
    Severity.MAJOR,
    holds="a release stands on results that met their bars",
    cites="predicate release",
    shows="The model was released although a result it names did not meet its bar, or says it did and did not.",
    does_not_show="That the release is wrong.",
)
def released_below_bar(case: Case) -> Iterator[Judged]:
    """Compute from value, comparator and threshold whether each named result passed."""
    for release in case.claims.every(Release):
        for one in release.said.evaluations:
            found = case.claims.stated(Evaluation, digest_of(one, STATEMENT))
            if found is None:
                yield unable("a result it stands on is not in the log", release.index)
                continue
            said, at = found.said, (release.index, found.index)
            met = is_met(said)
            if said.passed is False or met is False:
                word = "is stated as passed and is not" if said.passed else "did not pass"
                yield failed(f"{said.metric} of {said.value} {word}", *at)
            elif met is None and said.passed is None:
                yield unable(f"{said.metric} is held against nothing", *at)
            else:
                yield passed(*at)


@rule(
    "release-unevaluated",
    Severity.MAJOR,
    holds="a release names results that it stands on, of these tensors",
    cites="predicate release",
    shows="The model was released on no result, or on results of other tensors.",
    does_not_show="That it was not evaluated.",
)
def release_unevaluated(case: Case) -> Iterator[Judged]:
    """Look for an evaluation of the very tensors that are released."""
    for release in case.claims.every(Release):
        named = [case.claims.by_id(digest_of(one, STATEMENT)) for one in release.said.evaluations]
        root = release.digest(TENSORS)
        found = [one for one in named if one is not None]
        if not release.said.evaluations:
            yield failed("the release names no evaluation", release.index)
        elif len(found) < len(named) or root is None:
            yield unable("an evaluation it names, or its content root, is not in the log", release.index)
        elif any(root not in one.digests(TENSORS) for one in found):
            yield failed("an evaluation it names is of other tensors", release.index, *(one.index for one in found))
        else:
            yield passed(release.index, *(one.index for one in found))
