from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog import codec
from glasslog.agreement import messages as m
from glasslog.block import Ref
from glasslog.errors import DecodeError
from glasslog.limits import (
    ANNOUNCED_MAX,
    BLOCK_BYTES_MAX,
    HAVES_MAX,
    HEADER_LEAF_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    REQUEST_VIEWS_MAX,
    RUN_HEIGHTS_MAX,
    VALIDATORS_MAX,
)
from wire_values import certificates, messages, mutations, proposals

BIG = (1 << 64) - 1
H = bytes(32)
S = bytes(64)


@given(messages)
def test_decode_message_returns_what_was_encoded(message: m.Message) -> None:
    data = m.encode_message(message)
    again = m.decode_message(data)
    assert again == message
    assert type(again) is type(message)
    assert m.encode_message(again) == data


@given(messages.flatmap(lambda message: mutations(m.encode_message(message))))
def test_every_accepted_message_encodes_to_itself(data: bytes) -> None:
    try:
        message = m.decode_message(data)
    except DecodeError:
        return
    assert m.encode_message(message) == data


_garbage: st.SearchStrategy[codec.Value] = st.recursive(
    st.one_of(st.integers(0, 20), st.binary(max_size=40), st.text(max_size=4), st.none(), st.just(H), st.just(S)),
    lambda inner: st.lists(inner, max_size=9),
    max_leaves=12,
)


@given(st.one_of(st.binary(max_size=30), st.lists(_garbage, max_size=9).map(codec.encode)))
def test_garbage_is_refused_with_decode_errors_only(data: bytes) -> None:
    for decode in (m.decode_message, m.decode_certificate, m.decode_proposal):
        try:
            decode(data)
        except DecodeError:
            continue


@given(proposals)
def test_proposals_survive_in_stores(proposal: m.Proposal) -> None:
    assert m.decode_proposal(proposal.encode()) == proposal
    assert len(proposal.digest) == 32


@given(certificates)
def test_certificates_survive_in_stores(certificate: m.Certificate) -> None:
    assert m.decode_certificate(m.encode_certificate(certificate)) == certificate


def _proposal(advance: tuple[Ref, ...] = ()) -> m.Proposal:
    return m.Proposal(BIG, BIG, BIG, BIG, H, BIG, advance, BIG, H)


def _certificate(signers: int) -> m.Certificate:
    return m.Certificate(BIG, BIG, m.Kind.NOTARIZE, H, tuple(range(signers)), (S,) * signers)


def _refs(count: int) -> tuple[Ref, ...]:
    return tuple(Ref(f"{index:04}", index, H) for index in range(count))


@pytest.mark.parametrize(
    "message",
    [
        m.SignedProposal(_proposal(_refs(4096)), S),
        _certificate(VALIDATORS_MAX),
        m.Have(_refs(HAVES_MAX)),
        m.BlockBody(bytes(HEADER_LEAF_BYTES_MAX), bytes(BLOCK_BYTES_MAX)),
        m.CertificateRequest(BIG, (0,) * REQUEST_VIEWS_MAX),
        m.FinalizedRun((_proposal(),) * RUN_HEIGHTS_MAX, _certificate(VALIDATORS_MAX)),
        m.FinalizedRun((m.Proposal(0, 0, 0, 0, H, 0, (Ref("a", 0, H),), 0, H),) * RUN_HEIGHTS_MAX, _certificate(4)),
        m.Announcement((bytes(HEADER_LEAF_BYTES_MAX),) * ANNOUNCED_MAX),
    ],
)
def test_messages_at_their_limits_are_accepted(message: m.Message) -> None:
    data = m.encode_message(message)
    assert len(data) <= MESSAGE_BYTES_MAX
    assert m.decode_message(data) == message


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (_certificate(VALIDATORS_MAX + 1), "WIRE-01"),
        (m.Have(_refs(HAVES_MAX + 1)), "WIRE-05"),
        (m.BlockBody(bytes(HEADER_LEAF_BYTES_MAX + 1), b""), "WIRE-01"),
        (m.BlockBody(b"", bytes(BLOCK_BYTES_MAX + 1)), "WIRE-01"),
        (m.CertificateRequest(1, (0,) * (REQUEST_VIEWS_MAX + 1)), "WIRE-01"),
        (m.FinalizedRun((_proposal(),) * (RUN_HEIGHTS_MAX + 1), _certificate(4)), "WIRE-01"),
        (m.Announcement((b"",) * (ANNOUNCED_MAX + 1)), "WIRE-01"),
        (m.Published(bytes(MESSAGE_BYTES_MAX)), "CBOR-01"),
        (m.Have((Ref("b", 1, H), Ref("a", 1, H))), "WIRE-06"),
        (m.Have((Ref("a", 1, H), Ref("a", 2, H))), "WIRE-06"),
        (m.Certificate(1, 1, m.Kind.NOTARIZE, H, (1, 1), (S, S)), "WIRE-03"),
        (m.Certificate(1, 1, m.Kind.NOTARIZE, H, (2, 1), (S, S)), "WIRE-03"),
        (m.Certificate(1, 1, m.Kind.NOTARIZE, H, (1, 2), (S,)), "WIRE-03"),
        (m.Vote(1, 1, m.Kind.NULLIFY, H, 0, S), "WIRE-01"),
        (m.Vote(1, 1, m.Kind.NOTARIZE, b"", 0, S), "WIRE-01"),
        (m.Vote(1, 1, m.Kind.FINALIZE, H, 0, S[1:]), "WIRE-01"),
    ],
)
def test_messages_beyond_a_rule_are_refused(message: m.Message, code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        m.decode_message(m.encode_message(message))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([0], "WIRE-02"),
        ([16], "WIRE-02"),
        ([8, 1, 2], "WIRE-01"),
        ([2, 1, 1, 4, H, 0, S], "WIRE-04"),
        ([], "WIRE-01"),
        ({}, "WIRE-01"),
    ],
)
def test_unknown_types_and_shapes_are_refused(value: codec.Value, code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        m.decode_message(codec.encode(value))
    assert caught.value.code == code


def test_a_million_empty_items_are_refused_before_they_are_made() -> None:
    with pytest.raises(DecodeError, match="CBOR-16"):
        m.decode_message(codec.encode([4, [[]] * 1_000_000]))


def test_what_a_vote_signs_differs_in_every_field() -> None:
    base = (H, 1, 2, m.Kind.NOTARIZE, H)
    others = [
        (S[:32][::-1] + b"", 1, 2, m.Kind.FINALIZE, H),
        (H, 2, 2, m.Kind.NOTARIZE, H),
        (H, 1, 3, m.Kind.NOTARIZE, H),
    ]
    others += [
        (b"\x01" * 32, 1, 2, m.Kind.NOTARIZE, H),
        (H, 1, 2, m.Kind.NOTARIZE, b"\x01" * 32),
        (H, 1, 2, m.Kind.NULLIFY, b""),
    ]
    signed = [m.vote_bytes(*fields) for fields in (base, *others)]
    assert len(set(signed)) == len(signed)
