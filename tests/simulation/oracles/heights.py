"""Every proposal that an honest validator notarized, worked out again on its parent's (A2, A17; L6 to L8).

The tree is kept as its full subtrees, largest first: appending a leaf merges equal neighbours, and the root folds them
from the right (RFC 9162 2.1.1, read from the bottom up).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from glasslog import codec
from glasslog.agreement.messages import Proposal
from glasslog.block import Block
from simulation.oracles.violation import Violation
from simulation.suite import GENESIS_TIME, QUOTA_BYTES, QUOTA_ENTRIES

Tip = tuple[int, bytes, int]  # number and hash of an author's last block, number of its next entry
Subtrees = tuple[tuple[int, bytes], ...]


def tree_root(hashes: list[bytes]) -> bytes:
    """RFC 9162 2.1.1, as it is written there."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1" + tree_root(hashes[:split]) + tree_root(hashes[split:])).digest()


def append_leaf(subtrees: Subtrees, leaf: bytes) -> Subtrees:
    """The full subtrees after one more leaf."""
    grown, size, right = list(subtrees), 1, sha256(b"\0" + leaf).digest()
    while grown and grown[-1][0] == size:
        _, left = grown.pop()
        size, right = 2 * size, sha256(b"\1" + left + right).digest()
    return (*grown, (size, right))


def root_of(subtrees: Subtrees) -> bytes:
    """The root over full subtrees."""
    *rest, (_, root) = subtrees
    for _, left in reversed(rest):
        root = sha256(b"\1" + left + root).digest()
    return root


def split_bundle(entries: bytes, count: int) -> list[bytes]:
    """The entries of a block, each behind its two-byte length."""
    found, at = list[bytes](), 0
    for _ in range(count):
        end = at + 2 + int.from_bytes(entries[at : at + 2], "big")
        found.append(entries[at + 2 : end])
        at = end
    if at != len(entries):
        raise Violation("L6 a block's entries do not end where its count says")
    return found


@dataclass(frozen=True)
class Worked:
    """A proposal worked out: where it leaves the log and every author, and the blocks it appends."""

    view: int
    height: int
    time: int
    tips: Mapping[str, Tip]
    subtrees: Subtrees
    blocks: tuple[Block, ...]
    leaves: tuple[bytes, ...]


class Heights:
    """Works out each proposal once, whoever votes for it."""

    def __init__(self, genesis: tuple[bytes, ...], blocks: Mapping[bytes, Block]) -> None:
        self._blocks = blocks
        self._genesis_hash = sha256(genesis[0]).digest()
        subtrees, members = Subtrees(), Subtrees()
        for number, leaf in enumerate(genesis):
            subtrees = append_leaf(subtrees, leaf)
            members = append_leaf(members, leaf) if number else members
        self._membership_hash = root_of(members)
        self._worked = {self._genesis_hash: Worked(0, 0, GENESIS_TIME, {}, subtrees, (), genesis)}

    def work_out(self, digest: bytes, proposal: Proposal) -> Worked:
        """Work a proposal out on its parent's, or raise ``Violation``."""
        found = self._worked.get(digest)
        if found is None:
            found = self._worked[digest] = self._work_out(proposal)
        return found

    def _work_out(self, proposal: Proposal) -> Worked:
        view, height = proposal.view, proposal.height
        parent = self._worked.get(proposal.parent_digest)
        if parent is None or parent.view != proposal.parent_view:
            raise Violation(f"A2 the proposal of view {view} stands on what no honest validator notarized")
        if proposal.epoch != 1 or height != parent.height + 1 or not parent.view < view:
            raise Violation(f"A2 the proposal of view {view} has epoch {proposal.epoch} and height {height}")
        if proposal.time <= parent.time:
            raise Violation(f"A2 the proposal of view {view} is not after its parent")
        authors = [ref.author.encode() for ref in proposal.advance]
        if any(one >= other for one, other in pairwise(authors)):
            raise Violation(f"A17 the proposal of view {view} does not name its authors in order")
        tips, blocks = dict(parent.tips), list[Block]()
        for ref in proposal.advance:
            blocks += self._path(tips.get(ref.author, (0, self._genesis_hash, 0)), ref.author, ref.seq, ref.hash)
            last = blocks[-1].header
            tips[ref.author] = ref.seq, ref.hash, last.first + last.count
        leaves = [leaf for block in blocks for leaf in (*split_bundle(block.entries, block.header.count), block.leaf)]
        leaves.append(
            codec.encode([2, height, view, 1, proposal.time, self._membership_hash, len(blocks)]),
        )
        subtrees = parent.subtrees
        for leaf in leaves:
            subtrees = append_leaf(subtrees, leaf)
        if (proposal.size, proposal.root) != (sum(size for size, _ in subtrees), root_of(subtrees)):
            raise Violation(f"A2 size or root of the proposal of view {view} do not recompute")
        return Worked(view, height, proposal.time, tips, subtrees, tuple(blocks), tuple(leaves))

    def _path(self, tip: Tip, author: str, seq: int, block_hash: bytes) -> list[Block]:
        """The blocks from just above an author's tip to the one named, each by its author, linked and numbered on."""
        path = list[Block]()
        while len(path) < seq - tip[0]:
            block = self._blocks.get(block_hash)
            if block is None or (block.header.author, block.header.seq) != (author, seq - len(path)):
                raise Violation(f"A2 a proposal names {author} block {seq}, whose chain is broken")
            path.append(block)
            block_hash = block.header.prev
        if not path or block_hash != tip[1]:
            raise Violation(f"A2 a proposal names {author} block {seq}, which does not follow block {tip[0]}")
        path.reverse()
        number = tip[2]
        for block in path:
            if block.header.first != number:
                raise Violation(f"L6 {author} block {block.header.seq} does not number its entries on from {number}")
            number += block.header.count
        size = sum(len(block.entries) + len(block.leaf) + 2 for block in path)
        if number - tip[2] > QUOTA_ENTRIES or size > QUOTA_BYTES:
            raise Violation(f"L8 {author} is given more than its share of a height")
        return path
