"""One report of a long run, in Markdown: what ran on which commit and machine, what held, and what was injected."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soak.parts import PARTS, ROOT, Outcome


@dataclass(frozen=True)
class Setting:
    """Where and on what a run was made."""

    commit: str
    python: str
    machine: str
    core: str
    begun: str

    @classmethod
    def here(cls, core: str) -> Setting:
        """Read it off this machine and checkout."""
        cpus = len(os.sched_getaffinity(0))
        machine = f"{platform.system()} {platform.release()}, {platform.machine()}, {cpus} cores"
        return cls(_commit(), platform.python_version(), machine, core, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout.strip()


def _commit() -> str:
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "unknown (no git checkout)"
    return commit + (" with local changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def cell(value: Any) -> str:
    """Write one value for people: thousands apart, fractions to three digits, no character that ends a table cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return a Markdown table; the first row is its head. No rows but the head: a line that says so."""
    if len(rows) < 2:
        return ["Nothing to list."]
    head, *body = rows
    is_number = [all(isinstance(row[i], int | float) for row in body) for i in range(len(head))]
    lines = [head, ["---:" if number else "---" for number in is_number], *body]
    return ["| " + " | ".join(cell(value) for value in row) + " |" for row in lines]


def render(setting: Setting, outcomes: Iterable[Outcome]) -> str:
    """Return the whole report."""
    outcomes = list(outcomes)
    shows = {part.name: part.shows for part in PARTS}
    held = all(outcome.passed for outcome in outcomes)
    lines = [
        "# Long run",
        "",
        f"**{'All held' if held else 'Something failed'}.** How to read and repeat this: specs/evidence.md.",
        "",
        *table(
            [
                ("what", "value"),
                ("commit", setting.commit),
                ("Python", setting.python),
                ("machine", setting.machine),
                ("core in simulations", setting.core),
                ("begun", setting.begun),
                ("minutes", round(sum(outcome.seconds for outcome in outcomes) / 60, 1)),
            ]
        ),
    ]
    for outcome in outcomes:
        verdict = "held" if outcome.passed else "FAILED"
        lines += ["", f"## {outcome.part}: {verdict}", "", f"{shows[outcome.part].capitalize()}.", ""]
        figures = [("figure", "value"), *outcome.figures.items(), ("seconds", outcome.seconds)]
        lines += table(figures)
        for title, rows in outcome.tables.items():
            lines += ["", f"### {title}", "", *table(rows)]
        if outcome.failures:
            lines += ["", "### Failures", ""]
            for failure in outcome.failures:
                lines += ["```", failure, "```"]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Write whole or not at all."""
    draft = path.with_suffix(path.suffix + ".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
