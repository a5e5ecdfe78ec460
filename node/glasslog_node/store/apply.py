"""What each durable record writes: the LMDB side of ``Durable.apply`` (specs/storage.md, S3 and S4).

Every function runs inside the writer's transaction. A record that contradicts the store is a bug of ours and
raises ``RuntimeError``: the transaction is abandoned and the store refuses to go on.
"""

from __future__ import annotations

from collections.abc import Iterable

from glasslog.agreement.effects import (
    CosignIntent,
    DroppedBlocks,
    EvidenceFound,
    FinalHeight,
    HeldBlock,
    OwnVote,
    PublishedNote,
    Record,
    SavedCertificate,
    SavedProposal,
    StateRecovered,
)
from glasslog.agreement.messages import (
    Certificate,
    Kind,
    SignedProposal,
    decode_certificate,
    encode_certificate,
    encode_message,
)
from glasslog.ledger import Tip
from glasslog.tiles import Tile
from glasslog_node.store import schema, sealing
from glasslog_node.store.environment import Database, Databases
from glasslog_node.store.spool import AdoptTip, SealBlock, SpoolRecord
from glasslog_node.store.writer import WriteTxn

_WROTE_BODY = b"\1"
_FOUND_BODY = b"\0"


def apply_records(txn: WriteTxn, db: Databases, records: Iterable[Record | SpoolRecord]) -> None:
    """Write every record, in order."""
    for record in records:
        if isinstance(record, SealBlock):
            sealing.seal(txn, db, record)
        elif isinstance(record, AdoptTip):
            sealing.adopt(txn, db, record)
        else:
            _apply(txn, db, record)


def _apply(txn: WriteTxn, db: Databases, record: Record) -> None:
    match record:
        case HeldBlock():
            _hold(txn, db, record)
        case DroppedBlocks():
            _drop(txn, db, record)
        case OwnVote(vote):
            key = schema.view_kind_key(vote.epoch, vote.view, vote.kind)
            txn.put(key, encode_message(vote), db=db.votes)
        case SavedProposal(signed):
            _save_proposal(txn, db, signed)
        case SavedCertificate(certificate):
            _save_certificate(txn, db, certificate)
        case FinalHeight():
            _finalize(txn, db, record)
        case CosignIntent(size, root, time):
            txn.put(schema.META_COSIGN, schema.cosign_value(size, root, time), db=db.meta)
        case PublishedNote(size, note):
            txn.put(schema.META_PUBLISHED, schema.u64(size) + note, db=db.meta)
        case EvidenceFound(evidence):
            txn.put(_next_number(txn, db.evidence), evidence, append=True, db=db.evidence)
        case StateRecovered():
            txn.delete(schema.META_LOST, db=db.meta)


def _hold(txn: WriteTxn, db: Databases, record: HeldBlock) -> None:
    """A body is written once (S3): an author's node sealed it already, a slow peer may send it again."""
    key = schema.block_key(record.ref)
    if txn.get(key, db=db.pending) is None:
        new = txn.put(key, schema.body_value(record.header, record.entries), overwrite=False, db=db.blocks)
        txn.put(key, _WROTE_BODY if new else _FOUND_BODY, db=db.pending)


def _drop(txn: WriteTxn, db: Databases, record: DroppedBlocks) -> None:
    for ref in record.refs:
        key = schema.block_key(ref)
        # A body that was there before it was held is a final one or our own: not this record's to remove.
        if txn.pop(key, db=db.pending) == _WROTE_BODY:
            txn.delete(key, db=db.blocks)


def _save_proposal(txn: WriteTxn, db: Databases, signed: SignedProposal) -> None:
    proposal = signed.proposal
    key = schema.view_key(proposal.epoch, proposal.view) + proposal.digest
    txn.put(key, encode_message(signed), db=db.proposals)


def _save_certificate(txn: WriteTxn, db: Databases, certificate: Certificate) -> None:
    key = schema.view_kind_key(certificate.epoch, certificate.view, certificate.kind)
    encoded = encode_certificate(certificate)
    txn.put(key, encoded, db=db.certificates)
    if certificate.kind is Kind.FINALIZE:
        best = txn.get(schema.META_FINALIZE, db=db.meta)
        if best is None or certificate.view > decode_certificate(best).view:
            txn.put(schema.META_FINALIZE, encoded, db=db.meta)


