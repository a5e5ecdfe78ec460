"""Two checkpoints of one log: who is named is who signed both, and nobody else, whatever stands in the notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog.audit import Archive, Fork, Relation, Run, Side, check_fork, convict
from glasslog.audit.comparison import Comparison, compare
from glasslog.audit.conflict import read_signed
from glasslog.audit.prefix import first_difference, prove_prefix, read_tiles
from glasslog.checkpoint import Checkpoint, Cosigner, cosignature_lines
from glasslog.errors import DecodeError, ProofError
from glasslog.merkle import hash_leaf, root
from glasslog.note import Note, NoteLine
from glasslog.tiles import join_entries, tile_path
from small_log import NETWORK, ORIGIN, SmallLog, make_checkpoint, make_policy, make_validator, make_validators

TIME = 1_800_000_000


@dataclass
class LogSource:
    """A small log as a replica without an archive; its leaves and tiles may be changed apart."""

    log: SmallLog
    label: str = "replica"
    note: bytes | None = None

    @property
    def size(self) -> int:
        return self.log.edge.size

    def checkpoint(self) -> bytes | None:
        return self.note

    def runs(self) -> Iterator[Run]:
        entries = self.log.entries
        for start in range(0, len(entries), 100):
            yield Run(start, join_entries(entries[start : start + 100]))

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        return self.log.files.get(tile_path(level, index, width))

    def archive(self) -> Archive | None:
        return None


def make_log(entries: Sequence[bytes]) -> SmallLog:
    log = SmallLog()
    log.append(list(entries))
    return log


def entries_of(word: str, count: int) -> list[bytes]:
    return [f"{word} {number}".encode() for number in range(count)]


def make_side(label: str, entries: Sequence[bytes], signers: Sequence[int], *, alone: bool = False) -> Side:
    log = make_log(entries)
    note = make_checkpoint(log.checkpoint, [make_validator(number) for number in signers])
    return Side(label, note, None if alone else LogSource(log, label, note))


def compare_sides(one: Side, other: Side, validators: int = 4) -> Comparison:
    return compare(one, other, make_policy(validators).bft())


def names_of(comparison: Comparison) -> list[str]:
    return [culprit.name for culprit in comparison.culprits]


# --- who signed both -------------------------------------------------------------------------------------

HOW = ("absent", "log only", "ed25519", "mldsa44", "both", "forged", "replayed", "foreign", "other key", "timeless")
COUNTS = {"ed25519", "mldsa44", "both"}


def sign_line(number: int, how: str, checkpoint: Checkpoint, other: Checkpoint) -> list[NoteLine]:
    """What validator ``number`` has under ``checkpoint``, in one of the ways that may or may not count."""
    validator = make_validator(number)
    keys, cosigner = validator.keys, validator.cosigner
    if how == "foreign":
        cosigner = Cosigner.build(
            ORIGIN, f"{validator.name}/elsewhere", log=keys.log.public, ed25519=keys.ed25519.public,
            mldsa44=keys.mldsa44.public,
        )  # fmt: skip
    log, ed25519, mldsa44 = keys.sign(other if how == "replayed" else checkpoint, TIME)
    if how == "forged":
        log, ed25519, mldsa44 = [bytes([data[0] ^ 1]) + data[1:] for data in (log, ed25519, mldsa44)]
    stamp = 0 if how == "timeless" else TIME
    first, second, third = cosignature_lines(cosigner, time=stamp, log=log, ed25519=ed25519, mldsa44=mldsa44)
    if how == "other key":
        second, third = [replace(line, key_id=bytes(4)) for line in (second, third)]
    return {"absent": [], "log only": [first], "ed25519": [first, second], "mldsa44": [third]}.get(
        how, [first, second, third]
    )


def make_note(checkpoint: Checkpoint, other: Checkpoint, ways: Sequence[str]) -> bytes:
    lines = [line for number, how in enumerate(ways) for line in sign_line(number, how, checkpoint, other)]
    return Note(checkpoint.text, tuple(lines or sign_line(0, "log only", checkpoint, other))).format()


@st.composite
def signings(draw: Any) -> tuple[list[str], list[str]]:
    count = draw(st.integers(4, 7))
    ways = st.lists(st.sampled_from((*HOW, "both", "both", "both")), min_size=count, max_size=count)
    return draw(ways), draw(ways)


@settings(max_examples=150)
@given(signings(), st.integers(0, 30), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_named_are_exactly_those_whose_cosignatures_hold_under_both(
    ways: tuple[list[str], list[str]], common: int, one_more: int, other_more: int, apart: bool
) -> None:
    """The truth is worked out from the leaves and the drawn ways; no function of the product has a say in it."""
    count = len(ways[0])
    shared = entries_of("common", common)
    leaves = [
        [*shared, *entries_of("one", one_more)],
        [*shared, *entries_of("other" if apart else "one", other_more)],
    ]
    logs = [make_log(each) for each in leaves]
    notes = [
        make_note(logs[0].checkpoint, logs[1].checkpoint, ways[0]),
        make_note(logs[1].checkpoint, logs[0].checkpoint, ways[1]),
    ]
    # A line that was signed for the other checkpoint holds where the two are one.
    counts = COUNTS | ({"replayed"} if leaves[0] == leaves[1] else set())
    signed = [{f"institute-{i}" for i, how in enumerate(way) if how in counts} for way in ways]
    quorum = count - (count - 1) // 3
    sides = [Side(label, note, LogSource(log, label, note)) for label, note, log in zip("ab", notes, logs, strict=True)]
    comparison = compare_sides(sides[0], sides[1], count)
    shorter = min(map(len, leaves))
    forked = leaves[0][:shorter] != leaves[1][:shorter]
    has_quorums = all(len(each) >= quorum for each in signed)
    assert names_of(comparison) == (sorted(signed[0] & signed[1]) if forked else [])
    assert comparison.is_fork == comparison.contradicts == (forked and has_quorums)
    assert bool(comparison.undecided) == (not has_quorums)
    if forked and has_quorums:
        assert len(comparison.culprits) >= (count - 1) // 3 + 1 == comparison.least
    if not forked:
        expected = Relation.SAME if len(leaves[0]) == len(leaves[1]) else Relation.PREFIX
        assert (comparison.relation, comparison.fork) == (expected, None)


@given(st.sets(st.integers(0, 6), min_size=5), st.sets(st.integers(0, 6), min_size=5))
def test_two_quorums_convict_more_than_f(one: set[int], other: set[int]) -> None:
    sides = make_side("a", [b"x"], sorted(one)), make_side("b", [b"y"], sorted(other), alone=True)
    comparison = compare_sides(*sides, validators=7)
    assert names_of(comparison) == [f"institute-{number}" for number in sorted(one & other)]
    assert len(comparison.culprits) >= 3


def test_two_notes_alone_convict_at_one_size() -> None:
    one = make_side("a.note", [b"x", b"y"], (0, 1, 2), alone=True)
    other = make_side("b.note", [b"x", b"z"], (1, 2, 3), alone=True)
    comparison = compare_sides(one, other)
    assert (comparison.is_fork, names_of(comparison)) == (True, ["institute-1", "institute-2"])
    culprit = comparison.culprits[0]
    assert culprit.jurisdiction == "FR"
    assert culprit.first["key"] == culprit.second["key"] == culprit.key
    assert culprit.first["line"] != culprit.second["line"]


def test_one_note_twice_names_nobody() -> None:
    side = make_side("a", [b"x"], (0, 1, 2, 3))
    comparison = compare_sides(side, Side("again", side.note))
    assert (comparison.relation, comparison.undecided, names_of(comparison)) == (Relation.SAME, "", [])


def test_two_keys_of_one_member_convict_it() -> None:
    logs = make_log([b"x"]), make_log([b"y"])
    ways = ["ed25519"] * 4, ["mldsa44"] * 4
    notes = [
        make_note(logs[0].checkpoint, logs[1].checkpoint, ways[0]),
        make_note(logs[1].checkpoint, logs[0].checkpoint, ways[1]),
    ]
    comparison = compare_sides(Side("a", notes[0]), Side("b", notes[1]))
    assert len(comparison.culprits) == 4
    assert comparison.culprits[0].first["key"] != comparison.culprits[0].second["key"]


def test_side_without_quorum_is_undecided_and_its_double_signer_still_named() -> None:
    comparison = compare_sides(make_side("a", [b"x"], (0, 1, 2)), make_side("b", [b"y"], (2, 3)))
    assert (comparison.relation, comparison.contradicts) == (Relation.FORK, False)
    assert "no quorum stands under the checkpoint of b: 2 of the policy's" in comparison.undecided
    assert names_of(comparison) == ["institute-2"]


def test_checkpoint_of_another_log_or_none_is_undecided() -> None:
    side = make_side("a", [b"x"], (0, 1, 2))
    other = make_checkpoint(Checkpoint("elsewhere.example", 1, hash_leaf(b"y")), make_validators(4))
    for note, word in ((other, "CONFLICT-01"), (None, "no published checkpoint"), (b"\xff", "NOTE-01")):
        comparison = compare_sides(side, Side("b", note))
        assert (comparison.relation, names_of(comparison)) == (Relation.UNDECIDED, [])
        assert word in comparison.undecided


# --- sizes that differ -----------------------------------------------------------------------------------


def test_larger_log_shows_that_the_smaller_is_not_its_beginning() -> None:
    shared = entries_of("common", 300)
    small = make_side("small", [*shared, *entries_of("one", 5)], (0, 1, 2), alone=True)
    large = make_side("large", [*shared, *entries_of("other", 600)], (1, 2, 3))
    comparison = compare_sides(small, large)
    assert (comparison.is_fork, names_of(comparison)) == (True, ["institute-1", "institute-2"])
    assert comparison.fork is not None
    assert convict(comparison.fork, make_policy(4).bft()) == tuple(comparison.culprits)
    assert comparison.fork.prefix_root == root(b"".join(map(hash_leaf, [*shared, *entries_of("other", 5)])))


def test_larger_note_alone_leaves_it_undecided() -> None:
    small = make_side("small", entries_of("one", 5), (0, 1, 2))
    large = make_side("large", entries_of("other", 9), (0, 1, 2), alone=True)
    comparison = compare_sides(small, large)
    assert (comparison.relation, names_of(comparison)) == (Relation.UNDECIDED, [])
    assert "nobody here has the log that large states at size 9" in comparison.undecided


def test_unpublished_leaves_of_the_smaller_side_decide_where_they_make_the_larger_root() -> None:
    entries = entries_of("one", 9)
    log = make_log(entries)
    note = make_checkpoint(Checkpoint(ORIGIN, 5, log.reader.subtree_hash(0, 5)), make_validators(4))
    small = Side("small", note, LogSource(log, "small", note))
    comparison = compare_sides(small, make_side("large", entries, (0, 1, 2), alone=True))
    assert (comparison.relation, comparison.undecided) == (Relation.PREFIX, "")


@pytest.mark.parametrize("broken", ["tiles", "leaves", "both"])
def test_what_tiles_do_not_show_is_shown_by_leaves(broken: str) -> None:
    small = make_side("small", entries_of("one", 200), (0, 1, 2), alone=True)
    large = make_side("large", entries_of("other", 700), (1, 2, 3))
    assert isinstance(large.source, LogSource)
    log = large.source.log
    if broken in ("tiles", "both"):
        log.files[tile_path(0, 0)] = bytes(8192)
    if broken in ("leaves", "both"):
        log.entries[3] = b"not what was signed"
    comparison = compare_sides(small, large)
    assert comparison.is_fork == (broken != "both")
    assert len(comparison.culprits) == (0 if broken == "both" else 2)


def test_replica_that_states_more_leaves_than_it_has_is_undecided() -> None:
    small = make_side("small", entries_of("one", 200), (0, 1, 2), alone=True)
    large = make_side("large", entries_of("other", 700), (1, 2, 3))
    assert isinstance(large.source, LogSource)
    large.source.log = make_log(entries_of("other", 699))
    assert compare_sides(small, large).relation is Relation.UNDECIDED


@given(st.integers(1, 600), st.data())
def test_first_leaf_that_differs_is_found(size: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, size - 1))
    entries = entries_of("one", size)
    changed = [*entries[:at], *entries_of("other", data.draw(st.integers(size - at, size - at + 50)))]
    one, other = LogSource(make_log(entries)), LogSource(make_log(changed))
    readers = read_tiles(one).subtree_hash, read_tiles(other).subtree_hash
    assert first_difference(*readers, size) == at
    assert first_difference(*readers, at) is None


@given(st.integers(1, 700), st.data())
def test_prefix_is_proven_by_tiles_and_by_leaves_alike(whole: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, whole))
    log = make_log(entries_of("one", whole))
    expected = root(b"".join(map(hash_leaf, log.entries[:size])))
    by_tiles = prove_prefix(LogSource(log), size, whole, log.edge.root())
    log.files.clear()
    by_leaves = prove_prefix(LogSource(log), size, whole, log.edge.root())
    assert by_tiles == by_leaves
    assert by_tiles[0] == expected


# --- what is exported convicts, and nothing else does ----------------------------------------------------


def make_fork() -> Fork:
    large = make_side("large", entries_of("other", 9), (1, 2, 3))
    comparison = compare_sides(make_side("small", entries_of("one", 5), (0, 1, 2), alone=True), large)
    assert comparison.fork is not None
    return comparison.fork


def test_changed_proof_convicts_nobody() -> None:
    fork, bft = make_fork(), make_policy(4).bft()
    assert [culprit.name for culprit in convict(fork, bft)] == ["institute-1", "institute-2"]
    agreed = read_signed(fork.smaller, bft).checkpoint.root
    changed = [
        replace(fork, prefix_root=agreed),
        replace(fork, prefix_root=bytes(32)),
        replace(fork, proof=fork.proof[:-1]),
        replace(fork, proof=(bytes(32), *fork.proof[1:])),
        replace(fork, proof=()),
        replace(fork, smaller=fork.larger, larger=fork.smaller),
        replace(fork, larger=fork.smaller),
    ]
    for each in changed:
        with pytest.raises(ProofError):
            check_fork(each, bft)


def test_two_checkpoints_of_one_log_convict_nobody_whatever_is_claimed() -> None:
    entries = entries_of("one", 9)
    small, large = make_side("small", entries[:5], (0, 1, 2)), make_side("large", entries, (0, 1, 2))
    assert small.note is not None
    assert large.note is not None
    assert large.source is not None
    true = prove_prefix(large.source, 5, 9, make_log(entries).edge.root())
    with pytest.raises(ProofError, match="CONFLICT-02"):
        convict(Fork(small.note, large.note, *true), make_policy(4).bft())


def test_policy_of_other_keys_names_nobody() -> None:
    fork = make_fork()
    keys = make_policy(4).bft()
    strangers = make_policy(8).bft().members[4:]
    renamed = [replace(stranger, name=own.name) for stranger, own in zip(strangers, keys.members, strict=True)]
    policy = type(make_policy(4)).build(ORIGIN, NETWORK, renamed)
    assert convict(fork, policy.bft()) == ()


def test_note_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(DecodeError):
        convict(replace(make_fork(), smaller=b"nothing"), make_policy(4).bft())
