"""The spool's side of the writer's transaction: append, seal, adopt, become final (specs/storage.md, S10 to S12)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from glasslog.block import Ref, decode_header_leaf
from glasslog.ledger import Tip
from glasslog_node.errors import RequestError
from glasslog_node.store import schema
from glasslog_node.store.environment import Databases
from glasslog_node.store.spool import (
    KEY_BYTES_MAX,
    AdoptTip,
    Counters,
    OwnChain,
    SealBlock,
    SealedBlock,
    SpoolBatch,
    Submission,
    batch_count,
    batch_value,
    read_submission,
    submission_value,
)
from glasslog_node.store.writer import WriteTxn


def append(txn: WriteTxn, db: Databases, batch: SpoolBatch) -> Submission:
    """Spool a batch, or find it spooled already: same key and bytes, same answer (S10).

    Raises:
        RequestError: SUBMIT-09, the key was used for other bytes. Nothing was written.
    """
    if not 1 <= len(batch.key) <= KEY_BYTES_MAX or not batch.items:
        raise RequestError(
            "SUBMIT-08", "a batch needs items and a key of 1 to 64 bytes", "mend the request", status=400
        )
    known = txn.get(batch.key, db=db.submissions)
    if known is not None:
        submission = read_submission(batch.key, known)
        if submission.digest != batch.digest:
            fact = "this idempotency key was used for another batch"
            raise RequestError("SUBMIT-09", fact, "use a new key for new content", status=409)
        return submission
    counters = _counters(txn, db)
    submission = Submission(batch.key, batch.digest, counters.next, len(batch.items))
    value = batch_value(batch.items)
    txn.put(schema.u64(counters.next), value, append=True, db=db.spool)
    txn.put(batch.key, submission_value(submission), db=db.submissions)
    _put_counters(txn, db, replace(counters, next=counters.next + submission.count, held=counters.held + len(value)))
    return submission


def seal(txn: WriteTxn, db: Databases, record: SealBlock) -> None:
    """Take the next items into a block: body, number, predecessor, positions, all or nothing (S11)."""
    own = _own_chain(txn, db)
    tip = Tip(0, txn.get(schema.META_GENESIS, b"", db=db.meta), 0) if own is None else own.tip
    author = record.ref.author if own is None else own.author
    if (record.ref.author, record.ref.seq, record.prev, record.first_entry) != (
        author, tip.seq + 1, tip.hash, tip.next_entry,
    ):  # fmt: skip
        raise RuntimeError(f"block {record.ref.seq} of {record.ref.author} does not follow the sealed block {tip.seq}")
    counters = _counters(txn, db)
    if not 0 < record.count <= counters.next - counters.sealed:
        raise RuntimeError(f"{record.count} items to seal, {counters.next - counters.sealed} wait")
    block = SealedBlock(record.ref.seq, record.ref.hash, counters.sealed, record.count, record.first_entry)
    txn.put(schema.block_key(record.ref), schema.body_value(record.header, record.entries), db=db.blocks)
    txn.put(schema.u64(block.seq), block.encode(), db=db.sealed)
    _put_own_chain(txn, db, OwnChain(author, Tip(block.seq, block.hash, block.first_entry + block.count)))
    _put_era(txn, db, block)
    _put_counters(txn, db, replace(counters, sealed=block.position + block.count))


def adopt(txn: WriteTxn, db: Databases, record: AdoptTip) -> None:
    """Go on from a tip that others reported. What was sealed here beside that chain is sealed anew (S12)."""
    own = _own_chain(txn, db)
    if own is not None and own.tip.seq >= record.tip.seq:
        if own.tip == record.tip or _passes_through(txn, db, own.author, record.tip):
            return
        _unseal_from(txn, db, record.tip.seq)
    _put_own_chain(txn, db, OwnChain(record.author, record.tip))


def on_final(txn: WriteTxn, db: Databases, refs: Iterable[Ref], tips: Iterable[tuple[str, Tip]]) -> None:
    """Blocks became final: the own ones' items leave the spool (S12)."""
    own = _own_chain(txn, db)
    if own is None:
        return
    for ref in refs:
        if ref.author == own.author:
            _settle(txn, db, ref)
    for author, tip in tips:
        now = _own_chain(txn, db)
        if author == own.author and (now is None or tip.seq > now.tip.seq):
            _put_own_chain(txn, db, OwnChain(author, tip))


