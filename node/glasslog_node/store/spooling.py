"""Reading the spool: what waits to be sealed, and what became of a submission (specs/storage.md, S10 to S12)."""

from __future__ import annotations

from dataclasses import replace

from glasslog.agreement.effects import HeldBlock
from glasslog.block import Ref
from glasslog.limits import BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX
from glasslog_node.store import schema
from glasslog_node.store.ledger import ReadTxn, seek
from glasslog_node.store.serving import Serving
from glasslog_node.store.spool import (
    Counters,
    OwnChain,
    Pending,
    SealedBlock,
    SealState,
    SpoolDepth,
    Stage,
    Submission,
    batch_count,
    batch_items,
    read_submission,
)


class Spooling(Serving):
    """A store whose node is an author."""

    def spool_depth(self) -> SpoolDepth:
        """Return how much waits; cheap enough to ask before every submission."""
        with self.environment.read() as txn:
            counters = self._counters(txn)
        return SpoolDepth(counters.next - counters.sealed, counters.next - counters.final, counters.held)

    def spool_pending(self, *, items_max: int = BLOCK_ENTRIES_MAX, bytes_max: int = BLOCK_BYTES_MAX) -> Pending:
        """Return the next items to seal, in order; at least one where any waits, each counted with its length."""
        items: list[bytes] = []
        with self.environment.read() as txn, txn.cursor(self._db.spool) as cursor:
            position = self._counters(txn).sealed
            more = seek(cursor, schema.u64(position))
            while more and len(items) < items_max and bytes_max > 0:
                start = schema.read_u64(bytes(cursor.key()))
                if start + batch_count(cursor.value()) > position:
                    waiting = batch_items(bytes(cursor.value()))[max(0, position - start) :]
                    fits = _fitting(waiting, items_max - len(items), bytes_max)
                    bytes_max = 0 if fits < len(waiting) else bytes_max - sum(len(item) + 2 for item in waiting)
                    items += waiting[: max(fits, 0 if items else 1)]
                more = cursor.next()
        return Pending(position, tuple(items))

    def submission(self, key: bytes) -> Submission | None:
        """Return what became of a batch. ``entry_index`` gives the log index of a final entry number."""
        with self.environment.read() as txn:
            value = txn.get(key, db=self._db.submissions)
            if value is None:
                return None
            submission = read_submission(key, bytes(value))
            counters = self._counters(txn)
            end = submission.position + submission.count
            stage = Stage.FINAL if end <= counters.final else Stage.SEALED if end <= counters.sealed else Stage.SPOOLED
            entries = self._entry_numbers(txn, submission.position, min(end, counters.sealed))
        return replace(submission, entries=entries, stage=stage)

    def next_seal_state(self) -> SealState:
        """Return what the own author's next block builds on."""
        with self.environment.read() as txn:
            seal = txn.get(schema.META_SEAL, db=self._db.meta)
            own = OwnChain.decode(None if seal is None else bytes(seal))
            if own is None:
                return SealState(1, bytes(txn.get(schema.META_GENESIS, memoryview(b""), db=self._db.meta)), 0)
        return SealState(own.tip.seq + 1, own.tip.hash, own.tip.next_entry)

    def unfinal_blocks(self) -> list[HeldBlock]:
        """Return the own blocks that are sealed and not final, oldest first: what is published until it is final."""
        held: list[HeldBlock] = []
        with self.environment.read() as txn, txn.cursor(self._db.sealed) as cursor:
            seal = txn.get(schema.META_SEAL, db=self._db.meta)
            own = OwnChain.decode(None if seal is None else bytes(seal))
            for key, value in cursor:
                block = SealedBlock.decode(bytes(key), bytes(value))
                assert own is not None, "a block was sealed by nobody"
                ref = Ref(own.author, block.seq, block.hash)
                body = txn.get(schema.block_key(ref), db=self._db.blocks)
                if body is None:
                    raise self._damaged(f"the body of own block {ref.seq} is missing")
                held.append(HeldBlock(ref, *schema.read_body(body)))
        return held

    def _counters(self, txn: ReadTxn) -> Counters:
        value = txn.get(schema.META_SPOOL, db=self._db.meta)
        return Counters.decode(None if value is None else bytes(value))

    def _entry_numbers(self, txn: ReadTxn, position: int, end: int) -> tuple[tuple[int, int], ...]:
        """Map positions to entry numbers, era by era: nearly always one range."""
        ranges: list[tuple[int, int]] = []
        with txn.cursor(self._db.eras) as cursor:
            more = cursor.last()
            while more and position < end:
                start, number = schema.read_u64(bytes(cursor.key())), schema.read_u64(bytes(cursor.value()))
                if start < end:
                    first = max(start, position)
                    ranges.append((number + first - start, end - first))
                    end = first
                more = cursor.prev()
        return tuple(reversed(ranges))


def _fitting(items: list[bytes], count_max: int, bytes_max: int) -> int:
    """Return how many of the items fit both bounds."""
    for count, item in enumerate(items[:count_max]):
        bytes_max -= len(item) + 2
        if bytes_max < 0:
            return count
    return min(len(items), count_max)
