"""Records of a data set: what is there is proved in, and nothing both in and out (specs/datasets.md)."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog import codec, merkle
from glasslog.errors import DecodeError, ProofError
from glasslog.records import (
    BUCKETS,
    EMPTY_TREE,
    Blinding,
    Branch,
    BucketOpening,
    Exclusion,
    Inclusion,
    Placement,
    RecordProof,
    decode_proof,
    encode_proof,
    fold,
    hash_entry,
    order_root,
    record_digest,
    records_root,
    sample_content,
    start_record,
    verify_proof,
    walk,
)
from glasslog.records.tree import bit_of, first_difference, hash_node

BLINDING = Blinding(bytes(range(32)))
MODES = (None, BLINDING)
EACH_MODE = pytest.mark.parametrize("blinding", MODES, ids=["plain", "blinded"])

# Keys that share long beginnings, which random digests never do.
close_keys = st.builds(
    lambda head, at, tail: (head * 32)[:at] + tail + bytes(32 - at - len(tail)),
    st.sampled_from([b"\x00", b"\xff", b"\xa5"]),
    st.integers(0, 28),
    st.binary(min_size=1, max_size=4),
)
key_sets = st.lists(close_keys | st.binary(min_size=32, max_size=32), max_size=40)


class Made:
    """A data set in memory, and the proofs an honest lab makes of it."""

    def __init__(self, digests: Sequence[bytes], blinding: Blinding | None = None) -> None:
        self.blinding = blinding
        self.order = [self.key(digest) for digest in digests]
        self.entries = sorted(Counter(self.order).items())
        self.subtrees = [(key, hash_entry(key, count)) for key, count in self.entries]
        self.keys_root = None if blinding is None else blinding.keys_root()
        self.tree = fold(self.subtrees)
        self.root = records_root(self.keys_root, len(self.entries), len(self.order), self.tree)
        self.order_tree = merkle.root(merkle.hash_leaves(self.order))
        self.order_root = order_root(self.keys_root, len(self.order), self.order_tree)

    def key(self, digest: bytes) -> bytes:
        return digest if self.blinding is None else self.blinding.blind(digest)

    def opening(self, digest: bytes) -> BucketOpening | None:
        return None if self.blinding is None else self.blinding.open_bucket(digest)

    def prove(self, digest: bytes) -> Inclusion | Exclusion:
        opening, sizes = self.opening(digest), (len(self.entries), len(self.order))
        if not self.entries:
            return Exclusion(opening, *sizes, None, ())
        place, branches = walk(self.subtrees, self.key(digest))
        key, count = self.entries[place]
        if key == self.key(digest):
            return Inclusion(opening, *sizes, count, tuple(branches))
        return Exclusion(opening, *sizes, (key, count), tuple(branches))

    def place(self, place: int, digest: bytes) -> Placement:
        hashes = merkle.hash_leaves(self.order)
        path = merkle.inclusion_proof(
            place, len(self.order), lambda low, high: merkle.root(hashes[32 * low : 32 * high])
        )
        return Placement(self.opening(digest), len(self.order), place, self.order_tree, b"".join(path))


def digests(count: int, word: str = "record") -> list[bytes]:
    return [record_digest("bytes", f"{word} {number}".encode()) for number in range(count)]


def refused(proof: RecordProof, digest: bytes, root: bytes) -> str:
    with pytest.raises(ProofError) as caught:
        verify_proof(proof, digest, root)
    return caught.value.code


def test_digest_of_a_record_is_of_domain_kind_and_content() -> None:
    assert record_digest("json", b"{}") == sha256(b"glasslog/record/v1\x00json\x00{}").digest()
    assert len({record_digest(kind, b"{}") for kind in ("bytes", "json", "typed", "sample")}) == 4
    with pytest.raises(ValueError, match="no kind"):
        start_record("jso")


def test_sample_is_its_parts_by_name_whatever_their_order() -> None:
    one, other = {"jpg": b"\x01" * 32, "cls": b"\x02" * 32}, {"cls": b"\x02" * 32, "jpg": b"\x01" * 32}
    assert sample_content(one) == sample_content(other)
    assert codec.decode(sample_content(one), size_max=100) == [["cls", b"\x02" * 32], ["jpg", b"\x01" * 32]]


def test_key_of_a_blinded_record_is_an_hmac_of_a_bucket_of_its_own() -> None:
    digest = b"\x12\x34" + bytes(30)
    key = hmac.digest(BLINDING.secret, b"glasslog/record-bucket/v1\x00\x12\x34", "sha256")
    assert BLINDING.keys[0x1234] == key
    assert BLINDING.blind(digest) == hmac.digest(key, digest, "sha256")
    assert len(BLINDING.keys) == BUCKETS
    assert BLINDING.open_bucket(digest).root_for(digest) == BLINDING.keys_root()
    assert BLINDING.secret.hex() not in repr(BLINDING)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_secret_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Blinding(bytes(size))


@settings(max_examples=150)
@given(key_sets, st.lists(close_keys, max_size=5))
def test_every_record_is_proved_and_every_other_disproved(records: list[bytes], others: list[bytes]) -> None:
    made = Made(records)
    for digest in {*records, *others}:
        proof = made.prove(digest)
        assert isinstance(proof, Inclusion) == (digest in records)
        if isinstance(proof, Inclusion):
            assert proof.count == records.count(digest)
        assert decode_proof(encode_proof(proof)) == proof
        verify_proof(proof, digest, made.root)


@EACH_MODE
@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 257])
def test_sets_of_every_size_are_proved(count: int, blinding: Blinding | None) -> None:
    records = digests(count)
    made = Made(records, blinding)
    for place in range(0, count, 1 + count // 20):
        assert isinstance(made.prove(records[place]), Inclusion)
        verify_proof(made.prove(records[place]), records[place], made.root)
        verify_proof(made.place(place, records[place]), records[place], made.order_root)
        assert refused(made.place(place, records[place]), digests(1, "else")[0], made.order_root) == "DATA-03"
    stranger = digests(1, "stranger")[0]
    assert isinstance(made.prove(stranger), Exclusion)
    verify_proof(made.prove(stranger), stranger, made.root)


@settings(max_examples=100)
@given(key_sets.filter(bool), st.randoms(use_true_random=False))
def test_tree_is_the_same_in_any_order_and_in_parts(keys: list[bytes], random: object) -> None:
    """Subtrees by the first bits, folded again, give the whole: an index needs to read only one of them for a proof."""
    made = Made(keys)
    for bits in (1, 3, 8):
        parts: dict[int, list[tuple[bytes, bytes]]] = {}
        for key, leaf in made.subtrees:
            parts.setdefault(int.from_bytes(key, "big") >> (256 - bits), []).append((key, leaf))
        tops = [(part[0][0], fold(part)) for _, part in sorted(parts.items())]
        assert fold(tops) == made.tree
        for key, _ in made.subtrees:
            top, above = walk(tops, key)
            part = [part for _, part in sorted(parts.items())][top]
            place, below = walk(part, key)
            assert part[place][0] == key
            assert (made.subtrees[walk(made.subtrees, key)[0]][0], [*above, *below]) == (
                key,
                walk(made.subtrees, key)[1],
            )


def fold_by_definition(subtrees: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The tree as its definition says it: split at the first bit in which any two keys differ."""
    if not subtrees:
        return EMPTY_TREE
    if len(subtrees) == 1:
        return subtrees[0][1]
    depth = next(bit for bit in range(256) if len({bit_of(key, bit) for key, _ in subtrees}) == 2)
    left, right = ([one for one in subtrees if bit_of(one[0], depth) == side] for side in (0, 1))
    return hash_node(depth, fold_by_definition(left), fold_by_definition(right))


