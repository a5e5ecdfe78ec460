"""The regular files of an artifact, and how each is read: by descriptor, in windows, and refused where it changes.

Nothing outside the path is read: a symbolic link may lead to a file inside it and nowhere else, unless links are to be
followed (K5). Files are never mapped: one that is cut short meanwhile must end in a refusal, not in a signal.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights.refusals import quote, refusal, refuse

Progress = Callable[[int], None]  # told of each number of bytes read, from any thread

_IGNORED = ".git"  # at the top only: not the model's, and twice its size where weights are in git-lfs


class Key(NamedTuple):
    """What a file system says of a file that stays the same as long as nobody writes to it."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Key:
        """Return the key of what ``stat`` told."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class OpenFile:
    """A regular file, open for reading: a ``Window``. ``name`` is its POSIX path below the artifact."""

    def __init__(self, name: str, path: Path, descriptor: int) -> None:
        self.name = name
        self.key = Key.of(os.fstat(descriptor))
        self._path = path
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        """How many bytes it had when it was opened."""
        return self.key.size

    def read_at(self, offset: int, count: int) -> bytes:
        """Return at most ``count`` bytes; fewer at the end only."""
        data = os.pread(self._descriptor, count, offset)
        while len(data) < count and (more := os.pread(self._descriptor, count - len(data), offset + len(data))):
            data += more
        return data

    def read_into(self, target: memoryview, offset: int) -> int:
        """Fill ``target`` from ``offset`` on; return how many bytes there were."""
        done = 0
        while done < len(target) and (count := os.preadv(self._descriptor, [target[done:]], offset + done)):
            done += count
        return done

    def expect_sequential(self) -> None:
        """Tell the system that the whole file is about to be read in order."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def has_changed(self) -> bool:
        """Whether the file, or what stands at its path, is no longer what was opened."""
        try:
            at_path = self._path.lstat()
        except OSError:
            return True
        return not self.key == Key.of(os.fstat(self._descriptor)) == Key.of(at_path)


@contextmanager
def open_file(name: str, path: Path) -> Generator[OpenFile]:
    """Open a file whose links are resolved already; refuse it at the end where it changed meanwhile.

    Raises:
        ArtifactError: FILE-01 not readable, FILE-03 no regular file, FILE-05 it changed.
    """
    try:
        # A link in its place now has been put there since it was resolved; a pipe must not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _trouble(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            refuse("FILE-03", f"{quote(name)} is not a regular file")
        file = OpenFile(name, path, descriptor)
        try:
            yield file
        except ArtifactError as error:
            if error.code == "FILE-05" or not file.has_changed():
                raise
            raise _changed(name) from error  # what is wrong with it may be half of what is being written
        if file.has_changed():
            raise _changed(name)
    except OSError as error:
        raise _trouble(path, error) from error
    finally:
        os.close(descriptor)


def list_files(path: Path, *, follow: bool = False) -> dict[str, Path]:
    """Return the files at or below ``path``: POSIX name, in bytewise order, to real path.

    With ``follow``, a link to a file outside is read as the file it leads to, as in a Hugging Face cache.

    Raises:
        ArtifactError: FILE-01 nothing there or not readable, FILE-02 a link out of the folder or to a folder,
            FILE-03 neither file nor folder, FILE-04 a name that is not printable UTF-8.
    """
    found = dict[str, Path]()
    try:
        root = Path(os.path.realpath(path, strict=True))
        if not root.is_dir():
            return {_check_name(path.name or root.name): _resolve(root, None)}
        limit = None if follow else root
        for folder, folders, names in os.walk(root, onerror=_raise):
            place = Path(folder)
            if place == root and _IGNORED in folders:
                folders.remove(_IGNORED)
            for name in [*names, *(name for name in folders if (place / name).is_symlink())]:
                found[_check_name((place / name).relative_to(root).as_posix())] = _resolve(place / name, limit)
    except OSError as error:
        raise _trouble(Path(error.filename or path), error) from error
    if not found:
        refuse("FILE-01", f"{quote(str(path))} holds no file")
    return dict(sorted(found.items(), key=lambda item: item[0].encode()))


def find_beside(path: Path, names: Mapping[str, str], *, follow: bool = False) -> dict[str, Path]:
    """Return the real paths of named files below the folder that ``path`` is in; each name's value says who names it.

    Raises:
        ArtifactError: FILE-01 one is not there, FILE-02 one is a link out of the folder, FILE-03 one is no file.
    """
    folder = Path(os.path.realpath(path.parent))  # of the link, where the path is one
    found = dict[str, Path]()
    for name, by in names.items():
        try:
            found[_check_name(name)] = _resolve(folder / PurePosixPath(name), None if follow else folder)
        except OSError as error:
            raise refusal("FILE-01", f"{quote(by)} names {quote(name)}, which is not there") from error
    return found


def _resolve(place: Path, limit: Path | None) -> Path:
    real = Path(os.path.realpath(place, strict=True))
    if limit is not None and not real.is_relative_to(limit):
        refuse("FILE-02", f"{quote(str(place))} is a link out of the folder")
    mode = real.stat().st_mode
    if stat.S_ISDIR(mode):
        refuse("FILE-02", f"{quote(str(place))} is a link to a folder")
    if not stat.S_ISREG(mode):
        refuse("FILE-03", f"{quote(str(place))} is neither a file nor a folder")
    return real


def _check_name(name: str) -> str:
    if not name.isprintable():  # a lone surrogate, which stands for a byte that is not UTF-8, is not printable either
        refuse("FILE-04", f"the file name {name!a} is not printable UTF-8")
    return name


def _changed(name: str) -> ArtifactError:
    return refusal("FILE-05", f"{quote(name)} changed while it was read")


def _trouble(path: Path, error: OSError) -> ArtifactError:
    return refusal("FILE-01", f"{quote(str(path))} cannot be read: {error.strerror or error}")


def _raise(error: OSError) -> None:
    raise error
