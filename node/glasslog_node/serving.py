"""Answering peers that catch up: from the store, one task per peer, no faster than the peer reads (wire.md, W5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import trio

from glasslog.agreement.effects import ServeBlocks, ServeRun
from glasslog.agreement.messages import BlockBody, FinalizedRun, encode_message
from glasslog_node.network.transport import Lane, Transport
from glasslog_node.store.store import Store

QUEUED_BYTES_MAX = 4 << 20  # per peer: what is read ahead of its connection
REQUESTS_MAX = 64  # waiting per peer; a peer that asks for more is asked to be patient by silence
PATIENCE_SECONDS = 0.02


@dataclass(eq=False)
class _Line:
    """One peer's requests, in order."""

    send: trio.MemorySendChannel[ServeBlocks | ServeRun]
    receive: trio.MemoryReceiveChannel[ServeBlocks | ServeRun]


class Serving:
    """Serves blocks and runs."""

    def __init__(self, store: Store, transport: Transport) -> None:
        self._store = store
        self._transport = transport
        self._lines: dict[str, _Line] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def put(self, request: ServeBlocks | ServeRun) -> None:
        """Queue a peer's request; dropped when too many of its requests wait already: it will ask again."""
        line = self._lines.get(request.peer)
        if line is None:
            line = self._lines[request.peer] = _Line(*trio.open_memory_channel[ServeBlocks | ServeRun](REQUESTS_MAX))
            assert self._nursery is not None, "requests come only once the node runs"
            self._nursery.start_soon(self._serve_peer, line)
        try:
            line.send.send_nowait(request)
        except trio.WouldBlock:
            return

    async def _serve_peer(self, line: _Line) -> None:
        async for request in line.receive:
            for message in self._answer(request):  # lazily: a long answer is read as fast as the peer takes it
                await self._patience(request.peer)
                self._transport.send((request.peer,), encode_message(message), Lane.BULK)
                await trio.lowlevel.checkpoint()

    def _answer(self, request: ServeBlocks | ServeRun) -> Iterator[BlockBody | FinalizedRun]:
        if isinstance(request, ServeRun):
            run = self._store.run(request.height)
            return iter(() if run is None else (run,))
        return self._store.blocks(request.author, request.first_seq, request.last_seq, request.last_hash)

    async def _patience(self, peer: str) -> None:
        """Wait while the peer's queue is full; a peer that is gone takes nothing and is not waited for."""
        while True:
            state = self._transport.peers().get(peer)
            if state is None or not state.connected or state.queued_bytes < QUEUED_BYTES_MAX:
                return
            await trio.sleep(PATIENCE_SECONDS)
