"""What lies where in a replica's LMDB environment (specs/storage.md, S2): databases, keys, fixed-width values.

Integers are big-endian, so that byte order is number order. Anything with a canonical encoding of its own
(proposals, certificates, votes, edge) is kept in exactly that encoding.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from glasslog.block import Ref
from glasslog.ledger import Tip

SCHEMA_VERSION = 1

META_SCHEMA = b"schema"
META_GENESIS = b"genesis"
META_GENERATION = b"generation"
META_EDGE = b"edge"
META_FLOOR = b"floor"  # height_value of the last finalized proposal
META_FINALIZE = b"finalize"  # the finalize certificate of the highest view
META_COSIGN = b"cosign"
META_PUBLISHED = b"published"
META_LOST = b"lost"  # why this store's memory cannot be trusted (S7); absent when it can
META_SPOOL = b"spool"
META_SEAL = b"seal"

_U64 = struct.Struct(">Q")
_VIEW_KIND = struct.Struct(">QQB")
_VIEW = struct.Struct(">QQ")
_TILE = struct.Struct(">BQ")
_TIP = struct.Struct(">Q32sQ")
_SPAN = struct.Struct(">BI")
_CHAIN = struct.Struct(">QIQ32s")
_COSIGN = struct.Struct(">Q32sQ")
_HEIGHT = struct.Struct(">Q32s")
_BODY = struct.Struct(">I")
_LENGTH = struct.Struct(">H")

_SPAN_BLOCK = 0
_SPAN_LEAVES = 1


def u64(value: int) -> bytes:
    """Return eight big-endian bytes."""
    return _U64.pack(value)


def read_u64(data: bytes) -> int:
    """Return the number that eight big-endian bytes state."""
    return int(_U64.unpack(data)[0])


# --- keys -----------------------------------------------------------------------------------------


def block_key(ref: Ref) -> bytes:
    """Author, zero byte, block number, hash: an author's blocks lie together, oldest first."""
    return chain_key(ref.author, ref.seq) + ref.hash


def read_block_key(key: bytes) -> Ref:
    """Return the reference that ``block_key`` wrote."""
    return Ref(key[:-41].decode(), read_u64(key[-40:-32]), key[-32:])


def chain_key(author: str, number: int) -> bytes:
    """Author, zero byte, number. Names hold no zero byte, so no author's keys run into another's."""
    return author.encode() + b"\0" + u64(number)


def view_kind_key(epoch: int, view: int, kind: int) -> bytes:
    """Key of an own vote or a certificate."""
    return _VIEW_KIND.pack(epoch, view, kind)


def view_key(epoch: int, view: int) -> bytes:
    """Prefix of everything at one view."""
    return _VIEW.pack(epoch, view)


def tile_key(level: int, index: int) -> bytes:
    """Key of a full tile."""
    return _TILE.pack(level, index)


def tile_end(key: bytes) -> int:
    """Return the number of leaves that a tile's log must have for it to be full."""
    level, index = _TILE.unpack(key)
    return int((index + 1) << 8 * (level + 1))


# --- values ---------------------------------------------------------------------------------------


def body_value(header: bytes, entries: bytes) -> bytes:
    """Length of the entries, then the block's leaves as one entry bundle: its entries, then its header (S3)."""
    return b"".join((_BODY.pack(len(entries)), entries, _LENGTH.pack(len(header)), header))


def read_body(value: bytes | memoryview) -> tuple[bytes, bytes]:
    """Return ``(header leaf, entry bundle)``."""
    end = 4 + int(_BODY.unpack_from(value)[0])
    return bytes(value[end + 2 :]), bytes(value[4:end])


def body_header(value: memoryview) -> bytes:
    """Return the header leaf alone, without copying the entries."""
    return bytes(value[6 + int(_BODY.unpack_from(value)[0]) :])


