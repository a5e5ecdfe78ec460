from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog import codec
from glasslog.codec import ArrayReader, Tagged, Value
from glasslog.errors import DecodeError
from wire_values import code_of, finite, integers, mutations, texts

_SIZE_MAX = 70_000


def _decode(data: bytes) -> Value:
    return codec.decode(data, size_max=_SIZE_MAX, tags=(0, 1, 18, 23, 32))


# RFC 8949 appendix A, every example that our data model has
APPENDIX_A: list[tuple[str, Value]] = [
    ("00", 0), ("01", 1), ("0a", 10), ("17", 23), ("1818", 24), ("1819", 25), ("1864", 100), ("1903e8", 1000),
    ("1a000f4240", 1000000), ("1b000000e8d4a51000", 1000000000000), ("1bffffffffffffffff", 18446744073709551615),
    ("20", -1), ("29", -10), ("3863", -100), ("3903e7", -1000),
    ("f90000", 0.0), ("f98000", -0.0), ("f93c00", 1.0), ("fb3ff199999999999a", 1.1), ("f93e00", 1.5),
    ("f97bff", 65504.0), ("fa47c35000", 100000.0), ("fa7f7fffff", 3.4028234663852886e38),
    ("fb7e37e43c8800759c", 1.0e300), ("f90001", 5.960464477539063e-8), ("f90400", 0.00006103515625),
    ("f9c400", -4.0), ("fbc010666666666666", -4.1), ("f4", False), ("f5", True), ("f6", None),
    ("40", b""), ("4401020304", b"\x01\x02\x03\x04"), ("60", ""), ("6161", "a"), ("6449455446", "IETF"),
    ("62225c", '"\\'), ("62c3bc", "\u00fc"), ("63e6b0b4", "\u6c34"), ("64f0908591", "\U00010151"),
    ("80", []), ("83010203", [1, 2, 3]), ("8301820203820405", [1, [2, 3], [4, 5]]),
    ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", list(range(1, 26))),
    ("a0", {}), ("a201020304", {1: 2, 3: 4}), ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("826161a161626163", ["a", {"b": "c"}]),
    ("a56161614161626142616361436164614461656145", {"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}),
    ("c074323031332d30332d32315432303a30343a30305a", Tagged(0, "2013-03-21T20:04:00Z")),
    ("c11a514b67b0", Tagged(1, 1363896240)), ("c1fb41d452d9ec200000", Tagged(1, 1363896240.5)),
    ("d74401020304", Tagged(23, b"\x01\x02\x03\x04")), ("d82076687474703a2f2f7777772e6578616d706c652e636f6d",
                                                        Tagged(32, "http://www.example.com")),
]  # fmt: skip

# RFC 8949 appendix A, what we refuse of it, and what is well-formed CBOR but not its one form; then what is neither
REFUSED = [
    ("3bffffffffffffffff", "CBOR-09"), ("c249010000000000000000", "CBOR-11"), ("f97c00", "CBOR-14"),
    ("f97e00", "CBOR-14"), ("f9fc00", "CBOR-14"), ("fa7f800000", "CBOR-14"), ("fb7ff8000000000000", "CBOR-14"),
    ("f7", "CBOR-13"), ("f0", "CBOR-13"), ("f8ff", "CBOR-13"), ("d818456449455446", "CBOR-11"),
    ("5f42010243030405ff", "CBOR-06"), ("7f657374726561646d696e67ff", "CBOR-06"), ("9fff", "CBOR-06"),
    ("bf61610161629f0203ffff", "CBOR-06"), ("ff", "CBOR-06"),
    ("1817", "CBOR-08"), ("1900ff", "CBOR-08"), ("1a0000ffff", "CBOR-08"), ("1b00000000ffffffff", "CBOR-08"),
    ("3817", "CBOR-08"), ("5801aa", "CBOR-08"), ("780161", "CBOR-08"), ("9800", "CBOR-08"), ("b800", "CBOR-08"),
    ("d81200", "CBOR-08"), ("fa3f800000", "CBOR-15"), ("fb3ff0000000000000", "CBOR-15"),
    ("fb0000000000000000", "CBOR-15"),
    ("a203040102", "CBOR-03"), ("a2616101616102", "CBOR-03"), ("a262616101616202", "CBOR-03"),
    ("a1f401", "CBOR-04"), ("a1f601", "CBOR-04"), ("a18001", "CBOR-04"), ("a1f93c0001", "CBOR-04"),
    ("a1c10101", "CBOR-04"),
    ("61ff", "CBOR-10"), ("62c080", "CBOR-10"), ("63eda080", "CBOR-10"), ("64f4908080", "CBOR-10"),
    ("0000", "CBOR-05"), ("8000", "CBOR-05"), ("1c", "CBOR-07"), ("5d", "CBOR-07"), ("fc", "CBOR-13"),
    ("", "CBOR-02"), ("18", "CBOR-02"), ("19ff", "CBOR-02"), ("42aa", "CBOR-02"), ("81", "CBOR-02"),
    ("a101", "CBOR-02"), ("f93c", "CBOR-02"), ("9bffffffffffffffff", "CBOR-02"), ("bbffffffffffffffff", "CBOR-02"),
    ("5bffffffffffffffff", "CBOR-02"), ("c1", "CBOR-02"), ("81" * 16 + "80", "CBOR-12"),
]  # fmt: skip


@pytest.mark.parametrize(("encoded", "value"), APPENDIX_A)
def test_decode_and_encode_agree_on_the_examples_of_rfc_8949(encoded: str, value: Value) -> None:
    data = bytes.fromhex(encoded)
    decoded = _decode(data)
    assert decoded == value
    assert type(decoded) is type(value)
    assert codec.encode(value) == data


@pytest.mark.parametrize(("encoded", "code"), REFUSED)
def test_decode_refuses_what_is_not_the_one_form(encoded: str, code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        _decode(bytes.fromhex(encoded))
    assert caught.value.code == code
    assert "byte" in caught.value.fact


def test_decode_accepts_the_deepest_nesting() -> None:
    assert _decode(bytes.fromhex("81" * 15 + "80")) is not None


def test_decode_looks_at_the_size_first() -> None:
    with pytest.raises(DecodeError, match="CBOR-01"):
        codec.decode(b"\xff" * 11, size_max=10)


def test_decode_bounds_the_number_of_items() -> None:
    data = codec.encode([[], [1, 2], {"a": 1}])
    assert codec.decode(data, size_max=100, items_max=7)
    with pytest.raises(DecodeError, match="CBOR-16"):
        codec.decode(data, size_max=100, items_max=6)


def test_decode_of_a_tag_needs_permission() -> None:
    data = codec.encode(Tagged(18, []))
    assert codec.decode(data, size_max=9, tags=(18,)) == Tagged(18, [])
    with pytest.raises(DecodeError, match="CBOR-11"):
        codec.decode(data, size_max=9)


@pytest.mark.parametrize("encoded", ["a10101", "a141aa01"])
def test_decode_with_text_keys_only_refuses_other_keys(encoded: str) -> None:
    assert codec.decode(bytes.fromhex(encoded), size_max=9)
    with pytest.raises(DecodeError, match="CBOR-04"):
        codec.check(bytes.fromhex(encoded), size_max=9, text_keys_only=True)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 1 << 64, -(1 << 63) - 1, "\ud800", [float("-inf")], {"a": 1 << 64}]
)
def test_encode_refuses_values_outside_the_model(value: Value) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.encode(value)


@pytest.mark.parametrize("value", [object(), (1, 2), {None: 1}, {True: 1}, {1.5: 1}, bytearray(b"a"), {1, 2}])
def test_encode_refuses_types_outside_the_model(value: object) -> None:
    with pytest.raises(TypeError):
        codec.encode(value)  # type: ignore[arg-type] # the wrong type is the point


keys = st.one_of(integers, texts, st.binary(max_size=6))
values: st.SearchStrategy[Value] = st.recursive(
    st.one_of(integers, finite, texts, st.binary(max_size=40), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4), st.builds(Tagged, st.just(18), inner)
    ),
    max_leaves=12,
)


