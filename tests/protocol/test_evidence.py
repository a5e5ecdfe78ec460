"""Evidence convicts exactly what no honest key does (A14)."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog import codec
from glasslog.agreement.evidence import (
    Evidence,
    Fault,
    decode_evidence,
    fault_of,
    of_headers,
    of_votes,
    verify_evidence,
)
from glasslog.agreement.messages import Kind, Vote, encode_message, vote_bytes
from glasslog.errors import ProtocolError
from simulation.suite import make_block, make_network, public_key, sign, verify

MEMBERSHIP = make_network(4).membership
GENESIS_HASH = MEMBERSHIP.genesis_hash
ONE, TWO = b"\1" * 32, b"\2" * 32


def make_vote(kind: Kind, digest: bytes, *, view: int = 3, voter: int = 1, epoch: int = 1) -> Vote:
    digest = b"" if kind is Kind.NULLIFY else digest
    message = vote_bytes(GENESIS_HASH, epoch, view, kind, digest)
    return Vote(epoch, view, kind, digest, voter, sign(public_key(f"v{voter}", "vote"), message))


def code_of(evidence: Evidence) -> str | None:
    try:
        verify_evidence(evidence, MEMBERSHIP, verify)
    except ProtocolError as error:
        return error.code
    return None


@pytest.mark.parametrize(("one", "other"), list(product(product(Kind, (ONE, TWO)), repeat=2)))
def test_every_pair_of_votes_is_judged_as_the_rules_say(one: tuple[Kind, bytes], other: tuple[Kind, bytes]) -> None:
    """All of them: only two digests of one kind, and nullify with finalize, are faults."""
    votes = make_vote(*one), make_vote(*other)
    kinds = {vote.kind for vote in votes}
    expected = None
    if kinds == {Kind.NULLIFY, Kind.FINALIZE}:
        expected = Fault.NULLIFY_AND_FINALIZE
    elif votes[0].digest != votes[1].digest and kinds == {Kind.NOTARIZE}:
        expected = Fault.DOUBLE_NOTARIZE
    elif votes[0].digest != votes[1].digest and kinds == {Kind.FINALIZE}:
        expected = Fault.DOUBLE_FINALIZE
    assert fault_of(*votes) is expected
    for claimed in (Fault.DOUBLE_NOTARIZE, Fault.DOUBLE_FINALIZE, Fault.NULLIFY_AND_FINALIZE):
        assert (code_of(of_votes(claimed, "v1", *votes)) is None) == (claimed is expected)


def test_order_does_not_matter_and_bytes_are_canonical() -> None:
    votes = make_vote(Kind.NOTARIZE, ONE), make_vote(Kind.NOTARIZE, TWO)
    evidence = of_votes(Fault.DOUBLE_NOTARIZE, "v1", *votes)
    assert evidence == of_votes(Fault.DOUBLE_NOTARIZE, "v1", *votes[::-1])
    assert decode_evidence(evidence.encode()) == evidence


def test_votes_of_different_views_voters_epochs_or_of_nobody_convict_nobody() -> None:
    good = make_vote(Kind.NOTARIZE, ONE)
    for bad, code in (
        (make_vote(Kind.NOTARIZE, TWO, view=4), "EVIDENCE-07"),
        (make_vote(Kind.NOTARIZE, TWO, voter=2), "EVIDENCE-05"),
        (make_vote(Kind.NOTARIZE, TWO, voter=9), "EVIDENCE-05"),
        (make_vote(Kind.NOTARIZE, TWO, epoch=2), "EVIDENCE-04"),
        (Vote(1, 3, Kind.NOTARIZE, TWO, 1, b"\0" * 64), "EVIDENCE-06"),
    ):
        assert code_of(of_votes(Fault.DOUBLE_NOTARIZE, "v1", good, bad)) == code


def test_author_fork_convicts_and_two_blocks_in_a_row_do_not() -> None:
    one = make_block(GENESIS_HASH, "lab", 1, GENESIS_HASH, 0, 1)
    fork = make_block(GENESIS_HASH, "lab", 1, GENESIS_HASH, 0, 1, salt=1)
    child = make_block(GENESIS_HASH, "lab", 2, one.hash, 1, 1)
    other = make_block(GENESIS_HASH, "v0", 1, GENESIS_HASH, 0, 1)
    evidence = of_headers(1, "lab", one.leaf, fork.leaf)
    assert code_of(evidence) is None
    assert evidence == of_headers(1, "lab", fork.leaf, one.leaf)
    assert code_of(of_headers(1, "lab", one.leaf, child.leaf)) == "EVIDENCE-09"
    assert code_of(of_headers(1, "lab", one.leaf, other.leaf)) == "EVIDENCE-09"
    assert code_of(of_headers(1, "v0", one.leaf, fork.leaf)) == "EVIDENCE-09"
    assert code_of(of_headers(1, "lab", one.leaf, fork.leaf[:-1] + b"\0")) == "BLOCK-05"


@given(st.integers(0, 400), st.integers(1, 255))
def test_flipped_byte_never_convicts(position: int, flip: int) -> None:
    """Nobody can make evidence out of evidence: every byte of it is bound."""
    data = bytearray(of_votes(Fault.DOUBLE_NOTARIZE, "v1", *(make_vote(Kind.NOTARIZE, d) for d in (ONE, TWO))).encode())
    data[position % len(data)] ^= flip
    with pytest.raises(ProtocolError):
        verify_evidence(decode_evidence(bytes(data)), MEMBERSHIP, verify)


def test_malformed_evidence_is_refused_by_code() -> None:
    vote = encode_message(make_vote(Kind.NOTARIZE, ONE))
    cases: list[tuple[list[codec.Value], str]] = [
        (["glasslog/evidence/v2", "double-notarize", 1, "v1", b"a", b"b"], "EVIDENCE-01"),
        (["glasslog/evidence/v1", "theft", 1, "v1", b"a", b"b"], "EVIDENCE-02"),
        (["glasslog/evidence/v1", "double-notarize", 1, "v1", vote, vote], "EVIDENCE-03"),
        (["glasslog/evidence/v1", "double-notarize", 1, "v1", b"b", b"a"], "EVIDENCE-03"),
    ]
    for fields, code in cases:
        with pytest.raises(ProtocolError, match=code):
            decode_evidence(codec.encode(fields))
