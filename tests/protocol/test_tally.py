"""Votes become certificates only by distinct validators, each counted once (A14, A15)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.agreement.messages import Certificate, Kind, Vote, vote_bytes
from glasslog.agreement.tally import VIEWS_AHEAD_MAX, Tally
from glasslog.errors import ProtocolError
from simulation.suite import make_network, public_key, sign, verify

MEMBERSHIP = make_network(7).membership
ONE, TWO = b"\1" * 32, b"\2" * 32


def make_vote(voter: int, digest: bytes = ONE, kind: Kind = Kind.NOTARIZE, view: int = 3) -> Vote:
    message = vote_bytes(MEMBERSHIP.genesis_hash, 1, view, kind, digest)
    return Vote(1, view, kind, digest, voter, sign(public_key(f"v{voter}", "vote"), message))


def make_certificate(signers: tuple[int, ...], digest: bytes = ONE, kind: Kind = Kind.NOTARIZE) -> Certificate:
    votes = [make_vote(signer, digest, kind) for signer in signers]
    return Certificate(1, 3, kind, digest, signers, tuple(vote.signature for vote in votes))


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([ONE, TWO])), max_size=30))
def test_certificate_comes_with_the_fifth_distinct_first_vote_for_one_digest(votes: list[tuple[int, bytes]]) -> None:
    """n = 7, q = 5: repeats and second digests of one voter never help."""
    tally = Tally(MEMBERSHIP, verify, 0)
    first = dict[int, bytes]()
    done = False
    for voter, digest in votes:
        certificate, evidence = tally.add_vote(make_vote(voter, digest))
        assert (evidence is not None) == (first.setdefault(voter, digest) != digest)
        agreeing = sorted(other for other, chosen in first.items() if chosen == digest)
        if certificate is not None:
            assert not done
            assert certificate.signers == tuple(agreeing[:5])
            tally.verify_certificate(certificate)
            tally.add_certificate(certificate)
            done = True
        elif not done and first[voter] == digest:
            assert len(agreeing) < 5


@pytest.mark.parametrize(
    ("certificate", "code"),
    [
        (make_certificate((0, 1, 2, 3)), "CERT-01"),
        (
            Certificate(1, 3, Kind.NOTARIZE, TWO, (0, 1, 2, 3, 4), make_certificate((0, 1, 2, 3, 4)).signatures),
            "VOTE-02",
        ),
        (
            Certificate(1, 3, Kind.NOTARIZE, ONE, (0, 1, 2, 3, 7), make_certificate((0, 1, 2, 3, 4)).signatures),
            "VOTE-01",
        ),
        (
            Certificate(1, 4, Kind.NOTARIZE, ONE, (0, 1, 2, 3, 4), make_certificate((0, 1, 2, 3, 4)).signatures),
            "VOTE-02",
        ),
    ],
)
def test_bad_certificate_is_refused(certificate: Certificate, code: str) -> None:
    with pytest.raises(ProtocolError, match=code):
        Tally(MEMBERSHIP, verify, 0).verify_certificate(certificate)


def test_vote_of_another_epoch_below_the_floor_or_far_ahead_is_irrelevant() -> None:
    tally = Tally(MEMBERSHIP, verify, 2)
    assert tally.is_relevant(make_vote(0), 3)
    assert not tally.is_relevant(make_vote(0, view=2), 3)
    assert not tally.is_relevant(make_vote(0, view=4 + VIEWS_AHEAD_MAX), 3)
    assert not tally.is_relevant(Vote(2, 3, Kind.NOTARIZE, ONE, 0, b""), 3)


def test_certificates_that_exclude_each_other_are_a_contradiction() -> None:
    everybody = (0, 1, 2, 3, 4)
    tally = Tally(MEMBERSHIP, verify, 0)
    assert tally.add_certificate(make_certificate(everybody)) == (True, None)
    assert tally.add_certificate(make_certificate(everybody, b"", Kind.NULLIFY)) == (True, None)
    assert tally.add_certificate(make_certificate(everybody)) == (False, None)
    is_new, contradiction = tally.add_certificate(make_certificate(everybody, TWO))
    assert not is_new
    assert contradiction == "two notarize certificates"
    is_new, contradiction = tally.add_certificate(make_certificate(everybody, ONE, Kind.FINALIZE))
    assert is_new
    assert contradiction == "a nullify and a finalize certificate"


def test_pruning_forgets_up_to_the_floor_and_nothing_above() -> None:
    tally = Tally(MEMBERSHIP, verify, 0)
    for view in (1, 2, 3):
        tally.add_vote(make_vote(0, view=view))
    tally.prune(2)
    assert list(tally.rounds) == [3]
    with pytest.raises(AssertionError, match="A5"):
        tally.round(2)
