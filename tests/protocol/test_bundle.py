"""Bundles: what one shows, that no byte of it is without effect, and that no part can be put for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_ledger import (
    LAB,
    NETWORK,
    ORIGIN,
    START,
    World,
    flip,
    leaves_of,
    make_keys,
    make_sealed_entry,
    make_statement,
    make_world,
    seed,
)
from glasslog import codec, merkle
from glasslog import policy as policy_module
from glasslog.block import build_block
from glasslog.bundle import (
    BUNDLE_DOMAIN,
    Bundle,
    FieldOpening,
    Opening,
    StatementOpening,
    compute_commitment,
    export_tlog_proof,
    field_root,
    make_bundle,
    read_policy,
    statement_root,
    verify_bundle,
    verifying,
)
from glasslog.checkpoint import Checkpoint, check_line
from glasslog.entry import LeafKind
from glasslog.errors import ProofError, ProtocolError
from glasslog.identity import Ed25519Key
from glasslog.ledger import Tip
from glasslog.note import Note, NoteLine
from glasslog.policy import Policy
from glasslog.proof import TlogProof

FIRST = 7  # leaves of the genesis and the members: the first entry's index
ENTRY = FIRST + 1


@cache
def small_world() -> World:
    return make_world(heights=2)


@cache
def small_bundle() -> bytes:
    return make_bundle(small_world().reader(), ENTRY)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify equal checkpoints and lines once: the checks are pure functions, and a flip changes one line at most."""
    monkeypatch.setattr(verifying, "_check_checkpoint", cache(verifying._check_checkpoint))
    monkeypatch.setattr(policy_module, "check_line", cache(check_line))
    monkeypatch.setattr(Policy, "bft", cache(Policy.bft))


def fails(data: bytes, policy: Policy) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        verify_bundle(data, policy)
    assert caught.value.fact
    return caught.value


def test_bundle_shows_who_stated_what_and_by_when() -> None:
    world = small_world()
    verified = verify_bundle(small_bundle(), world.policy)
    assert (verified.origin, verified.network) == (ORIGIN, NETWORK)
    assert (verified.author, verified.number, verified.block, verified.index) == (LAB, 1, 1, ENTRY)
    assert (verified.size, verified.root) == (world.state.size, world.state.root)
    assert verified.statement is not None
    assert verified.kind is LeafKind.STATEMENT
    assert [each.jurisdiction for each in verified.finalized_by] == ["DE", "FR", "JP", "BR"]
    assert verified.author_time == START + 5
    sentence = verified.sentence("noon")
    assert f"At size {verified.size}, finalized by institute-0.example (DE)" in sentence
    assert f"author {LAB} had stated" in sentence
    assert "no later than noon" in sentence
    assert sentence.endswith("This does not show that the statement is true.")


@pytest.mark.parametrize("index", range(FIRST, 22))
def test_every_entry_has_a_bundle_and_no_other_leaf_has(index: int) -> None:
    world = small_world()
    if world.leaves[index][0] == 0x84:
        verified = verify_bundle(make_bundle(world.reader(), index), world.policy)
        assert verified.leaf == world.leaves[index]
    else:
        with pytest.raises(ProofError, match="BUNDLE-09"):
            make_bundle(world.reader(), index)


def test_time_bound_survives_validators_that_backdate() -> None:
    """Of four, one may lie: the earliest time alone proves nothing, the second does."""
    verified = verify_bundle(small_bundle(), small_world().policy)
    times = sorted(each.time for each in verified.finalized_by)
    assert verified.no_later_than == times[1] > times[0]


# --- no byte without effect -------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_flipping_any_byte_of_a_bundle_fails() -> None:
    data, policy = small_bundle(), small_world().policy
    for at in range(len(data)):
        fails(flip(data, at, 1 << at % 8), policy)


@pytest.mark.usefixtures("quick")
def test_flipping_any_bit_outside_the_checkpoint_fails() -> None:
    data, policy = small_bundle(), small_world().policy
    note = small_world().note
    assert note is not None
    for at in range(len(data) - len(note)):
        for bit in range(8):
            fails(flip(data, at, 1 << bit), policy)


