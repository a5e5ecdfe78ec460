"""The tree over a data set's distinct records: a binary tree by the bits of their keys, without one-way nodes (D5).

A leaf is SHA-256(0x00 || key || count), the count 8 bytes; a node SHA-256(0x01 || depth || left || right), where
``depth``, one byte, is the first bit in which the keys below it differ: those with a 0 there are left. Read from left
to right the keys are sorted. A key's way down is fixed by the depths in the nodes and the key's own bits, so under one
root it ends in one leaf, whoever built the tree: a record is provably in it or provably not, never both.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple, TypeAlias

KEY_BYTES = 32
KEY_BITS = 256
EMPTY_TREE = sha256(b"").digest()

Subtree: TypeAlias = tuple[bytes, bytes]
"""Any key of those below it, and its hash."""

_leaf = sha256(b"\x00").copy
_NODES = tuple(sha256(bytes((1, depth))) for depth in range(KEY_BITS))


class Branch(NamedTuple):
    """One step of a path, from the root down: the depth of the node, and the hash of the side not taken."""

    depth: int
    sibling: bytes


def hash_entry(key: bytes, count: int) -> bytes:
    """Return the hash of a leaf: a key, and how many records have it."""
    state = _leaf()
    state.update(key + count.to_bytes(8, "big"))
    return state.digest()


def hash_node(depth: int, left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over the keys that agree up to bit ``depth``."""
    state = _NODES[depth].copy()
    state.update(left + right)
    return state.digest()


def bit_of(key: bytes, depth: int) -> int:
    """Return bit ``depth`` of a key, the first being the highest of its first byte."""
    return key[depth >> 3] >> (7 - (depth & 7)) & 1


def first_difference(one: bytes, other: bytes) -> int:
    """Return the first bit in which two keys differ; 256 where they are one key."""
    return KEY_BITS - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


def fold(subtrees: Iterable[Subtree]) -> bytes:
    """Return the hash over disjoint subtrees in ascending order of their keys, ``EMPTY_TREE`` over none.

    Takes them one at a time and holds a hash per level, so a tree of any size fits.

    Raises:
        ValueError: the keys do not ascend.
    """
    hashes: list[bytes] = []
    depths: list[int] = []  # one fewer: where each differs from the next
    last = 0
    for key, subtree in subtrees:
        number = int.from_bytes(key, "big")
        if hashes:
            if number <= last:
                raise ValueError("the keys do not ascend")
            depth = KEY_BITS - (number ^ last).bit_length()
            while depths and depths[-1] > depth:
                right = hashes.pop()
                hashes[-1] = hash_node(depths.pop(), hashes[-1], right)
            depths.append(depth)
        hashes.append(subtree)
        last = number
    while depths:
        right = hashes.pop()
        hashes[-1] = hash_node(depths.pop(), hashes[-1], right)
    return hashes[0] if hashes else EMPTY_TREE


def walk(subtrees: Sequence[Subtree], key: bytes) -> tuple[int, list[Branch]]:
    """Return where the way of ``key`` ends among subtrees in ascending order, and the branches it passes.

    Raises:
        ValueError: there is none to end in, or the keys do not ascend.
    """
    if not subtrees:
        raise ValueError("no way through an empty tree")
    low, high = 0, len(subtrees)
    branches: list[Branch] = []
    while high - low > 1:
        first = subtrees[low][0]
        depth = first_difference(first, subtrees[high - 1][0])
        if depth == KEY_BITS:
            raise ValueError("the keys do not ascend")
        number = int.from_bytes(first, "big") >> (KEY_BITS - depth - 1) | 1
        split = (number << (KEY_BITS - depth - 1)).to_bytes(KEY_BYTES, "big")
        middle = bisect_left(subtrees, split, low, high, key=lambda subtree: subtree[0])
        if not low < middle < high:
            raise ValueError("the keys do not ascend")
        if bit_of(key, depth):
            branches.append(Branch(depth, fold(subtrees[low:middle])))
            low = middle
        else:
            branches.append(Branch(depth, fold(subtrees[middle:high])))
            high = middle
    return low, branches


def climb(key: bytes, leaf: bytes, branches: Sequence[Branch]) -> bytes:
    """Return the root that a leaf leads to on the way of ``key``."""
    node = leaf
    for depth, sibling in reversed(branches):
        node = hash_node(depth, sibling, node) if bit_of(key, depth) else hash_node(depth, node, sibling)
    return node
