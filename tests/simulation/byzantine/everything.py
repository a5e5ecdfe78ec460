"""All at once: double votes, Z with F, several proposals and old parents, from one key."""

from __future__ import annotations

from glasslog.agreement.messages import Message
from simulation.byzantine.double_voting import DoubleVoting
from simulation.byzantine.nullify_and_finalize import NullifyingAndFinalizing
from simulation.byzantine.stale_fork import StaleFork


class Everything(StaleFork, DoubleVoting, NullifyingAndFinalizing):
    """Signs whatever could help anybody to disagree."""

    def received(self, message: Message) -> None:
        DoubleVoting.received(self, message)
        NullifyingAndFinalizing.received(self, message)
        StaleFork.received(self, message)
