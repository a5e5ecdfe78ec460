"""specs/wire.cddl against real bytes, by a CDDL tool that shares nothing with the code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasslog import block, codec, cose
from glasslog.agreement import messages as m
from glasslog.agreement.evidence import Evidence, Fault, decode_evidence
from glasslog.entry import (
    Genesis,
    HeaderLeaf,
    HeightSeal,
    Leaf,
    Member,
    MembershipLeaf,
    Role,
    SealedEntry,
    SignedStatementLeaf,
    StatementEntry,
    decode_leaf,
    encode_leaf,
)
from glasslog.statement import STATEMENT_TYPE, encode_statement
from wire_values import (
    certificates,
    code_of,
    hashes,
    header_leaves,
    leaves,
    messages,
    mutations,
    names,
    proposals,
    uints,
)

cddl = pytest.importorskip("cddl_verifier", reason="the CDDL tool `cddl-verifier` is not installed")

CDDL = (Path(__file__).parents[2] / "specs" / "wire.cddl").read_text()
ROOT = "any-bytes"
H, S = bytes(32), bytes(64)


@cache
def _schema(text: str) -> Any:
    return cddl.Validator(text)


def _accepts(data: bytes, root: str = ROOT, text: str = CDDL) -> bool:
    return bool(_schema(text).validate(data, root_type=root).valid)


evidence = st.builds(
    lambda fault, epoch, accused, one: Evidence(fault, epoch, accused, one, one + b"\x00").encode(),
    st.sampled_from(Fault), uints, names, st.binary(max_size=20),
)  # fmt: skip
signed = st.one_of(
    evidence,
    st.builds(m.vote_bytes, hashes, uints, uints, st.sampled_from([m.Kind.NOTARIZE, m.Kind.FINALIZE]), hashes),
    header_leaves.map(lambda leaf: cose.to_be_signed(block.decode_header_leaf(leaf)[1])),
)


@settings(max_examples=60)
@given(messages)
def test_every_message_is_in_the_grammar(message: m.Message) -> None:
    assert _accepts(m.encode_message(message), "message")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(leaves)
def test_every_leaf_is_in_the_grammar(leaf: Leaf) -> None:
    assert _accepts(encode_leaf(leaf), "leaf")


@settings(max_examples=30)
@given(st.one_of(signed, proposals.map(m.Proposal.encode), certificates.map(m.encode_certificate)))
def test_everything_that_is_signed_or_stored_is_in_the_grammar(data: bytes) -> None:
    assert _accepts(data)


# Rules that the grammar does not state (wire.cddl, first lines): order, agreement between fields, sizes, roles.
BEYOND_GRAMMAR = ("CBOR-", "WIRE-03", "WIRE-05", "WIRE-06", "MEMBER-09", "STMT-", "BLOCK-02", "EVIDENCE-03", "COSE-04")


def _agree(data: bytes, root: str, decode: Callable[[bytes], object]) -> None:
    """What the decoder accepts the grammar accepts; what only the grammar accepts breaks a rule beyond it."""
    verdict = code_of(lambda: decode(data))
    assert _accepts(data, root) or verdict != "accepted"
    assert verdict == "accepted" or verdict.startswith(BEYOND_GRAMMAR) or not _accepts(data, root), verdict


@settings(max_examples=100)
@given(messages.flatmap(lambda message: mutations(m.encode_message(message))))
def test_grammar_and_decoder_agree_on_changed_messages(data: bytes) -> None:
    _agree(data, "message", m.decode_message)


def _decode_leaf_whole(data: bytes) -> None:
    decode_leaf(data)
    if data.startswith(b"\x82\x03"):
        block.decode_header_leaf(data)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(leaves.flatmap(lambda leaf: mutations(encode_leaf(leaf))))
def test_grammar_and_decoder_agree_on_changed_leaves(data: bytes) -> None:
    _agree(data, "leaf", _decode_leaf_whole)


# --- one instance of everything ---------------------------------------------------------------------

_STATEMENT = encode_statement(
    {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "m", "digest": {"sha256": H, "note": "text"}}],
        "predicateType": "urn:x:y",
        "predicate": {"a": [1, 1.5, "x", True, None, {"digest": {"x": b"\x01", "y": "z", "n": 1}}, {"digest": "text"}]},
    }
)
_HEADER = block.Header(H, "lab", 2, H, 3, 1, H, 7).encode()
_REF = block.Ref("lab", 1, H)
_PROPOSAL = m.Proposal(1, 2, 3, 1, H, 4, (_REF,), 5, H)
_CERTIFICATE = m.Certificate(1, 2, m.Kind.NOTARIZE, H, (0, 2), (S, S))
_VALIDATOR = Member("v", Role.VALIDATOR, "DE", H, H, H, H, bytes(1312), H, H, 1, 2)
_OBSERVER = Member("o", Role.OBSERVER, "BR", H, None, None, None, None, None, None, 0, 0)

_LEAVES: list[Leaf] = [
    SealedEntry("lab", 4, H), HeightSeal(1, 2, 3, 4, H, 5), Genesis("net", "origin.example/1", 6, H),
    MembershipLeaf(1, _VALIDATOR), MembershipLeaf(1, _OBSERVER),
    SignedStatementLeaf(codec.encode(codec.Tagged(18, [codec.encode({1: -8, 4: b"k", "x": 1}), {}, None, b"s"]))),
    HeaderLeaf(cose.sign1(_HEADER, S)), StatementEntry("lab", 3, _STATEMENT),
]  # fmt: skip
_MESSAGES: list[m.Message] = [
    m.SignedProposal(_PROPOSAL, S), m.Vote(1, 2, m.Kind.NULLIFY, b"", 3, S), m.Vote(1, 2, m.Kind.FINALIZE, H, 3, S),
    _CERTIFICATE, m.Have((_REF,)), m.BlockBody(b"h", b"e"), m.BlockRequest("lab", 1, 2, H),
    m.CertificateRequest(1, (2, 3)), m.RunRequest(4), m.FinalizedRun((_PROPOSAL,), _CERTIFICATE),
    m.Cosignature(1, H, 2, S, S, bytes(2420), 3), m.Status(1, 2, 3, 4, 5, 6), m.RecoveryRequest(bytes(16), "lab"),
    m.RecoveryRequest(bytes(16), None), m.RecoveryReply(bytes(16), _CERTIFICATE, _CERTIFICATE, 1, b"h"),
    m.RecoveryReply(bytes(16), None, None, 1, None), m.Published(b"note"), m.Announcement((b"h",)),
]  # fmt: skip
_EVIDENCE = Evidence(Fault.AUTHOR_FORK, 1, "lab", b"a", b"b").encode()
READ: list[tuple[bytes, Callable[[bytes], object]]] = [
    *((encode_leaf(leaf), _decode_leaf_whole) for leaf in _LEAVES),
    *((m.encode_message(message), m.decode_message) for message in _MESSAGES),
    (_EVIDENCE, decode_evidence),
    (_PROPOSAL.encode(), m.decode_proposal),
    (m.encode_certificate(_CERTIFICATE), m.decode_certificate),
]
INSTANCES = [data for data, _ in READ] + [m.vote_bytes(H, 1, 2, m.Kind.NULLIFY, b""), cose.to_be_signed(_HEADER)]


def _rules(text: str) -> dict[str, str]:
    """Every rule of the grammar by name; a rule begins at the start of a line and ends before the next."""
    bare = re.sub(r"^\s*;.*$", "", text, flags=re.MULTILINE)
    rules = re.finditer(r"^([a-z][a-z0-9-]*) = .*?(?=^[a-z]|\Z)", bare, re.MULTILINE | re.DOTALL)
    return {rule[1]: rule[0] for rule in rules}


def test_the_grammar_accepts_each_instance() -> None:
    assert [data.hex() for data in INSTANCES if not _accepts(data)] == []


@pytest.mark.parametrize("rule", sorted(_rules(CDDL)))
def test_every_rule_decides_about_some_instance(rule: str) -> None:
    """With the rule made unsatisfiable, some instance is no longer accepted: nothing in the grammar is idle."""
    bare = "".join(_rules(CDDL).values())
    broken = bare.replace(_rules(CDDL)[rule], f'{rule} = "no bytes of ours"\n', 1)
    assert broken != bare
    if rule == "kind-and-digest":  # a group, so its stand-in is one too
        broken = broken.replace(f"{rule} = ", f"{rule} = (never: ").replace('ours"\n', 'ours")\n')
    assert any(not _accepts(data, text=broken) for data in INSTANCES), rule


def _others(value: codec.Value) -> Iterator[codec.Value]:
    """Values near ``value``: of another length, sign, type or number of items, here or anywhere inside."""
    yield from ([value], "\U0001f30d" if value is None else None)
    if isinstance(value, bytes):
        yield from (value + b"\x00", value[:-1], b"")
    elif isinstance(value, str):
        yield from (value + " ", value[:-1], value.upper(), "")
    elif isinstance(value, bool | int | float):
        yield from (-1 - value, 77, 1.5)
    elif isinstance(value, codec.Tagged):
        yield from (codec.Tagged(value.tag, other) for other in _others(value.value))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            before, after = value[:index], value[index + 1 :]
            yield from ([*before, *after], [*before, item, item, *after])
            yield from ([*before, other, *after] for other in _others(item))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield {other: one for other, one in value.items() if other != key}
            yield from ({**value, key: other} for other in _others(item))


@pytest.mark.parametrize("data", [data for data, _ in READ], ids=lambda data: data[:3].hex())
def test_grammar_and_decoders_agree_on_every_value_near_an_instance(data: bytes) -> None:
    """The root is the whole grammar: whatever no decoder takes for a reason within the grammar, it must not take."""
    decoders = list(dict.fromkeys(decode for _, decode in READ))
    for other in map(codec.encode, _others(codec.decode(data, size_max=1 << 17, tags=(18,)))):
        verdicts = [code_of(partial(decode, other)) for decode in decoders]
        if "accepted" in verdicts:
            assert _accepts(other), other.hex()
        elif not any(verdict.startswith(BEYOND_GRAMMAR) for verdict in verdicts):
            assert not _accepts(other), (verdicts, other.hex())
