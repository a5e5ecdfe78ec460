"""The networks a mutant is looked for in: the swarm's own seeds, or these with what a fault needs to show soon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from glasslog.agreement.config import ReplicaConfig
from glasslog.agreement.durable import Durable
from glasslog.agreement.replica import Replica
from mutants.liars import Liar
from simulation.cluster import Cluster
from simulation.invariants import Violation
from simulation.swarm import Swarm, draw


def as_drawn(swarm: Swarm) -> Swarm:
    """The seed's own configuration."""
    return swarm


@dataclass(frozen=True)
class World:
    """How a seed becomes a run. ``liar`` takes the place of the faulty validators' replicas."""

    name: str = "ordinary"
    validators: int = 4
    lost: bool = False
    adapt: Callable[[Swarm], Swarm] = as_drawn
    liar: type[Liar] | None = None

    def swarm(self, seed: int) -> Swarm:
        """The configuration of one seed."""
        swarm = self.adapt(draw(self.validators, seed, lost=self.lost))
        if self.liar is None:
            return swarm
        return replace(swarm, behaviours=(self.liar.carrier,) * (swarm.faults - self.lost))

    def run(self, seed: int) -> str | None:
        """Run one seed and say what was violated; of a core that fell: what it fell over."""
        swarm = self.swarm(seed)
        names = {f"v{number}" for number in range(swarm.validators - len(swarm.behaviours), swarm.validators)}
        liar = self.liar

        def make(config: ReplicaConfig, durable: Durable) -> Replica:
            return Replica(config, durable) if liar is None or config.name not in names else liar(config, durable)

        try:
            Cluster(swarm, make).run()
        except Violation as violation:
            return str(violation)
        except Exception as error:  # noqa: BLE001 - whatever a broken core falls over is a finding
            return f"CRASH {type(error).__name__} {error}"
        return None


def _storms(swarm: Swarm) -> Swarm:
    return replace(swarm, behaviours=("silent",), crash_at_boundary=0.1, storm=1.0, loss=0.25)


def _steady_load(swarm: Swarm) -> Swarm:
    return replace(swarm, behaviours=("silent",), tail=30, tail_gap=250)


def _lossy(swarm: Swarm) -> Swarm:
    return replace(swarm, behaviours=("silent",), loss=0.4)


def _forking(swarm: Swarm) -> Swarm:
    return replace(swarm, forker="forking")


def _misnumbering(swarm: Swarm) -> Swarm:
    return replace(swarm, forker="misnumbering")


def _last_words(swarm: Swarm) -> Swarm:
    return replace(swarm, behaviours=("silent",), loss=0.25, delay=120.0, tail=0)


def _late(swarm: Swarm) -> Swarm:
    return replace(swarm, late=0.4, blocks=8)


def _jumping(swarm: Swarm) -> Swarm:
    return replace(swarm, clock_jump=True, blocks=8)


def _withheld(swarm: Swarm) -> Swarm:
    return replace(swarm, behaviours=("withholding",) * swarm.faults, loss=0.25)


def _wiped(swarm: Swarm) -> Swarm:
    return replace(
        swarm, lost="wiped", losers=1, losses=1, heal_at=8_000, blocks=12, loss=0.02, partition=0.0, pause=0.0
    )


def _silent(swarm: Swarm) -> Swarm:
    return replace(swarm, behaviours=("silent",) * swarm.faults)


ORDINARY = World()
FIVE = World("n = 5", 5)
LOST = World("state lost", lost=True)
LAST_WORDS = World("nothing new after healing", adapt=_last_words)
LATE = World("40 % come late", adapt=_late)
JUMPING = World("clocks jump", adapt=_jumping)
WITHHELD = World("f withholding", adapt=_withheld)
STORMS = World("crash storms", adapt=_storms)
STEADY_LOAD = World("steady load", adapt=_steady_load)
LOSSY = World("40 % loss", adapt=_lossy)
SILENT = World("f silent", adapt=_silent)
FORKED = World("forking author", adapt=_forking)


def lying(liar: type[Liar], *, validators: int = 4, forker: str = "", lost: bool = False) -> World:
    """A world whose faulty validators tell this lie, as many as leave room for one that loses its state."""
    adapt = _wiped if lost else {"": as_drawn, "forking": _forking, "misnumbering": _misnumbering}[forker]
    return World(f"liar: {liar.lie}", validators, lost, adapt, liar)
