"""``Transport`` within one process, for tests of what runs above it: same contract, no bytes on any wire.

Time is trio's, so under ``trio.testing.MockClock`` delays cost nothing. The hub can cut a link, mend it, and delay
every message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import trio

from glasslog.limits import MESSAGE_BYTES_MAX
from glasslog_node.errors import NetworkError
from glasslog_node.network.transport import (
    GossipReceived,
    Lane,
    MessageReceived,
    PeerConnected,
    PeerLost,
    PeerState,
    TransportEvent,
)

EVENTS_MAX = 64
QUEUE_BYTES_MAX = 64 << 20


class _Inbox:
    """What is on its way to one member: each entry with the time it is due. Control before bulk."""

    def __init__(self) -> None:
        self._lanes: tuple[deque[tuple[float, bytes]], deque[tuple[float, bytes]]] = (deque(), deque())
        self._wake = trio.Event()
        self.queued_bytes = 0

    def push(self, due: float, data: bytes, lane: Lane) -> None:
        waiting = self._lanes[lane.value]
        if waiting:
            due = max(due, waiting[-1][0])  # in order, even where the delay was shortened meanwhile
        waiting.append((due, data))
        self.queued_bytes += len(data)
        self._wake.set()

    async def pop(self) -> bytes:
        while True:
            due_times = [waiting[0][0] for waiting in self._lanes if waiting]
            for waiting in self._lanes:
                if waiting and waiting[0][0] <= trio.current_time():
                    _, data = waiting.popleft()
                    self.queued_bytes -= len(data)
                    return data
            self._wake = trio.Event()
            with trio.move_on_at(min(due_times, default=float("inf"))):
                await self._wake.wait()


@dataclass(eq=False)
class _Link:
    """A connection between two running transports while it lasts; both know it by the same object."""

    inboxes: dict[str, _Inbox]
    reason: str | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    carriers: int = 2

    def end(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
            self.ended.set()

    def other(self, name: str) -> str:
        return next(each for each in self.inboxes if each != name)


class MemoryHub:
    """Connects the transports of one process; every two that run are linked unless cut."""

    def __init__(self, *, delay: float = 0.0) -> None:
        """``delay`` is in seconds, for every message sent from then on."""
        self.delay = delay
        self._running: dict[str, MemoryTransport] = {}
        self._links: dict[frozenset[str], _Link] = {}
        self._cut: set[frozenset[str]] = set()

    def transport(self, name: str, *, events_max: int = EVENTS_MAX) -> MemoryTransport:
        """A transport for this member, to be run by the caller."""
        return MemoryTransport(self, name, events_max=events_max)

    def cut(self, one: str, other: str) -> None:
        """Cut the link between two members until mended: what is under way is lost."""
        pair = frozenset((one, other))
        self._cut.add(pair)
        if pair in self._links:
            self._links[pair].end("link cut")

    def mend(self, one: str, other: str) -> None:
        """Undo ``cut``."""
        self._cut.discard(frozenset((one, other)))
        self._connect()

    def join(self, transport: MemoryTransport) -> None:
        """A transport starts to run.

        Raises:
            NetworkError: NET-01, another of that name runs already.
        """
        if transport.name in self._running:
            raise NetworkError("NET-01", f"{transport.name} is in use by another transport", "stop the other one")
        self._running[transport.name] = transport
        self._connect()

    def leave(self, transport: MemoryTransport) -> None:
        """A transport stops running."""
        del self._running[transport.name]
        for link in list(self._links.values()):
            if transport.name in link.inboxes:
                link.end("closed by the peer")
                self.release(link)

    def release(self, link: _Link) -> None:
        """One side is done with an ended link; when both are, a new one may take its place."""
        link.carriers -= 1
        pair = frozenset(link.inboxes)
        if link.carriers <= 0 and self._links.get(pair) is link:
            del self._links[pair]
            self._connect()

    def _connect(self) -> None:
        names = sorted(self._running)
        for pair in (frozenset((a, b)) for a in names for b in names if a < b):
            if pair not in self._links and pair not in self._cut:
                link = self._links[pair] = _Link({name: _Inbox() for name in sorted(pair)})
                for name in sorted(pair):
                    self._running[name].attach(link)

    def linked(self, name: str) -> dict[str, MemoryTransport]:
        """Whom a member can reach now."""
        live = [link for link in self._links.values() if name in link.inboxes and link.reason is None]
        return {link.other(name): self._running[link.other(name)] for link in live}


class MemoryTransport:
    """``Transport`` over a ``MemoryHub``."""

    def __init__(self, hub: MemoryHub, name: str, *, events_max: int = EVENTS_MAX) -> None:
        self.name = name
        self._hub = hub
        self._send_event, self._events = trio.open_memory_channel[TransportEvent](events_max)
        self._attached: deque[_Link] = deque()
        self._wake = trio.Event()
        self._links: dict[str, _Link] = {}
        self._counts: dict[str, list[int]] = {}
        self._last_errors: dict[str, str] = {}
        self._gossip = _Inbox()
        self._gossip_from: deque[tuple[str, str]] = deque()

    @property
    def events(self) -> trio.MemoryReceiveChannel[TransportEvent]:
        """See ``Transport.events``."""
        return self._events

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See ``Transport.run``."""
        self._hub.join(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive_gossip)
                task_status.started()
                while True:
                    while self._attached:
                        nursery.start_soon(self._carry, self._attached.popleft())
                    self._wake = trio.Event()
                    await self._wake.wait()
        finally:
            self._links.clear()
            self._attached.clear()
            self._hub.leave(self)

    def attach(self, link: _Link) -> None:
        """The hub has made a link."""
        self._attached.append(link)
        self._wake.set()

    async def _carry(self, link: _Link) -> None:
        peer = link.other(self.name)
        self._links[peer] = link
        counts = self._counts.setdefault(peer, [0, 0])
        await self._send_event.send(PeerConnected(peer))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, link, peer, counts)
            await link.ended.wait()
            nursery.cancel_scope.cancel()
        reason = link.reason or "link ended"
        del self._links[peer]
        self._last_errors[peer] = reason
        await self._send_event.send(PeerLost(peer, reason))
        self._hub.release(link)

    async def _receive(self, link: _Link, peer: str, counts: list[int]) -> None:
        while True:
            data = await link.inboxes[self.name].pop()
            counts[1] += len(data)
            await self._send_event.send(MessageReceived(peer, data))

    async def _receive_gossip(self) -> None:
        while True:
            data = await self._gossip.pop()
            origin, topic = self._gossip_from.popleft()
            await self._send_event.send(GossipReceived(origin, topic, data))

    def send(self, peers: Iterable[str], data: bytes, lane: Lane = Lane.CONTROL) -> None:
        """See ``Transport.send``."""
        if not 0 < len(data) <= MESSAGE_BYTES_MAX:
            raise ValueError(f"message of {len(data)} bytes, 1..{MESSAGE_BYTES_MAX} allowed")
        for name in peers:
            link = self._links.get(name)
            if link is None or link.reason is not None:
                continue
            inbox = link.inboxes[name]
            if inbox.queued_bytes + len(data) > QUEUE_BYTES_MAX:
                link.end(f"reads too slowly, {inbox.queued_bytes} bytes were waiting")
                continue
            inbox.push(trio.current_time() + self._hub.delay, data, lane)
            self._counts[name][0] += len(data)

    def gossip(self, topic: str, data: bytes) -> None:
        """See ``Transport.gossip``."""
        for other in self._hub.linked(self.name).values():
            other.overhear(self.name, topic, data)

    def overhear(self, origin: str, topic: str, data: bytes) -> None:
        """Called by whoever announces."""
        self._gossip_from.append((origin, topic))
        self._gossip.push(trio.current_time() + self._hub.delay, data, Lane.CONTROL)

    def peers(self) -> Mapping[str, PeerState]:
        """See ``Transport.peers``: those met so far."""
        return {name: self._state(name) for name in sorted(self._counts)}

    def _state(self, name: str) -> PeerState:
        link = self._links.get(name)
        sent, received = self._counts[name]
        return PeerState(
            connected=link is not None,
            address=f"memory:{name}",
            queued_bytes=link.inboxes[name].queued_bytes if link else 0,
            sent_bytes=sent,
            received_bytes=received,
            round_trip_ms=2000 * self._hub.delay if link else None,
            last_error=self._last_errors.get(name),
        )