@given(key_sets)
def test_fold_is_the_tree_of_the_definition(keys: list[bytes]) -> None:
    subtrees = Made(keys).subtrees
    assert fold(subtrees) == fold_by_definition(subtrees)


def test_hashes_are_those_of_the_specification() -> None:
    one, two = bytes(32), b"\x00" * 31 + b"\x01"
    leaf = sha256(b"\x00" + one + (3).to_bytes(8, "big")).digest()
    assert hash_entry(one, 3) == leaf
    assert first_difference(one, two) == 255
    assert first_difference(one, one) == 256
    other = hash_entry(two, 1)
    node = sha256(b"\x01\xff" + leaf + other).digest()
    assert fold([(one, leaf), (two, other)]) == node
    expected = sha256(codec.encode(["glasslog/records/v1", None, 2, 4, node])).digest()
    assert records_root(None, 2, 4, node) == expected
    assert order_root(None, 4, node) == sha256(codec.encode(["glasslog/record-order/v1", None, 4, node])).digest()


def test_keys_that_do_not_ascend_make_no_tree() -> None:
    leaves = [(key, hash_entry(key, 1)) for key in (b"\x02" * 32, b"\x01" * 32)]
    for wrong in (leaves, [leaves[0], leaves[0]]):
        with pytest.raises(ValueError, match="ascend"):
            fold(wrong)
    with pytest.raises(ValueError, match="empty"):
        walk([], bytes(32))


