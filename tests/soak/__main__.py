"""``deploy/run soak``: the long-running evidence, and one report of it (specs/evidence.md)."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from soak import report
from soak.compiled import SEEDS_COMPARED, CompilationError, compiled_core
from soak.parts import PARTS, ROOT, Outcome, Part, run_part

_NAMES = [part.name for part in PARTS]
_err = Console(stderr=True, highlight=False)


def options_for(part: Part, minutes: float | None, seeds: int | None, *, alone: bool) -> list[str]:
    """Return a campaign's options: all the minutes when it runs alone, else its share of them."""
    if seeds is not None and part.takes_seeds:
        return ["--seeds", str(seeds)]
    if minutes is None or (part.share == 0 and not alone):
        return []
    return ["--minutes", f"{minutes if alone else minutes * part.share:g}"]


def _core(*, interpreted: bool) -> tuple[Path | None, str]:
    if interpreted:
        return None, "interpreted"
    _err.print("soak: compiling the core for the simulation (once for each change of it) ...")
    try:
        core = compiled_core(ROOT / ".venv" / "compiled")
    except CompilationError as error:
        _err.print(f"soak: {error}. The simulation runs interpreted, and slower.")
        return None, "interpreted"
    return core, f"compiled by mypyc; checked against the sources on {SEEDS_COMPARED} seeds"


def soak(
    *,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="Time for all parts together.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of the simulation; other parts run briefly.")] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"Only {', '.join(_NAMES)}; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on standard output.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for report.md, report.json and logs.")] = ROOT / "soak-report",
    resume: Annotated[bool, typer.Option("--resume", help="Add to what the folder holds of the same sources.")] = False,
    interpreted: Annotated[bool, typer.Option("--interpreted", help="Do not compile the core.")] = False,
) -> None:
    """Run the long-running evidence and write one report. Status 0: all held; 1: something failed."""
    if minutes is not None and seeds is not None:
        raise typer.BadParameter("give --minutes or --seeds, not both")
    unknown = sorted(set(only or ()) - set(_NAMES))
    if unknown:
        raise typer.BadParameter(f"there is no part {unknown[0]}; there are {', '.join(_NAMES)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: each part reports what it has
    out.mkdir(parents=True, exist_ok=True)
    chosen = [part for part in PARTS if not only or part.name in set(only)]
    core, how = _core(interpreted=interpreted) if any(part.compiled for part in chosen) else (None, "none ran")
    setting = report.Setting.here(how)
    outcomes: list[Outcome] = []
    for part in chosen:
        _err.print(f"soak: {part.name}: {part.shows}")
        options = options_for(part, minutes, seeds, alone=len(chosen) == 1)
        outcomes.append(run_part(part, out, options, core=core, resume=resume))
        report.write(out / "report.md", report.render(setting, outcomes))
    document = {"setting": vars(setting), "parts": [outcome.as_json() for outcome in outcomes]}
    report.write(out / "report.json", json.dumps(document, indent=1) + "\n")
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")
    held = all(outcome.passed for outcome in outcomes)
    _err.print(f"soak: {'all held' if held else 'SOMETHING FAILED'}; the report is {out / 'report.md'}")
    raise typer.Exit(0 if held else 1)


if __name__ == "__main__":
    typer.run(soak)
