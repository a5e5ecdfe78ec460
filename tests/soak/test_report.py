"""The one report of a long run: what a part wrote is shown whole, and what it did not write is a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soak.__main__ import options_for
from soak.parts import PARTS, Outcome, Part
from soak.report import Setting, cell, render, table, write

SETTING = Setting("0123456789ab", "3.11.7", "Linux, 2 cores", "interpreted", "2026-01-01 00:00 UTC")
SIMULATION = next(part for part in PARTS if part.name == "simulation")
MUTANTS = next(part for part in PARTS if part.name == "mutants")
GOOD: dict[str, Any] = {
    "part": "simulation",
    "passed": True,
    "seconds": 12.5,
    "figures": {"seeds": 300_000, "simulated hours": 1000.4},
    "tables": {"faults": [["kind", "count"], ["crash", 5]]},
    "failures": [],
}


def read(tmp_path: Path, text: str, status: int = 0, part: Part = SIMULATION) -> Outcome:
    file = tmp_path / "part.json"
    write(file, text)
    return Outcome.read(part, file, status=status, seconds=3.0)


def test_report_shows_every_figure_table_and_failure(tmp_path: Path) -> None:
    bad = GOOD | {"passed": False, "failures": ["A1 v0 notarizes twice\npython -m simulation --seed 7"]}
    text = render(SETTING, [read(tmp_path, json.dumps(GOOD)), read(tmp_path, json.dumps(bad), 1, MUTANTS)])
    for words in ("0123456789ab", "| seeds | 300,000 |", "| simulated hours | 1,000 |", "### faults", "| crash | 5 |"):
        assert words in text
    assert "## simulation: held" in text
    assert "## mutants: FAILED" in text
    assert "**Something failed.**" in text
    assert "python -m simulation --seed 7" in text
    assert "**All held.**" in render(SETTING, [read(tmp_path, json.dumps(GOOD))])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", json.dumps(GOOD)[:-9], json.dumps({**GOOD, "failures": None})]
)
def test_part_without_readable_report_has_failed(tmp_path: Path, text: str) -> None:
    outcome = read(tmp_path, text, status=-9)
    assert not outcome.passed
    assert outcome.failures[0].startswith("simulation ended with -9 and left no readable report")


def test_part_that_reports_success_and_ends_badly_has_failed(tmp_path: Path) -> None:
    outcome = read(tmp_path, json.dumps(GOOD), status=-11)
    assert not outcome.passed
    assert outcome.figures == GOOD["figures"]


def test_minutes_are_shared_out_and_seeds_go_to_the_simulation_alone() -> None:
    shared = [options_for(part, 100.0, None, alone=False) for part in PARTS]
    given_out = [float(options[1]) for options in shared if options]
    assert sum(given_out) == pytest.approx(100)
    assert options_for(SIMULATION, 100.0, None, alone=True) == ["--minutes", "100"]
    assert options_for(SIMULATION, None, 7, alone=False) == ["--seeds", "7"]
    assert all(options_for(part, None, 7, alone=False) == [] for part in PARTS if part is not SIMULATION)


CELLS = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())


@given(st.lists(st.tuples(CELLS, CELLS), min_size=2, max_size=5))
def test_table_keeps_its_columns_whatever_the_cells_hold(rows: list[tuple[Any, Any]]) -> None:
    for line in table(rows):
        assert "\n" not in line
        assert line.replace("\\|", "").count("|") == 3


def test_cells_are_for_people() -> None:
    assert [cell(value) for value in (1234567, 0.12345, 12345.6, True)] == ["1,234,567", "0.123", "12,346", "yes"]
