"""What a mutant is: a named fault of one or two lines, the rule it breaks, and what has to find it."""

from __future__ import annotations

from dataclasses import dataclass

from mutants.worlds import ORDINARY, World


@dataclass(frozen=True)
class Edit:
    """One line (or two that change places) of a file of the core, under ``glasslog/``, and what stands there instead.

    ``anchor`` is exactly once in the file: a refactoring that moves it has to take its mutants along.
    """

    file: str
    anchor: str
    instead: str


@dataclass(frozen=True)
class Mutant:
    """One fault. It is dead when a seed of *world* gives one of the *findings*, or *test* fails."""

    name: str  # what the core does wrong, as a sentence without its subject
    rule: str  # of specs/agreement.md or specs/log.md
    edits: tuple[Edit, ...]
    findings: tuple[str, ...]  # how a violation begins; of a test: what pytest says of it
    world: World = ORDINARY
    test: str = (
        ""  # of a rule that no running network can see broken: the test of the suite that does, as pytest names it
    )
    needs: str = ""  # why the ordinary world is not enough


def swap(file: str, first: str, second: str, *, indent: int = 8) -> Edit:
    """Let two neighbouring lines change places: what had to be durable before is now durable after."""
    space = " " * indent
    return Edit(file, f"{space}{first}\n{space}{second}\n", f"{space}{second}\n{space}{first}\n")
