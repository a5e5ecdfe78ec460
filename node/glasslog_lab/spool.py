"""A folder of what waits to be sent to a node, on this machine or, carried there, on another.

::

    SPOOL/<digest>.cbor                     statements, canonical CBOR one after another (RFC 8742): one submission
    SPOOL/<digest>.sealed, <digest>.cose    sealed items; a third party's signed statement
    SPOOL/done/                             what a node has taken, beside <digest>.taken.json or <digest>.published.json
    SPOOL/refused/                          what a node refused for good, beside <digest>.json, which says why

``<digest>`` is SHA-256 of the file, in hexadecimal: of one statement its id (specs/statements.md, V6). It is also the
idempotency key under which the file is submitted, and the node keeps that for good (specs/storage.md, S10). So a file
may be sent any number of times, from any copy of the folder, by several processes at once and across any crash, and
enters the ledger once. A file appears under its name whole and durable, or not at all. Files of other names that hold
statements are taken in: put under their digests, and kept in ``done``.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import cast

from glasslog.codec import read_item
from glasslog.cose import parse_signed_statement
from glasslog.errors import DecodeError, ProtocolError
from glasslog.statement import decode_statement, encode_statement, from_json
from glasslog_lab.errors import ArtifactError

FILE_BYTES_MAX = 256 << 20
BATCH_BYTES_MAX = 1 << 20
BATCH_STATEMENTS_MAX = 1_000
MEDIA_TYPES: Mapping[str, str] = {
    ".cbor": "application/cbor",
    ".sealed": "application/vnd.glasslog.sealed+cbor",
    ".cose": "application/cose",
}
_JSON = {".json", ".jsonl", ".ndjson"}
_SPACE = " \t\r\n"
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Waiting:
    """One submission: its idempotency ``key``, its ``body``, and the ids of its statements, none where it is sealed."""

    key: str
    body: bytes
    media_type: str
    ids: tuple[str, ...]


class Spool:
    """Keeps submissions until a node has taken them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, item: Waiting) -> None:
        """Keep one submission durably. What is there already is left alone.

        Raises:
            ArtifactError: SPOOL-01, it cannot be written.
        """
        path = self._path(item)
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_whole(path, item.body)

    def names(self) -> list[str]:
        """Return the names of files that wait, in the order they were written; names with a leading dot are not ours.

        Raises:
            ArtifactError: SPOOL-02, the folder cannot be read.
        """
        try:
            with os.scandir(self.folder) as entries:
                found = [
                    (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name)
                    for entry in entries
                    if not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=False)
                ]
        except OSError as error:
            fact = f"{self.folder} cannot be read: {(error.strerror or str(error)).lower()}"
            raise ArtifactError("SPOOL-02", fact, "name the folder given to --spool") from error
        return [name for _, name in sorted(found)]

    def take_in(self) -> list[ArtifactError]:
        """Put statements in files of other names under their digests; return what is wrong with those that are left.

        Raises:
            ArtifactError: SPOOL-01, SPOOL-02.
        """
        problems = list[ArtifactError]()
        for name in self.names():
            path = self.folder / name
            if is_ours(path):
                continue
            try:
                for item in read_submissions(path):
                    self.put(item)
            except ArtifactError as error:
                problems.append(error)
                continue
            self._move(path, self.folder / "done")
        return problems

    def read(self, name: str) -> Waiting | None:
        """Return the submission in a file named by its digest; None where another process has moved it meanwhile.

        Raises:
            ArtifactError: SPOOL-02 not readable, SPOOL-03 its bytes are not those of its name, or no submission.
        """
        path = self.folder / name
        try:
            body = _read(path)
        except FileNotFoundError:
            return None
        if sha256(body).hexdigest() != path.stem:
            raise ArtifactError(
                "SPOOL-03", f"{path} is damaged: its bytes are not those of its name", "copy it again, or state it anew"
            )
        return Waiting(path.stem, body, MEDIA_TYPES[path.suffix], _list_ids(path, body))

    def settle(self, item: Waiting, receipt: Mapping[str, object]) -> None:
        """Record durably that a node has taken a submission, then move it to ``done``.

        Raises:
            ArtifactError: SPOOL-01.
        """
        done = self.folder / "done"
        with _writing(done):
            done.mkdir(parents=True, exist_ok=True)
            if not (done / f"{item.key}.published.json").exists():
                write_whole(done / f"{item.key}.taken.json", _receipt(receipt))
        self._move(self._path(item), done)

    def publish(self, key: str, receipt: Mapping[str, object]) -> None:
        """Record durably that a submission, taken before, is published.

        Raises:
            ArtifactError: SPOOL-01.
        """
        done = self.folder / "done"
        with _writing(done):
            write_whole(done / f"{key}.published.json", _receipt(receipt))
            (done / f"{key}.taken.json").unlink(missing_ok=True)

    def refuse(self, item: Waiting, why: ArtifactError) -> None:
        """Move what a node refuses for good out of the way of the rest.

        Raises:
            ArtifactError: SPOOL-01.
        """
        folder = self.folder / "refused"
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            reason = {"code": why.code, "fact": why.fact, "next": why.next_step, "statements": list(item.ids)}
            write_whole(folder / f"{item.key}.json", _receipt(reason))
        self._move(self._path(item), folder)

    def unpublished(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return key and statements' ids of each submission that was taken and not yet seen published, by key."""
        found = list[tuple[str, tuple[str, ...]]]()
        for path in sorted((self.folder / "done").glob("*.taken.json")):
            key = path.name.partition(".")[0]
            ids: object = None
            with suppress(OSError, ValueError, ArtifactError, AttributeError):
                ids = json.loads(_read(path)).get("statements")
            if _DIGEST.fullmatch(key):
                found.append((key, tuple(map(str, _as_list(ids)))))
        return found

    def _path(self, item: Waiting) -> Path:
        suffix = next(suffix for suffix, media_type in MEDIA_TYPES.items() if media_type == item.media_type)
        return self.folder / (item.key + suffix)

    def _move(self, path: Path, folder: Path) -> None:
        with _writing(folder), suppress(FileNotFoundError):  # another process may have been faster
            folder.mkdir(parents=True, exist_ok=True)
            path.replace(folder / path.name)
            _sync(folder)
            _sync(self.folder)


def pack(items: Sequence[bytes]) -> Iterator[Waiting]:
    """Yield submissions of encoded statements, in order: the same statements always make the same submissions."""
    start = size = 0
    for end, item in enumerate(items):
        if end > start and (end - start == BATCH_STATEMENTS_MAX or size + len(item) > BATCH_BYTES_MAX):
            yield _packed(items[start:end])
            start, size = end, 0
        size += len(item)
    if start < len(items):
        yield _packed(items[start:])


def read_submissions(path: Path) -> list[Waiting]:
    """Return what a file of statements, sealed items or a signed statement holds, by its suffix.

    Raises:
        ArtifactError: SPOOL-02 not readable or of no known suffix; SPOOL-04 it holds something else.
    """
    suffix = path.suffix.lower()
    if suffix not in _JSON and suffix not in MEDIA_TYPES:
        known = ", ".join([*sorted(_JSON), *MEDIA_TYPES])
        raise ArtifactError("SPOOL-02", f"{path} is of no known kind", f"take it out, or name it by one of {known}")
    try:
        data = _read(path)
    except FileNotFoundError as error:
        raise ArtifactError("SPOOL-02", f"{path} is not there", "check the path") from error
    if suffix in _JSON:
        return list(pack(_cut_json(path, data)))
    if suffix == ".cbor":
        return list(pack(_cut_cbor(path, data)))
    return [Waiting(sha256(data).hexdigest(), data, MEDIA_TYPES[suffix], _list_ids(path, data))]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file durably: under its name it is whole or not there. A device or pipe is written into, never replaced.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    path = Path(os.path.realpath(path))  # a link stays, and what it leads to is written
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    partial = path.with_name(f".{path.name[:80]}.{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def is_ours(path: Path) -> bool:
    """Whether a file is named as a submission that waits is."""
    return path.suffix in MEDIA_TYPES and _DIGEST.fullmatch(path.stem) is not None


def _packed(items: Sequence[bytes]) -> Waiting:
    body = b"".join(items)
    ids = tuple(sha256(item).hexdigest() for item in items)
    return Waiting(sha256(body).hexdigest(), body, MEDIA_TYPES[".cbor"], ids)


def _cut_json(path: Path, data: bytes) -> list[bytes]:
    """Return the statements of a JSON file: one, an array of them, or one a line."""
    if path.suffix.lower() != ".json":
        lines = [(f"line {number}", one) for number, one in enumerate(data.split(b"\n"), 1) if one.strip()]
        return [_convert(path, where, one) for where, one in lines]
    try:
        text = data.decode().strip(_SPACE)
        if not text.startswith("["):
            return [_convert(path, "", text)]
        return [_convert(path, f"statement {number}", one) for number, one in enumerate(_cut_array(text))]
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"not JSON: {error}") from None


def _cut_array(text: str) -> Iterator[str]:
    """Yield the text of each element of a JSON array, for ``from_json`` to judge as it was written."""
    decoder = json.JSONDecoder()
    at = _skip(text, 1)
    while not text.startswith("]", at):
        _, end = decoder.raw_decode(text, at)
        yield text[at:end]
        at = _skip(text, end)
        if text.startswith(",", at):
            at = _skip(text, at + 1)
        elif not text.startswith("]", at):
            raise ValueError(f"neither a comma nor the end of the array at character {at}")
    if at + 1 != len(text):
        raise ValueError(f"text after the array at character {at + 1}")


def _as_list(value: object) -> list[object]:
    return list(cast("list[object]", value)) if isinstance(value, list) else []


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _convert(path: Path, where: str, text: str | bytes) -> bytes:
    try:
        return encode_statement(from_json(text))
    except ProtocolError as error:
        raise _broken(path, f"{where + ': ' if where else ''}{error.code} {error.fact}") from error


def _cut_cbor(path: Path, data: bytes) -> list[bytes]:
    items = list[bytes]()
    at = 0
    try:
        while at < len(data):
            _, end = read_item(data, at)
            decode_statement(data[at:end])
            items.append(data[at:end])
            at = end
    except DecodeError as error:
        raise _broken(path, f"statement {len(items)}: {error.code} {error.fact}") from error
    return items


def _list_ids(path: Path, body: bytes) -> tuple[str, ...]:
    if path.suffix == ".cbor":
        items = _cut_cbor(path, body)
        if not items:
            raise _broken(path, "it is empty")
        return tuple(sha256(item).hexdigest() for item in items)
    if path.suffix == ".cose":
        try:
            parse_signed_statement(body)
        except DecodeError as error:
            raise _broken(path, f"{error.code} {error.fact}") from error
    return ()


def _broken(path: Path, fact: str) -> ArtifactError:
    return ArtifactError("SPOOL-04", f"{path} holds no statements: {fact}"[:400], "correct it, or take it out")


def _read(path: Path) -> bytes:
    """Return a file's bytes; a link, a pipe or a giant put there is refused.

    Raises:
        FileNotFoundError: it is not there.
        ArtifactError: SPOOL-02.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor, not a path
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_BYTES_MAX:
                fact = f"{path} is no file of at most {FILE_BYTES_MAX} bytes"
                raise ArtifactError("SPOOL-02", fact, "take it out of the spool")
            return file.read(FILE_BYTES_MAX)
    except FileNotFoundError:
        raise
    except OSError as error:
        fact = f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
        raise ArtifactError("SPOOL-02", fact, "take it out of the spool, or mend its mode") from error


@contextmanager
def _writing(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        fact = f"{folder} cannot be written: {(error.strerror or str(error)).lower()}"
        raise ArtifactError("SPOOL-01", fact, "check the folder, its mode and the free space") from error


def _receipt(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
