"""The RFC 9162 SHA-256 Merkle tree: hashes, roots and the four proofs, over hashes somebody else stores.

Hashes travel concatenated, 32 bytes each, because a list of Python objects per leaf would cost more
than the hashing. A *subtree* is ``[start, end)`` with ``start`` a multiple of the smallest power of two
that is >= ``end - start`` (draft-ietf-plants-merkle-tree-certs 4.1, C2SP mtc-tlog). Every proof here is one shape:
a leaf's inclusion is the consistency of ``[index, index + 1)``, tree consistency that of ``[0, size1)``.
Where the bytes of a proof come from is the caller's business (``glasslog.tiles.HashReader``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from struct import iter_unpack
from typing import TypeAlias

from glasslog.errors import ProofError

HASH_BYTES = 32
SIZE_MAX = (1 << 63) - 1
EMPTY_ROOT = sha256(b"").digest()

SubtreeHash: TypeAlias = Callable[[int, int], bytes]
"""``(start, end)`` of a subtree to its root hash."""

# One step of a proof, from the root down: where the sibling `[lo, hi)` stands.
_RIGHT = 0  # right of both
_LEFT = 1  # left of the subtree, so a part of the larger tree only
_LEFT_OF_BOTH = 2  # the subtree itself reaches over it
_Step: TypeAlias = tuple[int, int, int]

# Copying a hash that has already eaten the prefix is a quarter cheaper than a fresh constructor and a
# concatenation: OpenSSL looks its algorithm up on each construction.
_leaf = sha256(b"\x00").copy
_node = sha256(b"\x01").copy


def hash_leaf(entry: bytes) -> bytes:
    """Return SHA-256(0x00 || entry) (RFC 9162 2.1.1)."""
    return sha256(b"\x00" + entry).digest()


def hash_leaves(entries: Iterable[bytes]) -> bytes:
    """Return the leaf hashes of ``entries``, concatenated."""
    hashes: list[bytes] = []
    append = hashes.append
    for entry in entries:
        state = _leaf()
        state.update(entry)
        append(state.digest())
    return b"".join(hashes)


def hash_children(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right) (RFC 9162 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def hash_pairs(hashes: bytes) -> bytes:
    """Return the parents of neighbouring hashes, concatenated; ``hashes`` holds an even number of them."""
    parents: list[bytes] = []
    append = parents.append
    for (pair,) in iter_unpack("64s", hashes):
        state = _node()
        state.update(pair)
        append(state.digest())
    return b"".join(parents)


def root(leaf_hashes: bytes) -> bytes:
    """Return the root over concatenated 32-byte leaf hashes (RFC 9162 2.1.1), ``EMPTY_ROOT`` over none."""
    if len(leaf_hashes) % HASH_BYTES:
        raise ValueError("leaf hashes are not whole 32-byte hashes")
    if not leaf_hashes:
        return EMPTY_ROOT
    level = leaf_hashes
    while len(level) > HASH_BYTES:
        # An odd last node is promoted unhashed, which is what splitting at powers of two comes to.
        odd = len(level) % 64
        level = hash_pairs(level[:-HASH_BYTES]) + level[-HASH_BYTES:] if odd else hash_pairs(level)
    return level


def is_subtree(start: int, end: int) -> bool:
    """Tell whether ``[start, end)`` is a subtree (draft-ietf-plants-merkle-tree-certs 4.1)."""
    return 0 <= start < end and start % (1 << (end - start - 1).bit_length()) == 0


def compact_range(start: int, end: int) -> list[tuple[int, int]]:
    """Cut the subtree ``[start, end)`` into the fewest complete subtrees, as ``(level, index)``, left to right.

    ``(level, index)`` covers the leaves ``[index << level, (index + 1) << level)``.
    """
    nodes: list[tuple[int, int]] = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def fold_compact_range(hashes: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of a compact range, in ``compact_range`` order."""
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = hash_children(left, result)
    return result


def inclusion_proof(index: int, size: int, subtree_hash: SubtreeHash) -> list[bytes]:
    """Return the path of leaf ``index`` in the tree of ``size`` leaves, leaf's sibling first (RFC 9162 2.1.3.1)."""
    return subtree_consistency_proof(index, index + 1, size, subtree_hash)


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf_hash`` is leaf ``index`` under ``root`` (RFC 9162 2.1.3.2).

    Raises ``ProofError``: ``PROOF-01`` numbers, ``PROOF-02`` shape of the proof, ``PROOF-03`` root.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise ProofError("PROOF-01", f"leaf {index} is outside a tree of {size} leaves")
    _check_hashes(proof, leaf_hash, root)
    _, whole = _climb(_steps(index, index + 1, size), leaf_hash, proof)
    if whole != root:
        raise ProofError("PROOF-03", f"the inclusion proof of leaf {index} does not lead to the root")


