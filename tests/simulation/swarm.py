"""What one seed is: every seed draws its whole configuration, so that rare mixes of faults are met too."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from glasslog.agreement.config import Timing
from simulation.byzantine import registry
from simulation.links import DISTRIBUTIONS, SPLITS

BEHAVIOURS = tuple(registry.BEHAVIOURS)
FORKERS = ("forking", "one-copy", "misnumbering")
LOSSES = ("wiped", "rolled back", "without its mark")


@dataclass(frozen=True)
class Swarm:
    """One run's configuration. Times in milliseconds of simulated time, probabilities in 0..1."""

    validators: int
    seed: int
    chance: int = 0  # which of many runs with this configuration
    heal_at: int = 6_000
    deadline: int = 45_000  # after healing, until all is final and published; see longest_way
    # Links. Each directed one has these, or, where uneven, multiples of its own.
    uneven: bool = False
    loss: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0  # of a message being held back for up to 3 s
    reorder: float = 0.0  # of a message being overtaken by the next few
    delay: float = 30.0  # mean
    distribution: str = "exponential"  # of delays; mixed: every link another
    bandwidth: float = 0.0  # bytes a millisecond; 0: no limit
    partition: float = 0.0  # of a new partition, a second
    split: str = "any"  # which kind of partition
    moving: bool = False  # partitions move on by one member now and then
    # Nodes.
    crash: float = 0.0  # of a node, a second
    crash_at_boundary: float = 0.0  # between two effects of a step that persists something
    storm: float = 0.0  # of a crash taking every honest node with it
    pause: float = 0.0  # of a node being stopped for up to 8 s, a second
    sync: int = 0  # a synced write takes up to this; 0: at once, and a crash may fall between any two effects
    slow_disk: float = 0.0  # of a node's synced writes taking up to 3 s for a while, a second
    full_disk: float = 0.0  # of a node's writes failing for a while, a second
    clock_skew: int = 0  # wall clocks are off by up to this
    clock_jump: bool = False  # before healing wall clocks jump by up to an hour
    drift: int = 0  # monotonic clocks are off by up to this, per thousand
    lost: str | None = None  # how a validator loses its state, see LOSSES
    losers: int = 1  # the first so many validators may be the one
    losses: int = 1  # so many times
    # Members.
    behaviours: tuple[str, ...] = ()  # of the faulty validators, which are the last ones
    forker: str | None = None  # a faulty author's behaviour
    blocks: int = 3  # an author publishes before healing
    tail: int = 1  # and after
    tail_gap: int = 400
    authoring_validator: bool = False
    observer: bool = False
    quorum_judged: int = 0  # certificates are judged by this quorum instead; only a planted fault changes it
    timing: Timing = field(default_factory=Timing)

    @property
    def stream(self) -> str:
        """What all chance in a run comes from."""
        return f"{self.validators} {self.seed} {self.chance}"

    @property
    def faults(self) -> int:
        """f, by the simulation's own arithmetic."""
        return (self.validators - 1) // 3

    @property
    def quorum(self) -> int:
        """n - f, by the simulation's own arithmetic."""
        return self.quorum_judged or self.validators - self.faults


def longest_way(faults: int, timing: Timing) -> int:
    """Return the milliseconds in which a healed network has to come to an end.

    Views may have grown to the longest timeout while nothing worked. The one that healing finds runs out, then the
    leaders that cannot propose (faulty or lost, f of them) may come one after another, and one view more catches up.
    """
    return (faults + 2) * timing.timeout_max


def draw(validators: int, seed: int, *, lost: bool = False) -> Swarm:
    """Draw a configuration with at most f faulty validators; who loses its state counts among them (A10)."""
    rng = Random(f"{validators} {seed} {lost}")
    tolerated = (validators - 1) // 3
    losers = rng.randint(1, tolerated) if lost else 1
    faulty = min(tolerated - losers * lost, rng.choice((0, 1, 1, 2, tolerated)))
    # A few runs are long and quiet: clocks drift apart, members rest, and statuses keep coming.
    is_long = rng.random() < 0.05
    return Swarm(
        validators,
        seed,
        heal_at=rng.randrange(60_000, 240_000) if is_long else rng.randrange(1_500, 9_000),
        deadline=longest_way(tolerated, Timing()),
        uneven=rng.random() < 0.4,
        loss=rng.choice((0.0, 0.02, 0.1, 0.25)),
        duplicate=rng.choice((0.0, 0.0, 0.05)),
        late=rng.choice((0.0, 0.0, 0.02, 0.1)),
        reorder=rng.choice((0.0, 0.0, 0.1)),
        delay=rng.choice((5.0, 20.0, 40.0, 120.0)),
        distribution=rng.choice((*DISTRIBUTIONS, "mixed")),
        bandwidth=rng.choice((0.0, 0.0, 0.0, 2.0, 20.0)),
        partition=rng.choice((0.0, 0.1, 0.5)),
        split=rng.choice(("any", *SPLITS)),
        moving=rng.random() < 0.3,
        crash=rng.choice((0.0, 0.02, 0.1)),
        crash_at_boundary=rng.choice((0.0, 0.005, 0.03, 0.1)),
        storm=rng.choice((0.0, 0.1, 0.7)),
        pause=rng.choice((0.0, 0.0, 0.02, 0.2)),
        sync=rng.choice((0, 0, 2, 15, 100)),
        slow_disk=rng.choice((0.0, 0.0, 0.05)),
        full_disk=rng.choice((0.0, 0.0, 0.05)),
        clock_skew=rng.choice((0, 100, 4_000)),
        clock_jump=rng.random() < 0.1,
        drift=rng.choice((0, 0, 1, 50)),
        lost=rng.choice(LOSSES) if lost else None,
        losers=losers,
        losses=rng.choice((1, 1, 2, 3)),
        behaviours=tuple(rng.choice(BEHAVIOURS) for _ in range(faulty)),
        forker=rng.choice((None, None, *FORKERS)),
        blocks=rng.randrange(1, 5),
        tail=rng.choice((0, 1, 1, 2)),
        authoring_validator=rng.random() < 0.2,
        observer=rng.random() < 0.3,
    )
