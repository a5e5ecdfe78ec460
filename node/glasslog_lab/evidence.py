"""A folder of originals that statements name by digest (specs/statements.md, V7): kept, verified, erased.

An original is the file ``<first two digits>/<SHA-256 in hexadecimal>`` of the folder, mode 0600. What it was called is
told by the statement's resource, never by the folder: no name from outside becomes a path. Erasing an original touches
no proof, since the ledger has its digest and never its bytes; then the digest proves nothing to anybody any more.
Overwriting is no promise on flash, on copy-on-write and on journalling file systems (specs/secrecy.md, X7).
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest, sha256
from io import BufferedReader, BytesIO
from pathlib import Path

from glasslog.predicates.values import Resource
from glasslog_lab.errors import ArtifactError

ORIGINAL_BYTES_MAX = 1 << 30
_DIGEST = re.compile("[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Verified:
    """What ``EvidenceStore.verify`` found: digests of originals that are whole, that are damaged, and other files."""

    whole: tuple[str, ...]
    damaged: tuple[str, ...]
    foreign: tuple[str, ...]


class EvidenceStore:
    """A content-addressed folder. Safe for several processes at once: a file appears whole or not at all."""

    def __init__(self, folder: Path, *, bytes_max: int = ORIGINAL_BYTES_MAX) -> None:
        self.folder = folder
        self._bytes_max = bytes_max

    def add(self, path: Path, *, name: str | None = None, media_type: str | None = None) -> Resource:
        """Keep a copy of a file durably; return the resource descriptor for a statement's ``evidence``.

        Raises:
            ArtifactError: EVID-01 the file cannot be read, is none, or has over ``bytes_max`` bytes; EVID-02 the
                folder cannot be written; EVID-05 the name is not printable, or over 255 characters.
        """
        with _open(path) as source:
            return self._keep(source, _check_name(name or path.name), media_type, path)

    def add_bytes(self, data: bytes, *, name: str, media_type: str | None = None) -> Resource:
        """Keep bytes that are at hand; otherwise as ``add``."""
        return self._keep(BytesIO(data), _check_name(name), media_type, Path(name))

    def read(self, digest: str) -> bytes:
        """Return an original.

        Raises:
            ArtifactError: EVID-03 it is not here, or erased; EVID-04 its bytes are not those of its digest.
        """
        path = self._path(digest)
        if not path.is_file():
            raise ArtifactError("EVID-03", f"no original {digest} is in {self.folder}", "it may have been erased")
        with _open(path) as file:
            data = file.read(self._bytes_max + 1)
        if sha256(data).hexdigest() != digest:
            raise _damaged(path)
        return data

    def verify(self) -> Verified:
        """Digest every original and compare.

        Raises:
            ArtifactError: EVID-01, something cannot be read.
        """
        whole, damaged, foreign = list[str](), list[str](), list[str]()
        for path in self._files():
            if path.name.startswith("."):
                continue  # being written, or left by a crash
            if path.is_symlink() or not _DIGEST.fullmatch(path.name) or path != self._path(path.name):
                foreign.append(path.relative_to(self.folder).as_posix())
                continue
            (whole if digest_file(path) == path.name else damaged).append(path.name)
        return Verified(tuple(whole), tuple(damaged), tuple(foreign))

    def erase(self, digest: str) -> bool:
        """Overwrite an original, unlink it, and say whether it was here. A damaged one is erased too.

        Raises:
            ArtifactError: EVID-02 it cannot be written, EVID-03 no digest.
        """
        path = self._path(digest)
        try:
            # Not through a link that was put in its place: what it leads to is not ours to overwrite.
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "r+b") as file:  # noqa: PTH123  a descriptor, not a path
                left = os.fstat(descriptor).st_size
                while left > 0:
                    left -= file.write(os.urandom(min(left, _CHUNK_BYTES)))
                file.flush()
                os.fsync(descriptor)
            path.unlink()
            _sync(path.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        return True

    def _keep(self, source: BufferedReader | BytesIO, name: str, media_type: str | None, origin: Path) -> Resource:
        """Copy and digest in one pass, so that what is named is what was kept, whatever happens to the source."""
        partial = self.folder / f".{secrets.token_hex(8)}"
        digest = sha256()
        size = 0
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, not a path
                while data := source.read(_CHUNK_BYTES):
                    size += len(data)
                    if size > self._bytes_max:
                        raise _unfit(origin, f"has over {self._bytes_max} bytes")
                    digest.update(data)
                    file.write(data)
                file.flush()
                os.fsync(descriptor)
            path = self._path(digest.hexdigest())
            path.parent.mkdir(mode=0o700, exist_ok=True)
            partial.replace(path)
            _sync(path.parent)
            _sync(self.folder)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        finally:
            partial.unlink(missing_ok=True)
        return Resource(name=name, digest={"sha256": digest.digest()}, media_type=media_type)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            fact = f"{digest[:80]!r} is no SHA-256 in hexadecimal"
            raise ArtifactError("EVID-03", fact, "give 64 digits, as `evidence add` prints them")
        return self.folder / digest[:2] / digest

    def _files(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self.folder, onerror=_raise_unreadable):
            folders.sort()
            links = [name for name in folders if Path(folder, name).is_symlink()]
            yield from (Path(folder, name) for name in sorted([*names, *links]))


def digest_file(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal.

    Raises:
        ArtifactError: EVID-01, it cannot be read or is no file.
    """
    with _open(path) as file:
        try:
            return file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unfit(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error


def _open(path: Path) -> BufferedReader:
    try:
        # A pipe in a file's place must not block.
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123, SIM115  the caller closes it
    except OSError as error:
        raise _unfit(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _unfit(path, "is not a file")
    return file


def _check_name(name: str) -> str:
    if not name.isprintable() or not 1 <= len(name) <= 255:
        raise ArtifactError("EVID-05", f"the name {name[:80]!r} is not 1 to 255 printable characters", "give --name")
    return name


def _unfit(path: Path, fact: str) -> ArtifactError:
    return ArtifactError("EVID-01", f"{path} {fact}", "give the file itself")


def _unwritable(folder: Path, error: OSError) -> ArtifactError:
    fact = f"{folder} cannot be written: {(error.strerror or str(error)).lower()}"
    return ArtifactError("EVID-02", fact, "check the folder, its mode and the free space")


def _damaged(path: Path) -> ArtifactError:
    return ArtifactError("EVID-04", f"{path} is damaged: its bytes are not those of its name", "restore it from a copy")


def _raise_unreadable(error: OSError) -> None:
    raise _unfit(Path(error.filename), f"cannot be read: {(error.strerror or str(error)).lower()}") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
