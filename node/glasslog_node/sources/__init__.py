"""Where replicas to audit are read from: a store's folder, a folder of tiles, an address (specs/auditing.md).

Each is imported when it is asked for: an audit of tiles needs no LMDB.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from glasslog.audit import Side, Source
from glasslog_node.errors import StoreError


class Upstream(Source, Protocol):
    """A source that has entry bundles by their index too, as tlog-tiles serves them: mirrors are made from it."""

    def entries(self, index: int, width: int) -> bytes | None:
        """Return the bundle of leaves ``256 * index`` and the following, ``width`` in all."""
        ...


@contextmanager
def open_source(target: str) -> Generator[Upstream]:
    """Open what *target* names: ``http://`` or ``https://``, a store's or backup's folder, or a folder of tiles.

    Raises:
        StoreError: STORE-nn, or SOURCE-01: there is no replica at that path.
        NetworkError: SOURCE-02 or SOURCE-03, the address cannot be read.
    """
    if target.startswith(("http://", "https://")):
        from glasslog_node.sources.address import LogAddress

        yield LogAddress(target)
        return
    path = Path(target)
    if (path / "data.mdb").is_file():
        from glasslog_node.sources.replica import ReplicaFolder

        replica = ReplicaFolder.open(path)
        try:
            yield replica
        finally:
            replica.close()
    elif (path / "checkpoint").is_file():
        from glasslog_node.sources.tiles_folder import TilesFolder

        yield TilesFolder(path)
    else:
        fact = f"{path} is neither a replica's folder (data.mdb) nor a folder of tiles (checkpoint)"
        raise StoreError("SOURCE-01", fact, "name a backup, a node's store, a folder of tiles, or an address")


@contextmanager
def open_side(target: str) -> Generator[Side]:
    """Open what a replica is compared with: all that ``open_source`` opens, or a file with a signed checkpoint in it.

    Raises:
        StoreError: STORE-nn, SOURCE-01 or SOURCE-04.
        NetworkError: SOURCE-02 or SOURCE-03.
    """
    if not target.startswith(("http://", "https://")) and Path(target).is_file():
        from glasslog_node.sources.note_file import read_note_file

        yield Side(target, read_note_file(Path(target)))
        return
    with open_source(target) as source:
        yield Side(source.label, source.checkpoint(), source)
