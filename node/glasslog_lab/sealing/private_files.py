"""Private files of a vault: whole or not there, durable before anything depends on them, for the owner's eyes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from glasslog_lab.errors import ArtifactError


def make_folder(path: Path) -> None:
    """Make a folder that only its owner can enter, and let its parent know durably.

    Raises:
        ArtifactError: SEAL-24.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise _trouble(path, error) from error


def write(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file whole, mode 0600, synced with its folder.

    Raises:
        ArtifactError: SEAL-24, it cannot be written, or is there already and not to be replaced.
    """
    if path.exists() and not path.is_file():  # a device is never replaced, not even by root
        raise _trouble(path, OSError(errno.EINVAL, "it is no file", str(path)))
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, not a path
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        if replace:
            partial.replace(path)
        else:
            path.hardlink_to(partial)  # unlike a rename, it fails where something is
            partial.unlink()
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _trouble(path, error) from error


def append(path: Path, line: str) -> None:
    """Append a line, synced.

    Raises:
        ArtifactError: SEAL-24.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with open(descriptor, "a", encoding="utf-8") as file:  # noqa: PTH123  a descriptor, not a path
            file.write(line + "\n")
            file.flush()
            os.fsync(descriptor)
        sync_folder(path.parent)
    except OSError as error:
        raise _trouble(path, error) from error


def read(path: Path, size_max: int) -> bytes | None:
    """Return a private file's bytes, None where there is none.

    Raises:
        ArtifactError: SEAL-20, others can read it; SEAL-24, it cannot be read, is no file or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor, not a path
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > size_max:
                raise ArtifactError("SEAL-24", f"{path} is no file of at most {size_max} bytes", "restore it")
            if status.st_mode & 0o077:
                raise ArtifactError("SEAL-20", f"others can read {path}", f"chmod 600 {path}, and think who did")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _trouble(path, error) from error


def destroy(path: Path) -> bool:
    """Overwrite a file, sync it and unlink it; say whether it was there.

    Raises:
        ArtifactError: SEAL-24.
    """
    try:
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _trouble(path, error) from error
    return True


def sync_folder(path: Path) -> None:
    """Make what was made or unlinked in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _trouble(path: Path, error: OSError) -> ArtifactError:
    fact = f"{path}: {(error.strerror or str(error)).lower()}"
    return ArtifactError("SEAL-24", fact, "check the path, its mode and the free space")
