"""Records that are lines or rows of text: JSONL, plain lines, CSV (specs/datasets.md, D3)."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator
from typing import NamedTuple

from glasslog.records import record_digest
from glasslog_lab.datasets.canonical_json import Json, JsonError, canonicalize, order_members, parse, write
from glasslog_lab.datasets.refusals import quote, refusal, refuse
from glasslog_lab.datasets.sources import Expanded

RECORD_BYTES_MAX = 16 << 20  # of a record that has to be parsed whole
_BLANK = b" \t\r"


class Line(NamedTuple):
    """A line without its end, and its number from 1."""

    number: int
    data: bytes


def read_lines(name: str, stream: Expanded) -> Iterator[list[Line]]:
    """Yield a file's lines that are not blank, chunk by chunk; the mark of UTF-8 at its beginning is no part of them.

    Raises:
        ArtifactError: DATA-16 a line longer than 16 MiB.
    """
    number, rest, first = 1, b"", True
    for chunk in stream.chunks():
        whole, end, tail = chunk.rpartition(b"\n")
        if not end:
            rest += tail
        else:
            lines = (rest + whole).split(b"\n")
            rest = tail
            if first:
                lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
                first = False
            yield _number(name, lines, number)
            number += len(lines)
        if len(rest) > RECORD_BYTES_MAX:
            refuse("DATA-16", f"{quote(name)} line {number} is longer than {RECORD_BYTES_MAX} bytes")
    if rest:
        yield _number(name, [rest.removeprefix(codecs.BOM_UTF8) if first else rest], number)


def _number(name: str, lines: list[bytes], first: int) -> list[Line]:
    found = [Line(number, line.removesuffix(b"\r")) for number, line in enumerate(lines, first) if line.strip(_BLANK)]
    for line in found:
        if len(line.data) > RECORD_BYTES_MAX:
            refuse("DATA-16", f"{quote(name)} line {line.number} is longer than {RECORD_BYTES_MAX} bytes")
    return found


def digest_line(data: bytes) -> bytes:
    """Return the digest of a line as it is."""
    return record_digest("bytes", data)


def digest_json(data: bytes, kind: str = "json") -> bytes:
    """Return the digest of the JSON value that a text holds; raises JsonError as ``canonicalize``."""
    return record_digest(kind, canonicalize(data))


def digest_field(data: bytes, field: str) -> bytes:
    """Return the digest of one member of the JSON object that a text holds.

    Raises:
        JsonError: as ``canonicalize``; DATA-27 it has no such member.
    """
    value = parse(data)
    if not isinstance(value, dict) or field not in value:
        raise JsonError("DATA-27", f"has no field {ascii(field)[:60]}")
    return digest_value(value[field])


def digest_value(value: Json) -> bytes:
    """Return the digest of a value that is a record by itself: text as its UTF-8, else its canonical JSON."""
    if isinstance(value, str):
        try:
            return record_digest("bytes", value.encode())
        except UnicodeEncodeError:
            raise JsonError("DATA-14", "holds half of a surrogate pair") from None
    return record_digest("json", write(value))


def read_text_records(name: str, stream: Expanded, digest: Callable[[bytes], bytes]) -> Iterator[list[bytes]]:
    """Yield the digests of a file's lines.

    Raises:
        ArtifactError: DATA-14 to DATA-17 and DATA-27, with the line.
    """
    for lines in read_lines(name, stream):
        digests = list[bytes]()
        for number, data in lines:
            try:
                digests.append(digest(data))
            except JsonError as error:
                raise refusal(error.code, f"{quote(name)} line {number} {error.fact}") from None
        yield digests


def read_csv(name: str, stream: Expanded, delimiter: str, field: str | None) -> Iterator[list[bytes]]:
    """Yield the digests of the rows of a CSV file (RFC 4180) whose first row names the columns.

    A row is the JSON object of its columns, all text; of one column alone where ``field`` names it.

    Raises:
        ArtifactError: DATA-16 a row longer than 16 MiB, DATA-17 not UTF-8, DATA-18 not CSV, a NUL, a row of another
            width, a column twice or without a name; DATA-27 no such column.
    """
    csv.field_size_limit(max(csv.field_size_limit(), RECORD_BYTES_MAX))  # the module's own is 128 KiB
    text = _TextLines(name, stream)
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    header = _next_row(name, rows, text)
    while header is not None and not header:
        header = _next_row(name, rows, text)
    if header is None:
        refuse("DATA-18", f"{quote(name)} has no row that names its columns")
    if len(set(header)) != len(header) or "" in header:
        refuse("DATA-18", f"{quote(name)} names a column twice or leaves one without a name")
    if field is not None and field not in header:
        refuse("DATA-27", f"{quote(name)} has no column {quote(field)}")
    at = None if field is None else header.index(field)
    digests = list[bytes]()
    while (row := _next_row(name, rows, text)) is not None:
        if not row:
            continue
        if len(row) != len(header):
            refuse("DATA-18", f"{quote(name)} line {rows.line_num}: {len(row)} fields under {len(header)} columns")
        if at is None:
            digests.append(record_digest("json", write(order_members(zip(header, row, strict=True)))))
        else:
            digests.append(digest_value(row[at]))
        if len(digests) >= 4096:
            yield digests
            digests = []
    yield digests


class _TextLines:
    """The physical lines of a file as text, with a limit on how many bytes one row may take."""

    def __init__(self, name: str, stream: Expanded) -> None:
        self._name = name
        self._lines = self._split(stream)
        self._taken = 0
        self._number = 0

    def start_row(self) -> None:
        self._taken = 0

    def __iter__(self) -> _TextLines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number += 1
        self._taken += len(line)
        self._check(self._taken)
        if b"\x00" in line:
            refuse("DATA-18", f"{quote(self._name)} line {self._number} holds a NUL")
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            fact = f"{quote(self._name)} line {self._number} is not UTF-8 at byte {error.start}"
            raise refusal("DATA-17", fact) from None

    def _check(self, size: int) -> None:
        if size > RECORD_BYTES_MAX:
            fact = f"{quote(self._name)} line {self._number} is in a row longer than {RECORD_BYTES_MAX} bytes"
            refuse("DATA-16", fact)

    def _split(self, stream: Expanded) -> Iterator[bytes]:
        rest, first = b"", True
        for chunk in stream.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield (line.removeprefix(codecs.BOM_UTF8) if first else line) + b"\n"
                first = False
            self._check(len(rest))
        if rest:
            yield rest.removeprefix(codecs.BOM_UTF8) if first else rest


def _next_row(name: str, rows: Iterator[list[str]], text: _TextLines) -> list[str] | None:
    text.start_row()
    try:
        return next(rows, None)
    except csv.Error as error:
        raise refusal("DATA-18", f"{quote(name)}: {error}") from error
