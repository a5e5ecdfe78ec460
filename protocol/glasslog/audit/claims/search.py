"""Everything a ledger says about given digests, whoever says it and in whatever type of statement (Q9).

Leaves are searched for the digest's own bytes and for its hexadecimal text while the audit reads them, so that nothing
is missed for being of a type that glasslog does not know. What is sealed cannot be searched, and is counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from glasslog.audit.source import Run
from glasslog.audit.walk import ClosedHeight
from glasslog.entry import Genesis, StatementEntry, decode_leaf
from glasslog.errors import ProtocolError
from glasslog.membership import Membership
from glasslog.predicates.base import list_subjects, statement_id
from glasslog.statement import decode_statement
from glasslog.tiles import split_entries

HITS_MAX = 10_000
_SEALED = b"\x84\x01"


@dataclass(frozen=True, slots=True)
class Hit:
    """A leaf that has a sought digest. ``time`` is its height's, in milliseconds since 1970, 0 while none is closed.

    ``subject`` is the name of the subject that has the digest, or None where it stands elsewhere in the statement.
    """

    index: int
    author: str
    kind: str
    subject: str | None
    digest: bytes
    id: bytes
    time: int = 0


class Search:
    """Listens to an audit, and keeps the leaves that have one of the digests; at most ``HITS_MAX``, all are counted."""

    def __init__(self, digests: Iterable[bytes]) -> None:
        self.hits: list[Hit] = []
        self.count = 0
        self.sealed = 0
        self._digests = tuple(dict.fromkeys(digests))
        self._open = 0  # hits before this one have their time
        self._closed: list[tuple[int, int]] = []  # sizes and times of heights that the run being read closed

    def founded(self, genesis: Genesis, membership: Membership) -> None:
        """Nothing is found in who is a member."""

    def feed(self, run: Run) -> None:
        """Search the next leaves."""
        found = [digest for digest in self._digests if _has(run.bundle, digest)]
        if found or _SEALED in run.bundle:
            for index, leaf in enumerate(split_entries(run.bundle), run.first_index):
                self.sealed += leaf[:2] == _SEALED
                for digest in found:
                    if _has(leaf, digest):
                        self._take(index, leaf, digest)
        for size, time in self._closed:
            self._date(size, time)
        self._closed.clear()

    def close_height(self, closed: ClosedHeight) -> None:
        """Give the hits of a height its time. The run that closes it is searched after."""
        time = 0 if closed.seal is None else closed.seal.time
        self._date(closed.size, time)
        self._closed.append((closed.size, time))

    def _date(self, size: int, time: int) -> None:
        while self._open < len(self.hits) and self.hits[self._open].index < size:
            self.hits[self._open] = replace(self.hits[self._open], time=time)
            self._open += 1

    def _take(self, index: int, leaf: bytes, digest: bytes) -> None:
        try:
            entry = decode_leaf(leaf)
            if not isinstance(entry, StatementEntry):
                return
            statement = decode_statement(entry.statement)
            subjects = list_subjects(statement)
        except ProtocolError:
            return  # a finding of the ledger's audit
        self.count += 1
        if len(self.hits) < HITS_MAX:
            name = next((one.name for one in subjects if digest in one.digest.values()), None)
            kind = str(statement["predicateType"])
            self.hits.append(Hit(index, entry.author, kind, name, digest, statement_id(statement)))


def _has(data: bytes, digest: bytes) -> bool:
    return digest in data or digest.hex().encode() in data
