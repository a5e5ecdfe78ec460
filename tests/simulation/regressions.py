"""Configurations that once failed: each is run again for good, under its name.

A line here is what the shrinker printed for a bug that was then fixed in the core.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulation.swarm import Swarm


@dataclass(frozen=True)
class Regression:
    """What failed, and the run in which it did."""

    name: str
    violation: str  # as it was found
    swarm: Swarm


REGRESSIONS: tuple[Regression, ...] = ()
