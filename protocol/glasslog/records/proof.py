"""Proofs about one record of a data set, as objects and as files (specs/datasets.md, D6, D7, D13, D14).

Nothing is stated in a file that does not lead to the root, so that changing any byte makes it fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from glasslog import codec, merkle
from glasslog.codec import ArrayReader, Value
from glasslog.errors import DecodeError, ProofError
from glasslog.merkle import HASH_BYTES
from glasslog.records.digests import DIGEST_BYTES, BucketOpening
from glasslog.records.tree import EMPTY_TREE, KEY_BITS, KEY_BYTES, Branch, bit_of, climb, hash_entry

PROOF_DOMAIN = "glasslog/record-proof/v1"
PROOF_BYTES_MAX = 16_384
COUNT_MAX = (1 << 63) - 1
_BRANCH_BYTES = 1 + HASH_BYTES
_RECORDS_DOMAIN = "glasslog/records/v1"
_ORDER_DOMAIN = "glasslog/record-order/v1"
_INCLUSION, _EXCLUSION, _PLACEMENT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The record is in the data set, ``count`` times; ``distinct`` and ``total`` are how many it has in all."""

    opening: BucketOpening | None
    distinct: int
    total: int
    count: int
    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The record is not in it: its way ends at ``neighbour``, another key with its count, or the data set is empty."""

    opening: BucketOpening | None
    distinct: int
    total: int
    neighbour: tuple[bytes, int] | None
    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """The record is number ``place``, from 0, of ``total`` in the order given.

    ``tree`` is the RFC 9162 root over all keys in that order, ``path`` the hashes that lead to it, concatenated.
    """

    opening: BucketOpening | None
    total: int
    place: int
    tree: bytes
    path: bytes


RecordProof: TypeAlias = Inclusion | Exclusion | Placement


def records_root(keys_root: bytes | None, distinct: int, total: int, tree: bytes) -> bytes:
    """Return what a data set is known by: its blinding (``keys_root`` None where plain), counts and tree (D6)."""
    return sha256(codec.encode([_RECORDS_DOMAIN, keys_root, distinct, total, tree])).digest()


def order_root(keys_root: bytes | None, total: int, root: bytes) -> bytes:
    """Return what the order of a data set's records is known by; ``root`` is RFC 9162's over their keys (D7)."""
    return sha256(codec.encode([_ORDER_DOMAIN, keys_root, total, root])).digest()


def verify_proof(proof: RecordProof, digest: bytes, root: bytes) -> None:
    """Check what a proof says of the record with this digest under a records root, or an order root for a placement.

    What it shows is about these bytes alone (D1); an inclusion and an exclusion of one record cannot both pass (D13).

    Raises:
        ProofError: DATA-02 numbers or sizes that cannot be, DATA-03 it does not lead to the root, DATA-04 the record
            itself stands where its exclusion claims another, DATA-05 the tree has a leaf where its key does not lead.
    """
    if len(digest) != DIGEST_BYTES or len(root) != HASH_BYTES:
        raise ProofError("DATA-02", "a record's digest and a root are 32 bytes each")
    key = digest if proof.opening is None else proof.opening.blind(digest)
    keys_root = None if proof.opening is None else proof.opening.root_for(digest)
    match proof:
        case Inclusion():
            leads = _records_root_of(proof, keys_root, _lead(proof, key, key, proof.count))
        case Exclusion():
            leads = _records_root_of(proof, keys_root, _miss(proof, key))
        case Placement():
            _check_place(proof, key)
            leads = order_root(keys_root, proof.total, proof.tree)
    if leads != root:
        raise ProofError("DATA-03", "the proof does not lead to this root with this record")


def _records_root_of(proof: Inclusion | Exclusion, keys_root: bytes | None, tree: bytes) -> bytes:
    empty = isinstance(proof, Exclusion) and proof.neighbour is None
    if not (proof.distinct == proof.total == 0 if empty else 1 <= proof.distinct <= proof.total <= COUNT_MAX):
        raise ProofError("DATA-02", f"{proof.distinct} distinct records of {proof.total} cannot be")
    return records_root(keys_root, proof.distinct, proof.total, tree)


def _miss(proof: Exclusion, key: bytes) -> bytes:
    """Return the root of the tree in which the way of ``key`` ends elsewhere, or which is empty."""
    if proof.neighbour is None:
        if proof.branches:
            raise ProofError("DATA-02", "a path through an empty tree")
        return EMPTY_TREE
    other, count = proof.neighbour
    if other == key:
        raise ProofError("DATA-04", "the record is in the data set: the proof of its absence ends at itself")
    return _lead(proof, key, other, count)


def _lead(proof: Inclusion | Exclusion, key: bytes, found: bytes, count: int) -> bytes:
    """Return the root of the tree in which the way of ``key`` ends at the leaf of ``found``."""
    # The leaf has its own count, and at least one record stands at each of the others.
    if not (len(found) == KEY_BYTES and 1 <= count <= proof.total - proof.distinct + 1):
        raise ProofError("DATA-02", f"a leaf of {count} records in {proof.total}, {proof.distinct} of them distinct")
    if len(proof.branches) >= proof.distinct:
        raise ProofError("DATA-02", f"{len(proof.branches)} branches in a tree of {proof.distinct} leaves")
    last = -1
    for depth, sibling in proof.branches:
        if not last < depth < KEY_BITS or len(sibling) != HASH_BYTES:
            raise ProofError("DATA-02", "the branches of a path do not go down, or one has no hash of 32 bytes")
        if bit_of(key, depth) != bit_of(found, depth):
            raise ProofError(
                "DATA-05", "the tree has a leaf where its key does not lead: whoever built it erred or lied"
            )
        last = depth
    return climb(key, hash_entry(found, count), proof.branches)


def _check_place(proof: Placement, key: bytes) -> None:
    if not 0 <= proof.place < proof.total <= COUNT_MAX:
        raise ProofError("DATA-02", f"record {proof.place} of {proof.total}")
    if len(proof.path) % HASH_BYTES:
        raise ProofError("DATA-02", "a path that is not whole 32-byte hashes")
    path = [proof.path[at : at + HASH_BYTES] for at in range(0, len(proof.path), HASH_BYTES)]
    try:
        merkle.verify_inclusion(proof.place, proof.total, merkle.hash_leaf(key), path, proof.tree)
    except ProofError as error:
        code = "DATA-03" if error.code == "PROOF-03" else "DATA-02"
        raise ProofError(code, f"the path of record {proof.place}: {error.fact}") from error


# --- the file -------------------------------------------------------------------------------------


def encode_proof(proof: RecordProof) -> bytes:
    """Return the one encoding of a proof (D14)."""
    opening: Value = None if proof.opening is None else [proof.opening.key, proof.opening.path]
    head: list[Value] = [PROOF_DOMAIN, opening]
    match proof:
        case Inclusion():
            body: list[Value] = [_INCLUSION, proof.distinct, proof.total, proof.count, _join(proof.branches)]
        case Exclusion():
            neighbour: Value = None if proof.neighbour is None else [*proof.neighbour]
            body = [_EXCLUSION, proof.distinct, proof.total, neighbour, _join(proof.branches)]
        case Placement():
            body = [_PLACEMENT, proof.total, proof.place, proof.tree, proof.path]
    return codec.encode([*head, *body])


def decode_proof(data: bytes) -> RecordProof:
    """Return the proof in a file; nothing is verified but its form.

    Raises:
        DecodeError: DATA-01 not a proof in its one encoding.
    """
    try:
        return _read_proof(ArrayReader.parse(data, "record proof", size_max=PROOF_BYTES_MAX))
    except DecodeError as error:
        raise DecodeError("DATA-01", f"not a record proof: {error}") from error


def _read_proof(r: ArrayReader) -> RecordProof:
    if (domain := r.text("domain", most=64)) != PROOF_DOMAIN:
        raise DecodeError("WIRE-01", f"it does not begin with {PROOF_DOMAIN} but {domain!r}")
    opening = None
    if not r.skip_null():
        inner = r.array("opening")
        opening = BucketOpening(inner.bytes("key", exactly=32), inner.bytes("path", exactly=16 * HASH_BYTES))
        inner.end()
    kind = r.uint("kind")
    proof: RecordProof
    if kind == _INCLUSION:
        proof = Inclusion(opening, r.uint("distinct"), r.uint("total"), r.uint("count"), _read_branches(r))
    elif kind == _EXCLUSION:
        proof = Exclusion(opening, r.uint("distinct"), r.uint("total"), _read_neighbour(r), _read_branches(r))
    elif kind == _PLACEMENT:
        total, place, tree = r.uint("total"), r.uint("place"), r.bytes("tree", exactly=HASH_BYTES)
        proof = Placement(opening, total, place, tree, r.bytes("path", most=63 * HASH_BYTES))
    else:
        raise DecodeError("WIRE-01", f"a proof of unknown kind {kind}")
    r.end()
    return proof


def _read_neighbour(r: ArrayReader) -> tuple[bytes, int] | None:
    if r.skip_null():
        return None
    inner = r.array("neighbour")
    neighbour = inner.bytes("key", exactly=KEY_BYTES), inner.uint("count")
    inner.end()
    return neighbour


def _join(branches: tuple[Branch, ...]) -> bytes:
    return b"".join(bytes((depth,)) + sibling for depth, sibling in branches)


def _read_branches(r: ArrayReader) -> tuple[Branch, ...]:
    data = r.bytes("branches", most=KEY_BITS * _BRANCH_BYTES)
    if len(data) % _BRANCH_BYTES:
        raise DecodeError("WIRE-01", "branches that are not whole ones of 33 bytes")
    return tuple(Branch(data[at], data[at + 1 : at + _BRANCH_BYTES]) for at in range(0, len(data), _BRANCH_BYTES))
