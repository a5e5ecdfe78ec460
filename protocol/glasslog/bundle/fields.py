"""A statement as fields, each openable alone (specs/log.md, L5; specs/secrecy.md, X4 to X6).

A field's name is the RFC 6901 pointer to a value that holds no other: ``/subject/0/digest/sha256``. All salts come from
one secret of 32 bytes, so that one secret is enough to keep and to erase; a salt tells nothing of another. Leaves
stand in the order of their hashes, which salts make random, and are filled up to a power of two: neither the place of
an opened field nor the count tells what the others are.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from glasslog import codec, merkle
from glasslog.bundle.sealed import (
    FIELD_NAME_BYTES_MAX,
    FIELDS_MAX,
    FieldOpening,
    StatementOpening,
    encode_item,
    field_root,
    open_field,
    statement_root,
)
from glasslog.codec import Map, Value
from glasslog.errors import DecodeError
from glasslog.merkle import HASH_BYTES, hash_leaf, hash_leaves
from glasslog.statement import Statement, check_statement, decode_statement, encode_statement

SECRET_BYTES = 32
FIELDS_MIN = 8
_FIELD_SALT = b"glasslog/field-salt/v1\x00"
_ENTRY_SALT = b"glasslog/entry-salt/v1\x00"
_PADDING = "padding:"


# --- statement and fields -------------------------------------------------------------------------


def list_fields(statement: Statement) -> dict[str, Value]:
    """Return the statement's fields by name; ``join_fields`` undoes it. Empty maps and lists are values.

    Raises:
        DecodeError: STMT-nn no statement; SEAL-02 a map whose keys read as a list's; SEAL-03 too many fields, or too
            long a name. Such statements are sealed whole.
    """
    check_statement(statement)
    fields: dict[str, Value] = {}
    _list_into(fields, "", statement)
    if len(fields) > FIELDS_MAX:
        raise DecodeError("SEAL-03", f"{len(fields)} fields, at most {FIELDS_MAX}")
    return fields


def _list_into(fields: dict[str, Value], path: str, value: Value) -> None:
    if isinstance(value, dict) and value:
        names = cast("Mapping[str, Value]", value)
        if _reads_as_list(names):
            raise DecodeError("SEAL-02", f"the members of {path or 'the statement'} are numbered as a list's are")
        for name, item in names.items():
            _list_into(fields, f"{path}/{name.replace('~', '~0').replace('/', '~1')}", item)
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            _list_into(fields, f"{path}/{place}", item)
    else:
        if len(path.encode()) > FIELD_NAME_BYTES_MAX:
            raise DecodeError("SEAL-03", f"a field's name of over {FIELD_NAME_BYTES_MAX} bytes")
        fields[path] = value


def _reads_as_list(names: Mapping[str, object]) -> bool:
    return all(str(place) in names for place in range(len(names)))


def join_fields(fields: Mapping[str, Value]) -> Statement:
    """Return the statement of which these are all the fields.

    Raises:
        DecodeError: SEAL-05, they are not the fields of one value; STMT-nn, what they make is no statement.
    """
    tree: dict[str, object] = {}
    for name, value in fields.items():
        parts = [part.replace("~1", "/").replace("~0", "~") for part in name.split("/")]
        if parts[0] or len(parts) < 2:
            raise DecodeError("SEAL-05", f"{name[:80]!r} names no field of a statement")
        at = tree
        for part in parts[1:-1]:
            child = at.setdefault(part, {})
            if not isinstance(child, dict):
                raise DecodeError("SEAL-05", f"{name[:80]!r} lies inside a field that holds a value")
            at = cast("dict[str, object]", child)
        if parts[-1] in at:
            raise DecodeError("SEAL-05", f"{name[:80]!r} is a value and holds others")
        at[parts[-1]] = _Leaf(value)
    statement = _build(tree)
    check_statement(statement)
    made = cast("Statement", statement)
    if list_fields(made) != dict(fields):
        raise DecodeError("SEAL-05", "the fields are not spelt as those of a statement are")
    return made


@dataclass(frozen=True, slots=True)
class _Leaf:
    value: Value


def _build(node: object) -> Value:
    if isinstance(node, _Leaf):
        return node.value
    children = cast("dict[str, object]", node)
    if _reads_as_list(children):
        return [_build(children[str(place)]) for place in range(len(children))]
    members: Map = {name: _build(child) for name, child in children.items()}
    return members


# --- sealing --------------------------------------------------------------------------------------


def derive_salt(secret: bytes) -> bytes:
    """Return the salt of the entry's commitment."""
    return hmac.digest(secret, _ENTRY_SALT, "sha256")


@dataclass(frozen=True, slots=True)
class WholeContent:
    """A statement to be sealed whole: opening any of it opens all. The root is hidden by the entry's salt only."""

    secret: bytes
    statement: bytes

    @property
    def item(self) -> bytes:
        """What the node gets."""
        return encode_item(derive_salt(self.secret), statement_root(self.statement))

    @property
    def opening(self) -> StatementOpening:
        """What opens it."""
        return StatementOpening(derive_salt(self.secret), self.statement)


