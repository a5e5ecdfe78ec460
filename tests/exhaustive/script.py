"""What is scripted: whose key has a twin, and for each view which instances can hear one another.

A scenario of the Twins paper (Bano et al., *Twins: BFT Systems Made Robust*, 2021) is, for each round, a leader and a
partition of the instances. Leaders are fixed here by the view (A15), so a script is a partition for each view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

VALIDATORS = 4

Parts = tuple[tuple[int, ...], ...]  # instances, each in one part; ascending


@dataclass(frozen=True)
class Cast:
    """The instances: every validator once, then a second instance of each key in ``twins``."""

    twins: tuple[int, ...]
    quorum: int = 3

    @property
    def keys(self) -> tuple[int, ...]:
        """The validator whose key each instance has."""
        return (*range(VALIDATORS), *self.twins)

    def name(self, instance: int) -> str:
        """``v3``, and ``v3'`` for its twin."""
        return f"v{self.keys[instance]}" + "'" * (instance >= VALIDATORS)


@dataclass(frozen=True)
class Script:
    """``parts[r]`` is the partition of round r, in which ``stretch`` more views are played."""

    cast: Cast
    parts: tuple[Parts, ...]
    stretch: int = 1

    @property
    def views(self) -> int:
        return len(self.parts) * self.stretch

    def views_of(self, number: int) -> range:
        """The views of a round: what is left of earlier ones by then is only caught up with."""
        return range(number * self.stretch + 1, (number + 1) * self.stretch + 1)

    def __str__(self) -> str:
        said = (" | ".join(" ".join(map(self.cast.name, part)) for part in parts) for parts in self.parts)
        return "; ".join(said)


def has_quorum(cast: Cast, part: Sequence[int]) -> bool:
    """Whether a part can come to anything; in any other nothing is explored."""
    return len({cast.keys[instance] for instance in part}) >= cast.quorum


def whole(cast: Cast) -> Parts:
    """No partition."""
    return (tuple(range(len(cast.keys))),)


def list_splits(cast: Cast, sizes: Sequence[int] = (3,)) -> list[Parts]:
    """Return the partitions into two parts, one of them of such a size and with a quorum of names.

    In any other partition of a view nobody can leave it: the script would say the same as a shorter one. Whatever
    happens in more parts also happens in two, as any message may be late. Larger parts have more interleavings.
    """
    instances = range(len(cast.keys))
    found = list[Parts]()
    for size in sizes:
        for part in combinations(instances, size):
            if not has_quorum(cast, part):
                continue
            rest = tuple(instance for instance in instances if instance not in part)
            found.append((part, rest) if rest else (part,))
    return found


def _swapped(cast: Cast, parts: Parts) -> Parts:
    """The same with the two instances of the first twin's key exchanged."""
    one, other = cast.twins[0], VALIDATORS
    swap = {one: other, other: one}
    return tuple(tuple(sorted(swap.get(instance, instance) for instance in part)) for part in parts)


def list_scripts(cast: Cast, choices: Sequence[Sequence[Parts]], stretch: int = 1) -> Iterator[Script]:
    """Yield every sequence of partitions, one choice for each view, once up to the exchange of the twins.

    The twins run the same code from the same state, and differ in their clocks only, by a millisecond or so: to
    exchange them renames digests. Honest validators are not exchangeable, each leads a view of its own.
    """
    for parts in product(*choices):
        mirrored = tuple(_swapped(cast, each) for each in parts)
        if _order(parts) <= _order(mirrored):
            yield Script(cast, parts, stretch)


def _order(parts: tuple[Parts, ...]) -> list[tuple[tuple[int, ...], ...]]:
    return [tuple(sorted(each)) for each in parts]
