"""One record, from what a person has in hand: a file, a value, the parts of a sample, or its digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from glasslog.records import record_digest, sample_content, start_record
from glasslog_lab.datasets.canonical_json import JsonError
from glasslog_lab.datasets.refusals import quote, refusal, refuse
from glasslog_lab.datasets.rows import RECORD_BYTES_MAX, digest_json
from glasslog_lab.datasets.sources import Source, read_source
from glasslog_lab.datasets.tar import split_sample_name

As: TypeAlias = Literal["bytes", "json", "typed", "sample"]
KINDS_BY_HAND: tuple[As, ...] = ("bytes", "json", "typed", "sample")


def digest_value(text: str, kind: As) -> bytes:
    """Return the digest of a record given as text: as its UTF-8 bytes, or as the JSON it holds.

    Raises:
        ArtifactError: DATA-14 to DATA-17 it is not the JSON it should be; DATA-31 a sample is no text.
    """
    if kind == "sample":
        refuse("DATA-31", "a sample is made of files")
    try:
        data = text.encode()
        return record_digest("bytes", data) if kind == "bytes" else digest_json(data, kind)
    except UnicodeEncodeError as error:
        raise refusal("DATA-17", "the value is not UTF-8") from error
    except JsonError as error:
        raise refusal(error.code, f"the value {error.fact}") from error


def digest_files(paths: Sequence[Path], kind: As) -> bytes:
    """Return the digest of a record in a file, or of the sample whose parts are in several.

    Raises:
        ArtifactError: DATA-10 and DATA-12 a file cannot be read, DATA-31 several files that are no sample's, DATA-14 to
            DATA-17 not the JSON it should be, DATA-19 a part twice.
    """
    if kind == "sample":
        parts = dict[str, bytes]()
        for path in paths:
            part = split_sample_name(path.name)[1]
            if part in parts:
                refuse("DATA-19", f"{quote(path.name)} is a part that the sample has already")
            parts[part] = _digest_bytes(path)
        return record_digest("sample", sample_content(parts))
    if len(paths) != 1:
        refuse("DATA-31", f"{len(paths)} files are one record only as a sample")
    return _digest_bytes(paths[0]) if kind == "bytes" else _digest_json(paths[0], kind)


def parse_digest(text: str) -> bytes:
    """Return a record's digest from hexadecimal.

    Raises:
        ArtifactError: DATA-31 it is not 64 digits.
    """
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        refuse("DATA-31", f"{quote(text)} is not a digest of 64 hexadecimal digits")
    return digest


def _digest_bytes(path: Path) -> bytes:
    state = start_record("bytes")
    with read_source(Source(path.name, path.resolve()), lambda _count: None) as reading:
        while data := reading.read():
            state.update(data)
    return state.digest()


def _digest_json(path: Path, kind: str) -> bytes:
    parts, size = list[bytes](), 0
    with read_source(Source(path.name, path.resolve()), lambda _count: None) as reading:
        while data := reading.read():
            size += len(data)
            if size > RECORD_BYTES_MAX:
                refuse("DATA-16", f"{path} is larger than {RECORD_BYTES_MAX} bytes")
            parts.append(data)
    try:
        return digest_json(b"".join(parts), kind)
    except JsonError as error:
        raise refusal(error.code, f"{path} {error.fact}") from error
