from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog import codec, cose
from glasslog.codec import Tagged, Value
from glasslog.errors import DecodeError
from vector_files import find_vectors
from wire_values import code_of, mutations, signatures, signed_statements


def test_protected_header_is_the_one_of_the_specification() -> None:
    assert codec.decode(cose.PROTECTED, size_max=99) == {1: -8, 16: "application/vnd.glasslog.block+cbor"}


@given(st.binary(max_size=300), signatures)
def test_parse_sign1_returns_what_sign1_was_given(payload: bytes, signature: bytes) -> None:
    data = cose.sign1(payload, signature)
    assert cose.parse_sign1(data) == (payload, signature)
    assert codec.decode(data, size_max=999, tags=(18,)) == Tagged(18, [cose.PROTECTED, {}, payload, signature])
    assert cose.to_be_signed(payload) == cose.signature_structure(cose.PROTECTED, payload)


def test_to_be_signed_is_the_sig_structure_of_rfc_9052() -> None:
    assert codec.decode(cose.to_be_signed(b"x"), size_max=99) == ["Signature1", cose.PROTECTED, b"", b"x"]


@given(st.binary(max_size=40).flatmap(lambda payload: mutations(cose.sign1(payload, bytes(64)))))
def test_parse_sign1_accepts_only_what_sign1_makes(data: bytes) -> None:
    verdict = code_of(lambda: cose.parse_sign1(data))
    assert verdict in ("accepted", "COSE-01")
    if verdict == "accepted":
        assert cose.sign1(*cose.parse_sign1(data)) == data


@pytest.mark.parametrize("size", [0, 63, 65])
def test_sign1_refuses_a_signature_of_another_length(size: int) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        cose.sign1(b"", bytes(size))


@given(signed_statements)
def test_parse_signed_statement_takes_it_apart(data: bytes) -> None:
    parsed = cose.parse_signed_statement(data)
    again = Tagged(18, [parsed.protected, {}, parsed.payload, parsed.signature])
    assert codec.encode(again) == data
    assert codec.encode(parsed.headers) == parsed.protected


PROTECTED = codec.encode({1: -8, 15: {1: "issuer", 2: "subject"}})


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([PROTECTED, {}, b"p", b"s"], "COSE-02"), (Tagged(18, []), "COSE-02"), (Tagged(18, {}), "COSE-02"),
        (Tagged(18, [PROTECTED, {}, b"p", b"s", b""]), "COSE-02"), (Tagged(98, [PROTECTED, {}, b"p", b"s"]), "CBOR-11"),
        (Tagged(18, [PROTECTED, {4: b"k"}, b"p", b"s"]), "COSE-03"),
        (Tagged(18, [PROTECTED, b"", b"p", b"s"]), "COSE-03"),
        (Tagged(18, [PROTECTED, [], b"p", b"s"]), "COSE-03"), (Tagged(18, [PROTECTED, {}, "p", b"s"]), "COSE-04"),
        (Tagged(18, [PROTECTED, {}, b"p", b""]), "COSE-04"), (Tagged(18, [PROTECTED, {}, b"p", None]), "COSE-04"),
        (Tagged(18, [{1: -8}, {}, b"p", b"s"]), "COSE-05"), (Tagged(18, [b"\x80", {}, b"p", b"s"]), "COSE-05"),
        (Tagged(18, [codec.encode({4: b"k"}), {}, b"p", b"s"]), "COSE-05"),
        (Tagged(18, [b"", {}, b"p", b"s"]), "CBOR-02"),
        (Tagged(18, [codec.encode({1: True}), {}, b"p", b"s"]), "COSE-05"),
        (Tagged(18, [b"\xa2\x04\x41k\x01\x27", {}, b"p", b"s"]), "CBOR-03"),
        (Tagged(18, [PROTECTED + b"\x00", {}, b"p", b"s"]), "CBOR-05"),
    ],
)  # fmt: skip
def test_parse_signed_statement_refuses_what_the_log_does_not_take(value: Value, code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        cose.parse_signed_statement(codec.encode(value))
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["entry1.statement.cose", "entry3.statement.cose"])
def test_parse_signed_statement_reads_statements_of_another_implementation(name: str) -> None:
    data = (find_vectors("derived-demo") / name).read_bytes()
    parsed = cose.parse_signed_statement(data)
    assert parsed.headers[1] == -8
    assert parsed.payload is not None
    assert len(parsed.signature) == 64


def test_parse_signed_statement_refuses_a_transparent_statement() -> None:
    """Its receipts stand in the unprotected header, which is emptied before a statement enters a log."""
    data = (find_vectors("derived-demo") / "entry3.transparent.cose").read_bytes()
    with pytest.raises(DecodeError, match="COSE-03"):
        cose.parse_signed_statement(data, size_max=1 << 20)


@pytest.mark.parametrize(("name", "alg"), [("ML_DSA_44", -48), ("ML_DSA_65", -49), ("ML_DSA_87", -50)])
def test_parse_signed_statement_agrees_with_the_examples_of_rfc_9964(name: str, alg: int) -> None:
    folder = find_vectors("cose-mldsa-examples/examples/cose/examples")
    example = json.loads((folder / f"{name}.cose.json").read_text())
    parsed = cose.parse_signed_statement(bytes.fromhex(example["sign1"]))
    assert parsed.headers[1] == alg
    assert parsed.signature.hex() == example["raw_signature"]
    assert parsed.payload is not None
    assert cose.signature_structure(parsed.protected, parsed.payload).hex() == example["raw_to_be_signed"]


def test_receipt_of_the_receipts_draft_is_not_a_signed_statement() -> None:
    """A receipt has its proofs in the unprotected header: canonical or not, it never becomes a leaf."""
    data = (find_vectors("cose-receipts-wg-examples/examples") / "inclusion-receipt.cbor").read_bytes()
    with pytest.raises(DecodeError):
        cose.parse_signed_statement(data)
