"""Members, processes and waiting for the network tests."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import trio
from nacl.signing import SigningKey

from glasslog_node.network import no_fastecdsa
from glasslog_node.network.libp2p import Libp2pTransport
from glasslog_node.network.members import Endpoint, PeerAddress
from glasslog_node.network.timing import Timing
from glasslog_node.network.transport import PeerLost, Transport, TransportEvent

no_fastecdsa.install()  # tests import parts of the network that come after this in a node

GENESIS = hashlib.sha256(b"the network of the tests").digest()
WITHIN = 20.0  # seconds any single wait may take, on a loaded machine
QUICK = Timing(ping_every=0.3, ping=3.0, retry_first=0.05, retry_most=0.5, defer=0.1, handshake=30.0, hello=5.0)
FOLDER = Path(__file__).parent

EventT = TypeVar("EventT")


def seed_of(name: str) -> bytes:
    return hashlib.sha256(b"network test " + name.encode()).digest()


def public_key_of(name: str) -> bytes:
    return bytes(SigningKey(seed_of(name)).verify_key)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Town:
    """Members with a port each."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))

    def members(self, *, unknown: tuple[str, ...] = ()) -> dict[str, PeerAddress]:
        return {
            name: PeerAddress(public_key_of(name), None if name in unknown else Endpoint("127.0.0.1", port))
            for name, port in self.ports.items()
        }

    def transport(
        self, name: str, *, genesis: bytes = GENESIS, timing: Timing = QUICK, unknown: tuple[str, ...] = (), **more: Any
    ) -> Libp2pTransport:
        listen = Endpoint("127.0.0.1", self.ports[name])
        members = self.members(unknown=unknown)
        return Libp2pTransport(name, seed_of(name), listen, members, genesis_hash=genesis, timing=timing, **more)

    def child(self, name: str, *, genesis: bytes = GENESIS, unknown: tuple[str, ...] = ()) -> Child:
        config = {
            "name": name,
            "seed": seed_of(name).hex(),
            "port": self.ports[name],
            "members": {
                each: [public_key_of(each).hex(), None if each in unknown else port]
                for each, port in self.ports.items()
            },
            "genesis": genesis.hex(),
            "timing": {key: getattr(QUICK, key) for key in QUICK.__slots__},
        }
        return Child(config)


class Child:
    """A transport in another process; ended with the ``with`` block whatever happens."""

    def __init__(self, config: dict[str, Any], command: list[str] | None = None) -> None:
        self._command = command or [sys.executable, str(FOLDER / "network_child.py"), json.dumps(config)]
        self._pending = b""
        self.forbid: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin = self.process.stdin
        self._stdout = trio.lowlevel.FdStream(os.dup(self.process.stdout.fileno()))
        self.process.stdout.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self._stdin.close()
        os.close(self._stdout._fd_holder.fd)
        self._stdout._fd_holder.fd = -1

    def tell(self, **command: Any) -> None:
        self._stdin.write(json.dumps(command).encode() + b"\n")
        self._stdin.flush()

    async def wait_for(self, **wanted: Any) -> dict[str, Any]:
        """The next line that has all of these; a reported fault fails the test."""
        with trio.fail_after(WITHIN):
            while True:
                while b"\n" not in self._pending:
                    chunk = await self._stdout.receive_some()
                    assert chunk, f"the process ended with {self.process.poll()} while {wanted} was awaited"
                    self._pending += chunk
                line, _, self._pending = self._pending.partition(b"\n")
                said: dict[str, Any] = json.loads(line)
                assert said["event"] != "fault", said
                assert self.forbid is None or not self.forbid.items() <= said.items(), said
                if wanted.items() <= said.items():
                    return said

    async def wait_for_each(self, event: str, *peers: str) -> None:
        """One such line about each peer, in whatever order they come."""
        missing = set(peers)
        while missing:
            missing.discard((await self.wait_for(event=event))["peer"])

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


async def next_event(transport: Transport, kind: type[EventT], **wanted: Any) -> EventT:
    """The next event of this kind with these attributes; others are passed over."""
    with trio.fail_after(WITHIN):
        while True:
            event: TransportEvent = await transport.events.receive()
            if isinstance(event, kind) and all(getattr(event, key) == value for key, value in wanted.items()):
                return event
            unexpected = isinstance(event, PeerLost) and wanted.get("peer", event.peer) == event.peer
            assert kind is PeerLost or not unexpected, event


@asynccontextmanager
async def running(*transports: Transport) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for transport in transports:
            await nursery.start(transport.run)
        yield
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a state that has no event of its own."""
    with trio.move_on_after(WITHIN):
        while not condition():
            await trio.sleep(0.01)
        return
    raise AssertionError(f"not within {WITHIN} s: {what}")


def run(test: Callable[..., Awaitable[None]], *args: Any) -> None:
    async def limited() -> None:
        with trio.fail_after(3 * WITHIN):
            await test(*args)

    trio.run(limited)
