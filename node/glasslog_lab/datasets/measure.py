"""One pass over a data set: its files' digests, its records, and the roots that both are known by."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from glasslog.records import SECRET_BYTES, Blinding, start_record
from glasslog_lab.datasets import rows, tar
from glasslog_lab.datasets.croissant import CROISSANT_BYTES_MAX, Checked, Croissant, DeclaredFile, read_croissant
from glasslog_lab.datasets.index import IndexWriter
from glasslog_lab.datasets.parquet import read_parquet
from glasslog_lab.datasets.refusals import quote, refusal, refuse
from glasslog_lab.datasets.sorting import KeySorter
from glasslog_lab.datasets.sources import (
    EXPANSION_MAX,
    Expanded,
    Progress,
    Reading,
    Source,
    expand,
    list_sources,
    read_source,
    split_compression,
)

Format: TypeAlias = Literal["auto", "files", "json", "lines", "csv", "tsv", "samples", "members", "parquet"]
FORMATS: tuple[Format, ...] = ("auto", "files", "json", "lines", "csv", "tsv", "samples", "members", "parquet")

_BY_SUFFIX: dict[str, Format] = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tar": "samples",
    ".parquet": "parquet",
}
_SUFFIXES: dict[Format, tuple[str, ...]] = {
    "json": (".jsonl", ".ndjson", ".json"),
    "lines": (".jsonl", ".ndjson", ".txt", ".json"),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "samples": (".tar",),
    "members": (".tar",),
    "parquet": (".parquet",),
}
_FORMS: dict[Format, str] = {
    "files": "file:bytes",
    "json": "jsonl:json",
    "lines": "line:bytes",
    "csv": "csv:json",
    "tsv": "tsv:json",
    "samples": "tar:sample",
    "members": "tar:bytes",
    "parquet": "parquet:json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How records are told apart. ``field``: each record is one field of a row alone. ``tmp``: for temporary files."""

    format: Format = "auto"
    field: str | None = None
    order: bool = True
    tmp: Path | None = None
    expansion_max: int = EXPANSION_MAX


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """A file as it was read. ``records`` is how many it holds, None where it was not read for records."""

    name: str
    size: int
    sha256: bytes
    records: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetMeasured:
    """What one pass over a data set found. ``record_form`` says what a record is and how it becomes bytes (D3)."""

    name: str
    record_form: str
    records: int
    distinct: int
    size: int
    files: tuple[DatasetFile, ...]
    records_root: bytes
    order_root: bytes | None
    keys_root: bytes | None
    declared: tuple[DeclaredFile, ...] = ()
    croissant: Croissant | None = None

    @property
    def blinded(self) -> bool:
        """Whether the roots are keyed, so that a stranger cannot test guesses against them."""
        return self.keys_root is not None


def measure_dataset(
    path: Path,
    index: Path,
    *,
    options: Options | None = None,
    blinding: Blinding | None = None,
    croissant: Path | None = None,
    apart: Sequence[Path] = (),
    on_read: Progress = lambda _count: None,
) -> DatasetMeasured:
    """Read every file of a data set once and write its index.

    ``croissant`` describes the files beside it: those it names are the data set's, and their digests are checked.
    Files in ``apart`` may lie in the folder and are no part of the data set: a secret, the facts.

    Raises:
        ArtifactError: DATA-nn, and nothing is left where the index would have been.
    """
    options = options or Options()
    described = None if croissant is None else open_croissant(croissant)
    sources = _select(list_sources(path), [index, *apart, *([] if croissant is None else [croissant])], described)
    if not sources:
        refuse("DATA-10", f"{path} holds none of the files that the data set is said to have")
    plan = _plan(sources, options, described)
    files = list[DatasetFile]()
    read = dict[str, dict[str, bytes]]()
    wants_md5: frozenset[str] = frozenset() if described is None else described.wants_md5
    with ExitStack() as stack:
        sorter = KeySorter(options.tmp)
        stack.callback(sorter.close)
        writer = stack.enter_context(IndexWriter(index, order=options.order))
        for source, form in plan:
            before = writer.total
            with read_source(source, on_read, with_md5=source.name in wants_md5) as reading:
                if form is not None:
                    for digests in _read_records(source, form, reading, options):
                        keys = digests if blinding is None else [blinding.blind(digest) for digest in digests]
                        writer.add(keys)
                        sorter.add(keys)
            read[source.name] = reading.digests()
            count = None if form is None else writer.total - before
            files.append(DatasetFile(source.name, reading.size, read[source.name]["sha256"], count))
        declared = () if described is None else described.check(read)
        _refuse_mismatches(declared)
        roots = writer.finish(None if blinding is None else blinding.keys_root(), sorter.entries())
    forms = sorted({_FORMS[form] for _, form in plan if form is not None})
    return DatasetMeasured(
        name=path.name or path.resolve().name,
        record_form="+".join(forms) + (f" field {options.field}" if options.field is not None else ""),
        records=roots.total,
        distinct=roots.distinct,
        size=sum(file.size for file in files),
        files=tuple(files),
        records_root=roots.records,
        order_root=roots.order,
        keys_root=roots.keys_root,
        declared=declared,
        croissant=described,
    )


