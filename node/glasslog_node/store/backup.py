"""Copies of a running node's store, and opening a copy that somebody else made (specs/storage.md, S9).

A *replica copy* is ledger data only, for auditors: it is written row by row into a new environment, because
LMDB's own copy would carry the node's votes and its clients' spooled content along, deleted or not. A *full
copy* moves a node to another disk. Both say for good that they are copies: whoever boots one may have said
things since that it does not hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glasslog.agreement.messages import decode_proposal
from glasslog.block import Ref
from glasslog_node.errors import StoreError
from glasslog_node.store import schema
from glasslog_node.store.environment import (
    DATA_FILE,
    Database,
    Environment,
    open_environment,
    store_errors,
    store_exists,
)
from glasslog_node.store.ledger import CHUNK_BYTES, Ledger, ReadTxn
from glasslog_node.store.serving import Serving
from glasslog_node.store.writer import WriteTxn

_META_COPIED = (
    schema.META_SCHEMA,
    schema.META_GENESIS,
    schema.META_GENERATION,
    schema.META_EDGE,
    schema.META_FLOOR,
    schema.META_FINALIZE,
    schema.META_PUBLISHED,
)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """One moment of the source: what changes later, and how far what never changes reached."""

    meta: dict[bytes, bytes]
    tips: dict[bytes, bytes]
    size: int
    view: bytes  # the floor's; certificates above it are left out


def backup_replica(store: Ledger, target: Path) -> int:
    """Write a replica copy of *store*, which its node may be writing meanwhile, also in another process.

    Only what never changes is read after the first moment, so every read transaction is short. Returns the
    number of leaves copied.

    Raises:
        StoreError: STORE-10 *target* exists, STORE-05 it cannot be written.
    """
    source = store.environment
    with _new_folder(target) as partial:
        copy = open_environment(partial, create=True)
        try:
            with store_errors("writing", partial):
                snapshot = _copy(source, copy)
                copy.env.sync(force=True)
        finally:
            copy.close()
    return snapshot.size


def backup_full(store: Ledger, target: Path) -> int:
    """Write a full copy of *store*: own votes and spool too. Private; and one read transaction as long as it takes.

    Returns the number of leaves copied.

    Raises:
        StoreError: STORE-10 *target* exists, STORE-05 it cannot be written.
    """
    with _new_folder(target) as partial:
        with store_errors("writing", partial):
            store.environment.env.copy(str(partial), compact=True)
        copy = open_environment(partial)
        try:
            with store_errors("writing", partial), copy.env.begin(write=True) as txn:
                txn.put(schema.META_LOST, b"restored from a backup", db=copy.db.meta)
            return Ledger(copy).size
        finally:
            copy.close()


def open_replica(path: Path) -> Serving:
    """Open a replica folder of unknown origin for reading, after proving its structure sound page by page.

    LMDB trusts its file: a torn or forged one could end this process. Nobody may be writing it. Whether what
    it says is true is for the audit.

    Raises:
        StoreError: STORE-01, -02, -03 (torn or forged) or -05.
    """
    from lmdb import verify as lmdb_verify

    if not store_exists(path):
        raise StoreError("STORE-02", f"there is no replica at {path}", "check the path")
    try:
        with store_errors("reading", path):
            verify: Callable[..., list[str]] = getattr(lmdb_verify, "verify")  # noqa: B009 - untyped there
            findings = verify(str(path / DATA_FILE), subdir=False)
    except lmdb_verify.VerifyError as e:
        findings = [str(e)]
    if findings:
        raise StoreError("STORE-03", f"{path} is torn or forged: {findings[0]}", "take it again: glasslog backup")
    return Serving(open_environment(path, readonly=True))


@contextmanager
def _new_folder(target: Path) -> Generator[Path]:
    """Write beside *target*, move there when whole: a copy that was cut off never looks like one."""
    if target.exists():
        raise StoreError("STORE-10", f"{target} exists already", "name a folder that does not")
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    with store_errors("making", partial):
        partial.mkdir(mode=0o700, parents=True)
    try:
        yield partial
        with store_errors("making", target):
            (partial / "lock.mdb").unlink(missing_ok=True)
            partial.rename(target)
    finally:
        for name in (DATA_FILE, "lock.mdb"):
            (partial / name).unlink(missing_ok=True)
        if partial.exists():
            partial.rmdir()


def _copy(source: Environment, copy: Environment) -> _Snapshot:
    with source.read() as txn:
        snapshot = _take(txn, source)
    with copy.env.begin(write=True) as txn:
        for key, value in snapshot.meta.items():
            txn.put(key, value, db=copy.db.meta)
        txn.put(schema.META_LOST, b"restored from a backup", db=copy.db.meta)
        for key, value in snapshot.tips.items():
            txn.put(key, value, db=copy.db.tips)
    before = schema.u64(snapshot.size)
    keep: dict[str, Callable[[bytes, memoryview], bool]] = {
        "spans": lambda key, _: key < before,
        "heights": lambda _, value: bytes(value[:8]) < before,
        "indices": lambda key, _: key < before,
        "chains": lambda _, value: bytes(value[:8]) < before,
        "certificates": lambda key, _: key[:16] <= snapshot.view,
        "tiles": lambda key, _: schema.tile_end(key) <= snapshot.size,
        "evidence": lambda _key, _value: True,
    }
    for name, wanted in keep.items():
        after: bytes | None = b""
        while after is not None:
            after = _copy_chunk(source, copy, name, after, wanted)
    return snapshot


def _take(txn: ReadTxn, source: Environment) -> _Snapshot:
    meta = {key: bytes(value) for key in _META_COPIED if (value := txn.get(key, db=source.db.meta)) is not None}
    with txn.cursor(source.db.tips) as cursor:
        tips = {bytes(key): bytes(value) for key, value in cursor}
    view = schema.view_key(0, 0)
    if schema.META_FLOOR in meta:
        proposal = decode_proposal(schema.read_height(meta[schema.META_FLOOR])[2])
        view = schema.view_key(proposal.epoch, proposal.view)
    return _Snapshot(meta, tips, schema.read_u64(meta[schema.META_EDGE][:8]), view)


def _copy_chunk(
    source: Environment, copy: Environment, name: str, after: bytes, wanted: Callable[[bytes, memoryview], bool]
) -> bytes | None:
    """Copy rows behind the key *after*, a few megabytes in one read transaction; return where to go on."""
    taken = 0
    database: Database = getattr(source.db, name)
    into: Database = getattr(copy.db, name)
    with source.read() as txn, copy.env.begin(write=True) as writing, txn.cursor(database) as cursor:
        more = cursor.set_range(after + b"\0") if after else cursor.first()
        while more and taken < CHUNK_BYTES:
            after, value = bytes(cursor.key()), cursor.value()
            if wanted(after, value):
                writing.put(after, value, append=True, db=into)
                taken += len(value) + (_copy_body(txn, writing, source, copy, after, value) if name == "chains" else 0)
            more = cursor.next()
    return after if more else None


def _copy_body(
    txn: ReadTxn, writing: WriteTxn, source: Environment, copy: Environment, key: bytes, value: memoryview
) -> int:
    """Copy the body that a row of ``chains`` speaks of: both are ordered by author, then number."""
    chain = schema.ChainValue.decode(bytes(value))
    block_key = schema.block_key(Ref(key[:-9].decode(), chain.seq, chain.hash))
    body = txn.get(block_key, db=source.db.blocks)
    if body is None:
        raise StoreError("STORE-03", f"{source.path}: a final block's body is missing", "restore it from a backup")
    writing.put(block_key, body, append=True, db=copy.db.blocks)
    return len(body)
