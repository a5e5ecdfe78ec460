"""A node's store: one LMDB environment, one writer, the durability contract of specs/storage.md.

``commit`` returns when its records and the high-water mark are on stable storage, and not before; the outbox
carries out a step's later effects after that (A8). A failure stops the store: never vote when persisting failed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Self, TypeVar

from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import Record
from glasslog.ledger import genesis_state
from glasslog.membership import read_genesis
from glasslog.tiles import join_entries
from glasslog_node.errors import StoreError
from glasslog_node.store import schema, sealing
from glasslog_node.store.apply import apply_records, put_tiles
from glasslog_node.store.environment import Environment, open_environment, store_errors, store_exists
from glasslog_node.store.load import load
from glasslog_node.store.mark import MarkFile, default_mark_path, read_mark
from glasslog_node.store.spool import SpoolBatch, SpoolRecord, Submission
from glasslog_node.store.spooling import Spooling
from glasslog_node.store.writer import Writer, WriteTxn

OWNER_FILE = "owner.lock"

_T = TypeVar("_T")


class Store(Spooling):
    """An open store. Reads work from any thread; writes go through its writer thread, if it is not read-only."""

    def __init__(self, environment: Environment, mark: MarkFile | None = None, owner: int | None = None) -> None:
        super().__init__(environment)
        self._mark = mark
        self._owner = owner
        self._writer = None if owner is None else Writer(environment, mark)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        create: bool = False,
        readonly: bool = False,
        genesis: Sequence[bytes] | None = None,
        mark: Path | None = None,
    ) -> Store:
        """Open the store at *path*.

        ``genesis`` are the network's first leaves: with ``create`` an absent store is begun with them, and a
        store of another network is refused. ``mark`` is the high-water mark's path, by default beside the folder.

        Raises:
            StoreError: STORE-01 newer schema, STORE-02 none there, STORE-03 damaged, STORE-04 another network's,
                STORE-05 the system says no, STORE-08 another process owns it.
        """
        path, mark = Path(path), mark or default_mark_path(Path(path))
        if readonly:
            store = cls(open_environment(path, readonly=True))
        else:
            if genesis is None and create and not store_exists(path):
                raise StoreError("STORE-02", f"there is no store at {path}, nor a genesis to begin it", "give both")
            owner = _own(path, create=create)
            try:
                store = cls._open_owned(path, owner, genesis if create else None, mark)
            except BaseException:
                os.close(owner)
                raise
        try:
            if genesis is not None:
                store._check_network(genesis)  # noqa: SLF001 - still its own constructor
            if not readonly:
                store._compare_mark(mark)  # noqa: SLF001 - still its own constructor
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _open_owned(cls, path: Path, owner: int, begin: Sequence[bytes] | None, mark: Path) -> Store:
        environment = open_environment(path, create=begin is not None)
        try:
            if begin is not None and environment.meta(schema.META_SCHEMA) is None:
                with store_errors("beginning", path):
                    _begin(environment, begin)
            genesis_hash = environment.meta(schema.META_GENESIS) or b""
        except BaseException:
            environment.close()
            raise
        return cls(environment, MarkFile(mark, genesis_hash), owner)

    # --- identity ---------------------------------------------------------------------------------

    @property
    def genesis_hash(self) -> bytes:
        """SHA-256 of the genesis leaf: which network this is."""
        return self.environment.meta(schema.META_GENESIS) or b""

    @property
    def generation(self) -> int:
        """Number of commits this node has made, by this store and by the mark."""
        return schema.read_u64(self.environment.meta(schema.META_GENERATION) or schema.u64(0))

    @property
    def state_lost(self) -> bool:
        """Say whether this node may have said things that the store does not hold (S7)."""
        return self.lost_reason is not None

    @property
    def lost_reason(self) -> str | None:
        """Return why the store cannot vouch for the node's past, in words."""
        reason = self.environment.meta(schema.META_LOST)
        return None if reason is None else reason.decode()

    def _check_network(self, genesis: Sequence[bytes]) -> None:
        expected, found = sha256(genesis[0]).digest(), self.genesis_hash
        if found != expected:
            raise StoreError(
                "STORE-04",
                f"{self.environment.path} is of the network {found.hex()[:16]}, the genesis is {expected.hex()[:16]}",
                "check the data folder and the genesis file of the configuration",
            )

    def _compare_mark(self, path: Path) -> None:
        """S7: a store that is older than its mark, or has none, must not vouch for what this node has said."""
        mark = read_mark(path, self.genesis_hash)
        if mark is None:
            reason = f"no high-water mark at {path}"
        elif mark.generation > self.generation:
            reason = f"rolled back: commit {self.generation} here, {mark.generation} by the mark {path}"
        else:
            return
        reached = 0 if mark is None else mark.generation

        def work(txn: WriteTxn) -> None:
            # Written down, for the commits to come overtake the mark; which itself must never go back.
            txn.put(schema.META_LOST, reason.encode(), db=self._db.meta)
            txn.put(schema.META_GENERATION, schema.u64(max(reached, self.generation)), db=self._db.meta)

        self._submit(work).result()

    # --- writing ----------------------------------------------------------------------------------

    def commit(self, records: Iterable[Record | SpoolRecord]) -> int:
        """Make all records durable, or none; return the generation they became durable with (S4).

        Raises:
            StoreError: STORE-05 it cannot be made durable, STORE-06 an earlier commit could not, STORE-07 a bug.
        """
        return self.submit(records).result()

    def submit(self, records: Iterable[Record | SpoolRecord]) -> Future[int]:
        """Queue records for the next group commit; the future is what ``commit`` returns or raises."""
        batch = tuple(records)

        def work(txn: WriteTxn) -> int:
            apply_records(txn, self._db, batch)
            return schema.read_u64(txn.get(schema.META_GENERATION, schema.u64(0), db=self._db.meta)) + 1

        return self._submit(work)

    def spool_append(self, batch: SpoolBatch) -> Submission:
        """Spool a client's batch durably (S10).

        Raises:
            RequestError: SUBMIT-09 (409), the idempotency key was used for other bytes.
            StoreError: as ``commit``.
        """
        return self.spool_submit(batch).result()

    def spool_submit(self, batch: SpoolBatch) -> Future[Submission]:
        """Queue a client's batch for the next group commit; the future is what ``spool_append`` returns or raises."""
        return self._submit(lambda txn: sealing.append(txn, self._db, batch))

    def _submit(self, work: Callable[[WriteTxn], _T]) -> Future[_T]:
        if self._writer is None:
            raise StoreError("STORE-06", f"{self.environment.path} was opened for reading", "open it for writing")
        return self._writer.submit(work)

    @property
    def failure(self) -> StoreError | None:
        """Return why nothing more is written, if so."""
        return None if self._writer is None else self._writer.failure

    # --- life -------------------------------------------------------------------------------------

    def load(self) -> Durable:
        """Return what a replica boots from: the pure fold of every record committed.

        Raises:
            StoreError: the store cannot be read.
        """
        return load(self.environment)

    def check_readers(self) -> int:
        """Free the slots of readers that died; call it every few minutes. Return how many."""
        with store_errors("checking the readers of", self.environment.path):
            return self.environment.env.reader_check()

    def close(self) -> None:
        """Finish what is queued and close. Reads must have ended."""
        if self._writer is not None:
            self._writer.close()
        if self._mark is not None:
            self._mark.close()
        self.environment.close()
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _own(path: Path, *, create: bool) -> int:
    """Take the lock that keeps a second process from speaking with this store's keys; the kernel frees it."""
    if create:
        with store_errors("making", path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not store_exists(path):
        raise StoreError(
            "STORE-02", f"there is no store at {path}", "check the path, or make one: glasslog testnet new"
        )
    with store_errors("opening", path):
        fd = os.open(path / OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise StoreError("STORE-08", f"another process owns {path}", "stop that node first") from None
    return fd


def _begin(environment: Environment, genesis: Sequence[bytes]) -> None:
    """Write the genesis leaves as generation 1, and the schema with them: a store is whole or not there."""
    founded, membership = read_genesis(genesis)
    state, tiles = genesis_state(genesis, founded.time)
    db = environment.db
    with environment.env.begin(write=True) as txn:
        txn.put(schema.META_SCHEMA, schema.u64(schema.SCHEMA_VERSION), db=db.meta)
        txn.put(schema.META_GENESIS, membership.genesis_hash, db=db.meta)
        txn.put(schema.META_GENERATION, schema.u64(1), db=db.meta)
        txn.put(schema.META_EDGE, state.edge.encode(), db=db.meta)
        txn.put(schema.u64(0), schema.leaf_span(len(genesis), join_entries(genesis)), db=db.spans)
        put_tiles(txn, db, tiles)
