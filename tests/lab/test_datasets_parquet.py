"""Rows of Parquet files, written by pyarrow in every way it can: what a row is, and what is refused."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasslog.records import record_digest
from glasslog_lab.datasets import parquet, sources
from glasslog_lab.datasets.measure import DatasetMeasured, Options, measure_dataset
from glasslog_lab.datasets.one_record import digest_value
from glasslog_lab.errors import ArtifactError

# The library has no types.
arrow: Any = import_module("pyarrow")
library: Any = import_module("pyarrow.parquet")

ROWS: list[dict[str, Any]] = [
    {
        "id": number,
        "text": f"row {number % 7}",
        "score": number / 4,
        "tags": ["a", None][: number % 3],
        "of": {"x": number},
    }
    for number in range(60)
]


class Bytes:
    """A file in memory, as ``read_parquet`` takes one."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def borrow(self) -> io.BytesIO:
        return io.BytesIO(self._data)


def written(table: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    library.write_table(table, stream, **how)
    return stream.getvalue()


def digests(table: Any, field: str | None = None, **how: Any) -> list[bytes]:
    reading: Any = Bytes(written(table, **how))
    return [one for listed in parquet.read_parquet("a.parquet", reading, field) for one in listed]


def typed(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return record_digest("typed", text.encode())


def measure(path: Path, **options: Any) -> DatasetMeasured:
    return measure_dataset(path, path.parent / "x.index", options=Options(**options))


def refuse(path: Path, data: bytes, **options: Any) -> str:
    path.write_bytes(data)
    with pytest.raises(ArtifactError) as caught:
        measure(path, **options)
    said = str(caught.value)
    assert "\n" not in said
    assert ". Next: " in said
    assert not list(path.parent.glob("x.index*")), "a refusal leaves no index"
    return said


def test_rows_are_the_records_that_their_json_is(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(written(arrow.Table.from_pylist(ROWS)))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row, indent=None) + "\n" for row in ROWS))
    one, other = measure(tmp_path / "a.parquet"), measure(tmp_path / "a.jsonl")
    assert (one.records_root, one.order_root) == (other.records_root, other.order_root)
    assert (one.record_form, one.records) == ("parquet:json", 60)


@pytest.mark.parametrize(
    "how",
    [
        {"row_group_size": 7},
        {"compression": "zstd"},
        {"compression": "none", "use_dictionary": False},
        {"data_page_version": "2.0", "data_page_size": 64},
        {"version": "1.0"},
        {"write_statistics": False, "column_encoding": {"id": "DELTA_BINARY_PACKED"}, "use_dictionary": False},
    ],
)
def test_rows_do_not_depend_on_how_they_are_packed(how: dict[str, Any]) -> None:
    table = arrow.Table.from_pylist(ROWS)
    assert digests(table, **how) == digests(table)


def test_dictionaries_and_large_types_are_their_values() -> None:
    table = arrow.table({"a": ["x", "y", "x", None]})
    for kind in (arrow.dictionary(arrow.int8(), arrow.string()), arrow.large_string()):
        assert digests(table.cast(arrow.schema([("a", kind)]))) == digests(table)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (arrow.array([b"\x00\xff"]), {"$bytes": "AP8="}),
        (arrow.array([b"ab"], arrow.binary(2)), {"$bytes": "YWI="}),
        (arrow.array([Decimal("1.500")], arrow.decimal128(9, 4)), {"$decimal": "1.5"}),
        (arrow.array([Decimal("-0.00")], arrow.decimal128(9, 2)), {"$decimal": "0"}),
        (arrow.array([Decimal(12000)], arrow.decimal256(40, 0)), {"$decimal": "12000"}),
        (arrow.array([math.nan]), {"$float": "nan"}),
        (arrow.array([math.inf]), {"$float": "inf"}),
        (arrow.array([-math.inf], arrow.float32()), {"$float": "-inf"}),
        (arrow.array([date(1970, 1, 2)]), {"$day": 1}),
        (arrow.array([date(1969, 12, 31)], arrow.date64()), {"$day": -1}),
        (arrow.array([time(0, 0, 1)], arrow.time32("ms")), {"$time": "1000000000"}),
        (arrow.array([time(0, 0, 1)], arrow.time64("us")), {"$time": "1000000000"}),
        (arrow.array([timedelta(seconds=1)], arrow.duration("ms")), {"$duration": "1000000000"}),
        (arrow.array([datetime(1970, 1, 1, 0, 0, 1)], arrow.timestamp("ms")), {"$local": "1000000000"}),  # noqa: DTZ001  that is the case
        (arrow.array([datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)], arrow.timestamp("us", "UTC")),
         {"$instant": "1000000000"}),
        (arrow.array([[b"x", None]]), [{"$bytes": "eA=="}, None]),
        (arrow.array([{"$k": b"x"}]), {"$$k": {"$bytes": "eA=="}}),
        (arrow.array([[("k", b"x")]], arrow.map_(arrow.string(), arrow.binary())), {"k": {"$bytes": "eA=="}}),
        (arrow.array([[date(1970, 1, 2)]], arrow.list_(arrow.date32())), [{"$day": 1}]),
    ],
)  # fmt: skip
def test_values_that_json_has_not_are_written_with_their_type(column: Any, expected: object) -> None:
    table = arrow.table({"$c": column, "n": [1]})
    assert digests(table) == [typed({"$$c": expected, "n": 1})]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_are_one_record_in_every_unit(unit: str) -> None:
    at = datetime(2026, 11, 24, 8, 30, 15, 250_000, tzinfo=UTC)
    table = arrow.table({"t": arrow.array([at], arrow.timestamp(unit, "Europe/Berlin"))})
    assert digests(table) == [typed({"t": {"$instant": "1795509015250000000"}})]