# --- what a proof cannot do -----------------------------------------------------------------------


@EACH_MODE
def test_any_changed_byte_of_a_proof_makes_it_fail(blinding: Blinding | None) -> None:
    records = [*digests(9), digests(1)[0]]
    made, stranger = Made(records, blinding), digests(1, "stranger")[0]
    empty = Made([], blinding)
    cases: list[tuple[RecordProof, bytes, bytes]] = [
        (made.prove(records[0]), records[0], made.root),
        (made.prove(stranger), stranger, made.root),
        (made.place(4, records[4]), records[4], made.order_root),
        (empty.prove(stranger), stranger, empty.root),
    ]
    for proof, digest, root in cases:
        data = encode_proof(proof)
        verify_proof(decode_proof(data), digest, root)
        for at in range(len(data)):
            for change in (0x01, 0x80, 0xFF):
                changed = bytearray(data)
                changed[at] ^= change
                with pytest.raises((ProofError, DecodeError)) as caught:
                    verify_proof(decode_proof(bytes(changed)), digest, root)
                assert caught.value.code.startswith("DATA-0")


@EACH_MODE
def test_proof_of_one_data_set_or_record_holds_for_no_other(blinding: Blinding | None) -> None:
    one, two = Made(digests(8), blinding), Made(digests(9), blinding)
    inside, outside = digests(1)[0], digests(1, "else")[0]
    for digest in (inside, outside):
        assert refused(one.prove(digest), digest, two.root) == "DATA-03"
    assert refused(one.prove(inside), outside, one.root) in {"DATA-03", "DATA-05"}
    assert refused(one.prove(outside), inside, one.root) in {"DATA-03", "DATA-05"}
    assert refused(one.place(0, inside), inside, one.root) == "DATA-03"


def test_another_secret_than_the_committed_proves_no_absence() -> None:
    """A lab that could choose the secret when asked would choose one under which the record is somewhere else."""
    made = Made(digests(8), BLINDING)
    inside = digests(1)[0]
    liar = Made(digests(8), BLINDING)
    liar.blinding = Blinding(b"\x07" * 32)
    proof = liar.prove(inside)
    assert isinstance(proof, Exclusion)
    assert refused(proof, inside, made.root) == "DATA-03"
    assert refused(replace(proof, opening=None), inside, made.root) in {"DATA-03", "DATA-05"}
    assert refused(replace(proof, opening=made.opening(inside)), inside, made.root) in {"DATA-03", "DATA-05"}


