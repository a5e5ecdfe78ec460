"""Sealed entries: what their commitment covers, and the openings that show it later (specs/log.md, L5)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from glasslog import codec, merkle
from glasslog.codec import ArrayReader, Value
from glasslog.errors import DecodeError
from glasslog.limits import STATEMENT_BYTES_MAX
from glasslog.merkle import HASH_BYTES, hash_leaf

SEAL_DOMAIN = "glasslog/seal/v1"
SEALED_ITEM = b"\x82\x58\x20"
"""How a sealed item begins; a statement is a map and a signed statement a tag, so no other item begins so (X2)."""
_ITEM_BYTES = 69  # an array of two byte strings of 32
FIELDS_MAX = 4_096
FIELD_NAME_BYTES_MAX = 1_024


@dataclass(frozen=True, slots=True)
class StatementOpening:
    """Opens a whole sealed statement: the 32-byte salt, and the statement's canonical CBOR."""

    salt: bytes
    statement: bytes


@dataclass(frozen=True, slots=True)
class FieldOpening:
    """Opens one field: ``field`` is ``[32-byte salt, name, value]``; ``path`` leads to ``root``, over ``count``."""

    salt: bytes
    count: int
    root: bytes
    place: int
    field: bytes
    path: bytes


Opening: TypeAlias = StatementOpening | FieldOpening


def compute_commitment(genesis_hash: bytes, author: str, number: int, salt: bytes, content_root: bytes) -> bytes:
    """Return what a sealed entry states about content that is kept outside the log."""
    return sha256(codec.encode([SEAL_DOMAIN, genesis_hash, author, number, salt, content_root])).digest()


def encode_item(salt: bytes, content_root: bytes) -> bytes:
    """Return what a lab hands its node to be sealed: ``[salt, content-root]``, 69 bytes (specs/secrecy.md, X2).

    Raises:
        ValueError: either is not 32 bytes.
    """
    if len(salt) != 32 or len(content_root) != 32:
        raise ValueError("salt and content root are 32 bytes each")
    return codec.encode([salt, content_root])


def decode_item(item: bytes) -> tuple[bytes, bytes]:
    """Return salt and content root of a sealed item.

    Raises:
        DecodeError: SEAL-01, it is not ``[salt, content-root]`` of 32 bytes each and nothing more.
    """
    if len(item) != _ITEM_BYTES or not item.startswith(SEALED_ITEM) or item[35:37] != b"\x58\x20":
        raise DecodeError("SEAL-01", "a sealed item is not [salt, content-root] of 32 bytes each")
    return item[3:35], item[37:]


def seal_item(item: bytes, genesis_hash: bytes, author: str, number: int) -> bytes:
    """Return the commitment of a sealed item under its entry number.

    Raises:
        DecodeError: SEAL-01, it is no sealed item.
    """
    salt, content_root = decode_item(item)
    return compute_commitment(genesis_hash, author, number, salt, content_root)


def statement_root(statement: bytes) -> bytes:
    """Return the content root of a whole statement."""
    return hash_leaf(statement)


def field_root(count: int, root: bytes) -> bytes:
    """Return the content root of ``count`` fields under an RFC 9162 root.

    The count is hashed with it: an RFC 9162 path alone can hold for a neighbouring tree size.
    """
    return sha256(b"\x02" + count.to_bytes(8, "big") + root).digest()


def open_field(opening: FieldOpening) -> tuple[bytes, tuple[str, Value]]:
    """Return the content root that a field's opening leads to, and the field's name and value.

    Raises:
        ProtocolError: it is not a field, or its path does not lead to the root beside it.
    """
    reader = ArrayReader.parse(opening.field, "field", size_max=STATEMENT_BYTES_MAX)
    reader.bytes("salt", exactly=32)
    name, value = reader.text("name", most=FIELD_NAME_BYTES_MAX), reader.value("value")
    reader.end()
    if not opening.place < opening.count <= FIELDS_MAX:
        raise DecodeError("BUNDLE-08", f"field {opening.place} of {opening.count}")
    leaf, path = hash_leaf(opening.field), split_path(opening.path)
    merkle.verify_inclusion(opening.place, opening.count, leaf, path, opening.root)
    return field_root(opening.count, opening.root), (name, value)


def expect_domain(reader: ArrayReader, domain: str) -> None:
    """Require that an array begins with this text.

    Raises:
        DecodeError: WIRE-01.
    """
    if reader.text("domain", most=64) != domain:
        raise DecodeError("WIRE-01", f"it does not begin with {domain}")


def split_path(path: bytes) -> list[bytes]:
    """Return the hashes of a concatenated path."""
    return [path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES)]
