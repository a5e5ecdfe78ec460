"""Archives of two replicas side by side: certificates that exclude one another, and who voted for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import audit_ledger
from audit_ledger import MemorySource, World, flip, make_keys, make_validator, seed
from forked_ledger import Branch, make_branches
from glasslog.agreement.evidence import decode_evidence, verify_evidence
from glasslog.agreement.messages import (
    NO_DIGEST,
    Certificate,
    Kind,
    decode_certificate,
    decode_proposal,
    encode_certificate,
    vote_bytes,
)
from glasslog.audit import Report, Side, Verdict, audit, audit_against
from glasslog.entry import Member
from glasslog.identity import Ed25519Key, verify_ed25519
from glasslog.membership import read_genesis


def source_of(world: World, label: str) -> MemorySource:
    source = world.source()
    source.label = label
    return source


def judge(one: World, other: World, *, change: Callable[[MemorySource], None] | None = None) -> Report:
    """Audit ``one`` against ``other``, which ``change`` may have altered, under the policy of the first."""
    source, beside = source_of(one, "one"), source_of(other, "other")
    if change is not None:
        change(beside)
    report = audit(source, one.policy)
    assert report.status in (0, 3), [finding.line for finding in report.findings.kept]
    audit_against(report, source, [Side(beside.label, beside.checkpoint(), beside)], one.policy)
    return report


def rules_of(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings.kept}


def voters_named(report: Report) -> dict[str, set[str]]:
    """Who is named for votes, by offence."""
    named: dict[str, set[str]] = {}
    for culprit in report.culprits:
        if culprit.offence != "two-roots":
            named.setdefault(culprit.offence, set()).add(culprit.name)
    return named


def names(numbers: Sequence[int] | set[int]) -> set[str]:
    return {f"institute-{number}.example" for number in numbers}


def replace_certificates(source: MemorySource, *certificates: Certificate) -> None:
    assert source.kept is not None
    for certificate in certificates:
        source.kept.by_view[certificate.view] = [
            *[
                encoded for encoded in source.kept.by_view.get(certificate.view, [])
                if decode_certificate(encoded).kind is not certificate.kind
            ],
            encode_certificate(certificate),
        ]  # fmt: skip


# --- forks -------------------------------------------------------------------------------------------------


def test_two_ledgers_of_one_genesis_are_a_fork_that_names_who_made_both() -> None:
    one, other = make_branches((0, 1, 2), (1, 2, 3), heights=(2, 3))
    report = judge(one, other)
    assert (report.verdict, report.status, rules_of(report)) == (Verdict.BROKEN, 1, {"AUDIT-22", "AUDIT-23"})
    assert {culprit.name for culprit in report.culprits} == names({1, 2})
    assert voters_named(report) == {"double-notarize": names({1, 2}), "double-finalize": names({1, 2})}
    first = next(index for index, leaf in enumerate(one.leaves) if leaf != other.leaves[index])
    assert report.findings.kept[0].leaf == first
    assert "Two histories of ledger.example/audited were finalized" in report.sentence


@settings(max_examples=25)
@given(st.sets(st.integers(0, 6), min_size=5), st.sets(st.integers(0, 6), min_size=5), st.integers(1, 3))
def test_voters_named_are_exactly_those_who_voted_for_both(one: set[int], other: set[int], heights: int) -> None:
    branches = make_branches(sorted(one), sorted(other), validators=7, common=1, heights=(heights, 1))
    report = judge(*branches)
    assert voters_named(report) == {"double-notarize": names(one & other), "double-finalize": names(one & other)}
    assert {culprit.name for culprit in report.culprits} == names(one & other)
    assert len(one & other) >= 3 == report.comparisons[0].least
    for culprit in report.culprits:
        if culprit.evidence:
            evidence = decode_evidence(culprit.evidence)
            verify_evidence(evidence, branches[0].membership, verify_ed25519)
            assert evidence.accused == culprit.name


def test_finalizing_in_a_view_that_others_left_by_nullifying_names_who_did_both() -> None:
    one, other = make_branches((0, 1, 2), (1, 2, 3), heights=(1, 1), skip_views=(0, 1))
    report = judge(one, other)
    assert voters_named(report) == {"nullify-and-finalize": names({1, 2})}
    assert "AUDIT-23" in rules_of(report)
    facts = [finding.fact for finding in report.findings.kept if finding.rule == "AUDIT-23"]
    assert any("finalize certificate in one and a nullify certificate in other" in fact for fact in facts), facts


def test_heights_final_in_different_views_contradict_without_naming_a_voter() -> None:
    """What the archives no longer hold names nobody; the checkpoints do."""
    one, other = make_branches((0, 1, 2), (1, 2, 3), heights=(1, 1), skip_views=(0, 1))

    def forget(source: MemorySource) -> None:
        assert source.kept is not None
        for view, kept in source.kept.by_view.items():
            source.kept.by_view[view] = [each for each in kept if decode_certificate(each).kind is not Kind.NULLIFY]

    report = judge(one, other, change=forget)
    assert voters_named(report) == {}
    assert [finding.fact for finding in report.findings.kept if finding.rule == "AUDIT-23"] == [
        "two heights 3 are final by certificate"
    ]
    assert {culprit.name for culprit in report.culprits} == names({1, 2})


def test_unpublished_fork_is_found_by_certificates() -> None:
    """Both published the same checkpoint, and then made two next heights final."""
    one, other = make_branches((0, 1, 2), (1, 2, 3), common=2, heights=(0, 0))
    for branch, author in ((one, audit_ledger.LAB), (other, audit_ledger.OTHER_LAB)):
        branch.note = one.note
        branch.grow((3,), author=author)
    report = judge(one, other)
    assert rules_of(report) == {"AUDIT-23"}
    assert voters_named(report) == {"double-notarize": names({1, 2}), "double-finalize": names({1, 2})}


# --- who is never named -------------------------------------------------------------------------------------


def test_replica_that_is_behind_contradicts_nothing() -> None:
    one, other = Branch(), Branch()
    for branch, heights in ((one, 2), (other, 4)):
        for height in range(heights):
            branch.grow((3,), skip_views=height % 2)
        branch.publish()
    for report in (judge(one, other), judge(other, one)):
        assert (report.status, report.culprits, report.findings.count) == (0, [], 0)
        assert report.comparisons[0].relation.value == "prefix"


def test_notarize_and_nullify_certificates_of_one_view_may_coexist() -> None:
    """Half left the view by N, half by Z (A7): honest, in one replica as in two."""
    one, other = Branch(), Branch()
    for branch in (one, other):
        branch.grow((3,), skip_views=1)
        branch.publish()

    def add(source: MemorySource) -> None:
        replace_certificates(source, other.certify(3, Kind.NULLIFY, NO_DIGEST, signers=(0, 1, 2)))

    source = source_of(one, "one")
    replace_certificates(source, one.certify(3, Kind.NOTARIZE, bytes(32), signers=(1, 2, 3)))
    beside = source_of(other, "other")
    add(beside)
    report = audit(source, one.policy)
    audit_against(report, source, [Side("other", beside.checkpoint(), beside)], one.policy)
    assert (report.status, report.culprits, report.findings.count) == (0, [], 0)


def test_made_up_height_below_a_true_final_one_is_no_second_history() -> None:
    """An archive whose proposal of height 2 nobody signed: the true height 3 above it makes nothing else final."""
    one, other = Branch(), Branch()
    for branch in (one, other):
        for _ in range(3):
            branch.grow((3,))
        branch.publish()

    def make_up(source: MemorySource) -> None:
        assert source.kept is not None
        true = decode_proposal(source.kept.proposals[2][1])
        invented = replace(true, time=true.time + 1)
        source.kept.proposals[2] = invented.digest, invented.encode()

    report = judge(one, other, change=make_up)
    assert (report.status, report.culprits, report.findings.count) == (0, [], 0)


def test_founding_leaves_that_no_signed_root_covers_vouch_for_nobody() -> None:
    """Two replicas show the same forged founding leaves over honest tiles and notes: their votes name nobody."""
    one, other = make_branches((0, 1, 2), (1, 2, 3), common=1, heights=(1, 1))
    for branch in (one, other):
        branch.publish()
    invented = Ed25519Key(seed("invented"))
    victim = replace(make_validator(0), vote_key=invented.public)
    others = [member for member in one.membership.members if member.name != victim.name]
    forged = audit_ledger.make_genesis([victim, *others])
    founded = read_genesis(forged)[1]
    sources = [source_of(one, "one"), source_of(other, "other")]
    for source, digest in zip(sources, (b"\1" * 32, b"\2" * 32), strict=True):
        assert source.kept is not None
        source.leaves[: len(forged)] = forged
        message = vote_bytes(founded.genesis_hash, 1, 2, Kind.FINALIZE, digest)
        certificate = Certificate(1, 2, Kind.FINALIZE, digest, (0,), (invented.sign(message),))
        source.kept.by_view[2] = [encode_certificate(certificate)]
    report = audit(sources[0], one.policy)
    audit_against(report, sources[0], [Side("other", other.note, sources[1])], one.policy)
    assert voters_named(report) == {}
    assert any("never vouched for" in notice for notice in report.notices), report.notices


def test_notarizing_one_and_finalizing_another_convicts_nobody_alone() -> None:
    """An honest validator may notarize one proposal and finalize the other that a quorum notarized (A3)."""
    one, other = make_branches((0, 1, 2), (1, 2, 3), common=1, heights=(1, 1))
    view = one.view

    def keep_notarize(source: MemorySource) -> None:
        assert source.kept is not None
        digest = other.proposals[2][0]
        source.kept.by_view[view] = [encode_certificate(other.certify(view, Kind.NOTARIZE, digest, signers=(1, 2, 3)))]

    source = source_of(one, "one")
    assert source.kept is not None
    digest = one.proposals[2][0]
    source.kept.by_view[view] = [encode_certificate(one.certify(view, Kind.FINALIZE, digest, signers=(0, 1, 2)))]
    beside = source_of(other, "other")
    keep_notarize(beside)
    report = audit(source, one.policy)
    audit_against(report, source, [Side("other", beside.checkpoint(), beside)], one.policy)
    assert voters_named(report) == {}


def test_forged_votes_in_a_certificate_name_nobody() -> None:
    """Certificates in which honest validators' votes are made up: the true signers are named, the others are not."""
    one, other = make_branches((0, 1, 2), (1, 2, 3), common=1, heights=(1, 1))

    def forge(source: MemorySource) -> None:
        assert source.kept is not None
        for encoded in list(source.kept.by_view[other.view]):
            true = other.certify(
                other.view, decode_certificate(encoded).kind, other.proposals[2][0], signers=(0, 1, 2, 3)
            )
            forged = (flip(true.signatures[0], 7), *true.signatures[1:])
            replace_certificates(source, replace(true, signatures=forged))

    report = judge(one, other, change=forge)
    assert voters_named(report) == {"double-notarize": names({1, 2}), "double-finalize": names({1, 2})}