@given(values)
def test_decode_returns_what_was_encoded(value: Value) -> None:
    data = codec.encode(value)
    assert repr(_decode(data)) == repr(_decode(codec.encode(_decode(data))))
    assert codec.encode(_decode(data)) == data
    assert _decode(data) == value


@given(values.flatmap(lambda value: mutations(codec.encode(value))))
def test_every_accepted_byte_string_encodes_to_itself(data: bytes) -> None:
    try:
        value = _decode(data)
    except DecodeError:
        return
    assert codec.encode(value) == data


@given(st.binary(max_size=12))
def test_any_bytes_are_refused_or_canonical(data: bytes) -> None:
    verdict = code_of(lambda: _decode(data))
    assert verdict == "accepted" or verdict.startswith("CBOR-")
    if verdict == "accepted":
        assert codec.encode(_decode(data)) == data


@given(
    st.one_of(
        finite,
        st.floats(width=16, allow_nan=False, allow_infinity=False),
        st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_floats_take_the_shortest_form_that_holds_them(value: float) -> None:
    data = codec.encode(value)
    for length, form in ((3, ">e"), (5, ">f")):
        try:
            fits = struct.unpack(form, struct.pack(form, value))[0] == value
        except OverflowError:
            fits = False
        if fits:
            assert len(data) == length
            return
    assert len(data) == 9


# --- reading fields -------------------------------------------------------------------------------


def _reader(*items: Value) -> ArrayReader:
    return ArrayReader.parse(codec.encode(list(items)), "thing", size_max=1000)


def test_array_reader_reads_fields_in_order() -> None:
    reader = _reader(7, b"ab", "hello", "a.name", [1, None], None, "any")
    assert (reader.left, reader.uint("n"), reader.bytes("b", exactly=2, most=2)) == (7, 7, b"ab")
    assert (reader.text("t", most=5), reader.name("m")) == ("hello", "a.name")
    inner = reader.array("list", most=2)
    assert (inner.uint("x"), inner.skip_null(), inner.skip_null()) == (1, True, False)
    inner.end()
    assert (reader.skip_null(), reader.skip_null(), reader.value("v")) == (True, False, "any")
    reader.end()


@pytest.mark.parametrize(
    ("item", "method", "arguments"),
    [
        (-1, "uint", {}), (True, "uint", {}), (1.0, "uint", {}), (None, "uint", {}),
        ("ab", "bytes", {}), (b"ab", "bytes", {"exactly": 3}), (b"ab", "bytes", {"most": 1}),
        (b"ab", "text", {"most": 9}), ("\u00fc", "text", {"most": 1}),
        ("", "name", {}), ("A", "name", {}), ("-a", "name", {}), ("a.", "name", {}), ("a" * 64, "name", {}),
        ("a\n", "name", {}),
        ({}, "array", {}), ([1, 2], "array", {"most": 1}),
    ],
)  # fmt: skip
def test_array_reader_refuses_a_field_of_another_type_or_size(
    item: Value, method: str, arguments: dict[str, int]
) -> None:
    with pytest.raises(DecodeError, match="WIRE-01 field of thing"):
        getattr(_reader(item), method)("field", **arguments)


def test_array_reader_refuses_too_few_and_too_many_items() -> None:
    with pytest.raises(DecodeError, match="WIRE-01 thing ends before its number"):
        _reader().uint("number")
    with pytest.raises(DecodeError, match="WIRE-01 thing has 2 items too many"):
        _reader(1, 2).end()
    with pytest.raises(DecodeError, match="WIRE-01 thing is not an array"):
        ArrayReader.parse(b"\x01", "thing", size_max=9)


def test_array_reader_refuses_a_million_tiny_items() -> None:
    with pytest.raises(DecodeError, match="CBOR-16"):
        ArrayReader.parse(codec.encode([[]] * 100_000), "thing", size_max=1 << 20)


@pytest.mark.parametrize("name", ["a", "0", "a.b-c", "x" * 63, "a--b", "a..b"])
def test_is_name_accepts_names(name: str) -> None:
    assert codec.is_name(name)