def body_bundle(value: memoryview) -> memoryview:
    """Return the block's leaves in log order, as an entry bundle."""
    return value[4:]


@dataclass(frozen=True, slots=True)
class SpanValue:
    """``leaves`` leaves of the log: a block's (``key``) or, where ``key`` is None, those in ``bundle``."""

    leaves: int
    key: bytes | None
    bundle: bytes


def block_span(leaves: int, key: bytes) -> bytes:
    """Return the value of a span whose leaves are a block's body."""
    return _SPAN.pack(_SPAN_BLOCK, leaves) + key


def leaf_span(leaves: int, bundle: bytes) -> bytes:
    """Return the value of a span that carries its leaves itself (genesis, membership, seals)."""
    return _SPAN.pack(_SPAN_LEAVES, leaves) + bundle


def read_span(value: bytes) -> SpanValue:
    """Return what ``block_span`` or ``leaf_span`` wrote."""
    tag, leaves = _SPAN.unpack_from(value)
    if tag == _SPAN_BLOCK:
        return SpanValue(leaves, value[_SPAN.size :], b"")
    return SpanValue(leaves, None, value[_SPAN.size :])


def height_value(first_index: int, digest: bytes, proposal: bytes) -> bytes:
    """First leaf index, digest, canonical proposal."""
    return _HEIGHT.pack(first_index, digest) + proposal


def read_height(value: bytes) -> tuple[int, bytes, bytes]:
    """Return ``(first index, digest, canonical proposal)``."""
    first_index, digest = _HEIGHT.unpack_from(value)
    return first_index, digest, value[_HEIGHT.size :]


def tip_value(tip: Tip) -> bytes:
    """Block number, hash, next entry number."""
    return _TIP.pack(tip.seq, tip.hash, tip.next_entry)


def read_tip(value: bytes) -> Tip:
    """Return what ``tip_value`` wrote."""
    return Tip(*_TIP.unpack(value))


@dataclass(frozen=True, slots=True)
class ChainValue:
    """Where a final block lies: its first leaf's index, its number of entries, its number and hash."""

    first_index: int
    entries: int
    seq: int
    hash: bytes

    def encode(self) -> bytes:
        """Return the fixed-width value."""
        return _CHAIN.pack(self.first_index, self.entries, self.seq, self.hash)

    @classmethod
    def decode(cls, value: bytes) -> ChainValue:
        """Return what ``encode`` wrote."""
        return cls(*_CHAIN.unpack(value))


def cosign_value(size: int, root: bytes, time: int) -> bytes:
    """Size, root, time in seconds."""
    return _COSIGN.pack(size, root, time)


def read_cosign(value: bytes) -> tuple[int, bytes, int]:
    """Return ``(size, root, time)``."""
    size, root, time = _COSIGN.unpack(value)
    return size, root, time


def edge_tile(edge: memoryview, level: int, index: int) -> memoryview | None:
    """Return the partial tile ``index`` of ``level`` out of an encoded edge, without rebuilding the edge."""
    size = read_u64(bytes(edge[:8]))
    if index != size >> 8 * (level + 1):
        return None
    at = 8 + 32 * sum((size >> 8 * below) % 256 for below in range(level))
    return edge[at : at + (size >> 8 * level) % 256 * 32]


# --- entry bundles --------------------------------------------------------------------------------


def bundle_slice(bundle: bytes | memoryview, start: int, stop: int) -> bytes:
    """Return entries ``start..stop-1`` of an entry bundle, still framed."""
    unpack = _LENGTH.unpack_from
    offset = 0
    for _ in range(start):
        offset += 2 + unpack(bundle, offset)[0]
    first = offset
    for _ in range(stop - start):
        offset += 2 + unpack(bundle, offset)[0]
    return bytes(bundle[first:offset])


def frame(leaf: bytes) -> bytes:
    """Return the leaf behind its uint16 length."""
    return _LENGTH.pack(len(leaf)) + leaf
