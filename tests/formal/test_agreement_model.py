"""The voting rules as a model (specs/agreement.qnt): its scenarios, its invariants, and what must break them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from formal.tool import SPECS, Quint, write_module

SAMPLES = float(os.environ.get("GLASSLOG_FORMAL_SAMPLES", "1"))  # times as many: for long runs
INSTANCES, SCENARIOS = "agreement_instances.qnt", "agreement_scenarios.qnt"
# Every model run is repeatable: a seed, and the simulator that needs no download.
SIMULATOR = ("--backend=typescript", "--seed=1")


@dataclass(frozen=True)
class Network:
    """An instance that keeps every invariant, how much of it is looked at, and what that has to reach."""

    name: str
    samples: int
    steps: int
    reached: tuple[str, ...]


NETWORKS = (
    Network("four", 25, 100, ("twoHeightsAreFinal", "viewIsSkipped", "notarizedAndNullified", "leaderEquivocates")),
    Network("seven", 10, 100, ("heightIsFinal", "leaderEquivocates")),
    Network("fourWithLoss", 12, 100, ("heightIsFinal",)),
    Network("sevenWithLoss", 6, 100, ("leaderEquivocates",)),
)


@pytest.mark.parametrize("scenarios", ["scenarios", "lossScenarios", "forkScenario"])
def test_scenarios_are_behaviours_of_the_model(quint: Quint, tmp_path: Path, scenarios: str) -> None:
    module = write_module(tmp_path, SCENARIOS, scenarios)
    status, said = quint("test", str(module), "--max-samples=1", *SIMULATOR)
    written = re.findall(r"^  run (\w+Test)\b", module.read_text(), re.MULTILINE)
    assert (status, sorted(re.findall(r"ok (\w+) passed", said))) == (0, sorted(written)), said


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_invariants_hold_with_at_most_f_faulty(quint: Quint, tmp_path: Path, network: Network) -> None:
    status, said = explore(
        quint, write_module(tmp_path, INSTANCES, network.name), "safe",
        round(network.samples * SAMPLES), network.steps, network.reached,
    )  # fmt: skip
    sys.stdout.write(f"{network.name}: {said}\n")
    assert status == 0, said
    for witness in network.reached:
        times = re.search(rf"^{witness} was witnessed in (\d+) trace", said, re.MULTILINE)
        assert times is not None, said
        assert int(times.group(1)) > 0, said


@pytest.mark.parametrize("network", ["tooManyFaulty", "smallQuorum"])
def test_one_fault_too_many_forks_the_ledger(quint: Quint, tmp_path: Path, network: str) -> None:
    status, said = explore(quint, write_module(tmp_path, INSTANCES, network), "finalizedChainsArePrefixes", 300, 50)
    sys.stdout.write(f"{network}: {said}\n")
    assert status != 0, said
    assert "[violation] Found an issue" in said


# A rule of the model, what takes its place, and the instance and invariant that notice.
WEAKENED = {
    "A1": (
        "and no other\n    maySign(m, p.view),\n    not(hasSigned(m, Notarize, p.view)), // A1\n",
        "and no other\n    maySign(m, p.view),\n",
        "oneNotarizePerView",
    ),
    "A2": ("forall(skipped => knows(m, Nullify, skipped))", "forall(skipped => true)", "ancestorsNotarized"),
    "A3": (
        "    not(hasSigned(m, Finalize, view)),\n    not(hasSigned(m, Nullify, view)),\n",
        "",
        "noFinalizeWithNullify",
    ),
    "A8": ("restart(v, disk.get(v)),", "restart(v, { ...disk.get(v), votes: Set() }),", "sentIsDurable"),
}


@pytest.mark.parametrize("rule", WEAKENED)
def test_rule_taken_from_the_model_is_missed(quint: Quint, tmp_path: Path, rule: str) -> None:
    text, weaker, invariant = WEAKENED[rule]
    model = (SPECS / "agreement.qnt").read_text()
    assert model.count(text) == 1
    (tmp_path / "agreement.qnt").write_text(model.replace(text, weaker))
    shutil.copy(SPECS / INSTANCES, tmp_path / INSTANCES)
    module = write_module(tmp_path, INSTANCES, "four")
    module.write_text(re.sub(r'from "[^"]*/agreement"', 'from "./agreement"', module.read_text()))
    status, said = explore(quint, module, invariant, 150, 80)
    assert status != 0, said
    assert "[violation] Found an issue" in said


def explore(
    quint: Quint, module: Path, invariant: str, samples: int, steps: int, witnesses: tuple[str, ...] = ()
) -> tuple[int, str]:
    """Sample behaviours of a module, none longer than so many steps, until one breaks the invariant."""
    return quint(
        "run", str(module), f"--invariant={invariant}", f"--max-samples={samples}", f"--max-steps={steps}",
        *SIMULATOR, "--verbosity=1", *(("--witnesses", *witnesses) if witnesses else ()),
    )  # fmt: skip
