"""What an audit reads: one moment of one replica, whatever it is kept in.

A source is not trusted. It may raise what it likes when it cannot be read; what it does return is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from glasslog.ledger import Tip


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive leaves from log index ``first_index`` on, as an entry bundle (C2SP tlog-tiles)."""

    first_index: int
    bundle: bytes


class Source(Protocol):
    """One moment of a replica. Everything that returns None is about something the replica does not have."""

    @property
    def label(self) -> str:
        """What to call it in a report: a path or an address."""
        ...

    @property
    def size(self) -> int:
        """Number of leaves it says it holds."""
        ...

    def checkpoint(self) -> bytes | None:
        """Return the published signed note."""
        ...

    def runs(self) -> Iterator[Run]:
        """Yield every leaf, in log order. Runs may be cut anywhere between leaves."""
        ...

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """Return a tile's first ``width`` hashes, of the tree of ``size`` leaves."""
        ...

    def archive(self) -> Archive | None:
        """Return what a node's own replica has besides the log; None where there is only the log."""
        ...


class Archive(Protocol):
    """How a node's replica came to be final: kept by nodes, and not part of the log."""

    def proposal(self, height: int) -> tuple[bytes, bytes] | None:
        """Return digest and canonical bytes of a height's proposal."""
        ...

    def certificates(self, epoch: int, after_view: int, up_to_view: int | None) -> Sequence[bytes]:
        """Return the certificates of views above ``after_view``, in the order of their views."""
        ...

    def tips(self) -> Mapping[str, Tip]:
        """Return where every author's chain ends."""
        ...

    def evidence(self) -> Sequence[bytes]:
        """Return the evidence that the node found."""
        ...
