"""Sealed evaluation bars, visible as bars before they are opened (specs/secrecy.md, X11).

The bar itself is sealed whole in a sealed entry. A public statement beside it, ``predicate.sealed = {commitment,
openBy}``, says that this entry is a bar, so that anybody can count what was promised and never opened. What opens it
is the bar in the clear, with one evidence descriptor more, ``{digest: {glasslogSealedV1}, annotations: {number,
salt}}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from glasslog.bundle.sealed import compute_commitment, statement_root
from glasslog.codec import Map, Value
from glasslog.errors import DecodeError, ProtocolError
from glasslog.predicates.base import Subject
from glasslog.predicates.evaluation_bar import EvaluationBar, SealedBar
from glasslog.predicates.values import SEALED, Commitment
from glasslog.statement import Statement, check_statement, encode_statement

BAR_TYPE = EvaluationBar.type_uri()
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def announce_bar(commitment: bytes, *, name: str, open_by: str) -> Statement:
    """Return the public statement that a sealed entry is a bar, and that an unopened one counts from ``open_by`` on.

    Raises:
        DecodeError: SEAL-14, ``open_by`` is no ``YYYY-MM-DD`` or the commitment not 32 bytes; STMT-nn.
    """
    if not _DAY.fullmatch(open_by) or len(commitment) != 32:
        raise DecodeError("SEAL-14", "a bar needs a commitment of 32 bytes and a day such as 2027-01-31")
    digest = {SEALED: commitment}
    bar = EvaluationBar(sealed=SealedBar(commitment=Commitment(digest=digest), open_by=open_by))
    return bar.statement(Subject(name, digest))


def open_bar(bar: Statement, *, genesis_hash: bytes, author: str, number: int, salt: bytes) -> Statement:
    """Return the bar in the clear, with what shows that it is the one in the author's sealed entry ``number``.

    Raises:
        DecodeError: SEAL-14, it is no bar; STMT-nn.
    """
    if bar.get("predicateType") != BAR_TYPE:
        raise DecodeError("SEAL-14", f"the bar is not of the type {BAR_TYPE}")
    commitment = compute_commitment(genesis_hash, author, number, salt, statement_root(encode_statement(bar)))
    opens: Map = {"digest": {SEALED: commitment}, "annotations": {"number": number, "salt": salt.hex()}}
    predicate = _map(bar.get("predicate"))
    evidence = predicate.get("evidence", [])
    known = list(evidence) if isinstance(evidence, list) else []
    statement: Statement = {**bar, "predicate": {**predicate, "evidence": [*known, opens]}}
    check_statement(statement)
    return statement


class BarState(Enum):
    """What became of a sealed bar. UNOPENED may still be opened in time; OVERDUE counts against its author."""

    UNOPENED = "unopened"
    OVERDUE = "overdue"
    OPENED = "opened"
    LATE = "opened late"


class Logged(NamedTuple):
    """A public statement in the log: leaf index, author, the day (UTC, ``YYYY-MM-DD``) of its checkpoint."""

    leaf: int
    author: str
    day: str
    statement: Statement


@dataclass(frozen=True, slots=True)
class Bar:
    """A sealed bar: where it was announced, until when it was to be opened, and at which leaf it was."""

    leaf: int
    author: str
    commitment: bytes
    open_by: str
    state: BarState
    opened_at: int | None


def list_bars(log: Iterable[Logged], *, genesis_hash: bytes, today: str) -> list[Bar]:
    """Return every sealed bar in the order of the log, each with what became of it by ``today``.

    An opening counts for its own author, after the announcement, and only if it leads to the commitment. An
    announcement whose form is broken is overdue at once, since nothing can open it; one repeated counts once, with the
    day it had first.
    """
    bars: dict[tuple[str, bytes], Bar] = {}
    for entry in log:
        if entry.statement.get("predicateType") != BAR_TYPE:
            continue
        sealed = _map(entry.statement.get("predicate")).get("sealed")
        if sealed is not None:
            commitment, open_by = _read_announced(_map(sealed))
            state = BarState.OVERDUE if today >= open_by else BarState.UNOPENED
            key = entry.author, commitment or b"%d" % entry.leaf
            bars.setdefault(key, Bar(entry.leaf, entry.author, commitment, open_by, state, None))
            continue
        for commitment in _opened(entry, genesis_hash):
            bar = bars.get((entry.author, commitment))
            if bar is not None and bar.opened_at is None:
                state = BarState.LATE if entry.day >= bar.open_by else BarState.OPENED
                bars[entry.author, commitment] = replace(bar, state=state, opened_at=entry.leaf)
    return sorted(bars.values(), key=lambda bar: bar.leaf)


def _read_announced(sealed: Map) -> tuple[bytes, str]:
    """Return commitment and day; an empty commitment and the earliest day where the form is broken."""
    commitment = _digest(_map(sealed.get("commitment")))
    open_by = sealed.get("openBy")
    if len(commitment) != 32 or not isinstance(open_by, str) or not _DAY.fullmatch(open_by):
        return b"", "0000-00-00"
    return commitment, open_by


def _opened(entry: Logged, genesis_hash: bytes) -> list[bytes]:
    """Return the commitments that a bar in the clear really opens."""
    predicate = _map(entry.statement.get("predicate"))
    evidence = predicate.get("evidence")
    found: list[bytes] = []
    for place, item in enumerate(evidence if isinstance(evidence, list) else []):
        descriptor = _map(item)
        stated, annotations = _digest(descriptor), _map(descriptor.get("annotations"))
        number, salt = annotations.get("number"), annotations.get("salt")
        if len(stated) != 32 or type(number) is not int or not isinstance(salt, str) or not isinstance(evidence, list):
            continue
        rest = [*evidence[:place], *evidence[place + 1 :]]
        plain = {name: value for name, value in predicate.items() if name != "evidence"}
        bar: Statement = {**entry.statement, "predicate": {**plain, "evidence": rest} if rest else plain}
        try:
            root = statement_root(encode_statement(bar))
            if stated == compute_commitment(genesis_hash, entry.author, number, bytes.fromhex(salt), root):
                found.append(stated)
        except (ProtocolError, ValueError):
            continue
    return found


def _map(value: Value) -> Map:
    return value if isinstance(value, dict) else {}


def _digest(member: Map) -> bytes:
    digest = _map(member.get("digest")).get(SEALED)
    return digest if isinstance(digest, bytes) else b""
