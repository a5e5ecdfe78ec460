"""The one thread that writes: jobs of many callers, one transaction, one sync (specs/storage.md, S4 and S5).

An LMDB write transaction belongs to the thread that began it, so a dedicated thread begins all of them.
While one group is being synced the next one gathers: the busier the node, the larger the groups.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

import lmdb

from glasslog_node.errors import RequestError, StoreError
from glasslog_node.store import schema
from glasslog_node.store.environment import Environment
from glasslog_node.store.mark import MarkFile

T = TypeVar("T")
WriteTxn: TypeAlias = "lmdb.Transaction[bytes]"
Job: TypeAlias = tuple[Callable[[WriteTxn], Any], "Future[Any]"]

GROUP_JOBS_MAX = 256
FULL_BYTES = 1 << 20


class Writer:
    """Owns the write side of one environment. After any failure it refuses everything until reopened (S5)."""

    def __init__(self, environment: Environment, mark: MarkFile | None) -> None:
        self._environment = environment
        self._mark = mark
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._failure: StoreError | None = None
        self._closed = False
        self._pid = os.getpid()
        self._thread = Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> StoreError | None:
        """Why nothing more is written, if so."""
        return self._failure

    def submit(self, work: Callable[[WriteTxn], T]) -> Future[T]:
        """Queue *work*; the future is done when its transaction and the mark are on stable storage.

        The work may raise ``RequestError``, before it has written anything: it fails alone. Whatever else it
        raises fails its whole group and the store.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("the store was opened before a fork")
        future: Future[T] = Future()
        if self._closed:
            future.set_exception(StoreError("STORE-06", "the store is closed", "open it again"))
        else:
            self._queue.put((work, future))
        return future

    def close(self) -> None:
        """Write what is queued, then end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        more = True
        while more:
            jobs: list[Job] = []
            more = self._gather(jobs)
            if jobs:
                self._commit(jobs)

    def _gather(self, jobs: list[Job]) -> bool:
        """Wait for a job, take all that are there; False once the writer is closed."""
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == GROUP_JOBS_MAX:
                return True
            try:
                job = self._queue.get_nowait()
            except Empty:
                return True
        return False

    def _commit(self, jobs: list[Job]) -> None:
        error: StoreError | None = None
        done: list[tuple[Future[Any], Any]] = []
        if self._failure is not None:
            earlier = self._failure
            error = StoreError("STORE-06", f"refused after {earlier.code} {earlier.fact}", earlier.next_step)
        else:
            try:
                done = self._write(jobs)
            except BaseException as e:  # noqa: BLE001 - handed to every waiting caller, never swallowed
                error = self._failure = self._as_store_error(e)
        if error is not None:
            for _, future in jobs:
                if not future.done():
                    future.set_exception(error)
        for future, result in done:
            future.set_result(result)

    def _as_store_error(self, e: BaseException) -> StoreError:
        if isinstance(e, StoreError):
            return e
        path = self._environment.path
        if isinstance(e, lmdb.Error | OSError):
            reason = "the disk is full" if _is_full(path) else e
            fact = f"writing {path} failed, nothing of it was acknowledged: {reason}"
            error = StoreError("STORE-05", fact, "free disk space or replace the disk, then restart the node")
        else:
            error = StoreError("STORE-07", f"a record contradicts {path}: {e!r}", "keep the store and report this bug")
        error.__cause__ = e
        return error

    def _write(self, jobs: list[Job]) -> list[tuple[Future[Any], Any]]:
        """One transaction, one sync, then the mark (S4). Only then does anyone hear of it."""
        done: list[tuple[Future[Any], Any]] = []
        meta = self._environment.db.meta
        with self._environment.env.begin(write=True) as txn:
            for work, future in jobs:
                try:
                    done.append((future, work(txn)))
                except RequestError as e:
                    future.set_exception(e)
            generation = schema.read_u64(txn.get(schema.META_GENERATION, schema.u64(0), db=meta)) + 1
            txn.put(schema.META_GENERATION, schema.u64(generation), db=meta)
            lost = txn.get(schema.META_LOST, db=meta) is not None
        if self._mark is not None and not lost:  # a lost store must not overtake its mark unnoticed (S7)
            self._mark.write(generation)
        return done


def _is_full(path: Path) -> bool:
    """Say whether the disk has no room: LMDB reports the write that was cut short by that as an I/O error."""
    try:
        room = os.statvfs(path)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < FULL_BYTES
