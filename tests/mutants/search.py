"""Look for one mutant's violation, in the process that runs on its copy: ``python -m mutants.search COPY ...``.

Prints one line of JSON: how many seeds were run, what was found, and what else was found on the way.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import glasslog
from mutants.catalogue.everything import MUTANTS
from mutants.mutant import Mutant

OTHERS_MAX = 8  # so often found, and never as expected: the mutant's findings have to be thought about


def search(mutant: Mutant, first: int, seeds: int) -> dict[str, object]:
    """Run seeds until one of the mutant's findings comes. Others are noted: they are the rule's, or another's."""
    others = list[str]()
    for seed in range(first, first + seeds):
        finding = mutant.world.run(seed)
        if finding is not None and finding.startswith(mutant.findings):
            return {"seeds": seed - first + 1, "seed": seed, "finding": finding, "others": others}
        if finding is not None:
            others.append(f"seed {seed}: {finding}")
        if len(others) == OTHERS_MAX:
            return {"seeds": seed - first + 1, "seed": -1, "finding": None, "others": others}
    return {"seeds": seeds, "seed": -1, "finding": None, "others": others}


def run_tests(tests: list[str]) -> dict[str, object]:
    """Run tests of the suite on this copy."""
    import pytest

    said = io.StringIO()
    with redirect_stdout(said):
        code = pytest.main(["-q", "-x", "-rf", "--tb=no", "--no-header", "-p", "no:cacheprovider", *tests])
    lines = said.getvalue().splitlines()
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return {"seeds": 0, "seed": -1, "finding": None, "others": lines}
    failed = [line.split("::")[-1] for line in lines if line.startswith("FAILED")]
    return {"seeds": 0, "seed": -1, "finding": f"failed {failed[0]}" if failed else None, "others": []}


def main() -> int:
    """Search, or repeat seeds on the sound copy."""
    parser = argparse.ArgumentParser(prog="python -m mutants.search")
    parser.add_argument("copy", type=Path)
    parser.add_argument("--mutant")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--test", nargs="*", default=[])
    parser.add_argument("--repeat", nargs="*", default=[], help="SEED:MUTANT, whose world is run with that seed")
    options = parser.parse_args()
    assert Path(str(glasslog.__file__)).is_relative_to(options.copy), f"this is not the copy: {glasslog.__file__}"
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    if options.repeat:
        pairs = [pair.split(":", 1) for pair in options.repeat]
        findings = [by_name[name].world.run(int(seed)) for seed, name in pairs]
        bad = [f"{pair}: {finding}" for pair, finding in zip(options.repeat, findings, strict=True) if finding]
        result: dict[str, object] = {"seeds": len(pairs), "seed": -1, "finding": None, "others": bad}
    elif options.test:
        result = run_tests(options.test)
    else:
        result = search(by_name[options.mutant], options.first_seed, options.seeds)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
