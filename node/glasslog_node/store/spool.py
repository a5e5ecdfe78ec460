"""An author's spool: what was acknowledged to a client and is not yet in the ledger (specs/storage.md, S10 to S12).

Items wait in order and are known by their *position*, a running number of this store. Sealing takes the next
items into a block and gives them their entry numbers; from then on positions and entry numbers run in step
until the next *era*, which begins only when the author's chain had to be taken up elsewhere than it was left.
One row for a batch, however many items it has; nothing is written again when an item moves on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from glasslog.block import Ref
from glasslog.ledger import Tip
from glasslog.tiles import join_entries, split_entries
from glasslog_node.store import schema

KEY_BYTES_MAX = 64

_SUBMISSION = struct.Struct(">32sQI")
_BATCH = struct.Struct(">I")
_SEALED = struct.Struct(">32sQIQ")
_COUNTERS = struct.Struct(">QQQQ")


# --- records --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpoolBatch:
    """A client's batch. ``key`` is its idempotency key, ``digest`` the SHA-256 of the request it came in.

    ``items`` are opaque here, at most 65,535 bytes each: what the sealing side needs to make each entry once
    its number is known (for a sealed entry its salt and content root, which must never reach a replica copy).
    """

    key: bytes
    digest: bytes
    items: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SealBlock:
    """The next ``count`` items became this block: its number, its predecessor and its entries move together."""

    ref: Ref
    prev: bytes
    first_entry: int
    count: int
    header: bytes
    entries: bytes


@dataclass(frozen=True, slots=True)
class AdoptTip:
    """After lost state, n-f validators said where this author's chain ends: sealing goes on from there (A10)."""

    author: str
    tip: Tip


SpoolRecord: TypeAlias = SealBlock | AdoptTip


# --- answers --------------------------------------------------------------------------------------


class Stage(Enum):
    """How far a submission has come; every stage is durable."""

    SPOOLED = "spooled"
    SEALED = "sealed"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Submission:
    """An acknowledged batch. ``entries`` maps it, in order, to ``(first entry number, count)`` as far as sealed."""

    key: bytes
    digest: bytes
    position: int
    count: int
    entries: tuple[tuple[int, int], ...] = ()
    stage: Stage = Stage.SPOOLED


@dataclass(frozen=True, slots=True)
class SpoolDepth:
    """How much waits: items not sealed, items not final, bytes held."""

    unsealed: int
    unfinal: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SealState:
    """What the author's next block must build on: its number, ``prev`` and first entry number."""

    seq: int
    prev: bytes
    first_entry: int


@dataclass(frozen=True, slots=True)
class SealedBlock:
    """An own block that is sealed and not final."""

    seq: int
    hash: bytes
    position: int
    count: int
    first_entry: int

    def encode(self) -> bytes:
        """Return the row's value; the number is its key."""
        return _SEALED.pack(self.hash, self.position, self.count, self.first_entry)

    @classmethod
    def decode(cls, key: bytes, value: bytes) -> SealedBlock:
        """Return what ``encode`` wrote."""
        return cls(schema.read_u64(key), *_SEALED.unpack(value))


@dataclass(frozen=True, slots=True)
class Pending:
    """The next items to seal, from ``position`` on."""

    position: int
    items: tuple[bytes, ...]


# --- rows -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counters:
    """Positions: of the next item to come, the next to seal, the first that is not final; and bytes held."""

    next: int = 0
    sealed: int = 0
    final: int = 0
    held: int = 0

    def encode(self) -> bytes:
        """Return the value of META_SPOOL."""
        return _COUNTERS.pack(self.next, self.sealed, self.final, self.held)

    @classmethod
    def decode(cls, value: bytes | None) -> Counters:
        """Return what ``encode`` wrote, or the counters of an unused spool."""
        return cls() if value is None else cls(*_COUNTERS.unpack(value))


@dataclass(frozen=True, slots=True)
class OwnChain:
    """Where this node's own author has sealed up to."""

    author: str
    tip: Tip

    def encode(self) -> bytes:
        """Return the value of META_SEAL."""
        return schema.tip_value(self.tip) + self.author.encode()

    @classmethod
    def decode(cls, value: bytes | None) -> OwnChain | None:
        """Return what ``encode`` wrote, or None while nothing was ever sealed."""
        return None if value is None else cls(value[48:].decode(), schema.read_tip(value[:48]))


def submission_value(submission: Submission) -> bytes:
    """Digest, position, count."""
    return _SUBMISSION.pack(submission.digest, submission.position, submission.count)


def read_submission(key: bytes, value: bytes) -> Submission:
    """Return the row of ``submissions``, without its way through blocks."""
    digest, position, count = _SUBMISSION.unpack(value)
    return Submission(key, digest, position, count)


def batch_value(items: tuple[bytes, ...]) -> bytes:
    """Number of items, then the items as an entry bundle."""
    return _BATCH.pack(len(items)) + join_entries(items)


def batch_count(value: bytes | memoryview) -> int:
    """Return how many items a batch has."""
    return int(_BATCH.unpack_from(value)[0])


def batch_items(value: bytes) -> list[bytes]:
    """Return a batch's items."""
    return split_entries(value[_BATCH.size :])
