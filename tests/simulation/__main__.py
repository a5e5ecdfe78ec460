"""Replay one seed with its transcript: ``PYTHONPATH=tests python -m simulation --validators 4 --seed 17``."""

from __future__ import annotations

import argparse
import sys

from simulation.cluster import Cluster
from simulation.invariants import Violation
from simulation.swarm import draw
from simulation.transcript import Transcript


def main() -> int:
    """Print the transcript (or its tail) and the verdict."""
    parser = argparse.ArgumentParser(prog="python -m simulation")
    parser.add_argument("--validators", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--lost", action="store_true", help="a seed of lost state (A10)")
    parser.add_argument("--mutant", help="with this planted fault")
    parser.add_argument("--tail", type=int, default=0, help="only the last lines")
    options = parser.parse_args()
    swarm = draw(options.validators, options.seed, lost=options.lost)
    transcript = Transcript()
    cluster = Cluster(swarm, transcript=transcript)
    verdict = "no violation"
    try:
        cluster.run()
    except Violation as violation:
        verdict = str(violation)
    for line in transcript.lines[-options.tail :]:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{swarm}\n{verdict}\n")
    return int(verdict != "no violation")


if __name__ == "__main__":
    raise SystemExit(main())
