"""Faults that come with time: crashes, pauses, slow and full disks, clocks, partitions, and state that is lost."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

from glasslog.agreement.effects import Effect, Persist
from simulation.links import SPLITS
from simulation.node import Disk, Node, fresh_disk

if TYPE_CHECKING:
    from simulation.cluster import Cluster

CHAOS_EVERY = 100
HOUR = 3_600_000
PAUSE_MAX = 8_000
SLOW_SYNC_MAX = 3_000


class Weather:
    """What befalls the nodes of one run before it heals. Faulty validators are spared: they are trouble enough."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._swarm = cluster.swarm
        self.random = Random(f"weather {cluster.swarm.stream}")
        self._disks = Random(f"disks {cluster.swarm.stream}")
        self._copies: dict[str, tuple[Disk, int | None]] = {}
        for node in cluster.nodes.values():
            node.skew = self.random.randint(-self._swarm.clock_skew, self._swarm.clock_skew)
            node.rate = 1_000 + self.random.randint(-self._swarm.drift, self._swarm.drift)

    def start(self) -> None:
        cluster, random, swarm = self._cluster, self.random, self._swarm
        cluster.later(CHAOS_EVERY, self._blow)
        for _ in range(swarm.losses if swarm.lost else 0):
            name = cluster.network.validators[random.randrange(swarm.losers)]
            at = random.randrange(swarm.heal_at // 4, swarm.heal_at)
            cluster.later(random.randrange(at), partial(self.copy, name))
            cluster.later(at, partial(self.lose_state, name))

    def _blow(self) -> None:
        """Ten times a second."""
        cluster, random, swarm = self._cluster, self.random, self._swarm
        if not cluster.is_chaos:
            return
        cluster.later(CHAOS_EVERY, self._blow)

        def befalls(a_second: float) -> bool:
            return a_second > 0 and random.random() < a_second * CHAOS_EVERY / 1_000

        if swarm.partition:
            self._partition()
        for node in cluster.nodes.values():
            if not cluster.may_fail(node):
                continue
            if befalls(swarm.crash):
                cluster.crash(node)
            if befalls(swarm.pause):
                self._pause(node)
            if befalls(swarm.slow_disk):
                self._note(node.name, "has a slow disk")
                node.slow_until = cluster.now + random.randint(100, 6_000)
            if befalls(swarm.full_disk):
                self._note(node.name, "has a full disk")
                node.full_until = cluster.now + random.randint(100, 4_000)
        if swarm.clock_jump and befalls(0.25):
            node = cluster.nodes[random.choice(cluster.network.validators)]
            node.skew = random.choice((-HOUR, HOUR, random.randint(-HOUR, HOUR)))
            self._note(node.name, f"has a clock that is off by {node.skew / 1000:.0f} s")
            cluster.faults["clock jump"] += 1

    def _note(self, name: str, text: str) -> None:
        if self._cluster.transcript is not None:
            self._cluster.transcript.note(self._cluster.now, name, text)

    def _partition(self) -> None:
        cluster, random, swarm, links = self._cluster, self.random, self._swarm, self._cluster.links
        if random.random() < swarm.partition * 4 * CHAOS_EVERY / 1_000:
            if random.random() < 0.5:
                kind = random.choice(tuple(SPLITS)) if swarm.split == "any" else swarm.split
                cluster.faults[f"partition: {kind}"] += 1
                self._note("network", links.split(kind))
            elif links.cut:
                links.join()
                self._note("network", "is whole")
        elif links.cut and swarm.moving and random.random() < 0.2:
            cluster.faults["partition moves"] += 1
            links.move()
            self._note("network", "has its partition moved by one")

    # --- pauses -----------------------------------------------------------------------------------

    def _pause(self, node: Node) -> None:
        """Stopped as by SIGSTOP: its clocks go on, its connections stay, what is sent to it waits."""
        if node.alive and node.backlog is None:
            node.backlog = []
            self._cluster.faults["pause"] += 1
            self._note(node.name, "is stopped")
            self._cluster.later(self.random.randint(10, PAUSE_MAX), partial(self.resume, node, node.life))

    def resume(self, node: Node, life: int) -> None:
        """Everything that waited arrives at once."""
        if node.alive and node.life == life and node.backlog is not None:
            waiting, node.backlog = node.backlog, None
            self._note(node.name, f"goes on, {len(waiting)} events waiting")
            for action in waiting:
                if (node.alive, node.life) == (True, life):  # it may crash on the way
                    action()

    # --- disks ------------------------------------------------------------------------------------

    def draw_sync(self, node: Node) -> int:
        """How long the next synced write takes; 0: no time at all."""
        if self._cluster.now < node.slow_until and self._cluster.is_chaos:
            self._cluster.faults["slow sync"] += 1
            return self._disks.randint(50, SLOW_SYNC_MAX)
        return self._disks.randint(1, self._swarm.sync) if self._swarm.sync else 0

    def draw_boundary(self, node: Node, batch: list[Effect], *, grouped: bool) -> int | None:
        """Before which effect of a batch the node crashes, if it does. A grouped write is there whole or not at all."""
        cluster = self._cluster
        if not cluster.is_chaos or not cluster.may_fail(node):
            return None
        persists = sum(isinstance(effect, Persist) for effect in batch) if grouped else 1
        if cluster.now < node.full_until:
            # After an error the last write may be there or not; nothing that follows it is ever said (S5).
            cluster.faults["full disk stops a node"] += 1
            return self._disks.choice((0, 0, persists))
        if not self._swarm.crash_at_boundary or self._disks.random() >= self._swarm.crash_at_boundary:
            return None
        cluster.faults["crash between effects"] += 1
        if grouped:
            return self._disks.choice((0, self._disks.randint(persists, len(batch))))
        return self._disks.randint(0, len(batch))

    # --- lost state (A10, S6, S7) -------------------------------------------------------------------

    def copy(self, name: str) -> None:
        """Keep what its disk and mark are now."""
        node = self._cluster.nodes[name]
        self._copies[name] = node.disk.copy(), node.mark

    def lose_state(self, name: str) -> None:
        """It is killed, and comes back with less than it had: from now on it counts as faulty (A10)."""
        cluster, node = self._cluster, self._cluster.nodes[name]
        node.crash()
        cluster.faults[f"lost state: {self._swarm.lost}"] += 1
        copy, mark_then = self._copies.get(name, (node.disk, node.mark))
        old = copy.copy()
        match self._swarm.lost:
            case "wiped":
                node.disk = fresh_disk(cluster.network)
            case "rolled back":
                node.disk = old
            case "without its mark":
                node.mark = None
            case _:  # the one loss that nothing shows (specs/storage.md): only to see that this simulation would
                node.disk, node.mark = old, mark_then
        witness, floor = cluster.oracle.witnesses[name], node.disk.durable.floor
        if node.is_lost:
            witness.lose()
        else:
            witness.recovering_from = None  # it came back to what it had when it last signed
        witness.height, witness.floor_view = floor.height, floor.view
        self._note(name, f"loses its state ({self._swarm.lost})")
        cluster.later(self.random.expovariate(1 / 300), partial(cluster.boot, name))
