"""The leaves in order: each canonical and in its place, every author's chain, every height and its seal.

Entries are handled by the block, as slices of what the source gave; no entry becomes an object unless something is
wrong with it, and then the culprit is looked for leaf by leaf.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from glasslog import merkle
from glasslog.audit.report import Findings
from glasslog.audit.source import Run
from glasslog.audit.tree import Tree, differing
from glasslog.block import Header, Ref, decode_header_leaf, split, verify_header
from glasslog.entry import Genesis, HeightSeal, LeafKind, check_entry, decode_leaf, leaf_kind
from glasslog.errors import DecodeError, ProtocolError
from glasslog.identity import verify_ed25519
from glasslog.ledger import Tip
from glasslog.limits import BLOCK_BYTES_MAX, HEIGHT_BYTES_MAX, HEIGHT_ENTRIES_MAX
from glasslog.membership import Membership, read_genesis
from glasslog.merkle import HASH_BYTES
from glasslog.predicates.evidence import EVIDENCE_TYPE
from glasslog.shapes import Shapes
from glasslog.tiles import split_entries

_HEADER, _SEAL, _STATEMENT = b"\x82\x03", b"\x87\x02", b"\x84\x00"
_LONG_TEXT = 0x78  # the head of a text of 24 to 255 bytes
_GENESIS, _MEMBERSHIP = b"\x86\x04", b"\x83\x05"
_MARKS = frozenset((_HEADER, _SEAL, _GENESIS, _MEMBERSHIP))  # how leaves begin that are no author's entries
_EVIDENCE = EVIDENCE_TYPE.encode()
EVIDENCE_MAX = 256  # evidence entries of one author judged in one audit: anybody may accuse, and a report has to end
_AUTHORED = (LeafKind.STATEMENT, LeafKind.SEALED, LeafKind.SIGNED)


class TrackLostError(Exception):
    """Nothing after this can be judged; the reason is among the findings."""


@dataclass(frozen=True, slots=True)
class ClosedHeight:
    """A height and its seal, leaf ``index``; ``seal`` is None where it is unreadable. ``size``, ``root``: after it."""

    height: int
    seal: HeightSeal | None
    index: int
    advance: tuple[Ref, ...]
    size: int
    root: bytes


class Walk:
    """Takes the leaves of a log, a run at a time, and reports every rule that one of them breaks."""

    def __init__(self, tree: Tree, findings: Findings) -> None:
        self.index = 0  # of the next leaf
        self.genesis: Genesis | None = None
        self.membership: Membership | None = None
        self.frontier: dict[str, Tip] = {}
        self.height = 0
        self.blocks = 0
        self.entries = 0
        self.evidence: list[tuple[int, bytes]] = []
        self.evidence_left = 0  # over their authors' numbers
        self._accusations: Counter[bytes] = Counter()
        self._tree = tree
        self._findings = findings
        self._on_founded: list[Callable[[Genesis, Membership], None]] = []
        self._on_height: list[Callable[[ClosedHeight], None]] = []
        self._shapes = Shapes()
        self._founding: list[bytes] = []
        self._hashes: list[bytes] = []  # leaf hashes since the last seal
        self._pending: list[bytes] = []  # entries whose header has not come yet
        self._pending_hashes = b""
        self._last_seal: HeightSeal | None = None
        self._start_height()

    def subscribe(self, founded: Callable[[Genesis, Membership], None], height: Callable[[ClosedHeight], None]) -> None:
        """Be told of the genesis, once it is read, and of every height, once it is closed."""
        self._on_founded.append(founded)
        self._on_height.append(height)

    # --- runs -------------------------------------------------------------------------------------

    def feed(self, run: Run) -> None:
        """Take the next leaves.

        Raises:
            TrackLostError: nothing that follows can be judged.
        """
        if run.first_index != self.index:
            self._lose("AUDIT-01", self.index, f"the next leaves that the replica has begin at {run.first_index}")
        leaves = self._split(run.bundle)
        hashes = merkle.hash_leaves(leaves)
        at = self._found(leaves, hashes) if self.membership is None else 0
        if _EVIDENCE in run.bundle:
            self._keep_evidence(run.first_index, leaves)
        marks = [i for i, leaf in enumerate(leaves) if leaf[:2] in _MARKS]
        for mark in marks:
            if mark >= at:
                self._take_entries(leaves[at:mark], hashes[at * HASH_BYTES : mark * HASH_BYTES])
                self._take_mark(leaves[mark], hashes[mark * HASH_BYTES : (mark + 1) * HASH_BYTES])
                at = mark + 1
        self._take_entries(leaves[at:], hashes[at * HASH_BYTES :])

    def finish(self, size: int) -> None:
        """Say that there are no more leaves, where the replica states ``size``."""
        if self.membership is None:
            self._conclude_founding(b"")
        open_leaves = self._hashes or self._pending
        if self.index < size:
            self._findings.at_leaf("AUDIT-01", self.index, f"leaves {self.index} to {size - 1} are missing")
        elif self.index > size:
            self._findings.at_leaf("AUDIT-01", size, f"there are {self.index} leaves where the replica states {size}")
        if open_leaves:
            first = self._tree.edge.size
            self._findings.at_leaf("AUDIT-03", first, f"leaves {first} to {self.index - 1} are closed by no seal")
            self._tree.extend(b"".join(self._hashes) + self._pending_hashes)

    def _split(self, bundle: bytes) -> list[bytes]:
        try:
            return split(bundle)
        except DecodeError as error:
            whole = len(bundle)
            while whole:  # the leaves before the one whose length is wrong say where it is
                whole -= 1
                try:
                    before = split_entries(bundle[:whole])
                except DecodeError:
                    continue
                self._lose("AUDIT-01", self.index + len(before), error.fact)
            self._lose("AUDIT-01", self.index, error.fact)
            return []

    def _lose(self, rule: str, index: int, fact: str) -> None:
        self._findings.at_leaf(rule, index, fact)
        raise TrackLostError

    def _keep_evidence(self, first: int, leaves: Sequence[bytes]) -> None:
        """Keep what may be evidence, each author's up to a number: no flood of accusations hides another's."""
        for index, leaf in enumerate(leaves, first):
            if leaf[:2] != _STATEMENT or _EVIDENCE not in leaf:
                continue
            author = leaf[3 : 3 + (leaf[2] & 0x1F)] if leaf[2] != _LONG_TEXT else leaf[4 : 4 + leaf[3]]
            self._accusations[author] += 1
            if self._accusations[author] <= EVIDENCE_MAX:
                self.evidence.append((index, leaf))
            else:
                self.evidence_left += 1

    # --- genesis ----------------------------------------------------------------------------------

    def _found(self, leaves: list[bytes], hashes: bytes) -> int:
        """Take genesis and membership leaves; return how many of ``leaves`` are such."""
        taken = 0
        for leaf in leaves:
            if leaf[:2] != (_MEMBERSHIP if self._founding else _GENESIS):
                self._hashes.append(hashes[: taken * HASH_BYTES])
                self._conclude_founding(leaf)
                return taken
            self._founding.append(leaf)
            self.index += 1
            taken += 1
        self._hashes.append(hashes)
        return taken

    def _conclude_founding(self, following: bytes) -> None:
        """Read genesis and members, now that a leaf of another kind, or the end, has come."""
        try:
            if not self._founding:
                raise DecodeError("GENESIS-01", "the first leaf is not a genesis leaf")
            self.genesis, self.membership = read_genesis(self._founding)
        except ProtocolError as error:
            self._blame_founding([*self._founding, *([following] if following else [])], error)
            raise TrackLostError from error
        self._tree.extend(b"".join(self._hashes))
        self._hashes = []
        for tell in self._on_founded:
            tell(self.genesis, self.membership)

    def _blame_founding(self, leaves: list[bytes], error: ProtocolError) -> None:
        stored = self._tree.stored_leaf_hashes(0, len(leaves))
        culprits = list(differing(stored, merkle.hash_leaves(leaves))) if stored else []
        for index in culprits:
            self._findings.at_leaf("AUDIT-02", index, f"not the leaf that the tiles hold; {error}")
        if not culprits:
            self._findings.at_leaf("AUDIT-02", max(0, len(self._founding) - 1), str(error))

    # --- blocks -----------------------------------------------------------------------------------

    def _take_entries(self, leaves: list[bytes], hashes: bytes) -> None:
        if leaves:
            self._pending = self._pending + leaves if self._pending else leaves
            self._pending_hashes += hashes
            self.index += len(leaves)

    def _take_mark(self, leaf: bytes, leaf_hash: bytes) -> None:
        kind = leaf[:2]
        if kind == _HEADER:
            self._take_header(leaf, leaf_hash)
        elif kind == _SEAL:
            self._take_seal(leaf, leaf_hash)
        else:  # counted as an entry of the block it stands in, which then is not what its author signed
            self._findings.at_leaf("AUDIT-03", self.index, "a genesis or membership leaf after the first height began")
            self._take_entries([leaf], leaf_hash)

    def _take_header(self, leaf: bytes, leaf_hash: bytes) -> None:
        entries, hashes = self._pending, self._pending_hashes
        self._pending, self._pending_hashes = [], b""
        self._hashes += (hashes, leaf_hash)
        index = self.index
        self.index += 1
        self.blocks += 1
        self._height_blocks += 1
        header = self._judge_header(leaf, index)
        if header is None:
            return
        if len(entries) != header.count:
            self._blame_count(entries, header, index)
            entries, hashes = entries[-header.count :], hashes[-header.count * HASH_BYTES :]
        first = index - len(entries)
        self.entries += len(entries)
        if merkle.root(hashes) != header.entries_root:
            self._blame_entries(hashes, header, first, index)
        try:
            self._shapes.check_entries(entries, header.author, header.first)
        except ProtocolError:
            self._blame_forms(entries, header, first)
        self._judge_chain(header, index, Ref(header.author, header.seq, sha256(leaf).digest()))
        self._judge_share(header, index, sum(map(len, entries)) + 2 * len(entries) + 2 + len(leaf))

    def _judge_header(self, leaf: bytes, index: int) -> Header | None:
        """Return the header, also where only its signature or author is wrong, so that what follows can be judged."""
        assert self.membership is not None
        try:
            return verify_header(
                leaf,
                genesis_hash=self.membership.genesis_hash,
                author_key=self.membership.author_key,
                verify=verify_ed25519,
            )
        except DecodeError as error:
            self._findings.at_leaf("AUDIT-06", index, str(error))
            return None
        except ProtocolError as error:
            self._findings.at_leaf("AUDIT-06", index, str(error))
            return decode_header_leaf(leaf)[0]

    def _blame_count(self, entries: list[bytes], header: Header, index: int) -> None:
        what = f"block {header.seq} of {header.author}"
        if len(entries) < header.count:
            fact = f"{what} has {len(entries)} entries before its header, which states {header.count}"
            self._findings.at_leaf("AUDIT-05", index, fact)
            return
        first = index - len(entries)
        extra = entries[: -header.count]
        foreign = next((place for place, leaf in enumerate(extra) if not _is_authored(leaf)), 0)
        self._findings.at_leaf("AUDIT-03", first + foreign, f"no block holds this leaf; {what} begins after it")

    def _blame_entries(self, hashes: bytes, header: Header, first: int, index: int) -> None:
        """Name the entries that are not what was signed, if the stored tiles still know what was."""
        stored = self._tree.stored_leaf_hashes(first, first + len(hashes) // HASH_BYTES)
        what = f"block {header.seq} of {header.author}"
        if stored and merkle.root(stored) == header.entries_root:
            for place in differing(stored, hashes):
                self._findings.at_leaf("AUDIT-05", first + place, f"not the entry that {what} signs at its place")
        else:
            fact = f"the entries before this header, leaves {first} to {index - 1}, are not those that {what} signs"
            self._findings.at_leaf("AUDIT-05", index, fact)

    def _blame_forms(self, entries: list[bytes], header: Header, first: int) -> None:
        for place, entry in enumerate(entries):
            try:
                check_entry(entry, header.author, header.first + place)
            except ProtocolError as error:
                self._findings.at_leaf("AUDIT-04", first + place, str(error))

    def _judge_chain(self, header: Header, index: int, ref: Ref) -> None:
        assert self.membership is not None
        tip = self.frontier.get(header.author) or Tip(0, self.membership.genesis_hash, 0)
        what = f"block {header.seq} of {header.author}"
        if header.seq != tip.seq + 1:
            self._findings.at_leaf("AUDIT-07", index, f"{what} follows block {tip.seq}")
        elif header.prev != tip.hash:
            self._findings.at_leaf("AUDIT-07", index, f"{what} does not name the block before it as its prev")
        if header.first != tip.next_entry:
            fact = f"{what} begins at entry {header.first}, the chain goes on at {tip.next_entry}"
            self._findings.at_leaf("AUDIT-07", index, fact)
        self.frontier[header.author] = Tip(header.seq, ref.hash, header.first + header.count)
        last = next(reversed(self._advance), "")
        if header.author < last or (header.author != last and header.author in self._advance):
            self._findings.at_leaf("AUDIT-08", index, f"a block of {header.author} after those of {last}")
        self._advance[header.author] = ref

    def _judge_share(self, header: Header, index: int, body_bytes: int) -> None:
        assert self.membership is not None
        if body_bytes > BLOCK_BYTES_MAX:
            self._findings.at_leaf("AUDIT-09", index, f"a block of {body_bytes} bytes, at most {BLOCK_BYTES_MAX}")
        member = self.membership.member(header.author)
        entries, taken = self._shares.get(header.author, (0, 0))
        self._shares[header.author] = after = (entries + header.count, taken + body_bytes)
        if member is not None and (after[0] > member.quota_entries or after[1] > member.quota_bytes):
            fact = f"{header.author} has {after[0]} entries and {after[1]} bytes in this height, and may have"
            self._findings.at_leaf("AUDIT-09", index, f"{fact} {member.quota_entries} and {member.quota_bytes}")

    # --- heights ----------------------------------------------------------------------------------

    def _start_height(self) -> None:
        self._advance: dict[str, Ref] = {}
        self._shares: dict[str, tuple[int, int]] = {}
        self._height_blocks = 0

    def _take_seal(self, leaf: bytes, leaf_hash: bytes) -> None:
        index = self.index
        if self._pending:
            first = index - len(self._pending)
            self._findings.at_leaf("AUDIT-03", first, f"leaves {first} to {index - 1} are in no block")
            self._hashes.append(self._pending_hashes)
            self._pending, self._pending_hashes = [], b""
        self._hashes.append(leaf_hash)
        self.index += 1
        self.height += 1
        seal = self._judge_seal(leaf, index)
        self._judge_size(index)
        self._tree.extend(b"".join(self._hashes))
        self._hashes = []
        closed = ClosedHeight(
            self.height, seal, index, tuple(self._advance.values()), self.index, self._tree.edge.root()
        )
        self._start_height()
        for tell in self._on_height:
            tell(closed)

    def _judge_seal(self, leaf: bytes, index: int) -> HeightSeal | None:
        assert self.genesis is not None
        assert self.membership is not None
        try:
            seal = decode_leaf(leaf)
        except DecodeError as error:
            self._findings.at_leaf("AUDIT-10", index, str(error))
            return None
        assert isinstance(seal, HeightSeal)
        last = self._last_seal
        view, time = (0, self.genesis.time) if last is None else (last.view, last.time)
        facts = (
            ("AUDIT-10", seal.height == self.height, f"seals height {seal.height}, not {self.height}"),
            ("AUDIT-10", seal.view > view, f"view {seal.view} does not follow view {view}"),
            ("AUDIT-10", seal.time > time, f"time {seal.time} is not later than {time}, the time before"),
            ("AUDIT-10", seal.block_count == self._height_blocks, f"states {seal.block_count} blocks"),
            ("AUDIT-11", seal.epoch == self.membership.epoch, f"states epoch {seal.epoch}"),
            ("AUDIT-11", seal.membership_hash == self.membership.membership_hash, "states another membership's hash"),
        )
        for rule, holds, fact in facts:
            if not holds:
                self._findings.at_leaf(rule, index, f"the seal of height {self.height} {fact}")
        self._last_seal = seal
        return seal

    def _judge_size(self, index: int) -> None:
        entries = sum(entries for entries, _ in self._shares.values())
        taken = sum(taken for _, taken in self._shares.values())
        if entries > HEIGHT_ENTRIES_MAX or taken > HEIGHT_BYTES_MAX:
            fact = f"height {self.height} has {entries} entries and {taken} bytes,"
            fact = f"{fact} at most {HEIGHT_ENTRIES_MAX} and {HEIGHT_BYTES_MAX}"
            self._findings.at_leaf("AUDIT-09", index, fact)


def _is_authored(leaf: bytes) -> bool:
    try:
        return leaf_kind(leaf) in _AUTHORED
    except DecodeError:
        return False
