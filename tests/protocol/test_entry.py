from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog import codec
from glasslog.entry import (
    Genesis,
    HeightSeal,
    Leaf,
    LeafKind,
    Member,
    MembershipLeaf,
    Role,
    SealedEntry,
    SignedStatementLeaf,
    StatementEntry,
    check_entry,
    check_member,
    decode_leaf,
    encode_leaf,
    leaf_kind,
    number_entry,
    read_prefix,
)
from glasslog.errors import DecodeError
from glasslog.limits import LEAF_BYTES_MAX, STATEMENT_BYTES_MAX
from glasslog.statement import STATEMENT_TYPE, encode_statement
from wire_values import code_of, hashes, leaves, members, mutations, names, signed_statements, statement_bytes, uints

KEY = bytes(32)
VALIDATOR = Member("a", Role.VALIDATOR, "DE", KEY, KEY, KEY, KEY, bytes(1312), None, None, 0, 0)
AUTHOR = Member("b", Role.AUTHOR, "JP", KEY, None, None, None, None, KEY, None, 10, 1000)
OBSERVER = Member("c", Role.OBSERVER, "BR", KEY, None, None, None, None, None, KEY, 0, 0)


@given(leaves)
def test_decode_leaf_returns_what_was_encoded(leaf: Leaf) -> None:
    data = encode_leaf(leaf)
    assert decode_leaf(data) == leaf
    assert type(decode_leaf(data)) is type(leaf)
    assert encode_leaf(decode_leaf(data)) == data


@given(leaves.flatmap(lambda leaf: mutations(encode_leaf(leaf))))
def test_every_accepted_leaf_encodes_to_itself(data: bytes) -> None:
    try:
        leaf = decode_leaf(data)
    except DecodeError:
        return
    assert encode_leaf(leaf) == data


@given(st.binary(max_size=20))
def test_decode_leaf_refuses_garbage_with_decode_errors_only(data: bytes) -> None:
    for read in (decode_leaf, leaf_kind, read_prefix):
        assert code_of(partial(read, data))


def test_leaf_kind_tells_every_kind() -> None:
    kinds: list[tuple[Leaf, LeafKind]] = [
        (StatementEntry("a", 0, b""), LeafKind.STATEMENT), (SealedEntry("a", 0, KEY), LeafKind.SEALED),
        (HeightSeal(1, 1, 1, 1, KEY, 0), LeafKind.SEAL), (Genesis("n", "o", 0, KEY), LeafKind.GENESIS),
        (MembershipLeaf(1, VALIDATOR), LeafKind.MEMBERSHIP), (SignedStatementLeaf(b"\xd2\x84"), LeafKind.SIGNED),
    ]  # fmt: skip
    assert [leaf_kind(encode_leaf(leaf)) for leaf, _ in kinds] == [kind for _, kind in kinds]
    assert leaf_kind(b"\x82\x03") is LeafKind.HEADER


@given(names, uints, statement_bytes)
def test_number_entry_puts_author_and_number_before_a_statement(author: str, seq: int, statement: bytes) -> None:
    entry = number_entry(author, seq, statement)
    assert entry == codec.encode([0, author, seq, codec.decode(statement, size_max=STATEMENT_BYTES_MAX)])
    assert read_prefix(entry) == (LeafKind.STATEMENT, author, seq)
    check_entry(entry, author, seq)


@given(names, uints, hashes)
def test_sealed_entry_is_its_canonical_array(author: str, seq: int, commitment: bytes) -> None:
    entry = encode_leaf(SealedEntry(author, seq, commitment))
    assert entry == codec.encode([1, author, seq, commitment])
    check_entry(entry, author, seq)


@given(signed_statements)
def test_signed_statements_are_entries_of_any_author(data: bytes) -> None:
    check_entry(data, "anybody", 5)
    assert decode_leaf(data) == SignedStatementLeaf(data)


def test_check_entry_refuses_another_author_number_or_kind() -> None:
    sealed = encode_leaf(SealedEntry("lab", 5, KEY))
    check_entry(sealed, "lab", 5)
    for author, seq in (("lab", 4), ("lab", 6), ("la", 5), ("labs", 5)):
        with pytest.raises(DecodeError, match="ENTRY-03"):
            check_entry(sealed, author, seq)
    for leaf in (HeightSeal(1, 1, 1, 1, KEY, 0), Genesis("n", "o", 0, KEY), MembershipLeaf(1, AUTHOR)):
        with pytest.raises(DecodeError, match="ENTRY-02"):
            check_entry(encode_leaf(leaf), "lab", 5)
    for rest in (
        b"",
        b"\x58\x1f" + bytes(31),
        b"\x58\x20" + bytes(33),
        b"\x58\x21" + bytes(33),
        b"\x78\x20" + bytes(32),
    ):
        with pytest.raises(DecodeError, match="ENTRY-01"):
            check_entry(sealed[:-34] + rest, "lab", 5)


