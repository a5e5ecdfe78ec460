"""``glasslog record``, ``replay`` and ``journal``: custody of a training from the command line (specs/custody.md)."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from glasslog_lab.errors import ArtifactError
from glasslog_lab.recorder.journal import Journal, read_journal
from glasslog_lab.recorder.recording import describe_counts
from glasslog_lab.recorder.replay import load_function, replay_run

EXIT_DIVERGED = 1


def record(
    command: Annotated[list[str], typer.Argument(help="The training's command, behind --.")],
    folder: Annotated[Path, typer.Option(help="Where the journal is kept.")] = Path("glasslog-records"),
    level: Annotated[int, typer.Option(help="0: metadata only. 2: all parameters every step.")] = 2,
    every: Annotated[int, typer.Option(help="Steps to a segment.")] = 100,
    gradients: Annotated[bool, typer.Option("--gradients", help="Commit to gradients as well.")] = False,
    optimizer_state: Annotated[bool, typer.Option("--optimizer", help="Commit to optimizer state as well.")] = False,
) -> None:
    """Run a PyTorch training and record its every optimizer step, with no code changed."""
    from glasslog_lab.recorder.launch import launch

    if level not in (0, 2):
        raise ArtifactError("RECORD-07", f"there is no level {level}", "choose 0 or 2")
    options = {
        "folder": str(folder.absolute()), "level": level, "every": every, "gradients": gradients,
        "optimizer_state": optimizer_state,
    }  # fmt: skip
    launch(command, options)


def show_journal(
    path: Annotated[Path, typer.Argument(help="A file that the recorder wrote.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Verify a journal offline and say what its chain shows."""
    journal = read_journal(path)
    if json:
        typer.echo(json_text.dumps(describe_journal(journal)))
        return
    end = journal.end
    typer.echo(describe_counts(end.counts))
    said = "every update is committed" if end.every_update_committed else "not every update is committed"
    typer.echo(f"run {end.run.hex()}, level L{int(end.level)}: {said}; head {end.head.hex()}")
    if not end.closed:
        typer.echo(f"not closed; {journal.torn} bytes at the end are torn")


def describe_journal(journal: Journal) -> dict[str, object]:
    """Return what a journal shows, for ``--json``."""
    end = journal.end
    counts = {name: getattr(end.counts, name) for name in end.counts.__dataclass_fields__}
    return {
        "run": end.run.hex(), "level": int(end.level), "head": end.head.hex(), "lastStep": end.last_step,
        "params": end.params.hex() if end.params else None, "segments": end.segments, "closed": end.closed,
        "everyUpdateCommitted": end.every_update_committed, "tornBytes": journal.torn, "counts": counts,
    }  # fmt: skip


def replay(
    path: Annotated[Path, typer.Argument(help="The run's journal.")],
    function: Annotated[str, typer.Argument(help="module:function that re-executes steps.")],
    beacon: Annotated[str, typer.Option(help="Hexadecimal: the root of a checkpoint published after the run's head.")],
    count: Annotated[int, typer.Option(help="How many segments.")] = 1,
    tolerance: Annotated[float, typer.Option(help="Greatest deviation that is not divergence.")] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Re-execute random segments of a run and say whether they come out the same."""
    try:
        chosen_by = bytes.fromhex(beacon)
    except ValueError as error:
        raise ArtifactError("REPLAY-03", "the beacon is not hexadecimal", "give a checkpoint's root") from error
    outcome = replay_run(
        read_journal(path), load_function(function), beacon=chosen_by, count=count, tolerance=tolerance
    )  # fmt: skip
    chance = f"{float(outcome.detection):.4f}"
    where = "" if outcome.first_diverged is None else f" at step {outcome.first_diverged}"
    if json:
        made = {
            "run": outcome.run.hex(), "segments": outcome.segments, "sampled": list(outcome.sampled),
            "state": outcome.state, "firstDiverged": outcome.first_diverged, "bound": outcome.bound,
            "detectionProbability": chance,
        }  # fmt: skip
        typer.echo(json_text.dumps(made))
    else:
        typer.echo(f"{outcome.state}{where}: {len(outcome.sampled)} of {outcome.segments} segments replayed")
        typer.echo(f"one bad segment among them would have been found with probability {chance}")
    if outcome.state not in ("exact", "within-tolerance"):
        raise typer.Exit(EXIT_DIVERGED)
