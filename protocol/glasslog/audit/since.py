"""What a log has gained since a size: entries by author, while the audit reads them (specs/auditing.md, Since)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from glasslog.audit.engine import Listener
from glasslog.audit.source import Run
from glasslog.audit.walk import ClosedHeight
from glasslog.block import decode_header_leaf
from glasslog.entry import Genesis
from glasslog.errors import ProtocolError
from glasslog.membership import Membership
from glasslog.tiles import split_entries

_HEADER = b"\x82\x03"


class Since:
    """Listens to an audit, and counts what stands at or above leaf ``size``: entries by author, and heights."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.entries: Counter[str] = Counter()
        self.heights = 0

    def founded(self, genesis: Genesis, membership: Membership) -> None:
        """The members are not news."""

    def feed(self, run: Run) -> None:
        """Count the blocks of the next leaves. A checkpoint ends at a height, so no block lies on both sides of it."""
        if _HEADER not in run.bundle:
            return
        for index, leaf in enumerate(split_entries(run.bundle), run.first_index):
            if index >= self.size and leaf[:2] == _HEADER:
                try:
                    header = decode_header_leaf(leaf)[0]
                except ProtocolError:
                    continue  # a finding of the audit
                self.entries[header.author] += header.count

    def close_height(self, closed: ClosedHeight) -> None:
        """Count a height that ends above the size."""
        self.heights += closed.size > self.size

    def to_value(self) -> dict[str, object]:
        """Return the JSON object of a report."""
        return {"size": self.size, "heights": self.heights, "entries": dict(sorted(self.entries.items()))}


class Together:
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def founded(self, genesis: Genesis, membership: Membership) -> None:
        """Tell each."""
        for one in self._listeners:
            one.founded(genesis, membership)

    def feed(self, run: Run) -> None:
        """Tell each."""
        for one in self._listeners:
            one.feed(run)

    def close_height(self, closed: ClosedHeight) -> None:
        """Tell each."""
        for one in self._listeners:
            one.close_height(closed)
