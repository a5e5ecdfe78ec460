"""An author that gives its blocks to the leader only, and whose validator says that it holds them.

The attack on voting only for what is held: every honest proposal that names the block times out, unless voters
fetch it from the leader. A9: a leader names what it holds itself and f+1 said they have; the rest ask it; an author
whose missing block cost a view goes to the back (reference: Narwhal, Danezis et al. 2022, on availability).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from glasslog.agreement.messages import BlockBody, Message
from simulation.byzantine.behaviour import Byzantine
from simulation.suite import make_entries

BLOCKS = 3


class WithholdingAuthor(Byzantine):
    """Boasts to all of blocks that only one leader has ever seen."""

    def start(self) -> None:
        for _ in range(BLOCKS):
            self.cluster.later(self.cluster.random.randrange(100, self.cluster.swarm.heal_at), self.act)

    def act(self) -> None:
        self.seal(make_entries(self.node.member, self.next_entry, 1))

    def recipients(self, message: Message, peers: Sequence[str]) -> Iterable[str]:
        if not isinstance(message, BlockBody):
            return peers
        if len(peers) == 1:
            self.did("withholding author: requests not answered")
            return ()
        self.did("withholding author: blocks for the leader only")
        view = self.node.replica.view + self.leads(self.node.replica.view)
        return (self.cluster.network.validators[view % self.cluster.swarm.validators],)
