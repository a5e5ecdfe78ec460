"""Announcements to all members by gossipsub: small, signed by their author's network key, best effort.

A gossip message costs every receiver a good part of a millisecond, so payloads that wait together leave as one
message: at once while there are few, a few messages a second under load. The library's classes are subclassed
where one bad message would end the process, a queue would drop silently, or memory would grow.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

import trio
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID  # pyright: ignore[reportMissingTypeStubs]  # untyped subpackage
from libp2p.peer.peerstore import create_signed_peer_record  # pyright: ignore[reportMissingTypeStubs]  # untyped subpackage
from libp2p.pubsub import gossipsub as gossipsub_module
from libp2p.pubsub import pubsub as pubsub_module
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.tools.anyio_service import background_trio_service

from glasslog.errors import DecodeError
from glasslog_node.network.batch import BATCH_BYTES_MAX, join_payloads, split_payloads

if TYPE_CHECKING:
    from libp2p.abc import IHost, INetStream, ISubscriptionAPI

    from glasslog_node.network.host import MemberConnection, MemberHost
    from glasslog_node.network.timing import Timing

log = logging.getLogger(__name__)

PROTOCOLS = ("/meshsub/1.1.0",)  # 1.2 only adds IDONTWANT, of no use for small messages
RPC_BYTES_MAX = 1 << 20
QUEUE_MESSAGES = 1_024
WAITING_PAYLOADS_MAX = 4_096
RPCS_PER_SECOND = 200
_MESH = (6, 4, 12)  # degree, low, high


def read_varint(data: bytearray) -> tuple[int, int] | None:
    """The unsigned varint ``data`` starts with and how many bytes it takes; None: not all there yet.

    Raises:
        DecodeError: GOSSIP-01, longer than 64 bits.
    """
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, index + 1
    if len(data) >= 10:
        raise DecodeError("GOSSIP-01", "length prefix over 64 bits")
    return None


class SafeGossipSub(GossipSub):
    """Gossipsub without scores, spam limits, peer exchange, and per-message state that is never freed."""

    def __init__(self) -> None:
        super().__init__(
            protocols=[TProtocol(protocol) for protocol in PROTOCOLS],
            degree=_MESH[0],
            degree_low=_MESH[1],
            degree_high=_MESH[2],
            heartbeat_interval=1,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,  # it drops silently; the reader slows a flooder down instead
            eclipse_protection_enabled=False,  # members only
        )
        self.scorer = None
        # One float per message for ever, where adaptive gossip does not trim it.
        self.recent_message_deliveries = cast("Any", defaultdict(lambda: deque[float](maxlen=1)))

    async def handle_rpc(self, rpc: rpc_pb2.RPC, sender_peer_id: ID) -> None:
        """Without the sender's address record and exchanged peers: addresses come from the membership."""
        rpc.ClearField("senderRecord")
        for prune in rpc.control.prune:
            prune.ClearField("peers")
        await super().handle_rpc(rpc, sender_peer_id)

    def _check_equivocation(self, msg: rpc_pb2.Message) -> bool:  # noqa: ARG002 - the library's signature
        """Whole messages were kept for this; forks are the agreement's business, on signed bytes."""
        return True


class SafePubsub(Pubsub):
    """Pubsub that ends a peer's connection, never the process, over what the peer sends."""

    async def continuously_read_stream(self, stream: INetStream) -> None:
        """Read RPCs, one after another: a flooder waits for its own messages to be checked."""
        peer_id = stream.muxed_conn.peer_id
        try:
            async for data in self._rpcs(stream):
                rpc = rpc_pb2.RPC()
                rpc.ParseFromString(data)
                await self._on_rpc(peer_id, rpc)
        except StreamError:
            return
        except Exception as error:  # noqa: BLE001 - whatever a peer's bytes raise in here is the peer's fault
            log.warning("gossip of %s broke the protocol: %r", peer_id, error)
            cast("MemberConnection", stream.muxed_conn).yamux.close("sent gossip that breaks the protocol")

    async def _rpcs(self, stream: INetStream) -> AsyncIterator[bytes]:
        buffer = bytearray()
        second, count = trio.current_time(), 0
        while self.manager.is_running:
            prefix = read_varint(buffer)
            if prefix is not None and prefix[0] > self.max_inbound_rpc_size:
                raise DecodeError("GOSSIP-02", f"message of {prefix[0]} bytes, at most {self.max_inbound_rpc_size}")
            if prefix is None or len(buffer) < sum(prefix):
                buffer += await stream.read(64 << 10)
                continue
            data = bytes(buffer[prefix[1] : sum(prefix)])
            del buffer[: sum(prefix)]
            count += 1
            if count > RPCS_PER_SECOND:
                await trio.sleep_until(second + 1)
            if trio.current_time() >= second + 1:
                second, count = trio.current_time(), 0
            yield data

    async def _on_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC) -> None:
        for message in rpc.publish:
            if self._is_subscribed_to_msg(message):
                await self.push_msg(peer_id, message)
        if len(rpc.subscriptions) > self.max_subscriptions_per_rpc:
            raise DecodeError("GOSSIP-03", f"{len(rpc.subscriptions)} subscriptions in one message")
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer_id, subscription)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer_id)


