"""All scripts of a family, in order; scripts that begin alike share the rounds they have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from exhaustive.script import Parts, Script
from exhaustive.search import START, Round, Universe, World


@dataclass
class Counts:
    """What a number of scripts added up to; a shared round counts once."""

    scripts: int = 0
    rounds: int = 0
    worlds: int = 0
    transitions: int = 0
    ends: int = 0

    def add(self, other: Counts) -> None:
        self.scripts += other.scripts
        self.rounds += other.rounds
        self.worlds += other.worlds
        self.transitions += other.transitions
        self.ends += other.ends


@dataclass
class Enumeration:
    """Plays scripts of one cast one after another and remembers the rounds of the last."""

    universe: Universe
    counts: Counts = field(default_factory=Counts)
    _played: list[tuple[Parts, Round]] = field(default_factory=list[tuple[Parts, Round]])

    def play(self, script: Script) -> Round:
        """Play a script; return its last round, or the one that found a violation."""
        assert script.views <= self.universe.views
        shared = 0
        for (parts, _), wanted in zip(self._played, script.parts, strict=False):
            if parts != wanted:
                break
            shared += 1
        del self._played[shared:]
        for number in range(shared, len(script.parts)):
            views = script.views_of(number)
            starts: list[World] = [START]
            if self._played:
                starts = self.universe.merge(self._played[-1][1].ends, views.start)
            round_ = self.universe.explore(starts, script.parts[number], views)
            self._played.append((script.parts[number], round_))
            self.counts.rounds += 1
            self.counts.worlds += round_.worlds
            self.counts.transitions += round_.transitions
            if round_.violation is not None:
                break
        last = self._played[-1][1]
        self.counts.scripts += 1
        self.counts.ends += len(last.ends)
        return last

    def play_all(self, scripts: Iterator[Script]) -> Iterator[tuple[Script, Round]]:
        """Play many scripts; in their own order most rounds are shared."""
        for script in scripts:
            yield script, self.play(script)