def test_decode_leaf_looks_at_the_size_first() -> None:
    with pytest.raises(DecodeError, match="CBOR-01"):
        decode_leaf(b"\x84\x00" + bytes(LEAF_BYTES_MAX))


def test_the_largest_statement_fits_a_leaf() -> None:
    empty = {"_type": STATEMENT_TYPE, "subject": [{"name": "a", "digest": {"x": b"y"}}], "predicateType": "a:b"}
    base: Any = {**empty, "predicate": {"a": "x" * 1000}}
    room = STATEMENT_BYTES_MAX - len(encode_statement(base))
    base["predicate"]["a"] += "x" * room
    entry = number_entry("a" * 63, (1 << 64) - 1, encode_statement(base))
    assert len(entry) <= LEAF_BYTES_MAX
    check_entry(entry, "a" * 63, (1 << 64) - 1)


# --- genesis and members --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([4, 2, "n", "o", 0, KEY], "ENTRY-04"), ([4, 1, "n", "with space", 0, KEY], "ENTRY-04"),
        ([4, 1, "n", "a+b", 0, KEY], "ENTRY-04"), ([4, 1, "n", "", 0, KEY], "ENTRY-04"),
        ([4, 1, "n", "o" * 256, 0, KEY], "WIRE-01"), ([4, 1, "N", "o", 0, KEY], "WIRE-01"),
        ([4, 1, "n", "o", 0, KEY, 0], "WIRE-01"), ([4, 1, "n", "o", 0], "WIRE-01"),
        ([4, 1, "n", "o", -1, KEY], "WIRE-01"),
    ],
)  # fmt: skip
def test_decode_leaf_refuses_a_bad_genesis(fields: list[codec.Value], code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_leaf(codec.encode(fields))
    assert caught.value.code == code


@given(members)
def test_members_survive_and_list_their_keys(member: Member) -> None:
    leaf = decode_leaf(encode_leaf(MembershipLeaf(7, member)))
    assert leaf == MembershipLeaf(7, member)
    keys = member.keys()
    assert all(key in keys for key in (member.network_key, member.vote_key, member.author_key) if key)


@pytest.mark.parametrize(
    ("member", "changes", "code"),
    [
        (VALIDATOR, {"network_key": None}, "MEMBER-09"), (AUTHOR, {"network_key": None}, "MEMBER-09"),
        (OBSERVER, {"network_key": None}, "MEMBER-09"), (VALIDATOR, {"vote_key": None}, "MEMBER-09"),
        (VALIDATOR, {"log_key": None}, "MEMBER-09"), (VALIDATOR, {"cosign_ed25519": None}, "MEMBER-09"),
        (VALIDATOR, {"cosign_mldsa44": None}, "MEMBER-09"), (AUTHOR, {"author_key": None}, "MEMBER-09"),
        (AUTHOR, {"vote_key": KEY}, "MEMBER-09"), (OBSERVER, {"log_key": KEY}, "MEMBER-09"),
        (OBSERVER, {"author_key": KEY}, "MEMBER-09"), (OBSERVER, {"cosign_mldsa44": bytes(1312)}, "MEMBER-09"),
        (AUTHOR, {"quota_entries": 1 << 32}, "MEMBER-10"), (AUTHOR, {"quota_bytes": 1 << 32}, "MEMBER-10"),
    ],
)  # fmt: skip
def test_check_member_holds_each_role_to_its_keys(member: Member, changes: dict[str, Any], code: str) -> None:
    check_member(member)
    with pytest.raises(DecodeError) as caught:
        decode_leaf(encode_leaf(MembershipLeaf(1, replace(member, **changes))))
    assert caught.value.code == code


def _member_fields() -> list[codec.Value]:
    leaf = codec.decode(encode_leaf(MembershipLeaf(1, VALIDATOR)), size_max=LEAF_BYTES_MAX)
    assert isinstance(leaf, list)
    assert isinstance(leaf[2], list)
    return leaf[2]


@pytest.mark.parametrize(
    ("index", "value", "code"),
    [
        (0, "A", "WIRE-01"), (1, 3, "MEMBER-07"), (1, -1, "WIRE-01"), (2, "D", "MEMBER-08"), (2, "de", "MEMBER-08"),
        (2, "ABCDEFGHI", "WIRE-01"), (3, bytes(31), "WIRE-01"), (7, bytes(32), "WIRE-01"), (10, -1, "WIRE-01"),
    ],
)  # fmt: skip
def test_decode_leaf_refuses_a_bad_member(index: int, value: codec.Value, code: str) -> None:
    fields = _member_fields()
    fields[index] = value
    with pytest.raises(DecodeError) as caught:
        decode_leaf(codec.encode([5, 1, fields]))
    assert caught.value.code == code


def test_decode_leaf_refuses_a_member_with_too_many_fields() -> None:
    with pytest.raises(DecodeError, match="WIRE-01"):
        decode_leaf(codec.encode([5, 1, [*_member_fields(), None]]))