def test_certificate_of_unknown_voters_or_rubbish_is_passed_over() -> None:
    one, other = make_branches((0, 1, 2), (1, 2, 3), common=1, heights=(1, 1))

    def spoil(source: MemorySource) -> None:
        assert source.kept is not None
        certificate = other.certify(other.view, Kind.FINALIZE, other.proposals[2][0])
        shifted = replace(certificate, signers=tuple(number + 3 for number in certificate.signers))
        source.kept.by_view[other.view] = [b"rubbish", encode_certificate(shifted)]

    report = judge(one, other, change=spoil)
    assert voters_named(report) == {}
    assert {culprit.name for culprit in report.culprits} == names({1, 2})


def test_certificates_of_too_few_contradict_nothing() -> None:
    """Two votes below a quorum are evidence against their voter, and no second history."""
    one, other = Branch(), Branch()
    for branch in (one, other):
        branch.grow((3,))
        branch.publish()

    def add(source: MemorySource) -> None:
        replace_certificates(source, other.certify(other.view, Kind.NULLIFY, NO_DIGEST, signers=(0, 1)))

    report = judge(one, other, change=add)
    assert report.findings.count == 0
    assert voters_named(report) == {"nullify-and-finalize": names({0, 1})}


def test_votes_of_another_network_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = make_branches((0, 1, 2), (1, 2, 3))
    monkeypatch.setattr(audit_ledger, "START", audit_ledger.START + 1)
    _, other = make_branches((0, 1, 2), (1, 2, 3))
    report = judge(one, other)
    assert one.membership.genesis_hash != other.membership.genesis_hash
    assert voters_named(report) == {}
    assert rules_of(report) == {"AUDIT-22"}
    assert {culprit.name for culprit in report.culprits} == names({1, 2})
    assert report.comparisons[0].differing_leaf == 0


