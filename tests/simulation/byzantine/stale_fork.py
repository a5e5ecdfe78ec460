"""A leader that proposes on old parents, as early as it can, skipping views that were not nullified.

A2: a skipped view must have a Z certificate, which cannot exist beside F (I3, I4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glasslog.agreement.messages import Certificate, Message, Proposal
from simulation.byzantine.equivocating import VARIANTS, Equivocating

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.node import Node


class StaleFork(Equivocating):
    """Leads back to where others have left."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        super().__init__(cluster, node)
        self._led = 0

    def received(self, message: Message) -> None:
        replica = self.node.replica
        if not isinstance(message, Certificate):
            return
        view = message.view + 1
        if view <= self._led or not self.leads(view):
            return
        self._led = view
        floor, now = replica.branches.floor, replica.now.wall
        own = Proposal(1, view, 0, 0, b"", now, (), 0, b"")
        stale = [(floor.view, floor.digest, floor.time, replica.branches.state)]
        for round_ in replica.tally.rounds.values():
            certificate = round_.parent_certificate
            if certificate is None or round_.view >= view:
                continue
            parent = replica.branches.parent(round_.view, certificate.digest)
            if parent is not None:
                stale.append((parent.view, parent.digest, parent.time, parent.state))
        for parent_view, digest, time, state in stale[-VARIANTS:]:
            forged = self.propose(own, parent_view, digest, max(time + 1, now), state)
            if forged is not None:
                self.did("stale-fork leader: proposals on an old parent")
                self.tell_some(forged, 0.8)