class Lie(Made):
    """Made by somebody who wants to deny a record that is in it: leaves out of order, twice, or behind odd nodes."""

    def __init__(self, subtrees: Sequence[tuple[bytes, int]], shape: Sequence[int]) -> None:
        super().__init__([])
        self.leaves = list(subtrees)
        self.shape = list(shape)
        self.paths: list[tuple[bytes, int, tuple[Branch, ...]]] = []
        total = sum(count for _, count in subtrees)
        tree = self._build(self.leaves, ())
        self.root = records_root(None, len(subtrees), total, tree)
        self.sizes = (len(subtrees), total)
        self.paths = self._fill(self.leaves, (), 0)

    def _cut(self, leaves: Sequence[tuple[bytes, int]], level: int) -> tuple[int, int]:
        """Where to cut, and which depth to write on the node: whatever the liar likes."""
        choice = self.shape[level % len(self.shape)]
        return 1 + choice % (len(leaves) - 1), (choice * 7 + level * 31) % 256

    def _build(self, leaves: Sequence[tuple[bytes, int]], _path: object, level: int = 0) -> bytes:
        if len(leaves) == 1:
            return hash_entry(*leaves[0])
        cut, depth = self._cut(leaves, level)
        left, right = self._build(leaves[:cut], (), level + 1), self._build(leaves[cut:], (), level + 1)
        return hash_node(depth, left, right)

    def _fill(
        self, leaves: Sequence[tuple[bytes, int]], path: tuple[Branch, ...], level: int
    ) -> list[tuple[bytes, int, tuple[Branch, ...]]]:
        if len(leaves) == 1:
            return [(*leaves[0], path)]
        cut, depth = self._cut(leaves, level)
        left, right = self._build(leaves[:cut], (), level + 1), self._build(leaves[cut:], (), level + 1)
        return [
            *self._fill(leaves[:cut], (*path, Branch(depth, right)), level + 1),
            *self._fill(leaves[cut:], (*path, Branch(depth, left)), level + 1),
        ]


@settings(max_examples=300)
@given(
    st.lists(st.tuples(close_keys, st.integers(1, 3)), min_size=1, max_size=12),
    st.lists(st.integers(0, 1 << 16), min_size=1, max_size=8),
    close_keys,
)
def test_dishonest_builder_cannot_prove_a_record_both_in_and_out(
    leaves: list[tuple[bytes, int]], shape: list[int], stranger: bytes
) -> None:
    """Every leaf of a tree of any shape, order and depths is tried as the end of every record's way."""
    lie = Lie(leaves, shape)
    for digest in {stranger, *[key for key, _ in leaves]}:
        answers = set[str]()
        for key, count, branches in lie.paths:
            claims: list[RecordProof] = [
                Inclusion(None, *lie.sizes, count, branches),
                Exclusion(None, *lie.sizes, (key, count), branches),
            ]
            for claim in claims:
                try:
                    verify_proof(claim, digest, lie.root)
                except ProofError:
                    continue
                answers.add(type(claim).__name__)
        assert len(answers) <= 1


def test_plain_sorted_tree_could_lie_where_this_one_cannot() -> None:
    """Why the leaves are not simply an RFC 9162 tree in sorted order: a leaf out of order denies itself there."""
    a, b, hidden = b"\x01" * 32, b"\x03" * 32, b"\x02" * 32
    rfc = merkle.root(merkle.hash_leaves([a, b, hidden]))  # "sorted", says whoever made it
    hashes = merkle.hash_leaves([a, b, hidden])
    for place, key in enumerate((a, b)):  # two neighbours around the hidden one: an exclusion by adjacency, accepted
        path = merkle.inclusion_proof(place, 3, lambda low, high: merkle.root(hashes[32 * low : 32 * high]))
        merkle.verify_inclusion(place, 3, merkle.hash_leaf(key), path, rfc)
    assert a < hidden < b


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"distinct": 0}, "DATA-02"),
        ({"distinct": 11}, "DATA-02"),
        ({"total": 1 << 63}, "DATA-02"),
        ({"count": 0}, "DATA-02"),
        ({"count": 4}, "DATA-02"),
        ({"branches": (Branch(3, bytes(32)), Branch(3, bytes(32)))}, "DATA-02"),
        ({"branches": (Branch(256, bytes(32)),)}, "DATA-02"),
        ({"branches": (Branch(0, bytes(31)),)}, "DATA-02"),
        ({"branches": tuple(Branch(depth, bytes(32)) for depth in range(8))}, "DATA-02"),
        ({"opening": BucketOpening(bytes(31), bytes(512))}, "DATA-02"),
        ({"opening": BucketOpening(bytes(32), bytes(511))}, "DATA-02"),
        ({"branches": ()}, "DATA-03"),
    ],
)
def test_impossible_numbers_are_refused(change: dict[str, object], code: str) -> None:
    made = Made([*digests(8), *digests(2)])
    proof = made.prove(digests(1)[0])
    assert refused(replace(proof, **change), digests(1)[0], made.root) == code  # type: ignore[arg-type]  # any field


