"""Hypothesis strategies for every message, every leaf and the values inside them, within the protocol's limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from glasslog import codec, cose, statement
from glasslog.agreement import messages as m
from glasslog.block import Header, Ref, encode_header_leaf
from glasslog.entry import (
    Genesis,
    HeightSeal,
    Leaf,
    Member,
    MembershipLeaf,
    Role,
    SealedEntry,
    SignedStatementLeaf,
    StatementEntry,
    decode_leaf,
)
from glasslog.errors import DecodeError

uints = st.one_of(
    st.integers(0, 30),
    st.sampled_from([0x17, 0x18, 0xFF, 0x100, 0xFFFF, 0x1_0000, 0xFFFF_FFFF, 1 << 32, codec.INT_MAX]),
    st.integers(0, codec.INT_MAX),
)
names = st.from_regex(r"[a-z0-9](?:[a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)
texts = st.text(max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
integers = st.one_of(uints, uints.map(lambda value: -1 - min(value, (1 << 63) - 1)))

# --- statements -----------------------------------------------------------------------------------

_digest_texts = texts.filter(lambda text: not statement._HEX.fullmatch(text))
_digest_values = st.one_of(st.binary(min_size=1, max_size=34), _digest_texts)
_digest_keys = st.sampled_from(["sha256", "gitCommit", "x"])
digests = st.dictionaries(
    _digest_keys, st.one_of(st.binary(min_size=1, max_size=34), _digest_texts.filter(bool)), min_size=1, max_size=2
)
_scalars = st.one_of(integers, finite, texts, st.booleans(), st.none())
json_values: st.SearchStrategy[codec.Value] = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(texts.filter(lambda key: key != "digest"), inner, max_size=3),
        st.fixed_dictionaries({"digest": st.dictionaries(_digest_keys, _digest_values, max_size=2)}),
    ),
    max_leaves=6,
)
subjects = st.fixed_dictionaries(
    {"name": texts.filter(bool), "digest": digests}, optional={"uri": texts, "annotations": json_values}
)
statements: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {
        "_type": st.just(statement.STATEMENT_TYPE),
        "subject": st.lists(subjects, min_size=1, max_size=3),
        "predicateType": st.sampled_from(["https://slsa.dev/provenance/v1", "urn:glasslog:predicate:model:v1"]),
    },
    optional={"predicate": st.dictionaries(texts.filter(lambda key: key != "digest"), json_values, max_size=3)},
)
statement_bytes = statements.map(statement.encode_statement)

# --- leaves ---------------------------------------------------------------------------------------

headers = st.builds(
    lambda genesis, author, seq, prev, first, count, root, time: Header(
        genesis, author, seq, genesis if seq == 1 else prev, 0 if seq == 1 else first, count, root, time
    ),
    hashes,
    names,
    st.integers(1, 1 << 40),
    hashes,
    st.integers(0, 1 << 40),
    st.integers(1, 4096),
    hashes,
    uints,
)
header_leaves = st.builds(
    lambda header, signature: encode_header_leaf(cose.sign1(header.encode(), signature)), headers, signatures
)


def _member(name: str, role: Role, place: str, keys: list[bytes], optional: bool, quota: int) -> Member:
    voting = role is Role.VALIDATOR
    authors = role is Role.AUTHOR or (optional and voting)
    vote, log, cosign = keys[1:4] if voting else (None, None, None)
    pq = keys[4] * 41 if voting else None
    author, governance = keys[5] if authors else None, keys[6] if optional else None
    return Member(name, role, place, keys[0], vote, log, cosign, pq, author, governance, quota, quota)


members = st.builds(
    _member,
    names,
    st.sampled_from(Role),
    st.from_regex("[A-Z]{2,8}", fullmatch=True),
    st.lists(hashes, min_size=7, max_size=7),
    st.booleans(),
    st.integers(0, (1 << 32) - 1),
)
signed_statements = st.builds(
    lambda alg, more, payload, signature: codec.encode(
        codec.Tagged(18, [codec.encode({1: alg, **more}), {}, payload, signature])
    ),
    st.one_of(st.sampled_from([-8, -7, -48]), texts),
    st.dictionaries(st.one_of(st.integers(4, 400), texts), st.one_of(st.binary(max_size=8), texts), max_size=3),
    st.one_of(st.none(), st.binary(max_size=40)),
    st.binary(min_size=1, max_size=70),
)
leaves: st.SearchStrategy[Leaf] = st.one_of(
    st.builds(StatementEntry, names, uints, statement_bytes),
    st.builds(SealedEntry, names, uints, hashes),
    st.builds(HeightSeal, uints, uints, uints, uints, hashes, uints),
    header_leaves.map(decode_leaf),
    st.builds(Genesis, names, st.from_regex(r"[!-*,-~]{1,40}", fullmatch=True), uints, hashes),
    st.builds(MembershipLeaf, uints, members),
    st.builds(SignedStatementLeaf, signed_statements),
)

# --- messages -------------------------------------------------------------------------------------

refs = st.builds(Ref, names, uints, hashes)
ascending_refs = st.lists(refs, max_size=4, unique_by=lambda ref: ref.author).map(
    lambda many: tuple(sorted(many, key=lambda ref: ref.author))
)
kinds_and_digests = st.one_of(
    st.tuples(st.sampled_from([m.Kind.NOTARIZE, m.Kind.FINALIZE]), hashes),
    st.just((m.Kind.NULLIFY, m.NO_DIGEST)),
)
proposals = st.builds(m.Proposal, uints, uints, uints, uints, hashes, uints, ascending_refs, uints, hashes)
votes = st.builds(
    lambda epoch, view, kind, voter, signature: m.Vote(epoch, view, kind[0], kind[1], voter, signature),
    uints, uints, kinds_and_digests, uints, signatures,
)  # fmt: skip
certificates = st.builds(
    lambda epoch, view, kind, signed: m.Certificate(
        epoch, view, kind[0], kind[1], tuple(sorted(signed)), tuple(signed[index] for index in sorted(signed))
    ),
    uints, uints, kinds_and_digests, st.dictionaries(uints, signatures, max_size=5),
)  # fmt: skip
big_signatures = st.integers(0, 255).map(lambda byte: bytes([byte]) * 2420)
messages: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(m.SignedProposal, proposals, signatures),
    votes,
    certificates,
    st.builds(m.Have, ascending_refs),
    st.builds(m.BlockBody, header_leaves, st.binary(max_size=40)),
    st.builds(m.BlockRequest, names, uints, uints, hashes),
    st.builds(m.CertificateRequest, uints, st.lists(uints, max_size=4).map(tuple)),
    st.builds(m.RunRequest, uints),
    st.builds(m.FinalizedRun, st.lists(proposals, max_size=2).map(tuple), certificates),
    st.builds(
        m.Cosignature, uints, hashes, uints, signatures, signatures, big_signatures, uints,
    ),
    st.builds(m.Status, uints, uints, uints, uints, uints, uints),
    st.builds(m.RecoveryRequest, st.binary(min_size=16, max_size=16), st.one_of(st.none(), names)),
    st.builds(
        m.RecoveryReply, st.binary(min_size=16, max_size=16), st.one_of(st.none(), certificates),
        st.one_of(st.none(), certificates), uints, st.one_of(st.none(), header_leaves),
    ),
    st.builds(m.Published, st.binary(max_size=40)),
    st.builds(m.Announcement, st.lists(header_leaves, max_size=2).map(tuple)),
)  # fmt: skip


def code_of(decode: Callable[[], object]) -> str:
    """The code of the DecodeError that ``decode`` raises, or "accepted"; any other exception is the test's failure."""
    try:
        decode()
    except DecodeError as error:
        return error.code
    return "accepted"


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    """Byte strings near ``data``: one byte changed, taken out or put in, or the end cut off or added to."""
    places = st.integers(0, max(0, len(data) - 1))
    return st.one_of(
        st.builds(lambda at, byte: data[:at] + bytes([byte]) + data[at + 1 :], places, st.integers(0, 255)),
        st.builds(lambda at: data[:at] + data[at + 1 :], places),
        st.builds(lambda at, byte: data[:at] + bytes([byte]) + data[at:], places, st.integers(0, 255)),
        places.map(lambda at: data[:at]),
        st.binary(min_size=1, max_size=3).map(lambda more: data + more),
    )
