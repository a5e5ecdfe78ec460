"""The directed links between hosts: a proxy in the middle that holds, tears, breaks and swallows what passes.

The proxy authenticates nobody: the members' Noise handshake goes right through it, so a byte it changes is noticed by
the hosts or by nobody. What a packet filter would do to packets it does to a stream: *loss* holds what comes after it
for as long as TCP would take to send it again, *reordering* lets one connection overtake another one. It runs as a
process in the middle's namespace: one line of JSON, one line of answer.
"""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import trio

from chaos.hosts import MIDDLE, PORT, Hosts, Pair, address_of, address_seen

CHUNK_BYTES = 1 << 16
HELD_CHUNKS = 64  # on their way at once in each direction of a connection
RESEND_SECONDS = (0.2, 0.8)  # what a lost packet costs a TCP connection
_TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Weather:
    """What a link does to the bytes that one host sends to another. Probabilities are per chunk of up to 64 KiB."""

    delay: float = 0.0  # seconds
    jitter: float = 0.0  # seconds more, at most, drawn for each chunk
    skew: float = 0.0  # seconds more, at most, drawn for each connection: so one overtakes another one
    rate: float = 0.0  # bytes a second; 0: as fast as they come
    loss: float = 0.0
    reset: float = 0.0
    corrupt: float = 0.0
    stalled: bool = False  # nothing passes, nothing is lost
    swallow: bool = False  # new connections are taken, and lead nowhere


CLEAR = Weather()


# --- in the middle ------------------------------------------------------------------------------------


class Proxy:
    """Carries every connection between hosts."""

    def __init__(self, hosts: int) -> None:
        self._hosts = hosts
        self._weather: dict[Pair, Weather] = {}
        self._seen: Counter[str] = Counter()
        self._random = random.Random()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for pair in ((a, b) for a in range(self._hosts) for b in range(self._hosts) if a != b):
                (listener,) = await trio.open_tcp_listeners(PORT, host=address_seen(*pair))
                nursery.start_soon(trio.serve_listeners, partial(self._carry, pair), [listener])
            await self._obey()
            nursery.cancel_scope.cancel()

    async def _obey(self) -> None:
        """Until whoever started this is gone."""
        buffer = b""
        async with trio.lowlevel.FdStream(os.dup(0)) as commands, trio.lowlevel.FdStream(os.dup(1)) as answers:
            await answers.send_all(b"ready\n")
            async for data in commands:
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    for speaker, hearer, weather in json.loads(line):
                        self._weather[speaker, hearer] = Weather(**weather)
                    await answers.send_all(json.dumps(self._seen).encode() + b"\n")

    def _over(self, pair: Pair) -> Weather:
        return self._weather.get(pair, CLEAR)

    async def _carry(self, pair: Pair, dialler: trio.SocketStream) -> None:
        """A connection that the first host opened to the second."""
        dials, answers = pair
        async with dialler:
            if self._over(pair).swallow:
                self._seen["swallowed"] += 1
                with trio.move_on_after(60):
                    await _swallow(dialler)
                return
            try:
                target = await trio.open_tcp_stream(
                    address_of(answers), PORT, local_address=address_seen(answers, dials)
                )
            except OSError:
                _abort(dialler)
                return
            self._seen["connections"] += 1
            async with target:
                await self._join(pair, dialler, target)

    async def _join(self, pair: Pair, dialler: trio.SocketStream, target: trio.SocketStream) -> None:
        both = (dialler, target)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, pair, dialler, target, nursery.cancel_scope)
                nursery.start_soon(self._pump, pair[::-1], target, dialler, nursery.cancel_scope)
        finally:
            for stream in both:
                _abort(stream)

    async def _pump(
        self, pair: Pair, source: trio.SocketStream, target: trio.SocketStream, connection: trio.CancelScope
    ) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](HELD_CHUNKS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, pair, source, send)
            try:
                async for due, chunk in receive:
                    await trio.sleep_until(due)
                    await target.send_all(chunk)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            connection.cancel()

    async def _read(
        self, pair: Pair, source: trio.SocketStream, send: trio.MemorySendChannel[tuple[float, bytes]]
    ) -> None:
        due, skew = 0.0, self._random.random()
        async with send:
            while True:
                try:
                    chunk = bytes(await source.receive_some(CHUNK_BYTES))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                while self._over(pair).stalled:
                    await trio.sleep(0.05)
                weather = self._over(pair)
                if not chunk or self._happens("reset", weather.reset):
                    return
                due = max(due, trio.current_time() + self._held(weather, skew))
                if weather.rate:
                    due += len(chunk) / weather.rate
                if self._happens("corrupt", weather.corrupt):
                    chunk = self._break(chunk)
                await send.send((due, chunk))

    def _held(self, weather: Weather, skew: float) -> float:
        held = weather.delay + self._random.random() * weather.jitter + skew * weather.skew
        if self._happens("lost", weather.loss):
            held += self._random.uniform(*RESEND_SECONDS)
        self._seen["held"] += held > 0
        return held

    def _happens(self, what: str, probability: float) -> bool:
        happens = probability > 0 and self._random.random() < probability
        self._seen[what] += happens
        return happens

    def _break(self, chunk: bytes) -> bytes:
        at = self._random.randrange(len(chunk))
        return chunk[:at] + bytes([chunk[at] ^ 1 << self._random.randrange(8)]) + chunk[at + 1 :]


async def _swallow(stream: trio.SocketStream) -> None:
    try:
        async for _ in stream:
            pass
    except trio.BrokenResourceError:
        return


def _abort(stream: trio.SocketStream) -> None:
    """Closing it then says that it broke, as it does when a host or its process is gone."""
    if stream.socket.fileno() >= 0:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()


# --- beside it ----------------------------------------------------------------------------------------


class Links:
    """Tells the proxy what the weather is. Made by ``open_links``."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""
        self.seen: Mapping[str, int] = {}  # what was done to what passed, as of the last change

    async def ready(self) -> None:
        assert await self._line() == b"ready"

    async def set(self, weather: Mapping[Pair, Weather]) -> None:
        """From now on, on these links."""
        assert self._process.stdin is not None
        command = [[*pair, asdict(each)] for pair, each in weather.items()]
        await self._process.stdin.send_all(json.dumps(command).encode() + b"\n")
        self.seen = json.loads(await self._line())

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            data = bytes(await self._process.stdout.receive_some())
            assert data, "the proxy ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


@asynccontextmanager
async def open_links(hosts: Hosts, log: Path) -> AsyncIterator[Links]:
    """The proxy, while the block lasts."""
    command = [*hosts.inside(MIDDLE), sys.executable, "-m", "chaos.links", str(hosts.count)]
    with log.open("ab") as errors:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
        )  # fmt: skip
    try:
        links = Links(process)
        await links.ready()
        yield links
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


if __name__ == "__main__":
    trio.run(Proxy(int(sys.argv[1])).run)
