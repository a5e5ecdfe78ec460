"""CBOR, statements, leaves and blocks: what an author's bytes reach first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import cbor2

from fuzz import specimens
from fuzz.mutators import make_frame_mutator, mutate_bytes, mutate_cbor, mutate_json
from fuzz.target import Target, accepted, fields, texts
from glasslog import codec, cose, merkle, tiles
from glasslog import statement as statements
from glasslog.block import (
    decode_header_leaf,
    encode_header_leaf,
    join,
    ref_of,
    split,
    verify_block,
)
from glasslog.entry import (
    LeafKind,
    SealedEntry,
    StatementEntry,
    check_entry,
    decode_leaf,
    encode_leaf,
    leaf_kind,
    read_prefix,
)
from glasslog.errors import ProtocolError
from glasslog.identity import verify_ed25519
from glasslog.predicates.evidence import read_evidence
from glasslog.shapes import Shapes

CBOR_TOKENS = (b"\xd2", b"\xa0", b"\x80", b"\xf9\x7e\x00", b"\xfb", b"\x9f", b"\x5f", b"\xff", b"\x1b" + b"\xff" * 8)


def plain(value: Any) -> Any:
    """A value of either CBOR library with its types spelt out, so that True is not 1 and -0.0 not 0.0."""
    match value:
        case Mapping():  # within tags the other library's maps are frozen
            return {"map": [(plain(key), plain(item)) for key, item in value.items()]}
        case list() | tuple():
            return [plain(item) for item in value]
        case codec.Tagged() | cbor2.CBORTag():
            return "tag", value.tag, plain(value.value)
        case _:
            return type(value).__name__, repr(value)


def run_codec(data: bytes) -> None:
    value = codec.decode(data, size_max=4_096, tags=(18,))
    with accepted():
        assert codec.encode(value) == data, "accepted, and encoded otherwise"
        assert plain(value) == plain(cbor2.loads(data)), "another library reads another value"
        item, end = (value, len(data)) if b"\xd2" in data else codec.read_item(data + b"\x00", 0)
        assert (plain(item), end) == (plain(value), len(data)), "an item alone is read otherwise"


def run_statement(data: bytes) -> None:
    value = statements.decode_statement(data)
    with accepted():
        assert statements.encode_statement(value) == data, "accepted, and encoded otherwise"
        assert statements.encode_statement(statements.from_json(statements.to_json(value))) == data, (
            "JSON loses something"
        )


def run_statement_json(data: bytes) -> None:
    value = statements.from_json(data)
    encoded = statements.encode_statement(value)
    with accepted():
        assert plain(statements.decode_statement(encoded)) == plain(codec.decode(encoded, size_max=len(encoded)))
        assert plain(statements.from_json(statements.to_json(value))) == plain(value), "JSON loses something"
        assert json.loads(statements.to_json(value)) == json.loads(data), "another library reads another value"


def run_evidence_statement(data: bytes) -> None:
    evidence = read_evidence(statements.decode_statement(data))
    assert evidence is not None


def run_leaf(data: bytes) -> None:
    leaf = decode_leaf(data)
    with accepted():
        assert encode_leaf(leaf) == data, "accepted, and encoded otherwise"
        if isinstance(leaf, StatementEntry | SealedEntry):
            assert read_prefix(data) == (leaf_kind(data), leaf.author, leaf.seq)
            check_entry(data, leaf.author, leaf.seq)


def _outcome(shapes: Shapes | None, entry: bytes, seq: int) -> str:
    try:
        if shapes is None:
            check_entry(entry, "lab", seq)
        else:
            shapes.check_entry(entry, "lab", seq)
    except ProtocolError as error:
        return error.code
    return "accepted"


def run_shapes(data: bytes) -> None:
    """Two judges of the same entries, one with a memory: they agree, whatever was seen before."""
    first, entries = fields(data, int, list)
    assert isinstance(first, int)
    if not 0 <= first < 1 << 62:
        return
    shapes = Shapes()
    found = texts(entries)
    for number, entry in enumerate([*found, *found]):
        seq = first + number % len(found)
        assert _outcome(shapes, entry, seq) == _outcome(None, entry, seq), f"entry {number} is judged twice"


def run_signed_statement(data: bytes) -> None:
    signed = cose.parse_signed_statement(data)
    with accepted():
        again = codec.Tagged(18, [signed.protected, {}, signed.payload, signed.signature])
        assert codec.encode(again) == data, "accepted, and encoded otherwise"
        assert codec.encode(signed.headers) == signed.protected


def run_header(data: bytes) -> None:
    header, payload, signature = decode_header_leaf(data)
    with accepted():
        assert header.encode() == payload
        assert encode_header_leaf(cose.sign1(payload, signature)) == data, "accepted, and encoded otherwise"
        assert ref_of(header, data).seq >= 1


def run_block(data: bytes) -> None:
    leaf, entries = fields(data, bytes, bytes)
    assert isinstance(leaf, bytes)
    assert isinstance(entries, bytes)
    genesis = specimens.world().membership.genesis_hash
    block = verify_block(
        leaf, entries, genesis_hash=genesis, author_key=specimens.author_key, verify=lambda *_: True, shapes=Shapes()
    )
    with accepted():
        assert join(split(entries)) == tiles.join_entries(tiles.split_entries(entries)) == entries
        assert merkle.root(block.leaf_hashes[:-32]) == block.header.entries_root
        for number, entry in enumerate(split(entries), block.header.first):
            check_entry(entry, block.header.author, number)
    try:
        verify_block(leaf, entries, genesis_hash=genesis, author_key=specimens.author_key, verify=verify_ed25519)
    except ProtocolError:
        return
    assert (leaf, entries) in {(each.leaf, each.entries) for each in specimens.blocks()}, "nobody signed this"


def seal_anew(data: bytes, rng: Random) -> bytes:
    """Change the entries of a block and state their count and root in its header, which is then unsigned."""
    try:
        leaf, entries = fields(data, bytes, bytes)
        assert isinstance(leaf, bytes)
        assert isinstance(entries, bytes)
        header, _, signature = decode_header_leaf(leaf)
        changed = _mutate_entries(entries, rng)
        cut = split(changed)
    except ProtocolError:
        return mutate_cbor(data, rng)
    root = merkle.root(merkle.hash_leaves(cut))
    payload = replace(header, count=len(cut), entries_root=root).encode()
    return codec.encode([encode_header_leaf(cose.sign1(payload, signature)), changed])


_mutate_entries = make_frame_mutator(2, mutate_cbor)


def run_entry_bundle(data: bytes) -> None:
    entries = tiles.split_entries(data)
    with accepted():
        assert tiles.join_entries(entries) == data, "cut, and joined otherwise"
        assert split(data) == entries, "two cutters disagree"


def _shapes_seeds() -> list[bytes]:
    entries = [leaf for leaf in specimens.leaves() if leaf_kind(leaf) in (LeafKind.STATEMENT, LeafKind.SIGNED)]
    renamed = [entry for entry in entries if b"clab" in entry[:8] or leaf_kind(entry) is LeafKind.SIGNED]
    numbered = [
        encode_leaf(StatementEntry("lab", 5 + number, data)) for number, data in enumerate(specimens.statements())
    ]
    return [codec.encode([0, list(renamed)]), codec.encode([5, list(numbered)])]


def _block_seeds() -> list[bytes]:
    return [codec.encode([block.leaf, block.entries]) for block in specimens.blocks()]


def _cbor_seeds() -> list[bytes]:
    values: list[codec.Value] = [0, 23, 24, -1, 1.5, 1e300, "é", b"\x00", [], {}, None, True, [[[[]]]], {"a": {1: b""}}]
    return [*[codec.encode(value) for value in values], *specimens.signed_statements(), specimens.statements()[2]]


TARGETS = (
    Target("codec", run_codec, _cbor_seeds, tokens=CBOR_TOKENS, mutators=(mutate_cbor,), size_max=1_024, weight=2),
    Target("statement", run_statement, specimens.statements, tokens=CBOR_TOKENS, mutators=(mutate_cbor,)),
    Target(
        "statement-json",
        run_statement_json,
        specimens.statements_json,
        tokens=(b'"digest":', b'"_type":', b"1e", b"-0", b"\\ud800", b"\\u0000", b"NaN", b"[[[["),
        mutators=(mutate_json,),
    ),
    Target("evidence-statement", run_evidence_statement, lambda: specimens.statements()[3:], mutators=(mutate_cbor,)),
    Target("leaf", run_leaf, specimens.leaves, tokens=CBOR_TOKENS, mutators=(mutate_cbor,), weight=2),
    Target("shapes", run_shapes, _shapes_seeds, mutators=(mutate_cbor,), weight=2),
    Target("signed-statement", run_signed_statement, specimens.signed_statements, mutators=(mutate_cbor,)),
    Target("header", run_header, lambda: [block.leaf for block in specimens.blocks()], mutators=(mutate_cbor,)),
    Target("block", run_block, _block_seeds, mutators=(seal_anew, mutate_cbor)),
    Target(
        "entry-bundle",
        run_entry_bundle,
        lambda: [block.entries for block in specimens.blocks()],
        mutators=(make_frame_mutator(2, mutate_bytes),),
    ),
)
