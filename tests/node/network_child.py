"""A transport in a process of its own, driven by JSON lines: what the network tests talk to, freeze and kill."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import trio

from glasslog_node.network.libp2p import Libp2pTransport
from glasslog_node.network.members import Endpoint, PeerAddress
from glasslog_node.network.timing import Timing
from glasslog_node.network.transport import GossipReceived, Lane, MessageReceived, PeerConnected, PeerLost


def numbered_message(number: int, size: int, lane: Lane) -> bytes:
    """A message that shows its place and that nothing of it is missing."""
    head = bytes([lane.value]) + number.to_bytes(4, "big") + size.to_bytes(4, "big")
    return head + hashlib.shake_256(head).digest(size)


class OrderCheck:
    """Counts numbered messages per lane; complains about the first that is not the next, or not whole."""

    def __init__(self) -> None:
        self.counts = [0, 0]

    def take(self, data: bytes) -> str | None:
        lane, number, size = data[0], int.from_bytes(data[1:5], "big"), int.from_bytes(data[5:9], "big")
        if data != numbered_message(number, size, Lane(lane)):
            return f"message {number} of lane {lane} is not whole"
        if number != self.counts[lane]:
            return f"message {number} of lane {lane} where {self.counts[lane]} was next"
        self.counts[lane] += 1
        return None


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201 - a program, not a test


async def report(transport: Libp2pTransport) -> None:
    checks: dict[str, OrderCheck] = {}
    async for event in transport.events:
        match event:
            case PeerConnected(peer):
                checks[peer] = OrderCheck()
                say(event="connected", peer=peer)
            case PeerLost(peer, reason):
                say(event="lost", peer=peer, reason=reason)
            case MessageReceived(peer, b"report"):
                transport.send([peer], json.dumps(checks[peer].counts).encode())
            case MessageReceived(peer, data) if data.startswith(b"echo"):
                transport.send([peer], data)
            case MessageReceived(peer, data):
                fault = checks[peer].take(data)
                if fault is not None:
                    say(event="fault", peer=peer, fault=fault)
            case GossipReceived(origin, topic, data):
                say(event="gossip", origin=origin, topic=topic, data=data.hex())


async def main(config: dict[str, Any]) -> None:
    members = {
        name: PeerAddress(bytes.fromhex(key), None if port is None else Endpoint("127.0.0.1", port))
        for name, (key, port) in config["members"].items()
    }
    transport = Libp2pTransport(
        config["name"],
        bytes.fromhex(config["seed"]),
        Endpoint("127.0.0.1", config["port"]),
        members,
        genesis_hash=bytes.fromhex(config["genesis"]),
        timing=Timing(**config["timing"]),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        nursery.start_soon(report, transport)
        say(event="listening", port=transport.listening)
        commands = trio.lowlevel.FdStream(0)
        pending = b""
        async for chunk in commands:
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                command = json.loads(line)
                if "gossip" in command:
                    transport.gossip(command["gossip"], bytes.fromhex(command["data"]))
                elif "numbered" in command:
                    for number, size, lane in command["numbered"]:
                        transport.send(command["to"], numbered_message(number, size, Lane(lane)), Lane(lane))
                        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()  # the test is gone


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