def _finalize(txn: WriteTxn, db: Databases, record: FinalHeight) -> None:
    """Everything that moves with a height, and nothing of it without the rest (A8, S4)."""
    proposal = record.proposal
    index = _append_blocks(txn, db, record)
    txn.put(schema.u64(index), schema.leaf_span(1, schema.frame(record.seal)), append=True, db=db.spans)
    if index + 1 != record.edge.size or record.edge.size != proposal.size:
        raise RuntimeError(f"height {proposal.height} ends at leaf {index + 1}, its edge at {record.edge.size}")
    height = schema.height_value(record.first_index, record.digest, proposal.encode())
    txn.put(schema.u64(proposal.height), height, append=True, db=db.heights)
    txn.put(schema.u64(record.first_index), schema.u64(proposal.height), append=True, db=db.indices)
    txn.put(schema.META_FLOOR, height, db=db.meta)
    txn.put(schema.META_EDGE, record.edge.encode(), db=db.meta)
    put_tiles(txn, db, record.tiles)
    for author, tip in record.tips:
        txn.put(author.encode(), schema.tip_value(tip), db=db.tips)
    sealing.on_final(txn, db, record.blocks, record.tips)
    _delete_up_to(txn, db.votes, schema.view_key(proposal.epoch, proposal.view))
    _delete_up_to(txn, db.proposals, schema.view_key(proposal.epoch, proposal.view))


def _append_blocks(txn: WriteTxn, db: Databases, record: FinalHeight) -> int:
    """Map the height's leaf ranges to bodies already there; return the seal's index."""
    index = record.first_index
    if index != log_size(txn, db):
        raise RuntimeError(f"height {record.proposal.height} starts at leaf {index}, the log ends at another")
    tips: dict[str, Tip] = {}
    with txn.cursor(db.blocks) as bodies:
        for ref, leaves in zip(record.blocks, record.block_leaves, strict=True):
            key = schema.block_key(ref)
            if not bodies.set_key(key):
                raise RuntimeError(f"height {record.proposal.height} needs block {ref.seq} of {ref.author}: not held")
            txn.put(schema.u64(index), schema.block_span(leaves, key), append=True, db=db.spans)
            first = (tips.get(ref.author) or _tip(txn, db, ref.author)).next_entry
            chain = schema.ChainValue(index, leaves - 1, ref.seq, ref.hash)
            txn.put(schema.chain_key(ref.author, first), chain.encode(), db=db.chains)
            txn.delete(key, db=db.pending)
            tips[ref.author] = Tip(ref.seq, ref.hash, first + leaves - 1)
            index += leaves
    if tips != dict(record.tips):
        raise RuntimeError(f"height {record.proposal.height} moves tips elsewhere than its blocks lead")
    return index


def _tip(txn: WriteTxn, db: Databases, author: str) -> Tip:
    value = txn.get(author.encode(), db=db.tips)
    return Tip(0, b"", 0) if value is None else schema.read_tip(value)


def log_size(txn: WriteTxn, db: Databases) -> int:
    """Return the number of leaves that the log has, as its spans say."""
    with txn.cursor(db.spans) as cursor:
        return schema.read_u64(cursor.key()) + schema.read_span(cursor.value()).leaves if cursor.last() else 0


def put_tiles(txn: WriteTxn, db: Databases, tiles: Iterable[Tile]) -> None:
    """Write full tiles. One that is there is never written again (S3)."""
    for tile in tiles:
        if not txn.put(schema.tile_key(tile.level, tile.index), tile.hashes, overwrite=False, db=db.tiles):
            raise RuntimeError(f"tile {tile.level}/{tile.index} is full for the second time")


def _delete_up_to(txn: WriteTxn, database: Database, view: bytes) -> None:
    """Delete every row of this view and of those below it (A5: nothing is signed there any more)."""
    with txn.cursor(database) as cursor:
        while cursor.first() and cursor.key()[: len(view)] <= view:
            cursor.delete()


def _next_number(txn: WriteTxn, database: Database) -> bytes:
    with txn.cursor(database) as cursor:
        return schema.u64(schema.read_u64(cursor.key()) + 1 if cursor.last() else 0)
