"""The seams between the HTTP interface and the node behind it: narrow, so that each side is tested alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from glasslog.tiles import TilePath
from glasslog_node.batches import Batch


class Stage(IntEnum):
    """How far a submission has come; every stage implies those before it."""

    SPOOLED = 0
    SEALED = 1
    FINAL = 2
    PUBLISHED = 3


@dataclass(frozen=True, slots=True)
class Receipt:
    """A batch is durably spooled. ``repeated``: this key had been acknowledged before, for the very same body."""

    submission: str
    count: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Entries of a submission that lie side by side in the log: ``count`` of them from ``index`` on.

    ``number`` is the author's number of the first. A submission has more than one run where blocks end within it.
    """

    number: int
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class SubmissionState:
    """Where a submission stands.

    ``entries`` are the ``(first number, count)`` given so far, ``runs`` its places in the log once all of it is
    final, and ``checkpoint`` a published size that covers all of it.
    """

    submission: str
    count: int
    stage: Stage
    entries: tuple[tuple[int, int], ...]
    runs: tuple[Run, ...]
    checkpoint: int | None

    def index(self, position: int) -> int | None:
        """Return the log index of the submission's entry at ``position``, from 0; None until it is final."""
        for run in self.runs:
            if position < run.count:
                return run.index + position
            position -= run.count
        return None


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One other member, as this node sees it."""

    name: str
    role: str
    jurisdiction: str
    connected: bool
    height: int | None
    round_trip_ms: float | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What ``glasslog status`` shows. ``state``: one word for people, e.g. ``finalizing``, ``idle``, ``waiting``."""

    name: str
    role: str
    jurisdiction: str
    network: str
    origin: str
    state: str
    epoch: int
    view: int
    height: int
    size: int
    root: bytes
    published: int
    spooled: int
    peers: tuple[PeerStatus, ...]


class NodeView(Protocol):
    """The running node, asked about itself. None of these blocks."""

    def status(self) -> NodeStatus:
        """Return where the node stands."""
        ...

    def why(self) -> Sequence[str]:
        """Return why nothing is being finalized, by name, as ``CODE fact. Next: …`` lines; empty when all is well."""
        ...

    def unready(self) -> str | None:
        """Return why this node should get no traffic now, or None."""
        ...


class Desk(Protocol):
    """Takes submissions."""

    async def submit(self, batch: Batch, *, key: str | None) -> Receipt:
        """Validate, number and durably spool a batch. Durable when it returns.

        Raises:
            ProtocolError: a statement is not admissible; nothing of the batch was spooled.
            RequestError: it cannot be taken (409, 422, 429, 503, 507); nothing of it was spooled.
        """
        ...

    def state(self, submission: str) -> SubmissionState | None:
        """Return where a submission stands, or None where there is no such submission."""
        ...

    async def wait(self, submission: str, stage: Stage) -> SubmissionState | None:
        """Return once the submission has reached the stage; the caller sets the deadline."""
        ...


class LogReader(Protocol):
    """The log up to its published size. Reads are of a memory map: short, and made in the calling task."""

    def checkpoint(self) -> bytes | None:
        """Return the published signed note, or None before the first."""
        ...

    def published_size(self) -> int:
        """Return how many leaves the published checkpoint covers; 0 before the first."""
        ...

    def entry(self, index: int) -> bytes | None:
        """Return the leaf at this index, None from the published size on."""
        ...

    def tile(self, path: TilePath) -> bytes | None:
        """Return a tile or entry bundle of exactly this width, None where the published log has none."""
        ...

    def bundle(self, index: int) -> bytes:
        """Return the bundle that proves the entry at this index, which is below the published size.

        Raises:
            RequestError: 422, this leaf is none that a bundle proves.
        """
        ...


def state_value(state: SubmissionState) -> Mapping[str, object]:
    """Return a submission's state as the JSON object clients see."""
    return {
        "submission": state.submission,
        "state": state.stage.name.lower(),
        "count": state.count,
        "entries": [list(entries) for entries in state.entries],
        "runs": [{"number": run.number, "index": run.index, "count": run.count} for run in state.runs],
        "checkpoint": state.checkpoint,
    }


def status_value(status: NodeStatus) -> dict[str, object]:
    """Return a node's status as the JSON object clients see."""
    return {
        "name": status.name,
        "role": status.role,
        "jurisdiction": status.jurisdiction,
        "network": status.network,
        "origin": status.origin,
        "state": status.state,
        "epoch": status.epoch,
        "view": status.view,
        "height": status.height,
        "size": status.size,
        "root": status.root.hex(),
        "published": status.published,
        "spooled": status.spooled,
        "peers": [
            {
                "name": peer.name,
                "role": peer.role,
                "jurisdiction": peer.jurisdiction,
                "connected": peer.connected,
                "height": peer.height,
                "round_trip_ms": peer.round_trip_ms,
                "last_error": peer.last_error,
            }
            for peer in status.peers
        ],
    }
