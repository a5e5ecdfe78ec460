from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog import codec
from glasslog.errors import DecodeError
from glasslog.limits import STATEMENT_BYTES_MAX
from glasslog.statement import (
    JSON_BYTES_MAX,
    STATEMENT_TYPE,
    Statement,
    decode_statement,
    encode_statement,
    from_json,
    to_json,
)
from wire_values import mutations, statement_bytes, statements

DIGEST = "ab" * 32


def _plain() -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "model.safetensors", "digest": {"sha256": DIGEST, "note": "not hexadecimal"}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"steps": 3, "loss": 0.25, "inputs": [{"uri": "x", "digest": {"sha1": "0a"}}], "done": True},
    }


def test_from_json_turns_hexadecimal_digests_into_bytes() -> None:
    statement: Any = from_json(json.dumps(_plain()))
    assert statement["subject"][0]["digest"] == {"sha256": bytes.fromhex(DIGEST), "note": "not hexadecimal"}
    assert statement["predicate"]["inputs"][0]["digest"] == {"sha1": b"\x0a"}
    assert decode_statement(encode_statement(statement)) == statement
    assert json.loads(to_json(statement)) == _plain()


@pytest.mark.parametrize("text", ["", "AB", "0", "0g", "abc", "0A", "\u0660\u0660"])
def test_from_json_keeps_a_digest_that_is_not_lowercase_hexadecimal(text: str) -> None:
    plain = _plain()
    plain["predicate"] = {"x": {"digest": {"odd": text}}, "sha256": "abcd", "digest": "abcd"}
    statement: Any = from_json(json.dumps(plain))
    assert statement["predicate"]["x"]["digest"] == {"odd": text}
    assert statement["predicate"]["sha256"] == statement["predicate"]["digest"] == "abcd"


@given(statements)
def test_statements_survive_cbor_and_json(statement: Statement) -> None:
    data = encode_statement(statement)
    assert encode_statement(decode_statement(data)) == data
    again = from_json(to_json(statement))
    assert again == statement
    assert encode_statement(again) == data


@given(statement_bytes.flatmap(mutations))
def test_every_accepted_statement_encodes_to_itself_also_through_json(data: bytes) -> None:
    try:
        statement = decode_statement(data)
    except DecodeError:
        return
    assert encode_statement(statement) == data
    assert encode_statement(from_json(to_json(statement))) == data


@given(st.one_of(st.binary(max_size=30), st.text(max_size=30)))
def test_from_json_refuses_garbage_with_a_code(text: str | bytes) -> None:
    with pytest.raises(DecodeError, match="STMT-"):
        from_json(text)


