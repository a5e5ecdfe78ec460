"""How two trees relate: a proof of what a log was at an earlier size, and the first leaf at which two logs part.

Proofs are made from a replica's tiles, a few of them, and believed only where they lead to a signed root; where the
tiles do not, the leaves are hashed instead (specs/auditing.md, AUDIT-22).
"""

from __future__ import annotations

from glasslog import merkle
from glasslog.audit.source import Source
from glasslog.errors import ProtocolError
from glasslog.merkle import HASH_BYTES, SubtreeHash, hash_leaves
from glasslog.tiles import Edge, HashReader, split_entries


def read_tiles(source: Source) -> HashReader:
    """Return a reader of subtree hashes out of a replica's tiles; a missing tile is one of the wrong length."""
    return HashReader(source.size, lambda level, index, width: source.tile(level, index, width) or b"")


def prove_prefix(source: Source, size: int, whole: int, root: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the root of the log's first ``size`` >= 1 leaves, and the proof from it to ``root`` at ``whole``.

    Raises:
        ProtocolError: TILE-nn or PROOF-nn; neither tiles nor leaves make that root.
    """
    try:
        return _prove(read_tiles(source).subtree_hash, size, whole, root)
    except (ProtocolError, ValueError):  # a reader asked beyond its size: the leaves say whether they are there
        return _prove(_hash_subtrees(source, size, whole), size, whole, root)


def _prove(subtree: SubtreeHash, size: int, whole: int, root: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    prefix, proof = subtree(0, size), tuple(merkle.consistency_proof(size, whole, subtree))
    merkle.verify_consistency(size, whole, proof, prefix, root)
    return prefix, proof


def _hash_subtrees(source: Source, size: int, whole: int) -> SubtreeHash:
    """Hash, in one pass over the leaves, the few subtrees that a proof from ``size`` to ``whole`` asks for.

    Runs that leave something out make other roots, which lead nowhere.
    """
    asked: list[tuple[int, int]] = [(0, size)]

    def ask(start: int, end: int) -> bytes:
        asked.append((start, end))
        return merkle.EMPTY_ROOT

    merkle.consistency_proof(size, whole, ask)
    edges = dict.fromkeys(asked, Edge.empty())
    for run in source.runs():
        if run.first_index >= whole:
            break
        hashes = hash_leaves(split_entries(run.bundle))
        end = run.first_index + len(hashes) // HASH_BYTES
        for low, high in asked:
            first, last = max(low, run.first_index), min(high, end)
            if first < last:
                part = hashes[(first - run.first_index) * HASH_BYTES : (last - run.first_index) * HASH_BYTES]
                edges[low, high] = edges[low, high].extend(part)[0]
    return lambda start, end: edges[start, end].root()


def first_difference(one: SubtreeHash, other: SubtreeHash, size: int) -> int | None:
    """Return the first of ``size`` leaves whose hashes differ, or None; asks each for about log2(size) hashes."""
    if size == 0 or one(0, size) == other(0, size):
        return None
    low, high = 0, size
    while high - low > 1:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if one(low, middle) != other(low, middle):
            high = middle
        else:
            low = middle
    return low
