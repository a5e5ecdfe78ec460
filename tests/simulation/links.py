"""The network between members: every directed link has faults of its own, and partitions come, move and go.

What a link does to a message is drawn from a stream of its own, so that a run with one kind of fault less
stays as like the run before as it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from glasslog.agreement.messages import (
    Announcement,
    BlockBody,
    BlockRequest,
    Certificate,
    Cosignature,
    FinalizedRun,
    Have,
    Message,
    Published,
    SignedProposal,
    Vote,
)

if TYPE_CHECKING:
    from simulation.cluster import Cluster

QUEUE_MAX = 5_000  # ms of messages waiting for a narrow link: what comes then is lost
LATE_MAX = 3_000
DISTRIBUTIONS = ("fixed", "uniform", "exponential", "heavy-tailed")
Cut = frozenset[tuple[str, str]]  # (sender, receiver) that nothing passes between


FRAME = 16
# About the bytes on the wire: encoding every message for its length would cost more than all the rest.
SIZES: dict[type, Callable[[Any], int]] = {
    Vote: lambda vote: 78 + len(vote.digest),
    Certificate: lambda certificate: 40 + 68 * len(certificate.signers),
    SignedProposal: lambda signed: 165 + 45 * len(signed.proposal.advance),
    BlockBody: lambda body: 8 + len(body.header) + len(body.entries),
    FinalizedRun: lambda run: 110 * len(run.proposals) + 68 * len(run.certificate.signers) + 40,
    Cosignature: lambda _: 2_610,
    Published: lambda published: 5 + len(published.note),
    Have: lambda have: 4 + 40 * len(have.refs),
    Announcement: lambda announcement: 5 + sum(map(len, announcement.headers)),
    BlockRequest: lambda _: 45,
}


def size_of(message: Message) -> int:
    """Bytes on the wire, nearly."""
    size = SIZES.get(type(message))
    return FRAME + (size(message) if size is not None else 10)


@dataclass(slots=True)
class Link:
    """One direction between two members. Times in milliseconds, probabilities in 0..1."""

    loss: float
    duplicate: float
    late: float  # of being held back for up to 3 s
    reorder: float  # of being overtaken by what is sent within the next few delays
    delay: float  # mean
    distribution: str
    bandwidth: float  # bytes a millisecond; 0: no limit
    free_at: float = 0.0  # when what was sent before has left

    def draw_delay(self, random: Random) -> float:
        """How long one message takes."""
        mean = self.delay
        match self.distribution:
            case "fixed":
                return mean
            case "uniform":
                return random.random() * 2 * mean
            case "exponential":
                return random.expovariate(1 / mean)
            case _:  # Pareto with a = 2: the mean is twice the smallest
                return mean / 2 / math.sqrt(1.0 - random.random())


class Links:
    """All links of one run, and the partition of the moment."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        swarm = cluster.swarm
        self.random = random = Random(f"links {swarm.stream}")
        self.cut: Cut = frozenset()
        self._split: Callable[[Sequence[str]], Cut] | None = None
        self._order: list[str] = []

        def spread(value: float) -> float:
            return value * random.choice((0.0, 0.5, 1.0, 1.0, 2.5)) if swarm.uneven else value

        self._links = {
            (sender, receiver): Link(
                min(spread(swarm.loss), 0.6),
                spread(swarm.duplicate),
                spread(swarm.late),
                spread(swarm.reorder),
                spread(swarm.delay) or 1.0,
                random.choice(DISTRIBUTIONS) if swarm.distribution == "mixed" else swarm.distribution,
                spread(swarm.bandwidth),
            )
            for sender in (*cluster.nodes, "forker")
            for receiver in cluster.nodes
            if sender != receiver
        }

    def between(self, sender: str, receiver: str) -> Link:
        """The link in this direction."""
        return self._links[sender, receiver]

    def transmit(self, sender: str, receiver: str, message: Message) -> None:
        """Put one message on its way, or lose it, as long as the faults last."""
        cluster, random, faults = self._cluster, self.random, self._cluster.faults
        if (sender, receiver) in self.cut:
            faults["cut off"] += 1
            return
        link = self._links[sender, receiver]
        if link.loss and random.random() < link.loss:
            faults["lost"] += 1
            return
        delay = link.draw_delay(random) + 1
        if link.bandwidth:
            waits = max(link.free_at - cluster.now, 0.0)
            if waits > QUEUE_MAX:
                faults["lost from a full queue"] += 1
                return
            faults["queued for bandwidth"] += waits > 0
            waits += size_of(message) / link.bandwidth
            link.free_at = cluster.now + waits
            delay += waits
        if link.reorder and random.random() < link.reorder:
            faults["reordered"] += 1
            delay += random.uniform(1, 4) * link.delay
        if link.late and random.random() < link.late:
            faults["late"] += 1
            delay += random.uniform(100, LATE_MAX)
        arrive = partial(cluster.arrive, sender, receiver, message)
        if link.duplicate and random.random() < link.duplicate:
            faults["duplicated"] += 1
            cluster.later(random.uniform(1, 1_000), arrive)
        cluster.later(delay, arrive)

    # --- partitions -------------------------------------------------------------------------------

    def split(self, kind: str) -> str:
        """Begin a partition of this kind and say what it is."""
        self._order = self.random.sample(list(self._cluster.nodes), len(self._cluster.nodes))
        self._split = partial(SPLITS[kind], at=self.random.randrange(1, len(self._order)))
        self.cut = self._split(self._order)
        return f"is partitioned: {kind}, {' '.join(self._order)}"

    def move(self) -> None:
        """Turn the partition on by one member."""
        if self._split is not None:
            self._order = self._order[1:] + self._order[:1]
            self.cut = self._split(self._order)

    def join(self) -> None:
        """End the partition."""
        self._split, self.cut = None, frozenset()


def _both_ways(pairs: Iterator[tuple[str, str]]) -> Cut:
    return frozenset(way for one, other in pairs for way in ((one, other), (other, one)))


def split_in_two(order: Sequence[str], at: int) -> Cut:
    """Two sides that hear nothing of one another."""
    return _both_ways((one, other) for one in order[:at] for other in order[at:])


def cut_off_one(order: Sequence[str], at: int) -> Cut:
    """One member alone."""
    return split_in_two(order, 1)


def leave_ring(order: Sequence[str], at: int) -> Cut:
    """Everybody hears only the neighbours on a ring."""
    last = len(order) - 1
    places = range(len(order))
    return frozenset(
        (order[one], order[other]) for one in places for other in places if abs(one - other) not in {0, 1, last}
    )


def cut_one_way(order: Sequence[str], at: int) -> Cut:
    """One side hears the other and is not heard by it."""
    return frozenset((one, other) for one in order[:at] for other in order[at:])


def leave_bridge(order: Sequence[str], at: int) -> Cut:
    """Two sides with one member between them that hears both."""
    return split_in_two(order[1:], min(at, len(order) - 2))


SPLITS: dict[str, Callable[..., Cut]] = {
    "two sides": split_in_two,
    "one cut off": cut_off_one,
    "ring": leave_ring,
    "one way": cut_one_way,
    "bridge": leave_bridge,
}
