"""Origins and references: weights from nowhere, derivations nobody declared, references that lead nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from glasslog.audit.claims.ledger import Claims, digest_of, list_mentions
from glasslog.audit.claims.lineage import makers, trace
from glasslog.audit.claims.rule import Case, Judged, Severity, failed, passed, rule, unable
from glasslog.predicates.finding import Finding
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.values import HEAD, RECORDS, STATEMENT, TENSORS


@rule(
    "dangling-reference",
    Severity.MAJOR,
    holds="what a statement names by id, head or root is in the log",
    cites="specs/statements.md V5 and V6",
    shows="A statement or run that is named was never logged; a model or data set that is named has no statement.",
    does_not_show="That it does not exist.",
)
def dangling_reference(case: Case) -> Iterator[Judged]:
    """Resolve every name. A statement's id and a head can only be of this log; tensors and records may be anywhere."""
    claims, sound = case.claims, len(case.claims)
    for claim in claims.dangling():
        lost = [
            one for one in list_mentions(claim.said) if not _is_there(claims, one.algorithm, one.digest, claim.index)
        ]
        never = [one for one in lost if one.algorithm in (STATEMENT, HEAD)]
        elsewhere = [one for one in lost if one.algorithm in (TENSORS, RECORDS) and one.names]
        for one in never:
            yield failed(f"{one.member} names {one.digest.hex()[:16]}, which is not in the log", claim.index)
        for one in elsewhere:
            yield unable(f"{one.member} names {one.digest.hex()[:16]}, which has no statement here", claim.index)
        sound -= bool(never or elsewhere)
    if sound:
        yield passed()


def _is_there(claims: Claims, algorithm: str, digest: bytes, by: int) -> bool:
    if algorithm == STATEMENT:
        return claims.by_id(digest) is not None
    return any(one.index != by or algorithm == HEAD for one in claims.about(algorithm, digest))


@rule(
    "orphan-weights",
    Severity.MAJOR,
    holds="released weights come from a run or from another model, by a statement in the log",
    cites="predicates model, release and training-segment",
    shows="Nothing in the log says where the released tensors come from.",
    does_not_show="That they come from nowhere declared outside it.",
)
def orphan_weights(case: Case) -> Iterator[Judged]:
    """Look for a run that gave the tensors, or a model they are declared to be made from."""
    claims = case.claims
    for release in claims.every(Release):
        root = release.digest(TENSORS)
        if root is None:
            yield unable("the release states no content root", release.index)
            continue
        bases = [one.index for one in claims.of(Model, TENSORS, root) if one.said.base_model]
        runs = [run.index for run, _ in makers(claims, root)]
        fact = f"{root.hex()[:16]} is released, and no run or model is stated that it comes from"
        yield passed(release.index, *bases, *runs) if bases or runs else failed(fact, release.index)


@rule(
    "undeclared-derivation",
    Severity.MAJOR,
    holds="models that an examination links are declared as derived, the one from the other or both from a third",
    cites="predicate finding",
    shows="An examiner's test links two models, and no statement says how they are related.",
    does_not_show="Which was first, by what right, or that the test is right: its error rate stands in the finding.",
)
def undeclared_derivation(case: Case) -> Iterator[Judged]:
    """Follow both lineages of each linked pair until they meet."""
    claims = case.claims
    for finding in claims.every(Finding):
        if finding.said.outcome != "linked":
            continue
        suspect = digest_of(finding.said.suspect, TENSORS) or finding.digest(TENSORS)
        reference = digest_of(finding.said.reference, TENSORS)
        if suspect is None or reference is None:
            yield unable("it links what has no content root", finding.index)
            continue
        first, second = trace(claims, suspect), trace(claims, reference)
        stated = [one.index for root in (suspect, reference) for one in claims.of(Model, TENSORS, root)]
        if first.models.keys() & second.models.keys():
            yield passed(finding.index, *stated)
        elif not first.models[suspect]:
            yield unable(f"suspect {suspect.hex()[:16]} has no statement here", finding.index)
        else:
            rate = finding.said.null_calibration.false_positive_rate
            fact = f"{finding.author} links {suspect.hex()[:16]} with {reference.hex()[:16]} (wrong in {rate} of pairs)"
            yield failed(fact, finding.index, *stated)


@rule(
    "same-tensors-elsewhere",
    Severity.NOTE,
    holds="no two authors state the same tensors",
    cites="specs/weights.md K1, predicate model",
    shows="Two authors had exactly the same tensors.",
    does_not_show="Who had them first outside the log, or that either had no right to.",
)
def same_tensors_elsewhere(case: Case) -> Iterator[Judged]:
    """Compare content roots over all authors, each root once."""
    claims, seen = case.claims, set[bytes]()
    for model in claims.every(Model):
        root = model.digest(TENSORS)
        if root is None or root in seen:
            continue
        seen.add(root)
        others = [one for one in claims.of(Model, TENSORS, root) if one.author != model.author]
        if others:
            names = ", ".join(sorted({one.author for one in others}))
            yield failed(f"{model.author} stated first what {names} states too", model.index, others[0].index)
        else:
            yield passed(model.index)


@rule(
    "unopened-seals",
    Severity.NOTE,
    holds="sealed entries are opened",
    cites="specs/secrecy.md X1 and X11",
    shows="How many sealed entries of an author nobody can read here.",
    does_not_show="What they say; a seal is not a fault.",
)
def unopened_seals(case: Case) -> Iterator[Judged]:
    """Count each author's sealed entries, without those that a statement of the same author opens."""
    claims = case.claims
    shut: Counter[str] = Counter()
    first: dict[str, int] = {}
    for (author, commitment), index in claims.sealed.items():
        if (author, commitment) in claims.opened:
            yield passed(index)
        else:
            shut[author] += 1
            first.setdefault(author, index)
    for author, count in sorted(shut.items()):
        entries = "1 sealed entry" if count == 1 else f"{count} sealed entries"
        yield unable(f"not opened: {entries} of {author}", first[author])


@rule(
    "unreadable-statement",
    Severity.MINOR,
    holds="statements of glasslog's types are as their type declares",
    cites="specs/statements.md V2",
    shows="The statement cannot be judged by any rule.",
    does_not_show="What was meant.",
)
def unreadable_statement(case: Case) -> Iterator[Judged]:
    """List what could not be read as its type says."""
    for index, why in case.claims.unreadable:
        yield failed(why, index)
    if len(case.claims):
        yield passed()
