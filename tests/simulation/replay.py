"""Run a seed; when it fails, run it again with a transcript and say how to repeat it."""

from __future__ import annotations

from dataclasses import dataclass, field

from glasslog.agreement.replica import Replica
from simulation.cluster import Cluster, MakeReplica
from simulation.invariants import Violation
from simulation.swarm import Swarm
from simulation.transcript import Transcript

TAIL = 60


@dataclass
class Tally:
    """What a number of runs added up to."""

    seeds: int = 0
    events: int = 0
    simulated_ms: int = 0
    faults: dict[str, int] = field(default_factory=dict[str, int])
    waited: list[int] = field(default_factory=list[int])  # ms from healing to everything final and published

    def add(self, cluster: Cluster) -> None:
        self.seeds += 1
        self.events += cluster.events
        self.simulated_ms += cluster.now
        self.waited.append(cluster.now - cluster.swarm.heal_at)
        for name, count in cluster.faults.items():
            self.faults[name] = self.faults.get(name, 0) + count

    def __str__(self) -> str:
        hours = self.simulated_ms / 3_600_000
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        worst = max(self.waited, default=0) / 1000
        return f"{self.seeds} seeds, {self.events} events, {hours:.2f} h simulated, at most {worst} s to heal: {faults}"


def find_violation(swarm: Swarm, make_replica: MakeReplica = Replica) -> str | None:
    """Run once and return what was violated, if anything."""
    try:
        Cluster(swarm, make_replica).run()
    except Violation as violation:
        return str(violation)
    return None


def check(swarm: Swarm, tally: Tally) -> None:
    """Run once; on a violation raise with the transcript's tail and the command that repeats it."""
    cluster = Cluster(swarm)
    try:
        cluster.run()
    except Violation as violation:
        raise Violation(explain(swarm, str(violation))) from None
    tally.add(cluster)


def explain(swarm: Swarm, violation: str) -> str:
    """Repeat a failing seed and tell the story of its last moments."""
    transcript = Transcript()
    try:
        Cluster(swarm, transcript=transcript).run()
    except Violation:
        pass
    else:
        violation += " (NOT DETERMINISTIC: it did not happen again)"
    lost = " --lost" if swarm.lost else ""
    command = f"PYTHONPATH=tests python -m simulation --validators {swarm.validators} --seed {swarm.seed}{lost}"
    tail = "\n".join(line for line in transcript.lines if "status" not in line and not line.endswith("tick"))
    tail = "\n".join(tail.split("\n")[-TAIL:])
    return f"{violation}\n{tail}\n{swarm}\nseed {swarm.seed}, replay: {command}"