def patch_library() -> None:
    """Raise the queue bounds that drop silently, and sign the address record once instead of per message.

    Three module globals of 0.8.1 (``no_fastecdsa.check_version``); everything else is done by subclassing.
    """
    pubsub_any, gossipsub_any = cast("Any", pubsub_module), cast("Any", gossipsub_module)
    pubsub_any.SUBSCRIPTION_CHANNEL_SIZE = QUEUE_MESSAGES
    pubsub_any.RpcQueue = lambda: RpcQueue(QUEUE_MESSAGES, RPC_BYTES_MAX)
    records: dict[ID, bytes] = {}

    def sender_record(host: Any) -> tuple[bytes, bool]:  # noqa: ANN401 - the library's IHost, of which we are a part
        own = host.get_id()
        if own not in records:
            records[own] = create_signed_peer_record(own, [], host.get_private_key()).marshal_envelope()
        return records[own], False

    pubsub_any.env_to_send_in_RPC = sender_record
    gossipsub_any.env_to_send_in_RPC = sender_record


class Gossip:
    """Announces on, and listens to, a network's topics; survives the library's failures by starting it anew."""

    def __init__(
        self,
        host: MemberHost,
        topics: Mapping[str, str],
        *,
        admits: Callable[[ID], bool],
        timing: Timing,
        per_second: float,
    ) -> None:
        self._host = host
        self._topics = dict(topics)  # our name of a topic -> its name on the wire
        self._admits = admits
        self._timing = timing
        self._per_second = per_second
        self._waiting: dict[str, deque[bytes]] = {topic: deque() for topic in topics}
        self._wake = {topic: trio.Event() for topic in topics}
        self.dropped = 0  # payloads nobody could take in time

    def announce(self, topic: str, data: bytes) -> None:
        """Queue one payload; when too many wait the oldest is dropped, since gossip is best effort.

        Raises:
            ValueError: an unknown topic, or a payload over the bound: a bug of the caller.
        """
        if topic not in self._waiting:
            raise ValueError(f"unknown topic {topic!r}")
        if not 0 < len(data) <= BATCH_BYTES_MAX // 2:
            raise ValueError(f"payload of {len(data)} bytes, 1..{BATCH_BYTES_MAX // 2} allowed")
        waiting = self._waiting[topic]
        if len(waiting) >= WAITING_PAYLOADS_MAX:
            waiting.popleft()
            self.dropped += 1
        waiting.append(data)
        self._wake[topic].set()

    async def run(self, deliver: Callable[[ID, str, bytes], Any]) -> None:
        """Run until cancelled. ``deliver`` is an async function of origin, topic and payload."""
        while True:
            try:
                await self._run_once(deliver)
            except Exception:
                log.exception("gossip failed; starting it anew")
            self._host.forget_notifees()
            await trio.sleep(self._timing.gossip_restart)

    async def _run_once(self, deliver: Callable[[ID, str, bytes], Any]) -> None:
        router = SafeGossipSub()
        pubsub = SafePubsub(
            cast("IHost", self._host),
            router,
            max_inbound_rpc_size=RPC_BYTES_MAX,
            max_subscriptions_per_rpc=64,
            max_subscriptions_per_peer=64,
            allowed_topics=set(self._topics.values()),
        )
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(background_trio_service(pubsub))
            await stack.enter_async_context(background_trio_service(router))
            async with trio.open_nursery() as nursery:
                for topic, wire_topic in self._topics.items():
                    pubsub.set_topic_validator(wire_topic, self._validate, False)
                    subscription = await pubsub.subscribe(wire_topic)
                    nursery.start_soon(self._listen, topic, subscription, deliver)
                    nursery.start_soon(self._publish, topic, wire_topic, pubsub)
                for connection in self._host.established():
                    nursery.start_soon(pubsub.ensure_peer_stream, connection.peer_id)

    def _validate(self, _forwarder: ID, message: rpc_pb2.Message) -> bool:
        return len(message.data) <= BATCH_BYTES_MAX and len(message.topicIDs) == 1 and self._admits(ID(message.from_id))

    async def _listen(
        self, topic: str, subscription: ISubscriptionAPI, deliver: Callable[[ID, str, bytes], Any]
    ) -> None:
        while True:
            message = await subscription.get()
            origin = ID(message.from_id)
            if origin == self._host.get_id():
                continue
            try:
                payloads = list(split_payloads(message.data))
            except DecodeError as error:
                log.warning("announcement of %s dropped: %s", origin, error)
                continue
            for payload in payloads:
                await deliver(origin, topic, payload)

    async def _publish(self, topic: str, wire_topic: str, pubsub: Pubsub) -> None:
        """At once while the allowance lasts, which refills at ``per_second``; what waits meanwhile leaves together."""
        allowance = burst = max(2.0, self._per_second / 2)
        refilled_at = trio.current_time()
        waiting = self._waiting[topic]
        while True:
            while not waiting:
                self._wake[topic] = trio.Event()
                await self._wake[topic].wait()
            now = trio.current_time()
            allowance = min(burst, allowance + (now - refilled_at) * self._per_second)
            refilled_at = now
            if allowance < 1:
                await trio.sleep((1 - allowance) / self._per_second)
                allowance, refilled_at = 1.0, trio.current_time()  # not computed: rounding must not make it spin
            allowance -= 1
            await pubsub.publish(wire_topic, join_payloads(_take(waiting)))


def _take(waiting: deque[bytes]) -> Iterator[bytes]:
    room = BATCH_BYTES_MAX
    while waiting and len(waiting[0]) + 4 <= room:
        room -= len(waiting[0]) + 4
        yield waiting.popleft()
