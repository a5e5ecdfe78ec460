"""A node's HTTP interface on a real Hypercorn, over a real spool, with a plain list for a log."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

from glasslog.merkle import hash_leaf, root
from glasslog.tiles import TilePath, join_entries, tile_width
from glasslog_node.api.app import node_app, public_app
from glasslog_node.api.node_routes import Writes
from glasslog_node.api.requests import BodyLimits
from glasslog_node.api.server import open_listener, serve
from glasslog_node.errors import RequestError
from glasslog_node.seams import NodeStatus, PeerStatus
from glasslog_node.telemetry import Metrics
from node.author_world import Office

TOKEN = "t" * 32
BODY_MAX = 200_000


@dataclass
class ListLog:
    """``seams.LogReader`` the slow and obvious way: every hash from the leaves."""

    leaves: Sequence[bytes]
    size: int = 0

    def checkpoint(self) -> bytes | None:
        return f"log\n{self.size}\n".encode() if self.size else None

    def published_size(self) -> int:
        return self.size

    def entry(self, index: int) -> bytes | None:
        return self.leaves[index] if index < self.size else None

    def tile(self, path: TilePath) -> bytes | None:
        level = path.level or 0
        if path.width > tile_width(self.size, level, path.index):
            return None
        start, step = path.index * 256 * 256**level, 256**level
        if path.level is None:
            return join_entries(self.leaves[start : start + path.width])
        hashes = [hash_leaf(leaf) for leaf in self.leaves[: self.size]]
        return b"".join(root(b"".join(hashes[at : at + step])) for at in range(start, start + path.width * step, step))

    def bundle(self, index: int) -> bytes:
        if self.leaves[index][0] != 0x84:
            raise RequestError("BUNDLE-01", "this leaf is no entry", "ask for an entry", status=422)
        return b"bundle of " + self.leaves[index]


@dataclass
class StillNode:
    """``seams.NodeView`` of a node that says what it is told to."""

    reason: str | None = None
    problems: list[str] = field(default_factory=list[str])

    def status(self) -> NodeStatus:
        peers = (PeerStatus("v1", "validator", "JP", False, None, None, "connection refused"),)
        return NodeStatus(
            "lab-a",
            "author",
            "DE",
            "testnet",
            "log.example/testnet",
            "waiting",
            1,
            7,
            3,
            20,
            b"\x01" * 32,
            12,
            5,
            peers,
        )

    def why(self) -> Sequence[str]:
        return self.problems

    def unready(self) -> str | None:
        return self.reason


@dataclass
class Api:
    """What a test has at hand: a client, and what stands behind the server."""

    client: httpx.AsyncClient
    office: Office
    log: ListLog
    node: StillNode
    metrics: Metrics
    address: Any
    seconds: float

    async def post(self, body: bytes, media: str = "application/json", **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {TOKEN}", "content-type": media}
        return await self.client.post("/v1/submissions", content=body, headers=sent | headers)

    async def raw(self, data: bytes, *, wait: bool = True) -> bytes:
        """Send these very bytes and return what the server says until it closes."""
        stream = await open_stream(self.address)
        async with stream:
            await stream.send_all(data)
            answer = b""
            with trio.move_on_after(self.seconds if wait else 0.5):
                async for part in stream:
                    answer += part
            return answer

    def publish(self) -> int:
        self.office.finalize()
        self.log.size = self.office.publish()
        return self.log.size


async def open_stream(address: Any) -> trio.SocketStream:
    if isinstance(address, str):
        return await trio.open_unix_socket(address)
    return await trio.open_tcp_stream(*address[:2])


@asynccontextmanager
async def open_api(
    office: Office, *, bind: str = "", public: bool = False, body_seconds: float = 5.0
) -> AsyncGenerator[Api]:
    log, node, metrics = ListLog(office.world.leaves), StillNode(), Metrics()
    writes = Writes(office.author, node, metrics, TOKEN, BodyLimits(BODY_MAX, body_seconds), 5.0)
    app = public_app(log) if public else node_app(log, writes)
    listener = open_listener(bind) if bind else bound()
    address = listener.getsockname()
    if isinstance(address, str):
        transport, base = httpx.AsyncHTTPTransport(uds=address), "http://node"
    else:
        transport, base = httpx.AsyncHTTPTransport(), f"http://127.0.0.1:{address[1]}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.author.run)
        await nursery.start(lambda task_status: serve(app, listener, task_status=task_status))
        async with httpx.AsyncClient(base_url=base, transport=transport, timeout=10) as client:
            yield Api(client, office, log, node, metrics, address, body_seconds + 5)
        nursery.cancel_scope.cancel()


def bound() -> socket.socket:
    """Return a socket on a free loopback port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


def with_api(office: Office, work: Callable[[Api], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run ``work`` against a served interface."""

    async def main() -> None:
        with trio.fail_after(30):
            async with open_api(office, **options) as api:
                await work(api)

    trio.run(main)
