"""Run a seed; when it fails, run it again with a transcript and say how to repeat it."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from glasslog.agreement.replica import Replica
from simulation.cluster import Cluster, MakeReplica
from simulation.invariants import Violation
from simulation.swarm import Swarm, draw
from simulation.transcript import Transcript

TAIL = 60
FIXED = ("validators", "seed", "timing")  # what no ``--set`` changes


@dataclass
class Tally:
    """What a number of runs added up to."""

    seeds: int = 0
    events: int = 0
    simulated_ms: int = 0
    views_max: int = 0  # from healing to everything final and published
    faults: Counter[str] = field(default_factory=Counter[str])
    behaviours: Counter[str] = field(default_factory=Counter[str])  # of faulty validators and authors, by seeds
    deeds: Counter[str] = field(default_factory=Counter[str])  # of faulty validators
    evidence: Counter[str] = field(default_factory=Counter[str])  # in ledgers, by what it convicts of
    waited: Counter[int] = field(default_factory=Counter[int])  # ms from healing to everything final and published

    def add(self, cluster: Cluster) -> None:
        """Count one run that held."""
        swarm = cluster.swarm
        self.seeds += 1
        self.events += cluster.events
        self.simulated_ms += cluster.now
        self.views_max = max(self.views_max, cluster.views_used)
        self.waited[cluster.now - swarm.heal_at] += 1
        self.faults.update(+cluster.faults)  # without what was counted as none
        self.deeds.update(cluster.deeds)
        self.evidence.update(cluster.evidence)
        self.behaviours.update({*swarm.behaviours, *([f"author: {swarm.forker}"] if swarm.forker else [])})

    def merge(self, other: Tally) -> None:
        """Add another tally's runs."""
        self.seeds += other.seeds
        self.events += other.events
        self.simulated_ms += other.simulated_ms
        self.views_max = max(self.views_max, other.views_max)
        for mine, theirs in (
            (self.faults, other.faults),
            (self.behaviours, other.behaviours),
            (self.deeds, other.deeds),
            (self.evidence, other.evidence),
        ):
            mine.update(theirs)
        self.waited.update(other.waited)

    @property
    def hours(self) -> float:
        """Simulated hours."""
        return self.simulated_ms / 3_600_000

    def quantile(self, share: float) -> int:
        """How long the liveness phase of this share of the runs took at most, in ms."""
        left = share * self.waited.total()
        for waited, count in sorted(self.waited.items()):
            left -= count
            if left <= 0:
                return waited
        return 0

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {name}" for name, count in sorted((self.faults + self.behaviours).items()))
        worst = f"at most {max(self.waited, default=0) / 1000} s and {self.views_max} views to heal"
        return f"{self.seeds} seeds, {self.events} events, {self.hours:.2f} h simulated, {worst}: {faults}"


def run_to_end(cluster: Cluster) -> str | None:
    """Run and return what was violated, if anything. The core never raises, so what it raises is a violation too."""
    try:
        cluster.run()
    except Violation as violation:
        return str(violation)
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed is worth more than a traceback
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"CRASH at {cluster.now}: {type(error).__name__} {error} in {Path(frame.filename).name}:{frame.lineno}"
    return None


def find_violation(swarm: Swarm, make_replica: MakeReplica = Replica) -> str | None:
    """Run once and return what was violated, if anything."""
    return run_to_end(Cluster(swarm, make_replica))


def check(swarm: Swarm, tally: Tally) -> None:
    """Run once; on a violation raise with the transcript's tail and the command that repeats it."""
    cluster = Cluster(swarm)
    violation = run_to_end(cluster)
    if violation is not None:
        raise Violation(explain(swarm, violation))
    tally.add(cluster)


def explain(swarm: Swarm, violation: str, make_replica: MakeReplica = Replica) -> str:
    """Repeat a failing seed and tell the story of its last moments."""
    transcript = Transcript()
    again = run_to_end(Cluster(swarm, make_replica, transcript))
    if again != violation:
        violation += f" (NOT DETERMINISTIC: the second time it was {again})"
    return f"{violation}\n{tell_tail(transcript.lines)}\n{swarm}\nseed {swarm.seed}, replay: {command_of(swarm)}"


def tell_tail(lines: Iterable[str]) -> str:
    """The last lines that say something: statuses and ticks repeat themselves."""
    telling = [line for line in lines if "status" not in line and not line.endswith("tick")]
    return "\n".join(telling[-TAIL:])


# --- a configuration in words -----------------------------------------------------------------------


def command_of(swarm: Swarm, fault: str | None = None) -> str:
    """The shortest command that repeats this very run: from what its seed draws, or from a plain configuration."""
    command = f"PYTHONPATH=tests python -m simulation --validators {swarm.validators} --seed {swarm.seed}"
    lost = " --lost" if swarm.lost else ""
    fault = f" --fault '{fault}'" if fault else ""
    drawn = draw(swarm.validators, swarm.seed, lost=bool(swarm.lost))
    bases = (
        {" --plain": Swarm(swarm.validators, swarm.seed)}
        if fault
        else {lost: drawn, " --plain": Swarm(swarm.validators, swarm.seed)}
    )
    return command + fault + min((option + list_changes(base, swarm) for option, base in bases.items()), key=len)


def list_changes(base: Swarm, swarm: Swarm) -> str:
    """The options that make the one configuration of the other."""
    before = asdict(base)
    return "".join(
        f" --set {name}={_say(value)}"
        for name, value in asdict(swarm).items()
        if name not in FIXED and value != before[name]
    )


def _say(value: object) -> str:
    if value is None or value == ():
        return "none"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"'{text}'" if " " in text else text


def adapt(swarm: Swarm, settings: Iterable[str]) -> Swarm:
    """Return the configuration with each ``name=value`` put in.

    Raises:
        ValueError: no such setting, or not a value of its type.
    """
    types = {field.name: str(field.type) for field in fields(Swarm) if field.name not in FIXED}
    changes = dict[str, Any]()
    for setting in settings:
        name, _, text = setting.partition("=")
        match types.get(name):
            case "int":
                changes[name] = int(text)
            case "float":
                changes[name] = float(text)
            case "bool" if text in {"True", "False"}:
                changes[name] = text == "True"
            case "str":
                changes[name] = text
            case "str | None":
                changes[name] = None if text == "none" else text
            case "tuple[str, ...]":
                changes[name] = () if text == "none" else tuple(text.split(","))
            case _:
                raise ValueError(f"{setting}: known settings are {', '.join(types)}")
    return replace(swarm, **changes)
