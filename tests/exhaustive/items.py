"""What can be in flight: each signed thing once, by number, so that a set of them is one integer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from glasslog.agreement.messages import Certificate, Kind, Proposal, SignedProposal, Vote
from simulation.invariants import digest_of

VIEWS_MAX = 12

Content: TypeAlias = SignedProposal | Vote | Certificate


class Item(NamedTuple):
    """A proposal (no kind, no voter), a vote, or a certificate (no voter): who signed that makes no difference."""

    view: int
    kind: Kind | None
    digest: bytes
    voter: int | None

    @property
    def is_proposal(self) -> bool:
        return self.kind is None

    @property
    def is_certificate(self) -> bool:
        return self.kind is not None and self.voter is None


def bits(mask: int) -> Iterator[int]:
    """Yield the numbers in a set, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@dataclass
class Items:
    """Every item that was ever sent anywhere, in the order in which the search came upon them."""

    items: list[Item] = field(default_factory=list[Item])
    contents: list[Content] = field(default_factory=list[Content])
    proposals: dict[bytes, Proposal] = field(default_factory=dict[bytes, Proposal])
    of_view: dict[int, int] = field(default_factory=dict[int, int])  # sets
    certificates: int = 0  # a set
    finalizes: int = 0  # a set: single F votes
    votes_before: list[int] = field(
        default_factory=lambda: [0] * (VIEWS_MAX + 2)
    )  # sets: single votes of earlier views
    _numbers: dict[Item, int] = field(default_factory=dict[Item, int])

    def number(self, content: Content) -> int:
        """Return the item's number; the first content seen of an item stands for all."""
        item = item_of(content)
        known = self._numbers.get(item)
        if known is not None:
            return known
        number = self._numbers[item] = len(self.items)
        self.items.append(item)
        self.contents.append(content)
        self.of_view[item.view] = self.of_view.get(item.view, 0) | 1 << number
        if item.is_certificate:
            self.certificates |= 1 << number
        if isinstance(content, Vote):
            self.finalizes |= (content.kind is Kind.FINALIZE) << number
            for view in range(item.view + 1, len(self.votes_before)):
                self.votes_before[view] |= 1 << number
        if isinstance(content, SignedProposal):
            self.proposals[item.digest] = content.proposal
        return number

    def find(self, item: Item) -> int | None:
        """Return the number of an item that was sent by somebody in some history."""
        return self._numbers.get(item)


def item_of(content: Content) -> Item:
    """What a message is, whoever sends it."""
    match content:
        case SignedProposal(proposal):
            return Item(proposal.view, None, digest_of(proposal), None)
        case Vote():
            return Item(content.view, content.kind, content.digest, content.voter)
        case Certificate():
            return Item(content.view, content.kind, content.digest, None)
