"""Who signed: forks, strangers, two histories, and keys in other hands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256

from glasslog.audit.claims.ledger import Claim, day_of, digest_of
from glasslog.audit.claims.rule import Case, Judged, Question, Severity, failed, passed, rule, unable
from glasslog.membership import Membership
from glasslog.predicates.base import Predicate
from glasslog.predicates.compromise_notice import CompromiseNotice


@rule(
    "author-fork",
    Severity.CRITICAL,
    question=Question.LEDGER,
    holds="no author signed two blocks with one number",
    cites="specs/log.md L6, specs/agreement.md A14",
    shows="The holder of the author's key told two histories of what it stated.",
    does_not_show="Which of the two was meant, or that the key was in its owner's hands.",
)
def author_fork(case: Case) -> Iterator[Judged]:
    """Judge by evidence entered into the ledger, of which the audit verified both signatures."""
    forks = [one for one in case.report.convicted if one.fault == "author-fork"]
    for one in forks:
        yield failed(f"{one.accused} signed two blocks with one number", one.index)
    if not forks and case.report.blocks:
        yield passed()


@rule(
    "author-unadmitted",
    Severity.CRITICAL,
    question=Question.SIGNER,
    holds="every block is signed by a key of an admitted author",
    cites="specs/log.md L6",
    shows="These entries are of nobody whom the network admitted.",
    does_not_show="Who signed them.",
)
def author_unadmitted(case: Case) -> Iterator[Judged]:
    """Judge by the audit's findings about headers."""
    found = [one for one in case.report.findings.kept if one.rule == "AUDIT-06"]
    for one in found:
        yield failed(one.fact, *(() if one.leaf is None else (one.leaf,)))
    if not found and case.report.blocks:
        yield passed()


@rule(
    "split-view",
    Severity.CRITICAL,
    question=Question.LEDGER,
    holds="nobody else was shown another history",
    cites="specs/auditing.md, Two histories",
    shows="Two histories of one log were finalized.",
    does_not_show="Which stands.",
)
def split_view(case: Case) -> Iterator[Judged]:
    """Judge by the comparisons that were asked for: one replica alone cannot show it."""
    if not case.report.comparisons:
        yield unable("it was compared with no other replica")
    for comparison in case.report.comparisons:
        if comparison.contradicts:
            leaf = comparison.differing_leaf
            yield failed(comparison.fact, *(() if leaf is None else (leaf,)))
        else:
            yield unable(comparison.fact) if comparison.undecided else passed()


@rule(
    "signed-after-compromise",
    Severity.MAJOR,
    question=Question.SIGNER,
    holds="nothing is relied on that a key signed after it may have been in other hands",
    cites="specs/statements.md V8, predicate compromise-notice",
    shows="The entry was signed when its author, or another member, no longer stands by the key.",
    does_not_show="That the entry is false, or who signed it.",
)
def signed_after_compromise(case: Case) -> Iterator[Judged]:
    """Judge every statement of an author whose block key a notice is about.

    The owner's notice counts alone, others' from f + 1 members on: fewer could doubt any key at will (T1, Q6).
    """
    membership = case.claims.membership
    if membership is None:
        return
    doubters: dict[bytes | None, set[str]] = defaultdict(set)
    for notice in case.claims.every(CompromiseNotice):
        doubters[digest_of(notice.said.key, "sha256")].add(notice.author)
    least = len(membership.validators) - membership.quorum + 1
    for notice in case.claims.every(CompromiseNotice):
        key = digest_of(notice.said.key, "sha256")
        owner = _owner(membership, key)
        if notice.said.use != "blocks":
            continue
        if owner is None:
            yield unable("the notice is about a key that is no member's", notice.index)
            continue
        believed = notice.author == owner or len(doubters[key]) >= least
        for claim in case.claims.all():
            if claim.author == owner and not isinstance(claim.said, CompromiseNotice):
                late = _is_after(claim, notice)
                fact = f"entry {claim.number} of {owner} is after what {notice.author} says the key is trusted for"
                late_as = failed if believed else unable
                yield late_as(fact, claim.index, notice.index) if late else passed(claim.index, notice.index)


def _owner(membership: Membership, fingerprint: bytes | None) -> str | None:
    keys = [(member.name, member.author_key) for member in membership.members]
    return next((name for name, key in keys if key is not None and sha256(key).digest() == fingerprint), None)


def _is_after(claim: Claim[Predicate], notice: Claim[CompromiseNotice]) -> bool:
    if notice.said.last_trusted_entry is not None:
        return claim.number > notice.said.last_trusted_entry
    return day_of(claim.time) > notice.said.since[:10]
