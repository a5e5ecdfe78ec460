"""The regular files below a path, and one pass over the bytes of each.

Nothing outside the path is read: a symbolic link may lead to a file inside it and nowhere else. A file that changes
while it is read is refused, since its digest would be of bytes that were never there together.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from glasslog.predicates.weights import Tensor
from glasslog_lab.errors import ArtifactError
from glasslog_lab.safetensors import PREFIX_BYTES, Span, parse_header, parse_length

CHUNK_BYTES = 4 << 20

Progress = Callable[[int], None]  # told of each number of bytes read


class File(NamedTuple):
    """A file by content. ``name`` is a POSIX path below what was measured; ``tensors`` None: not safetensors."""

    name: str
    size: int
    digest: bytes
    tensors: tuple[Tensor, ...] | None


def list_files(path: Path) -> list[tuple[str, Path]]:
    """Return the files at or below ``path``, sorted by name as bytes: each with its name and its real path.

    Raises:
        ArtifactError: FILE-01 nothing there or not readable, FILE-02 a link out of the folder or to a folder,
            FILE-03 neither file nor folder, FILE-04 a name that is not printable UTF-8.
    """
    try:
        root = Path(os.path.realpath(path, strict=True))
        if not root.is_dir():
            return [(_check_name(path.name or root.name), _follow(root, root.parent))]
        found = list[tuple[str, Path]]()
        for folder, folders, names in os.walk(root, onerror=_raise):
            for name in names + [name for name in folders if Path(folder, name).is_symlink()]:
                place = Path(folder, name)
                found.append((_check_name(place.relative_to(root).as_posix()), _follow(place, root)))
    except OSError as error:
        raise ArtifactError(
            "FILE-01", f"{error.filename} cannot be read: {error.strerror}", "check the path and its mode"
        ) from error
    if not found:
        raise ArtifactError("FILE-01", f"{path} holds no file", "give a file or a folder with files")
    return sorted(found, key=lambda item: item[0].encode())


def read_file(name: str, path: Path, on_read: Progress) -> File:
    """Digest a file, and each of its tensors where its name ends in ``.safetensors``, in one pass.

    Raises:
        ArtifactError: FILE-01 not readable, FILE-05 it changed meanwhile, TENSOR-nn not the safetensors its name says.
    """
    try:
        with _open(path) as (stream, size):
            whole = sha256()

            def read(count: int) -> bytes:
                data = stream.read(count)
                whole.update(data)
                on_read(len(data))
                return data

            tensors = _read_tensors(name, size, read) if name.endswith(".safetensors") else None
            while read(CHUNK_BYTES):
                pass
    except OSError as error:
        raise ArtifactError(
            "FILE-01", f"{path} cannot be read: {error.strerror}", "check the path and its mode"
        ) from error
    return File(name, size, whole.digest(), tensors)


def _read_tensors(name: str, size: int, read: Callable[[int], bytes]) -> tuple[Tensor, ...]:
    try:
        length = parse_length(read(PREFIX_BYTES), size)
        spans = parse_header(read(length), size - PREFIX_BYTES - length)
    except ArtifactError as error:
        raise ArtifactError(error.code, f"{name}: {error.fact}", error.next_step) from error
    return tuple(Tensor(span.name, span.dtype, span.shape, _read_digest(span, read)) for span in spans)


def _read_digest(span: Span, read: Callable[[int], bytes]) -> bytes:
    digest = sha256()
    left = span.end - span.begin
    while left and (data := read(min(left, CHUNK_BYTES))):  # a file cut short meanwhile ends the pass; _open tells
        digest.update(data)
        left -= len(data)
    return digest.digest()


@contextmanager
def _open(path: Path) -> Generator[tuple[BinaryIO, int]]:
    # The path is resolved already, so a link in its place now has been put there since; a pipe must not block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:  # noqa: PTH123  a descriptor, not a path
        before = os.fstat(descriptor)
        yield stream, before.st_size
        after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or stream.tell() != after.st_size:
            raise ArtifactError("FILE-05", f"{path} changed while it was read", "wait until nothing writes to it")


def _check_name(name: str) -> str:
    if not name.isprintable():  # a lone surrogate, which stands for a byte that is not UTF-8, is not printable either
        raise ArtifactError("FILE-04", f"the file name {name!r} is not printable UTF-8", "rename the file")
    return name


def _follow(place: Path, root: Path) -> Path:
    real = Path(os.path.realpath(place, strict=True))
    if not real.is_relative_to(root):
        raise ArtifactError(
            "FILE-02", f"{place} is a link out of the folder", "copy the file in, or attest the folder it is in"
        )
    mode = real.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ArtifactError("FILE-02", f"{place} is a link to a folder", "copy the folder in")
    if not stat.S_ISREG(mode):
        raise ArtifactError("FILE-03", f"{place} is neither a file nor a folder", "take it out of the folder")
    return real


def _raise(error: OSError) -> None:
    raise error
