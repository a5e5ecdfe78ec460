"""Replay one seed with its transcript: ``PYTHONPATH=tests python -m simulation --validators 4 --seed 17``."""

from __future__ import annotations

import argparse
import sys

from simulation.cluster import Cluster
from simulation.invariants import Violation
from simulation.planted_faults import FAULTS
from simulation.swarm import draw
from simulation.transcript import Transcript


def run(cluster: Cluster) -> str:
    """Return what was violated."""
    try:
        cluster.run()
    except Violation as violation:
        return str(violation)
    return "no violation"


def main() -> int:
    """Print the transcript (or its tail) and the verdict."""
    parser = argparse.ArgumentParser(prog="python -m simulation")
    parser.add_argument("--validators", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--lost", action="store_true", help="a seed of lost state (A10)")
    parser.add_argument("--fault", help="the name of a planted fault, with its own configuration")
    parser.add_argument("--tail", type=int, default=0, help="only the last lines")
    options = parser.parse_args()
    swarm = draw(options.validators, options.seed, lost=options.lost)
    transcript = Transcript()
    verdict = "no violation"
    if options.fault:
        fault = next(fault for fault in FAULTS if fault.name == options.fault)
        with fault.planted():
            verdict = run(Cluster(fault.swarm(options.seed), fault.make_replica, transcript))
    else:
        verdict = run(Cluster(swarm, transcript=transcript))
    for line in transcript.lines[-options.tail :]:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{swarm}\n{verdict}\n")
    return int(verdict != "no violation")


if __name__ == "__main__":
    raise SystemExit(main())
