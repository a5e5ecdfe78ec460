"""A small world, whole: n = 4 with one twin, scripted rounds, every interleaving in them; and what the oracle must see.

Of the whole enumeration (``exhaustive.campaign``) these are the families that are quickly done; each is exhaustive. The
counts are pinned: a change of the protocol changes them, and whoever makes it looks at why before pinning anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from exhaustive import campaign
from exhaustive.clone import clone
from exhaustive.enumeration import Enumeration
from exhaustive.items import Item, bits
from exhaustive.member import Member, Move, protocol_state
from exhaustive.oracle import Oracle
from exhaustive.script import Cast, Parts, Script, list_scripts, list_splits
from exhaustive.search import Universe
from exhaustive.story import find_story, tell
from glasslog.agreement.effects import Effect
from glasslog.agreement.messages import Kind
from glasslog.membership import Membership
from simulation.cluster import MakeReplica
from simulation.planted_faults import FAULTS

TWO_LIVE_HALVES: Parts = ((0, 1), (2, 3))


def same_partition(twin: int, rounds: int, stretch: int = 1, size: int = 3) -> Iterator[Script]:
    """One partition for all rounds, each of them in turn."""
    cast = Cast((twin,))
    for script in list_scripts(cast, [list_splits(cast, (size,))]):
        yield Script(cast, script.parts * rounds, stretch)


def any_partitions(twin: int, rounds: int) -> Iterator[Script]:
    cast = Cast((twin,))
    return list_scripts(cast, [list_splits(cast)] * rounds)


def partitions_in_turn(twin: int) -> Iterator[Script]:
    """The first partition and another one, view after view."""
    cast = Cast((twin,))
    first, *others = list_splits(cast)
    for other in others:
        yield Script(cast, (first, other) * 2)


def moving_partition(twin: int) -> Iterator[Script]:
    cast = Cast((twin,))
    parts: list[Parts] = [((0, 2, 3), (1, 4)), ((0, 1, 2), (3, 4)), ((0, 1, 2), (3, 4)), ((0, 2, 4), (1, 3))]
    yield Script(cast, tuple(parts))


FAMILIES = {
    "four views, one partition, twin of v1": lambda: same_partition(1, 4),
    "four views, two partitions in turn, twin of v3": lambda: partitions_in_turn(3),
    "four views, moving partition, twin of v1": lambda: moving_partition(1),
    "two views, any partitions, twin of v0": lambda: any_partitions(0, 2),
    "two views, any partitions, twin of v2": lambda: any_partitions(2, 2),
    "two views in one round, twin of v1": lambda: same_partition(1, 1, stretch=2),
    "one view, four of five instances, twin of v1": lambda: same_partition(1, 1, size=4),
}
# scripts, rounds, worlds, transitions, ends; distinct replica states
PINNED = {
    "four views, one partition, twin of v1": ((4, 16, 149_672, 336_352, 8_113), 2_631),
    "four views, two partitions in turn, twin of v3": ((6, 19, 163_081, 375_522, 10_772), 1_778),
    "four views, moving partition, twin of v1": ((1, 4, 6_856, 17_879, 327), 178),
    "two views, any partitions, twin of v0": ((25, 29, 88_051, 227_829, 5_800), 543),
    "two views, any partitions, twin of v2": ((25, 29, 75_663, 188_185, 5_650), 716),
    "two views in one round, twin of v1": ((4, 4, 13_732, 34_035, 1_105), 366),
    "one view, four of five instances, twin of v1": ((4, 4, 107_976, 409_353, 6_602), 234),
}


def play(scripts: Iterator[Script]) -> Enumeration:
    """Play scripts of one cast; none may violate anything."""
    one: Enumeration | None = None
    for script in scripts:
        one = one or Enumeration(Universe(script.cast, script.views))
        round_ = one.play(script)
        assert round_.violation is None, campaign.explain(script, 0)
    assert one is not None
    return one


@pytest.mark.parametrize("name", FAMILIES)
def test_no_interleaving_of_a_family_violates_anything(name: str) -> None:
    one = play(FAMILIES[name]())
    counts, states = astuple(one.counts), one.universe.local_states
    sys.stdout.write(f"{name}: {one.counts}, {states} distinct replica states, {one.universe.steps} steps\n")
    assert (counts, states) == PINNED[name]


def test_a_second_enumeration_counts_the_same() -> None:
    first, second = (play(moving_partition(1)) for _ in range(2))
    assert first.counts == second.counts
    assert first.universe.items.items == second.universe.items.items
    assert [len(member.locals) for member in first.universe.members] == [
        len(member.locals) for member in second.universe.members
    ]


# --- the canonical states ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def explored() -> Universe:
    return play(any_partitions(1, 2)).universe


def answer(member: Member, at: int, move: Move) -> object:
    """The canonical state after a move, or None where votes complete nothing and stay in flight."""
    replica, effects = clone(member.locals[at].replica), list[Effect]()
    for now, event in member.events(replica, move):
        effects += replica.step(now, event)
    return None if member._is_short(move, effects) else protocol_state(replica)


def test_two_histories_with_one_canonical_state_answer_every_event_alike(explored: Universe) -> None:
    """What the search rests on: it keeps one replica for each canonical state, and never asks the others."""
    random, judged = Random(1), 0
    for member in explored.members:
        moves: dict[int, list[Move]] = {}
        for at, move in member._moves:
            moves.setdefault(at, []).append(move)
        others = [
            (at, move, after)
            for (at, move), after in member._moves.items()
            if after is not None and member.locals[after].before != (at, move)
        ]
        for at, move, after in random.sample(others, min(len(others), 150)):
            other = clone(member.locals[at].replica)
            for now, event in member.events(other, move):
                other.step(now, event)
            kept = member.locals[after].replica
            for next_move in moves.get(after, []):
                expected = answer(member, after, next_move)
                member.locals[after].replica = other
                assert answer(member, after, next_move) == expected
                member.locals[after].replica = kept
                judged += 1
    assert judged > 300


def test_a_replay_from_the_first_state_leads_to_the_same_canonical_state(explored: Universe) -> None:
    """Copies are whole: stepping one never changes another."""
    for member in explored.members:
        for at in range(0, len(member.locals), 7):
            way = list[Move]()
            step = member.locals[at].before
            while step is not None:
                way.append(step[1])
                step = member.locals[step[0]].before
            replica = clone(member.locals[0].replica)
            for move in reversed(way):
                for now, event in member.events(replica, move):
                    replica.step(now, event)
            assert protocol_state(replica) == protocol_state(member.locals[at].replica)


def test_worlds_merged_between_rounds_have_the_same_future(explored: Universe) -> None:
    """What is forgotten of a closed view, no later view depends on."""
    items, judged = explored.items, 0
    certified = frozenset(items.items[number].digest for number in bits(items.certificates))
    every = (1 << len(items.items)) - 1
    for member in explored.members:
        classes: dict[int, list[int]] = {}
        for at in range(len(member.locals)):
            classes.setdefault(member.class_of(at, 2, certified), []).append(at)
        for states in classes.values():
            futures = list[dict[Move, int]]()
            for at in states:
                heard = every & ~items.votes_before[2] & ~member.locals[at].offers
                moves = member.list_moves(at, heard, range(2, 3))
                futures.append({move: member.class_of(after, 2, certified) for move, after in moves})
            judged += len(futures) - 1
            assert all(future == futures[0] for future in futures)
    assert judged > 20


def test_a_certificate_moves_a_replica_as_the_votes_in_it_do(explored: Universe) -> None:
    judged = 0
    for member in explored.members:
        for (at, move), after in list(member._moves.items()):
            item = explored.items.items[move.items[0]] if move.items else None
            if after is None or item is None or item.voter is None or judged >= 200:
                continue
            whole = explored.items.find(item._replace(voter=None))
            assert whole is not None
            own = explored.items.find(item._replace(voter=member.key))
            if own is not None and (member.locals[after].offers & ~member.locals[at].offers) >> own & 1:
                continue  # two Z votes, one of them the leader's: its own is the third
            assert member.move(at, Move((whole,))) == after
            judged += 1
    assert judged == 200


# --- the oracle sees ---------------------------------------------------------------------------------


def test_two_twins_of_four_fork_and_the_shortest_way_is_told() -> None:
    """More than f faulty keys: one half of the world nullifies the view that the other makes final."""
    script = Script(Cast((2, 3)), (((0, 2, 3), (1, 4, 5)),))
    universe = Universe(script.cast, 1)
    found = find_story(universe, script)
    assert found is not None
    violation, path = found
    story = tell(universe, path)
    sys.stdout.write("\n".join([violation, *story, ""]))
    assert violation == "I3 view 1 is both nullified and final"
    assert len(path) == 9  # three give up; the leader proposes; two notarize; three finalize
    assert sum("own finalize view 1" in line for line in story) == 3


def test_a_quorum_of_two_makes_two_chains() -> None:
    """f = 1 and n = 4 with q = 2: no twin is needed, a partition is enough."""
    cast = Cast((), quorum=2)
    with patch.object(Membership, "quorum", property(lambda _: 2)):
        script = Script(cast, (TWO_LIVE_HALVES,) * 2)
        universe = Universe(cast, 2)
        found = find_story(universe, script, "I4")
        assert found is not None
        story = tell(universe, found[1])
    sys.stdout.write("\n".join([found[0], *story, ""]))
    assert found[0].startswith("I4 the final proposals of views 1 and 2 are on different branches")


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("notarize twice", "A1 "),
        ("skipped-view certificate not required", "A2 "),
        ("finalize after nullify", "A3 A4 "),
        ("nullify after finalize", "A3 A4 "),
        ("send before persist", "A8 "),
    ],
)
def test_a_planted_fault_of_one_rule_is_found(name: str, finding: str) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    scripts = [*same_partition(1, 1, size=4), *any_partitions(1, 2)]
    with fault.planted():
        found = (find_violation(script, fault.make_replica) for script in scripts)
        assert next((violation for violation in found if violation is not None), "").startswith(finding)


def find_violation(script: Script, make_replica: MakeReplica) -> str | None:
    universe = Universe(script.cast, script.views, make_replica)
    found = find_story(universe, script)
    return None if found is None else found[0]


def test_the_oracle_knows_a_fork_from_a_chain(explored: Universe) -> None:
    """Sets of votes made by hand, each judged by what it means."""
    items = explored.items
    oracle = Oracle(items, 3)
    finals = [item for item in items.items if item.kind is Kind.FINALIZE and item.voter is None and item.view == 1]
    assert finals
    view, _, digest, _ = finals[0]
    votes = [items.find(Item(view, Kind.FINALIZE, digest, voter)) for voter in range(4)]
    nullify = [items.find(Item(view, Kind.NULLIFY, b"", voter)) for voter in range(4)]
    final = sum(1 << number for number in votes[:3] if number is not None)
    nullified = sum(1 << number for number in nullify[:3] if number is not None)
    assert oracle.judge(final, 2, frozenset({()})) is None
    assert oracle.judge(final | nullified, 2, frozenset({()})) == "I3 view 1 is both nullified and final"
    assert oracle.judge(0, 2, frozenset({((1, b"a"),), ((1, b"a"), (2, b"b"))})) is None
    assert oracle.judge(0, 2, frozenset({((1, b"a"),), ((2, b"b"),)})) == "I4 two instances have different chains"


# --- the long run ------------------------------------------------------------------------------------


def test_campaign_reports_and_says_where_to_go_on(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert campaign.main(["--rounds", "1", "--first-seed", "2", "--seeds", "9", "--json", str(report)]) == 0
    value = json.loads(report.read_text())
    assert (value["part"], value["passed"], value["failures"]) == ("exhaustive", True, [])
    assert (value["figures"]["scripts"], value["figures"]["next script"]) == (9, 11)


def test_there_are_as_many_scripts_as_there_ought_to_be() -> None:
    """Seven partitions with three names in a part, one of them without a twin; less the mirror images."""
    for twin in range(4):
        cast = Cast((twin,))
        assert len(list_splits(cast)) == 7
        assert len(list(list_scripts(cast, [list_splits(cast)] * 4))) == (7**4 + 1) // 2
