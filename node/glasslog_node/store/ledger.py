"""Reading the final ledger out of a store: leaves, heights, tiles, authors' chains (specs/storage.md, S3 and S8).

Everything here is final and durable, for it comes from committed transactions, each under a second: long
iterations take a new one every few megabytes, which is sound because what is final never changes.
Absent things are None; the caller knows what an absence means to its client.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from glasslog.agreement.effects import PublishedNote
from glasslog.agreement.messages import Certificate, Kind, Proposal, decode_certificate, decode_proposal
from glasslog.block import Ref
from glasslog.ledger import Tip
from glasslog.tiles import TILE_WIDTH, Edge, HashReader, split_entries
from glasslog_node.errors import StoreError
from glasslog_node.store import schema
from glasslog_node.store.environment import Database, Environment

if TYPE_CHECKING:
    import lmdb

CHUNK_BYTES = 4 << 20  # copied out in one read transaction: a few milliseconds

ReadTxn: TypeAlias = "lmdb.Transaction[memoryview]"


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive leaves that lie together: a block's (its entries, then its header; ``ref`` names it) or other ones.

    ``bundle`` frames each of the ``leaves`` leaves from log index ``first_index`` with its uint16 length.
    """

    first_index: int
    leaves: int
    ref: Ref | None
    bundle: bytes


@dataclass(frozen=True, slots=True)
class Location:
    """Where a leaf lies: ``position`` in the block ``ref`` (the last is its header), or in no block."""

    first_index: int
    leaves: int
    ref: Ref | None
    position: int


@dataclass(frozen=True, slots=True)
class FinalizedHeight:
    """A height as it was agreed. Its leaves are ``first_index`` to ``proposal.size - 1``."""

    first_index: int
    digest: bytes
    proposal: Proposal


