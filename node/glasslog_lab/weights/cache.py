"""What earlier runs found in files that have not changed since: a cache that says nothing rather than something false.

A record is used only for a file whose device, inode, size, modification and change times are those it was made for
(K9). A user cannot set the change time. A file written to within two seconds before it was measured is never
recorded, since a second write could leave the same times. A record carries the digest of its own bytes; one that is
torn, altered, another user's or of another version is passed over. What it cannot know is said in specs/weights.md.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any, cast

from blake3 import blake3

from glasslog.tensors import Tensor
from glasslog_lab.weights.files import Key
from glasslog_lab.weights.layout import Role
from glasslog_lab.weights.measured import HashedFile, HashedTensor

MAGIC = b"glasslog weights cache 1\n"  # another number whenever a reader would find something else in a file
SETTLED_NS = 2_000_000_000  # the coarsest times that a file system in use keeps (FAT)
KEPT_BYTES_MIN = 256 << 10  # a smaller file is read anew in less time than its record
RECORDS_MAX = 4_096
RECORD_BYTES_MAX = 256 << 20
_SUFFIX = ".digests"


def find_cache_folder() -> Path:
    """Return the user's folder for it: below ``XDG_CACHE_HOME``, or ``~/Library/Caches``, or ``~/.cache``."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    if stated.startswith("/"):
        return Path(stated) / "glasslog" / "weights"
    home = Path.home()
    return (home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache") / "glasslog" / "weights"


class Cache:
    """Records in a folder of the user's own. Nothing that goes wrong with it is an error: it is then as if empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str, key: Key, digests: Iterable[str]) -> HashedFile | None:
        """Return what is known of the file of this name and key, if it is all of ``digests``; else None."""
        import cbor2

        data = self._read(self._place(key))
        if data is None or not data.startswith(MAGIC):
            return None
        body = memoryview(data)[len(MAGIC) + 32 :]
        if blake3(body).digest() != data[len(MAGIC) : len(MAGIC) + 32]:
            return None
        try:
            record: Any = cbor2.loads(body)
            if record["name"] != name or Key(*record["key"]) != key or not set(digests) <= set(record["digests"]):
                return None
            return _load(name, key, record, frozenset(digests))
        except (ValueError, KeyError, TypeError, cbor2.CBORError):  # a record of our digest, but not of our making
            return None

    def keep(self, file: HashedFile, digests: Iterable[str], started_ns: int) -> None:
        """Record what was found in a file; ``started_ns`` is when its measuring began, by the clock of its times."""
        import cbor2

        keys = [file.key, *(key for _, key in file.beside)]
        settled = all(started_ns - max(key.mtime_ns, key.ctime_ns) >= SETTLED_NS for key in keys)
        if file.size < KEPT_BYTES_MIN or not settled:
            return
        body = cbor2.dumps(_dump(file, sorted(digests)))
        place = self._place(file.key)
        partial = place.with_name(f"{place.name}.{os.getpid()}.{get_ident()}")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as stream:  # noqa: PTH123  a descriptor, not a path
                stream.write(MAGIC + blake3(body).digest() + body)
            partial.replace(place)
            self._prune()
        except OSError:
            with suppress(OSError):
                partial.unlink()

    def _place(self, key: Key) -> Path:
        return self.folder / f"{key.device:x}-{key.inode:x}{_SUFFIX}"

    def _read(self, place: Path) -> bytes | None:
        """Return a record's bytes, if nobody else can have written them."""
        try:
            for owned in (self.folder, place):
                status = os.lstat(owned)
                if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                    return None
            if not stat.S_ISREG(status.st_mode) or status.st_size > RECORD_BYTES_MAX:
                return None
            return place.read_bytes()
        except OSError:
            return None

    def _prune(self) -> None:
        """Take the oldest records away where there are too many."""
        records = [entry for entry in os.scandir(self.folder) if entry.name.endswith(_SUFFIX)]
        if len(records) > RECORDS_MAX:
            records.sort(key=lambda entry: entry.stat().st_mtime_ns)
            for entry in records[: RECORDS_MAX // 4]:
                Path(entry.path).unlink(missing_ok=True)


def _dump(file: HashedFile, digests: list[str]) -> dict[str, object]:
    return {
        "name": file.name,
        "key": list(file.key),
        "digests": digests,
        "sha256": file.sha256,
        "blake3": file.blake3,
        "format": file.format,
        "metadata": dict(file.metadata),
        "beside": [[name, list(key)] for name, key in file.beside],
        "tensors": [
            [one.tensor.name, one.tensor.dtype, list(one.tensor.shape), one.tensor.content, one.role is Role.MODEL]
            for one in file.tensors
        ],
    }


def _load(name: str, key: Key, record: dict[str, Any], digests: frozenset[str]) -> HashedFile:
    wants = "tensors" in digests
    return HashedFile(
        name,
        key,
        cast("bytes | None", record["sha256"]) if "sha256" in digests else None,
        cast("bytes | None", record["blake3"]) if "blake3" in digests else None,
        cast("str | None", record["format"]) if wants else None,
        tuple(
            HashedTensor(Tensor(title, dtype, tuple(shape), content), Role.MODEL if ours else Role.OPTIMIZER)
            for title, dtype, shape, content, ours in record["tensors"]
        )
        if wants
        else (),
        record["metadata"] if wants else {},
        beside=tuple((other, Key(*numbers)) for other, numbers in record["beside"]) if wants else (),
        reused=True,
    )