def _refuse_mismatches(declared: Sequence[DeclaredFile]) -> None:
    wrong = [one for one in declared if one.checked is Checked.MISMATCH]
    if wrong:
        first = f"{quote(wrong[0].name)}, {wrong[0].why}"
        refuse("DATA-25", f"{len(wrong)} of {len(declared)} files are not what is declared of them: {first}")


def open_blinding(path: Path, *, create: bool = False) -> Blinding:
    """Return the secret in a file, hexadecimal; made there, for its owner alone to read, where it may be created.

    Raises:
        ArtifactError: DATA-30 not there, not 32 bytes, or readable by others.
    """
    try:
        if create and not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w") as stream:  # noqa: PTH123  a descriptor, not a path
                stream.write(secrets.token_hex(SECRET_BYTES) + "\n")
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            refuse("DATA-30", f"{path} can be read by others than its owner")
        return Blinding(bytes.fromhex(path.read_text("ascii").strip()))
    except OSError as error:
        raise refusal("DATA-30", f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise refusal("DATA-30", f"{path} does not hold a secret of {SECRET_BYTES} bytes") from error


def _plan(
    sources: Sequence[Source], options: Options, described: Croissant | None
) -> list[tuple[Source, Format | None]]:
    """Return what each file is read as; None for one that holds no records of the kind asked for."""
    if options.format == "files":
        return [(source, "files") for source in sources]
    if options.format != "auto":
        wanted = _SUFFIXES[options.format]
        plan: list[tuple[Source, Format | None]] = [
            (source, options.format if len(sources) == 1 or _suffix(source.name) in wanted else None)
            for source in sources
        ]
        if all(form is None for _, form in plan):
            refuse("DATA-13", f"none of the {len(sources)} files ends in {' or '.join(wanted)}")
        return plan
    found: list[tuple[Source, Format | None]] = [(source, _BY_SUFFIX.get(_suffix(source.name))) for source in sources]
    known = [form for _, form in found if form is not None]
    if described is not None and known:
        return found
    if not known:
        return [(source, "files") for source in sources]
    if len(known) < len(found):
        other = next(source for source, form in found if form is None)
        refuse("DATA-13", f"{quote(other.name)} is no container of records, and other files are")
    return found


def _read_records(source: Source, form: Format, reading: Reading, options: Options) -> Iterator[list[bytes]]:
    if options.field is not None and form in {"files", "lines", "samples", "members"}:
        refuse("DATA-27", f"{quote(source.name)} is read as {form}, which have no fields")
    compression = split_compression(source.name)[1]
    if form == "files":
        return _read_file(reading)
    if form == "parquet":
        return read_parquet(source.name, reading, options.field, options.expansion_max)
    stream = expand(source.name, compression, reading, options.expansion_max)
    return _TEXT[form](source.name, stream, options.field)


def _read_file(reading: Reading) -> Iterator[list[bytes]]:
    state = start_record("bytes")
    while data := reading.read():
        state.update(data)
    yield [state.digest()]


def _read_json(name: str, stream: Expanded, field: str | None) -> Iterator[list[bytes]]:
    if field is None:
        return rows.read_text_records(name, stream, rows.digest_json)
    return rows.read_text_records(name, stream, lambda data: rows.digest_field(data, field))


_TEXT: dict[Format, Callable[[str, Expanded, str | None], Iterator[list[bytes]]]] = {
    "json": _read_json,
    "lines": lambda name, stream, _field: rows.read_text_records(name, stream, rows.digest_line),
    "csv": lambda name, stream, field: rows.read_csv(name, stream, ",", field),
    "tsv": lambda name, stream, field: rows.read_csv(name, stream, "\t", field),
    "samples": lambda name, stream, _field: tar.read_samples(name, stream),
    "members": lambda name, stream, _field: tar.read_members(name, stream),
}


def _suffix(name: str) -> str:
    return Path(split_compression(name)[0]).suffix.lower()


def _select(sources: Sequence[Source], apart: Sequence[Path], described: Croissant | None) -> list[Source]:
    """Return the data set's files: not what we keep beside them, and with a description only those it names."""
    others = {path.resolve() for path in apart}
    chosen = None if described is None else described.select(source.name for source in sources)
    return [source for source in sources if source.place not in others and (chosen is None or source.name in chosen)]


def open_croissant(path: Path) -> Croissant:
    """Return the description in a file.

    Raises:
        ArtifactError: DATA-10 not readable; DATA-24, IMPORT-02 or IMPORT-03 as ``read_croissant``.
    """
    try:
        with path.open("rb") as stream:
            return read_croissant(path.name, stream.read(CROISSANT_BYTES_MAX + 1))
    except OSError as error:
        raise refusal("DATA-10", f"{path} cannot be read: {error.strerror}") from error
