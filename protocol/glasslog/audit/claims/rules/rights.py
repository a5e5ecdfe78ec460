"""Licences, terms and reservations: whether what was done is what somebody had prohibited (Q7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from glasslog.audit.claims.ledger import Claim, Claims, digest_of
from glasslog.audit.claims.licences import Trait, read_traits
from glasslog.audit.claims.lineage import list_data
from glasslog.audit.claims.rule import Case, Judged, Severity, failed, passed, rule, unable
from glasslog.predicates.api_usage import ApiUsage
from glasslog.predicates.base import Predicate
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.rights import Constraint, Rights
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.values import RECORDS, STATEMENT, TENSORS, Organisation

_MODEL_ACTIONS = {
    "finetune": {"finetune", "derive"},
    "adapter": {"finetune", "derive"},
    "merge": {"derive"},
    "quantized": {"derive"},
    "distilled": {"distil", "derive"},
}
_ACCOUNTS_AGREE = Decimal(
    "0.01"
)  # how far two sides' counts of one period may lie apart: their clocks cut it otherwise


def _uses(claims: Claims) -> Iterator[tuple[Claim[Predicate], str, bytes, set[str]]]:
    """Yield what one statement says was done with what: the statement, the digest used, the actions it takes."""
    for run in claims.every(TrainingRun):
        parent = digest_of(run.said.parent, TENSORS)
        for root, _ in list_data(claims, run):
            yield run, RECORDS, root, {"train"} if run.said.parent is None else {"train", "finetune"}
        if parent is not None:
            yield run, TENSORS, parent, {"finetune", "derive"}
    for model in claims.every(Model):
        for base in model.said.base_model:
            content = digest_of(base, TENSORS)
            if content is not None:
                yield model, TENSORS, content, _MODEL_ACTIONS.get(model.said.base_model_relation or "", {"derive"})
    for dataset in claims.every(Dataset):
        for one in dataset.said.derived_from:
            records = digest_of(one, RECORDS)
            if records is not None:
                yield dataset, RECORDS, records, {"derive"}


def _rights_in(claims: Claims, algorithm: str, digest: bytes) -> list[Claim[Rights]]:
    named = {one.id: one for one in claims.mentioning(Rights, algorithm, digest)}
    named |= {one.id: one for one in claims.of(Rights, algorithm, digest)}
    return sorted(named.values(), key=lambda one: one.index)


def _is_party(organisation: Organisation | None, author: str, operator: Organisation | None = None) -> bool:
    """Whether an organisation is an author of the log, or the one that the author says it acts for."""
    if organisation is None:
        return False
    mine = [author] if operator is None else [author, operator.name, operator.domain]
    return any(name is not None and name in mine for name in (organisation.name, organisation.domain))


def _applies(rights: Claim[Rights], use: Claim[Predicate]) -> bool:
    """Whether terms are for this user on that day; terms of others and of other times prohibit nothing here."""
    said, operator = rights.said, use.said.operator if isinstance(use.said, TrainingRun) else None
    if said.assignee is not None and not _is_party(said.assignee, use.author, operator):
        return False
    return said.valid is None or said.valid.start <= use.day <= (said.valid.end or use.day)


@rule(
    "licence-forbids",
    Severity.MAJOR,
    holds="nothing was used for what its terms, as logged by then, prohibit",
    cites="predicate rights, ODRL 2.2 section 2.6",
    shows="Whoever stated the data or the model prohibited this use, and it is stated as done.",
    does_not_show="That the prohibition is lawful, or that no licence outside the log allows it.",
)
def licence_forbids(case: Case) -> Iterator[Judged]:
    """Look for prohibitions in what each run, model and data set was made from, and for agreements that lift them."""
    claims = case.claims
    for use, algorithm, digest, actions in _uses(claims):
        owners = {one.author for one in claims.about(algorithm, digest) if not isinstance(one.said, Rights)}
        terms = [one for one in _rights_in(claims, algorithm, digest) if _applies(one, use)]
        yield from _judge_use(use, digest, actions, owners, terms)
        for one in _works(claims, algorithm, digest):
            traits = read_traits(one.said.license)
            if "derive" in actions and traits is not None and Trait.NO_DERIVATIVES in traits:
                yield failed(f"{digest.hex()[:16]} is under {one.said.license}, and was changed", use.index, one.index)


def _works(claims: Claims, algorithm: str, digest: bytes) -> Sequence[Claim[Model] | Claim[Dataset]]:
    return claims.of(Model, TENSORS, digest) if algorithm == TENSORS else claims.of(Dataset, RECORDS, digest)


def _judge_use(
    use: Claim[Predicate], digest: bytes, actions: set[str], owners: set[str], terms: list[Claim[Rights]]
) -> Iterator[Judged]:
    allowed = {
        (one.said.assigner.name, each.action)
        for one in terms
        if one.said.kind == "agreement" and one.said.assignee is not None
        for each in one.said.permissions
    }
    for one in terms:
        for each in one.said.prohibitions:
            lifted = one.said.kind == "policy" and (one.said.assigner.name, each.action) in allowed
            if each.action not in actions or lifted:
                continue
            at = (use.index, one.index)
            if one.index > use.index:
                if one.said.valid is not None:
                    yield unable(f"{each.action} of {digest.hex()[:16]} was prohibited by terms logged later", *at)
            elif each.constraints:
                yield unable(f"{each.action} of {digest.hex()[:16]} is prohibited under bounds not known here", *at)
            elif one.author not in owners:
                yield unable(f"{one.author}, who did not state {digest.hex()[:16]}, prohibits {each.action}", *at)
            else:
                yield failed(f"{each.action} of {digest.hex()[:16]} is prohibited by {one.said.assigner.name}", *at)
    if terms:
        yield passed(use.index, terms[-1].index)


@rule(
    "licence-widened",
    Severity.MAJOR,
    holds="what is made from something keeps the conditions of its licence",
    cites="SPDX 3.0.1 licence expressions; CC BY-NC-SA 4.0 section 3(b); GPL-3.0 section 5",
    shows="A condition that the source's licence carries on is not in the licence of what was made from it.",
    does_not_show="That it had to be: exceptions, other grants and local law are outside the log.",
)
def licence_widened(case: Case) -> Iterator[Judged]:
    """Compare the conditions of each derived model, data set and release with those of what it is made from."""
    claims = case.claims
    for model in claims.every(Model):
        for base in model.said.base_model:
            yield from _compare_licences(claims, model, model.said.license, TENSORS, digest_of(base, TENSORS))
    for dataset in claims.every(Dataset):
        for one in dataset.said.derived_from:
            yield from _compare_licences(claims, dataset, dataset.said.license, RECORDS, digest_of(one, RECORDS))
    for release in claims.every(Release):
        yield from _compare_licences(claims, release, release.said.license, TENSORS, release.digest(TENSORS))


def _compare_licences(
    claims: Claims,
    made: Claim[Model] | Claim[Dataset] | Claim[Release],
    licence: str | None,
    algorithm: str,
    source: bytes | None,
) -> Iterator[Judged]:
    for origin in () if source is None else _works(claims, algorithm, source):
        if origin.said.license is None or licence is None:
            continue  # licence-unknown says so
        before, after = read_traits(origin.said.license), read_traits(licence)
        at = (made.index, origin.index)
        if origin.said.license == licence:
            yield passed(*at)
        elif before is None or after is None:
            unknown = origin.said.license if before is None else licence
            yield unable(f"the conditions of {unknown} are not known here", *at)
        elif lost := {trait for trait in before - after if trait.carries_on}:
            words = ", ".join(sorted(trait.value for trait in lost))
            yield failed(f"made from what is under {origin.said.license}, under {licence}: lost {words}", *at)
        else:
            yield passed(*at)


@rule(
    "licence-unknown",
    Severity.MINOR,
    holds="models and data sets say under which licence or terms they are",
    cites="predicates model and dataset",
    shows="The statement says nothing of a licence.",
    does_not_show="That there is none.",
)
def licence_unknown(case: Case) -> Iterator[Judged]:
    """Look for a licence, or named rights, in every statement of a model or a data set."""
    for model in case.claims.every(Model):
        yield passed(model.index) if model.said.license else failed(f"{model.said.name} has none", model.index)
    for dataset in case.claims.every(Dataset):
        stated = dataset.said.license or dataset.said.rights
        yield passed(dataset.index) if stated else failed(f"{dataset.said.name} has none", dataset.index)


@rule(
    "terms-breached",
    Severity.MAJOR,
    holds="what was used under an agreement stays in its bounds, and both sides' accounts agree",
    cites="predicates rights and api-usage",
    shows="By a party's own account a bound was passed, or the two accounts of one period differ.",
    does_not_show="Which account is right, or what was used beyond both.",
)
def terms_breached(case: Case) -> Iterator[Judged]:
    """Hold each account's volumes against the agreement's bounds, and the two sides' against one another."""
    claims = case.claims
    accounts: dict[tuple[bytes, str, str], list[tuple[str, Decimal, Claim[ApiUsage]]]] = {}
    for usage in claims.every(ApiUsage):
        rights = claims.stated(Rights, digest_of(usage.said.agreement, STATEMENT))
        if rights is None:
            yield unable("the agreement it was used under is not in the log", usage.index)
            continue
        parties = usage.author == rights.author or any(
            _is_party(each, usage.author) for each in (rights.said.assigner, rights.said.assignee)
        )
        if not parties:
            yield unable(f"{usage.author} is no party of the agreement by name", usage.index, rights.index)
            continue
        yield from _judge_account(usage, rights)
        days = f"{usage.said.period.start}/{usage.said.period.end}"
        for volume in usage.said.volumes:
            key = (rights.id, days, volume.unit)
            accounts.setdefault(key, []).append((usage.said.side, Decimal(volume.amount), usage))
    for (_, days, unit), given in accounts.items():
        yield from _compare_accounts(days, unit, given)


