"""Breadth-first over every interleaving of a script's rounds: deliveries, proposals and timers in any order.

A *world* is one local state for each instance. What is in flight follows from it: whatever an instance has ever sent
may reach those in its part at any later moment of the round, any number of times. So a world's successors are those
of its instances, each with what it can hear. A round goes on until nothing that belongs to it can happen any more,
and each of the worlds in which it can end is a start of the next round, under the next partition, as in the paper.

What bounds the search, beside the script:

- What belongs to a view (its proposal, N and Z votes) happens in its round. Later rounds pass on certificates and the
  proposals they are for; single votes are heard in their own round only, as in the paper messages flow inside a round.
- A part without a quorum of names waits. Nothing that could leave the view can happen in it; its instances are those
  whom messages reach late, and they catch up when they are in a live part again: view by view, or straight into the
  open views.
- An F certificate of a view that an instance has left reaches it when it is about to lead. A floor that moves at other
  times takes votes away (A5) and adds none, and the oracle knows what is final from the votes, without it.

What makes it small and loses nothing: local states instead of histories (member.py); certificates instead of who signed
them; worlds that differ only in what is over are one at the start of a round (``Universe.merge``). The tests sample all
three against replicas that came another way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from exhaustive.items import Items, bits
from exhaustive.member import Member, Move
from exhaustive.oracle import Oracle
from exhaustive.script import VALIDATORS, Cast, Parts, has_quorum
from glasslog.agreement.replica import Replica
from simulation.cluster import MakeReplica

BITS = 20  # of a local state's number in a world's
MASK = (1 << BITS) - 1
World: TypeAlias = int
Path: TypeAlias = list[tuple[int, Move]]  # (instance, its move)
Seat: TypeAlias = tuple[int, list[int], range]  # instance, who else is in its part, the round's views
START: World = 0


@dataclass
class Round:
    """What one round came to, from all the worlds in which the one before it could end."""

    worlds: int = 0
    transitions: int = 0
    depth: int = 0
    ends: list[World] = field(default_factory=list[World])
    violation: str | None = None
    at: World = START
    origin: dict[World, World] = field(default_factory=dict[World, World])


class Universe:
    """The automata of a cast: shared by all its scripts, and grown by them."""

    def __init__(self, cast: Cast, views: int, make_replica: MakeReplica = Replica) -> None:
        self.cast = cast
        self.views = views
        self.items = Items()
        self.members = [
            Member(key, self.items, views, make_replica, is_twin=instance >= VALIDATORS)
            for instance, key in enumerate(cast.keys)
        ]
        self.oracle = Oracle(self.items, cast.quorum)
        self._count = len(self.members)
        self._certified: dict[int, frozenset[bytes]] = {}
        self._next: list[dict[tuple[int, int, range], tuple[int, ...]]] = [{} for _ in self.members]

    @property
    def local_states(self) -> int:
        """Distinct local states reached, over all instances."""
        return sum(len(member.locals) for member in self.members)

    @property
    def steps(self) -> int:
        """Moves that real replicas carried out."""
        return sum(member.steps for member in self.members)

    def split(self, world: World) -> list[int]:
        """Return the local state of each instance."""
        return [world >> BITS * instance & MASK for instance in range(self._count)]

    def judge(self, world: World) -> str | None:
        """Return what is violated in a world."""
        sent = 0
        chains = set[tuple[tuple[int, bytes], ...]]()
        for instance, at in enumerate(self.split(world)):
            local = self.members[instance].locals[at]
            if local.fault is not None:
                return f"{local.fault} ({self.cast.name(instance)})"
            sent |= local.offers
            chains.add(local.finals)
        return self.oracle.judge(sent, self.views, frozenset(chains))

    def merge(self, ends: Iterable[World], first_view: int) -> list[World]:
        """Return one world for all those that differ only in what no view from *first_view* on can depend on."""
        found: dict[tuple[int, ...], World] = {}
        for world in ends:
            states = self.split(world)
            held = 0
            for member, at in zip(self.members, states, strict=True):
                held |= member.locals[at].offers
            held &= self.items.certificates
            certified = self._certified.get(held)
            if certified is None:
                certified = self._certified[held] = frozenset(self.items.items[number].digest for number in bits(held))
            classes = (
                member.class_of(at, first_view, certified) for member, at in zip(self.members, states, strict=True)
            )
            found.setdefault(tuple(classes), world)
        return list(found.values())

    def explore(
        self, starts: Iterable[World], parts: Parts, views: range, *, traced: bool = False, only: str = ""
    ) -> Round:
        """Explore one round to its end: these views, every link inside a part. Stop at a violation."""
        found = Round()
        plan = self._plan(parts, views)
        layer = list(dict.fromkeys(starts))
        seen = set(layer)
        while layer:
            following: list[World] = []
            for world in layer:
                violation = self.judge(world)
                if violation is not None and violation.startswith(only):
                    found.violation, found.at, found.worlds = violation, world, len(seen)
                    return found
                successors = self._successors(world, plan)
                found.transitions += len(successors)
                if not successors:
                    found.ends.append(world)
                for after in successors:
                    if after not in seen:
                        seen.add(after)
                        following.append(after)
                        if traced:
                            found.origin[after] = world
            layer = following
            found.depth += bool(layer)
        found.worlds = len(seen)
        return found

    def _successors(self, world: World, plan: Sequence[Seat]) -> list[World]:
        states = self.split(world)
        found: list[World] = []
        for seat in plan:
            instance = seat[0]
            key = states[instance], self._heard(states, seat), seat[2]
            cache = self._next[instance]
            after = cache.get(key)
            if after is None:
                moves = self.members[instance].list_moves(*key)
                after = cache[key] = tuple(dict.fromkeys(state for _, state in moves))
            if after:
                base = world & ~(MASK << BITS * instance)
                found += [base | state << BITS * instance for state in after]
        return found

    def _heard(self, states: Sequence[int], seat: Seat) -> int:
        """What can reach an instance: all that its part has sent, single votes only in their own round."""
        instance, mates, views = seat
        heard = 0
        for mate in mates:
            heard |= self.members[mate].locals[states[mate]].offers
        return heard & ~self.members[instance].locals[states[instance]].offers & ~self.items.votes_before[views.start]

    def _plan(self, parts: Parts, views: range) -> list[Seat]:
        plan = list[Seat]()
        for part in parts:
            if has_quorum(self.cast, part):
                plan += [(each, [mate for mate in part if mate != each], views) for each in part]
        return plan

    def retrace(self, round_: Round, parts: Parts, views: range) -> tuple[World, Path]:
        """Return the world a round began with and the shortest way from it to where it stopped."""
        path: Path = []
        world = round_.at
        plan = {seat[0]: seat for seat in self._plan(parts, views)}
        while world in round_.origin:
            before = round_.origin[world]
            old, new = self.split(before), self.split(world)
            (instance,) = (each for each in plan if old[each] != new[each])
            seat = plan[instance]
            moves = self.members[instance].list_moves(old[instance], self._heard(old, seat), seat[2])
            path.append((instance, next(move for move, state in moves if state == new[instance])))
            world = before
        return world, path[::-1]