def test_cutting_a_bundle_short_or_extending_it_fails() -> None:
    data, policy = small_bundle(), small_world().policy
    for end in range(0, len(data), 5):
        assert fails(data[:end], policy).code == "BUNDLE-01"
    for more in (b"\0", b"\n", data):
        assert fails(data + more, policy).code == "BUNDLE-01"


@pytest.mark.usefixtures("quick")
def test_flipping_any_byte_of_the_policy_fails() -> None:
    text = small_world().policy.format()
    verify_bundle(small_bundle(), read_policy(text))
    for at in range(len(text)):
        for mask in (1 << at % 8, 0x29) if text[at] == 0x20 else (1 << at % 8,):  # 0x29 makes a tab of a space
            with pytest.raises(ProtocolError):
                verify_bundle(small_bundle(), read_policy(flip(text, at, mask)))


def test_policy_may_carry_comments_and_blank_lines() -> None:
    text = b"# from institute-0\n\n" + small_world().policy.format()
    verify_bundle(small_bundle(), read_policy(text))


# --- the checkpoint ---------------------------------------------------------------------------------


Change = Callable[[list[NoteLine]], list[NoteLine]]


def with_note(note: bytes) -> bytes:
    return replace(Bundle.decode(small_bundle()), checkpoint=note).encode()


def test_checkpoint_of_fewer_than_a_quorum_fails() -> None:
    world = small_world()
    checkpoint = Checkpoint(ORIGIN, world.state.size, world.state.root)
    assert verify_bundle(with_note(world.sign_note(checkpoint, (0, 2, 3))), world.policy).quorum == 3
    assert fails(with_note(world.sign_note(checkpoint, (0, 2))), world.policy).code == "POLICY-02"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda lines: [*lines, lines[-1]], "NOTE-06"),
        (lambda lines: [lines[3], *lines[:3], *lines[4:]], "NOTE-06"),
        (lambda lines: [*lines, replace(lines[0], key_id=b"\0\0\0\1")], "NOTE-04"),
        (lambda lines: [*lines[:1], replace(lines[1], signature=lines[4].signature), *lines[2:]], "NOTE-05"),
        (lambda lines: [line for line in lines if line.name != ORIGIN], "POLICY-09"),
    ],
)
def test_checkpoint_with_a_line_that_does_not_count_fails(
    change: Callable[[list[NoteLine]], list[NoteLine]], code: str
) -> None:
    world = small_world()
    assert world.note is not None
    note = Note.parse(world.note)
    changed = Note(note.text, tuple(change(list(note.lines))))
    assert fails(with_note(changed.format()), world.policy).code == code


def test_checkpoint_of_another_size_fails() -> None:
    world = make_world(heights=2)
    world.add_height(world.make_blocks(LAB, (1,)))
    world.publish()
    assert world.note is not None
    assert fails(with_note(world.note), world.policy).code == "BUNDLE-02"


def test_checkpoint_of_another_log_fails() -> None:
    world = small_world()
    other = world.sign_note(Checkpoint("ledger.example/other", world.state.size, world.state.root))
    assert fails(with_note(other), world.policy).code == "NOTE-04"


# --- no part for another --------------------------------------------------------------------------------


def other_bundle(index: int) -> Bundle:
    return Bundle.decode(make_bundle(small_world().reader(), index))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (("entry",), "BUNDLE-05"),
        (("entry", "position", "block_path"), "BUNDLE-06"),
        (("index", "entry_path"), "BUNDLE-06"),
        (("header", "header_path"), "BUNDLE-04"),
        (("member", "member_path", "member_index"), "BUNDLE-04"),
        (("header_path",), "BUNDLE-06"),
        (("member",), "BUNDLE-03"),
        (("genesis_path",), "BUNDLE-02"),
    ],
)
def test_part_of_another_bundle_does_not_fit(fields: tuple[str, ...], code: str) -> None:
    other = next(
        bundle
        for index in range(FIRST, len(small_world().leaves))
        if small_world().leaves[index][0] == 0x84
        for bundle in [other_bundle(index)]
        if bundle.member != Bundle.decode(small_bundle()).member
    )
    if "genesis_path" in fields:
        other = replace(other, genesis_path=other.genesis_path[::-1])
    if fields == ("entry", "position", "block_path"):
        other = other_bundle(ENTRY + 1)
    mixed = replace(Bundle.decode(small_bundle()), **{name: getattr(other, name) for name in fields})
    assert fails(mixed.encode(), small_world().policy).code == code


