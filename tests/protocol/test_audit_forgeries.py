"""Audits: what breaks a rule is found though a corrupt quorum logged it, with all else in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from audit_ledger import (
    LAB,
    OTHER_LAB,
    START,
    MemorySource,
    World,
    leaves_of,
    make_author,
    make_keys,
    make_statement,
    make_world,
    seed,
)
from glasslog import checkpoint as checkpoint_module
from glasslog.audit import Report, audit, finality, walk
from glasslog.block import Block, build_block
from glasslog.entry import number_entry
from glasslog.identity import Ed25519Key, verify_ed25519, verify_mldsa44

MEMBERS = 7  # leaves before the first height


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Verify equal signatures once: verification is a pure function, and a changed byte leaves most of them alone."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (walk, finality, checkpoint_module):
            patch.setattr(module, "verify_ed25519", cache(verify_ed25519))
        patch.setattr(checkpoint_module, "verify_mldsa44", cache(verify_mldsa44))
        yield


def judge(source: MemorySource, world: World) -> Report:
    return audit(source, world.policy)


def forge(world: World, blocks: list[Block], **change: Any) -> MemorySource:
    """A height that breaks the rules of the ledger, with everything else in order: tree, tiles, certificates, note."""
    tops = {block.header.author: block.ref for block in blocks}
    world.forge_height(
        [leaves_of(block) for block in blocks], [tops[author] for author in sorted(tops)],
        lambda seal: replace(seal, **change),
    )  # fmt: skip
    world.publish()
    return world.source()


def sign_block(world: World, entries: list[bytes], **change: Any) -> Block:
    tip = world.state.tip(LAB, world.membership.genesis_hash)
    fields: dict[str, Any] = {
        "genesis_hash": world.membership.genesis_hash, "author": LAB, "seq": tip.seq + 1, "prev": tip.hash,
        "first": tip.next_entry, "time": START, "sign": make_keys(LAB).author.sign,
    }  # fmt: skip
    return build_block(entries, **{**fields, **change})


def next_entry(world: World, author: str = LAB) -> bytes:
    number = world.state.tip(author, world.membership.genesis_hash).next_entry
    return number_entry(author, number, make_statement(number))


def assert_forgery(source: MemorySource, world: World, rule: str, leaf: int) -> None:
    report = judge(source, world)
    assert (rule, leaf) in [(one.rule, one.leaf) for one in report.findings.kept], [
        one.line for one in report.findings.kept
    ]
    assert {one.rule for one in report.findings.kept} == {rule}
    assert report.status == 1


def test_forger_of_an_honest_height_forges_nothing() -> None:
    """The forger's own height is intact where it breaks no rule: what follows is found for its lies alone."""
    world = make_world(heights=2)
    report = judge(forge(world, world.make_blocks(LAB, (2, 1))), world)
    assert [one.line for one in report.findings.kept] == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"seq": 9}, "AUDIT-07"),
        ({"prev": seed("elsewhere")}, "AUDIT-07"),
        ({"sign": Ed25519Key(seed("thief")).sign}, "AUDIT-06"),
        ({"genesis_hash": seed("another network")}, "AUDIT-06"),
    ],
)
def test_block_that_does_not_follow_or_is_not_its_authors_is_found(change: dict[str, object], rule: str) -> None:
    world = make_world(heights=2)
    block = sign_block(world, [next_entry(world)], **change)
    header = len(world.leaves) + 1
    assert_forgery(forge(world, [block]), world, rule, header)


def test_block_of_nobody_admitted_is_found() -> None:
    world = make_world(heights=2)
    entry = number_entry("stranger.example", 0, make_statement(0))
    start = {"author": "stranger.example", "seq": 1, "prev": world.membership.genesis_hash, "first": 0}
    block = sign_block(world, [entry], **start)
    header = len(world.leaves) + 1
    assert_forgery(forge(world, [block]), world, "AUDIT-06", header)


def test_block_with_skipped_entry_numbers_is_found() -> None:
    world = make_world(heights=2)
    first = world.state.tip(LAB, world.membership.genesis_hash).next_entry + 3
    block = sign_block(world, [number_entry(LAB, first, make_statement(1))], first=first)
    header = len(world.leaves) + 1
    assert_forgery(forge(world, [block]), world, "AUDIT-07", header)