def test_misplaced_leaf_and_a_denial_by_the_record_itself_are_named() -> None:
    made, inside = Made(digests(8)), digests(1)[0]
    proof = made.prove(inside)
    assert isinstance(proof, Inclusion)
    denial = Exclusion(None, proof.distinct, proof.total, (inside, proof.count), proof.branches)
    assert refused(denial, inside, made.root) == "DATA-04"
    away = bytes((inside[0] ^ 0xFF,)) + inside[1:]
    deep = Exclusion(None, 8, 8, (away, 1), (Branch(0, bytes(32)),))
    assert refused(deep, inside, made.root) == "DATA-05"
    hollow = Exclusion(None, 0, 0, None, (Branch(0, bytes(32)),))
    assert refused(hollow, inside, made.root) == "DATA-02"
    assert refused(proof, inside[:31], made.root) == "DATA-02"
    assert refused(proof, inside, made.root + b"\x00") == "DATA-02"


@pytest.mark.parametrize(("change", "code"), [({"place": 8}, "DATA-02"), ({"path": bytes(33)}, "DATA-02"),
                                              ({"path": b""}, "DATA-02"), ({"path": bytes(96)}, "DATA-03"),
                                              ({"place": 1}, "DATA-03")])  # fmt: skip
def test_impossible_places_are_refused(change: dict[str, object], code: str) -> None:
    made, first = Made(digests(8)), digests(1)[0]
    assert refused(replace(made.place(0, first), **change), first, made.order_root) == code  # type: ignore[arg-type]  # any field


@given(st.binary(max_size=200))
def test_any_bytes_are_a_proof_or_refused_by_code(data: bytes) -> None:
    try:
        proof = decode_proof(data)
    except DecodeError as error:
        assert error.code == "DATA-01"  # noqa: PT017  either is fine: refused by its code, or read
        return
    assert encode_proof(proof) == data


@pytest.mark.parametrize(
    "value",
    [
        ["glasslog/record-proof/v2", None, 0, 1, 1, 1, b""],
        ["glasslog/record-proof/v1", None, 3, 1, 1, 1, b""],
        ["glasslog/record-proof/v1", None, 0, 1, 1, 1, b"", 0],
        ["glasslog/record-proof/v1", None, 0, 1, 1, 1, b"x"],
        ["glasslog/record-proof/v1", [bytes(32)], 0, 1, 1, 1, b""],
        ["glasslog/record-proof/v1", [bytes(32), bytes(512), 1], 0, 1, 1, 1, b""],
        ["glasslog/record-proof/v1", None, 1, 1, 1, [bytes(32)], b""],
        ["glasslog/record-proof/v1", None, 1, 1, 1, [bytes(32), 1, 1], b""],
        ["glasslog/record-proof/v1", None, 2, 1, 0, bytes(31), b""],
        ["glasslog/record-proof/v1", None, 0, 1, 1, 1, bytes(33 * 257)],
        {},
    ],
)
def test_other_forms_are_refused(value: codec.Value) -> None:
    with pytest.raises(DecodeError, match=r"DATA-01 not a record proof: "):
        decode_proof(codec.encode(value))
