"""A mirror's folder: files appear whole and made durable, under their own names only when they are verified."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from glasslog_node.errors import StoreError

_LOCK = ".mirror.lock"
_PARTIAL = ".partial"


class MirrorFolder:
    """Reads and writes below a folder; ``written`` and ``bytes`` count what was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self.bytes = 0

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the folder for one writer.

        Raises:
            StoreError: MIRROR-06, the system says no; MIRROR-07, another is writing it.
        """
        with _told(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                raise StoreError("MIRROR-07", f"{self.path} is being written", "wait until that has ended") from e
            yield
        finally:
            os.close(fd)

    def read(self, name: str, size_max: int) -> bytes | None:
        """Return a file's bytes, one more than ``size_max`` at most; None where there is none.

        Raises:
            StoreError: MIRROR-06.
        """
        with _told(self.path / name):
            try:
                with (self.path / name).open("rb") as file:
                    return file.read(size_max + 1)
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file and make it durable before it has its name.

        Raises:
            StoreError: MIRROR-06.
        """
        target = self.path / name
        partial = target.with_name(target.name + _PARTIAL)
        with _told(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(target)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
        self.written += 1
        self.bytes += len(data)

    def settle(self, *names: str) -> None:
        """Make durable that files are under their names, in the folders of these and every one above."""
        folders = {
            parent for name in names for parent in (self.path / name).parents if self.path in (parent, *parent.parents)
        }
        with _told(self.path):
            for folder in folders:
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)

    def sweep(self, kept: set[str]) -> None:
        """Remove partial tiles and bundles that are not among ``kept``, and what a crash left half written."""
        with _told(self.path):
            for path in [*self.path.rglob("*.p/*"), *self.path.rglob(f"*{_PARTIAL}")]:
                if path.is_file() and str(path.relative_to(self.path)) not in kept:
                    path.unlink(missing_ok=True)
            for path in self.path.rglob("*.p"):
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()


@contextmanager
def _told(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as e:
        fact = f"{path}: {(e.strerror or str(e)).lower()}"
        raise StoreError("MIRROR-06", fact, "check permissions and disk, and run it again: it goes on") from e
