"""The blocks a replica holds that are not final yet, and who else holds them (specs/agreement.md, A9; T3).

The shelf answers three questions: which chain of blocks leads from an author's tip to a reference, how far
may a leader move an author, and what is missing. It holds no bodies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from glasslog.agreement.messages import BlockRequest
from glasslog.block import Ref
from glasslog.errors import AdmissionError
from glasslog.ledger import Admitted, Tip
from glasslog.limits import FORK_SIBLINGS_MAX, PENDING_BLOCKS_PER_AUTHOR_MAX, REQUEST_BLOCKS_MAX

FINAL_HEADERS_MAX = 64  # of an author, kept so that a late fork of a final block is evidence still


@dataclass(slots=True)
class _Author:
    """One author's held blocks by hash, in order of arrival, each validator's last Have, and the last final headers."""

    blocks: dict[bytes, Admitted] = field(default_factory=dict[bytes, Admitted])
    haves: dict[int, Ref] = field(default_factory=dict[int, Ref])
    supported_since: dict[bytes, int] = field(default_factory=dict[bytes, int])
    final: dict[int, tuple[bytes, bytes]] = field(default_factory=dict[int, tuple[bytes, bytes]])  # seq: hash, header


@dataclass(slots=True)
class Support:
    """How many Haves make a block nameable: ``quorum`` at once, ``some`` after ``wait_ms`` (A9)."""

    quorum: int
    some: int
    wait_ms: int


class Shelf:
    """Held blocks above the finalized frontier, and Haves."""

    def __init__(self, support: Support) -> None:
        self._support = support
        self._authors: dict[str, _Author] = {}

    def __contains__(self, ref: object) -> bool:
        return isinstance(ref, Ref) and ref.hash in self._author(ref.author).blocks

    def _author(self, name: str) -> _Author:
        found = self._authors.get(name)
        if found is None:
            found = self._authors[name] = _Author()
        return found

    def authors(self) -> Iterator[str]:
        """Yield every author with a held block or a Have, by name."""
        return iter(sorted(self._authors))

    def siblings(self, ref: Ref) -> list[Admitted]:
        """Return the held blocks with the same author and number but another hash: a fork's other side."""
        held = self._author(ref.author).blocks.values()
        return [block for block in held if block.ref.seq == ref.seq and block.ref.hash != ref.hash]

    def other_sides(self, ref: Ref) -> list[bytes]:
        """Return the header leaves held, or final lately, that fork from *ref*: same author and number (A14)."""
        final = self._author(ref.author).final.get(ref.seq, (ref.hash, b""))
        return [block.leaf for block in self.siblings(ref)] + ([] if final[0] == ref.hash else [final[1]])

    def may_hold(self, ref: Ref, tip: Tip, *, named: bool) -> bool:
        """Say whether a verified block is to be kept: new, in the window, and no third side of a fork (A9)."""
        if not tip.seq < ref.seq <= tip.seq + PENDING_BLOCKS_PER_AUTHOR_MAX or ref in self:
            return False
        return named or len(self.siblings(ref)) < FORK_SIBLINGS_MAX

    def hold(self, block: Admitted) -> None:
        """Put a durably held block on the shelf."""
        self._author(block.ref.author).blocks[block.ref.hash] = block

    def get(self, ref: Ref) -> Admitted | None:
        """Return the held block of this reference."""
        return self._author(ref.author).blocks.get(ref.hash)

    # --- chains -----------------------------------------------------------------------------------

    def chain_of(self, tip: Tip, ref: Ref) -> list[Admitted] | None:
        """Return the blocks from just above *tip* to *ref*, oldest first, or None while one is missing.

        Raises:
            AdmissionError: *ref*'s chain does not pass through *tip*, and never will.
        """
        chain = self._walk_back(tip, ref)
        if len(chain) < ref.seq - tip.seq:
            return None
        if chain[-1].prev != tip.hash:
            raise AdmissionError("HEIGHT-08", f"{ref.author} block {ref.seq} is on another fork than block {tip.seq}")
        return chain[::-1]

    def _walk_back(self, tip: Tip, ref: Ref) -> list[Admitted]:
        """Return held blocks from *ref* backwards as far as they are linked and above *tip*, newest first."""
        blocks = self._author(ref.author).blocks
        chain: list[Admitted] = []
        wanted, seq = ref.hash, ref.seq
        while seq > tip.seq:
            block = blocks.get(wanted)
            if block is None:
                break
            if block.ref.seq != seq:
                raise AdmissionError("HEIGHT-09", f"{ref.author} block {seq} is linked to one numbered {block.ref.seq}")
            chain.append(block)
            wanted, seq = block.prev, seq - 1
        return chain

    def missing(self, tip: Tip, ref: Ref) -> BlockRequest | None:
        """Return what to ask for so that *ref* can be reached from *tip*, or None when nothing is missing."""
        chain = self._walk_back(tip, ref)
        seq = ref.seq - len(chain)
        if seq <= tip.seq:
            return None
        last_hash = chain[-1].prev if chain else ref.hash
        return BlockRequest(ref.author, max(tip.seq + 1, seq - REQUEST_BLOCKS_MAX + 1), seq, last_hash)

    def forward(self, author: str, tip: Tip) -> list[Admitted]:
        """Return the chain held above *tip* whose numbers follow; where an author forked, the side that came first.

        A block whose numbers do not follow can never be final. Counting it as held would be work that never ends.
        """
        children: dict[Tip, Admitted] = {}
        for block in self._author(author).blocks.values():
            children.setdefault(Tip(block.ref.seq - 1, block.prev, block.first), block)
        chain: list[Admitted] = []
        while tip in children:
            chain.append(children[tip])
            tip = chain[-1].tip
        return chain

    def finalize(self, author: str, tip: Tip) -> tuple[Ref, ...]:
        """Forget everything at or below an author's new tip; return the held blocks that lost to it."""
        state = self._author(author)
        final: set[bytes] = set()
        wanted = tip.hash
        while wanted in state.blocks and wanted not in final:
            final.add(wanted)
            block = state.blocks[wanted]
            state.final[block.ref.seq] = wanted, block.leaf
            wanted = block.prev
        state.final = dict(sorted(state.final.items())[-FINAL_HEADERS_MAX:])
        lost: list[Ref] = []
        above: dict[bytes, Admitted] = {}
        for hash_, block in state.blocks.items():
            on_fork = block.ref.seq == tip.seq + 1 and block.prev != tip.hash
            if block.ref.seq > tip.seq and not on_fork:
                above[hash_] = block
            elif hash_ not in final:
                lost.append(block.ref)
        state.blocks = above
        state.supported_since = {hash_: at for hash_, at in state.supported_since.items() if hash_ in above}
        return tuple(lost)

    # --- Haves ------------------------------------------------------------------------------------

    def have(self, voter: int, ref: Ref) -> bool:
        """Note a validator's word that it holds *ref* and everything before it. False: it is known."""
        haves = self._author(ref.author).haves
        known = haves.get(voter)
        if known is not None and (ref.seq < known.seq or ref == known):
            return False
        haves[voter] = ref
        return True

    def forget_haves(self, voter: int) -> None:
        """A validator that restarted may have lost what it held."""
        for author in self._authors.values():
            author.haves.pop(voter, None)

    def holders(self, author: str, above: int) -> list[int]:
        """Return the validators whose Have of this author lies above block number *above*."""
        haves = self._author(author).haves
        return sorted(voter for voter, ref in haves.items() if ref.seq > above)

    def has_work(self, tips: Mapping[str, Tip]) -> bool:
        """Say whether f+1 validators hold blocks of one author above the finalized frontier (A12)."""
        for name, author in self._authors.items():
            tip = tips.get(name)
            above = 0 if tip is None else tip.seq
            if sum(ref.seq > above for ref in author.haves.values()) >= self._support.some:
                return True
        return False

    def wanted(self, author: str, tip: Tip) -> Ref | None:
        """Return the highest block that f+1 validators hold, if there is one; it may be held here too, or a part."""
        haves = [ref for ref in self._author(author).haves.values() if ref.seq > tip.seq]
        if len(haves) < self._support.some:
            return None
        haves.sort(key=lambda ref: (ref.seq, ref.hash), reverse=True)
        return haves[self._support.some - 1]

    def nameable(self, author: str, tip: Tip, now: int) -> tuple[list[Admitted], int | None]:
        """Return the blocks above *tip* that a leader may name now, and when that may grow by waiting (A9)."""
        state = self._author(author)
        chain = self.forward(author, tip)
        if not chain:
            return [], None
        position = {block.ref.hash: index for index, block in enumerate(chain)}
        ahead = chain[-1].ref.seq
        reach = [position.get(ref.hash, len(chain) - 1 if ref.seq > ahead else -1) for ref in state.haves.values()]
        reach.sort(reverse=True)
        by_quorum = reach[self._support.quorum - 1] if len(reach) >= self._support.quorum else -1
        by_some = reach[self._support.some - 1] if len(reach) >= self._support.some else -1
        wake = None
        if by_some > by_quorum:
            since = state.supported_since.setdefault(chain[by_some].ref.hash, now)
            if now >= since + self._support.wait_ms:
                by_quorum = by_some
            else:
                wake = since + self._support.wait_ms
        return chain[: by_quorum + 1], wake
