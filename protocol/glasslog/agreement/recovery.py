"""A member that lost state (T5) may have signed what it no longer knows (specs/agreement.md, A10).

To have signed in view v it held a certificate for v-1, so at least n-2f other honest validators signed in v-1,
and each of them stored a certificate for v-2 first. Replies of n-f others reach one of those: W >= v-2. Once a
view >= W+2 >= v is final, every view it can have signed in is closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from glasslog.agreement.messages import RecoveryReply
from glasslog.block import Ref


@dataclass(slots=True)
class Recovery:
    """What the others have answered, by validator index. ``needed`` is n - f."""

    nonce: bytes
    needed: int
    faults: int
    replies: dict[int, RecoveryReply] = field(default_factory=dict[int, RecoveryReply])
    tips: dict[int, Ref] = field(default_factory=dict[int, Ref])

    def add(self, voter: int, reply: RecoveryReply, tip: Ref | None) -> None:
        """Count a reply to this boot's question; its certificates and the header behind ``tip`` are verified."""
        if reply.nonce == self.nonce:
            self.replies[voter] = reply
            if tip is not None:
                self.tips[voter] = tip

    @property
    def is_answered(self) -> bool:
        """Whether n - f other validators have answered."""
        return len(self.replies) >= self.needed

    @property
    def closing_view(self) -> int | None:
        """W + 2: the view whose finalization closes all earlier ones, or None until enough have answered."""
        if not self.is_answered:
            return None
        certificates = [reply.certificate for reply in self.replies.values() if reply.certificate is not None]
        return max((certificate.view for certificate in certificates), default=0) + 2

    @property
    def published(self) -> int:
        """The highest size that f+1 say is published: one of them is honest, so no liar can silence this member."""
        sizes = sorted((reply.published for reply in self.replies.values()), reverse=True)
        return sizes[self.faults] if len(sizes) > self.faults else 0

    @property
    def final_view(self) -> int:
        """The highest view that anybody proved final: what this author has in the log lies at or below it."""
        return max((reply.final.view for reply in self.replies.values() if reply.final is not None), default=0)

    @property
    def tip(self) -> tuple[int, Ref] | None:
        """A validator and the asking author's highest block, which that validator holds and did not have final."""
        return max(self.tips.items(), key=lambda shown: (shown[1].seq, -shown[0]), default=None)
