"""The high-water mark: proof, outside the LMDB folder, that a store is not older than what this node has said (S6).

The file has two fixed slots written in turn, each with a checksum: a torn write costs the newer slot only,
and the older one is still a lower bound. Text, so that a person can read it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from glasslog_node.errors import StoreError

_SLOT_BYTES = 128
_MAGIC = "glasslog-mark-1"


def default_mark_path(store: Path) -> Path:
    """Return where a store's mark lies unless configured: beside its folder."""
    return store.with_name(store.name + ".mark")


@dataclass(frozen=True, slots=True)
class Mark:
    """The store of the network ``genesis_hash`` has reached at least ``generation`` commits."""

    genesis_hash: bytes
    generation: int


def _slot(mark: Mark) -> bytes:
    body = f"{_MAGIC} {mark.genesis_hash.hex()[:32]} {mark.generation:020d}"
    check = sha256(body.encode()).hexdigest()[:16]
    return f"{body} {check}".ljust(_SLOT_BYTES - 1).encode() + b"\n"


def _read_slot(slot: bytes, genesis_hash: bytes) -> int | None:
    """Return the slot's generation, or None when it is torn, or of another network."""
    parts = slot.decode("ascii", "replace").split()
    if len(parts) != 4 or not parts[2].isdecimal():
        return None
    generation = int(parts[2])
    return generation if slot == _slot(Mark(genesis_hash, generation)) else None


def create_mark(path: Path, genesis_hash: bytes) -> None:
    """Write the mark of a node that has never said anything; part of making a node's keys.

    Raises:
        StoreError: STORE-09 there is one already, STORE-05 it cannot be written.
    """
    try:
        with path.open("xb") as file:
            file.write(_slot(Mark(genesis_hash, 0)) * 2)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except FileExistsError:
        raise StoreError("STORE-09", f"{path} exists already", "keep it: it belongs to the node's keys") from None
    except OSError as e:
        raise StoreError("STORE-05", f"writing {path} failed: {e}", "check disk space and permissions") from e


def read_mark(path: Path, genesis_hash: bytes) -> Mark | None:
    """Return the mark, or None when there is none that can be believed.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise StoreError("STORE-05", f"reading {path} failed: {e}", "check permissions") from e
    slots = [_read_slot(data[at : at + _SLOT_BYTES], genesis_hash) for at in (0, _SLOT_BYTES)]
    known = [generation for generation in slots if generation is not None]
    return Mark(genesis_hash, max(known)) if known else None


class MarkFile:
    """The mark of a running node, overwritten in place after every commit."""

    def __init__(self, path: Path, genesis_hash: bytes) -> None:
        self._path = path
        self._genesis_hash = genesis_hash
        self._fd: int | None = None

    def write(self, generation: int) -> None:
        """Make *generation* durable. Once this returns, an older store is known for what it is.

        Raises:
            OSError: it could not be made durable.
        """
        if self._fd is None:
            self._fd = self._open()
        written = os.pwrite(self._fd, _slot(Mark(self._genesis_hash, generation)), generation % 2 * _SLOT_BYTES)
        if written != _SLOT_BYTES:
            raise OSError(f"short write to {self._path}")
        os.fdatasync(self._fd)

    def _open(self) -> int:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(fd).st_size != 2 * _SLOT_BYTES:
            os.ftruncate(fd, 0)
            os.pwrite(fd, bytes(2 * _SLOT_BYTES), 0)
            os.fsync(fd)
            _sync_folder(self._path.parent)
        return fd

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _sync_folder(folder: Path) -> None:
    """A new file's name is durable only once its folder is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
