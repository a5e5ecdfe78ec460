"""Two ledgers of one origin that part at some height: what more than f validators can make, or a thief of keys."""

from __future__ import annotations

from collections.abc import Sequence

from audit_ledger import LAB, OTHER_LAB, World
from glasslog.agreement.messages import Certificate, Kind


class Branch(World):
    """A ledger whose certificates and checkpoints are signed by ``voters`` alone."""

    def __init__(self, voters: Sequence[int] | None = None, validators: int = 4) -> None:
        super().__init__(validators)
        self.voters = voters

    def certify(self, view: int, kind: Kind, digest: bytes, *, signers: Sequence[int] | None = None) -> Certificate:
        return super().certify(view, kind, digest, signers=self.voters if signers is None else signers)

    def grow(self, counts: Sequence[int], *, author: str = LAB, skip_views: int = 0) -> None:
        self.add_height(self.make_blocks(author, counts), skip_views=skip_views)


def make_branches(
    first: Sequence[int],
    second: Sequence[int],
    *,
    validators: int = 4,
    common: int = 2,
    heights: tuple[int, int] = (2, 2),
    skip_views: tuple[int, int] = (0, 0),
) -> tuple[Branch, Branch]:
    """Two branches over ``common`` equal heights; each publishes its end, cosigned by its own voters."""
    branches = (Branch(validators=validators), Branch(validators=validators))
    for branch, voters, author, above, skipped in zip(
        branches, (first, second), (LAB, OTHER_LAB), heights, skip_views, strict=True
    ):
        for _ in range(common):
            branch.grow((3, 2))
        branch.voters = voters
        for _ in range(above):
            branch.grow((40, 2), author=author, skip_views=skipped)
        branch.publish(signers=voters)
    return branches
