"""One vote key on two machines: each an honest replica with a disk of its own, each cut off from some others.

Twins (Bano et al. 2020, arXiv 2004.10617): two correct copies of one identity make the equivocations that a real
double deployment or a stolen key makes, and those that hand-written attackers do not think of. No rule can tell them
apart; A1 and A15 withstand them as one of the f faulty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.byzantine.behaviour import Byzantine

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.node import Node

REACHED = 0.6


class Twins(Byzantine):
    """One of the two seats: what passes between it and each member changes from time to time."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        super().__init__(cluster, node)
        self._reached = frozenset[str]()
        self._until = 0

    def reaches(self, peer: str) -> bool:
        if self.cluster.now >= self._until:
            self.did("twins: partitions of a seat")
            self._until = self.cluster.now + self.cluster.random.randint(100, 1_500)
            names = [*self.others, "forker"]
            self._reached = frozenset(name for name in names if self.chance(REACHED))
        return peer in self._reached
