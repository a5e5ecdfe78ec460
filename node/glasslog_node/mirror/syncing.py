"""Bringing a mirror up to what a replica or another mirror publishes (specs/mirror.md, P1 to P6).

Everything is checked against the checkpoint's tree before it has its name, and the checkpoint is written last: whatever
ends a run, what lies there is a whole earlier mirror with some verified files more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from glasslog import merkle
from glasslog.audit.trusted import TrustedTiles
from glasslog.checkpoint import Checkpoint
from glasslog.errors import ProofError, ProtocolError
from glasslog.note import NOTE_BYTES_MAX, Note
from glasslog.policy import Policy
from glasslog.tiles import TILE_WIDTH, entries_path, split_entries, tile_path, tile_width
from glasslog_node.errors import StoreError
from glasslog_node.mirror.folder import MirrorFolder
from glasslog_node.sources import Upstream
from glasslog_node.sources.tlog import BUNDLE_BYTES_MAX

CHECKPOINT = "checkpoint"
_AHEAD = 16  # bundles asked for at once, over an address


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a run came to: the sizes before and after, files and bytes written, whether a policy confirmed it."""

    origin: str
    before: int
    size: int
    root: bytes
    files: int
    bytes: int
    confirmed: bool

    def to_value(self) -> dict[str, object]:
        """Return the JSON object."""
        return {
            "origin": self.origin, "before": self.before, "size": self.size, "root": self.root.hex(),
            "files": self.files, "bytes": self.bytes, "origin_confirmed": self.confirmed,
        }  # fmt: skip


