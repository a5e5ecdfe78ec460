"""A whole network in one thread: a seeded heap of events over real replicas (specs/agreement.md, "The seam").

First the safety phase: everything that may go wrong does, and the oracle judges after every event. At ``heal_at``
the faults end, except for f faulty validators, and the liveness phase asks for finality within bounded time.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from random import Random

from glasslog.agreement.config import ReplicaConfig
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import (
    Audience,
    Broadcast,
    Cosign,
    Cosigned,
    Effect,
    Event,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Received,
    Send,
    ServeBlocks,
    ServeRun,
    Tick,
)
from glasslog.agreement.messages import Message
from glasslog.agreement.replica import Replica
from glasslog.block import Block
from simulation.authors import Forker, Lab
from simulation.byzantine import Byzantine, make_byzantine
from simulation.invariants import Oracle, Violation
from simulation.node import Disk, Node, fresh_disk
from simulation.suite import CheapNotes, make_network
from simulation.swarm import Swarm
from simulation.transcript import Transcript

WALL_AT_START = 10_000_000
CHAOS_EVERY = 100
JUDGE_EVERY = 250
VIEWS_TO_FINALITY = 20
PUBLICATION_GAP_MAX = 4_000

MakeReplica = Callable[[ReplicaConfig, Durable], Replica]


class Cluster:
    """One run of one seed. ``run`` returns normally or raises ``Violation``."""

    def __init__(self, swarm: Swarm, make_replica: MakeReplica = Replica, transcript: Transcript | None = None) -> None:
        self.swarm = swarm
        self.random = Random(swarm.seed * 64 + swarm.validators)
        self.transcript = transcript
        authors = ("forker", "lab") if swarm.forker else ("lab",)
        self.network = make_network(swarm.validators, authors, ("watch",) if swarm.observer else ())
        self.notes = CheapNotes(self.network.validators)
        self.now = 0
        self.events = 0
        self.faults: Counter[str] = Counter()
        self.blocks: dict[bytes, Block] = {}
        faulty = self.network.validators[swarm.validators - len(swarm.behaviours) :]
        self.honest = [name for name in self.network.names if name not in faulty and name != "forker"]
        self.oracle = Oracle(swarm, self.network, set(self.honest), self.blocks)
        self.nodes = {name: self._make_node(name, make_replica) for name in self.network.names if name != "forker"}
        self.byzantine: dict[str, Byzantine] = {
            name: make_byzantine(behaviour, self, self.nodes[name])
            for name, behaviour in zip(faulty, swarm.behaviours, strict=True)
        }
        self.labs = [Lab(self, "lab")] + ([Lab(self, "v0")] if swarm.authoring_validator and not swarm.lost else [])
        self.forker = Forker(self, swarm.forker) if swarm.forker else None
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._cut: frozenset[str] = frozenset()
        self._snapshot: Disk | None = None
        self._healed_at_view = self._healed_at_height = 0
        self._unpublished: deque[tuple[int, int]] = deque()  # (when it was final, size), oldest first
        self.is_done = False

    def _make_node(self, name: str, make_replica: MakeReplica) -> Node:
        skew = self.random.randint(-self.swarm.clock_skew, self.swarm.clock_skew)
        return Node(
            name, self.network, self.notes, self.swarm.timing, fresh_disk(self.network), make_replica, skew
        )  # fmt: skip

    # --- time -------------------------------------------------------------------------------------

    @property
    def is_chaos(self) -> bool:
        return self.now < self.swarm.heal_at

    def later(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + int(delay), self._count, action))

    def run(self) -> None:
        """Run the seed to its end."""
        for name in self.nodes:
            self._boot(name)
        for lab in self.labs:
            lab.start()
        if self.forker is not None:
            self.forker.start()
        self.later(CHAOS_EVERY, self._chaos)
        self.later(self.swarm.heal_at, self._heal)
        if self.swarm.lost:
            at = self.random.randrange(self.swarm.heal_at // 4, self.swarm.heal_at)
            self.later(self.random.randrange(at), self._take_snapshot)
            self.later(at, self._lose_state)
        while not self.is_done:
            self.now, _, action = heapq.heappop(self._queue)
            action()

    # --- stepping ---------------------------------------------------------------------------------

    def step(self, name: str, event: Event) -> None:
        """Give one node one event and carry out what it answers."""
        node = self.nodes[name]
        self.events += 1
        if self.transcript is not None:
            self.transcript.event(self.now, name, event)
        if isinstance(event, PeerUp):
            node.peers.add(event.peer)
        elif isinstance(event, PeerDown):
            node.peers.discard(event.peer)
        elif name in self.byzantine and isinstance(event, Received):
            self.byzantine[name].received(event.message)
        self._take(node, node.replica.step(self._clock(node), event))

    def _clock(self, node: Node) -> Now:
        return Now(self.now - node.booted_at, WALL_AT_START + self.now + node.skew)

    def _take(self, node: Node, effects: Iterable[Effect]) -> None:
        node.outbox.extend(effects)
        self._flush(node)
        if not node.alive or node.replica.deadline is None:
            return
        at = node.replica.deadline + node.booted_at
        if node.tick_at is None or at < node.tick_at:
            node.tick_at = at
            self.later(max(at - self.now, 0), partial(self._tick, node, node.life, at))

    def _tick(self, node: Node, life: int, at: int) -> None:
        if node.alive and node.life == life and node.tick_at == at:
            node.tick_at = None
            deadline = node.replica.deadline
            if deadline is not None and deadline + node.booted_at > self.now:
                self._take(node, ())
            elif deadline is not None:
                self.step(node.name, Tick())

    # --- the outbox: one FIFO, records durable before anything that follows them (A8) ---------------

    def _flush(self, node: Node) -> None:
        if node.in_sync is not None:
            return
        outbox = node.outbox
        while outbox and node.alive:
            if not isinstance(outbox[0], Persist):
                self._carry_out(node, outbox.popleft())
                continue
            batch = list(outbox)
            outbox.clear()
            if self.swarm.sync:
                node.in_sync = batch
                self.later(self.random.randint(1, self.swarm.sync), partial(self._synced, node, node.life))
                return
            self._carry_out_all(node, batch, grouped=False)

    def _synced(self, node: Node, life: int) -> None:
        if node.alive and node.life == life and node.in_sync is not None:
            batch, node.in_sync = node.in_sync, None
            self._carry_out_all(node, batch, grouped=True)
            self._flush(node)

    def _carry_out_all(self, node: Node, batch: list[Effect], *, grouped: bool) -> None:
        """Make a batch durable and send it; a drawn crash loses everything from one boundary on."""
        if grouped:
            batch = [effect for effect in batch if isinstance(effect, Persist)] + [
                effect for effect in batch if not isinstance(effect, Persist)
            ]
        boundary = None
        if self.is_chaos and self._may_crash(node) and self.random.random() < self.swarm.crash_at_boundary:
            persists = sum(isinstance(effect, Persist) for effect in batch)
            boundary = self.random.choice((0, self.random.randint(persists, len(batch))))
            if not grouped:
                boundary = self.random.randint(0, len(batch))
        for position, effect in enumerate(batch):
            if position == boundary:
                break
            self._carry_out(node, effect)
            if not node.alive:
                return
        if boundary is not None:
            self.faults["crash between effects"] += 1
            self._crash(node)

    def _carry_out(self, node: Node, effect: Effect) -> None:
        if self.transcript is not None:
            self.transcript.effect(self.now, node.name, effect)
        is_honest = node.name not in self.byzantine
        match effect:
            case Persist(records):
                for record in records:
                    if is_honest:
                        self.oracle.on_record(node.name, record)
                    node.disk.apply(record)
            case Send(peer, message):
                self._emit(node, (peer,), message, is_honest)
            case Broadcast(audience, message):
                names = self.network.validators if audience is Audience.VALIDATORS else self.nodes
                self._emit(node, [name for name in names if name in node.peers], message, is_honest)
            case ServeBlocks() | ServeRun():
                self._serve(node, effect, is_honest)
            case Cosign():
                assert node.index is not None
                line = self.notes.cosign(node.index, effect.size, effect.root, effect.time)
                self.later(self.random.randint(1, 5), partial(self._deliver, node, node.life, Cosigned(line)))
            case _:
                pass
        if is_honest:
            self.oracle.on_effect(node.name, effect)

    def _serve(self, node: Node, effect: ServeBlocks | ServeRun, is_honest: bool) -> None:
        if isinstance(effect, ServeRun):
            run = node.disk.serve_run(effect.height)
            bodies: Sequence[Message] = [run] if run is not None else []
        else:
            bodies = node.disk.serve_blocks(effect.first_seq, effect.last_hash, self.blocks)
        for body in bodies:
            self._emit(node, (effect.peer,), body, is_honest)

    def _deliver(self, node: Node, life: int, event: Event) -> None:
        if node.alive and node.life == life:
            self.step(node.name, event)

    # --- the network ------------------------------------------------------------------------------

    def _emit(self, node: Node, peers: Iterable[str], message: Message, is_honest: bool) -> None:
        if is_honest:
            self.oracle.on_send(node.name, message)
        elif not self.byzantine[node.name].may_send(message):
            return
        for peer in peers:
            self.send(node.name, peer, message)

    def send(self, sender: str, receiver: str, message: Message) -> None:
        """Put one message on its way, or lose it."""
        target = self.nodes.get(receiver)
        if target is None:
            return
        if not self.is_chaos:
            self.later(self.random.randint(2, 15), partial(self._arrive, sender, target, message))
            return
        random, swarm = self.random, self.swarm
        if (sender in self._cut) != (receiver in self._cut) or random.random() < swarm.loss:
            self.faults["lost"] += 1
            return
        delay = random.expovariate(1 / swarm.delay) + 1
        if swarm.late and random.random() < swarm.late:
            self.faults["late"] += 1
            delay += random.uniform(100, 3_000)
        if swarm.duplicate and random.random() < swarm.duplicate:
            self.faults["duplicated"] += 1
            self.later(random.uniform(1, 1_000), partial(self._arrive, sender, target, message))
        self.later(delay, partial(self._arrive, sender, target, message))

    def _arrive(self, sender: str, node: Node, message: Message) -> None:
        if node.alive:
            self.step(node.name, Received(sender, message))

    # --- crashes, partitions, lost state ------------------------------------------------------------

    def _may_crash(self, node: Node) -> bool:
        return node.name not in self.byzantine

    def _boot(self, name: str) -> None:
        node = self.nodes[name]
        if node.alive:
            return
        node.boot(self.now)
        if self.transcript is not None:
            self.transcript.note(self.now, name, "starts")
        self._take(node, node.replica.start(self._clock(node)))
        for peer in self.nodes.values():
            if peer is not node and peer.alive:
                self.later(self.random.randint(1, 30), partial(self._connect, node, node.life, peer, peer.life))

    def _connect(self, one: Node, life: int, other: Node, other_life: int) -> None:
        if one.alive and other.alive and (one.life, other.life) == (life, other_life):
            self.step(one.name, PeerUp(other.name))
            self._deliver(other, other_life, PeerUp(one.name))

    def _crash(self, node: Node) -> None:
        if not node.alive:
            return
        node.crash()
        self.faults["crash"] += 1
        if self.transcript is not None:
            self.transcript.note(self.now, node.name, "crashes")
        delay = self.random.expovariate(1 / 400)
        self.later(delay, partial(self._boot, node.name))
        for peer in self.nodes.values():
            if peer.alive:
                self.later(self.random.randint(1, 200), partial(self._lose_peer, peer, peer.life, node, node.life))
        if self.random.random() < self.swarm.storm:
            self.faults["everybody crashes"] += 1
            for other in self.nodes.values():
                if self._may_crash(other) and other.alive:
                    other.crash()
                    self.later(delay + self.random.expovariate(1 / 100), partial(self._boot, other.name))

    def _lose_peer(self, node: Node, life: int, peer: Node, peer_life: int) -> None:
        if node.alive and node.life == life and (not peer.alive or peer.life == peer_life) and peer.name in node.peers:
            self.step(node.name, PeerDown(peer.name))

    def _chaos(self) -> None:
        """Faults that come with time, ten times a second."""
        if not self.is_chaos:
            return
        swarm, random = self.swarm, self.random
        self.later(CHAOS_EVERY, self._chaos)
        per_tick = CHAOS_EVERY / 1_000
        if swarm.partition and random.random() < swarm.partition * per_tick * 4:
            names = list(self.nodes)
            is_new = random.random() < 0.5
            self._cut = frozenset(random.sample(names, random.randrange(1, len(names)))) if is_new else frozenset()
            self.faults["partition"] += is_new
        for node in self.nodes.values():
            if swarm.crash and self._may_crash(node) and random.random() < swarm.crash * per_tick:
                self._crash(node)
        if swarm.clock_jump and random.random() < per_tick / 4:
            node = self.nodes[random.choice(self.network.validators)]
            node.skew = random.randint(-3_600_000, 3_600_000)
            self.faults["clock jump"] += 1

    def _take_snapshot(self) -> None:
        self._snapshot = self.nodes["v0"].disk.copy()

    def _lose_state(self) -> None:
        """v0 is killed, and comes back with an empty disk or an older copy of it: it counts as faulty now (A10)."""
        node = self.nodes["v0"]
        node.crash()
        self.faults["lost state"] += 1
        old = self._snapshot if self.swarm.lost == "rolled-back" else None
        node.disk = old or fresh_disk(self.network)
        node.disk.durable.lost = True
        witness = self.oracle.witnesses["v0"]
        witness.lose()
        durable = node.disk.durable
        witness.height, witness.floor_view = durable.floor.height, durable.floor.view
        if self.transcript is not None:
            self.transcript.note(self.now, "v0", f"loses its state ({self.swarm.lost})")
        self.later(self.random.expovariate(1 / 300), partial(self._boot, "v0"))

    # --- the liveness phase -------------------------------------------------------------------------

    def _heal(self) -> None:
        """End all faults that the network is allowed to wait out; wake the dead; repair the clocks."""
        self._cut = frozenset()
        if self.transcript is not None:
            self.transcript.note(self.now, "network", "heals")
        for node in self.nodes.values():
            node.skew = max(-4_000, min(4_000, node.skew))
            self._boot(node.name)
        voting = [self.nodes[name] for name in self.network.validators if name in self.honest]
        self._healed_at_view = max(node.replica.view for node in voting)
        self._healed_at_height = len(self.oracle.chain)
        for lab in self.labs:
            lab.finish()
        self.later(JUDGE_EVERY, self._judge)

    def _judge(self) -> None:
        """Whether the network has come to where it must come, and in time."""
        self._judge_publication()
        lacking = self._lacking()
        if not lacking:
            self.is_done = True
            return
        self.later(JUDGE_EVERY, self._judge)
        waited = self.now - self.swarm.heal_at
        if self.views_used > VIEWS_TO_FINALITY + len(self.oracle.chain) - self._healed_at_height:
            raise Violation(f"LIVENESS after {self.views_used} views: {lacking}")
        if waited > self.swarm.deadline:
            raise Violation(f"LIVENESS after {waited / 1000:.1f} s: {lacking}")

    def _judge_publication(self) -> None:
        """A published checkpoint must follow finality closely, also while heights keep coming (L9)."""
        published = max(self.nodes[name].replica.publication.published_size for name in self.honest)
        size = self.oracle.size
        if self.oracle.chain and (not self._unpublished or self._unpublished[-1][1] < size):
            self._unpublished.append((self.now, size))
        while self._unpublished and self._unpublished[0][1] <= published:
            self._unpublished.popleft()
        if self._unpublished and self.now - self._unpublished[0][0] > PUBLICATION_GAP_MAX + self._grace():
            at, size = self._unpublished[0]
            raise Violation(f"LIVENESS size {size}, final since {at}, is not published at {self.now}")

    def _grace(self) -> int:
        """What was cosigned before healing may have been lost, and is only repeated as proof of life."""
        first = self._unpublished[0][0]
        return self.swarm.timing.proof_of_life if first < self.swarm.heal_at + 2 * JUDGE_EVERY else 0

    def _lacking(self) -> str | None:
        for lab in self.labs:
            if not lab.is_final():
                return f"{lab.name} has sealed block {len(lab.sealed)}, final is {lab.final_seq()}"
        size = self.oracle.size
        for name in self.honest:
            node = self.nodes[name]
            replica = node.replica
            if replica.recovery is not None:
                for lab in self.labs:
                    lab.seal_more()
                return f"{name} has not recovered its state"
            if replica.branches.state.size < size:
                return f"{name} is at height {replica.branches.floor.height} of {len(self.oracle.chain)}"
            if len(self.oracle.chain) and replica.publication.published_size < size:
                return f"{name} knows published size {replica.publication.published_size} of {size}"
        return None

    @property
    def views_used(self) -> int:
        """How many views the liveness phase took."""
        return max(self.nodes[name].replica.view for name in self.honest) - self._healed_at_view

    def state_hash(self) -> str:
        """A digest of how the run ended on every disk, and of every vote on the way."""
        digest = sha256(f"{self.events} {self.now} {sorted(self.faults.items())}".encode())
        for name in self.honest:
            durable, witness = self.nodes[name].disk.durable, self.oracle.witnesses[name]
            digest.update(repr((name, durable.floor, durable.edge.root(), durable.published)).encode())
            digest.update(repr(sorted(durable.frontier.items())).encode())
            digest.update(repr(sorted(witness.votes)).encode())
            digest.update(repr(sorted(witness.accused)).encode())
        return digest.hexdigest()
