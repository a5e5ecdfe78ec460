"""The one queue through which every effect of a replica leaves (specs/agreement.md, "The seam"; A8).

All effects that wait are taken together: their records are committed with one sync, and only then is anything
of the batch sent, answered or shown. So nothing overtakes an earlier ``Persist``, and the busier the node, the
larger its commits. When a commit fails the queue stops for good: what was not persisted is never said.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog
import trio

from glasslog.agreement.effects import (
    Audience,
    AuthorRecovered,
    Broadcast,
    CheckpointPublished,
    Cosign,
    Effect,
    Finalized,
    Gossip,
    Halt,
    Misbehaved,
    Persist,
    Report,
    Send,
    ServeBlocks,
    ServeRun,
)
from glasslog.agreement.messages import BlockBody, FinalizedRun, Message, encode_message
from glasslog_node.futures import durably
from glasslog_node.network.transport import Lane, Transport
from glasslog_node.store.store import Store
from glasslog_node.telemetry import Metrics

BLOCKS_TOPIC = "blocks"
DEPTH_MAX = 4_096  # effects waiting: above it the node stops reading from its peers until the disk keeps up


class Shell(Protocol):
    """What effects ask of the rest of the node. Called in order, after everything before is durable."""

    def serve(self, request: ServeBlocks | ServeRun) -> None:
        """Answer a peer from the store, at the pace at which it reads."""
        ...

    def cosign(self, intent: Cosign) -> None:
        """Sign a checkpoint and step with the result."""
        ...

    def finalized(self, height: Finalized) -> None:
        """A height is final and durable."""
        ...

    def published(self, checkpoint: CheckpointPublished) -> None:
        """A checkpoint is published and durable."""
        ...

    def report(self, evidence: bytes) -> None:
        """Enter evidence into the ledger."""
        ...

    def author_recovered(self, recovered: AuthorRecovered) -> None:
        """Sealing may go on."""
        ...

    def halted(self, halt: Halt) -> None:
        """Tell a person."""
        ...


class Outbox:
    """Carries effects out, in order."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        shell: Shell,
        audiences: Mapping[Audience, tuple[str, ...]],
        metrics: Metrics,
    ) -> None:
        """``audiences`` are the member names each broadcast goes to, without this node's own."""
        self._store = store
        self._transport = transport
        self._shell = shell
        self._audiences = audiences
        self._metrics = metrics
        self._waiting: list[Effect] = []
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("outbox")

    def put(self, effects: Iterable[Effect]) -> None:
        """Queue a step's effects."""
        self._waiting.extend(effects)
        if self._waiting:
            self._filled.set()

    async def room(self) -> None:
        """Wait until the queue is short enough to take more work in."""
        while len(self._waiting) > DEPTH_MAX:
            await self._emptied.wait()

    async def run(self) -> None:
        """Carry out effects until cancelled.

        Raises:
            StoreError: a commit failed. Nothing after it was carried out, nor will be.
        """
        while True:
            await self._filled.wait()
            effects, self._waiting = self._waiting, []
            self._filled = trio.Event()
            self._metrics.outbox.set(len(effects))
            records = [record for effect in effects if isinstance(effect, Persist) for record in effect.records]
            if records:
                begun = time.perf_counter()
                await durably(self._store.submit(records))
                self._metrics.commit_seconds.observe(time.perf_counter() - begun)
            for effect in effects:
                self._carry_out(effect)
            self._emptied.set()
            self._emptied = trio.Event()
            await trio.lowlevel.checkpoint()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Persist():
                pass
            case Send(peer, message):
                self._send((peer,), message)
            case Broadcast(audience, message):
                self._send(self._audiences[audience], message)
            case Gossip(message):
                self._transport.gossip(BLOCKS_TOPIC, encode_message(message))
            case ServeBlocks() | ServeRun():
                self._shell.serve(effect)
            case Cosign():
                self._shell.cosign(effect)
            case Finalized():
                self._shell.finalized(effect)
            case CheckpointPublished():
                self._shell.published(effect)
            case Report(evidence):
                self._shell.report(evidence)
            case AuthorRecovered():
                self._shell.author_recovered(effect)
            case Misbehaved(peer, code, fact):
                self._metrics.misbehaved.labels(peer=peer, code=code).inc()
                self._log.warning("peer broke a rule", peer=peer, code=code, fact=fact)
            case Halt():
                self._shell.halted(effect)

    def _send(self, peers: Iterable[str], message: Message) -> None:
        self._transport.send(peers, encode_message(message), lane_of(message))


def lane_of(message: Message) -> Lane:
    """Return the lane a message travels in: bodies and runs must never delay a vote."""
    return Lane.BULK if isinstance(message, BlockBody | FinalizedRun) else Lane.CONTROL
