"""The seam between the runtime and whatever carries its messages.

Two implementations: ``Libp2pTransport`` (libp2p.py) and ``MemoryTransport`` (memory.py). The contract:

- A peer is named by its member name; an implementation admits only members and authenticates them.
- Per peer and while a connection lasts, messages arrive whole, once, in order within their ``Lane``.
  Anything may be lost when a connection ends; nothing is repeated or invented.
- ``send`` never blocks and never raises for a peer's sake. A peer whose queue is over its bound is
  disconnected: it will resynchronize when it comes back, where silent dropping would leave a gap.
- An implementation never interprets a message and survives every byte a peer can send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

import trio


class Lane(Enum):
    """Control messages (votes, certificates, status) overtake bulk ones (bodies, catch-up)."""

    CONTROL = 0
    BULK = 1


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """A member's stream works, in both directions."""

    peer: str


@dataclass(frozen=True, slots=True)
class PeerLost:
    """A member's stream ended; ``reason`` is for people. ``code`` is the rule of the wire it broke, if it did."""

    peer: str
    reason: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """One whole message from an authenticated member."""

    peer: str
    data: bytes


@dataclass(frozen=True, slots=True)
class GossipReceived:
    """One gossiped payload and the member whose signature it carries."""

    origin: str
    topic: str
    data: bytes


TransportEvent: TypeAlias = PeerConnected | PeerLost | MessageReceived | GossipReceived


@dataclass(frozen=True, slots=True)
class PeerState:
    """What an operator may ask about a peer."""

    connected: bool
    address: str
    queued_bytes: int
    sent_bytes: int
    received_bytes: int
    round_trip_ms: float | None
    last_error: str | None


class Transport(Protocol):
    """Carries messages between members."""

    @property
    def events(self) -> trio.MemoryReceiveChannel[TransportEvent]:
        """What happened, in order. The channel is bounded: a slow reader slows the peers, not the process."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, dial, supervise until cancelled. Started when listening.

        Raises:
            NetworkError: the listening address cannot be had.
        """
        ...

    def send(self, peers: Iterable[str], data: bytes, lane: Lane = Lane.CONTROL) -> None:
        """Queue one message for each of these members that is connected."""
        ...

    def gossip(self, topic: str, data: bytes) -> None:
        """Announce a small payload to every subscriber; best effort, coalesced under load."""
        ...

    def peers(self) -> Mapping[str, PeerState]:
        """Every other member by name."""
        ...