def test_vote_key_that_its_owner_never_vouched_for_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corrupt quorum founds the log again with a vote key of its own under an honest name, and signs with it."""
    invented = Ed25519Key(seed("invented"))
    honest = "institute-0.example"

    def found(number: int) -> Member:
        member = make_validator(number)
        return replace(member, vote_key=invented.public) if member.name == honest else member

    def keys(name: str) -> object:
        own = make_keys(name)
        return replace(own, vote=invented) if name == honest else own

    monkeypatch.setattr(audit_ledger, "make_validator", found)
    monkeypatch.setattr(audit_ledger, "make_keys", keys)
    one, other = make_branches((0, 1, 2), (0, 1, 3), common=1, heights=(1, 1))
    for branch in (one, other):
        branch.publish(signers=(1, 2, 3))
    report = judge(one, other)
    assert voters_named(report) == {"double-notarize": names({1}), "double-finalize": names({1})}
    assert {culprit.name for culprit in report.culprits} == names({1, 2, 3})
    assert any(f"under the name of {honest}" in notice for notice in report.notices), report.notices


def test_certificates_without_a_quorum_that_vouches_break_nothing() -> None:
    """Nothing is published: the vote keys are whoever's, so they convict nobody and no verdict rests on them."""
    one, other = make_branches((0, 1, 2), (1, 2, 3))
    for branch in (one, other):
        branch.note = None
    report = judge(one, other)
    assert (report.status, report.culprits, report.findings.count) == (3, [], 0)
    assert "no published checkpoint" in report.undecided[0].undecided