@dataclass(frozen=True, slots=True)
class FieldContent:
    """Fields to be sealed, at least one; what is committed to follows from ``secret`` and ``fields`` alone."""

    secret: bytes
    fields: Mapping[str, Value]

    @property
    def item(self) -> bytes:
        """What the node gets."""
        leaves = self._leaves()
        root = merkle.root(hash_leaves([leaf for _, leaf in leaves]))
        return encode_item(derive_salt(self.secret), field_root(len(leaves), root))

    def openings(self, names: Iterable[str] | None = None) -> tuple[FieldOpening, ...]:
        """Return what opens these fields, in their order; without names, all of them and the padding.

        Raises:
            DecodeError: SEAL-25, there is no such field.
        """
        leaves = self._leaves()
        places = {name: place for place, (name, _) in enumerate(leaves)}
        hashes = hash_leaves([leaf for _, leaf in leaves])
        root, salt = merkle.root(hashes), derive_salt(self.secret)
        part = _part_of(hashes)
        made: list[FieldOpening] = []
        for name in places if names is None else names:
            if name not in places:
                raise DecodeError("SEAL-25", f"there is no field {name[:80]!r}")
            place = places[name]
            path = b"".join(merkle.inclusion_proof(place, len(leaves), part))
            made.append(FieldOpening(salt, len(leaves), root, place, leaves[place][1], path))
        return tuple(made)

    def _leaves(self) -> list[tuple[str, bytes]]:
        """Return every leaf with its name, padding too, in the order of the hashes (X5)."""
        padding: Map = {f"{_PADDING}{place}": None for place in range(padded(len(self.fields)) - len(self.fields))}
        leaves = [
            (
                str(name),
                codec.encode([hmac.digest(self.secret, _FIELD_SALT + str(name).encode(), "sha256"), name, value]),
            )
            for name, value in [*self.fields.items(), *padding.items()]
        ]
        return sorted(leaves, key=lambda leaf: hash_leaf(leaf[1]))


def _part_of(hashes: bytes) -> Callable[[int, int], bytes]:
    return lambda start, end: merkle.root(hashes[start * HASH_BYTES : end * HASH_BYTES])


def padded(count: int) -> int:
    """Return how many leaves stand for so many fields: a power of two, at least 8."""
    return max(FIELDS_MIN, 1 << (count - 1).bit_length()) if count else FIELDS_MIN


def seal_statement(statement: Statement, secret: bytes, *, whole: bool = False) -> WholeContent | FieldContent:
    """Return the statement as content to be sealed, by fields or whole.

    Raises:
        DecodeError: STMT-nn no statement; SEAL-02 or SEAL-03, it has to be sealed whole.
        ValueError: the secret is not 32 bytes.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError("the secret is not 32 bytes")
    encoded = encode_statement(statement)
    return WholeContent(secret, encoded) if whole else FieldContent(secret, list_fields(statement))


# --- opening --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """What openings of one entry show: ``content_root`` is still to be held against the entry's commitment.

    ``count`` are the leaves of the field tree, padding among them; 0 where the statement was sealed whole.
    ``complete``: every leaf is open; ``statement`` is what they make together, where they make one (a period's do not).
    """

    salt: bytes
    content_root: bytes
    count: int
    fields: Mapping[str, Value]
    complete: bool
    statement: Statement | None

    def render(self) -> str:
        """Return what is open in words, one field a line."""
        if not self.count:
            return f"{len(self.fields)} fields, all opened"
        lines = [f"{name} = {_show(value)}" for name, value in sorted(self.fields.items())]
        closed = "all opened" if self.complete else f"{len(self.fields)} opened; the rest may be padding"
        return "\n".join([f"{self.count} fields, {closed}", *lines])


def _show(value: Value) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value) if not isinstance(value, str) else value


def read_openings(openings: Sequence[StatementOpening | FieldOpening]) -> Opened:
    """Return what openings of one entry show together.

    Raises:
        ProtocolError: SEAL-05, they are not of one entry, or name a field twice; PROOF-nn, CBOR-nn or WIRE-01, one
            does not hold; STMT-nn, what was sealed whole is no statement.
    """
    first = openings[0] if openings else None
    if first is None:
        raise DecodeError("SEAL-05", "no opening")
    if isinstance(first, StatementOpening):
        if len(openings) > 1:
            raise DecodeError("SEAL-05", "an opening of the whole statement, and others beside it")
        statement = decode_statement(first.statement)
        return Opened(first.salt, statement_root(first.statement), 0, _fields_if_any(statement), True, statement)
    fields: dict[str, Value] = {}
    places: set[int] = set()
    padding = 0
    root = b""
    for opening in openings:
        if not isinstance(opening, FieldOpening) or (opening.salt, opening.count, opening.root) != (
            first.salt, first.count, first.root,
        ):  # fmt: skip
            raise DecodeError("SEAL-05", "the openings are not of one entry")
        root, (name, value) = open_field(opening)
        if name in fields or opening.place in places:
            raise DecodeError("SEAL-05", f"the field {name[:80]!r} stands twice")
        places.add(opening.place)
        if name.startswith(_PADDING) and value is None:
            padding += 1
        else:
            fields[name] = value
    complete = padding + len(fields) == first.count
    return Opened(first.salt, root, first.count, fields, complete, _join_if_any(fields) if complete else None)


def _join_if_any(fields: Mapping[str, Value]) -> Statement | None:
    try:
        return join_fields(fields)
    except DecodeError:
        return None


def _fields_if_any(statement: Statement) -> Mapping[str, Value]:
    try:
        return list_fields(statement)
    except DecodeError:
        return {}