def test_replayed_block_is_found() -> None:
    world = make_world(heights=2)
    block = world.make_blocks(LAB, (2,))[0]
    world.add_height([block])
    header = len(world.leaves) + 2
    report = judge(forge(world, [block]), world)
    assert ("AUDIT-07", header) in [(one.rule, one.leaf) for one in report.findings.kept]


@pytest.mark.parametrize(
    "entry",
    [
        lambda world: next_entry(world) + b"\0",
        lambda world: next_entry(world).replace(b"\x65_type", b"\x65_kind"),
        lambda world: next_entry(world, OTHER_LAB),
        lambda world: number_entry(LAB, 0, make_statement(0)),
        lambda world: b"\x85" + next_entry(world)[1:] + b"\xf6",
        lambda _world: b"\xd2\x80",
    ],
)
def test_entry_that_is_not_canonical_or_not_in_its_place_is_found(entry: Callable[[World], bytes]) -> None:
    world = make_world(heights=2)
    index = len(world.leaves) + 1
    tip = world.state.tip(LAB, world.membership.genesis_hash)
    good = [number_entry(LAB, tip.next_entry + number, make_statement(number)) for number in (0, 2)]
    block = sign_block(world, [good[0], entry(world), good[1]])
    assert_forgery(forge(world, [block]), world, "AUDIT-04", index)


def test_authors_out_of_order_are_found() -> None:
    world = make_world(heights=2)
    blocks = [*world.make_blocks(OTHER_LAB, (1,)), *world.make_blocks(LAB, (1,))]
    source = forge(world, blocks)
    source.kept = None
    assert_forgery(source, world, "AUDIT-08", len(world.leaves) - 2)
    world = make_world(heights=2)
    one, two = world.make_blocks(LAB, (1, 1))
    source = forge(world, [one, *world.make_blocks(OTHER_LAB, (1,)), two])
    source.kept = None
    assert_forgery(source, world, "AUDIT-08", len(world.leaves) - 2)


@pytest.mark.parametrize("quota", [(3, 1 << 20), (1_000, 700)])
def test_author_over_its_quota_is_found(quota: tuple[int, int]) -> None:
    world = World(authors=[make_author(LAB, *quota)])
    within = judge(forge(world, world.make_blocks(LAB, (1,))), world)
    assert within.status == 0
    world = World(authors=[make_author(LAB, *quota)])
    source = forge(world, world.make_blocks(LAB, (2, 2)))
    report = judge(source, world)
    assert {one.rule for one in report.findings.kept} == {"AUDIT-09"}
    assert [one.leaf for one in report.findings.kept][-1] == len(world.leaves) - 2


def test_height_over_its_limit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "HEIGHT_ENTRIES_MAX", 3)
    world = World()
    source = forge(world, world.make_blocks(LAB, (2, 2)))
    assert_forgery(source, world, "AUDIT-09", len(world.leaves) - 1)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"height": 4}, "AUDIT-10"),
        ({"height": 2}, "AUDIT-10"),
        ({"time": START}, "AUDIT-10"),
        ({"block_count": 2}, "AUDIT-10"),
        ({"view": 1}, "AUDIT-10"),
        ({"epoch": 2}, "AUDIT-11"),
        ({"membership_hash": seed("others")}, "AUDIT-11"),
    ],
)
def test_seal_that_does_not_follow_is_found(change: dict[str, object], rule: str) -> None:
    world = make_world(heights=2)
    source = forge(world, world.make_blocks(LAB, (1,)), **change)
    source.kept = None
    assert_forgery(source, world, rule, len(world.leaves) - 1)


def test_leaf_out_of_place_is_found() -> None:
    world = make_world(heights=2)
    at = len(world.leaves)
    world.forge_height([[world.genesis[1]]])
    world.publish()
    assert_forgery(world.source(), world, "AUDIT-03", at)


def test_entries_without_header_are_found() -> None:
    world = make_world(heights=2)
    at = len(world.leaves)
    world.forge_height([[next_entry(world)]])
    world.publish()
    assert_forgery(world.source(), world, "AUDIT-03", at)
