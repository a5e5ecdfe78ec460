"""Leaves: every kind of leaf the log can have, to and from its bytes (specs/log.md, L2).

A leaf of ours is a deterministic-CBOR array whose first element is its kind. The one other kind is a third party's
signed statement, tag 18, kept byte for byte. ``decode_leaf`` is strict; ``encode_leaf`` is its inverse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TypeAlias, assert_never

from glasslog import codec, cose, statement
from glasslog.codec import ArrayReader
from glasslog.errors import DecodeError
from glasslog.limits import HEADER_LEAF_BYTES_MAX, LEAF_BYTES_MAX

GENESIS_VERSION = 1
ED25519_BYTES = 32
MLDSA44_BYTES = 1312
QUOTA_MAX = (1 << 32) - 1

_JURISDICTION = re.compile(r"[A-Z]{2,8}")
_ORIGIN = re.compile(r"[!-*,-~]{1,255}")  # a C2SP key name, kept to printable ASCII: no space, no "+"
TAGGED_18 = 0xC0 | cose.TAG


class LeafKind(IntEnum):
    """What a leaf is: its first array element, or the tag of a signed statement."""

    STATEMENT = 0
    SEALED = 1
    SEAL = 2
    HEADER = 3
    GENESIS = 4
    MEMBERSHIP = 5
    SIGNED = 18


class Role(IntEnum):
    """What a member does in the network."""

    VALIDATOR = 0
    AUTHOR = 1
    OBSERVER = 2


@dataclass(frozen=True, slots=True)
class StatementEntry:
    """``[0, author, seq, statement]``: entry number ``seq`` of its author; ``statement`` is its canonical CBOR."""

    author: str
    seq: int
    statement: bytes


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """``[1, author, seq, commitment]``: 32 bytes that commit to content kept outside the log."""

    author: str
    seq: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class HeightSeal:
    """``[2, height, view, epoch, time, membership-hash, block-count]``: closes a height; ``time`` in milliseconds."""

    height: int
    view: int
    epoch: int
    time: int
    membership_hash: bytes
    block_count: int


@dataclass(frozen=True, slots=True)
class HeaderLeaf:
    """``[3, bstr]``: a block header's COSE_Sign1 (``glasslog.block`` reads it); closes its block's entries."""

    sign1: bytes


@dataclass(frozen=True, slots=True)
class Genesis:
    """``[4, 1, network, origin, time, membership-hash]``: leaf 0; ``time`` in milliseconds."""

    network: str
    origin: str
    time: int
    membership_hash: bytes


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the network: raw public keys, and what it may append per height in entries and bytes."""

    name: str
    role: Role
    jurisdiction: str
    network_key: bytes | None
    vote_key: bytes | None
    log_key: bytes | None
    cosign_ed25519: bytes | None
    cosign_mldsa44: bytes | None
    author_key: bytes | None
    governance_key: bytes | None
    quota_entries: int
    quota_bytes: int

    def keys(self) -> tuple[bytes, ...]:
        """Return every public key the member has, in the order of the leaf."""
        return tuple(key for key in self._key_fields() if key is not None)

    def _key_fields(self) -> tuple[bytes | None, ...]:
        return (
            self.network_key,
            self.vote_key,
            self.log_key,
            self.cosign_ed25519,
            self.cosign_mldsa44,
            self.author_key,
            self.governance_key,
        )


@dataclass(frozen=True, slots=True)
class MembershipLeaf:
    """``[5, epoch, member]``."""

    epoch: int
    member: Member


@dataclass(frozen=True, slots=True)
class SignedStatementLeaf:
    """A third party's tagged COSE_Sign1, byte for byte (RFC 9943)."""

    sign1: bytes


Leaf: TypeAlias = (
    StatementEntry | SealedEntry | HeightSeal | HeaderLeaf | Genesis | MembershipLeaf | SignedStatementLeaf
)

# --- entries, the hot kinds -----------------------------------------------------------------------


def entry_prefix(kind: LeafKind, author: str, seq: int) -> bytes:
    """Return how entry ``seq`` of ``author`` begins: everything before the statement or the commitment.

    Raises:
        ValueError: ``author`` is not a name, or ``seq`` is outside 64 bits.
    """
    return _entry_head(kind, author) + codec.encode_head(0, seq)


@lru_cache(256)  # a network has few authors
def _entry_head(kind: LeafKind, author: str) -> bytes:
    if not codec.is_name(author):
        raise ValueError(f"{author!r} is not a name")
    return bytes((0x84, kind)) + codec.encode(author)


