"""A replica's LMDB folder: a backup, or the store of a node, also while that runs.

Only rows that state something are read, never those that serve to find others. Everything that changes is taken in
one read transaction, so that an audit is of one moment.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from glasslog.audit import Archive, Run
from glasslog.ledger import Tip
from glasslog.tiles import TILE_WIDTH
from glasslog_node.errors import StoreError
from glasslog_node.store import schema
from glasslog_node.store.backup import open_replica
from glasslog_node.store.environment import open_environment
from glasslog_node.store.ledger import CHUNK_BYTES, Ledger
from glasslog_node.store.store import OWNER_FILE

_VIEW_MAX = (1 << 64) - 1


class ReplicaFolder:
    """One moment of a replica: a ``Source`` that is its own ``Archive``."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        environment = ledger.environment
        self._read, self._db = environment.read, environment.db
        self.label = str(environment.path)
        with _forged(environment.path), self._read() as txn:
            meta = {
                key: bytes(value)
                for key in (schema.META_PUBLISHED, schema.META_EDGE)
                if (value := txn.get(key, db=self._db.meta)) is not None
            }
            with txn.cursor(self._db.spans) as cursor:
                last = (bytes(cursor.key()), bytes(cursor.value())) if cursor.last() else None
            with txn.cursor(self._db.tips) as cursor:
                self._tips = {bytes(key).decode(): schema.read_tip(bytes(value)) for key, value in cursor}
            self.size = 0 if last is None else schema.read_u64(last[0]) + schema.read_span(last[1]).leaves
        published = meta.get(schema.META_PUBLISHED)
        self._note = None if published is None else published[8:]
        self._edge = memoryview(meta.get(schema.META_EDGE, b""))

    @classmethod
    def open(cls, path: Path) -> ReplicaFolder:
        """Open a folder: by its lock where a node is writing it, else after proving its pages sound.

        Raises:
            StoreError: STORE-01 newer schema, STORE-02 none there, STORE-03 torn or forged, STORE-05 the system.
        """
        ledger = Ledger(open_environment(path, readonly=True)) if _is_owned(path) else open_replica(path)
        try:
            return cls(ledger)
        except BaseException:
            ledger.environment.close()
            raise

    def close(self) -> None:
        """Close the folder."""
        self._ledger.environment.close()

    # --- the log ----------------------------------------------------------------------------------

    def checkpoint(self) -> bytes | None:
        """Return the published signed note."""
        return self._note

    def runs(self) -> Iterator[Run]:
        """Yield the leaves by the block, up to the first that is missing."""
        start: int | None = 0
        while start is not None:
            runs, start = self._chunk(start)
            yield from runs

    def _chunk(self, start: int) -> tuple[list[Run], int | None]:
        """Return runs from ``start`` on, a few megabytes, and where to go on; None at the end or a missing body."""
        runs: list[Run] = []
        taken = 0
        with _forged(self._ledger.environment.path), self._read() as txn, txn.cursor(self._db.spans) as cursor:
            more = cursor.set_range(schema.u64(start))
            while more and taken < CHUNK_BYTES:
                first, span = schema.read_u64(bytes(cursor.key())), schema.read_span(bytes(cursor.value()))
                body = None if span.key is None else txn.get(span.key, db=self._db.blocks)
                if first >= self.size or (span.key is not None and body is None):
                    return runs, None
                bundle = span.bundle if body is None else bytes(schema.body_bundle(body))
                runs.append(Run(first, bundle))
                taken += len(bundle)
                start = first + 1
                more = cursor.next()
        return runs, start if more else None

    def entries(self, index: int, width: int) -> bytes | None:
        """Return the bundle of leaves ``256 * index`` and the following, ``width`` in all."""
        with _forged(self._ledger.environment.path):
            return self._ledger.entry_bundle(index, width)

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """Return a full tile's row, or a partial one out of the tree's edge."""
        if width == TILE_WIDTH:
            with self._read() as txn:
                value = txn.get(schema.tile_key(level, index), db=self._db.tiles)
                return None if value is None else bytes(value)
        if len(self._edge) < 8:
            return None
        partial = schema.edge_tile(self._edge, level, index)
        return None if partial is None else bytes(partial)

    # --- the archive ------------------------------------------------------------------------------

    def archive(self) -> Archive | None:
        """A node's replica has one."""
        return self

    def proposal(self, height: int) -> tuple[bytes, bytes] | None:
        """Return digest and bytes of a height's proposal."""
        with _forged(self._ledger.environment.path), self._read() as txn:
            value = txn.get(schema.u64(height), db=self._db.heights)
            return None if value is None else schema.read_height(bytes(value))[1:]

    def certificates(self, epoch: int, after_view: int, up_to_view: int | None) -> Sequence[bytes]:
        """Return the archived certificates of these views."""
        found: list[bytes] = []
        last = schema.view_key(epoch, _VIEW_MAX if up_to_view is None else up_to_view)
        with self._read() as txn, txn.cursor(self._db.certificates) as cursor:
            more = cursor.set_range(schema.view_key(epoch, after_view + 1))
            while more and bytes(cursor.key()[:16]) <= last:
                found.append(bytes(cursor.value()))
                more = cursor.next()
        return found

    def tips(self) -> Mapping[str, Tip]:
        """Return where the replica says the authors' chains end."""
        return self._tips

    def evidence(self) -> Sequence[bytes]:
        """Return the archived evidence."""
        return self._ledger.evidence()


@contextmanager
def _forged(path: Path) -> Generator[None]:
    """A row that is not of its fixed width, or has no name in it, is a forged one."""
    try:
        yield
    except (struct.error, UnicodeDecodeError, ValueError) as e:
        raise StoreError("STORE-03", f"{path} has a row of the wrong form ({e})", "restore it from a backup") from e


def _is_owned(path: Path) -> bool:
    """Say whether a running node owns this store."""
    try:
        fd = os.open(path / OWNER_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
