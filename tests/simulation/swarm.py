"""What one seed is: every seed draws its whole configuration, so that rare mixes of faults are met too."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from glasslog.agreement.config import Timing

BEHAVIOURS = ("silent", "equivocating", "double-voting", "stale-fork", "withholding", "everything")
FORKERS = ("forking", "one-copy", "misnumbering")


@dataclass(frozen=True)
class Swarm:
    """One run's configuration. Times in milliseconds of simulated time, probabilities in 0..1."""

    validators: int
    seed: int
    heal_at: int = 6_000
    deadline: int = 45_000  # after healing
    loss: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0  # of a message being held back for up to 3 s
    delay: float = 30.0  # mean
    partition: float = 0.0  # of a new partition, a second
    crash: float = 0.0  # of a node, a second
    crash_at_boundary: float = 0.0  # between two effects of a step that persists something
    storm: float = 0.0  # of a crash taking every honest node with it
    sync: int = 0  # a synced write takes up to this; 0: at once, and a crash may fall between any two effects
    behaviours: tuple[str, ...] = ()  # of the faulty validators, which are the last ones
    forker: str | None = None  # a faulty author's behaviour
    blocks: int = 3  # an author publishes before healing
    tail: int = 1  # and after
    tail_gap: int = 400
    authoring_validator: bool = False
    observer: bool = False
    lost: str | None = None  # v0 loses its state: "wiped" or "rolled-back"
    clock_skew: int = 0  # wall clocks are off by up to this
    clock_jump: bool = False  # before healing one wall clock jumps by up to an hour
    quorum_judged: int = 0  # certificates are judged by this quorum instead; only a planted fault changes it
    timing: Timing = field(default_factory=Timing)

    @property
    def faults(self) -> int:
        """f, by the simulation's own arithmetic."""
        return (self.validators - 1) // 3

    @property
    def quorum(self) -> int:
        """n - f, by the simulation's own arithmetic."""
        return self.quorum_judged or self.validators - self.faults


def draw(validators: int, seed: int, *, lost: bool = False) -> Swarm:
    """Draw a configuration with at most f faulty validators; one that lost its state counts among them (A10)."""
    rng = Random(f"{validators} {seed} {lost}")
    faulty = min((validators - 1) // 3 - lost, rng.choice((0, 1, 1, 2)))
    return Swarm(
        validators,
        seed,
        heal_at=rng.randrange(1_500, 9_000),
        loss=rng.choice((0.0, 0.02, 0.1, 0.25)),
        duplicate=rng.choice((0.0, 0.0, 0.05)),
        late=rng.choice((0.0, 0.0, 0.02, 0.1)),
        delay=rng.choice((5.0, 20.0, 40.0, 120.0)),
        partition=rng.choice((0.0, 0.1, 0.5)),
        crash=rng.choice((0.0, 0.02, 0.1)),
        crash_at_boundary=rng.choice((0.0, 0.005, 0.03, 0.1)),
        storm=rng.choice((0.0, 0.1, 0.7)),
        sync=rng.choice((0, 0, 2, 15)),
        behaviours=tuple(rng.choice(BEHAVIOURS) for _ in range(faulty)),
        forker=rng.choice((None, None, *FORKERS)),
        blocks=rng.randrange(1, 5),
        tail=rng.choice((0, 1, 1, 2)),
        authoring_validator=rng.random() < 0.2,
        observer=rng.random() < 0.3,
        lost=rng.choice(("wiped", "rolled-back")) if lost else None,
        clock_skew=rng.choice((0, 100, 4_000)),
        clock_jump=rng.random() < 0.1,
    )
