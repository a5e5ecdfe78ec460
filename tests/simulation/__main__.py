"""Replay one seed with its transcript: ``PYTHONPATH=tests python -m simulation --validators 4 --seed 17``."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext

from glasslog.agreement.replica import Replica
from simulation.cluster import Cluster, MakeReplica
from simulation.planted_faults import FAULTS
from simulation.replay import adapt, command_of, find_violation, run_to_end, tell_tail
from simulation.shrink import shrink
from simulation.swarm import Swarm, draw
from simulation.transcript import Transcript


def replay(swarm: Swarm, make_replica: MakeReplica) -> tuple[list[str], str | None]:
    """Return the transcript and what was violated."""
    transcript = Transcript()
    return transcript.lines, run_to_end(Cluster(swarm, make_replica, transcript))


def main() -> int:
    """Print the transcript (or its tail) and the verdict."""
    parser = argparse.ArgumentParser(prog="python -m simulation")
    parser.add_argument("--validators", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--lost", action="store_true", help="a seed of lost state (A10)")
    parser.add_argument("--plain", action="store_true", help="a configuration without faults, not what the seed draws")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting, as in Swarm")
    parser.add_argument("--fault", help="the name of a planted fault, with its own configuration")
    parser.add_argument("--tail", type=int, default=0, help="only the last lines")
    parser.add_argument("--shrink", action="store_true", help="cut a failing configuration down first")
    options = parser.parse_args()
    fault = next((fault for fault in FAULTS if fault.name == options.fault), None)
    if options.fault and fault is None:
        parser.error(f"planted faults are: {', '.join(fault.name for fault in FAULTS)}")
    swarm = draw(options.validators, options.seed, lost=options.lost)
    swarm = fault.adapt(swarm) if fault else swarm
    try:
        swarm = adapt(Swarm(options.validators, options.seed) if options.plain else swarm, options.set)
    except ValueError as error:
        parser.error(str(error))
    make_replica = fault.make_replica if fault else Replica
    with fault.planted() if fault else nullcontext():
        shrunk = shrink(swarm, lambda one: find_violation(one, make_replica)) if options.shrink else None
        lines, verdict = replay(shrunk.swarm if shrunk else swarm, make_replica)
    if shrunk:
        swarm, lines = shrunk.swarm, tell_tail(lines).split("\n")
    for line in lines[-options.tail :]:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{swarm}\n{verdict or 'no violation'}\n")
    if shrunk:
        sys.stdout.write(f"cut down in {shrunk.runs} runs, replay: {command_of(swarm, options.fault)}\n")
    return int(verdict is not None)


if __name__ == "__main__":
    raise SystemExit(main())