def consistency_proof(size1: int, size2: int, subtree_hash: SubtreeHash) -> list[bytes]:
    """Return the proof that the tree of ``size2`` leaves extends that of ``size1`` (RFC 9162 2.1.4.1)."""
    return subtree_consistency_proof(0, size1, size2, subtree_hash)


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Check that the tree of ``size2`` leaves extends that of ``size1`` (RFC 9162 2.1.4.2).

    From an empty tree nothing is provable but itself. Raises ``ProofError`` like ``verify_inclusion``.
    """
    if size1 == 0 and (size2 != 0 or root2 != EMPTY_ROOT):
        raise ProofError("PROOF-01", f"an empty tree proves nothing about a tree of {size2} leaves")
    verify_subtree_consistency(0, size1, size2, proof, root1, root2)


def subtree_inclusion_proof(index: int, start: int, end: int, subtree_hash: SubtreeHash) -> list[bytes]:
    """Return the path of leaf ``index`` to the root of the subtree ``[start, end)``."""
    if not (is_subtree(start, end) and start <= index < end):
        raise ValueError(f"leaf {index} is not in a subtree [{start}, {end})")
    return inclusion_proof(index - start, end - start, lambda low, high: subtree_hash(start + low, start + high))


def verify_subtree_inclusion(
    index: int, start: int, end: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that ``leaf_hash`` is leaf ``index`` under the root of ``[start, end)``; see ``verify_inclusion``."""
    if not is_subtree(start, end):
        raise ProofError("PROOF-01", f"[{start}, {end}) is not a subtree")
    verify_inclusion(index - start, end - start, leaf_hash, proof, root)


def subtree_consistency_proof(start: int, end: int, size: int, subtree_hash: SubtreeHash) -> list[bytes]:
    """Return the proof that ``[start, end)`` is a subtree of the tree of ``size`` leaves."""
    if not (is_subtree(start, end) and end <= size <= SIZE_MAX):
        raise ValueError(f"[{start}, {end}) is not a subtree of {size} leaves")
    steps = _steps(start, end, size)
    proof = [subtree_hash(low, high) for _, low, high in reversed(steps)]
    base = _base(end, steps)
    return proof if base is None else [subtree_hash(*base), *proof]


def verify_subtree_consistency(
    start: int, end: int, size: int, proof: Sequence[bytes], subtree_root: bytes, root: bytes
) -> None:
    """Check that ``subtree_root`` is that of ``[start, end)`` under ``root``; raises like ``verify_inclusion``.

    An empty subtree has ``EMPTY_ROOT`` and an empty proof, and says nothing about ``root``.
    """
    if start == end and 0 <= start <= size <= SIZE_MAX:
        if proof or subtree_root != EMPTY_ROOT:
            raise ProofError("PROOF-03", "an empty subtree has the root of nothing, and no proof")
        return
    if not (is_subtree(start, end) and end <= size <= SIZE_MAX):
        raise ProofError("PROOF-01", f"[{start}, {end}) is not a subtree of a tree of {size} leaves")
    if proof:  # without one the two roots are compared as they are
        _check_hashes(proof, subtree_root, root)
    steps = _steps(start, end, size)
    if _base(end, steps) is None:
        part, whole = _climb(steps, subtree_root, proof)
    elif proof:
        part, whole = _climb(steps, proof[0], proof[1:])
    else:
        raise ProofError("PROOF-02", "an empty consistency proof where hashes are needed")
    if part != subtree_root:
        raise ProofError("PROOF-03", f"the consistency proof does not lead to the root of [{start}, {end})")
    if whole != root:
        raise ProofError("PROOF-03", f"the consistency proof does not lead to the root at {size}")


def _steps(start: int, end: int, size: int) -> list[_Step]:
    """Walk from the root of ``size`` leaves down to the last complete part of ``[start, end)``."""
    steps: list[_Step] = []
    low, high = 0, size
    while not (start <= low and high == end):
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if end <= middle:
            steps.append((_RIGHT, middle, high))
            high = middle
        elif middle <= start:
            steps.append((_LEFT, low, middle))
            low = middle
        else:
            steps.append((_LEFT_OF_BOTH, low, middle))
            low = middle
    return steps


def _base(end: int, steps: Sequence[_Step]) -> tuple[int, int] | None:
    """Return the last part of a subtree, which the proof states, or None where the subtree is in one piece."""
    crossed = [high for side, _, high in steps if side == _LEFT_OF_BOTH]
    return (max(crossed), end) if crossed else None


def _climb(steps: Sequence[_Step], base: bytes, siblings: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the roots of the part and of the whole that ``siblings`` lead to from ``base``."""
    if len(siblings) != len(steps):
        raise ProofError("PROOF-02", f"{len(siblings)} sibling hashes in a proof that needs {len(steps)}")
    part = whole = base
    for (side, _, _), sibling in zip(reversed(steps), siblings, strict=True):
        if side == _RIGHT:
            whole = hash_children(whole, sibling)
        else:
            whole = hash_children(sibling, whole)
            if side == _LEFT_OF_BOTH:
                part = hash_children(sibling, part)
    return part, whole


def _check_hashes(proof: Sequence[bytes], *roots: bytes) -> None:
    if any(len(value) != HASH_BYTES for value in (*roots, *proof)):
        raise ProofError("PROOF-02", "a hash in the proof is not 32 bytes")
