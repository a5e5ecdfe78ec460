"""One simulated member: a real ``Replica``, a disk that is a ``Durable``, and the outbox between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from unittest.mock import patch

from glasslog.agreement import replica as replica_module
from glasslog.agreement.config import ReplicaConfig, Timing
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import Effect, FinalHeight, HeldBlock, Record, SavedCertificate
from glasslog.agreement.messages import (
    BlockBody,
    Certificate,
    FinalizedRun,
    Kind,
    Proposal,
)
from glasslog.agreement.replica import Replica
from glasslog.block import Block
from glasslog.limits import RUN_HEIGHTS_MAX
from glasslog.membership import read_genesis
from simulation.suite import CheapNotes, Network, signer, verify

RUN_MAX = 3  # few, so that whoever lags needs several runs, while the others go on
BACKLOG_MAX = 1_024

read_genesis_once = cache(read_genesis)


@dataclass
class Disk:
    """Everything that survives a crash: what a replica boots from, and the archive it serves others from."""

    durable: Durable
    bodies: dict[bytes, HeldBlock] = field(default_factory=dict[bytes, HeldBlock])
    heights: list[Proposal] = field(default_factory=list[Proposal])
    finals: dict[bytes, Certificate] = field(default_factory=dict[bytes, Certificate])
    generation: int = 0  # number of synced writes (S6)

    def apply(self, record: Record) -> None:
        self.durable.apply(record)
        match record:
            case HeldBlock():
                self.bodies[record.ref.hash] = record
            case FinalHeight():
                self.heights.append(record.proposal)
            case SavedCertificate(certificate) if certificate.kind is Kind.FINALIZE:
                self.finals[certificate.digest] = certificate
            case _:
                pass

    def copy(self) -> Disk:
        return Disk(
            copy_durable(self.durable), dict(self.bodies), list(self.heights), dict(self.finals), self.generation
        )

    def serve_blocks(self, first_seq: int, last_hash: bytes, blocks: dict[bytes, Block]) -> list[BlockBody]:
        """The stored blocks on the chain that ends in ``last_hash``, oldest first."""
        found = list[BlockBody]()
        while (held := self.bodies.get(last_hash)) is not None and held.ref.seq >= first_seq:
            found.append(BlockBody(held.header, held.entries))
            last_hash = blocks[last_hash].header.prev
        return found[::-1]

    def serve_run(self, height: int) -> FinalizedRun | None:
        """Few heights from this one on, up to one that has a certificate of its own; more where none of the few has."""
        run = list[Proposal]()
        for proposal in self.heights[height - 1 : height - 1 + RUN_HEIGHTS_MAX]:
            if len(run) >= RUN_MAX and run[-1].digest in self.finals:
                break
            run.append(proposal)
        while run and run[-1].digest not in self.finals:
            run.pop()
        return FinalizedRun(tuple(run), self.finals[run[-1].digest]) if run else None


@cache
def _fresh(genesis: tuple[bytes, ...]) -> Durable:
    return Durable.fresh(genesis)


def fresh_disk(network: Network) -> Disk:
    """The disk of a member that has seen nothing but the genesis leaves."""
    return Disk(copy_durable(_fresh(network.genesis)))


def member_of(seat: str) -> str:
    """The member that sits there: twins are two seats of one member."""
    return seat.rstrip("'")


def copy_durable(durable: Durable) -> Durable:
    return replace(
        durable,
        frontier=dict(durable.frontier),
        votes=dict(durable.votes),
        proposals=dict(durable.proposals),
        certificates=dict(durable.certificates),
        blocks=dict(durable.blocks),
        evidence=list(durable.evidence),
    )


@dataclass
class Node:
    """A member between crashes. ``life`` counts its starts, so that what was meant for an earlier one is dropped.

    A twin has its member's name with a prime: the same keys, another disk.
    """

    name: str
    network: Network
    notes: CheapNotes
    timing: Timing
    disk: Disk
    make_replica: Callable[[ReplicaConfig, Durable], Replica]
    skew: int = 0  # of the wall clock
    rate: int = 1_000  # of the monotonic clock, per thousand
    mark: int | None = 0  # the high-water mark, outside the disk: the generation of the last synced write (S6)
    life: int = 0
    alive: bool = False
    booted_at: int = 0
    replica: Replica = field(init=False)
    outbox: deque[Effect] = field(default_factory=deque[Effect])
    in_sync: list[Effect] | None = None  # the batch that is being made durable
    tick_at: int | None = None
    slow_until: int = 0  # until when the disk is slow
    full_until: int = 0  # and until when it is full
    backlog: list[Callable[[], None]] | None = None  # what waits while the node is stopped
    peers: set[str] = field(default_factory=set[str])

    @property
    def member(self) -> str:
        return member_of(self.name)

    @property
    def index(self) -> int | None:
        names = self.network.validators
        return names.index(self.member) if self.member in names else None

    def boot(self, now: int) -> None:
        """Start from the disk alone."""
        self.life += 1
        self.alive, self.booted_at = True, now
        if self.is_lost:
            self.disk.durable.lost = True
            self.disk.generation = max(self.disk.generation, self.mark or 0)
        self.outbox.clear()
        self.in_sync = self.tick_at = None
        self.peers.clear()
        config = ReplicaConfig(
            self.member,
            verify,
            self.notes,
            None if self.index is None else signer(self.member, "vote"),
            sha256(f"{self.name} {self.life}".encode()).digest()[:16],
            self.timing,
        )
        # Reading the same genesis leaves at every boot would be a sixth of all the simulation's time.
        with patch.object(replica_module, "read_genesis", read_genesis_once):
            self.replica = self.make_replica(config, copy_durable(self.disk.durable))

    def crash(self) -> None:
        """Lose everything that is not on the disk."""
        self.alive = False
        self.outbox.clear()
        self.in_sync = self.backlog = None

    @property
    def is_lost(self) -> bool:
        """Whether the disk is older than it was, as far as anybody can tell (S7)."""
        return self.mark is None or self.disk.generation < self.mark or self.disk.durable.lost

    def persist(self, records: Sequence[Record]) -> None:
        """One synced write, and then the mark, unless state is lost: another old copy must not pass (S7)."""
        for record in records:
            self.disk.apply(record)
        self.disk.generation += 1
        if not self.disk.durable.lost:
            self.mark = self.disk.generation

    @property
    def is_full(self) -> bool:
        """Whether so much waits for a stopped node that its peers' queues are full."""
        return self.backlog is not None and len(self.backlog) >= BACKLOG_MAX
