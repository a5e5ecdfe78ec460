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
    EvidenceFound,
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
from glasslog.agreement.evidence import Fault, decode_evidence
from glasslog.agreement.messages import Message
from glasslog.agreement.replica import Replica
from glasslog.block import Block
from simulation.authors import Desk, Forker, Lab
from simulation.byzantine.behaviour import Byzantine
from simulation.byzantine.registry import make_byzantine
from simulation.invariants import Oracle, Violation
from simulation.links import Links
from simulation.node import Node, fresh_disk, member_of
from simulation.suite import CheapNotes, make_network
from simulation.swarm import Swarm
from simulation.transcript import Transcript
from simulation.weather import Weather

WALL_AT_START = 10_000_000
JUDGE_EVERY = 250
VIEWS_TO_FINALITY = 20
PUBLICATION_GAP_MAX = 4_000

MakeReplica = Callable[[ReplicaConfig, Durable], Replica]


class Cluster:
    """One run of one seed. ``run`` returns normally or raises ``Violation``."""

    def __init__(self, swarm: Swarm, make_replica: MakeReplica = Replica, transcript: Transcript | None = None) -> None:
        self.swarm = swarm
        self.random = Random(f"cluster {swarm.stream}")
        self.transcript = transcript
        authors = ("forker", "lab") if swarm.forker else ("lab",)
        self.network = make_network(swarm.validators, authors, ("watch",) if swarm.observer else ())
        self.notes = CheapNotes(self.network.validators)
        self.now = 0
        self.events = 0
        self.faults: Counter[str] = Counter()
        self.deeds: Counter[str] = Counter()  # of faulty validators
        self.evidence: Counter[str] = Counter()  # in the ledger at the end, by what it convicts of
        self.blocks: dict[bytes, Block] = {}
        faulty = self.network.validators[swarm.validators - len(swarm.behaviours) :]
        self.honest = [name for name in self.network.names if name not in faulty and name != "forker"]
        self.oracle = Oracle(swarm, self.network, set(self.honest), self.blocks)
        self.nodes = {name: self._make_node(name, make_replica) for name in self.network.names if name != "forker"}
        self.nodes |= {
            name + "'": self._make_node(name + "'", make_replica)
            for name, behaviour in zip(faulty, swarm.behaviours, strict=True)
            if behaviour == "twins"
        }
        self.byzantine: dict[str, Byzantine] = {
            seat: make_byzantine(dict(zip(faulty, swarm.behaviours, strict=True))[node.member], self, node)
            for seat, node in self.nodes.items()
            if node.member in faulty
        }
        self.labs = [Lab(self, "lab")]
        if swarm.authoring_validator and not swarm.lost:
            self.labs.append(Lab(self, self.network.validators[0]))
        self.forker = Forker(self, swarm.forker) if swarm.forker else None
        self._entered: set[tuple[str, Fault]] = set()
        self.queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._has_twins = "twins" in swarm.behaviours
        self.links = Links(self)
        self.weather = Weather(self)
        self._healed_at_view = self._healed_at_height = 0
        self._unpublished: deque[tuple[int, int]] = deque()  # (when it was final, size), oldest first
        self.is_done = False

    def _make_node(self, name: str, make_replica: MakeReplica) -> Node:
        return Node(name, self.network, self.notes, self.swarm.timing, fresh_disk(self.network), make_replica)

    # --- time -------------------------------------------------------------------------------------

    @property
    def is_chaos(self) -> bool:
        return self.now < self.swarm.heal_at

    def later(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self.queue, (self.now + int(delay), self._count, action))

    def run(self) -> None:
        """Run the seed to its end."""
        for name in self.nodes:
            self.boot(name)
        for lab in self.labs:
            lab.start()
        if self.forker is not None:
            self.forker.start()
        for behaviour in self.byzantine.values():
            behaviour.start()
        self.later(self.swarm.heal_at, self._heal)
        self.weather.start()
        while not self.is_done:
            self.take_next()
        self.evidence.update(self.oracle.judge_end())

    def take_next(self) -> None:
        """Go on to the next thing that happens."""
        self.now, _, action = heapq.heappop(self.queue)
        action()

    # --- stepping ---------------------------------------------------------------------------------

    def step(self, name: str, event: Event) -> None:
        """Give one node one event and carry out what it answers."""
        node = self.nodes[name]
        if node.backlog is not None:
            node.backlog.append(partial(self.step, name, event))
            return
        self.events += 1
        if self.transcript is not None:
            self.transcript.event(self.now, name, event)
        if isinstance(event, Received):
            if name in self.byzantine:
                self.byzantine[name].received(event.message)
        elif isinstance(event, PeerUp):
            node.peers.add(event.peer)
        elif isinstance(event, PeerDown):
            node.peers.discard(event.peer)
        self._take(node, node.replica.step(self._clock(node), event))

    def _clock(self, node: Node) -> Now:
        return Now((self.now - node.booted_at) * node.rate // 1_000, WALL_AT_START + self.now + node.skew)

    def _take(self, node: Node, effects: Iterable[Effect]) -> None:
        node.outbox.extend(effects)
        self._flush(node)
        if not node.alive or node.replica.deadline is None:
            return
        at = node.booted_at - (-node.replica.deadline * 1_000 // node.rate)
        if node.tick_at is None or at < node.tick_at:
            node.tick_at = at
            self.later(max(at - self.now, 0), partial(self._tick, node, node.life, at))

    def _tick(self, node: Node, life: int, at: int) -> None:
        if node.alive and node.life == life and node.tick_at == at:
            node.tick_at = None
            deadline = node.replica.deadline
            if deadline is not None and node.booted_at - (-deadline * 1_000 // node.rate) > self.now:
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
            if time := self.weather.draw_sync(node):
                node.in_sync = batch
                self.later(time, partial(self._synced, node, node.life))
                return
            self._carry_out_all(node, batch, grouped=False)

    def _synced(self, node: Node, life: int) -> None:
        if node.backlog is not None:
            node.backlog.append(partial(self._synced, node, life))
        elif node.alive and node.life == life and node.in_sync is not None:
            batch, node.in_sync = node.in_sync, None
            self._carry_out_all(node, batch, grouped=True)
            self._flush(node)

    def _carry_out_all(self, node: Node, batch: list[Effect], *, grouped: bool) -> None:
        """Make a batch durable and send it; a drawn crash loses everything from one boundary on."""
        if grouped:
            batch = [effect for effect in batch if isinstance(effect, Persist)] + [
                effect for effect in batch if not isinstance(effect, Persist)
            ]
        boundary = self.weather.draw_boundary(node, batch, grouped=grouped)
        for position, effect in enumerate(batch):
            if position == boundary:
                break
            self._carry_out(node, effect)
            if not node.alive:
                return
        if boundary is not None:
            self.crash(node)

    def _carry_out(self, node: Node, effect: Effect) -> None:
        if self.transcript is not None:
            self.transcript.effect(self.now, node.name, effect)
        is_honest = node.name not in self.byzantine
        match effect:
            case Persist(records):
                for record in records:
                    if is_honest:
                        self.oracle.on_record(node.name, record)
                node.persist(records)
                for record in records:
                    if is_honest and isinstance(record, EvidenceFound):
                        self._enter(node.name, record.evidence)
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

    def _enter(self, name: str, evidence: bytes) -> None:
        """A14: the first honest member that finds it, may author and will not lose its place, states it."""
        names, found = self.network.validators, decode_evidence(evidence)
        if name in self.network.observers or (self.swarm.lost and name in names[: self.swarm.losers]):
            return
        if (found.accused, found.fault) in self._entered:
            return  # every node states its own; a copy for each of them would cost as much as all the rest of a run
        self._entered.add((found.accused, found.fault))
        desk = next((lab for lab in self.labs if lab.name == name), None)
        if desk is None:
            desk = Desk(self, name)
            self.labs.append(desk)
        desk.enter(evidence)

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
        else:
            peers = self.byzantine[node.name].recipients(message, tuple(peers))
        for peer in peers:
            self.send(node.name, peer, message)

    def send(self, sender: str, receiver: str, message: Message) -> None:
        """Put one message on its way, or lose it. What is addressed to twins reaches those that the masks let it."""
        if not self._has_twins:
            self._transmit(sender, receiver, message)
            return
        for seat in (receiver, receiver + "'") if receiver + "'" in self.nodes else (receiver,):
            if self._is_masked(seat, sender) or self._is_masked(sender, seat):
                self.deeds["twins: messages masked"] += 1
            else:
                self._transmit(sender, seat, message)

    def _is_masked(self, seat: str, peer: str) -> bool:
        behaviour = self.byzantine.get(seat)
        return behaviour is not None and not behaviour.reaches(member_of(peer))

    def _transmit(self, sender: str, receiver: str, message: Message) -> None:
        if receiver not in self.nodes:
            return
        if self.is_chaos:
            self.links.transmit(sender, receiver, message)
        else:
            self.later(2 + self.random.random() * 14, partial(self.arrive, sender, receiver, message))

    def arrive(self, sender: str, receiver: str, message: Message) -> None:
        """What was sent is here."""
        node = self.nodes[receiver]
        if node.is_full:
            self.faults["lost from a full queue"] += 1
        elif node.alive:
            self.step(receiver, Received(member_of(sender), message))

    # --- starts and crashes ---------------------------------------------------------------------------

    def may_fail(self, node: Node) -> bool:
        """Faulty validators are spared the weather: they are trouble enough."""
        return node.name not in self.byzantine

    def boot(self, name: str) -> None:
        """Start a node from its disk, and connect it to the others that are up."""
        node = self.nodes[name]
        if node.alive:
            return
        node.boot(self.now)
        if self.transcript is not None:
            self.transcript.note(self.now, name, "starts")
        self._take(node, node.replica.start(self._clock(node)))
        for peer in self.nodes.values():
            if peer.member != node.member and peer.alive:
                self.later(self.random.randint(1, 30), partial(self._connect, node, node.life, peer, peer.life))

    def _connect(self, one: Node, life: int, other: Node, other_life: int) -> None:
        if one.alive and other.alive and (one.life, other.life) == (life, other_life):
            self.step(one.name, PeerUp(other.member))
            self._deliver(other, other_life, PeerUp(one.member))

    def crash(self, node: Node) -> None:
        """Take a node down, sometimes all honest ones, and have them come back."""
        if not node.alive:
            return
        self.faults["unsynced write lost"] += node.in_sync is not None
        node.crash()
        self.faults["crash"] += 1
        if self.transcript is not None:
            self.transcript.note(self.now, node.name, "crashes")
        delay = self.random.expovariate(1 / 400)
        self.later(max(delay, node.full_until - self.now), partial(self.boot, node.name))
        for peer in self.nodes.values():
            if peer.alive:
                self.later(self.random.randint(1, 200), partial(self._lose_peer, peer, peer.life, node, node.life))
        if self.random.random() < self.swarm.storm:
            self.faults["everybody crashes"] += 1
            for other in self.nodes.values():
                if self.may_fail(other) and other.alive:
                    self.faults["unsynced write lost"] += other.in_sync is not None
                    other.crash()
                    self.later(delay + self.random.expovariate(1 / 100), partial(self.boot, other.name))

    def _lose_peer(self, node: Node, life: int, peer: Node, peer_life: int) -> None:
        is_gone = not peer.alive or peer.life == peer_life
        if node.alive and node.life == life and is_gone and peer.member in node.peers:
            self.step(node.name, PeerDown(peer.member))

    # --- the liveness phase -------------------------------------------------------------------------

    def _heal(self) -> None:
        """End all faults that the network is allowed to wait out; wake the dead; repair the clocks."""
        self.links.join()
        if self.transcript is not None:
            self.transcript.note(self.now, "network", "heals")
        for node in self.nodes.values():
            node.skew = max(-4_000, min(4_000, node.skew))
            self.weather.resume(node, node.life)
            self.boot(node.name)
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
