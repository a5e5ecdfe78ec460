from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog import codec, merkle
from glasslog.agreement.evidence import Evidence, Fault, decode_evidence
from glasslog.errors import DecodeError
from glasslog.limits import HEADER_LEAF_BYTES_MAX, SUBJECTS_MAX
from glasslog.predicates.evidence import EVIDENCE_TYPE, evidence_statement, read_evidence
from glasslog.predicates.weights import (
    CONTENT_ROOT,
    TENSOR_DOMAIN,
    Tensor,
    WeightsFile,
    content_root,
    tensor_content,
    weights_statement,
)
from glasslog.statement import decode_statement, encode_statement, from_json, to_json

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


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_tensor_content_does_not_depend_on_the_parts(parts: list[bytes]) -> None:
    assert tensor_content(parts) == sha256(b"".join(parts)).digest()


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


def test_weights_statement_names_model_and_files() -> None:
    many = [Tensor("w", "F32", (2, 3), b"\x01" * 32), Tensor("b", "F32", (3,), b"\x02" * 32)]
    files = [WeightsFile("b.safetensors", 7, b"\x04" * 32), WeightsFile("a.safetensors", 5, b"\x03" * 32)]
    statement: Any = weights_statement("model", "safetensors", many, files)
    assert decode_statement(encode_statement(statement)) == statement
    assert from_json(to_json(statement)) == statement
    root = content_root(many)
    assert [subject["name"] for subject in statement["subject"]] == ["model", "a.safetensors", "b.safetensors"]
    assert statement["subject"][0]["digest"] == {CONTENT_ROOT: root}
    predicate = statement["predicate"]
    assert (predicate["tensors"], predicate["parameters"], predicate["format"]) == (2, 9, "safetensors")
    assert predicate["files"][0] == {"name": "a.safetensors", "bytes": 5, "digest": {"sha256": b"\x03" * 32}}
    assert predicate["content"]["digest"] == {CONTENT_ROOT: root}


def test_weights_statement_of_the_same_tensors_in_other_files_has_the_same_root() -> None:
    many = [Tensor("w", "F32", (2, 3), b"\x01" * 32), Tensor("b", "F32", (3,), b"\x02" * 32)]
    one: Any = weights_statement("model", "safetensors", many, [WeightsFile("a", 5, b"\x03" * 32)])
    other: Any = weights_statement("model", "gguf", many[::-1], [WeightsFile("c", 6, b"\x05" * 32)])
    assert one["subject"][0] == other["subject"][0]
    assert encode_statement(one) != encode_statement(other)


@pytest.mark.parametrize(("count", "subjects"), [(SUBJECTS_MAX - 1, SUBJECTS_MAX), (SUBJECTS_MAX, 1), (300, 1)])
def test_weights_statement_of_many_files_lists_them_in_the_predicate(count: int, subjects: int) -> None:
    files = [WeightsFile(f"{index:05}.safetensors", index, bytes(32)) for index in range(count)]
    statement: Any = weights_statement("model", "safetensors", [], files)
    assert (len(statement["subject"]), len(statement["predicate"]["files"])) == (subjects, count)
    encode_statement(statement)


def test_weights_statement_refuses_two_files_of_one_name() -> None:
    with pytest.raises(ValueError, match="two files"):
        weights_statement("model", "safetensors", [], [WeightsFile("a", 5, bytes(32))] * 2)


# --- evidence -------------------------------------------------------------------------------------


@given(st.binary(max_size=HEADER_LEAF_BYTES_MAX - 1), st.sampled_from(Fault))
def test_evidence_survives_in_a_statement(first: bytes, fault: Fault) -> None:
    evidence = Evidence(fault, 3, "lab", first, first + b"\x00")
    statement = evidence_statement(evidence.encode(), fault=fault.value, accused="lab")
    again = decode_statement(encode_statement(statement))
    assert decode_evidence(read_evidence(again)) == evidence


@pytest.mark.parametrize(
    "change",
    [
        {"evidence": "!"}, {"evidence": "YQ"}, {"evidence": 1}, {"fault": 1}, {"accused": "other"}, {"accused": None},
        {"evidence": "YQ==\n"}, {"extra": 1},
    ],
)  # fmt: skip
def test_read_evidence_refuses_parts_that_disagree(change: dict[str, Any]) -> None:
    statement: Any = evidence_statement(b"bytes", fault="author-fork", accused="lab")
    assert read_evidence(statement) == b"bytes"
    statement["predicate"].update(change)
    with pytest.raises(DecodeError, match="EVIDENCE-10"):
        read_evidence(statement)


def test_read_evidence_refuses_other_statements() -> None:
    statement: Any = evidence_statement(b"bytes", fault="author-fork", accused="lab")
    assert statement["predicateType"] == EVIDENCE_TYPE
    with pytest.raises(DecodeError, match="EVIDENCE-10"):
        read_evidence({**statement, "predicateType": "a:b"})
    with pytest.raises(DecodeError, match="STMT-"):
        read_evidence({})
