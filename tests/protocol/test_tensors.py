"""Content roots, proofs of one tensor and lists of tensors: what an auditor needs, with no file read (K1, K3, K11)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog import codec, merkle
from glasslog.errors import DecodeError, ProofError, ProtocolError
from glasslog.tensors import (
    LIST_LABEL,
    PROOF_LABEL,
    TENSOR_DOMAIN,
    Tensor,
    TensorProof,
    content_root,
    decode_list,
    encode_list,
    prove_tensor,
    verify_tensor,
)

tensors = st.lists(
    st.builds(
        Tensor,
        st.text(st.characters(codec="utf-8"), max_size=12),
        st.sampled_from(["F32", "BF16", "I64"]),
        st.lists(st.integers(0, 1 << 40), max_size=4).map(tuple),
        st.binary(min_size=32, max_size=32),
    ),
    max_size=9,
    unique_by=lambda tensor: tensor.name,
)


@given(tensors, st.randoms())
def test_content_root_does_not_depend_on_the_order(many: list[Tensor], random: Any) -> None:
    root = content_root(many)
    random.shuffle(many)
    assert content_root(iter(many)) == root


@given(tensors.filter(bool), st.data())
def test_content_root_depends_on_every_field(many: list[Tensor], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(many) - 1))
    one = many[at]
    changed = [
        Tensor(one.name + "x", one.dtype, one.shape, one.content),
        Tensor(one.name, one.dtype + "x", one.shape, one.content),
        Tensor(one.name, one.dtype, (*one.shape, 1), one.content),
        Tensor(one.name, one.dtype, one.shape, sha256(one.content).digest()),
    ]
    names = {tensor.name for tensor in many}
    roots = [
        content_root([*many[:at], other, *many[at + 1 :]]) for other in changed if other.name not in names - {one.name}
    ]
    assert content_root(many) not in roots
    assert len(set(roots)) == len(roots)


def test_content_root_is_the_tree_over_records_sorted_by_name() -> None:
    b, a = Tensor("b", "F32", (2, 3), b"\x01" * 32), Tensor("a", "I64", (), b"\x02" * 32)
    records = [
        TENSOR_DOMAIN + codec.encode(["a", "I64", []]) + a.content,
        TENSOR_DOMAIN + codec.encode(["b", "F32", [2, 3]]) + b.content,
    ]
    assert content_root([b, a]) == merkle.root(b"".join(map(merkle.hash_leaf, records)))
    assert content_root([]) == merkle.EMPTY_ROOT
    assert (a.parameters, b.parameters) == (1, 6)


@pytest.mark.parametrize(
    "many",
    [
        [Tensor("a", "F32", (), bytes(32)), Tensor("a", "I64", (), bytes(32))],
        [Tensor("a", "F32", (), bytes(31))],
        [Tensor("a", "F32", (-1,), bytes(32))],
    ],
)
def test_content_root_refuses_what_is_no_model(many: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="tensor"):
        content_root(many)
    with pytest.raises(ValueError, match="tensor"):
        encode_list(many)


@given(tensors.filter(bool), st.data())
def test_every_tensor_is_proved_by_bytes_alone(many: list[Tensor], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(many))
    encoded = prove_tensor(many, one.name).encode()
    proof = TensorProof.decode(encoded)
    assert proof.tensor == one
    assert proof.encode() == encoded
    verify_tensor(proof, content_root(many))
    verify_tensor(proof, content_root(many), one.content)
    with pytest.raises(ProofError, match="WEIGHTS-02"):
        verify_tensor(proof, content_root(many), sha256(one.content).digest())


@given(tensors.filter(bool), st.data())
def test_no_altered_proof_verifies(many: list[Tensor], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(many))
    encoded = bytearray(prove_tensor(many, one.name).encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ProtocolError):
        verify_tensor(TensorProof.decode(bytes(encoded)), content_root(many))


def test_no_proof_of_what_is_not_there() -> None:
    with pytest.raises(KeyError):
        prove_tensor([Tensor("a", "F32", (), bytes(32))], "b")


def proof_value(**changed: codec.Value) -> list[codec.Value]:
    value: dict[str, codec.Value] = {
        "label": PROOF_LABEL,
        "name": "a",
        "dtype": "F32",
        "shape": [2, 3],
        "content": bytes(32),
        "index": 0,
        "size": 2,
        "path": bytes(32),
    }
    assert changed.keys() <= value.keys()
    return list((value | changed).values())


def test_the_value_that_is_bent_below_is_a_proof() -> None:
    assert TensorProof.decode(codec.encode(proof_value())).tensor.shape == (2, 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"label": "glasslog/tensor-proof/v2"}, {"name": b"a"}, {"dtype": 1}, {"shape": 3}, {"shape": [-1]},
        {"shape": [True]}, {"shape": ["2"]}, {"shape": [1] * 65}, {"content": bytes(31)}, {"content": "x" * 32},
        {"index": False}, {"size": True}, {"index": "0"}, {"path": bytes(31)}, {"path": bytes(32 * 64)}, {"path": []},
    ],
)  # fmt: skip
def test_what_is_no_proof_is_refused(changed: dict[str, codec.Value]) -> None:
    with pytest.raises(DecodeError, match="WEIGHTS-01"):
        TensorProof.decode(codec.encode(proof_value(**changed)))


@pytest.mark.parametrize("data", [b"", b"\x80", codec.encode(proof_value()) + b"\x00", codec.encode([PROOF_LABEL])])
def test_other_bytes_are_no_proof(data: bytes) -> None:
    with pytest.raises(DecodeError, match=r"WEIGHTS-01|CBOR-"):
        TensorProof.decode(data)


@pytest.mark.parametrize(("index", "size"), [(2, 2), (0, 0), (-1, 2), (0, 1), (0, 1 << 63)])
def test_place_outside_the_tree_does_not_verify(index: int, size: int) -> None:
    proof = TensorProof.decode(codec.encode(proof_value(index=index, size=size)))
    with pytest.raises(ProofError):
        verify_tensor(proof, bytes(32))


@given(tensors)
def test_list_survives_and_has_the_same_root(many: list[Tensor]) -> None:
    read = decode_list(encode_list(many))
    assert sorted(read, key=lambda one: one.name) == sorted(many, key=lambda one: one.name)
    assert content_root(read) == content_root(many)
    assert encode_list(read) == encode_list(many)


ROW: list[codec.Value] = ["a", "F32", [], bytes(32)]


@pytest.mark.parametrize(
    "value",
    [
        [], [LIST_LABEL], [LIST_LABEL, 1], ["x", [ROW]], [LIST_LABEL, [ROW, ROW]], [LIST_LABEL, [["b", *ROW[1:]], ROW]],
        [LIST_LABEL, [ROW[:3]]], [LIST_LABEL, ["a"]], [LIST_LABEL, [ROW], 1],
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(value: list[codec.Value]) -> None:
    with pytest.raises(DecodeError, match="WEIGHTS-03"):
        decode_list(codec.encode(value))
