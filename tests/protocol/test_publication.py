"""From a final height to a published checkpoint (L9, L10)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.agreement.effects import CosignIntent, PublishedNote
from glasslog.agreement.messages import RecoveryReply
from glasslog.agreement.publication import AHEAD_MAX, Publication
from glasslog.agreement.recovery import Recovery
from glasslog.errors import SignatureError
from simulation.suite import CheapNotes, make_network

NETWORK = make_network(4)
NOTES = CheapNotes(NETWORK.validators)


def root_of(size: int) -> bytes:
    return size.to_bytes(32, "big")


def make_publication(index: int | None = 0, intent: CosignIntent | None = None) -> Publication:
    publication = Publication(NETWORK.membership, index, NOTES, intent, None)
    publication.executed(6, root_of(6))
    return publication


def test_intent_never_shrinks_never_changes_root_and_time_never_goes_back() -> None:
    publication = make_publication()
    first = publication.intend(9, root_of(9), 5_500, 5_000)
    assert first == CosignIntent(9, root_of(9), 6)
    assert publication.intend(8, root_of(8), 9_000, 9_000) is None
    assert publication.intend(9, b"\1" * 32, 9_000, 9_000) is None
    again = publication.intend(9, root_of(9), 5_500, 1_000)
    assert again is not None
    assert again.time == 6
    later = publication.intend(12, root_of(12), 7_001, 1_000)
    assert later is not None
    assert later.time == 8


def test_intent_from_before_a_restart_binds() -> None:
    publication = make_publication(intent=CosignIntent(9, root_of(9), 50))
    assert publication.intend(8, root_of(8), 0, 99_000) is None
    again = publication.intend(9, root_of(9), 0, 1_000)
    assert again is not None
    assert again.time == 50


def test_who_does_not_vote_or_is_behind_the_published_size_cosigns_nothing() -> None:
    assert make_publication(index=None).intend(9, root_of(9), 0, 0) is None
    publication = make_publication()
    publication.published = PublishedNote(12, b"")
    assert publication.intend(9, root_of(9), 0, 0) is None
    publication.published, publication.least = None, 12
    assert publication.intend(9, root_of(9), 0, 0) is None
    assert publication.intend(12, root_of(12), 0, 0) is not None


@given(st.permutations([(voter, size) for voter in range(4) for size in (6, 9, 12)]))
def test_published_sizes_only_grow_and_always_have_q_distinct_cosigners(order: list[tuple[int, int]]) -> None:
    publication = make_publication(index=None)
    for size in (9, 12):
        publication.executed(size, root_of(size))
    sizes = [0]
    for voter, size in order:
        publication.add(NOTES.cosign(voter, size, root_of(size), 5))
        note = publication.publish()
        if note is not None:
            assert len({line.voter for line in NOTES.read_note(note.note)}) >= 3
            assert note.size > sizes[-1]
            sizes.append(note.size)
    assert sizes[-1] == 12


def test_same_size_is_published_anew_only_when_a_quorum_signed_anew() -> None:
    publication = make_publication(index=None)
    for voter in range(3):
        publication.add(NOTES.cosign(voter, 6, root_of(6), 5))
    assert publication.publish() is not None
    for voter in range(2):
        publication.add(NOTES.cosign(voter, 6, root_of(6), 9))
        assert publication.publish() is None
    publication.add(NOTES.cosign(3, 6, root_of(6), 9))
    assert publication.publish() is not None


def test_size_not_executed_here_is_not_published() -> None:
    publication = make_publication()
    for voter in range(4):
        publication.add(NOTES.cosign(voter, 9, root_of(9), 5))
    assert publication.publish() is None
    publication.executed(9, root_of(9))
    assert publication.publish() is not None


def test_cosignature_of_another_root_is_named_whether_it_comes_before_or_after_execution() -> None:
    publication = make_publication(index=None)
    publication.add(NOTES.cosign(1, 6, b"\1" * 32, 5))
    publication.add(NOTES.cosign(2, 9, b"\1" * 32, 5))
    publication.executed(9, root_of(9))
    assert [(line.voter, line.size) for line in publication.contradictions] == [(1, 6), (2, 9)]
    assert not publication.pool.get(9)


def test_forged_cosignature_is_refused_and_floods_ahead_are_bounded() -> None:
    publication = make_publication(index=None)
    line = NOTES.cosign(1, 6, root_of(6), 5)
    for bad in (type(line)(6, line.root, 5, b"\0" * 64, line.ed25519, line.mldsa44, 1), NOTES_OF_NOBODY):
        with pytest.raises(SignatureError):
            publication.add(bad)
    for size in range(100, 100 + 2 * AHEAD_MAX):
        publication.add(NOTES.cosign(1, size, root_of(size), 5))
    assert sum(1 in lines for lines in publication.pool.values()) == AHEAD_MAX


NOTES_OF_NOBODY = type(NOTES.cosign(0, 6, root_of(6), 5))(6, root_of(6), 5, b"\0" * 64, b"\0" * 64, b"\0" * 2420, 4)


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3), st.integers(51, 1 << 60))
def test_one_liar_cannot_silence_a_recovering_validator(honest: list[int], lie: int) -> None:
    """A10: the size never to cosign below is one that an honest validator vouches for."""
    recovery = Recovery(b"n", 3, 1)
    for voter, size in enumerate([*honest[:2], lie]):
        recovery.add(voter, RecoveryReply(b"n", None, None, size, None), None)
    assert recovery.published <= max(honest)
