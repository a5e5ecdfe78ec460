"""What an OMS signature covers: the files below a folder, by whole files or by shards, and what is left out (M7).

Follows OpenSSF Model Signing v1.0, sections 5.2 and 6: names are POSIX paths below the root in the order of Unicode
code points, four git paths at the top are left out, further ones only by their exact path, links are refused or
followed as the serialization says, an empty file counts as a file and never as a shard.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.reading import refusal

SHARD_BYTES = 1_000_000_000
IGNORED_ALWAYS = (".git", ".gitattributes", ".github", ".gitignore")
_CHUNK_BYTES = 4 << 20
HashType = Literal["sha256", "blake2b", "blake3"]
_HASH_TYPES: tuple[HashType, ...] = ("sha256", "blake2b", "blake3")
Method = Literal["files", "shards"]
# Digests a byte range of a file: its path, the hash's name, the first byte and the one after the last.
Digester = Callable[[Path, HashType, int, int], bytes]


class _Hash(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Serialization:
    """How files became resources."""

    method: Method = "files"
    hash_type: HashType = "sha256"
    shard_size: int | None = None
    allow_symlinks: bool = False
    ignore_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model's name and its resources, name to digest, in the order they are signed in."""

    name: str
    serialization: Serialization
    resources: Mapping[str, bytes] = field(default_factory=dict[str, bytes])

    def root(self) -> bytes:
        """Return SHA-256 of the digests in their order. It commits to no name: never an identity by itself."""
        return sha256(b"".join(self.resources.values())).digest()

    def files(self) -> dict[str, tuple[int | None, dict[str, bytes]]]:
        """Return each file's size, where shards tell it, and its digest, where it is one of the whole file."""
        if self.serialization.method == "files":
            return {name: (None, {self.serialization.hash_type: one}) for name, one in self.resources.items()}
        sizes = dict[str, int]()
        for name in self.resources:
            path, _, end = split_shard(name)
            sizes[path] = max(sizes.get(path, 0), end)
        return {path: (size, {}) for path, size in sizes.items()}


def measure_folder(
    root: Path,
    serialization: Serialization,
    *,
    name: str | None = None,
    excluded: Iterable[Path] = (),
    digester: Digester | None = None,
) -> Manifest:
    """Hash what a signature over ``root`` covers.

    Args:
        root: a folder, or one file.
        serialization: how; its ``ignore_paths`` are left out besides the four of git.
        name: what the model is called; the path's name where none is given.
        excluded: files that are left out wherever they are: the bundle itself.
        digester: hashes a range of a file; this module's own where none is given.

    Raises:
        ArtifactError: FILE-01 not readable, IMPORT-11 a link or a name that may not be in a manifest, IMPORT-05 no
            file is left.
    """
    digest = digester or digest_range
    out = {Path(os.path.realpath(path)) for path in excluded}
    try:
        found = _list(root, serialization, out)
        ranges = [
            (label, path, start, end) for file, path in found for label, start, end in _cut(file, path, serialization)
        ]
        ranges.sort(key=lambda item: item[0])
        resources = {label: digest(path, serialization.hash_type, start, end) for label, path, start, end in ranges}
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ArtifactError(
            "FILE-01", f"{error.filename} cannot be read: {reason}", "check the path and its mode"
        ) from error
    if not resources:
        raise refusal("IMPORT-05", str(root), "holds no file that a signature would cover", "give the model's folder")
    return Manifest(name or root.name or root.resolve().name, serialization, resources)


def compare(signed: Manifest, here: Manifest, *, allow_extra: bool = False) -> None:
    """Check that what is here is what was signed.

    Raises:
        ArtifactError: IMPORT-13, with the first file that is missing, changed or not signed.
    """
    step = "use the files that were signed; do not load these"
    where = signed.name
    if missing := sorted(signed.resources.keys() - here.resources.keys()):
        raise refusal("IMPORT-13", where, f"{missing[0]} was signed and is not here, {len(missing)} in all", step)
    if changed := sorted(name for name, one in signed.resources.items() if here.resources[name] != one):
        raise refusal("IMPORT-13", where, f"{changed[0]} is not what was signed, {len(changed)} in all", step)
    if not allow_extra and (extra := sorted(here.resources.keys() - signed.resources.keys())):
        fact = f"{extra[0]} is here and was not signed, {len(extra)} in all"
        raise refusal("IMPORT-13", where, fact, "take it away, or say --ignore-unsigned-files")


