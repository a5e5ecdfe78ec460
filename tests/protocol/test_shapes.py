from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog import codec, entry, shapes
from glasslog.codec import Value
from glasslog.entry import SealedEntry, check_entry, encode_leaf, number_entry
from glasslog.errors import DecodeError
from glasslog.shapes import Shapes
from glasslog.statement import STATEMENT_TYPE, Statement, encode_statement
from wire_values import code_of, json_values, mutations, signed_statements, statement_bytes

AUTHOR = "lab-1.example"


def _verdict(data: bytes, seq: int) -> str:
    return code_of(lambda: check_entry(data, AUTHOR, seq))


def _cached_verdict(cache: Shapes, data: bytes, seq: int) -> str:
    return code_of(lambda: cache.check_entry(data, AUTHOR, seq))


def _entry(seq: int, predicate: Value) -> bytes:
    statement: Statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "m", "digest": {"sha256": b"\xaa" * 32, "git": "HEAD"}}],
        "predicateType": "urn:x:step:v1",
        "predicate": {"p": predicate},
    }
    return number_entry(AUTHOR, seq, encode_statement(statement))


class UncachedError(AssertionError):
    """The full check was asked although the cache should have known."""


@pytest.fixture
def no_full_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UncachedError

    monkeypatch.setattr(shapes, "check_entry", refuse)


entries = st.one_of(
    statement_bytes.map(lambda data: number_entry(AUTHOR, 300, data)),
    json_values.map(lambda value: _entry(300, value)),
    st.binary(min_size=32, max_size=32).map(lambda data: encode_leaf(SealedEntry(AUTHOR, 300, data))),
    signed_statements,
)


@settings(max_examples=200)
@given(
    entries.flatmap(lambda data: st.tuples(st.just(data), mutations(data))),
    st.sampled_from([299, 300, 301, 1000, 23, 1 << 33]),
)
def test_cached_and_full_verdicts_agree_on_any_changed_byte(pair: tuple[bytes, bytes], seq: int) -> None:
    original, changed = pair
    cache = Shapes()
    cache.check_entry(original, AUTHOR, 300)
    for data in (original, changed):
        for number in (300, seq):
            assert _cached_verdict(cache, data, number) == _verdict(data, number)


@pytest.mark.parametrize(
    "predicate",
    [
        0, 15, 16, 23, 24, 31, 32, 255, 256, 0x8000, 0xFFFF, 0x1_0000, 0xFFFF_FFFF, 1 << 32, codec.INT_MAX, -1, -24,
        -25,
        -256, -257, -65537, -(1 << 32), -(1 << 32) - 1, codec.INT_MIN, 0.0, -0.0, 1.5, 65504.0, 5.960464477539063e-08,
        100000.0, 1.0009765625, 3.4028234663852886e38, 1.401298464324817e-45, 1.1, -4.1, 5e-324,
        1.7976931348623157e308, 1e300,
        2.0**200, 2.0**100, True, None, "text", "\u00fc\u6c34a", "", ["a", 1], {"digest": {"a": b"\x01", "b": "text",
        "c": ["x"]}},
        {"digest": "abcd"}, {"_type": "x", "digest": {"digest": {"x": "y"}}}, "ab",
    ],
)  # fmt: skip
def test_cached_and_full_verdicts_agree_on_every_value_of_every_byte(predicate: Value) -> None:
    """All 256 values of each byte of the predicate, one at a time: exhaustive where Hypothesis samples."""
    data = _entry(5, predicate)
    at = data.index(b"ipredicate") + len("ipredicate")
    end = data.index(b"predicateType", at) - 1
    cache = Shapes()
    cache.check_entry(data, AUTHOR, 5)
    for place in range(at, end):
        for byte in range(256):
            changed = data[:place] + bytes([byte]) + data[place + 1 :]
            assert _cached_verdict(cache, changed, 5) == _verdict(changed, 5), (place - at, byte)


def test_cached_and_full_verdicts_agree_on_every_value_of_every_byte_of_an_entry() -> None:
    """All of one entry: prefix, keys, ``_type``, subject, digest, ``predicateType``."""
    data = _entry(5, "x")
    cache = Shapes()
    cache.check_entry(data, AUTHOR, 5)
    for place in range(len(data)):
        for byte in range(256):
            changed = data[:place] + bytes([byte]) + data[place + 1 :]
            assert _cached_verdict(cache, changed, 5) == _verdict(changed, 5), (place, byte)


