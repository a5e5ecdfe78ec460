"""Rows of Parquet files: each as JSON where JSON has its values, else as JSON with types written out (D3).

What a row is does not depend on row groups, compression or encodings. Needs pyarrow, which is asked for only here: the
readers without it that are light (fastparquet among them) need a compiler of their own or pandas.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from glasslog.records import record_digest
from glasslog_lab.datasets.canonical_json import Json, JsonError, order_members, plain_float, plain_integer, write
from glasslog_lab.datasets.refusals import lacks_package, quote, refusal, refuse
from glasslog_lab.datasets.rows import RECORD_BYTES_MAX, digest_value
from glasslog_lab.datasets.sources import EXPANSION_FREE_BYTES, EXPANSION_MAX, Reading

BATCH_ROWS = 1_024
_BATCH_BYTES_MAX = 1 << 29
_NESTING_MAX = 32
_THRIFT_BYTES_MAX = 64 << 20  # of one text in a footer
_THRIFT_ITEMS_MAX = 1_000_000  # of one list in it, such as columns times row groups

Convert = Callable[[Any], Json]
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


class _Typed(Exception):  # noqa: N818  no error: the row has a value that JSON has not
    pass


def read_parquet(
    name: str, reading: Reading, field: str | None, expansion_max: int = EXPANSION_MAX
) -> Iterator[list[bytes]]:
    """Yield the digests of a file's rows, or of one column's values.

    Raises:
        ArtifactError: EXTRA-01 pyarrow is not installed, DATA-21 it expands more than ``expansion_max`` times, DATA-23
            not Parquet or a column of a type that has no canonical form, DATA-27 no such column.
    """
    try:
        arrow: Any = importlib.import_module("pyarrow")  # neither has types
        library: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise lacks_package(name, "pyarrow") from error
    try:
        with (
            reading.borrow() as stream,
            library.ParquetFile(
                stream,
                pre_buffer=False,
                thrift_string_size_limit=_THRIFT_BYTES_MAX,
                thrift_container_size_limit=_THRIFT_ITEMS_MAX,
            ) as file,
        ):
            most = max(EXPANSION_FREE_BYTES, expansion_max * stream.seek(0, 2))
            _check_declared_sizes(name, file.metadata, most, expansion_max)
            rows = _Rows(name, arrow, file.schema_arrow, field)
            columns = None if field is None else [field]
            made = 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False):
                # A run of one value is one value in the file and many records: each counts as a byte at least.
                made += max(batch.nbytes, batch.num_rows)
                if made > most:
                    refuse("DATA-21", f"{quote(name)} expands to more than {expansion_max} times its size")
                if batch.nbytes > _BATCH_BYTES_MAX:
                    refuse("DATA-16", f"{quote(name)} has {batch.num_rows} rows of {batch.nbytes} bytes together")
                yield rows.digest(batch)
    except (
        arrow.ArrowException,
        OSError,
        ValueError,
        TypeError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        # Whatever pyarrow makes of a stranger's bytes; what pyarrow does not raise is an ArtifactError already.
        fact = " ".join(str(error).split())[:200] or type(error).__name__
        raise refusal("DATA-23", f"{quote(name)} cannot be read as Parquet: {fact}") from error


def _check_declared_sizes(name: str, metadata: Any, most: int, times: int) -> None:  # noqa: ANN401  pyarrow's own
    """Refuse an honest bomb before any of it is expanded; one whose footer lies is stopped batch by batch."""
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    if sum(max(group.total_byte_size, group.num_rows) for group in groups) > most:
        refuse("DATA-21", f"{quote(name)} expands to more than {times} times its size")


class _Rows:
    """How the rows of one file become digests."""

    def __init__(self, name: str, arrow: Any, schema: Any, field: str | None) -> None:  # noqa: ANN401  pyarrow's own
        self._name = name
        self._arrow = arrow
        names = list(schema.names)
        if len(set(names)) != len(names):
            refuse("DATA-23", f"{quote(name)} has two columns of one name")
        if field is not None and field not in names:
            refuse("DATA-27", f"{quote(name)} has no column {quote(field)}")
        self._field = field
        used = [schema.field(one) for one in (names if field is None else [field])]
        self._names = [one.name for one in used]
        for one in used:
            self._check_nesting(one.type, 0)
        self._stored = [self._store(one.type) for one in used]
        self._plain = [self._converter(one.type, typed=False) for one in used]
        self._typed = [self._converter(one.type, typed=True) for one in used]

    def digest(self, batch: Any) -> list[bytes]:  # noqa: ANN401  pyarrow's own
        columns = [
            (batch.column(at) if stored is None else batch.column(at).cast(stored)).to_pylist()
            for at, stored in enumerate(self._stored)
        ]
        try:
            return [self._digest_row(row) for row in zip(*columns, strict=True)]
        except JsonError as error:
            raise refusal("DATA-23", f"{quote(self._name)} has a row that {error.fact}") from error

    def _digest_row(self, row: tuple[Any, ...]) -> bytes:
        if self._field is not None:
            if isinstance(row[0], bytes):
                return record_digest("bytes", row[0])
            try:
                return digest_value(self._plain[0](row[0]))
            except _Typed:
                return self._digest_json("typed", self._typed[0](row[0]))
        try:
            return self._digest_json("json", self._object(row, self._plain))
        except _Typed:
            return self._digest_json("typed", self._object(row, self._typed, escape=True))

    def _digest_json(self, kind: str, value: Json) -> bytes:
        data = write(value)
        if len(data) > RECORD_BYTES_MAX:
            refuse("DATA-16", f"{quote(self._name)} has a row of {len(data)} bytes, at most {RECORD_BYTES_MAX} allowed")
        return record_digest(kind, data)

    def _object(self, row: tuple[Any, ...], converters: list[Convert], *, escape: bool = False) -> Json:
        names = [_escape(name) for name in self._names] if escape else self._names
        return order_members(
            (name, convert(value)) for name, convert, value in zip(names, converters, row, strict=True)
        )

    def _check_nesting(self, kind: Any, depth: int) -> None:  # noqa: ANN401  pyarrow's own
        if depth > _NESTING_MAX:
            refuse("DATA-23", f"{quote(self._name)} has a column nested deeper than {_NESTING_MAX}")
        for at in range(kind.num_fields):
            self._check_nesting(kind.field(at).type, depth + 1)

    def _store(self, kind: Any) -> Any:  # noqa: ANN401  pyarrow's own
        """Return the type to cast a column to, so that its times come as plain integers; None where it has none."""
        changed = self._stored_type(kind)
        return None if changed == kind else changed

    def _stored_type(self, kind: Any) -> Any:  # noqa: ANN401  pyarrow's own
        arrow, types = self._arrow, self._arrow.types
        if types.is_timestamp(kind) or types.is_duration(kind) or types.is_time64(kind) or types.is_date64(kind):
            return arrow.int64()
        if types.is_time32(kind) or types.is_date32(kind):
            return arrow.int32()
        if types.is_dictionary(kind):
            inner = self._stored_type(kind.value_type)
            return kind if inner == kind.value_type else inner
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            inner = self._stored_type(kind.value_type)
            return kind if inner == kind.value_type else arrow.list_(inner)
        if types.is_map(kind):
            inner = self._stored_type(kind.item_type)
            return kind if inner == kind.item_type else arrow.map_(kind.key_type, inner)
        if types.is_struct(kind):
            fields = [kind.field(at) for at in range(kind.num_fields)]
            inner = [self._stored_type(one.type) for one in fields]
            changed = any(one.type != stored for one, stored in zip(fields, inner, strict=True))
            pairs = [(one.name, stored) for one, stored in zip(fields, inner, strict=True)]
            return arrow.struct(pairs) if changed else kind
        return kind

    def _converter(self, kind: Any, *, typed: bool) -> Convert:  # noqa: ANN401  pyarrow's own
        types = self._arrow.types
        if types.is_dictionary(kind):
            return self._converter(kind.value_type, typed=typed)
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            item = self._converter(kind.value_type, typed=typed)
            return _optional(lambda value: [item(one) for one in value])
        if types.is_struct(kind):
            fields = [kind.field(at) for at in range(kind.num_fields)]
            if len({one.name for one in fields}) != len(fields):
                refuse("DATA-23", f"{quote(self._name)} has a structure with two members of one name")
            inner = [
                (one.name, _escape(one.name) if typed else one.name, self._converter(one.type, typed=typed))
                for one in fields
            ]
            return _optional(
                lambda value: order_members((written, convert(value[own])) for own, written, convert in inner)
            )
        if types.is_map(kind) and (types.is_string(kind.key_type) or types.is_large_string(kind.key_type)):
            item = self._converter(kind.item_type, typed=typed)
            return _optional(
                lambda value: order_members((_escape(key) if typed else key, item(one)) for key, one in value)
            )
        return _optional(self._scalar(kind) if typed else _in_json(self._scalar(kind)))

    def _scalar(self, kind: Any) -> Convert:  # noqa: ANN401, PLR0911  pyarrow's own; one return for each type
        types = self._arrow.types
        if types.is_null(kind) or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind):
            return lambda value: value
        if types.is_integer(kind):
            return plain_integer
        if types.is_floating(kind):
            return lambda value: (
                plain_float(float(value)) if value - value == 0 else {"$float": _not_finite(float(value))}
            )
        if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
            return lambda value: {"$bytes": base64.b64encode(value).decode()}
        if types.is_decimal(kind):
            return lambda value: {"$decimal": _plain_decimal(value)}
        if types.is_date32(kind):
            return lambda value: {"$day": value}
        if types.is_date64(kind):
            return lambda value: {"$day": value // 86_400_000}
        for word, test in (("$time", types.is_time), ("$duration", types.is_duration)):
            if test(kind):
                return _in_nanoseconds(word, kind.unit)
        if types.is_timestamp(kind):
            return _in_nanoseconds("$instant" if kind.tz else "$local", kind.unit)
        raise refusal(
            "DATA-23", f"{quote(self._name)} has a column of the type {quote(str(kind))}, which has no canonical form"
        )


def _in_nanoseconds(word: str, unit: str) -> Convert:
    scale = _NANOSECONDS[unit]
    return lambda value: {word: str(value * scale)}


def _escape(name: str) -> str:
    return "$" + name if name.startswith("$") else name


def _optional(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _in_json(convert: Convert) -> Convert:
    def converted(value: Any) -> Json:  # noqa: ANN401  whatever the column holds
        found = convert(value)
        if isinstance(found, dict):
            raise _Typed
        return found

    return converted


def _not_finite(value: float) -> str:
    return "nan" if value != value else "inf" if value > 0 else "-inf"  # noqa: PLR0124  that is what NaN is


def _plain_decimal(value: Decimal) -> str:
    """Return a decimal without an exponent or zeros at its end, which are its column's and not its own."""
    text = format(value, "f")
    plain = (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
    return "0" if plain == "-0" else plain
