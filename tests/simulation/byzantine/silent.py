"""A validator that says nothing. A6: its views are skipped; A15: q = n - f does not need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from glasslog.agreement.messages import Message
from simulation.byzantine.behaviour import Byzantine


class Silent(Byzantine):
    """Says nothing at all."""

    def recipients(self, message: Message, peers: Sequence[str]) -> Iterable[str]:
        self.did("silent: messages kept back")
        return ()
