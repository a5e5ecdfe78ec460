"""A record's digest, and its key in the tree: the digest itself, or blinded with a secret of the lab's.

Blinding (specs/datasets.md, D4) keeps a stranger from testing guesses against a published root or somebody's proof.
The secret makes one key for each of 65,536 buckets of digests, and the root commits to all of them: a lab can neither
change a key afterwards nor has to hand over more than one to prove one record.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from glasslog import codec, merkle
from glasslog.errors import ProofError
from glasslog.merkle import HASH_BYTES

DIGEST_BYTES = 32
SECRET_BYTES = 32
BUCKETS = 1 << 16
KINDS = ("bytes", "json", "typed", "sample")

_RECORD_DOMAIN = b"glasslog/record/v1\x00"
_BUCKET_DOMAIN = b"glasslog/record-bucket/v1\x00"
_BUCKET_PATH_HASHES = 16


class Hash(Protocol):
    """What ``hashlib`` makes."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in more bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of what was taken in."""
        ...

    def copy(self) -> Hash:
        """Return a hash that has taken in the same."""
        ...


def start_record(kind: str) -> Hash:
    """Return a hash that has taken in all of a record but its content (D2).

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind of record: {kind}")
    return sha256(_RECORD_DOMAIN + kind.encode() + b"\x00")


def record_digest(kind: str, content: bytes) -> bytes:
    """Return SHA-256 of the domain, the kind and the canonical bytes of one record (D2)."""
    state = start_record(kind)
    state.update(content)
    return state.digest()


def sample_content(members: Mapping[str, bytes]) -> bytes:
    """Return the canonical bytes of a sample: its parts' names and the digest of each as a record of bytes (D2)."""
    return codec.encode([[name, members[name]] for name in sorted(members, key=str.encode)])


@dataclass(frozen=True, slots=True)
class BucketOpening:
    """One bucket's 32-byte key, and the 16 hashes that lead from it to the root over all buckets' keys."""

    key: bytes
    path: bytes

    def blind(self, digest: bytes) -> bytes:
        """Return the key in the tree of a record whose digest is in this bucket."""
        return hmac.digest(self.key, digest, "sha256")

    def root_for(self, digest: bytes) -> bytes:
        """Return the root over the buckets' keys that this one leads to as the bucket of ``digest``.

        Raises:
            ProofError: DATA-02 it is no path of 16 hashes from a key of 32 bytes.
        """
        if len(self.key) != SECRET_BYTES or len(self.path) != _BUCKET_PATH_HASHES * HASH_BYTES:
            raise ProofError("DATA-02", "the opening of a bucket is not a key of 32 bytes and a path of 16 hashes")
        place = _bucket_of(digest)
        node = merkle.hash_leaf(self.key)
        for level in range(_BUCKET_PATH_HASHES):
            sibling = self.path[level * HASH_BYTES : (level + 1) * HASH_BYTES]
            right = place >> level & 1
            node = merkle.hash_children(sibling, node) if right else merkle.hash_children(node, sibling)
        return node


@dataclass(frozen=True, slots=True)
class Blinding:
    """A data set's secret, which only the lab holds, and the key of every bucket made from it."""

    secret: bytes = field(repr=False)
    keys: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ValueError("a blinding secret is 32 bytes")
        keys = tuple(
            hmac.digest(self.secret, _BUCKET_DOMAIN + bucket.to_bytes(2, "big"), "sha256") for bucket in range(BUCKETS)
        )
        object.__setattr__(self, "keys", keys)

    def blind(self, digest: bytes) -> bytes:
        """Return the key in the tree of a record: HMAC-SHA-256 of its digest under its bucket's key."""
        return hmac.digest(self.keys[digest[0] << 8 | digest[1]], digest, "sha256")

    def keys_root(self) -> bytes:
        """Return the RFC 9162 root over the buckets' keys."""
        return merkle.root(merkle.hash_leaves(self.keys))

    def open_bucket(self, digest: bytes) -> BucketOpening:
        """Return what shows that a record's key is the one the root committed to."""
        hashes = merkle.hash_leaves(self.keys)
        place = _bucket_of(digest)
        path = merkle.inclusion_proof(
            place, BUCKETS, lambda low, high: merkle.root(hashes[low * HASH_BYTES : high * HASH_BYTES])
        )
        return BucketOpening(self.keys[place], b"".join(path))


def _bucket_of(digest: bytes) -> int:
    return int.from_bytes(digest[:2], "big")