def _judge_account(usage: Claim[ApiUsage], rights: Claim[Rights]) -> Iterator[Judged]:
    said, valid, at = usage.said, rights.said.valid, (usage.index, rights.index)
    end = said.period.end or said.period.start
    if valid is not None and (said.period.start < valid.start or (valid.end is not None and end > valid.end)):
        yield failed(f"used from {said.period.start} to {end}, agreed from {valid.start} to {valid.end or 'on'}", *at)
    bounds = {bound for each in rights.said.permissions for bound in each.constraints}
    volumes = {volume.unit: Decimal(volume.amount) for volume in said.volumes}
    for bound in sorted(bounds, key=lambda each: (each.left, each.operator, each.right)):
        amount = volumes.get(bound.left)
        if amount is None:
            yield unable(f"nothing accounts for {bound.left}, which is bounded", *at)
        elif _keeps(amount, bound):
            yield passed(*at)
        else:
            yield failed(f"{amount} {bound.left}, agreed {bound.operator} {bound.right}", *at)
    if not bounds:
        yield passed(*at)


def _keeps(amount: Decimal, bound: Constraint) -> bool:
    right = Decimal(bound.right)
    return {
        "eq": amount == right,
        "neq": amount != right,
        "lt": amount < right,
        "lteq": amount <= right,
        "gt": amount > right,
        "gteq": amount >= right,
    }[bound.operator]