def _with_number(number: str) -> str:
    return json.dumps(_plain()).replace('"steps": 3', f'"steps": {number}')


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "STMT-02"), ("{", "STMT-02"), (b"\xff", "STMT-02"), ("[]", "STMT-07"), ("1", "STMT-07"), ("{}", "STMT-08"),
        ('"' + "x" * JSON_BYTES_MAX + '"', "STMT-01"), ("[" * 200_000, "STMT-05"), ("[" * 18 + "]" * 18, "STMT-05"),
        (_with_number('4, "steps": 3'), "STMT-03"), (_with_number("NaN"), "STMT-04"),
        (_with_number("-Infinity"), "STMT-04"),
        (_with_number("18446744073709551616"), "STMT-04"), (_with_number("-9223372036854775809"), "STMT-04"),
        (_with_number("9" * 5000), "STMT-04"), (_with_number("1e999"), "STMT-04"), (_with_number("1e-999"), "STMT-04"),
        (_with_number("0.12345678901234567890"), "STMT-04"), (_with_number('"\\ud800"'), "STMT-06"),
        (_with_number('{"\\udfff": 1}'), "STMT-06"), (_with_number("03"), "STMT-02"), (_with_number("3,"), "STMT-02"),
    ],
)  # fmt: skip
def test_from_json_refuses_what_cbor_could_not_hold_without_loss(text: str | bytes, code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        from_json(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("number", "value"),
    [("18446744073709551615", (1 << 64) - 1), ("-9223372036854775808", -(1 << 63)), ("-0", -0.0), ("1.0", 1.0),
     ("0.0", 0.0), ("-0.0", -0.0), ("0e5", 0.0), ("1e2", 100.0), ("0.1", 0.1), ("0.10000000000000001", 0.1),
     ("5e-324", 5e-324)],
)  # fmt: skip
def test_from_json_keeps_the_value_and_kind_of_numbers(number: str, value: float) -> None:
    statement: Any = from_json(_with_number(number))
    assert repr(statement["predicate"]["steps"]) == repr(value)
    again: Any = from_json(to_json(statement))
    assert repr(again["predicate"]["steps"]) == repr(value)


def _change(edit: Callable[[dict[str, Any]], object]) -> Statement:
    statement: Any = from_json(json.dumps(_plain()))
    edit(statement)
    return statement  # type: ignore[no-any-return] # edited freely, so Any


def _nest(levels: int) -> Any:
    return {"x": _nest(levels - 1)} if levels else 0


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda s: s.pop("_type"), "STMT-08"),
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "STMT-08"),
        (lambda s: s.pop("subject"), "STMT-09"), (lambda s: s.update(subject=[]), "STMT-09"),
        (lambda s: s.update(subject=s["subject"] * 65), "STMT-09"), (lambda s: s.update(subject=["x"]), "STMT-10"),
        (lambda s: s["subject"][0].pop("name"), "STMT-10"), (lambda s: s["subject"][0].update(name=""), "STMT-10"),
        (lambda s: s["subject"][0].pop("digest"), "STMT-11"), (lambda s: s["subject"][0].update(digest={}), "STMT-11"),
        (lambda s: s["subject"][0].update(digest={"": "x"}), "STMT-11"),
        (lambda s: s["subject"][0].update(digest={"sha256": 5}), "STMT-11"),
        (lambda s: s["subject"][0].update(digest={"sha256": ""}), "STMT-11"),
        (lambda s: s["subject"][0].update(digest={"sha256": "abcd"}), "STMT-13"),
        (lambda s: s.pop("predicateType"), "STMT-12"), (lambda s: s.update(predicateType="no scheme"), "STMT-12"),
        (lambda s: s.update(predicateType="a:b c"), "STMT-12"), (lambda s: s.update(predicateType=b"a:b"), "STMT-12"),
        (lambda s: s.update(predicate=[]), "STMT-07"), (lambda s: s.update(predicate=None), "STMT-07"),
        (lambda s: s.update(extra=1), "STMT-07"), (lambda s: s["predicate"].update({"a": {1: 2}}), "STMT-07"),
        (lambda s: s["predicate"].update(a=b"x"), "STMT-13"), (lambda s: s["predicate"].update(a=[b"x"]), "STMT-13"),
        (lambda s: s["predicate"].update(digest={"x": [b"x"]}), "STMT-13"),
        (lambda s: s["predicate"].update(digest={"x": b""}), "STMT-13"),
        (lambda s: s["predicate"].update(a=codec.Tagged(1, 1)), "STMT-13"),
        (lambda s: s["predicate"].update(a=_nest(14)), "STMT-05"),
        (lambda s: s["predicate"].update(a=float("nan")), "STMT-04"),
        (lambda s: s["predicate"].update(a="x" * STATEMENT_BYTES_MAX), "STMT-01"),
    ],
)  # fmt: skip
def test_encode_statement_refuses_what_is_no_statement(edit: Callable[[dict[str, Any]], object], code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        encode_statement(_change(edit))
    assert caught.value.code == code


def test_decode_statement_judges_as_encode_does() -> None:
    """What the encoder refuses is refused from bytes too, by this layer or by the codec below it."""
    refused = [
        lambda s: s.update(extra=1),
        lambda s: s["predicate"].update(a=b"x"),
        lambda s: s["predicate"].update(a={1: 2}),
    ]
    for edit in (
        *refused,
        lambda s: s["predicate"].update(a=_nest(14)),
        lambda s: s.update(predicate={"": "x" * 60_000}),
    ):
        with pytest.raises(DecodeError):
            decode_statement(codec.encode(_change(edit)))


def test_statement_at_its_limits_is_accepted() -> None:
    statement = _change(lambda s: s["predicate"].update(a=_nest(13)))
    assert decode_statement(encode_statement(statement)) == statement
    many = _change(lambda s: s.update(subject=[copy.deepcopy(s["subject"][0]) for _ in range(64)]))
    assert decode_statement(encode_statement(many)) == many
    room = STATEMENT_BYTES_MAX - len(encode_statement(_change(lambda s: s["predicate"].update(a=""))))
    full = encode_statement(_change(lambda s: s["predicate"].update(a="x" * (room - 2))))
    assert len(full) == STATEMENT_BYTES_MAX
    decode_statement(full)


def test_statement_without_predicate_is_accepted() -> None:
    statement = _change(lambda s: s.pop("predicate"))
    assert decode_statement(encode_statement(statement)) == statement


def test_errors_name_the_place() -> None:
    with pytest.raises(DecodeError, match=r"predicate\.inputs\[0\]\.digest\.sha1 is text where"):
        encode_statement(_change(lambda s: s["predicate"]["inputs"][0]["digest"].update(sha1="abcd")))
