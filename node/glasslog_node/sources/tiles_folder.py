"""A folder of tiles: a static mirror as it would be served."""

from __future__ import annotations

from pathlib import Path

from glasslog_node.errors import StoreError
from glasslog_node.sources.tlog import TlogSource


class TilesFolder(TlogSource):
    """Reads the files below a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def label(self) -> str:
        """The folder."""
        return str(self._path)

    def read(self, path: str, *, size_max: int) -> bytes | None:
        """Return a file's bytes.

        Raises:
            StoreError: STORE-05, the system says no.
        """
        try:
            with (self._path / path).open("rb") as file:
                return file.read(size_max + 1)
        except FileNotFoundError:
            return None
        except OSError as e:
            fact = f"reading {self._path / path} failed: {(e.strerror or str(e)).lower()}"
            raise StoreError("STORE-05", fact, "check permissions and disk") from e
