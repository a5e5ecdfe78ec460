"""``glasslog audit``: four verdicts and the rules behind them, as the command line shows them to an auditor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from audit_ledger import write_tiles_folder
from claims_ledger import Story
from glasslog.audit.claims import CUSTODY_RULES


def write_story(folder: Path, story: Story) -> list[str]:
    """Write the ledger and its policy, and return the arguments of an audit."""
    (folder / "log").mkdir(parents=True)
    write_tiles_folder(story.grow(), folder / "log")
    (folder / "policy").write_bytes(story.world.policy.format())
    return [str(folder / "log"), "--policy", str(folder / "policy")]


def glasslog_audit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glasslog_node", "audit", *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_story(tmp_path_factory.mktemp("honest"), Story())


@pytest.fixture(scope="module")
def dishonest(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Story]:
    story = Story().drop("opening").change("summary", compute="1500").change("tune-2", closed="continues")
    return write_story(tmp_path_factory.mktemp("dishonest"), story), story


def test_honest_ledger_shows_four_verdicts(honest: list[str]) -> None:
    result = glasslog_audit(*honest)
    assert result.returncode == 0, result.stderr
    for line in (
        "  ledger       intact",
        "  signer       known",
        "  claims       consistent:",
        "  world        not assessed",
    ):
        assert line in result.stdout


def test_dishonest_claims_in_an_intact_ledger_are_named_and_leave_the_status_alone(
    dishonest: tuple[list[str], Story],
) -> None:
    arguments, story = dishonest
    result = glasslog_audit(*arguments)
    assert result.returncode == 0, result.stderr
    assert "  claims       inconsistent:" in result.stdout
    assert "  fail   compute-mismatch (major)" in result.stdout
    assert f"(leaves {story.indices['summary']}, " in result.stdout
    value = json.loads(glasslog_audit(*arguments, "--json").stdout)
    assert value["status"] == 0
    assert value["judgement"]["verdicts"] == {
        "ledger": "intact", "signer": "known", "claims": "inconsistent", "world": "not assessed",
    }  # fmt: skip
    rules = {one["rule"]: one["result"] for one in value["judgement"]["rules"]}
    assert rules.keys() == CUSTODY_RULES.keys()
    assert {rules[name] for name in ("compute-mismatch", "file-drawer")} == {"fail"}
    assert {rules[name] for name in ("step-gap", "split-view", "unopened-seals")} == {"unable"}


def test_ledger_alone_says_nothing_of_claims(dishonest: tuple[list[str], Story]) -> None:
    arguments, _ = dishonest
    result = glasslog_audit(*arguments, "--ledger-only")
    assert (result.returncode, "verdicts" in result.stdout) == (0, False)
    assert "judgement" not in json.loads(glasslog_audit(*arguments, "--ledger-only", "--json").stdout)
