# ruff: noqa: E402, T201 - the stand-ins come before the imports; a program, not a test
"""A member that runs the library as shipped, host, Yamux and gossipsub, to show that we speak what it speaks."""

from __future__ import annotations

import json
import struct
import sys
from functools import partial

from glasslog_node.network import no_fastecdsa

for _name in no_fastecdsa.STAND_INS:
    if _name.startswith("fastecdsa"):  # the rest of the library is the real one
        no_fastecdsa._register(no_fastecdsa._AbsentModule(_name))
        sys.modules[_name].__path__ = []

import multiaddr  # type: ignore[import-untyped]  # ships no types
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import Ed25519PublicKey, create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as new_x25519
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID, Transport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service

from glasslog_node.network.batch import join_payloads, split_payloads
from glasslog_node.network.frames import FrameReader, frame_header
from glasslog_node.network.hello import Hello
from glasslog_node.network.transport import Lane


async def main(name: str, seed: str, port: str, peer_key: str, genesis: str, topic: str) -> None:
    pair = create_new_key_pair(bytes.fromhex(seed))
    listen = [multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]
    noise = Transport(pair, noise_privkey=new_x25519().private_key)
    host = new_host(
        key_pair=pair, sec_opt={PROTOCOL_ID: noise}, muxer_opt={TProtocol(YAMUX): Yamux}, listen_addrs=listen
    )
    router = GossipSub([TProtocol("/meshsub/1.2.0"), TProtocol("/meshsub/1.1.0")], 6, 4, 12, heartbeat_interval=1)
    pubsub = Pubsub(host, router, strict_signing=True)
    peer = ID.from_pubkey(Ed25519PublicKey.from_bytes(bytes.fromhex(peer_key)))
    async with (
        host.run(listen_addrs=listen),
        background_trio_service(pubsub),
        background_trio_service(router),
        trio.open_nursery() as nursery,
    ):
        await host.connect(PeerInfo(peer, [multiaddr.Multiaddr(f"/ip4/127.0.0.1/tcp/{port}")]))
        stream = await host.new_stream(peer, [TProtocol("/glasslog/link/1")])
        await stream.write(Hello(bytes.fromhex(genesis), name, bytes(16)).encode())
        head = await stream.read(59)
        size = struct.unpack("!B", head[58:59])[0]
        print(json.dumps({"event": "hello", "from": (await stream.read(size)).decode()}), flush=True)
        subscription = await pubsub.subscribe(topic)

        async def gossip() -> None:
            message = await subscription.get()
            while ID(message.from_id) == host.get_id():
                message = await subscription.get()
            said = [payload.decode() for payload in split_payloads(message.data)]
            print(json.dumps({"event": "gossip", "data": said}), flush=True)

        async def publish() -> None:
            while True:
                await pubsub.publish(topic, join_payloads([b"from the library"]))
                await trio.sleep(0.5)

        nursery.start_soon(gossip)
        nursery.start_soon(publish)
        reader = FrameReader()
        while True:
            for message in reader.feed(await stream.read(1 << 16)):
                for at in range(0, len(message), 50_000):
                    piece = message[at : at + 50_000]
                    last = at + 50_000 >= len(message)
                    await stream.write(frame_header(len(piece), Lane.CONTROL, last=last) + piece)


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