def test_block_signed_by_another_key_fails_though_a_quorum_finalized_it() -> None:
    """A quorum that is corrupt can log what an author never signed; a bundle still shows that."""
    world = make_world(heights=1)
    tip = world.state.tip(LAB, world.membership.genesis_hash)
    entry = world.make_blocks(LAB, (1,))[0].entries[2:]
    forged = build_block(
        [entry], genesis_hash=world.membership.genesis_hash, author=LAB, seq=tip.seq + 1, prev=tip.hash,
        first=tip.next_entry, time=START, sign=Ed25519Key(seed("thief")).sign,
    )  # fmt: skip
    index = len(world.leaves)
    world.forge_height([leaves_of(forged)], [forged.ref])
    world.publish()
    assert fails(make_bundle(world.reader(), index), world.policy).code == "BUNDLE-04"
    TlogProof.parse(export_tlog_proof(make_bundle(world.reader(), index))).verify(merkle.hash_leaf(entry), world.policy)


def test_entry_of_another_number_fails() -> None:
    world = make_world(heights=1)
    tip = world.state.tip(LAB, world.membership.genesis_hash)
    index = len(world.leaves)
    wrong = world.make_block([world.leaves[FIRST]])
    world.forge_height([leaves_of(wrong)], [wrong.ref])
    world.publish()
    error = fails(make_bundle(world.reader(), index), world.policy)
    assert error.code == "BUNDLE-05"
    assert f"number {tip.next_entry}" in error.fact


def test_unpublished_entry_has_no_bundle() -> None:
    world = make_world(heights=1)
    index = len(world.leaves)
    world.add_height(world.make_blocks(LAB, (1,)))
    with pytest.raises(ProofError, match="BUNDLE-09"):
        make_bundle(world.reader(), index)
    with pytest.raises(ProofError, match="BUNDLE-09"):
        make_bundle(make_world(heights=1, published=False).reader(), FIRST)


def test_bundle_with_hand_overs_is_of_a_later_epoch() -> None:
    value = codec.decode(small_bundle(), size_max=1 << 20)
    assert isinstance(value, list)
    value[2] = [b"hand-over"]
    assert fails(codec.encode(value), small_world().policy).code == "BUNDLE-07"


# --- sealed and signed entries ------------------------------------------------------------------------


SALT = seed("salt")


def world_with(entry_of: Callable[[World, Tip], bytes]) -> tuple[World, int]:
    world = World()
    tip = world.state.tip(LAB, world.membership.genesis_hash)
    block = world.make_block([entry_of(world, tip)])
    world.add_height([block])
    world.publish()
    return world, FIRST


def sealed_world(content_root: bytes) -> tuple[World, int]:
    def entry(world: World, tip: Tip) -> bytes:
        commitment = compute_commitment(world.membership.genesis_hash, LAB, tip.next_entry, SALT, content_root)
        return make_sealed_entry(world, tip.next_entry, commitment)

    return world_with(entry)


def make_fields() -> list[bytes]:
    return [codec.encode([seed("field", name), name, value]) for name, value in (("a", 1), ("b", "two"), ("c", b"3"))]


def open_field(place: int) -> tuple[bytes, FieldOpening]:
    fields = make_fields()
    hashes = merkle.hash_leaves(fields)
    path = merkle.inclusion_proof(place, 3, lambda start, end: merkle.root(hashes[start * 32 : end * 32]))
    root = merkle.root(hashes)
    return field_root(3, root), FieldOpening(SALT, 3, root, place, fields[place], b"".join(path))