def number_entry(author: str, seq: int, statement_cbor: bytes) -> bytes:
    """Return the entry of a statement that is valid already; only its place is put before it."""
    return entry_prefix(LeafKind.STATEMENT, author, seq) + statement_cbor


def check_entry(data: bytes, author: str, seq: int) -> None:
    """Check one entry of an attestation block in full: ``glasslog.shapes`` may accept no other.

    Raises:
        DecodeError: ENTRY-01 to ENTRY-03, CBOR-nn, STMT-nn or COSE-nn.
    """
    kind = leaf_kind(data)
    if kind is LeafKind.SIGNED:
        cose.parse_signed_statement(data)
        return
    if kind not in (LeafKind.STATEMENT, LeafKind.SEALED):
        raise DecodeError("ENTRY-02", f"a leaf of kind {kind.value} is not an author's entry")
    prefix = entry_prefix(kind, author, seq)
    if not data.startswith(prefix):
        raise DecodeError("ENTRY-03", f"the entry is not number {seq} of {author}")
    rest = data[len(prefix) :]
    if kind is LeafKind.STATEMENT:
        statement.decode_statement(rest)
    elif len(rest) != 34 or not rest.startswith(b"\x58\x20"):
        raise DecodeError("ENTRY-01", "the commitment of a sealed entry is not 32 bytes")


# --- any leaf -------------------------------------------------------------------------------------


def leaf_kind(data: bytes) -> LeafKind:
    """Return the kind of a leaf by its first bytes, without looking at the rest.

    Raises:
        DecodeError: ENTRY-01, not a leaf of any kind.
    """
    if data[:1] == bytes((TAGGED_18,)):
        return LeafKind.SIGNED
    if len(data) >= 2 and data[0] >> 5 == 4 and data[1] <= LeafKind.MEMBERSHIP:
        return LeafKind(data[1])
    raise DecodeError("ENTRY-01", "the bytes are not a leaf of any kind")


def read_prefix(data: bytes) -> tuple[LeafKind, str, int]:
    """Return kind, author and number of a statement or sealed entry, reading no further.

    Raises:
        DecodeError: ENTRY-01, it does not begin like one.
    """
    kind = leaf_kind(data)
    if kind not in (LeafKind.STATEMENT, LeafKind.SEALED) or data[0] != 0x84:
        raise DecodeError("ENTRY-01", "the leaf is neither a statement entry nor a sealed entry")
    author, at = codec.read_item(data, 2)
    seq, _ = codec.read_item(data, at)
    if not isinstance(author, str) or not codec.is_name(author) or type(seq) is not int or seq < 0:
        raise DecodeError("ENTRY-01", "the leaf does not begin with an author and a number")
    return kind, author, seq


def encode_leaf(leaf: Leaf) -> bytes:
    """Return the leaf's bytes."""
    match leaf:
        case StatementEntry():
            return number_entry(leaf.author, leaf.seq, leaf.statement)
        case SealedEntry():
            return entry_prefix(LeafKind.SEALED, leaf.author, leaf.seq) + codec.encode(leaf.commitment)
        case HeightSeal():
            return codec.encode(
                [2, leaf.height, leaf.view, leaf.epoch, leaf.time, leaf.membership_hash, leaf.block_count]
            )
        case HeaderLeaf():
            return codec.encode([3, leaf.sign1])
        case Genesis():
            return codec.encode([4, GENESIS_VERSION, leaf.network, leaf.origin, leaf.time, leaf.membership_hash])
        case MembershipLeaf():
            return codec.encode([5, leaf.epoch, _member_value(leaf.member)])
        case SignedStatementLeaf():
            return leaf.sign1
        case _:
            assert_never(leaf)


def decode_leaf(data: bytes) -> Leaf:
    """Return the leaf these bytes are. Everything is checked but signatures and what needs other leaves.

    Raises:
        DecodeError: ENTRY-nn, CBOR-nn, WIRE-01, STMT-nn, COSE-nn, MEMBER-nn.
    """
    kind = leaf_kind(data)
    if len(data) > LEAF_BYTES_MAX:
        raise DecodeError("CBOR-01", f"a leaf of {len(data)} bytes, at most {LEAF_BYTES_MAX} allowed")
    if kind is LeafKind.SIGNED:
        cose.parse_signed_statement(data)
        return SignedStatementLeaf(data)
    if kind in (LeafKind.STATEMENT, LeafKind.SEALED):
        kind, author, seq = read_prefix(data)
        check_entry(data, author, seq)
        rest = data[len(entry_prefix(kind, author, seq)) :]
        return StatementEntry(author, seq, rest) if kind is LeafKind.STATEMENT else SealedEntry(author, seq, rest[2:])
    reader = ArrayReader.parse(data, f"{kind.name.lower()} leaf", size_max=LEAF_BYTES_MAX)
    reader.uint("kind")
    leaf = _read_leaf(kind, reader)
    reader.end()
    return leaf


