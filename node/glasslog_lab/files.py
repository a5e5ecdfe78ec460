"""The regular files below a path, and one pass over the bytes of each.

Nothing outside the path is read: a symbolic link may lead to a file inside it and nowhere else. A file that changes
while it is read is refused, since its digest would be of bytes that were never there together.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from glasslog_lab.errors import ArtifactError
from glasslog_lab.safetensors import PREFIX_BYTES, Span, parse_header, parse_length

CHUNK_BYTES = 4 << 20

Progress = Callable[[int], None]  # told of each number of bytes read


class Tensor(NamedTuple):
    """A tensor by content: ``digest`` is the SHA-256 of its bytes, little-endian and row-major."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: bytes


class File(NamedTuple):
    """A file by content. ``name`` is its POSIX path relative to what was measured; ``tensors`` None: not safetensors."""

    name: str
    size: int
    digest: bytes
    tensors: tuple[Tensor, ...] | None


def list_files(path: Path) -> list[tuple[str, Path]]:
    """Return the files at or below ``path``, sorted by name as bytes: each with its name and its real path.

    Raises:
        ArtifactError: FILE-01 nothing there, FILE-02 a link out of the folder or to a folder, FILE-03 neither file
            nor folder, FILE-04 a name that is not UTF-8.
    """
    try:
        root = path.resolve(strict=True)
    except OSError as error:
        raise ArtifactError("FILE-01", f"{path} cannot be read: {error.strerror}", "give a file or folder") from error
    if not root.is_dir():
        return [(_checked_name(root.name), root)]
    found = list[tuple[str, Path]]()
    for folder, _, names in root.walk() if hasattr(root, "walk") else _walk(root):
        for name in names:
            place = folder / name
            found.append((_checked_name(place.relative_to(root).as_posix()), _follow(place, root)))
    if not found:
        raise ArtifactError("FILE-01", f"{path} holds no file", "give a file or a folder with files")
    return sorted(found, key=lambda item: item[0].encode())
