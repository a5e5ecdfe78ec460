from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog import codec, cose, merkle
from glasslog.block import (
    Block,
    Header,
    Ref,
    build_block,
    decode_header_leaf,
    encode_header_leaf,
    join,
    split,
    verify_block,
    verify_header,
)
from glasslog.entry import SealedEntry, encode_leaf, number_entry
from glasslog.errors import AdmissionError, DecodeError, ProtocolError, SignatureError
from glasslog.identity import Ed25519Key, verify_ed25519
from glasslog.limits import BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, HEADER_LEAF_BYTES_MAX
from glasslog.shapes import Shapes
from glasslog.statement import STATEMENT_TYPE, encode_statement
from wire_values import code_of, hashes, header_leaves, headers, mutations, statement_bytes

KEY = Ed25519Key(b"\x07" * 32)
OTHER = Ed25519Key(b"\x08" * 32)
GENESIS = sha256(b"genesis").digest()
STATEMENT = encode_statement(
    {"_type": STATEMENT_TYPE, "subject": [{"name": "m", "digest": {"sha256": b"\x01" * 32}}], "predicateType": "a:b"}
)


def _entries(count: int, first: int = 0, author: str = "lab") -> list[bytes]:
    return [number_entry(author, first + index, STATEMENT) for index in range(count)]


def _build(entries: Sequence[bytes], **changes: Any) -> Block:
    fields: dict[str, Any] = {
        "genesis_hash": GENESIS, "author": "lab", "seq": 1, "prev": GENESIS, "first": 0, "time": 1_700_000_000_000,
        "sign": KEY.sign,
    }  # fmt: skip
    return build_block(entries, **(fields | changes))


def _verify(leaf: bytes, entries: bytes) -> Block:
    return verify_block(
        leaf, entries, genesis_hash=GENESIS, author_key={"lab": KEY.public}.get, verify=verify_ed25519, shapes=Shapes()
    )


def _signed(header: Header, key: Ed25519Key = KEY) -> bytes:
    payload = header.encode()
    return encode_header_leaf(cose.sign1(payload, key.sign(cose.to_be_signed(payload))))


@settings(max_examples=40)
@given(st.lists(statement_bytes, min_size=1, max_size=3), st.integers(0, 300))
def test_verify_block_returns_what_was_built(statements: list[bytes], first: int) -> None:
    entries = [number_entry("lab", first + index, statement) for index, statement in enumerate(statements)]
    block = _build(entries, seq=2, first=first)
    assert _verify(block.leaf, block.entries) == block
    assert split(block.entries) == entries
    assert block.leaf_hashes == b"".join(merkle.hash_leaf(leaf) for leaf in (*entries, block.leaf))
    assert block.header.entries_root == merkle.root(block.leaf_hashes[:-32])
    assert block.ref == Ref("lab", 2, sha256(block.leaf).digest())
    assert block.next_entry == first + len(entries)
    assert block.body_bytes == len(join([*entries, block.leaf]))


def test_a_full_block_is_accepted_and_one_entry_more_is_not_built() -> None:
    block = _build(_entries(BLOCK_ENTRIES_MAX))
    assert _verify(block.leaf, block.entries) == block
    for count in (0, BLOCK_ENTRIES_MAX + 1):
        with pytest.raises(ValueError, match="do not make a block"):
            _build(_entries(count))


def test_a_block_of_too_many_bytes_is_neither_built_nor_accepted() -> None:
    big = encode_statement(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": "m", "digest": {"sha256": b"\x01" * 32}}],
            "predicateType": "a:b",
            "predicate": {"a": "x" * 59_000},
        }
    )
    entries = [number_entry("lab", index, big) for index in range(18)]
    with pytest.raises(ValueError, match="do not make a block"):
        _build(entries)
    fits = _build(entries[:17])
    assert _verify(fits.leaf, fits.entries) == fits
    with pytest.raises(DecodeError, match="BLOCK-01"):
        _verify(fits.leaf, bytes(BLOCK_BYTES_MAX - len(fits.leaf) - 1))


def test_join_refuses_an_entry_larger_than_a_leaf() -> None:
    with pytest.raises(ValueError, match="65535"):
        join([bytes(65_536)])


# --- bundles --------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_split_undoes_join(entries: list[bytes]) -> None:
    assert split(join(entries)) == entries


@given(st.lists(st.binary(min_size=3, max_size=3), min_size=1, max_size=8).flatmap(lambda many: mutations(join(many))))
def test_split_accepts_only_what_join_makes(data: bytes) -> None:
    verdict = code_of(lambda: split(data))
    assert verdict in ("accepted", "BLOCK-06")
    if verdict == "accepted":
        assert join(split(data)) == data


@given(st.binary(max_size=40))
def test_split_of_any_bytes_is_undone_by_join(data: bytes) -> None:
    verdict = code_of(lambda: split(data))
    assert verdict in ("accepted", "BLOCK-06")
    if verdict == "accepted":
        assert join(split(data)) == data


# --- headers --------------------------------------------------------------------------------------


@given(headers, st.binary(min_size=64, max_size=64))
def test_decode_header_leaf_returns_what_was_encoded(header: Header, signature: bytes) -> None:
    leaf = encode_header_leaf(cose.sign1(header.encode(), signature))
    assert decode_header_leaf(leaf) == (header, header.encode(), signature)
    assert len(leaf) <= HEADER_LEAF_BYTES_MAX