def _read_leaf(kind: LeafKind, r: ArrayReader) -> Leaf:
    if kind is LeafKind.SEAL:
        return HeightSeal(
            r.uint("height"), r.uint("view"), r.uint("epoch"), r.uint("time"),
            r.bytes("membership-hash", exactly=32), r.uint("block-count"),
        )  # fmt: skip
    if kind is LeafKind.HEADER:
        return HeaderLeaf(r.bytes("COSE_Sign1", most=HEADER_LEAF_BYTES_MAX))
    if kind is LeafKind.MEMBERSHIP:
        return MembershipLeaf(r.uint("epoch"), _read_member(r.array("member")))
    if r.uint("version") != GENESIS_VERSION:
        raise DecodeError("ENTRY-04", "the genesis leaf is of a version this software does not know")
    network, origin = r.name("network name"), r.text("origin", most=255)
    if not _ORIGIN.fullmatch(origin):
        raise DecodeError("ENTRY-04", "the origin is not 1 to 255 printable ASCII characters without space and '+'")
    return Genesis(network, origin, r.uint("time"), r.bytes("membership-hash", exactly=32))


# --- members --------------------------------------------------------------------------------------


def _member_value(member: Member) -> codec.Value:
    head: list[codec.Value] = [member.name, int(member.role), member.jurisdiction]
    keys: list[codec.Value] = [member.network_key, member.vote_key, member.log_key, member.cosign_ed25519]
    keys += [member.cosign_mldsa44, member.author_key, member.governance_key]
    return [*head, *keys, member.quota_entries, member.quota_bytes]


def _read_member(r: ArrayReader) -> Member:
    name, role, jurisdiction = r.name("name"), r.uint("role"), r.text("jurisdiction", most=8)
    if role > Role.OBSERVER:
        raise DecodeError("MEMBER-07", f"{name} has an unknown role {role}")
    if not _JURISDICTION.fullmatch(jurisdiction):
        raise DecodeError("MEMBER-08", f"the jurisdiction of {name} is not two to eight of A-Z")
    member = Member(
        name, Role(role), jurisdiction,
        _read_key(r, "network key"), _read_key(r, "vote key"), _read_key(r, "log key"),
        _read_key(r, "cosignature key"), _read_key(r, "ML-DSA-44 key", MLDSA44_BYTES),
        _read_key(r, "author key"), _read_key(r, "governance key"),
        r.uint("quota-entries"), r.uint("quota-bytes"),
    )  # fmt: skip
    r.end()
    check_member(member)
    return member


def _read_key(r: ArrayReader, name: str, length: int = ED25519_BYTES) -> bytes | None:
    return None if r.skip_null() else r.bytes(name, exactly=length)


def check_member(member: Member) -> None:
    """Check that a member has the keys of its role and none of another's, and quotas in range.

    A validator needs its network, vote, log and both cosignature keys; an author its author key; an observer has
    no author key. All have a network key, and any may have a governance key. Only validators vote or cosign.

    Raises:
        DecodeError: MEMBER-09 or MEMBER-10.
    """
    voting = (member.vote_key, member.log_key, member.cosign_ed25519, member.cosign_mldsa44)
    if member.network_key is None:
        raise DecodeError("MEMBER-09", f"{member.name} has no network key")
    if member.role is Role.VALIDATOR and None in voting:
        raise DecodeError("MEMBER-09", f"the validator {member.name} lacks a vote, log or cosignature key")
    if member.role is not Role.VALIDATOR and voting != (None,) * 4:
        raise DecodeError("MEMBER-09", f"{member.name} is no validator and has a vote, log or cosignature key")
    if member.role is Role.AUTHOR and member.author_key is None:
        raise DecodeError("MEMBER-09", f"the author {member.name} has no author key")
    if member.role is Role.OBSERVER and member.author_key is not None:
        raise DecodeError("MEMBER-09", f"the observer {member.name} has an author key")
    if member.quota_entries > QUOTA_MAX or member.quota_bytes > QUOTA_MAX:
        raise DecodeError("MEMBER-10", f"a quota of {member.name} is over {QUOTA_MAX}")
