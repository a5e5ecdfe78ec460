"""A node's libp2p host: listens, dials, shakes hands, negotiates streams. Members only (wire.md, W1).

The library's own host leaks an inbound slot per connection, shares its port with a second process (SO_REUSEPORT),
retries, prunes and dials by rules of its own, and lets an exception in a stream handler end the process. This
one does less. It also answers the few calls the library's ``Pubsub`` makes of a host and a network.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import trio
from libp2p.custom_types import TProtocol
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF
from libp2p.peer.id import ID  # pyright: ignore[reportMissingTypeStubs]  # untyped subpackage
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from glasslog_node.errors import NetworkError
from glasslog_node.network.link import LINK_PROTOCOL
from glasslog_node.network.noise import Handshaker, NoiseWire, RefusedError, identity
from glasslog_node.network.yamux import StreamEnded, YamuxConnection, YamuxStream

if TYPE_CHECKING:
    from libp2p.abc import IMultiselectCommunicator
    from libp2p.crypto.keys import PrivateKey, PublicKey

    from glasslog_node.network.members import Endpoint
    from glasslog_node.network.timing import Timing

log = logging.getLogger(__name__)

HANDSHAKES_MAX = 64  # strangers may hold this many sockets; the oldest gives way to the newest
_SEND_BUFFER_BYTES = 256 << 10  # unsent bytes the kernel holds per peer: a vote waits behind no more than these


class MemberConnection:
    """An authenticated connection to a member."""

    def __init__(self, host: MemberHost, peer_id: ID, wire: NoiseWire, address: str, *, dialled: bool) -> None:
        self._host = host
        self.peer_id = peer_id
        self.address = address
        self.dialled = dialled
        self.yamux = YamuxConnection(wire, initiator=dialled, accept=self._accept)
        self.established = trio.Event()  # both sides said hello: other protocols may start
        self._nursery: trio.Nursery | None = None
        self._link_offered = False
        self._offer_link, self._offered_link = trio.open_memory_channel[YamuxStream](1)

    async def run(self, serve: Callable[[MemberConnection], Awaitable[None]]) -> None:
        """Serve the connection until it is over."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self.yamux.run)
                try:
                    await serve(self)
                finally:
                    self.yamux.close("closed by us")
                    nursery.cancel_scope.cancel()
        except Exception:  # our bug, met by this peer's bytes: its connection ends, not the process
            log.exception("the connection with %s failed", self.address)

    async def link_stream(self) -> YamuxStream:
        """The member link's stream: opened by the side that dialled. The caller sets a deadline.

        Raises:
            StreamEnded: the connection is over.
            RefusedError: the peer does not speak the link protocol.
        """
        if self.dialled:
            stream, _ = await self.negotiate([LINK_PROTOCOL])
            return stream
        return await self._offered_link.receive()

    async def negotiate(self, protocols: Sequence[str]) -> tuple[YamuxStream, str]:
        """Open a stream and agree on one of these protocols. The caller sets a deadline.

        Raises:
            StreamEnded: the connection is over.
            RefusedError: the peer speaks none of them.
        """
        stream = await self.yamux.open_stream()
        communicator = cast(
            "IMultiselectCommunicator", MultiselectCommunicator(cast("Any", LibraryStream(self, stream)))
        )
        try:
            chosen = await MultiselectClient().select_one_of([TProtocol(p) for p in protocols], communicator)
        except MultiselectClientError as error:
            await stream.reset()
            raise RefusedError(f"does not speak {protocols[0]}") from error
        return stream, str(chosen)

    def offer_link(self, stream: YamuxStream) -> bool:
        """Hand the link stream the peer opened to whoever waits for it; False for a second one, or an unasked one."""
        if self.dialled or self._link_offered:
            return False
        self._link_offered = True
        self._offer_link.send_nowait(stream)
        return True

    def _accept(self, stream: YamuxStream) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._host.serve_stream, self, stream)

    # --- as Pubsub wants it ---------------------------------------------------------------------

    @property
    def muxed_conn(self) -> MemberConnection:
        """Itself: there is nothing in between."""
        return self

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self.yamux.reason is not None