@pytest.mark.parametrize("sign", [0x00, 0x20])
@pytest.mark.parametrize(("info", "size"), [(24, 1), (25, 2), (26, 4), (27, 8)])
def test_cached_and_full_verdicts_agree_at_the_bounds_of_integers(sign: int, info: int, size: int) -> None:
    least = 24 if size == 1 else 1 << 4 * size
    middle = -1 - least if sign else least
    data = _entry(5, middle)
    cache = Shapes()
    cache.check_entry(data, AUTHOR, 5)
    head = bytes((sign | info,))
    for value in (
        0,
        least // 2,
        least - 1,
        least,
        least + 1,
        (1 << 8 * size - 1) - 1,
        1 << 8 * size - 1,
        (1 << 8 * size) - 1,
    ):
        changed = data.replace(head + least.to_bytes(size, "big"), head + value.to_bytes(size, "big"))
        assert _cached_verdict(cache, changed, 5) == _verdict(changed, 5), value


@given(st.floats(allow_nan=False, width=64), st.binary(min_size=8, max_size=8))
def test_cached_and_full_verdicts_agree_on_floats(learnt: float, raw: bytes) -> None:
    if learnt - learnt != 0:
        return
    data = _entry(5, learnt)
    cache = Shapes()
    cache.check_entry(data, AUTHOR, 5)
    for initial, length in ((b"\xf9", 2), (b"\xfa", 4), (b"\xfb", 8)):
        changed = data.replace(codec.encode(learnt), initial + raw[:length])
        assert _cached_verdict(cache, changed, 5) == _verdict(changed, 5)


@pytest.mark.usefixtures("no_full_check")
def test_the_fixture_notices_a_full_check() -> None:
    with pytest.raises(UncachedError):
        Shapes().check_entry(_entry(5, 1), AUTHOR, 5)