def _compare_accounts(days: str, unit: str, given: list[tuple[str, Decimal, Claim[ApiUsage]]]) -> Iterator[Judged]:
    for place, (side, amount, usage) in enumerate(given):
        for other_side, other, against in given[:place]:
            if side != other_side and abs(amount - other) > _ACCOUNTS_AGREE * max(abs(amount), abs(other)):
                fact = f"{unit} in {days}: {side} counts {amount}, {other_side} {other}"
                yield failed(fact, against.index, usage.index)


@rule(
    "reservation-ignored",
    Severity.MAJOR,
    holds="crawled data was trained on only after reservations of rights were looked for and kept",
    cites="Directive (EU) 2019/790 Article 4(3); predicate dataset, reservation",
    shows="Nobody looked whether rightsholders had reserved mining, or somebody had and it was done.",
    does_not_show="That a reservation holds, or that those which were looked for are all there are.",
)
def reservation_ignored(case: Case) -> Iterator[Judged]:
    """Read what each data set that a run declares says of reservations, and prohibitions of mining in its sources."""
    claims = case.claims
    reserved = {
        target.uri: one
        for one in claims.every(Rights)
        if any(each.action == "mine" for each in one.said.prohibitions)
        for target in one.said.target
        if target.uri is not None
    }
    for run in claims.every(TrainingRun):
        for root, dataset in list_data(claims, run):
            if dataset is None or "crawled" not in dataset.said.source_category:
                continue
            state, at = dataset.said.reservation, (run.index, dataset.index)
            hit = next((reserved[one.uri] for one in dataset.said.sources if one.uri in reserved), None)
            if state is None:
                yield unable(f"data set {root.hex()[:16]} says nothing of reservations", *at)
            elif state.reserved == "not-checked":
                yield failed(f"data set {root.hex()[:16]}: nobody looked for reservations", *at)
            elif hit is not None and hit.index < run.index and state.reserved == "none-found":
                yield failed(f"{hit.said.assigner.name} had reserved mining of a source", *at, hit.index)
            else:
                yield passed(*at)