def sync_mirror(
    upstream: Upstream, path: Path, policy: Policy | None, progress: Callable[[int, int], None], *, threads: int
) -> Mirrored:
    """Bring the mirror at ``path`` up to the upstream's checkpoint; ``progress`` is told leaves done, and how many.

    Raises:
        ProtocolError: NOTE-nn, CHECKPOINT-nn, POLICY-nn; MIRROR-01 what is served is not of the checkpoint's tree.
        StoreError: MIRROR-02 nothing published; MIRROR-03 another log; MIRROR-04 older than the mirror;
            MIRROR-05 a fork, whose note is kept; MIRROR-06, MIRROR-07 the folder.
        OperatingError: the upstream cannot be read.
    """
    folder = MirrorFolder(path)
    with folder.locked():
        note = upstream.checkpoint()
        if note is None:
            raise StoreError("MIRROR-02", f"{upstream.label} has no published checkpoint", "mirror it when it has one")
        parsed = Note.parse(note)
        new = Checkpoint.parse(parsed.text)
        if policy is not None:
            policy.check(parsed)
        old_note = folder.read(CHECKPOINT, NOTE_BYTES_MAX)
        old = None if old_note is None else Checkpoint.parse(Note.parse(old_note).text)
        before = 0 if old is None else old.size
        trusted = TrustedTiles(new.size, new.root, _tile_reader(upstream))
        if old is not None:
            _require_same_log(folder, trusted, old, new, note)
        _copy(upstream, folder, trusted, before, progress, threads)
        names = list(_list_partials(new.size))
        folder.settle(*(entries_path(index) for index in range(before // TILE_WIDTH, new.size // TILE_WIDTH)), *names)
        if note != old_note:
            folder.write(CHECKPOINT, note)
            folder.settle(CHECKPOINT)
        folder.sweep({*names, *_list_partials(before)})
        return Mirrored(new.origin, before, new.size, new.root, folder.written, folder.bytes, policy is not None)


def _require_same_log(
    folder: MirrorFolder, trusted: TrustedTiles, old: Checkpoint, new: Checkpoint, note: bytes
) -> None:
    if old.origin != new.origin:
        fact = f"{folder.path} mirrors {old.origin}, this is {new.origin}"
        raise StoreError("MIRROR-03", fact, "name a folder of its own for each log")
    if old.size > new.size:
        fact = f"the checkpoint there is of size {new.size}, the mirror of size {old.size}"
        raise StoreError("MIRROR-04", fact, "wait until it has caught up, or name another replica")
    if trusted.prefix(old.size).root() != old.root:
        kept = f"fork-{new.size}.note"
        folder.write(kept, note)
        fact = f"the log there at size {new.size} does not begin with the one mirrored here at size {old.size}"
        step = f"keep both: glasslog compare {folder.path} {folder.path / kept} --policy POLICY; tell the members"
        raise StoreError("MIRROR-05", fact, step)


def _copy(
    upstream: Upstream,
    folder: MirrorFolder,
    trusted: TrustedTiles,
    before: int,
    progress: Callable[[int, int], None],
    threads: int,
) -> None:
    size = trusted.size
    first = before // TILE_WIDTH
    with ThreadPoolExecutor(threads) as pool:
        for index, future in _ask_ahead(pool, upstream, folder, size, first):
            width = tile_width(size, 0, index)
            expected = trusted.tile(0, index)
            kept, bundle = future.result()
            if kept is None or not _is_of(kept, expected):
                folder.write(entries_path(index, width), _require_entries(bundle, upstream, index, width, expected))
            _write_tile(folder, tile_path(0, index, width), expected)
            progress(min(size, index * TILE_WIDTH + width), size)
    for level in range(1, (size.bit_length() + 7) // 8):
        for index in range(before >> 8 * (level + 1), (size >> 8 * (level + 1)) + 1):
            width = tile_width(size, level, index)
            if width:
                _write_tile(folder, tile_path(level, index, width), trusted.tile(level, index))


def _ask_ahead(
    pool: ThreadPoolExecutor, upstream: Upstream, folder: MirrorFolder, size: int, first: int
) -> Iterator[tuple[int, Future[tuple[bytes | None, bytes | None]]]]:
    """Yield bundles in order, each with what the folder has of it or else what is served; a few are asked for ahead."""

    def fetch(index: int) -> tuple[bytes | None, bytes | None]:
        width = tile_width(size, 0, index)
        kept = folder.read(entries_path(index, width), BUNDLE_BYTES_MAX)
        return kept, None if kept is not None else upstream.entries(index, width)

    wanted = iter(range(first, -(-size // TILE_WIDTH)))
    waiting = [(index, pool.submit(fetch, index)) for index in islice(wanted, _AHEAD)]
    while waiting:
        yield waiting.pop(0)
        waiting += [(index, pool.submit(fetch, index)) for index in islice(wanted, 1)]


def _require_entries(bundle: bytes | None, upstream: Upstream, index: int, width: int, expected: bytes) -> bytes:
    found = upstream.entries(index, width) if bundle is None else bundle
    if found is None:
        raise ProofError("MIRROR-01", f"{entries_path(index, width)} is missing")
    if not _is_of(found, expected):
        raise ProofError("MIRROR-01", f"{entries_path(index, width)} has entries that the checkpoint's tree has not")
    return found


def _is_of(bundle: bytes, expected: bytes) -> bool:
    try:
        return merkle.hash_leaves(split_entries(bundle)) == expected
    except ProtocolError:
        return False


def _write_tile(folder: MirrorFolder, name: str, data: bytes) -> None:
    if folder.read(name, len(data)) != data:
        folder.write(name, data)


def _list_partials(size: int) -> Iterator[str]:
    """Yield the partial files of a size: its last bundle, and the last tile of each level."""
    if size % TILE_WIDTH:
        yield entries_path(size // TILE_WIDTH, size % TILE_WIDTH)
    for level in range((size.bit_length() + 7) // 8):
        width = (size >> 8 * level) % TILE_WIDTH
        if width:
            yield tile_path(level, size >> 8 * (level + 1), width)


def _tile_reader(upstream: Upstream) -> Callable[[int, int, int], bytes | None]:
    def read(level: int, index: int, width: int) -> bytes | None:
        """Return what the source has: of its edge, or of the full tile that this one has become since."""
        found = upstream.tile(level, index, width)
        if (found is None or len(found) < width * 32) and width < TILE_WIDTH:
            found = upstream.tile(level, index, TILE_WIDTH)
        return None if found is None else found[: width * 32]

    return read
