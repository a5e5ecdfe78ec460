"""``glasslog record``, ``journal``, ``attest run`` and ``replay``: custody of a training (specs/custody.md)."""

from __future__ import annotations

import json as json_text
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glasslog_lab.cli.emit import (
    AsJson,
    AuthorName,
    Destination,
    NodeAddress,
    Output,
    ShowPublic,
    SpoolFolder,
    TokenFile,
    Wait,
    emit,
)
from glasslog_lab.errors import ArtifactError

if TYPE_CHECKING:
    from glasslog.predicates.values import Resource
    from glasslog.statement import Statement
    from glasslog_lab.recorder.journal import Journal
    from glasslog_lab.recorder.statements import RunFacts

EXIT_DIVERGED = 1
FOLLOW_SECONDS = 2.0
_PUBLISHABLE = "hyperparameters, environment or seed"


def record(
    command: Annotated[list[str], typer.Argument(help="The training's command, behind --.")],
    folder: Annotated[Path, typer.Option(help="Where the journal is kept.")] = Path("glasslog-records"),
    level: Annotated[int, typer.Option(help="0: metadata only. 2: all parameters every step.")] = 2,
    every: Annotated[int, typer.Option(help="Steps to a segment.", min=1)] = 100,
    seconds: Annotated[float, typer.Option(help="Seconds to a segment, if its steps take longer.", min=1)] = 60.0,
    gradients: Annotated[bool, typer.Option("--gradients", help="Commit to gradients as well.")] = False,
    optimizer_state: Annotated[bool, typer.Option("--optimizer", help="Commit to optimizer state as well.")] = False,
) -> None:
    """Run a PyTorch training and record its every optimizer step, with no code changed."""
    from glasslog_lab.recorder.launch import launch

    if level not in (0, 2):
        raise ArtifactError("RECORD-07", f"there is no level {level}", "choose 0 or 2")
    options = {
        "folder": str(folder.absolute()), "level": level, "every": every, "seconds": seconds, "gradients": gradients,
        "optimizer_state": optimizer_state,
    }  # fmt: skip
    launch(command, options)