# --- several, and what it comes to --------------------------------------------------------------------------


def test_others_are_compared_with_one_another_too() -> None:
    common = Branch()
    for _ in range(2):
        common.grow((3, 2))
    common.publish()
    one, other = make_branches((0, 1, 2), (1, 2, 3), common=2)
    source = source_of(common, "behind")
    report = audit(source, common.policy)
    sides = [Side(label, world.note, source_of(world, label)) for label, world in (("a", one), ("b", other))]
    audit_against(report, source, sides, common.policy)
    assert [each.relation.value for each in report.comparisons] == ["prefix", "prefix", "fork"]
    assert {culprit.name for culprit in report.culprits} == names({1, 2})
    assert report.status == 1
    assert {finding.where for finding in report.findings.kept} == {"a and b"}


def test_intact_replica_with_an_undecided_comparison_is_unable() -> None:
    world = Branch()
    world.grow((3,))
    world.publish()
    later = Branch()
    for _ in range(3):
        later.grow((3,))
    later.publish()
    source = source_of(world, "one")
    report = audit(source, world.policy)
    assert report.status == 0
    audit_against(report, source, [Side("later.note", later.note)], world.policy)
    assert (report.verdict, report.status) == (Verdict.UNABLE, 3)
    assert "Whether it is the only one cannot be said here" in report.sentence
