"""Opening a replica's LMDB environment; LMDB's errors as a fact and what to do (specs/storage.md, S1, S2).

An environment may be open only once in a process and must never cross a fork: start child processes by
spawning. Read transactions are short; a forgotten one would keep every page freed since from being reused.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

import lmdb
from lmdb import _Database as Handle  # pyright: ignore[reportPrivateUsage] - the stubs have no other name for it

from glasslog.errors import ProtocolError
from glasslog_node.errors import StoreError
from glasslog_node.store import schema

MAP_BYTES = 1 << 40  # address space, not disk: the file grows as it is filled
READERS_MAX = 510
Database: TypeAlias = Handle

DATA_FILE = "data.mdb"
LOCK_FILE = "lock.mdb"


@dataclass(frozen=True, slots=True)
class LedgerDatabases:
    """What every replica holds. A backup copies these and nothing else (S9)."""

    meta: Database  # text -> see schema.META_*
    blocks: Database  # block key -> body
    spans: Database  # first leaf index -> a block by its key, or leaves themselves
    heights: Database  # height -> first leaf index, digest, proposal
    indices: Database  # first leaf index -> height
    certificates: Database  # epoch, view, kind -> certificate
    tiles: Database  # level, index -> 256 hashes; full tiles only
    tips: Database  # author -> tip
    chains: Database  # author, first entry number -> where that final block lies
    evidence: Database  # running number -> evidence


@dataclass(frozen=True, slots=True)
class Databases(LedgerDatabases):
    """Beside the ledger, what only the node that wrote it may have: its own words and its own spool."""

    votes: Database  # epoch, view, kind -> own vote
    proposals: Database  # epoch, view, digest -> signed proposal
    pending: Database  # block key -> did the held record write the body?
    spool: Database  # position of the first item -> batch
    submissions: Database  # idempotency key -> where the batch went
    sealed: Database  # block number -> own block not yet final
    eras: Database  # position -> entry number; both run in step from here


LEDGER_NAMES = tuple(field.name for field in fields(LedgerDatabases))
ALL_NAMES = tuple(field.name for field in fields(Databases))


_DAMAGE = (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError, lmdb.PageNotFoundError)


@contextmanager
def store_errors(doing: str, path: Path) -> Generator[None]:
    """Turn what LMDB and the operating system raise into a ``StoreError`` that names the store.

    A stored value that does not decode is damage too: nothing is stored that was not decoded first.
    """
    try:
        yield
    except (*_DAMAGE, ProtocolError, struct.error) as e:
        raise StoreError("STORE-03", f"{path} is not an intact store ({e})", "restore it from a backup") from e
    except (lmdb.Error, OSError) as e:
        raise StoreError("STORE-05", f"{doing} {path} failed: {e}", "check disk space, permissions and disk") from e


@dataclass(frozen=True, slots=True)
class Environment:
    """An open environment and its databases."""

    path: Path
    env: lmdb.Environment
    db: Databases

    @contextmanager
    def read(self) -> Generator[lmdb.Transaction[memoryview]]:
        """A short read transaction: values are views into the map and die with it (S8).

        Raises:
            StoreError: the store cannot be read.
        """
        with store_errors("reading", self.path), self.env.begin(buffers=True) as txn:
            yield txn

    def meta(self, key: bytes) -> bytes | None:
        """Return one value of ``meta``."""
        with self.read() as txn:
            value = txn.get(key, db=self.db.meta)
            return None if value is None else bytes(value)

    def close(self) -> None:
        """Close it. Nothing may be reading."""
        self.env.close()


def store_exists(path: Path) -> bool:
    """Say whether *path* is an LMDB folder."""
    return (path / DATA_FILE).is_file()


def open_environment(path: Path, *, create: bool = False, readonly: bool = False) -> Environment:
    """Open the environment at *path*, or make an empty one.

    Raises:
        StoreError: STORE-01 a newer schema, STORE-02 there is none, STORE-03 damaged, STORE-05 the system says no.
    """
    if not create and not store_exists(path):
        raise StoreError(
            "STORE-02", f"there is no store at {path}", "check the path, or make one: glasslog testnet new"
        )
    with store_errors("opening", path):
        if create:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        env = lmdb.open(
            str(path), map_size=MAP_BYTES, max_dbs=len(ALL_NAMES), max_readers=READERS_MAX, mode=0o600,
            readonly=readonly, create=create, lock=_needs_lock(path, readonly=readonly), readahead=False, lib_version=0,
        )  # fmt: skip
    try:
        with store_errors("opening", path):
            _check_whole(path, env)
            if not readonly:
                env.reader_check()
            _check_schema(path, env, unborn=create)
            db = _open_databases(env, readonly=readonly)
    except BaseException:
        env.close()
        raise
    return Environment(path, env, db)


def _open_databases(env: lmdb.Environment, *, readonly: bool) -> Databases:
    """All at once where they may have to be made: seventeen commits would be seventeen syncs."""
    if readonly:
        return Databases(**{name: env.open_db(name.encode(), create=False) for name in ALL_NAMES})
    with env.begin(write=True) as txn:
        return Databases(**{name: env.open_db(name.encode(), txn=txn) for name in ALL_NAMES})


def _needs_lock(path: Path, *, readonly: bool) -> bool:
    """A replica on read-only media has no writer to be guarded against, and cannot hold a lock file."""
    return not readonly or (path / LOCK_FILE).exists() or os.access(path, os.W_OK)


def _check_whole(path: Path, env: lmdb.Environment) -> None:
    """Refuse a file shorter than it says: touching what is missing would end the process by a signal."""
    pages = env.info()["last_pgno"] + 1
    size = (path / DATA_FILE).stat().st_size
    if pages * env.stat()["psize"] > size:
        raise StoreError("STORE-03", f"{path} is cut short: {size} bytes, {pages} pages", "restore it from a backup")


def _check_schema(path: Path, env: lmdb.Environment, *, unborn: bool) -> None:
    """Refuse what this program cannot read; ``unborn`` allows a folder in which nothing was ever begun."""
    found = 0
    try:
        meta = env.open_db(b"meta", create=False)
    except lmdb.NotFoundError:
        pass
    else:
        with env.begin() as txn:
            found = schema.read_u64(txn.get(schema.META_SCHEMA, schema.u64(0), db=meta))
    if found > schema.SCHEMA_VERSION:
        raise StoreError(
            "STORE-01",
            f"{path} has schema {found}, this program knows up to {schema.SCHEMA_VERSION}",
            "install the newer glasslog that wrote it",
        )
    if not found and not unborn:
        raise StoreError("STORE-03", f"{path} is not a whole glasslog store", "check the path, or restore a backup")
