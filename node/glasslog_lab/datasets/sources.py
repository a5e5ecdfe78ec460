"""The files of a data set, and one pass over the bytes of each, expanded where they are compressed.

Nothing outside the path is read, nothing is written, and a file that changes meanwhile is refused (D11).
"""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from hashlib import md5, sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from glasslog_lab.datasets.refusals import lacks_package, quote, refusal, refuse

CHUNK_BYTES = 1 << 20
EXPANSION_MAX = 200  # times what was read; text of real corpora stays below 20
EXPANSION_FREE_BYTES = 64 << 20
_WINDOW_BYTES_MAX = 1 << 27
_POINTER = b"version https://git-lfs.github.com/spec/"  # what stands in a checkout for a file that was not fetched
_POINTER_BYTES_MAX = 1_024

Progress = Callable[[int], None]


class Source(NamedTuple):
    """A file: its POSIX path below what is measured, and where it really is."""

    name: str
    place: Path


class Reading:
    """One pass over a file: its chunks as they lie, hashed on the way."""

    def __init__(self, stream: io.FileIO, on_read: Progress, *, with_md5: bool) -> None:
        self._stream = stream
        self._on_read = on_read
        self._sha256 = sha256()
        self._md5 = md5(usedforsecurity=False) if with_md5 else None
        self.size = 0

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """Return at most ``size`` bytes more, none at the end."""
        data = self._stream.read(size) or b""
        self._sha256.update(data)
        if self._md5 is not None:
            self._md5.update(data)
        self.size += len(data)
        self._on_read(len(data))
        return data

    @contextmanager
    def borrow(self) -> Generator[BinaryIO]:
        """Give the open file to a library that seeks, before anything is read; reading then starts at its beginning."""
        with open(os.dup(self._stream.fileno()), "rb") as file:  # noqa: PTH123  a descriptor, not a path
            yield file
        self._stream.seek(0)

    def digests(self) -> dict[str, bytes]:
        """Return the digests of what was read, by algorithm."""
        found = {"sha256": self._sha256.digest()}
        return found if self._md5 is None else {**found, "md5": self._md5.digest()}


def list_sources(path: Path) -> list[Source]:
    """Return the files at or below ``path``, sorted by name as bytes.

    Raises:
        ArtifactError: DATA-10 nothing there, not readable or a name that is not printable UTF-8, DATA-11 a link out of
            the folder or to a folder, or neither file nor folder.
    """
    try:
        root = Path(os.path.realpath(path, strict=True))
        if not root.is_dir():
            return [Source(_check_name(path.name or root.name), _follow(root, root.parent))]
        found = list[Source]()
        for folder, folders, names in os.walk(root, onerror=_raise):
            for name in names + [name for name in folders if Path(folder, name).is_symlink()]:
                place = Path(folder, name)
                found.append(Source(_check_name(place.relative_to(root).as_posix()), _follow(place, root)))
    except OSError as error:
        raise refusal("DATA-10", f"{quote(error.filename)} cannot be read: {error.strerror}") from error
    if not found:
        refuse("DATA-10", f"{path} holds no file")
    return sorted(found, key=lambda source: source.name.encode())