class Ledger:
    """The read side of a store. Safe from any thread; any number of readers beside the one writer."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._db = environment.db

    # --- leaves -----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Number of final leaves."""
        with self.environment.read() as txn, txn.cursor(self._db.spans) as cursor:
            if not cursor.last():
                return 0
            return schema.read_u64(bytes(cursor.key())) + schema.read_span(bytes(cursor.value())).leaves

    def locate(self, index: int) -> Location | None:
        """Return where leaf ``index`` lies."""
        with self.environment.read() as txn:
            found = self._span_at(txn, index)
            if found is None:
                return None
            first, span = found
            ref = None if span.key is None else schema.read_block_key(span.key)
            return Location(first, span.leaves, ref, index - first)

    def entry(self, index: int) -> bytes | None:
        """Return the bytes of leaf ``index``."""
        with self.environment.read() as txn:
            found = self._span_at(txn, index)
            if found is None:
                return None
            first, span = found
            return schema.bundle_slice(self._bundle(txn, span), index - first, index - first + 1)[2:]

    def spans(self, start: int, end: int) -> Iterator[Span]:
        """Yield the spans that hold leaves ``start`` to ``end - 1``: the first and the last may reach beyond."""
        while start < end:
            chunk = self._chunk(start, end)
            if not chunk:
                return
            yield from chunk
            start = chunk[-1].first_index + chunk[-1].leaves

    def leaves(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of leaves ``start`` to ``end - 1``, as far as there are any."""
        for span in self.spans(start, end):
            leaves = split_entries(span.bundle)
            yield from leaves[max(0, start - span.first_index) : end - span.first_index]

    def entry_bundle(self, index: int, width: int = TILE_WIDTH) -> bytes | None:
        """Return the tlog-tiles entry bundle of leaves ``256 * index`` and the following, ``width`` in all."""
        start, parts = index * TILE_WIDTH, list[bytes]()
        end = start + width
        with self.environment.read() as txn:
            while start < end:
                found = self._span_at(txn, start)
                if found is None:
                    return None
                first, span = found
                stop = min(end, first + span.leaves)
                parts.append(schema.bundle_slice(self._bundle(txn, span), start - first, stop - first))
                start = stop
        return b"".join(parts)

    def _chunk(self, start: int, end: int) -> list[Span]:
        spans: list[Span] = []
        taken = 0
        with self.environment.read() as txn, txn.cursor(self._db.spans) as cursor:
            more = seek(cursor, schema.u64(start))
            while more and taken < CHUNK_BYTES:
                first, span = schema.read_u64(bytes(cursor.key())), schema.read_span(bytes(cursor.value()))
                if not first < end or first + span.leaves <= start:
                    break
                ref = None if span.key is None else schema.read_block_key(span.key)
                bundle = bytes(self._bundle(txn, span))
                spans.append(Span(first, span.leaves, ref, bundle))
                taken += len(bundle)
                more = cursor.next()
        return spans

    def _span_at(self, txn: ReadTxn, index: int) -> tuple[int, schema.SpanValue] | None:
        with txn.cursor(self._db.spans) as cursor:
            if not seek(cursor, schema.u64(index)):
                return None
            first, span = schema.read_u64(bytes(cursor.key())), schema.read_span(bytes(cursor.value()))
        return (first, span) if index < first + span.leaves else None

    def _bundle(self, txn: ReadTxn, span: schema.SpanValue) -> bytes | memoryview:
        if span.key is None:
            return span.bundle
        value = txn.get(span.key, db=self._db.blocks)
        if value is None:
            raise self._damaged("a final block's body is missing")
        return schema.body_bundle(value)

    # --- heights ----------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """The last finalized height; 0 where there is only the genesis."""
        with self.environment.read() as txn, txn.cursor(self._db.heights) as cursor:
            return schema.read_u64(bytes(cursor.key())) if cursor.last() else 0

    def finalized_height(self, height: int) -> FinalizedHeight | None:
        """Return a finalized height, from 1."""
        value = self._get(self._db.heights, schema.u64(height))
        if value is None:
            return None
        first_index, digest, proposal = schema.read_height(value)
        return FinalizedHeight(first_index, digest, decode_proposal(proposal))

    def height_of_index(self, index: int) -> int | None:
        """Return the height that leaf ``index`` belongs to; 0 for the genesis leaves."""
        with self.environment.read() as txn:
            if self._span_at(txn, index) is None:
                return None
            with txn.cursor(self._db.indices) as cursor:
                return schema.read_u64(bytes(cursor.value())) if seek(cursor, schema.u64(index)) else 0

    def height_of_size(self, size: int) -> int | None:
        """Return the height after which the log has exactly ``size`` leaves."""
        location = self.locate(size - 1) if size else None
        if location is None or location.ref is not None or location.position != location.leaves - 1:
            return None
        return self.height_of_index(size - 1)

    def certificate(self, epoch: int, view: int, kind: Kind) -> Certificate | None:
        """Return an archived certificate."""
        value = self._get(self._db.certificates, schema.view_kind_key(epoch, view, kind))
        return None if value is None else decode_certificate(value)

    def certificates(self, epoch: int, view: int) -> list[Certificate]:
        """Return every archived certificate of one view: notarize and nullify may both be there."""
        found = (self.certificate(epoch, view, kind) for kind in Kind)
        return [certificate for certificate in found if certificate is not None]

    def published(self) -> PublishedNote | None:
        """Return the published checkpoint."""
        value = self._get(self._db.meta, schema.META_PUBLISHED)
        return None if value is None else PublishedNote(schema.read_u64(value[:8]), value[8:])

    def evidence(self) -> list[bytes]:
        """Return all evidence, oldest first."""
        with self.environment.read() as txn, txn.cursor(self._db.evidence) as cursor:
            return [bytes(value) for _, value in cursor]

    # --- authors ----------------------------------------------------------------------------------

    def tip(self, author: str) -> Tip | None:
        """Return where an author's final chain ends; None before its first block."""
        value = self._get(self._db.tips, author.encode())
        return None if value is None else schema.read_tip(value)

    def tips(self) -> dict[str, Tip]:
        """Return every author's tip."""
        with self.environment.read() as txn, txn.cursor(self._db.tips) as cursor:
            return {bytes(key).decode(): schema.read_tip(bytes(value)) for key, value in cursor}

    def entry_index(self, author: str, number: int) -> int | None:
        """Return the log index of an author's entry ``number``, once it is final."""
        with self.environment.read() as txn, txn.cursor(self._db.chains) as cursor:
            if not seek(cursor, schema.chain_key(author, number)):
                return None
            key, chain = bytes(cursor.key()), schema.ChainValue.decode(bytes(cursor.value()))
        offset = number - schema.read_u64(key[-8:])
        return chain.first_index + offset if key[:-9] == author.encode() and offset < chain.entries else None

    # --- tiles ------------------------------------------------------------------------------------

    def edge(self) -> Edge:
        """Return the partial tiles."""
        value = self._get(self._db.meta, schema.META_EDGE)
        return Edge.empty() if value is None else Edge.decode(value)

    def tile(self, level: int, index: int, width: int = TILE_WIDTH) -> bytes | None:
        """Return the first ``width`` hashes of a tile, out of the full tile or the edge; None where it has fewer."""
        with self.environment.read() as txn:
            value = txn.get(schema.tile_key(level, index), db=self._db.tiles)
            if value is None:
                edge = txn.get(schema.META_EDGE, db=self._db.meta)
                value = None if edge is None else schema.edge_tile(edge, level, index)
            return bytes(value[: width * 32]) if value is not None and 0 < width * 32 <= len(value) else None

    def hash_reader(self, size: int) -> HashReader:
        """Return a reader of subtree hashes and proofs for the log's first ``size`` leaves. Make one for each use."""
        return HashReader(size, self._tile_or_damage)

    def _tile_or_damage(self, level: int, index: int, width: int) -> bytes:
        tile = self.tile(level, index, width)
        if tile is None:
            raise self._damaged(f"tile {level}/{index} has no {width} hashes")
        return tile

    # ----------------------------------------------------------------------------------------------

    def _get(self, database: Database, key: bytes) -> bytes | None:
        with self.environment.read() as txn:
            value = txn.get(key, db=database)
            return None if value is None else bytes(value)

    def _damaged(self, fact: str) -> StoreError:
        return StoreError("STORE-03", f"{self.environment.path}: {fact}", "restore it from a backup")


def seek(cursor: lmdb.Cursor[memoryview], key: bytes) -> bool:
    """Go to *key*, or else to the last key before it."""
    if cursor.set_range(key):
        return bytes(cursor.key()) == key or cursor.prev()
    return cursor.last()
