"""A validator that votes and gives nobody data. A9: others hold every block that was notarized; A7: they serve it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from glasslog.agreement.messages import BlockBody, Certificate, FinalizedRun, Message
from simulation.byzantine.behaviour import Byzantine


class Withholding(Byzantine):
    """Proposes and votes, and gives nobody a block, a certificate or a run."""

    def recipients(self, message: Message, peers: Sequence[str]) -> Iterable[str]:
        if not isinstance(message, BlockBody | Certificate | FinalizedRun):
            return peers
        self.did("withholding: blocks, certificates and runs kept back")
        return ()