def test_row_whose_typed_value_is_missing_is_plain_json() -> None:
    table = arrow.table({"b": arrow.array([None, b"x"])})
    assert digests(table) == [record_digest("json", b'{"b":null}'), typed({"b": {"$bytes": "eA=="}})]


def test_one_column_is_read_alone() -> None:
    table = arrow.table({"text": ["a", None], "data": [b"\x00", b"\x01"], "n": [1, 2]})
    assert digests(table, "text") == [record_digest("bytes", b"a"), record_digest("json", b"null")]
    assert digests(table, "data") == [record_digest("bytes", b"\x00"), record_digest("bytes", b"\x01")]
    assert digests(table, "n") == [record_digest("json", b"1"), record_digest("json", b"2")]


plain = st.none() | st.integers(-(1 << 63), (1 << 63) - 1)
words = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
doubles = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.tuples(plain, words, doubles, st.none() | st.lists(words, max_size=3)), min_size=1, max_size=12),
    st.integers(1, 12),
    st.sampled_from(["none", "snappy", "gzip", "zstd"]),
)
def test_any_rows_are_the_records_that_their_json_is(rows: list[tuple[Any, ...]], group: int, compression: str) -> None:
    kinds = (arrow.int64(), arrow.string(), arrow.float64(), arrow.list_(arrow.string()))
    names = ("n", "é", "d", "l")
    columns = [arrow.array(list(column), kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    table = arrow.table(dict(zip(names, columns, strict=True)))
    expected = [digest_value(json.dumps(dict(zip(names, row, strict=True))), "json") for row in rows]
    assert digests(table, row_group_size=group, compression=compression) == expected


WHOLE = written(arrow.Table.from_pylist(ROWS))


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1PAR1", WHOLE[:-1], WHOLE[:-9], WHOLE[4:], WHOLE[: len(WHOLE) // 2], b"{}\n" * 40]
)
def test_what_is_no_parquet_is_refused(tmp_path: Path, data: bytes) -> None:
    assert refuse(tmp_path / "a.parquet", data).startswith("DATA-23 'a.parquet' cannot be read as Parquet")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255), st.integers(0, len(WHOLE)))
def test_damaged_file_is_refused_or_read(at: int, change: int, end: int) -> None:
    data = bytearray(WHOLE)
    data[at] ^= change
    for damaged in (bytes(data), WHOLE[:end]):
        reading: Any = Bytes(damaged)
        try:
            for listed in parquet.read_parquet("a.parquet", reading, None):
                assert all(len(one) == 32 for one in listed)
        except ArtifactError as error:
            assert error.code.startswith("DATA-")  # noqa: PT017  either is fine: refused by its code, or read


def test_columns_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    twice = arrow.Table.from_arrays([arrow.array([1]), arrow.array([2])], names=["a", "a"])
    assert "two columns of one name" in refuse(tmp_path / "a.parquet", written(twice))
    inner = arrow.StructArray.from_arrays([arrow.array([1]), arrow.array([2])], names=["a", "a"])
    assert "two members of one name" in refuse(tmp_path / "a.parquet", written(arrow.table({"s": inner})))
    keys = arrow.array([[("k", 1), ("k", 2)]], arrow.map_(arrow.string(), arrow.int8()))
    assert "has the member 'k' twice" in refuse(tmp_path / "a.parquet", written(arrow.table({"m": keys})))


def test_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refuse(tmp_path / "a.parquet", WHOLE, field="cake").startswith("DATA-27 'a.parquet' has no column 'cake'")


def test_deep_column_is_refused(tmp_path: Path) -> None:
    value: Any = 1
    for _ in range(40):
        value = [value]
    assert "nested deeper than 32" in refuse(tmp_path / "a.parquet", written(arrow.table({"a": [value]})))


def test_column_of_a_type_without_a_form_is_refused(tmp_path: Path) -> None:
    keys = arrow.array([[(1, 2)]], arrow.map_(arrow.int8(), arrow.int8()))
    said = refuse(tmp_path / "a.parquet", written(arrow.table({"m": keys})))
    assert "which has no canonical form" in said


def test_large_row_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "RECORD_BYTES_MAX", 1_000)
    table = arrow.table({"a": ["x" * 1_001]})
    assert refuse(tmp_path / "a.parquet", written(table)).startswith("DATA-16 'a.parquet' has a row of")


def test_file_that_expands_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "EXPANSION_FREE_BYTES", 1 << 16)
    monkeypatch.setattr(parquet, "EXPANSION_FREE_BYTES", 1 << 16)
    table = arrow.table({"a": arrow.array([None] * 3_000_000, arrow.int8())})
    bomb = written(table, compression="zstd")
    assert len(bomb) < 20_000
    assert refuse(tmp_path / "a.parquet", bomb).startswith("DATA-21 'a.parquet' expands to more than 200 times")
    small = written(arrow.table({"a": ["x" * 100] * 3_000}))
    (tmp_path / "b.parquet").write_bytes(small)
    assert refuse(tmp_path / "b.parquet", small, expansion_max=2).startswith("DATA-21")
    assert measure(tmp_path / "b.parquet", expansion_max=2_000).records == 3_000
