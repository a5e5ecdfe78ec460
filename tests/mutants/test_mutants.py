"""Every fault of the catalogue, planted in a copy of the core, is found, by name."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mutants.campaign import HEADER, WORKERS, find_without_fault, format_table, judge, judge_all
from mutants.catalogue.everything import AREAS, MUTANTS
from mutants.mutant import Edit, Mutant
from mutants.planting import AnchorGone, copy_core, find_gone, plant

SAFETY = [*(f"A{number}" for number in range(1, 11)), "A14", "A15", "L9", "L10"]
LEAST = 25


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_core(tmp_path_factory.mktemp("core"))


@pytest.mark.parametrize("area", AREAS)
def test_every_mutant_is_killed_and_the_sound_core_survives_the_same(area: str, sound: Path) -> None:
    workers = 1 if "PYTEST_XDIST_WORKER" in os.environ else WORKERS
    verdicts = list(judge_all(AREAS[area], sound, workers=workers))
    verdicts.sort(key=lambda verdict: AREAS[area].index(verdict.mutant))
    sys.stdout.write(format_table([HEADER, *(verdict.row for verdict in verdicts)]) + "\n")
    assert [verdict.row for verdict in verdicts if verdict.finding is None] == []
    assert find_without_fault(verdicts, sound) == []


def test_every_safety_rule_has_a_mutant_and_every_mutant_a_name_of_its_own() -> None:
    assert set(SAFETY) <= {mutant.rule for mutant in MUTANTS}
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= LEAST


def test_every_anchor_is_where_it_was() -> None:
    assert find_gone(MUTANTS) == []


def test_mutant_whose_anchor_is_gone_is_named(sound: Path, tmp_path: Path) -> None:
    lost = Mutant("does what was refactored away", "A1", (Edit("ledger.py", "no such line", ""),), ("A1 ",))
    with pytest.raises(AnchorGone, match="MUTANT anchor gone: does what was refactored away"):
        plant(lost, sound, tmp_path)


def test_what_breaks_no_rule_survives(sound: Path) -> None:
    """The judge is no hangman: a change that changes nothing is not killed."""
    harmless = replace(MUTANTS[0], edits=(Edit("ledger.py", "from __future__ import", "from __future__  import"),))
    verdict = judge(harmless, sound, 0, 5)
    assert (verdict.finding, verdict.others) == (None, ())