def check_name(name: str, where: str) -> str:
    """Return a resource's path where it is a plain relative POSIX path in its one spelling.

    Raises:
        ArtifactError: IMPORT-11.
    """
    path = PurePosixPath(name)
    escapes = path.is_absolute() or ".." in path.parts or "\\" in name
    if escapes or path.as_posix() != name or name in {"", "."} or not name.isprintable():
        raise refusal("IMPORT-11", where, f"the path {name[:80]!r} leads out of the folder or has other spellings")
    return name


def check_ignored(path: str, where: str) -> str:
    """Return an ignored path: exact, without globs. Raises ArtifactError IMPORT-11."""
    clean = path.rstrip("/")
    if any(letter in clean for letter in "*?["):
        raise refusal("IMPORT-11", where, f"the ignored path {path[:80]!r} is a pattern")
    return check_name(clean, where)


def split_shard(name: str) -> tuple[str, int, int]:
    """Cut ``path:start:end`` at its last two colons.

    Raises:
        ValueError: it is not that.
    """
    path, start, end = name.rsplit(":", 2)
    if not (path and start.isdecimal() and end.isdecimal() and start.isascii() and end.isascii()):
        raise ValueError(name)
    if len(start) > 20 or len(end) > 20 or str(int(start)) != start or str(int(end)) != end:
        raise ValueError(name)
    return path, int(start), int(end)


def digest_range(path: Path, hash_type: HashType, start: int, end: int) -> bytes:
    """Return the digest of a file's bytes from ``start`` up to ``end``; the file must not be a link by now.

    Raises:
        ArtifactError: FILE-05 it is shorter or longer than it was, EXTRA-01 blake3 is not installed.
        OSError: it cannot be read.
    """
    state = _new_hash(hash_type)
    left = end - start
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:  # noqa: PTH123  a descriptor, not a path
        stream.seek(start)
        while left and (data := stream.read(min(left, _CHUNK_BYTES))):
            state.update(data)
            left -= len(data)
    if left:
        raise ArtifactError("FILE-05", f"{path} changed while it was read", "wait until nothing writes to it")
    return state.digest()


def _new_hash(hash_type: HashType) -> _Hash:
    if hash_type == "sha256":
        return sha256()
    if hash_type == "blake2b":
        return blake2b()
    try:
        import blake3
    except ImportError as error:
        raise ArtifactError("EXTRA-01", "blake3 is not installed", "pip install 'glasslog[lab]'") from error
    return blake3.blake3()


def _list(root: Path, serialization: Serialization, out: set[Path]) -> list[tuple[str, Path]]:
    if not root.is_dir():
        return [(check_name(root.name, str(root)), _follow(root, root.parent, serialization))]
    base = Path(os.path.realpath(root, strict=True))
    ignored = {*IGNORED_ALWAYS, *serialization.ignore_paths}
    found = list[tuple[str, Path]]()
    for folder, folders, names in os.walk(base, onerror=_raise):
        here = Path(folder).relative_to(base)
        folders[:] = sorted(name for name in folders if (here / name).as_posix() not in ignored)
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in sorted(names) + linked:
            path = Path(folder, name)
            label = (here / name).as_posix()
            if label in ignored or path in out:
                continue
            found.append((check_name(label, str(root)), _follow(path, base, serialization)))
    return found


def _follow(path: Path, base: Path, serialization: Serialization) -> Path:
    if path.is_symlink() and not serialization.allow_symlinks:
        raise refusal("IMPORT-11", str(path), "is a link", "copy the file in, or say --allow-symlinks")
    real = Path(os.path.realpath(path, strict=True))
    if not real.is_relative_to(Path(os.path.realpath(base))):
        raise refusal("IMPORT-11", str(path), "is a link out of the folder", "copy the file in")
    if not stat.S_ISREG(real.stat().st_mode):
        raise refusal("IMPORT-11", str(path), "is neither a file nor a folder", "take it out, or copy what it leads to")
    return real


def _cut(name: str, path: Path, serialization: Serialization) -> Iterable[tuple[str, int, int]]:
    size = path.stat().st_size
    if serialization.method == "files":
        return [(name, 0, size)]
    step = serialization.shard_size or SHARD_BYTES
    spans = [(start, min(start + step, size)) for start in range(0, size, step)]
    return [(f"{name}:{start}:{end}", start, end) for start, end in spans]


def hash_type_of(name: str) -> HashType | None:
    """Return the hash that a name means; ``blake2`` is what the reference implementation calls ``blake2b``."""
    name = "blake2b" if name == "blake2" else name
    return next((one for one in _HASH_TYPES if one == name), None)


def _raise(error: OSError) -> None:
    raise error