@given(header_leaves.flatmap(mutations))
def test_every_accepted_header_leaf_encodes_to_itself(leaf: bytes) -> None:
    verdict = code_of(lambda: decode_header_leaf(leaf))
    assert verdict in ("accepted", "BLOCK-01", "BLOCK-02")
    if verdict == "accepted":
        header, payload, signature = decode_header_leaf(leaf)
        assert payload == header.encode()
        assert encode_header_leaf(cose.sign1(payload, signature)) == leaf


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 0}, {"count": 0}, {"count": BLOCK_ENTRIES_MAX + 1}, {"seq": 1, "prev": bytes(32), "first": 0},
        {"seq": 1, "prev": GENESIS, "first": 1}, {"first": codec.INT_MAX}, {"author": "LAB"}, {"prev": b""},
        {"entries_root": bytes(31)}, {"time": -1}, {"genesis_hash": bytes(33)},
    ],
)  # fmt: skip
def test_decode_header_leaf_refuses_fields_out_of_range(changes: dict[str, Any]) -> None:
    header = Header(GENESIS, "lab", 2, bytes(32), 5, 7, bytes(32), 1)
    decode_header_leaf(_signed(header))
    with pytest.raises(DecodeError, match="BLOCK-02"):
        decode_header_leaf(_signed(replace(header, **changes)))


def test_decode_header_leaf_refuses_other_leaves_and_sizes() -> None:
    with pytest.raises(DecodeError, match="BLOCK-01"):
        decode_header_leaf(bytes(HEADER_LEAF_BYTES_MAX + 1))
    for leaf in (b"", b"\x82\x03", b"\x82\x03\x40", b"\x82\x03\x60", encode_leaf(SealedEntry("a", 0, bytes(32)))):
        with pytest.raises(DecodeError, match="BLOCK-02"):
            decode_header_leaf(leaf)


# --- verdicts -------------------------------------------------------------------------------------


def test_verify_block_names_each_lie() -> None:
    block = _build(_entries(3))
    header = block.header

    def refused(error: type[ProtocolError], code: str, leaf: bytes, entries: bytes = block.entries) -> None:
        with pytest.raises(error) as caught:
            _verify(leaf, entries)
        assert caught.value.code == code

    refused(AdmissionError, "BLOCK-03", _signed(replace(header, genesis_hash=bytes(32), prev=bytes(32))))
    refused(AdmissionError, "BLOCK-04", _signed(replace(header, author="lib")))
    refused(SignatureError, "BLOCK-05", _signed(header, OTHER))
    refused(SignatureError, "BLOCK-05", block.leaf[:-1] + bytes([block.leaf[-1] ^ 1]))
    refused(DecodeError, "BLOCK-06", block.leaf, block.entries[:-1])
    refused(DecodeError, "BLOCK-06", block.leaf, block.entries + join(_entries(1, 3)))
    refused(DecodeError, "BLOCK-06", block.leaf, b"")
    refused(DecodeError, "BLOCK-07", block.leaf, join(_entries(3, 1)))
    refused(DecodeError, "BLOCK-07", block.leaf, join([*_entries(3)][::-1]))
    refused(DecodeError, "BLOCK-07", _signed(replace(header, entries_root=bytes(32))))


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        (_entries(2, 1), "ENTRY-03"), (_entries(2, 0, "lib"), "ENTRY-03"), (_entries(1) * 2, "ENTRY-03"),
        ([*_entries(1), b""], "ENTRY-01"), ([*_entries(1), b"\x87\x02"], "ENTRY-02"),
        ([*_entries(1), b"\x82\x03"], "ENTRY-02"),
        ([number_entry("lab", 0, STATEMENT + b"\x00")], "CBOR-05"), ([number_entry("lab", 0, b"\xa0")], "STMT-08"),
    ],
)  # fmt: skip
def test_verify_block_refuses_signed_but_invalid_entries(entries: list[bytes], code: str) -> None:
    block = _build(entries)
    with pytest.raises(DecodeError) as caught:
        _verify(block.leaf, block.entries)
    assert caught.value.code == code


@given(st.data())
def test_verify_block_refuses_every_change_of_a_byte(data: st.DataObject) -> None:
    block = _build(_entries(5))
    if data.draw(st.booleans()):
        leaf, entries = data.draw(mutations(block.leaf)), block.entries
    else:
        leaf, entries = block.leaf, data.draw(mutations(block.entries))
    if (leaf, entries) == (block.leaf, block.entries):
        return
    with pytest.raises(ProtocolError):
        _verify(leaf, entries)


@given(hashes)
def test_verify_header_checks_a_header_without_its_entries(prev: bytes) -> None:
    header = Header(GENESIS, "lab", 9, prev, 5, 7, bytes(32), 1)
    known: dict[str, Any] = {"genesis_hash": GENESIS, "author_key": {"lab": KEY.public}.get, "verify": verify_ed25519}
    assert verify_header(_signed(header), **known) == header
    with pytest.raises(SignatureError):
        verify_header(_signed(header, OTHER), **known)
