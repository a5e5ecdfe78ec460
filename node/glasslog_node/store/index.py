"""Search beside the log: subject digest, predicate type and author to log indices (specs/storage.md, S13).

An environment of its own, never on the commit path, derived from the ledger alone: delete it at any time and
``catch_up`` builds it again. Rows go in sorted and by the ten thousand, for one at a time costs three times as much.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

import cbor2
import lmdb

from glasslog.block import Ref
from glasslog.tiles import split_entries
from glasslog_node.store import schema
from glasslog_node.store.environment import Database, store_errors
from glasslog_node.store.ledger import Ledger, Span

_MAP_BYTES = 1 << 40
_ROWS_MAX = 20_000  # sorted together: neighbours share pages
_TRANSACTION_ROWS_MAX = 1_000  # LMDB keeps the pages of its largest transaction in memory, at worst one for a row
_VERSION = b"2"
_NEXT = b"next"
_AIM = b"aim"
_SUBJECTS, _PREDICATES, _AUTHORS = 0, 1, 2

Row = tuple[int, bytes]


class Index:
    """A rebuildable index of one store. One thread at a time may ``catch_up``; any number may search."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        with store_errors("opening", self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Without metasync a crash may cost the last transaction, never the file: it is simply done again.
            self._env = lmdb.open(
                str(self.path), map_size=_MAP_BYTES, max_dbs=4, metasync=False, mode=0o600, lib_version=0
            )
            self._meta = self._env.open_db(b"meta")
            self._rows = tuple(self._env.open_db(name) for name in (b"subjects", b"predicates", b"authors"))

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def rebuild(self) -> None:
        """Throw everything away; ``catch_up`` begins from leaf 0.

        Raises:
            StoreError: the folder cannot be made anew.
        """
        self._env.close()
        with store_errors("removing", self.path):
            rmtree(self.path)
        self._open()

    @property
    def size(self) -> int:
        """Number of leaves indexed."""
        with self._env.begin() as txn:
            return schema.read_u64(txn.get(_NEXT, schema.u64(0), db=self._meta))

    def catch_up(self, store: Ledger, until: int | None = None) -> int:
        """Index the final leaves up to ``until``, or all there are; return the index's size. Resumes after a crash.

        An index of another ledger, or of a longer one than the store now has, is thrown away first.

        Raises:
            StoreError: the store cannot be read, or the index not written.
        """
        until = store.size if until is None else min(until, store.size)
        if not self._is_of(store):
            self.rebuild()
        rows: list[Row] = []
        reached = self.size
        for span in store.spans(reached, until):
            rows += _rows_of(span)
            reached = span.first_index + span.leaves
            if len(rows) >= _ROWS_MAX:
                self._write(rows, reached, store)
                rows = []
        if rows or reached > self.size:
            self._write(rows, reached, store)
        return reached

    def _is_of(self, store: Ledger) -> bool:
        with self._env.begin() as txn:
            aim = txn.get(_AIM, db=self._meta)
        return self.size == 0 if aim is None else aim == self._mark(store, schema.read_u64(aim[:8]))

    @staticmethod
    def _mark(store: Ledger, size: int) -> bytes:
        """What the last leaf below ``size`` looks like: leaves are unique, so this names the ledger and the place."""
        leaf = store.entry(size - 1)
        return schema.u64(size) + _VERSION + sha256(b"" if leaf is None else leaf).digest()

    def _write(self, rows: list[Row], reached: int, store: Ledger) -> None:
        """Write a batch in several transactions, the last of which moves ``size``; cut short, it is done again.

        Each says how far rows may reach by now, so that rows of another ledger are found out in any case.
        """
        mark = self._mark(store, reached)
        rows.sort()
        with store_errors("writing", self.path):
            for start in range(0, len(rows), _TRANSACTION_ROWS_MAX):
                self._put(rows[start : start + _TRANSACTION_ROWS_MAX], mark)
            with self._env.begin(write=True) as txn:
                txn.put(_NEXT, schema.u64(reached), db=self._meta)
                txn.put(_AIM, mark, db=self._meta)

    def _put(self, rows: list[Row], mark: bytes) -> None:
        with self._env.begin(write=True) as txn:
            for kind, database in enumerate(self._rows):
                with txn.cursor(database) as cursor:
                    cursor.putmulti([(key, b"") for of, key in rows if of == kind])
            txn.put(_AIM, mark, db=self._meta)

    # --- searching --------------------------------------------------------------------------------

    def by_subject(self, digest: bytes, *, start: int = 0, limit: int = 100) -> list[int]:
        """Return log indices, ascending from ``start``, of statements about a subject with this digest."""
        return self._search(_SUBJECTS, _subject_key(digest), start, limit)

    def by_predicate(self, predicate_type: str, *, start: int = 0, limit: int = 100) -> list[int]:
        """Return log indices, ascending from ``start``, of statements of this predicate type."""
        return self._search(_PREDICATES, _predicate_key(predicate_type), start, limit)

    def by_author(self, author: str, *, start: int = 0, limit: int = 100) -> list[int]:
        """Return log indices, ascending from ``start``, of the header leaves of an author's blocks."""
        return self._search(_AUTHORS, author.encode() + b"\0", start, limit)

    def _search(self, kind: int, prefix: bytes, start: int, limit: int) -> list[int]:
        found: list[int] = []
        database: Database = self._rows[kind]
        with store_errors("reading", self.path), self._env.begin() as txn, txn.cursor(database) as cursor:
            more = cursor.set_range(prefix + schema.u64(start))
            while more and len(found) < limit and cursor.key()[:-8] == prefix:
                found.append(schema.read_u64(cursor.key()[-8:]))
                more = cursor.next()
        return found


def _subject_key(digest: bytes) -> bytes:
    return len(digest).to_bytes(1, "big") + digest if len(digest) <= 64 else b"\xff" + sha256(digest).digest()


def _predicate_key(predicate_type: str) -> bytes:
    return sha256(predicate_type.encode()).digest()[:16]


def _rows_of(span: Span) -> Iterator[Row]:
    """Yield the index rows of one block; other spans have nothing to search for."""
    if span.ref is None:
        return
    author: Ref = span.ref
    yield _AUTHORS, author.author.encode() + b"\0" + schema.u64(span.first_index + span.leaves - 1)
    for offset, leaf in enumerate(split_entries(span.bundle)):
        if leaf[:2] == b"\x84\x00":  # [0, author, seq, statement]; sealed and third parties' entries say nothing here
            at = schema.u64(span.first_index + offset)
            statement: dict[str, Any] = cbor2.loads(leaf)[3]
            yield _PREDICATES, _predicate_key(statement["predicateType"]) + at
            for digest in _digests(statement):
                yield _SUBJECTS, _subject_key(digest) + at


def _digests(statement: dict[str, Any]) -> Iterator[bytes]:
    for subject in statement["subject"]:
        for digest in subject.get("digest", {}).values():
            yield digest if isinstance(digest, bytes) else str(digest).encode()