def show_journal(
    path: Annotated[Path, typer.Argument(help="A file that the recorder wrote.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Verify a journal offline and say what its chain shows."""
    from glasslog_lab.recorder.journal import read_journal
    from glasslog_lab.recorder.recording import describe_counts

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


def attest_run(  # noqa: PLR0913, PLR0917  Typer's manner: an option is an argument
    path: Annotated[Path, typer.Argument(help="The run's journal, which the recorder wrote.")],
    dataset: Annotated[
        list[str] | None, typer.Option(help="A data set it was trained on, by records root; again for more.")
    ] = None,
    parent: Annotated[str | None, typer.Option(help="The model it began from, by content root.")] = None,
    publish: Annotated[
        list[str] | None, typer.Option(help=f"What to publish besides digests: {_PUBLISHABLE}; again for more.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Send each segment as it ends, until the run is closed. Needs a spool.")
    ] = False,
    show_public: ShowPublic = False,
    json: AsJson = False,
    output: Output = None,
    spool: SpoolFolder = None,
    node: NodeAddress = None,
    token_file: TokenFile = None,
    wait: Wait = False,
    author: AuthorName = None,
) -> None:
    """State a training run and its segments, from its journal: the same statements whenever this is called."""
    from glasslog_lab.recorder.journal import read_journal
    from glasslog_lab.recorder.statements import PUBLISHABLE, RunFacts, journal_statements

    if unknown := [one for one in publish or [] if one not in PUBLISHABLE]:
        raise ArtifactError("RECORD-08", f"{unknown[0]!r} cannot be published", f"choose {_PUBLISHABLE}")
    facts = RunFacts(
        publish=publish or (),
        datasets=tuple(_root(one, "glasslogRecordsV1") for one in dataset or []),
        parent=None if parent is None else _root(parent, "glasslogTensorsV1"),
    )
    to = Destination(
        show_public=show_public, as_json=json, output=output, spool=spool, node=node, wait=wait, token_file=token_file,
        author=author,
    )  # fmt: skip
    if not follow:
        emit(journal_statements(read_journal(path), facts), to, apart=True)
        return
    if spool is None or show_public or output is not None:
        raise ArtifactError(
            "RECORD-09", "--follow sends through a spool alone", "give --spool FOLDER, with --node or not"
        )
    _follow(path, facts, to)


def _follow(path: Path, facts: RunFacts, to: Destination) -> None:
    """Emit what a growing journal comes to have. Begun again it states the same, which the spool and the node know."""
    from glasslog_lab.recorder.journal import JournalTail
    from glasslog_lab.recorder.statements import run_statement, segment_statement

    tail, begun = JournalTail(path), False
    while tail.journal is None or not tail.journal.end.closed:
        ended = tail.poll()
        made: list[Statement] = []
        if tail.journal is not None:
            start = tail.journal.chain.start
            made = [] if begun else [run_statement(start, facts)]
            begun = True
            made += [segment_statement(start, segment, records) for segment, records in ended]
        if made:
            emit(made, to, apart=True)
        else:
            time.sleep(FOLLOW_SECONDS)


def replay(  # noqa: PLR0913, PLR0917  Typer's manner: an option is an argument
    path: Annotated[Path, typer.Argument(help="The run's journal.")],
    function: Annotated[str, typer.Argument(help="module:function that re-executes steps.")],
    beacon: Annotated[str, typer.Option(help="Hexadecimal: the root of a checkpoint published after the run's head.")],
    count: Annotated[int, typer.Option(help="How many segments.")] = 1,
    tolerance: Annotated[float, typer.Option(help="Greatest deviation that is not divergence.")] = 0.0,
    note: Annotated[str, typer.Option(help="How it was done, in words.")] = "",
    show_public: ShowPublic = False,
    json: AsJson = False,
    output: Output = None,
    spool: SpoolFolder = None,
    node: NodeAddress = None,
    token_file: TokenFile = None,
    wait: Wait = False,
    author: AuthorName = None,
) -> None:
    """Re-execute random segments of a run, say whether they come out the same, and state that as a finding."""
    from glasslog_lab.recorder.environment import describe_environment
    from glasslog_lab.recorder.journal import read_journal
    from glasslog_lab.recorder.replay import load_function, replay_run
    from glasslog_lab.recorder.statements import format_probability, replay_statement

    chosen_by = _digest(beacon, "REPLAY-03", "the beacon", "give a checkpoint's root")
    journal = read_journal(path)
    outcome = replay_run(journal, load_function(function), beacon=chosen_by, count=count, tolerance=tolerance)
    same = describe_environment() == dict(journal.chain.start.environment)
    said = replay_statement(journal, outcome, same_environment="same" if same else "different", note=note)
    where = "" if outcome.first_diverged is None else f" at step {outcome.first_diverged}"
    chance = format_probability(outcome.detection)
    typer.echo(f"{outcome.state}{where}: {len(outcome.sampled)} of {outcome.segments} segments replayed", err=True)
    typer.echo(f"one bad segment among them would have been found with probability {chance}", err=True)
    emit([said], Destination(
        show_public=show_public, as_json=json, output=output, spool=spool, node=node, wait=wait, token_file=token_file,
        author=author,
    ))  # fmt: skip
    if outcome.state not in ("exact", "within-tolerance"):
        raise typer.Exit(EXIT_DIVERGED)


def _root(text: str, kind: str) -> Resource:
    from glasslog.predicates.values import Resource

    return Resource(digest={kind: _digest(text, "RECORD-10", "the root", "give 64 hexadecimal digits")})


def _digest(text: str, code: str, what: str, step: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ArtifactError(code, f"{what} {text[:80]!r} is not 32 bytes in hexadecimal", step)
    return digest