def test_sealed_entry_without_opening_shows_only_that_something_was_sealed() -> None:
    world, index = sealed_world(statement_root(make_statement(1)))
    verified = verify_bundle(make_bundle(world.reader(), index), world.policy)
    assert verified.kind is LeafKind.SEALED
    assert verified.statement is None
    assert "the sealed entry 0" in verified.sentence("noon")


@pytest.mark.usefixtures("quick")
def test_opened_statement_is_what_was_sealed() -> None:
    statement = make_statement(1)
    world, index = sealed_world(statement_root(statement))
    data = make_bundle(world.reader(), index, StatementOpening(SALT, statement))
    verified = verify_bundle(data, world.policy)
    assert verified.statement is not None
    wrong: list[Opening] = [
        StatementOpening(seed("other"), statement),
        StatementOpening(SALT, make_statement(2)),
        open_field(0)[1],
    ]
    for opening in wrong:
        assert fails(make_bundle(world.reader(), index, opening), world.policy).code == "BUNDLE-08"


@pytest.mark.parametrize("place", range(3))
@pytest.mark.usefixtures("quick")
def test_opened_field_is_one_of_those_sealed(place: int) -> None:
    content, opening = open_field(place)
    world, index = sealed_world(content)
    data = make_bundle(world.reader(), index, opening)
    assert verify_bundle(data, world.policy).field == (("a", 1), ("b", "two"), ("c", b"3"))[place]
    assert world.note is not None
    for at in range(len(data) - len(world.note)):
        fails(flip(data, at, 1 << at % 8), world.policy)
    for changed in (replace(opening, count=4), replace(opening, count=2), replace(opening, place=(place + 1) % 3)):
        assert fails(make_bundle(world.reader(), index, changed), world.policy).code == "BUNDLE-08"


def test_opening_beside_an_open_statement_fails() -> None:
    data = replace(Bundle.decode(small_bundle()), opening=StatementOpening(SALT, make_statement(1))).encode()
    assert fails(data, small_world().policy).code == "BUNDLE-08"


def test_third_partys_statement_is_shown_as_its_own() -> None:
    protected = codec.encode({1: -8})
    signed = codec.encode(codec.Tagged(18, [protected, {}, b"claims", make_keys(LAB).vote.sign(b"claims")]))
    world, index = world_with(lambda _world, _tip: signed)
    verified = verify_bundle(make_bundle(world.reader(), index), world.policy)
    assert verified.kind is LeafKind.SIGNED
    assert "a third party's signed statement" in verified.sentence("noon")


# --- forms -----------------------------------------------------------------------------------------------


def test_tlog_proof_holds_and_says_what_it_lacks() -> None:
    proof = TlogProof.parse(export_tlog_proof(small_bundle()))
    evaluation = proof.verify(merkle.hash_leaf(small_world().leaves[ENTRY]), small_world().policy, strict=True)
    assert evaluation.satisfied
    assert proof.extra is not None
    assert b"without its author signature" in proof.extra


hashes = st.integers(0, 3).map(lambda count: sha256(bytes(count)).digest() * count)
leaf = st.binary(max_size=40)
openings = st.none() | st.builds(StatementOpening, st.just(SALT), leaf)
fields = st.builds(FieldOpening, st.just(SALT), st.integers(0, 9), st.just(SALT), st.integers(0, 9), leaf, hashes)


@given(
    st.builds(
        Bundle, leaf, hashes, st.integers(0, 1 << 63), leaf, hashes, st.integers(0, 1 << 63), st.integers(0, 4095),
        leaf, hashes, hashes, leaf, hashes, openings | fields, leaf,
    )
)  # fmt: skip
def test_decoding_undoes_encoding(one: Bundle) -> None:
    assert Bundle.decode(one.encode()) == one


@given(
    st.binary(max_size=200) | st.lists(st.binary(max_size=9)).map(lambda items: codec.encode([BUNDLE_DOMAIN, *items]))
)
def test_other_bytes_are_refused(data: bytes) -> None:
    assert fails(data, small_world().policy).code == "BUNDLE-01"