class LibraryStream:
    """A stream as the library's negotiation and Pubsub want it: its method names and its exceptions."""

    metric_send_channel = None

    def __init__(self, connection: MemberConnection, stream: YamuxStream, protocol: str | None = None) -> None:
        self.muxed_conn = connection
        self.plain = stream
        self._protocol = protocol

    async def read(self, n: int | None = None) -> bytes:
        """What has arrived, at most ``n`` bytes."""
        try:
            data = await self.plain.receive_some()
        except StreamEnded as end:
            raise StreamEOF(str(end)) from None
        if not data:
            raise StreamEOF("finished by the peer")
        if n is not None and 0 < n < len(data):
            self.plain.unread(data[n:])
            return data[:n]
        return data

    async def write(self, data: bytes) -> None:
        """Send everything."""
        try:
            await self.plain.send_all(data)
        except StreamEnded as end:
            raise StreamClosed(str(end)) from None

    async def reset(self) -> None:
        """End the stream at once."""
        try:
            await self.plain.reset()
        except StreamEnded:
            return

    async def close(self) -> None:
        """Send no more."""
        try:
            await self.plain.finish()
        except StreamEnded:
            return

    def get_protocol(self) -> str | None:
        """What was agreed on."""
        return self._protocol


class MemberHost:
    """Connections with members, and the handlers of their streams."""

    def __init__(self, seed: bytes, admits: Callable[[ID], bool], timing: Timing) -> None:
        self.key_pair = identity(seed)
        self.peer_id = ID.from_pubkey(self.key_pair.public_key)
        self._timing = timing
        self._handshaker = Handshaker(self.key_pair, admits)
        self._handshakes: OrderedDict[int, trio.CancelScope] = OrderedDict()
        self._handshake_number = 0
        self._multiselect = Multiselect()
        self._established: dict[ID, MemberConnection] = {}
        self._notifees: list[Any] = []
        self.set_stream_handler(LINK_PROTOCOL, self._on_link_stream)

    # --- connections ------------------------------------------------------------------------------

    async def listen(self, endpoint: Endpoint) -> list[trio.SocketListener]:
        """Bind the listening sockets.

        Raises:
            NetworkError: NET-01, the address is taken or not ours.
        """
        try:
            return await trio.open_tcp_listeners(endpoint.port, host=endpoint.host)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            fact = f"{endpoint} is in use by another process" if taken else f"cannot listen on {endpoint}: {error}"
            raise NetworkError("NET-01", fact, "stop the other process or set network.listen") from error

    async def accept(self, stream: trio.SocketStream, serve: Callable[[MemberConnection], Awaitable[None]]) -> None:
        """Shake hands with whoever connected, and serve the connection until it is over. Never raises for a peer."""
        async with stream:
            connection = await self._shake_hands(stream)
            if connection is not None:
                await connection.run(serve)

    async def _shake_hands(self, stream: trio.SocketStream) -> MemberConnection | None:
        number = self._handshake_number = self._handshake_number + 1
        if len(self._handshakes) >= HANDSHAKES_MAX:
            # Idle strangers must not keep members out: a member is through in milliseconds.
            _, oldest = self._handshakes.popitem(last=False)
            oldest.cancel()
        with trio.move_on_after(self._timing.handshake) as scope:
            self._handshakes[number] = scope
            try:
                self._prepare(stream)
                address = _remote_address(stream)
                peer_id, wire = await self._handshaker.run(stream, None)
                return MemberConnection(self, peer_id, wire, address, dialled=False)
            except (RefusedError, OSError, trio.BrokenResourceError) as error:
                log.info("refused a connection: %s", error)
                return None
            finally:
                self._handshakes.pop(number, None)
        log.info("refused a connection: it did not shake hands in time")
        return None

    async def dial(
        self, endpoint: Endpoint, expected: ID, serve: Callable[[MemberConnection], Awaitable[None]]
    ) -> None:
        """Connect to a member and serve the connection until it is over.

        Raises:
            RefusedError: nobody there, not that member, or too slow.
        """
        try:
            with trio.fail_after(self._timing.dial):
                stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
        except (OSError, trio.TooSlowError) as error:
            raise RefusedError(f"cannot reach {endpoint}: {_why_unreachable(error)}") from error
        async with stream:
            try:
                self._prepare(stream)
                with trio.fail_after(self._timing.handshake):
                    peer_id, wire = await self._handshaker.run(stream, expected)
            except (OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
                raise RefusedError(f"handshake with {endpoint} failed: {_text(error)}") from error
            await MemberConnection(self, peer_id, wire, str(endpoint), dialled=True).run(serve)

    def _prepare(self, stream: trio.SocketStream) -> None:
        stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        not_sent_low_water = getattr(trio.socket, "TCP_NOTSENT_LOWAT", None)
        if not_sent_low_water is not None:
            stream.setsockopt(trio.socket.IPPROTO_TCP, not_sent_low_water, _SEND_BUFFER_BYTES)

    async def establish(self, connection: MemberConnection) -> None:
        """The members' hellos agreed: let other protocols use the connection."""
        self._established[connection.peer_id] = connection
        connection.established.set()
        await self._notify("connected", connection)

    async def retract(self, connection: MemberConnection) -> None:
        """The connection is over; harmless when another has taken its place."""
        if self._established.get(connection.peer_id) is connection:
            del self._established[connection.peer_id]
            await self._notify("disconnected", connection)

    async def _notify(self, what: str, connection: MemberConnection) -> None:
        for notifee in list(self._notifees):
            with trio.move_on_after(self._timing.hello):  # a Pubsub that is being started anew takes nothing
                await getattr(notifee, what)(self, connection)

    # --- streams ------------------------------------------------------------------------------------

    async def serve_stream(self, connection: MemberConnection, stream: YamuxStream) -> None:
        """Negotiate a stream the peer opened and hand it to its handler; whatever goes wrong ends only the stream."""
        adapted = LibraryStream(connection, stream)
        try:
            with trio.fail_after(self._timing.handshake):
                communicator = MultiselectCommunicator(cast("Any", adapted))
                protocol, handler = await self._multiselect.negotiate(communicator)
                if protocol != LINK_PROTOCOL:
                    await connection.established.wait()
            if handler is None:
                raise RefusedError("no handler")  # noqa: TRY301 - ends like every other refusal
            handled = LibraryStream(connection, stream, str(protocol))
            await cast("Callable[[LibraryStream], Awaitable[None]]", handler)(handled)
        except (MultiselectError, RefusedError, StreamEnded, trio.TooSlowError) as error:
            log.info("a stream of %s ended: %s", connection.address, _text(error))
            await adapted.reset()
        except Exception:  # a peer's bytes, or our bug met by them, must never end the process
            log.exception("a stream handler failed on what %s sent", connection.address)
            await adapted.reset()

    async def _on_link_stream(self, stream: LibraryStream) -> None:
        if not stream.muxed_conn.offer_link(stream.plain):
            await stream.reset()

    # --- as Pubsub wants it ---------------------------------------------------------------------

    def get_id(self) -> ID:
        """Our peer id."""
        return self.peer_id

    def get_private_key(self) -> PrivateKey:
        """Signs announcements."""
        return self.key_pair.private_key

    def get_public_key(self) -> PublicKey:
        """Goes with announcements."""
        return self.key_pair.public_key

    def get_network(self) -> MemberHost:
        """Itself: there is nothing in between."""
        return self

    def get_connections(self, peer_id: ID) -> list[MemberConnection]:
        """The established connection with a peer, or none."""
        connection = self._established.get(peer_id)
        return [] if connection is None or connection.is_closed else [connection]

    def established(self) -> list[MemberConnection]:
        """Every connection other protocols may use."""
        return list(self._established.values())

    def register_notifee(self, notifee: object) -> None:
        """Tell Pubsub of connections from now on."""
        self._notifees.append(notifee)

    def forget_notifees(self) -> None:
        """Before a new Pubsub takes over from one that failed."""
        self._notifees.clear()

    def set_stream_handler(self, protocol: str, handler: Callable[..., Awaitable[None]]) -> None:
        """Serve streams of a protocol."""
        self._multiselect.add_handler(TProtocol(protocol), cast("Any", handler))

    async def new_stream(self, peer_id: ID, protocols: Sequence[str]) -> LibraryStream:
        """Open a stream of one of these protocols; raises what Pubsub expects."""
        connection = self._established.get(peer_id)
        if connection is None:
            raise SwarmException(f"not connected to {peer_id}")
        try:
            with trio.fail_after(self._timing.handshake):
                stream, protocol = await connection.negotiate(protocols)
        except (StreamEnded, RefusedError, trio.TooSlowError) as error:
            raise SwarmException(f"no stream to {peer_id}: {_text(error)}") from error
        return LibraryStream(connection, stream, protocol)


def _remote_address(stream: trio.SocketStream) -> str:
    name = stream.socket.getpeername()
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "unknown"


def _why_unreachable(error: OSError | trio.TooSlowError) -> str:
    """Return the system's reason; trio's own text only repeats where to."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cast("BaseException", cause.exceptions[0])
    number = cause.errno if isinstance(cause, OSError) else None
    return _text(error) if number is None else os.strerror(number).lower()


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
