"""Single entries out of any source: what bundles are made from where there is no node (specs/log.md, L11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from glasslog.block import decode_header_leaf
from glasslog.entry import SealedEntry, StatementEntry, decode_leaf
from glasslog.errors import ProtocolError
from glasslog.limits import BLOCK_ENTRIES_MAX
from glasslog.tiles import TILE_WIDTH, split_entries, tile_width
from glasslog_node.sources import Upstream

_HEADER = b"\x82\x03"
_KEPT = 8  # bundles: a proof asks for leaves that lie beside one another


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """The log index of a block's first leaf, and how many leaves it has, its header included."""

    first_index: int
    leaves: int


@dataclass(frozen=True, slots=True)
class PublishedCheckpoint:
    """The published signed note."""

    note: bytes


class SourceReader:
    """A ``LedgerReader`` over a replica's folder, a mirror or an address. What it reads, ``verify`` judges."""

    def __init__(self, source: Upstream) -> None:
        self._source = source
        self._leaves = lru_cache(_KEPT)(self._read)

    def entry(self, index: int) -> bytes | None:
        """Return the leaf at ``index``."""
        leaves = self._leaves(index // TILE_WIDTH)
        place = index % TILE_WIDTH
        return leaves[place] if place < len(leaves) else None

    def locate(self, index: int) -> BlockPlace | None:
        """Return where the block lies that the leaf is in, by its header, the next one from there on."""
        for at in range(index, min(self._source.size, index + BLOCK_ENTRIES_MAX + 1)):
            leaf = self.entry(at)
            if leaf is None:
                return None
            if leaf[:2] == _HEADER:
                try:
                    count = decode_header_leaf(leaf)[0].count
                except ProtocolError:
                    return None
                return BlockPlace(at - count, count + 1) if at - count <= index else None
        return None

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """Return the first ``width`` hashes of a tile."""
        whole = tile_width(self._source.size, level, index)
        found = self._source.tile(level, index, max(width, whole))
        return None if found is None else found[: width * 32]

    def published(self) -> PublishedCheckpoint | None:
        """Return the published checkpoint."""
        note = self._source.checkpoint()
        return None if note is None else PublishedCheckpoint(note)

    def search(self, *, statement: bytes | None = None, author: str = "", number: int = -1) -> int | None:
        """Return the first index of a statement by its id, or of an author's entry by its number; a scan."""
        for index, leaf in self._scan():
            try:
                entry = decode_leaf(leaf)
            except ProtocolError:
                continue
            if statement is not None:
                if isinstance(entry, StatementEntry) and sha256(entry.statement).digest() == statement:
                    return index
            elif isinstance(entry, StatementEntry | SealedEntry) and (entry.author, entry.seq) == (author, number):
                return index
        return None

    def _scan(self) -> Iterator[tuple[int, bytes]]:
        for run in self._source.runs():
            yield from enumerate(split_entries(run.bundle), run.first_index)

    def _read(self, index: int) -> list[bytes]:
        width = tile_width(self._source.size, 0, index)
        bundle = self._source.entries(index, width) if width else None
        return [] if bundle is None else split_entries(bundle)
