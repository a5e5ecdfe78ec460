"""How a world came about, in words: the shortest way to it, step by step, as the simulator's transcripts tell it."""

from __future__ import annotations

from exhaustive.clone import clone
from exhaustive.script import Script
from exhaustive.search import START, Path, Round, Universe, World
from glasslog.agreement.effects import Broadcast, Finalized, Halt, Persist, Tick
from glasslog.agreement.messages import Certificate, SignedProposal, Vote
from simulation.transcript import Transcript

TOLD = SignedProposal | Vote | Certificate


def find_story(universe: Universe, script: Script, only: str = "") -> tuple[str, Path] | None:
    """Play a script for a violation that begins with *only*; return it and the way to it from the start.

    Within the round that shows it no way is shorter.
    """
    rounds = list[Round]()
    starts: list[World] = [START]
    for number, parts in enumerate(script.parts):
        views = script.views_of(number)
        rounds.append(universe.explore(starts, parts, views, traced=True, only=only))
        if rounds[-1].violation is not None:
            break
        starts = rounds[-1].ends
    violation = rounds[-1].violation
    if violation is None:
        return None
    path: Path = []
    for number in range(len(rounds) - 1, -1, -1):
        start, way = universe.retrace(rounds[number], script.parts[number], script.views_of(number))
        path = way + path
        if number:
            rounds[number - 1].at = start
    return violation, path


def tell(universe: Universe, path: Path) -> list[str]:
    """Replay a way through fresh copies of the first replicas; one line for each thing that they hear and do."""
    transcript = Transcript()
    replicas = [clone(member.locals[0].replica) for member in universe.members]
    for at, (instance, move) in enumerate(path, 1):
        name = universe.cast.name(instance)
        if move.timer:
            transcript.note(at, name, move.timer)
        for now, event in universe.members[instance].events(replicas[instance], move):
            if not isinstance(event, Tick):
                transcript.event(at, name, event)
            for effect in replicas[instance].step(now, event):
                if isinstance(effect, Broadcast) and not isinstance(
                    effect.message, SignedProposal | Vote | Certificate
                ):
                    continue
                if isinstance(effect, Broadcast | Finalized | Halt | Persist):
                    transcript.effect(at, name, effect)
    return transcript.lines
