"""The RFC 9162 tree against its own definitions, a second verifier written from the RFC, and public vectors."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from glasslog import merkle
from glasslog.errors import ProofError
from vector_files import find_vectors

SIZE = 300
LEAVES = [sha256(b"\x00" + str(number).encode()).digest() for number in range(SIZE)]
LEAF_HASHES = b"".join(LEAVES)


def define_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 2.1.1, as it is written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + define_root(leaves[:k]) + define_root(leaves[k:])).digest()


def define_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m < k:
        return [*define_path(m, leaves[:k]), define_root(leaves[k:])]
    return [*define_path(m - k, leaves[k:]), define_root(leaves[:k])]


def define_subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [define_root(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m <= k:
        return [*define_subproof(m, leaves[:k], whole), define_root(leaves[k:])]
    return [*define_subproof(m - k, leaves[k:], False), define_root(leaves[:k])]


def is_consistent_by_the_rfc(first: int, second: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> bool:
    """The bitwise algorithm of RFC 9162 2.1.4.2, for 0 < first < second."""
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, root1)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    if not path:
        return False
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = merkle.hash_children(c, fr), merkle.hash_children(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = merkle.hash_children(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr == root1 and sr == root2 and sn == 0


def subtree_hash(start: int, end: int) -> bytes:
    return merkle.root(LEAF_HASHES[32 * start : 32 * end])


def subtrees(size: int) -> st.SearchStrategy[tuple[int, int]]:
    """Subtrees ``(start, end)`` of a tree of ``size`` leaves."""
    return st.integers(1, size).flatmap(
        lambda width: st.integers(0, (size - width) >> (width - 1).bit_length()).map(
            lambda place: (
                place << (width - 1).bit_length(),
                (place << (width - 1).bit_length()) + width,
            )
        )
    )


sizes = st.integers(1, SIZE)


def test_leaf_and_node_hashes_are_prefixed() -> None:
    assert merkle.hash_leaf(b"x") == sha256(b"\x00x").digest()
    assert merkle.hash_leaves([b"x", b""]) == sha256(b"\x00x").digest() + sha256(b"\x00").digest()
    assert merkle.hash_children(LEAVES[0], LEAVES[1]) == sha256(b"\x01" + LEAVES[0] + LEAVES[1]).digest()
    assert merkle.hash_pairs(LEAF_HASHES[:64]) == merkle.hash_children(LEAVES[0], LEAVES[1])


@given(st.integers(0, SIZE))
def test_root_is_the_rfcs(size: int) -> None:
    assert merkle.root(LEAF_HASHES[: 32 * size]) == define_root(LEAVES[:size])


def test_root_of_torn_hashes_is_our_bug() -> None:
    with pytest.raises(ValueError, match="32-byte"):
        merkle.root(bytes(33))


@given(sizes.flatmap(subtrees))
def test_compact_range_folds_to_the_root(subtree: tuple[int, int]) -> None:
    start, end = subtree
    assert merkle.is_subtree(start, end)
    nodes = merkle.compact_range(start, end)
    assert len(nodes) == (end - start).bit_count()
    assert [bound for level, index in nodes for bound in (index << level, (index + 1) << level)][::2] == [
        start,
        *[(index + 1) << level for level, index in nodes[:-1]],
    ]
    hashes = [subtree_hash(index << level, (index + 1) << level) for level, index in nodes]
    assert merkle.fold_compact_range(hashes) == define_root(LEAVES[start:end])


def test_compact_range_of_nothing_is_the_empty_root() -> None:
    assert merkle.fold_compact_range([]) == merkle.EMPTY_ROOT == define_root([])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_proofs_are_the_rfcs(size: int) -> None:
    for index in range(size):
        assert merkle.inclusion_proof(index, size, subtree_hash) == define_path(index, LEAVES[:size])
    for first in range(1, size + 1):
        assert merkle.consistency_proof(first, size, subtree_hash) == define_subproof(first, LEAVES[:size], True)


@given(sizes, st.data())
def test_inclusion_proof_verifies_and_mutated_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, subtree_hash)
    root = subtree_hash(0, size)
    merkle.verify_inclusion(index, size, LEAVES[index], proof, root)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(index, size, LEAVES[index], data.draw(mutations(proof)), root)
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(other, size, LEAVES[index], proof, root)
    with pytest.raises(ProofError):
        merkle.verify_inclusion(index, size, flip(LEAVES[index], 0), proof, root)


@given(sizes, sizes, st.data())
def test_consistency_proof_verifies_and_mutated_fails(size1: int, size2: int, data: st.DataObject) -> None:
    size1, size2 = sorted((size1, size2))
    proof = merkle.consistency_proof(size1, size2, subtree_hash)
    root1, root2 = subtree_hash(0, size1), subtree_hash(0, size2)
    merkle.verify_consistency(size1, size2, proof, root1, root2)
    with pytest.raises(ProofError):
        merkle.verify_consistency(size1, size2, data.draw(mutations(proof)), root1, root2)
    with pytest.raises(ProofError):
        merkle.verify_consistency(size1, size2, proof, flip(root1, 3), root2)
    with pytest.raises(ProofError):
        merkle.verify_consistency(size1, size2, proof, root1, flip(root2, 3))


@given(st.integers(1, 24), st.integers(1, 24), st.data())
def test_consistency_verdict_is_the_bitwise_algorithms(size1: int, size2: int, data: st.DataObject) -> None:
    assume(size1 < size2)
    claimed1 = data.draw(st.integers(1, size1))
    proof = merkle.consistency_proof(claimed1, size2, subtree_hash)
    proof = data.draw(st.one_of(st.just(proof), mutations(proof)))
    roots = subtree_hash(0, size1), subtree_hash(0, size2)
    try:
        merkle.verify_consistency(size1, size2, proof, *roots)
        verdict = True
    except ProofError:
        verdict = False
    assert verdict == is_consistent_by_the_rfc(size1, size2, proof, *roots)


@given(sizes, st.data())
def test_subtree_proofs_verify_and_mutated_fail(size: int, data: st.DataObject) -> None:
    start, end = data.draw(subtrees(size))
    root, part = subtree_hash(0, size), subtree_hash(start, end)
    proof = merkle.subtree_consistency_proof(start, end, size, subtree_hash)
    merkle.verify_subtree_consistency(start, end, size, proof, part, root)
    with pytest.raises(ProofError):
        merkle.verify_subtree_consistency(start, end, size, data.draw(mutations(proof)), part, root)
    index = data.draw(st.integers(start, end - 1))
    path = merkle.subtree_inclusion_proof(index, start, end, subtree_hash)
    merkle.verify_subtree_inclusion(index, start, end, LEAVES[index], path, part)
    with pytest.raises(ProofError):
        merkle.verify_subtree_inclusion(index, start, end, LEAVES[index], data.draw(mutations(path)), part)


def test_proofs_of_the_largest_tree_have_bounded_length() -> None:
    size = merkle.SIZE_MAX
    assert len(merkle.inclusion_proof(0, size, lambda _low, _high: bytes(32))) == 63
    assert len(merkle.consistency_proof(size - 2, size, lambda _low, _high: bytes(32))) <= 64
    with pytest.raises(ProofError, match="PROOF-01"):
        merkle.verify_inclusion(0, size + 1, bytes(32), [], bytes(32))
    with pytest.raises(ProofError, match="PROOF-01"):
        merkle.verify_consistency(1, size + 1, [], bytes(32), bytes(32))


@pytest.mark.parametrize(("start", "end"), [(1, 3), (2, 1), (3, 3), (-2, 0), (4, 9)])
def test_subtree_misaligned_is_refused(start: int, end: int) -> None:
    assert not merkle.is_subtree(start, end)
    with pytest.raises(ValueError, match="subtree"):
        merkle.subtree_consistency_proof(start, end, SIZE, subtree_hash)
    with pytest.raises(ValueError, match="subtree"):
        merkle.subtree_inclusion_proof(start, start, end, subtree_hash)
    with pytest.raises(ProofError, match="PROOF-01"):
        merkle.verify_subtree_inclusion(start, start, end, LEAVES[0], [], LEAVES[0])


def test_empty_tree_proves_only_itself() -> None:
    merkle.verify_consistency(0, 0, [], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT)
    for size2, proof, root1, root2 in (
        (0, [LEAVES[0]], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT),
        (0, [], LEAVES[0], merkle.EMPTY_ROOT),
        (0, [], merkle.EMPTY_ROOT, LEAVES[0]),
        (1, [], merkle.EMPTY_ROOT, LEAVES[0]),
    ):
        with pytest.raises(ProofError):
            merkle.verify_consistency(0, size2, proof, root1, root2)


def test_hashes_of_other_lengths_cannot_share_a_node_out_anew() -> None:
    """Cut elsewhere, the same 64 bytes hash to the same parent: only the lengths give it away."""
    left, right = LEAVES[:2]
    root = merkle.hash_children(left, right)
    merkle.verify_consistency(1, 2, [right], left, root)
    merkle.verify_inclusion(0, 2, left, [right], root)
    with pytest.raises(ProofError, match="PROOF-02"):
        merkle.verify_consistency(1, 2, [right[16:]], left + right[:16], root)
    with pytest.raises(ProofError, match="PROOF-02"):
        merkle.verify_inclusion(0, 2, left + right[:16], [right[16:]], root)


# --- public vectors -------------------------------------------------------------------------------


def unpack(value: str | None) -> bytes:
    return b64decode(value or "")


def judge(kind: str, case: dict[str, Any]) -> bool:
    """Whether our verifier accepts a case of transparency-dev/merkle."""
    proof = [unpack(value) for value in case["proof"] or []]
    try:
        match kind:
            case "inclusion":
                merkle.verify_inclusion(
                    case["leafIdx"], case["treeSize"], unpack(case["leafHash"]), proof, unpack(case["root"])
                )
            case "consistency":
                merkle.verify_consistency(
                    case["size1"], case["size2"], proof, unpack(case["root1"]), unpack(case["root2"])
                )
            case "subtreeinclusion":
                subtree = case["leafIdx"], case["start"], case["end"]
                merkle.verify_subtree_inclusion(*subtree, unpack(case["leafHash"]), proof, unpack(case["root"]))
            case _:
                subtree = case["start"], case["end"], case["size"]
                merkle.verify_subtree_consistency(*subtree, proof, unpack(case["root1"]), unpack(case["root2"]))
    except ProofError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "count"), [("inclusion", 98), ("consistency", 98), ("subtreeinclusion", 204), ("subtreeconsistency", 118)]
)
def test_vectors_of_transparency_dev_agree(kind: str, count: int) -> None:
    folder = find_vectors("transparency-dev-merkle") / "testdata" / kind
    cases = {str(path): json.loads(path.read_text()) for path in folder.rglob("*.json")}
    assert len(cases) == count
    wrong = [path for path, case in cases.items() if judge(kind, case) == case["wantErr"]]
    assert not wrong


# --- mutations ------------------------------------------------------------------------------------


def flip(value: bytes, bit: int) -> bytes:
    at = bit // 8 % len(value)
    return value[:at] + bytes((value[at] ^ 1 << bit % 8,)) + value[at + 1 :]


@st.composite
def mutations(draw: st.DrawFn, proof: list[bytes]) -> list[bytes]:
    """Another proof: one bit flipped, one hash lost, doubled, swapped, cut short or added."""
    if not proof:
        return [draw(st.sampled_from(LEAVES))]
    place = draw(st.integers(0, len(proof) - 1))
    before, value, after = proof[:place], proof[place], proof[place + 1 :]
    return draw(
        st.sampled_from(
            [
                [*before, flip(value, draw(st.integers(0, 255))), *after],
                [*before, *after],
                [*before, value, value, *after],
                [*before, value[:-1], *after],
                [*before, value + b"\x00", *after],
                [*proof, LEAVES[0]],
                [LEAVES[0], *proof],
            ]
        )
    )
