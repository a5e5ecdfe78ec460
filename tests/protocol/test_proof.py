"""tlog-proofs: one spelling, and verification from leaf to quorum."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog import merkle, tiles
from glasslog.errors import DecodeError, ProofError, ProtocolError
from glasslog.policy import Policy
from glasslog.proof import TlogProof
from small_log import SmallLog, make_checkpoint, make_policy, make_validators
from vector_files import find_vectors

LOG = SmallLog()
LOG.append([f"entry {number}".encode() for number in range(300)])
CHECKPOINT = make_checkpoint(LOG.checkpoint, make_validators(4)[:3])
POLICY = make_policy(4)
PROOF = TlogProof(123, tuple(LOG.reader.inclusion_proof(123)), CHECKPOINT)
LEAF_HASH = merkle.hash_leaf(b"entry 123")


def test_proof_of_the_demo_verifies() -> None:
    folder = find_vectors("derived-demo")
    data = (folder / "entry3.tlog-proof").read_bytes()
    proof = TlogProof.parse(data)
    assert proof.format() == data
    entries = tiles.split_entries((folder / "tile/entries/000.p/5").read_bytes())
    policy = Policy.parse((folder / "tlog-policy").read_bytes())
    assert proof.verify(merkle.hash_leaf(entries[3]), policy).counted == 4
    with pytest.raises(ProofError, match="PROOF-03"):
        proof.verify(merkle.hash_leaf(entries[2]), policy)


@given(
    st.integers(0, (1 << 63) - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.one_of(st.none(), st.binary(min_size=1, max_size=60)),
)
def test_proof_round_trips(index: int, path: list[bytes], extra: bytes | None) -> None:
    proof = TlogProof(index, tuple(path), CHECKPOINT, extra)
    assert TlogProof.parse(proof.format()) == proof


@pytest.mark.parametrize("index", [0, 1, 123, 255, 256, 299])
@pytest.mark.parametrize("strict", [False, True])
def test_proof_of_any_entry_verifies(index: int, strict: bool) -> None:
    proof = TlogProof(index, tuple(LOG.reader.inclusion_proof(index)), CHECKPOINT)
    evaluation = proof.verify(merkle.hash_leaf(LOG.entries[index]), POLICY, strict=strict)
    assert (evaluation.counted, evaluation.needed) == (3, 3)


def test_proof_mutated_fails() -> None:
    wrong = [
        replace(PROOF, index=122),
        replace(PROOF, index=300),
        replace(PROOF, path=PROOF.path[:-1]),
        replace(PROOF, path=(*PROOF.path, bytes(32))),
        replace(PROOF, path=PROOF.path[::-1]),
        replace(PROOF, checkpoint=make_checkpoint(LOG.checkpoint, make_validators(2))),
    ]
    for proof in wrong:
        with pytest.raises(ProofError):
            proof.verify(LEAF_HASH, POLICY, strict=True)
    with pytest.raises(ProofError):
        PROOF.verify(merkle.hash_leaf(b"entry 124"), POLICY)


DATA = PROOF.format()


@settings(max_examples=300)
@given(st.integers(0, len(DATA) - 1), st.integers(0, 7))
def test_any_bit_flipped_fails_if_strict(place: int, bit: int) -> None:
    flipped = DATA[:place] + bytes((DATA[place] ^ 1 << bit,)) + DATA[place + 1 :]
    with pytest.raises(ProtocolError):
        TlogProof.parse(flipped).verify(LEAF_HASH, POLICY, strict=True)


def test_a_bit_of_every_byte_of_index_and_path_flipped_fails() -> None:
    for place in range(DATA.index(b"\n\n") + 2):
        flipped = DATA[:place] + bytes((DATA[place] ^ 1 << place % 8,)) + DATA[place + 1 :]
        with pytest.raises(ProtocolError):
            TlogProof.parse(flipped).verify(LEAF_HASH, POLICY, strict=True)


def test_extra_is_carried_and_proves_nothing() -> None:
    proof = TlogProof.parse(replace(PROOF, extra=b"anything").format())
    assert proof.extra == b"anything"
    assert proof.verify(LEAF_HASH, POLICY).satisfied


HASH_LINE = "A" * 43 + "=\n"


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ("", "PROOF-04"),
        ("c2sp.org/tlog-proof@v2\nindex 0\n", "PROOF-04"),
        ("c2sp.org/tlog-proof@v1 \nindex 0\n", "PROOF-04"),
        ("c2sp.org/tlog-proof@v1\nindex \u0661\n", "PROOF-04"),
        ("c2sp.org/tlog-proof@v1\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nindex\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nindex 01\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nindex -1\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nindex 0 \n", "PROOF-05"),
        (f"c2sp.org/tlog-proof@v1\nindex {1 << 63}\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nextra AAAA\nextra AAAA\nindex 0\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nextra \nindex 0\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nextra AAB=\nindex 0\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n", "PROOF-05"),
        (f"c2sp.org/tlog-proof@v1\nindex 0\n{'A' * 42}B=\n", "PROOF-05"),
        ("c2sp.org/tlog-proof@v1\nindex 0\n" + 64 * HASH_LINE, "PROOF-05"),
    ],
)
def test_proof_malformed_is_refused(head: str, code: str) -> None:
    with pytest.raises(DecodeError, match=code):
        TlogProof.parse(head.encode() + b"\n" + CHECKPOINT)


def test_proof_too_long_or_without_checkpoint_is_refused() -> None:
    for data in (DATA + bytes(2_000_000), DATA[: DATA.index(b"\n\n") + 1]):
        with pytest.raises(DecodeError, match="PROOF-04"):
            TlogProof.parse(data)


def test_extra_of_no_bytes_is_our_bug() -> None:
    with pytest.raises(ValueError, match="at least a byte"):
        replace(PROOF, extra=b"").format()
