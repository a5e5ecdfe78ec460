"""What a replica boots from: the store read back as the pure fold of its records (S3, ``Durable``)."""

from __future__ import annotations

from collections.abc import Iterator

from glasslog.agreement.durable import Durable, Floor, genesis_floor
from glasslog.agreement.effects import CosignIntent, HeldBlock, PublishedNote
from glasslog.agreement.messages import (
    Certificate,
    Kind,
    SignedProposal,
    Vote,
    decode_certificate,
    decode_message,
    decode_proposal,
)
from glasslog.block import Ref
from glasslog.membership import read_genesis
from glasslog.tiles import Edge, split_entries
from glasslog_node.store import schema
from glasslog_node.store.environment import Database, Databases, Environment
from glasslog_node.store.ledger import ReadTxn


def load(environment: Environment) -> Durable:
    """Read everything a replica needs at boot, in one transaction: what lies above the floor, not the ledger.

    Raises:
        StoreError: the store cannot be read.
    """
    db = environment.db
    with environment.read() as txn:
        genesis = tuple(split_entries(schema.read_span(bytes(txn.get(schema.u64(0), b"", db=db.spans))).bundle))
        founded, membership = read_genesis(genesis)
        floor = _floor(txn, db) or genesis_floor(membership, founded.time)
        finalize = _meta(txn, db, schema.META_FINALIZE)
        edge = _meta(txn, db, schema.META_EDGE)
        return Durable(
            genesis=genesis,
            floor=floor,
            edge=Edge.empty() if edge is None else Edge.decode(edge),
            frontier={key.decode(): schema.read_tip(value) for key, value in _rows(txn, db.tips)},
            votes=_votes(txn, db),
            proposals=_proposals(txn, db),
            certificates=_certificates(txn, db, floor),
            finalize_certificate=None if finalize is None else decode_certificate(finalize),
            blocks=_blocks(txn, db),
            intent=_intent(txn, db),
            published=_published(txn, db),
            evidence=[value for _, value in _rows(txn, db.evidence)],
            lost=_meta(txn, db, schema.META_LOST) is not None,
        )


def _meta(txn: ReadTxn, db: Databases, key: bytes) -> bytes | None:
    value = txn.get(key, db=db.meta)
    return None if value is None else bytes(value)


def _rows(txn: ReadTxn, database: Database, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    with txn.cursor(database) as cursor:
        more = cursor.set_range(start) if start else cursor.first()
        while more:
            yield bytes(cursor.key()), bytes(cursor.value())
            more = cursor.next()


def _floor(txn: ReadTxn, db: Databases) -> Floor | None:
    value = _meta(txn, db, schema.META_FLOOR)
    if value is None:
        return None
    _, digest, encoded = schema.read_height(value)
    proposal = decode_proposal(encoded)
    return Floor(proposal.epoch, proposal.view, proposal.height, digest, proposal.time)


def _votes(txn: ReadTxn, db: Databases) -> dict[tuple[int, Kind], Vote]:
    votes: dict[tuple[int, Kind], Vote] = {}
    for _, value in _rows(txn, db.votes):
        vote = decode_message(value)
        assert isinstance(vote, Vote), "only votes are kept there"
        votes[vote.view, vote.kind] = vote
    return votes


def _proposals(txn: ReadTxn, db: Databases) -> dict[bytes, SignedProposal]:
    proposals: dict[bytes, SignedProposal] = {}
    for key, value in _rows(txn, db.proposals):
        signed = decode_message(value)
        assert isinstance(signed, SignedProposal), "only proposals are kept there"
        proposals[key[-32:]] = signed
    return proposals


def _certificates(txn: ReadTxn, db: Databases, floor: Floor) -> dict[tuple[int, Kind], Certificate]:
    """Those above the floor; the archive below it stays on disk."""
    start = schema.view_key(floor.epoch, floor.view + 1)
    found = (decode_certificate(value) for _, value in _rows(txn, db.certificates, start))
    return {(certificate.view, certificate.kind): certificate for certificate in found}


def _blocks(txn: ReadTxn, db: Databases) -> dict[Ref, HeldBlock]:
    blocks: dict[Ref, HeldBlock] = {}
    for key, _ in _rows(txn, db.pending):
        ref = schema.read_block_key(key)
        body = txn.get(key, db=db.blocks)
        assert body is not None, "a pending block's body is written with its key"
        blocks[ref] = HeldBlock(ref, *schema.read_body(body))
    return blocks


def _intent(txn: ReadTxn, db: Databases) -> CosignIntent | None:
    value = _meta(txn, db, schema.META_COSIGN)
    return None if value is None else CosignIntent(*schema.read_cosign(value))


def _published(txn: ReadTxn, db: Databases) -> PublishedNote | None:
    value = _meta(txn, db, schema.META_PUBLISHED)
    return None if value is None else PublishedNote(schema.read_u64(value[:8]), value[8:])
