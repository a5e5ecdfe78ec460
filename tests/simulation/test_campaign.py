"""A long run deals every seed once, can be interrupted and go on, and reports what it found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulation import campaign
from simulation.campaign import SHARES, Group, Plan, Results, Span, join_spans, run_chunk
from simulation.swarm import Swarm

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "tests"), str(ROOT / "protocol")))}


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulation.campaign", "--workers", "1", *options]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def run(*options: str) -> int:
    process = start(*options)
    process.communicate()
    return process.returncode


def seeds_by_network(report: dict[str, Any]) -> dict[tuple[int, bool], int]:
    return {(each["validators"], each["lost"]): each["spans"][-1][1] for each in report["resume"]["groups"]}


def deal(plan: Plan, most: int = 2_000) -> list[tuple[Group, Span]]:
    dealt = list[tuple[Group, Span]]()
    while len(dealt) < most and (chunk := plan.deal()):
        dealt.append(chunk)
    return dealt


def test_shares_are_of_one_whole_and_one_seed_in_twentyfive_loses_state() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)
    assert sum(share for (_, lost), share in SHARES.items() if lost) >= 1 / 25
    assert {validators for validators, _ in SHARES} == set(range(4, 14))


def test_plan_deals_as_many_seeds_as_asked_for_in_their_shares_and_none_twice() -> None:
    dealt = deal(Plan(Results(), 100, amnesia=False, seeds=10_000))
    seeds = [(group, seed) for group, span in dealt for seed in range(*span)]
    assert len(seeds) == len(set(seeds)) == 10_000
    assert min(seed for _, seed in seeds) == 100
    for group, share in SHARES.items():
        assert sum(each == group for each, _ in seeds) == pytest.approx(share * 10_000, abs=60)


def test_amnesia_deals_lost_state_only() -> None:
    dealt = deal(Plan(Results(), 0, amnesia=True, seeds=500))
    assert {lost for (_, lost), _ in dealt} == {True}


def test_plan_goes_on_after_what_is_done_and_fills_gaps() -> None:
    results = Results()
    results.spans = {group: [(0, 5), (7, 9)] for group in SHARES}
    dealt = deal(Plan(results, 0, amnesia=False, seeds=2_000))
    four = [span for group, span in dealt if group == (4, False)]
    assert four[0] == (5, 7)
    assert four[1][0] == 9
    assert join_spans([(0, 5), (7, 9), *four]) == [(0, four[-1][1])]


def test_campaign_runs_reports_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "simulation.json"
    assert run("--seeds", "6", "--json", str(path)) == 0
    first = json.loads(path.read_text())
    assert run("--seeds", "6", "--resume", str(path), "--json", str(path)) == 0
    report = json.loads(path.read_text())
    assert (first["figures"]["seeds"], report["figures"]["seeds"]) == (6, 12)
    assert sum(seeds_by_network(report).values()) == 12
    assert report["figures"]["events"] > first["figures"]["events"] > 0
    assert report["seconds"] > first["seconds"]
    assert {"part", "passed", "seconds", "figures", "tables", "failures"} < report.keys()
    assert (report["part"], report["passed"], report["failures"]) == ("simulation", True, [])
    faults = dict(report["tables"]["Faults injected"][1:])
    assert report["figures"]["faults injected"] == sum(faults.values()) > 0
    for rows in report["tables"].values():
        assert {len(row) for row in rows} == {len(rows[0])}


def test_results_survive_being_written_and_other_sources_are_refused(tmp_path: Path) -> None:
    path, results = tmp_path / "kept.json", Results()
    results.add(run_chunk((4, True), (3, 6)))
    results.seconds = 2.0
    kept = results.to_json(1)
    path.write_text(json.dumps(kept))
    again = Results.resumed(path)
    assert again.to_json(1) == kept
    results.sources = "another"
    path.write_text(json.dumps(results.to_json(1)))
    with pytest.raises(ValueError, match="other sources"):
        Results.resumed(path)


def test_interrupted_campaign_writes_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "simulation.json"
    process = start("--minutes", "10", "--json", str(path))
    assert process.stderr is not None
    assert "seeds" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate()
    report = json.loads(path.read_text())
    assert process.returncode == 0
    assert report["figures"]["seeds"] == sum(seeds_by_network(report).values()) > 0


def test_violation_is_cut_down_and_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(validators: int, seed: int, *, lost: bool = False) -> Swarm:
        return Swarm(validators, seed, behaviours=("silent", "silent"), deadline=6_000, loss=0.1)

    monkeypatch.setattr(campaign, "draw", draw)
    results = Results()
    results.add(run_chunk((4, False), (0, 1)))
    report: Any = json.loads(json.dumps(results.to_json(1)))
    assert report["passed"] is False
    assert report["figures"]["violations"] == 1
    validators, seed, violation, replay = report["tables"]["Violations"][1]
    assert (validators, seed) == (4, 0)
    assert violation.startswith("LIVENESS after")
    assert "--set behaviours=silent,silent" in replay
    assert "--set loss" not in replay
    assert "nullify view 1" in report["failures"][0]
