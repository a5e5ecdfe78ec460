"""What a leader proposes: on which parent, and which authors' blocks (specs/agreement.md, A9, A12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from glasslog.agreement.messages import Certificate, Kind
from glasslog.agreement.shelf import Shelf
from glasslog.agreement.view import Round
from glasslog.block import Ref
from glasslog.ledger import Admitted, LedgerState
from glasslog.limits import HEIGHT_BYTES_MAX, HEIGHT_ENTRIES_MAX
from glasslog.membership import Membership


@dataclass(slots=True)
class Penalties:
    """Authors whose blocks cost a view go to the back of the queue for 2^k views (A9)."""

    _count: dict[str, int] = field(default_factory=dict[str, int])
    _until: dict[str, int] = field(default_factory=dict[str, int])

    def blame(self, author: str, view: int) -> None:
        """The view was lost while this author's named blocks were missing."""
        self._count[author] = min(self._count.get(author, 0) + 1, 16)
        self._until[author] = view + 2 ** self._count[author]

    def forgive(self, author: str) -> None:
        """A height with this author's blocks became final."""
        self._count.pop(author, None)
        self._until.pop(author, None)

    def is_back(self, author: str, view: int) -> bool:
        """Say whether the author waits behind everybody else in *view*."""
        return self._until.get(author, 0) > view


def parent_of(view: int, rounds: Mapping[int, Round], floor_view: int) -> Certificate | int | None:
    """Return the certificate of the view to build on, the floor's view, or None while some view is in doubt.

    Every view between the parent and *view* has a nullify certificate here: the proof voters will ask for.
    """
    for earlier in range(view - 1, floor_view, -1):
        found = rounds.get(earlier)
        if found is None:
            return None
        if found.parent_certificate is not None:
            return found.parent_certificate
        if Kind.NULLIFY not in found.certificates:
            return None
    return floor_view


@dataclass(frozen=True, slots=True)
class Selection:
    """The references a leader may name now, their entries, and when waiting may allow more (ms, monotonic)."""

    advance: tuple[Ref, ...]
    entries: int
    wake: int | None


def select(
    shelf: Shelf, membership: Membership, state: LedgerState, penalties: Penalties, view: int, now: int
) -> Selection:
    """Return the references to name on top of *state*: each author up to its share, everybody up to the height's.

    The author to start with rotates with the view, so that a full height starves nobody for long.
    """
    names = [name for name in shelf.authors() if membership.author_key(name) is not None]
    start = view % len(names) if names else 0
    order = sorted(names[start:] + names[:start], key=lambda name: penalties.is_back(name, view))
    entries, size = HEIGHT_ENTRIES_MAX, HEIGHT_BYTES_MAX
    advance: list[Ref] = []
    wakes: list[int] = []
    for name in order:
        tip = state.tip(name, membership.genesis_hash)
        blocks, wake = shelf.nameable(name, tip, now)
        if wake is not None:
            wakes.append(wake)
        member = membership.author(name)
        taken = _fitting(blocks, tip.next_entry, min(entries, member.quota_entries), min(size, member.quota_bytes))
        if taken:
            entries -= sum(block.count for block in taken)
            size -= sum(block.body_bytes for block in taken)
            advance.append(taken[-1].ref)
    named = tuple(sorted(advance, key=lambda ref: ref.author))
    return Selection(named, HEIGHT_ENTRIES_MAX - entries, min(wakes, default=None))


def _fitting(blocks: list[Admitted], next_entry: int, entries: int, size: int) -> list[Admitted]:
    """Return the longest start of *blocks* that continues the author's numbers and fits."""
    taken: list[Admitted] = []
    for block in blocks:
        entries -= block.count
        size -= block.body_bytes
        if block.first != next_entry or entries < 0 or size < 0:
            break
        taken.append(block)
        next_entry = block.next_entry
    return taken