def _settle(txn: WriteTxn, db: Databases, ref: Ref) -> None:
    """One own block number is decided for good: by the block sealed here, or (after lost state) by another."""
    key = schema.u64(ref.seq)
    value = txn.get(key, db=db.sealed)
    if value is None:
        return
    block = SealedBlock.decode(key, value)
    if block.hash != ref.hash:
        _unseal_from(txn, db, ref.seq)
        txn.delete(schema.META_SEAL, db=db.meta)
        return
    txn.delete(key, db=db.sealed)
    counters = replace(_counters(txn, db), final=block.position + block.count)
    with txn.cursor(db.spool) as cursor:
        while cursor.first():
            value = cursor.value()
            if schema.read_u64(cursor.key()) + batch_count(value) > counters.final:
                break
            counters = replace(counters, held=counters.held - len(value))
            cursor.delete()
    _put_counters(txn, db, counters)


def _unseal_from(txn: WriteTxn, db: Databases, seq: int) -> None:
    """Give the items of own blocks ``seq`` and above back to the spool, in their order."""
    position: int | None = None
    with txn.cursor(db.sealed) as cursor:
        while cursor.set_range(schema.u64(seq)):
            block = SealedBlock.decode(cursor.key(), cursor.value())
            position = block.position if position is None else position
            cursor.delete()
    if position is None:
        return
    with txn.cursor(db.eras) as cursor:
        while cursor.set_range(schema.u64(position)):
            cursor.delete()
    _put_counters(txn, db, replace(_counters(txn, db), sealed=position))


def _passes_through(txn: WriteTxn, db: Databases, author: str, tip: Tip) -> bool:
    """Say whether the chain sealed here goes through ``tip``."""
    if _row(txn, db, tip):
        return True
    after = txn.get(schema.u64(tip.seq + 1), db=db.sealed)
    if after is None:
        return False
    block = SealedBlock.decode(schema.u64(tip.seq + 1), after)
    body = txn.get(schema.block_key(Ref(author, block.seq, block.hash)), db=db.blocks)
    return body is not None and decode_header_leaf(schema.read_body(body)[0])[0].prev == tip.hash


def _row(txn: WriteTxn, db: Databases, tip: Tip) -> bool:
    value = txn.get(schema.u64(tip.seq), db=db.sealed)
    return value is not None and SealedBlock.decode(schema.u64(tip.seq), value).hash == tip.hash


def _put_era(txn: WriteTxn, db: Databases, block: SealedBlock) -> None:
    """Write a row only where positions and entry numbers fall out of step."""
    with txn.cursor(db.eras) as cursor:
        if cursor.last():
            expected = block.position - schema.read_u64(cursor.key()) + schema.read_u64(cursor.value())
            if expected == block.first_entry:
                return
    txn.put(schema.u64(block.position), schema.u64(block.first_entry), db=db.eras)


def _counters(txn: WriteTxn, db: Databases) -> Counters:
    return Counters.decode(txn.get(schema.META_SPOOL, db=db.meta))


def _put_counters(txn: WriteTxn, db: Databases, counters: Counters) -> None:
    txn.put(schema.META_SPOOL, counters.encode(), db=db.meta)


def _own_chain(txn: WriteTxn, db: Databases) -> OwnChain | None:
    return OwnChain.decode(txn.get(schema.META_SEAL, db=db.meta))


def _put_own_chain(txn: WriteTxn, db: Databases, chain: OwnChain) -> None:
    txn.put(schema.META_SEAL, chain.encode(), db=db.meta)