@contextmanager
def read_source(source: Source, on_read: Progress, *, with_md5: bool = False) -> Generator[Reading]:
    """Open a file for one pass; what is not read within is read at the end, so that the digests are of all of it.

    Raises:
        ArtifactError: DATA-10 not readable, DATA-12 it changed meanwhile, DATA-22 it is a pointer of Git LFS.
    """
    try:
        # A link in its place now has been put there since it was resolved; a pipe must not block.
        descriptor = os.open(source.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with io.FileIO(descriptor, "rb") as stream:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                refuse("DATA-12", f"{quote(source.name)} was replaced by something else while it was read")
            if before.st_size <= _POINTER_BYTES_MAX and os.pread(descriptor, len(_POINTER), 0) == _POINTER:
                refuse("DATA-22", f"{quote(source.name)} is a pointer of Git LFS, not the file it stands for")
            reading = Reading(stream, on_read, with_md5=with_md5)
            yield reading
            while reading.read():
                pass
            after = os.fstat(descriptor)
    except OSError as error:
        raise refusal("DATA-10", f"{source.place} cannot be read: {error.strerror}") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or reading.size != after.st_size:
        refuse("DATA-12", f"{quote(source.name)} changed while it was read")


def split_compression(name: str) -> tuple[str, str]:
    """Return a file's name without the suffix of a compression, and that suffix: ``.gz``, ``.zst`` or none."""
    lower = name.lower()
    if lower.endswith(".tgz"):
        return name[:-4] + ".tar", ".gz"
    for suffix in (".gz", ".zst"):
        if lower.endswith(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


class Expanded:
    """The bytes of a file as its records stand in it, in any amounts."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def chunks(self) -> Iterator[bytes]:
        """Return what is left, in chunks that are not empty."""
        if self._rest:
            rest, self._rest = self._rest, b""
            yield rest
        yield from self._chunks

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes; fewer only at the end."""
        if len(self._rest) >= size:
            found, self._rest = self._rest[:size], self._rest[size:]
            return found
        parts, have = [self._rest], len(self._rest)
        while have < size and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            have += len(chunk)
        whole = b"".join(parts)
        self._rest = whole[size:]
        return whole[:size]


def expand(name: str, compression: str, reading: Reading, expansion_max: int = EXPANSION_MAX) -> Expanded:
    """Return a file's bytes, uncompressed.

    Raises while it is read:
        ArtifactError: DATA-20 truncated or garbage, DATA-21 it expands more than ``expansion_max`` times,
            EXTRA-01 no library for it.
    """
    if not compression:
        return Expanded(iter(reading.read, b""))
    made = _inflate(name, reading) if compression == ".gz" else _unpack_zstd(name, reading)
    return Expanded(_bounded(name, made, reading, expansion_max))


def _bounded(name: str, chunks: Iterator[bytes], reading: Reading, most: int) -> Iterator[bytes]:
    made = 0
    for chunk in chunks:
        made += len(chunk)
        if made > EXPANSION_FREE_BYTES and made > most * reading.size:
            refuse("DATA-21", f"{quote(name)} expands to more than {most} times its size")
        yield chunk


def _inflate(name: str, reading: Reading) -> Iterator[bytes]:
    data = reading.read()
    if not data:
        refuse("DATA-20", f"{quote(name)} is empty, not gzip")
    while data:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if not data and not (data := reading.read()):
                refuse("DATA-20", f"{quote(name)} ends inside its compressed data")
            try:
                chunk = member.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise refusal("DATA-20", f"{quote(name)} is not gzip: {error}") from error
            data = member.unconsumed_tail
            if chunk:
                yield chunk
        data = (member.unused_data or reading.read()).lstrip(b"\x00")  # gzip allows zeros after a member


def _unpack_zstd(name: str, reading: Reading) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise lacks_package(name, "zstandard") from error
    library: Any = zstandard  # its stubs do not say what ``unused_data`` is
    data = reading.read()
    if not data:
        refuse("DATA-20", f"{quote(name)} is empty, not zstd")
    try:
        while data:
            member = library.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX).decompressobj(write_size=CHUNK_BYTES)
            while not member.eof:
                if not data and not (data := reading.read()):
                    refuse("DATA-20", f"{quote(name)} ends inside its compressed data")
                # Fed little by little: it returns all that its input makes, and a bomb makes much of little.
                chunk, data = member.decompress(data[:256]), data[256:]
                if chunk:
                    yield chunk
            data = member.unused_data + data or reading.read()
    except library.ZstdError as error:
        raise refusal("DATA-20", f"{quote(name)} is not zstd: {error}") from error


def _check_name(name: str) -> str:
    if not name.isprintable():  # a lone surrogate, which stands for a byte that is not UTF-8, is not printable either
        refuse("DATA-10", f"the file name {quote(name)} is not printable UTF-8")
    return name


def _follow(place: Path, root: Path) -> Path:
    real = Path(os.path.realpath(place, strict=True))
    if not real.is_relative_to(root):
        refuse("DATA-11", f"{place} is a link out of the folder")
    mode = real.stat().st_mode
    if stat.S_ISDIR(mode):
        refuse("DATA-11", f"{place} is a link to a folder")
    if not stat.S_ISREG(mode):
        refuse("DATA-11", f"{place} is neither a file nor a folder")
    return real


def _raise(error: OSError) -> None:
    raise error
