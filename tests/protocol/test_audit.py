"""Audits: an honest ledger is intact; every changed byte and every lie of a corrupt quorum is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_ledger import (
    LAB,
    ORIGIN,
    OTHER_LAB,
    MemorySource,
    World,
    flip,
    make_author,
    make_genesis,
    make_keys,
    make_statement,
    make_validator,
    make_world,
    rebuild_tiles,
    seed,
)
from glasslog import checkpoint as checkpoint_module
from glasslog.agreement.evidence import Fault, of_votes
from glasslog.agreement.messages import NO_DIGEST, Kind, Vote, encode_certificate, vote_bytes
from glasslog.audit import RULES, Finding, Report, Run, Verdict, audit, finality, walk
from glasslog.audit.published import policy_of
from glasslog.checkpoint import Checkpoint
from glasslog.entry import number_entry
from glasslog.errors import ProofError
from glasslog.identity import verify_ed25519, verify_mldsa44
from glasslog.ledger import Tip
from glasslog.membership import read_genesis
from glasslog.predicates.evidence import evidence_statement
from glasslog.statement import encode_statement
from glasslog.tiles import join_entries

MEMBERS = 7  # leaves before the first height


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Verify equal signatures once: verification is a pure function, and a changed byte leaves most of them alone."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (walk, finality, checkpoint_module):
            patch.setattr(module, "verify_ed25519", cache(verify_ed25519))
        patch.setattr(checkpoint_module, "verify_mldsa44", cache(verify_mldsa44))
        yield


@cache
def small_world() -> World:
    return make_world(heights=2, counts=(2, 1))


def judge(source: MemorySource, world: World | None = None) -> Report:
    return audit(source, (world or small_world()).policy)


def assert_broken(source: MemorySource, rule: str | None = None, leaf: int | None = None) -> list[Finding]:
    """The audit says broken, and some finding names the rule and the leaf."""
    report = judge(source)
    assert report.verdict is Verdict.BROKEN
    assert report.status == 1
    found = report.findings.kept
    assert [one for one in found if rule in (None, one.rule) and leaf in (None, one.leaf)], [one.line for one in found]
    return found


# --- honest ledgers -------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", ["spans", "bundles of 256"])
@pytest.mark.parametrize("validators", [4, 5, 7])
def test_honest_ledger_is_intact(runs: str, validators: int) -> None:
    world = World(validators)
    for height in range(4):
        both = [*world.make_blocks(LAB, (150, 3)), *world.make_blocks(OTHER_LAB, (2,))]
        world.add_height(both[: height * 2] if height < 2 else both, skip_views=height % 3)
    world.publish(signers=range(world.membership.quorum))
    report = judge(world.source(runs=runs), world)
    assert [one.line for one in report.findings.kept] == []
    assert (report.verdict, report.status) == (Verdict.INTACT, 0)
    assert (report.size, report.root) == (world.state.size, world.state.root)
    assert (report.published, report.certified) == (world.state.size, world.state.size)
    assert report.entries == sum(tip.next_entry for tip in world.tips.values())
    assert len(report.finalized_by) == world.membership.quorum
    assert report.sentence.endswith("No audit shows that a statement is true.")


def test_audit_without_policy_does_not_confirm_the_origin() -> None:
    report = audit(small_world().source())
    assert (report.verdict, report.status) == (Verdict.UNABLE, 3)
    assert any("no policy" in what for what in report.unchecked)


def test_audit_with_a_policy_of_another_network_is_broken() -> None:
    others = [make_validator(number) for number in range(10, 14)]
    policy = policy_of(small_world().founded, read_genesis(make_genesis(others))[1])
    report = audit(small_world().source(), policy)
    assert report.status == 1
    assert {one.rule for one in report.findings.kept} == {"AUDIT-13"}


def test_policy_of_more_validators_than_founded_the_log_is_noted() -> None:
    report = audit(small_world().source(), World(5).policy)
    assert report.status == 0, "four of its five cosigned, which is its quorum"
    assert any("not those that the log was founded with" in notice for notice in report.notices)


def test_policy_of_another_shape_is_refused_before_anything_is_read() -> None:
    *singles, bft = small_world().policy.groups
    lax = replace(small_world().policy, groups=(*singles, replace(bft, threshold=2)))
    with pytest.raises(ProofError, match="POLICY-11"):
        audit(small_world().source(), lax)


@pytest.mark.parametrize("founding", [True, False])
def test_unpublished_ledger_is_consistent_and_unconfirmed(founding: bool) -> None:
    world = World() if founding else make_world(heights=2, published=False)
    report = judge(world.source(), world)
    assert (report.status, report.published) == (3, 0)
    assert report.certified == (0 if founding else world.state.size)


def test_leaves_beyond_the_checkpoint_are_reported_as_unpublished() -> None:
    world = make_world(heights=2)
    published = world.state.size
    world.add_height(world.make_blocks(LAB, (2,)))
    report = judge(world.source(), world)
    assert (report.status, report.published, report.certified) == (0, published, world.state.size)
    assert any("4 leaves" in notice and "not yet published" in notice for notice in report.notices)
    source = world.source()
    assert source.kept is not None
    source.kept.by_view[world.view] = []
    report = judge(source, world)
    assert report.status == 0
    assert any("neither certificate nor checkpoint" in notice for notice in report.notices)


def test_log_alone_is_audited_without_archive() -> None:
    source = small_world().source()
    source.kept = None
    report = judge(source)
    assert report.status == 0
    assert any("certificates" in what for what in report.unchecked)


def test_checkpoint_of_the_founded_log_is_confirmed() -> None:
    world = World()
    world.publish()
    report = judge(world.source(), world)
    assert (report.status, report.published, report.published_height) == (0, MEMBERS, 0)


def test_progress_ends_at_the_last_leaf() -> None:
    done: list[int] = []
    audit(small_world().source(), progress=done.append)
    assert done == sorted(done)
    assert done[-1] == small_world().state.size


def test_report_is_a_json_object() -> None:
    import json

    source = small_world().source()
    source.leaves[MEMBERS] = flip(source.leaves[MEMBERS], 40)
    value = json.loads(json.dumps(judge(source).to_value()))
    assert value["verdict"] == "broken"
    assert value["findings"][0]["leaf"] == MEMBERS
    assert value["findings"][0]["must_hold"] == RULES[value["findings"][0]["rule"]].holds


# --- one changed byte -----------------------------------------------------------------------------


def test_flipping_any_byte_of_an_entry_header_or_seal_names_its_leaf() -> None:
    leaves = small_world().leaves
    for index in range(MEMBERS, len(leaves)):
        for at in range(0, len(leaves[index]), 1 if index < MEMBERS + 3 or len(leaves[index]) < 60 else 7):
            source = small_world().source()
            source.leaves[index] = flip(leaves[index], at, 1 << at % 8)
            assert_broken(source, leaf=index)


def test_flipping_a_byte_of_a_genesis_or_membership_leaf_names_it() -> None:
    leaves = small_world().leaves
    for index in range(MEMBERS):
        for at in [*range(0, len(leaves[index]), 11), 0, 1, 2, 3, len(leaves[index]) - 1]:
            source = small_world().source()
            source.leaves[index] = flip(leaves[index], at, 1 << at % 8)
            assert_broken(source, leaf=index)


@given(st.data())
def test_changed_leaf_is_found_though_the_tiles_were_made_anew(data: st.DataObject) -> None:
    source = small_world().source(runs=data.draw(st.sampled_from(("spans", "bundles"))))
    index = data.draw(st.integers(0, len(source.leaves) - 1))
    leaf = source.leaves[index]
    source.leaves[index] = flip(leaf, data.draw(st.integers(0, len(leaf) - 1)), data.draw(st.integers(1, 255)))
    rebuild_tiles(source)
    found = assert_broken(source)
    assert any(one.leaf is not None and (one.leaf >= index or index < MEMBERS) for one in found)


def test_flipping_any_byte_of_a_tile_names_tile_and_leaf() -> None:
    tiles = small_world().source().tiles
    assert set(tiles) == {(0, 0)}
    for at in range(len(tiles[0, 0])):
        source = small_world().source()
        source.tiles[0, 0] = flip(tiles[0, 0], at, 1 << at % 8)
        assert_broken(source, "AUDIT-12", at // 32)


def test_flipping_a_byte_of_a_higher_tile_names_it() -> None:
    world = World()
    for _ in range(3):
        world.add_height(world.make_blocks(LAB, (200,)))
    world.publish()
    source = world.source()
    assert set(source.tiles) >= {(0, 0), (0, 1), (0, 2), (1, 0)}
    source.tiles[1, 0] = flip(source.tiles[1, 0], 40)
    report = judge(source, world)
    assert [one.where for one in report.findings.kept] == ["tile/1/000.p/2"]
    for key in list(world.source().tiles):
        source = world.source()
        del source.tiles[key]
        assert {one.rule for one in judge(source, world).findings.kept} == {"AUDIT-12"}


def test_flipping_any_byte_of_the_checkpoint_is_found() -> None:
    note = small_world().note
    assert note is not None
    for at in [*range(0, 700, 2), *range(700, len(note), 29)]:
        source = small_world().source()
        source.note = flip(note, at, 1 << at % 8)
        report = judge(source)
        assert report.status == 1, at
        assert {one.rule for one in report.findings.kept} <= {"AUDIT-13", "AUDIT-14", "AUDIT-15", "AUDIT-16"}


def test_flipping_any_byte_of_the_archive_is_found() -> None:
    world = small_world()
    for view, certificates in world.certificates.items():
        for place, encoded in enumerate(certificates):
            for at in range(0, len(encoded), 1 if view == 1 and place else 9):
                source = world.source()
                assert source.kept is not None
                source.kept.by_view[view][place] = flip(encoded, at, 1 << at % 8)
                assert {one.rule for one in assert_broken(source)} <= {"AUDIT-18", "AUDIT-19"}
    for height, (digest, encoded) in world.proposals.items():
        for at in range(0, 32 + len(encoded), 1 if height == 1 else 9):
            source = world.source()
            assert source.kept is not None
            whole = flip(digest + encoded, at, 1 << at % 8)
            source.kept.proposals[height] = whole[:32], whole[32:]
            assert {one.rule for one in assert_broken(source, "AUDIT-17")} <= {"AUDIT-17", "AUDIT-19"}


def test_tip_that_is_not_the_chains_end_is_found() -> None:
    source = small_world().source()
    assert source.kept is not None
    tip = source.kept.chain_tips[LAB]
    source.kept.chain_tips[LAB] = Tip(tip.seq, tip.hash, tip.next_entry + 1)
    assert_broken(source, "AUDIT-21")
    del source.kept.chain_tips[LAB]
    assert_broken(source, "AUDIT-21")


# --- leaves missing, moved, added -----------------------------------------------------------------


def test_missing_leaf_is_found_wherever_it_is() -> None:
    for index in range(len(small_world().leaves)):
        source = small_world().source(runs="bundles")
        del source.leaves[index]
        source.stated_size = len(small_world().leaves)
        assert_broken(source)


def test_swapped_leaves_are_found_wherever_they_are() -> None:
    for index in range(len(small_world().leaves) - 1):
        source = small_world().source(runs="bundles")
        source.leaves[index : index + 2] = source.leaves[index + 1], source.leaves[index]
        found = assert_broken(source)
        assert {index, index + 1} & {one.leaf for one in found} or index < MEMBERS


def test_repeated_leaf_is_found_wherever_it_is() -> None:
    for index in range(len(small_world().leaves)):
        source = small_world().source(runs="bundles")
        source.leaves.insert(index, source.leaves[index])
        rebuild_tiles(source)
        assert_broken(source)


def test_log_that_is_cut_off_or_goes_on_is_found() -> None:
    source = small_world().source(runs="bundles")
    source.stated_size = len(source.leaves)
    source.leaves = source.leaves[:-1]
    assert_broken(source, "AUDIT-01", len(source.leaves))
    source = small_world().source(runs="bundles")
    source.leaves.append(number_entry(LAB, 99, make_statement(1)))
    assert_broken(source, "AUDIT-03", len(source.leaves) - 1)


def test_gap_between_runs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    source = small_world().source()
    runs = list(source.runs())
    monkeypatch.setattr(source, "runs", lambda: iter([*runs[:2], *runs[3:]]))
    assert_broken(source, "AUDIT-01", runs[2].first_index)


@pytest.mark.parametrize("bundle", [b"\0", b"\0\5abc", join_entries([b"x"]) + b"\0\2a"])
def test_run_that_is_not_framed_is_found(monkeypatch: pytest.MonkeyPatch, bundle: bytes) -> None:
    source = small_world().source()
    runs = list(source.runs())
    monkeypatch.setattr(source, "runs", lambda: iter([*runs[:1], Run(MEMBERS, bundle)]))
    assert_broken(source, "AUDIT-01", MEMBERS + bundle.count(b"\0\1x"))


def test_log_without_leaves_is_broken() -> None:
    source = small_world().source()
    source.leaves = []
    assert_broken(source, "AUDIT-02", 0)


def test_genesis_of_other_members_is_found() -> None:
    world = World()
    others = make_genesis([*[make_validator(number) for number in range(4)], make_author("lab-3.example")])
    source = world.source()
    source.leaves[1:] = others[1:]
    source.note = None
    rebuild_tiles(source)
    assert_broken(source, "AUDIT-02")


# --- checkpoints, certificates, evidence ------------------------------------------------------------


@pytest.mark.parametrize(("size", "rule"), [(MEMBERS, "AUDIT-14"), (MEMBERS + 1, "AUDIT-14"), (10_000, "AUDIT-14")])
def test_checkpoint_of_no_height_or_of_another_root_is_found(size: int, rule: str) -> None:
    world = make_world(heights=2, published=False)
    world.publish(size=size)
    report = judge(world.source(), world)
    assert {one.rule for one in report.findings.kept} == {rule}
    assert report.finalized_by


def test_checkpoint_of_too_few_or_of_another_log_is_found() -> None:
    world = small_world()
    source = world.source()
    source.note = world.sign_note(Checkpoint(ORIGIN, world.state.size, world.state.root), (0, 1))
    assert {one.rule for one in assert_broken(source)} == {"AUDIT-15", "AUDIT-16"}
    assert audit(source).status == 1
    source.note = world.sign_note(Checkpoint("ledger.example/other", world.state.size, world.state.root))
    assert_broken(source, "AUDIT-13")


def certificates_of(world: World, *certificates: tuple[int, Kind, bytes, tuple[int, ...]]) -> MemorySource:
    source = world.source()
    assert source.kept is not None
    for view, kind, digest, signers in certificates:
        made = encode_certificate(world.certify(view, kind, digest, signers=signers))
        source.kept.by_view.setdefault(view, []).append(made)
    return source


@pytest.mark.parametrize(
    ("view", "kind", "digest", "signers", "rule"),
    [
        (1, Kind.FINALIZE, seed("other"), (0, 1, 2), "AUDIT-19"),
        (1, Kind.NOTARIZE, seed("other"), (1, 2, 3), "AUDIT-19"),
        (1, Kind.NULLIFY, NO_DIGEST, (0, 1, 2), "AUDIT-19"),
        (2, Kind.FINALIZE, seed("other"), (0, 1, 2), "AUDIT-19"),
        (2, Kind.NULLIFY, NO_DIGEST, (0, 1), "AUDIT-18"),
        (99, Kind.NULLIFY, NO_DIGEST, (0, 1), "AUDIT-18"),
    ],
)
def test_certificate_that_contradicts_or_is_short_of_a_quorum_is_found(
    view: int, kind: Kind, digest: bytes, signers: tuple[int, ...], rule: str
) -> None:
    assert_broken(certificates_of(small_world(), (view, kind, digest, signers)), rule)


def test_missing_proposal_is_found() -> None:
    source = small_world().source()
    assert source.kept is not None
    del source.kept.proposals[1]
    assert_broken(source, "AUDIT-17")


def double_vote(world: World) -> bytes:
    votes: list[Vote] = []
    for digest in (seed("one"), seed("two")):
        message = vote_bytes(world.membership.genesis_hash, 1, 1, Kind.FINALIZE, digest)
        name = world.membership.validators[0].name
        votes.append(Vote(1, 1, Kind.FINALIZE, digest, 0, make_keys(name).vote.sign(message)))
    return of_votes(Fault.DOUBLE_FINALIZE, world.membership.validators[0].name, *votes).encode()


def test_archived_evidence_must_convict() -> None:
    world = small_world()
    source = world.source()
    assert source.kept is not None
    source.kept.found = [double_vote(world)]
    assert judge(source).status == 0
    source.kept.found = [flip(double_vote(world), 200)]
    assert_broken(source, "AUDIT-20")


@pytest.mark.parametrize("convicts", [True, False])
def test_entered_evidence_is_judged_and_breaks_nothing(convicts: bool) -> None:
    world = World()
    accused = world.membership.validators[0].name
    data = double_vote(world) if convicts else flip(double_vote(world), 200)
    entered = encode_statement(evidence_statement(data, fault="double-finalize", accused=accused))
    world.add_height([world.make_block([number_entry(LAB, 0, entered)])])
    world.publish()
    report = judge(world.source(), world)
    assert report.status == 0
    said = f"convicts {accused} of double-finalize" if convicts else "convicts nobody"
    assert [notice for notice in report.notices if f"leaf {MEMBERS}" in notice and said in notice]


def test_specification_lists_the_rules_as_they_are() -> None:
    text = (Path(__file__).parents[2] / "specs" / "auditing.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| AUDIT-")]
    assert rows == [f"| {code} | {rule.holds} | {rule.sources} |" for code, rule in RULES.items()]
