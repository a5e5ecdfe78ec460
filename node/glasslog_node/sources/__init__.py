"""Where replicas to audit are read from: a store's folder, a folder of tiles, an address (specs/auditing.md).

Each is imported when it is asked for: an audit of tiles needs no LMDB.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from glasslog.audit import Source
from glasslog_node.errors import StoreError


@contextmanager
def open_source(target: str) -> Generator[Source]:
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
