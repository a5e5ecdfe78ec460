"""The transport of a real node: member links and gossip over libp2p (TCP, Noise, Yamux, gossipsub).

libp2p itself is imported when ``run`` starts, so that commands that never talk to a peer do not pay for it.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from glasslog.errors import ProtocolError
from glasslog_node.errors import ConfigError
from glasslog_node.network import no_fastecdsa
from glasslog_node.network.hello import RUN_BYTES, Hello
from glasslog_node.network.link import LINK_WINDOW, Link, exchange_hello
from glasslog_node.network.send_queue import SendQueue
from glasslog_node.network.timing import DEFAULT_TIMING, Timing
from glasslog_node.network.transport import (
    GossipReceived,
    Lane,
    MessageReceived,
    PeerConnected,
    PeerLost,
    PeerState,
    TransportEvent,
)
from glasslog_node.network.yamux import StreamEnded

if TYPE_CHECKING:
    from libp2p.peer.id import ID  # pyright: ignore[reportMissingTypeStubs]  # untyped subpackage

    from glasslog_node.network.gossip import Gossip
    from glasslog_node.network.host import MemberConnection, MemberHost
    from glasslog_node.network.members import Endpoint, PeerAddress

log = logging.getLogger(__name__)

EVENTS_MAX = 64  # each may be a whole body: bounds what waits for the runtime
TOPICS = ("blocks", "checkpoints")
GOSSIP_PER_SECOND = 8.0


@dataclass(eq=False)
class _Session:
    """An established connection with a member."""

    connection: MemberConnection
    link: Link
    run: bytes
    over: trio.Event = field(default_factory=trio.Event)


@dataclass(eq=False)
class _Peer:
    """What is known of a member, connected or not."""

    name: str
    address: PeerAddress
    peer_id: ID
    dialling: trio.CancelScope = field(default_factory=trio.CancelScope)
    session: _Session | None = None
    changed: trio.Event = field(default_factory=trio.Event)
    established: int = 0
    sent_bytes: int = 0  # of ended connections
    received_bytes: int = 0
    last_error: str | None = None

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def state(self) -> PeerState:
        session = self.session
        yamux = session.connection.yamux if session else None
        endpoint = self.address.endpoint
        return PeerState(
            connected=session is not None,
            address=session.connection.address if session else str(endpoint or ""),
            queued_bytes=session.link.queued_bytes if session else 0,
            sent_bytes=self.sent_bytes + (yamux.sent_bytes if yamux else 0),
            received_bytes=self.received_bytes + (yamux.received_bytes if yamux else 0),
            round_trip_ms=session.link.round_trip_ms if session else None,
            last_error=self.last_error,
        )


class Libp2pTransport:
    """``Transport`` over libp2p."""

    def __init__(  # noqa: PLR0913 - the first four say who and where; the rest is by keyword and has defaults
        self,
        name: str,
        seed: bytes,
        listen: Endpoint,
        members: Mapping[str, PeerAddress],
        *,
        genesis_hash: bytes,
        topics: Sequence[str] = TOPICS,
        timing: Timing = DEFAULT_TIMING,
        gossip_per_second: float = GOSSIP_PER_SECOND,
        events_max: int = EVENTS_MAX,
    ) -> None:
        """``seed`` is the network key's 32-byte Ed25519 seed; ``members`` may contain ``name`` itself.

        Raises:
            ConfigError: NET-04, the membership gives this name another network key.
            NetworkError: NET-02, libp2p is missing or of another version.
        """
        no_fastecdsa.install()
        self.name = name
        self.listening: int | None = None  # the port, once listening
        self._seed = seed
        self._listen = listen
        self._topics = topics
        self._timing = timing
        self._gossip_per_second = gossip_per_second
        self._hello = Hello(genesis_hash, name, secrets.token_bytes(RUN_BYTES))
        self._send_event, self._events = trio.open_memory_channel[TransportEvent](events_max)
        self._peers: dict[str, _Peer] = {}
        self._by_id: dict[ID, _Peer] = {}
        self._own_id = _own_id(seed)
        self._host: MemberHost | None = None
        self._gossip: Gossip | None = None
        self._nursery: trio.Nursery | None = None
        self.set_members(members)

    @property
    def events(self) -> trio.MemoryReceiveChannel[TransportEvent]:
        """See ``Transport.events``."""
        return self._events

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See ``Transport.run``."""
        from glasslog_node.network.gossip import Gossip, patch_library
        from glasslog_node.network.host import MemberHost

        patch_library()
        logging.getLogger("libp2p").setLevel(logging.CRITICAL)  # it calls every peer's fault an error; we say it once
        self._host = host = MemberHost(self._seed, self._by_id.__contains__, self._timing)
        network = self._hello.genesis_hash.hex()[:32]
        self._gossip = gossip = Gossip(
            host,
            {topic: f"glasslog/{network}/{topic}" for topic in self._topics},
            admits=lambda peer_id: peer_id == host.peer_id or peer_id in self._by_id,
            timing=self._timing,
            per_second=self._gossip_per_second,
        )
        listeners = await host.listen(self._listen)
        self.listening = int(listeners[0].socket.getsockname()[1])
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                nursery.start_soon(trio.serve_listeners, partial(host.accept, serve=self._serve), listeners)
                nursery.start_soon(gossip.run, self._deliver_gossip)
                for peer in self._peers.values():
                    nursery.start_soon(self._keep_dialling, peer)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def send(self, peers: Iterable[str], data: bytes, lane: Lane = Lane.CONTROL) -> None:
        """See ``Transport.send``."""
        for name in peers:
            peer = self._peers.get(name)
            if peer is not None and peer.session is not None:
                peer.session.link.send(data, lane)

    def gossip(self, topic: str, data: bytes) -> None:
        """See ``Transport.gossip``. Before ``run`` there is nobody to tell, and nothing is kept."""
        if self._gossip is not None:
            self._gossip.announce(topic, data)

    def peers(self) -> Mapping[str, PeerState]:
        """See ``Transport.peers``."""
        return {name: peer.state() for name, peer in self._peers.items()}

    def set_members(self, members: Mapping[str, PeerAddress]) -> None:
        """Talk to these members from now on; connections with others, or under another key, end.

        Raises:
            ConfigError: NET-04, this name has another network key there.
        """
        from glasslog_node.network.noise import peer_id_of

        own = members.get(self.name)
        if own is not None and peer_id_of(own.public_key) != self._own_id:
            fact = f"the network key of {self.name} is not the one the membership names"
            raise ConfigError("NET-04", fact, "restore the key file this member was admitted with")
        for name, peer in list(self._peers.items()):
            if name not in members or members[name].public_key != peer.address.public_key:
                self._remove(peer)
        for name, address in members.items():
            if name == self.name:
                continue
            known = self._peers.get(name)
            if known is not None:
                known.address = address
                known.wake()
                continue
            peer = self._peers[name] = _Peer(name, address, peer_id_of(address.public_key))
            self._by_id[peer.peer_id] = peer
            if self._nursery is not None:
                self._nursery.start_soon(self._keep_dialling, peer)

    def _remove(self, peer: _Peer) -> None:
        del self._peers[peer.name]
        del self._by_id[peer.peer_id]
        peer.wake()
        if peer.session is not None:
            peer.session.link.end("no longer a member")
        else:
            peer.dialling.cancel()

    # --- connections ------------------------------------------------------------------------------

    async def _keep_dialling(self, peer: _Peer) -> None:
        """Dial whenever there is an address and no connection, at growing, jittered intervals."""
        from glasslog_node.network.noise import RefusedError

        pause = self._timing.retry_first
        with peer.dialling:
            while self._peers.get(peer.name) is peer:
                endpoint = peer.address.endpoint
                if endpoint is None or peer.session is not None:
                    await peer.changed.wait()
                    pause = self._timing.retry_first
                    continue
                if self.name > peer.name:
                    with trio.move_on_after(_jittered(self._timing.defer)):
                        await peer.changed.wait()
                        continue
                before = peer.established
                try:
                    assert self._host is not None
                    await self._host.dial(endpoint, peer.peer_id, self._serve)
                except RefusedError as error:
                    peer.last_error = str(error)
                    log.info("dialling %s: %s", peer.name, error)
                if peer.established > before:
                    pause = self._timing.retry_first
                with trio.move_on_after(_jittered(pause)):
                    await peer.changed.wait()
                pause = min(2 * pause, self._timing.retry_most)

    async def _serve(self, connection: MemberConnection) -> None:
        """What happens on an authenticated connection, whoever dialled it."""
        from glasslog_node.network.noise import RefusedError

        peer = self._by_id.get(connection.peer_id)
        if peer is None:
            return  # no longer a member since the handshake
        try:
            with trio.fail_after(self._timing.hello):
                stream = await connection.link_stream()
                await stream.widen(LINK_WINDOW)
                hello = await exchange_hello(stream, self._hello, peer=peer.name)
        except trio.TooSlowError:
            self._note(peer, "connected, but opened no link in time")
            return
        except (RefusedError, StreamEnded, ProtocolError) as error:
            self._note(peer, str(error))
            return
        link = Link(stream, connection.yamux.ping, SendQueue(), self._timing)
        await self._carry(peer, _Session(connection, link, hello.run))

    async def _carry(self, peer: _Peer, session: _Session) -> None:
        while (other := peer.session) is not None:
            if session.run == other.run and not self._replaces(peer, session, other):
                return
            other.link.end("replaced by a newer connection")
            await other.over.wait()
        if self._peers.get(peer.name) is not peer:
            return  # removed meanwhile
        assert self._host is not None
        peer.session, peer.last_error = session, None
        peer.established += 1
        peer.wake()
        reason = "closed by us"
        try:
            await self._host.establish(session.connection)
            await self._send_event.send(PeerConnected(peer.name))
            reason = await session.link.run(partial(self._deliver, peer.name))
        finally:
            session.connection.yamux.close(reason)
            peer.session = None
            peer.sent_bytes += session.connection.yamux.sent_bytes
            peer.received_bytes += session.connection.yamux.received_bytes
            self._note(peer, reason)
        await self._host.retract(session.connection)
        await self._send_event.send(PeerLost(peer.name, reason, session.link.fault))
        session.over.set()
        peer.wake()

    def _replaces(self, peer: _Peer, new: _Session, old: _Session) -> bool:
        """Two connections between the same two runs: keep the smaller name's, or the newer of one side's.

        Both sides decide alike, so that two members that dial each other at once keep one connection, not none.
        """
        if new.connection.dialled == old.connection.dialled:
            return True
        return new.connection.dialled == (self.name < peer.name)

    async def _deliver(self, name: str, data: bytes) -> None:
        await self._send_event.send(MessageReceived(name, data))

    async def _deliver_gossip(self, origin: ID, topic: str, data: bytes) -> None:
        peer = self._by_id.get(origin)
        if peer is not None:
            await self._send_event.send(GossipReceived(peer.name, topic, data))

    def _note(self, peer: _Peer, reason: str) -> None:
        peer.last_error = reason
        log.info("%s: %s", peer.name, reason)


def _own_id(seed: bytes) -> ID:
    from glasslog_node.network.noise import identity, peer_id_of

    return peer_id_of(identity(seed).public_key.to_bytes())


def _jittered(pause: float) -> float:
    return pause * random.uniform(0.5, 1.5)  # noqa: S311 - spreads dials, protects nothing