@pytest.mark.parametrize(
    ("learnt", "hit", "missed"),
    [
        (0, 23, 24), (24, 255, 23), (256, 65535, 255), (65536, 0xFFFF_FFFF, 65535), (1 << 32, codec.INT_MAX, 1),
        (-1, -24, 0), (-25, -256, 24), (-(1 << 32) - 1, codec.INT_MIN, 1 << 32), (1.5, -2.25, 1), (1.1, -2.2e10, 1.0),
        (100001.0, -325000.03125, 1.0), ("abc", "x\x00z", "\u00fcb"), ("\u00fcb", "\u00fcz", "\u00e4b"),
        ({"digest": {"a": b"\x01"}}, {"digest": {"a": b"\xff"}}, {"digest": {"a": "x"}}),
        ({"digest": {"a": "x"}}, {"digest": {"a": "x"}}, {"digest": {"a": "y"}}), (True, True, False),
        (2.0**200, 2.0**200, 2.0**201), (2.0**100, 2.0**100, 2.0**101),
        ({"a": "bc"}, {"a": "cd"}, {"b": "bc"}),
    ],
)  # fmt: skip
def test_a_shape_covers_its_kind_and_no_more(
    learnt: Value, hit: Value, missed: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Shapes()
    cache.check_entry(_entry(70_000, learnt), AUTHOR, 70_000)
    calls: list[bytes] = []

    def count(data: bytes, author: str, seq: int) -> None:
        calls.append(data)
        entry.check_entry(data, author, seq)

    monkeypatch.setattr(shapes, "check_entry", count)
    cache.check_entry(_entry(70_001, hit), AUTHOR, 70_001)
    assert calls == []
    cache.check_entry(_entry(70_002, missed), AUTHOR, 70_002)
    assert calls == [_entry(70_002, missed)]


def test_a_shape_serves_every_author_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Shapes()
    cache.check_entry(_entry(3, "x"), AUTHOR, 3)
    rest = _entry(3, "y")[len(entry.entry_prefix(entry.LeafKind.STATEMENT, AUTHOR, 3)) :]
    signed = codec.encode(codec.Tagged(18, [codec.encode({1: -8}), {}, b"payload", b"signature"]))
    cache.check_entry(signed, AUTHOR, 3)

    def refuse(*_: object) -> None:
        raise UncachedError

    monkeypatch.setattr(shapes, "check_entry", refuse)
    for author, seq in (("a", 0), ("b" * 63, 1 << 40), (AUTHOR, 255), (AUTHOR, 256)):
        cache.check_entry(number_entry(author, seq, rest), author, seq)
        cache.check_entries([signed, signed.replace(b"payload", b"PAYLOAD")], author, seq)
        with pytest.raises(UncachedError):
            cache.check_entry(number_entry(author, seq, rest), author, seq + 1)


@given(st.integers(0, 300), st.integers(1, 60), st.lists(st.sampled_from([1, 30, "a", "b", 1.5, 1.1, [1]]), min_size=1))
def test_check_entries_follows_the_numbers_across_their_widths(first: int, count: int, kinds: list[Value]) -> None:
    run = [_entry(first + index, kinds[index % len(kinds)]) for index in range(count)]
    cache = Shapes()
    cache.check_entries(run, AUTHOR, first)
    cache.check_entries(run, AUTHOR, first)
    if count > 1:
        with pytest.raises(DecodeError, match=f"ENTRY-03 entry {first} of {AUTHOR}"):
            cache.check_entries(run[1:], AUTHOR, first)
        with pytest.raises(DecodeError, match="ENTRY-03"):
            cache.check_entries([*run[:-1], run[0]], AUTHOR, first)


@pytest.mark.parametrize("first", [20, 250, 65_530, (1 << 32) - 3, (1 << 64) - 4])
def test_check_entries_at_the_widths_of_numbers(first: int) -> None:
    run = [_entry(seq, "x") for seq in range(first, min(first + 8, 1 << 64))]
    cache = Shapes()
    for _ in range(2):
        cache.check_entries(run, AUTHOR, first)
    for place in range(len(run)):
        wrong = [*run[:place], run[place - 1], *run[place + 1 :]]
        with pytest.raises(DecodeError, match="ENTRY-03"):
            cache.check_entries(wrong, AUTHOR, first)


def test_large_entries_are_checked_in_full_and_not_learnt() -> None:
    data = _entry(5, "x" * shapes.SHAPE_BYTES_MAX)
    cache = Shapes()
    cache.check_entries([data], AUTHOR, 5)
    assert cache._count == 0
    with pytest.raises(DecodeError, match="CBOR-10"):
        cache.check_entries([data[:500] + b"\xff" + data[501:]], AUTHOR, 5)


def test_the_cache_is_bounded_and_learns_little_from_one_call() -> None:
    cache = Shapes()
    run = [_entry(index, "x" * index) for index in range(1_200)]
    cache.check_entries(run[:200], AUTHOR, 0)
    assert cache._count <= 5 * shapes.LEARNT_PER_CALL_MAX  # at most once for each width of the number
    for seq, data in enumerate(run):
        cache.check_entry(data, AUTHOR, seq)
    assert (
        sum(len(known) for cached in (cache._young, cache._old) for known in cached.values()) <= 2 * shapes.SHAPES_MAX
    )


def test_many_shapes_of_one_length_stay_correct() -> None:
    words = ["a" * at + "\u00fc" + "a" * (20 - at) for at in range(20)]
    run = [_entry(seq, words[seq % 20]) for seq in range(100, 160)]
    cache = Shapes()
    for _ in range(3):
        cache.check_entries(run, AUTHOR, 100)
    assert all(len(known) <= shapes.SHAPES_PER_LENGTH_MAX for known in cache._young.values())


def test_float_forms_are_the_ones_meant() -> None:
    """The table of float fields rests on the IEEE 754 layouts; here it is held against ``struct``."""
    for size, form in ((2, ">e"), (4, ">f"), (8, ">d")):
        _, mantissa, exponent = shapes._FLOAT_FIELDS[size]
        assert mantissa + exponent + 1 == 8 * size
        infinity = int.from_bytes(struct.pack(form, float("inf")), "big")
        assert infinity == ((1 << exponent) - 1) << mantissa
