"""One node: a replica, its store, its transport and its author's pipeline, joined by the outbox.

Steps are synchronous, so several tasks may step the replica without a lock: the transport's reader, the clock, and
the author's pipeline. What a step returns goes to the outbox and nowhere else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import structlog
import trio

from glasslog.agreement.config import ReplicaConfig, Timing
from glasslog.agreement.cosigning import Cosigners
from glasslog.agreement.effects import (
    Audience,
    AuthorRecovered,
    CheckpointPublished,
    Cosign,
    Cosigned,
    Event,
    Finalized,
    Halt,
    HeldBlock,
    Misbehaved,
    Now,
    PeerDown,
    PeerUp,
    Received,
    ServeBlocks,
    ServeRun,
    Tick,
)
from glasslog.agreement.evidence import decode_evidence
from glasslog.agreement.messages import BlockBody, Cosignature, Message, decode_message
from glasslog.agreement.replica import Replica
from glasslog.checkpoint import Checkpoint, CosignerKeys
from glasslog.entry import Role
from glasslog.errors import DecodeError, ProtocolError
from glasslog.identity import verify_ed25519
from glasslog.membership import read_genesis
from glasslog.predicates.evidence import evidence_statement
from glasslog.statement import encode_statement
from glasslog_node.allowance import Allowances
from glasslog_node.batches import batch_of
from glasslog_node.errors import RequestError
from glasslog_node.network.transport import (
    GossipReceived,
    MessageReceived,
    PeerConnected,
    PeerLost,
    Transport,
)
from glasslog_node.outbox import Outbox
from glasslog_node.serving import Serving
from glasslog_node.store.index import Index
from glasslog_node.store.store import Store
from glasslog_node.submit import Author
from glasslog_node.telemetry import Metrics, release_memory

INDEX_SECONDS = 2.0
INDEX_LEAVES = 20_000  # at a time at rest: about a quarter of a second
INDEX_LEAVES_BUSY = 1_000  # at a time otherwise
REST_MS = 3_000
RELEASE_SECONDS = 20.0
DROPPED_SECONDS = 60.0  # between two log lines about what was dropped


@dataclass(frozen=True, slots=True)
class ValidatorKeys:
    """What only a validator has: its vote signer and its three checkpoint keys."""

    sign_vote: Callable[[bytes], bytes]
    cosigner: CosignerKeys


def now() -> Now:
    """Return both clocks, in milliseconds."""
    return Now(int(trio.current_time() * 1000), time.time_ns() // 1_000_000)


class Runtime:
    """A running node. ``author`` is attached after construction: it needs ``offer``, and the node needs it."""

    def __init__(
        self,
        name: str,
        store: Store,
        transport: Transport,
        keys: ValidatorKeys | None,
        *,
        timing: Timing,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self.store = store
        self.transport = transport
        self.metrics = metrics
        self.halt: Halt | None = None
        self.author: Author | None = None
        self.index: Index | None = None
        self._keys = keys
        durable = store.load()
        genesis, membership = read_genesis(durable.genesis)
        self.cosigners = Cosigners(genesis.origin, genesis.network, membership.validators)
        config = ReplicaConfig(
            name=name,
            verify=verify_ed25519,
            cosigners=self.cosigners,
            sign_vote=None if keys is None else keys.sign_vote,
            boot_nonce=secrets.token_bytes(16),
            timing=timing,
        )
        self.replica = Replica(config, durable)
        others = [member for member in membership.members if member.name != name]
        audiences: Mapping[Audience, tuple[str, ...]] = {
            Audience.MEMBERS: tuple(member.name for member in others),
            Audience.VALIDATORS: tuple(member.name for member in others if member.role is Role.VALIDATOR),
        }
        self.outbox = Outbox(store, transport, self, audiences, metrics)
        self._serving = Serving(store, transport)
        self._allowances = Allowances()
        metrics.sent_bytes.set_function(lambda: sum(peer.sent_bytes for peer in transport.peers().values()))
        metrics.received_bytes.set_function(lambda: sum(peer.received_bytes for peer in transport.peers().values()))
        # What is published and durable here; the replica's own figure may be ahead of the disk.
        self._published = 0 if durable.published is None else durable.published.size
        self._rescheduled = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("node")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Started when the transport listens.

        Raises:
            StoreError: something could not be made durable: the node must stop.
            NetworkError: the listening address cannot be had.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.outbox.run)
            await nursery.start(self._serving.run)
            await nursery.start(self.transport.run)
            self.outbox.put(self.replica.start(now()))
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._read_transport)
            nursery.start_soon(self._check_readers)
            nursery.start_soon(self._release_memory)
            nursery.start_soon(self._log_dropped)
            if self.index is not None:
                nursery.start_soon(self._index_when_idle, self.index)
            if self.author is not None:
                self.author.on_progress(self._published)
                nursery.start_soon(self.author.run)
            task_status.started()

    # --- stepping ---------------------------------------------------------------------------------

    def step(self, event: Event) -> None:
        """Step the replica and queue what it returns."""
        effects = self.replica.step(now(), event)
        for effect in effects:
            self._allowances.note_asked(effect)
        self.outbox.put(effects)
        self.metrics.view.set(self.replica.view)
        self._rescheduled.set()

    def offer(self, block: HeldBlock) -> None:
        """Give the replica an own author's block, durable already, to hold and to send."""
        self.step(Received(self.name, BlockBody(block.header, block.entries)))

    async def _keep_time(self) -> None:
        while True:
            self._rescheduled = trio.Event()
            deadline = self.replica.deadline
            at = float("inf") if deadline is None else deadline / 1000
            with trio.move_on_at(at) as waiting:
                await self._rescheduled.wait()
            if waiting.cancelled_caught:
                self.step(Tick())

    async def _read_transport(self) -> None:
        async for event in self.transport.events:
            await self.outbox.room()
            match event:
                case PeerConnected(peer):
                    self._log.info("peer connected", peer=peer)
                    self.step(PeerUp(peer))
                case PeerLost(peer, reason, code):
                    self._log.info("peer lost", peer=peer, reason=reason)
                    if code is not None:
                        self.outbox.put([Misbehaved(peer, code, reason)])
                    self._allowances.forget_asked(peer)
                    self.step(PeerDown(peer))
                case MessageReceived(peer, data) | GossipReceived(peer, _, data):
                    self._receive(peer, data)
            self.metrics.peers.set(len(self.replica.connected))

    def _receive(self, peer: str, data: bytes) -> None:
        """Where bytes of others become messages: the one place that catches what is wrong with them."""
        if not self._allowances.take(peer, data, trio.current_time()):
            self.metrics.dropped.labels(peer=peer).inc()
            return
        try:
            message: Message = decode_message(data)
            if peer == self.name:
                raise DecodeError("WIRE-07", "a message under this node's own name")
        except ProtocolError as error:
            self.outbox.put([Misbehaved(peer, error.code, error.fact)])
            return
        self.step(Received(peer, message))

    async def _index_when_idle(self, index: Index) -> None:
        """Bring the search index up to date when there is nothing better to do: a leaf costs it more than finality.

        A node that never rests goes on at a slow pace, so that light load is followed and heavy load not slowed.
        """
        while True:
            await trio.sleep(INDEX_SECONDS)
            leaves = INDEX_LEAVES_BUSY
            while index.size < self.store.size and leaves:
                until = min(index.size + leaves, self.store.size)
                await trio.to_thread.run_sync(index.catch_up, self.store, until)
                leaves = INDEX_LEAVES if self._rests() else 0

    def _rests(self) -> bool:
        """Whether nothing is under way and nothing was for a while: between two heights there is often no work."""
        quiet = trio.current_time() * 1000 - self.replica.progress_at
        return not self.replica.has_work() and quiet > REST_MS

    async def _log_dropped(self) -> None:
        """Say once a minute who sent more than its allowance: a line for each message would be a flood too."""
        while True:
            await trio.sleep(DROPPED_SECONDS)
            for peer, count in self._allowances.take_dropped().items():
                self._log.warning("dropped messages of a peer that sends too many", peer=peer, count=count)

    async def _check_readers(self) -> None:
        while True:
            await trio.sleep(300)
            freed = self.store.check_readers()
            if freed:
                self._log.info("freed reader slots of processes that died", count=freed)

    async def _release_memory(self) -> None:
        while True:
            await trio.sleep(RELEASE_SECONDS)
            await trio.to_thread.run_sync(release_memory)

    # --- what effects ask (outbox.Shell) ------------------------------------------------------------

    def serve(self, request: ServeBlocks | ServeRun) -> None:
        """Answer a peer from the store."""
        self._serving.put(request)

    def cosign(self, intent: Cosign) -> None:
        """Sign with all three keys; the intent is durable by now (specs/log.md, L9)."""
        index = self.replica.index
        assert self._keys is not None
        assert index is not None
        checkpoint = Checkpoint(self.cosigners.origin, intent.size, intent.root)
        log, ed25519, mldsa44 = self._keys.cosigner.sign(checkpoint, intent.time)
        self.step(Cosigned(Cosignature(intent.size, intent.root, intent.time, log, ed25519, mldsa44, index)))

    def finalized(self, height: Finalized) -> None:
        """Tell readers and the author."""
        self.metrics.height.set(height.height)
        self.metrics.size.set(height.size)
        self._log.debug("finalized", height=height.height, size=height.size)
        if self.author is not None:
            self.author.on_progress(self._published)

    def published(self, checkpoint: CheckpointPublished) -> None:
        """Tell readers and the author."""
        self.metrics.published_size.set(checkpoint.size)
        self._published = checkpoint.size
        if self.author is not None:
            self.author.on_progress(checkpoint.size)

    def report(self, evidence: bytes) -> None:
        """A14: a member that can author enters the evidence into the ledger."""
        self._log.error("evidence of a member's misbehaviour", evidence=evidence.hex()[:64])
        if self.author is not None and self._nursery is not None:
            self._nursery.start_soon(self._enter, evidence)

    async def _enter(self, evidence: bytes) -> None:
        assert self.author is not None
        accusation = decode_evidence(evidence)
        statement = evidence_statement(evidence, fault=accusation.fault.value, accused=accusation.accused)
        # The key is the evidence's own, so that a restart, which reports again, does not enter it again.
        key = f"evidence-{sha256(evidence).hexdigest()[:48]}"
        try:
            await self.author.submit(batch_of([encode_statement(statement)]), key=key)
        except (RequestError, ProtocolError) as error:
            self._log.error("evidence was not entered", reason=str(error))

    def author_recovered(self, recovered: AuthorRecovered) -> None:
        """A10: sealing may go on after this tip."""
        if self.author is not None and self._nursery is not None:
            self._nursery.start_soon(self.author.take_up, recovered.tip)

    def halted(self, halt: Halt) -> None:
        """Say so; the node goes on serving what it has, and votes no more."""
        self.halt = halt
        self._log.critical("halted", code=halt.code, fact=halt.fact, next="glasslog status --why")
