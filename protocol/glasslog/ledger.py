"""What a height appends: the deterministic state machine under the agreement (specs/log.md, L7 and L8).

A ``LedgerState`` is an immutable value: the tree's edge and where every author's chain ends. ``extend`` makes
the next height's from it, so that every proposal, also one that is later abandoned, has its own overlay on
its parent's and a speculative branch never touches a store. What becomes final is a ``HeightPlan``'s records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from glasslog.block import Block, Ref
from glasslog.entry import HeightSeal, encode_leaf
from glasslog.errors import AdmissionError
from glasslog.limits import HEIGHT_BYTES_MAX, HEIGHT_ENTRIES_MAX
from glasslog.membership import Membership
from glasslog.merkle import hash_leaf
from glasslog.tiles import Edge, Tile


@dataclass(frozen=True, slots=True)
class Tip:
    """Where one author's chain ends: block number and hash, and the number of the author's next entry."""

    seq: int
    hash: bytes
    next_entry: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """What the ledger needs of a verified block: everything but its body."""

    ref: Ref
    prev: bytes
    first: int
    count: int
    body_bytes: int
    leaf_hashes: bytes  # (count + 1) * 32: the entries', then the header's
    leaf: bytes  # the header leaf

    @property
    def tip(self) -> Tip:
        """Where the author's chain ends with this block."""
        return Tip(self.ref.seq, self.ref.hash, self.next_entry)

    @property
    def next_entry(self) -> int:
        """Number of the entry that follows this block."""
        return self.first + self.count

    @classmethod
    def of(cls, block: Block) -> Admitted:
        """Return *block* without its body."""
        header = block.header
        return cls(block.ref, header.prev, header.first, header.count, block.body_bytes, block.leaf_hashes, block.leaf)


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The ledger after a height: ``size`` leaves, their root, and every author's tip. ``time`` in ms."""

    height: int
    time: int
    edge: Edge
    frontier: Mapping[str, Tip]
    root: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.edge.root())

    @property
    def size(self) -> int:
        """Number of leaves in the log."""
        return self.edge.size

    def tip(self, author: str, genesis_hash: bytes) -> Tip:
        """Return where *author*'s chain ends; before the first block that is the genesis hash (L6)."""
        return self.frontier.get(author) or Tip(0, genesis_hash, 0)


@dataclass(frozen=True, slots=True)
class HeightPlan:
    """One height, worked out on top of a given state: the state after it and all that is written if it is final."""

    state: LedgerState
    blocks: tuple[Admitted, ...]
    seal: bytes
    tiles: tuple[Tile, ...]
    tips: tuple[tuple[str, Tip], ...]


ChainOf = Callable[[Tip, Ref], Sequence[Admitted] | None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in agreement a height stands: what its seal says besides what it appends."""

    height: int
    view: int
    epoch: int
    time: int


def genesis_state(leaves: Sequence[bytes], time: int) -> tuple[LedgerState, tuple[Tile, ...]]:
    """Return the state at height 0: the genesis leaf and one membership leaf per member (L1)."""
    edge, tiles = Edge.empty().extend(b"".join(map(hash_leaf, leaves)))
    return LedgerState(0, time, edge, {}), tiles


def extend(
    state: LedgerState,
    membership: Membership,
    place: Place,
    advance: Sequence[Ref],
    chain_of: ChainOf,
) -> HeightPlan | None:
    """Return the height that moves each author in *advance* to its reference, or None while blocks are missing.

    ``chain_of(tip, ref)`` gives the held blocks from just above ``tip`` to ``ref``, oldest first, or None.

    Raises:
        AdmissionError: no replica that holds the blocks may accept this height (L8).
    """
    if any(a.author >= b.author for a, b in pairwise(advance)):
        raise AdmissionError("HEIGHT-01", "authors are not in strictly ascending order")
    blocks: list[Admitted] = []
    tips: list[tuple[str, Tip]] = []
    for ref in advance:
        chain = _admit(state, membership, ref, chain_of)
        if chain is None:
            return None
        blocks += chain
        tips.append((ref.author, chain[-1].tip))
    if sum(block.count for block in blocks) > HEIGHT_ENTRIES_MAX:
        raise AdmissionError("HEIGHT-02", f"more than {HEIGHT_ENTRIES_MAX} entries in one height")
    if sum(block.body_bytes for block in blocks) > HEIGHT_BYTES_MAX:
        raise AdmissionError("HEIGHT-03", f"more than {HEIGHT_BYTES_MAX} bytes in one height")
    return _append(state, membership, place, blocks, tips)


def _admit(state: LedgerState, membership: Membership, ref: Ref, chain_of: ChainOf) -> Sequence[Admitted] | None:
    """Return the blocks that bring one author to *ref*, checked against the author's chain and share."""
    author = membership.author(ref.author)
    tip = state.tip(ref.author, membership.genesis_hash)
    if ref.seq <= tip.seq:
        raise AdmissionError("HEIGHT-04", f"{ref.author} is at block {tip.seq}, not before {ref.seq}")
    chain = chain_of(tip, ref)
    if chain is None:
        return None
    next_entry = tip.next_entry
    for block in chain:
        if block.first != next_entry:
            raise AdmissionError("HEIGHT-05", f"{ref.author} block {block.ref.seq}: first entry is not {next_entry}")
        next_entry = block.next_entry
    if sum(block.count for block in chain) > author.quota_entries:
        raise AdmissionError("HEIGHT-06", f"{ref.author} has more than its {author.quota_entries} entries a height")
    if sum(block.body_bytes for block in chain) > author.quota_bytes:
        raise AdmissionError("HEIGHT-07", f"{ref.author} has more than its {author.quota_bytes} bytes a height")
    return chain


def _append(
    state: LedgerState, membership: Membership, place: Place, blocks: list[Admitted], tips: list[tuple[str, Tip]]
) -> HeightPlan:
    seal = encode_leaf(
        HeightSeal(place.height, place.view, place.epoch, place.time, membership.membership_hash, len(blocks))
    )
    hashes = b"".join([block.leaf_hashes for block in blocks] + [hash_leaf(seal)])
    edge, tiles = state.edge.extend(hashes)
    frontier = {**state.frontier, **dict(tips)} if tips else state.frontier
    return HeightPlan(LedgerState(place.height, place.time, edge, frontier), tuple(blocks), seal, tiles, tuple(tips))
