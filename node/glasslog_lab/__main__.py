"""The lab's commands: ``python -m glasslog_lab attest PATH``."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from glasslog.statement import to_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.files import Progress
from glasslog_lab.models import list_artifact, measure
from glasslog_lab.statement import build_statement

PROGRESS_BYTES_MIN = 256 << 20  # below, the work is done before a bar is read

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What a lab does with its own models and data.")


@app.callback()
def lab() -> None:
    """Keep ``attest`` a word of its own while it is the only command."""


@app.command()
def attest(
    path: Annotated[Path, typer.Argument(help="A model: a file, a folder, or the index of its shards.")],
    name: Annotated[
        str | None, typer.Option(help="What the statement calls the model. [default: the path's name]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line instead of indented JSON.")] = False,
) -> None:
    """Print the statement of what a model consists of: its tensors' root and its files' digests."""
    try:
        listed = list_artifact(path)
        with _progress(sum(place.stat().st_size for _, place in listed)) as on_read:
            measured = measure(listed, on_read)
        text = to_json(build_statement(name or path.name or path.resolve().name, measured))
    except ArtifactError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(text if as_json else json.dumps(json.loads(text), indent=2, ensure_ascii=False))


@contextmanager
def _progress(total: int) -> Generator[Progress]:
    if total < PROGRESS_BYTES_MIN or not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich import progress
    from rich.console import Console

    columns = (progress.BarColumn(), progress.DownloadColumn(), progress.TransferSpeedColumn())
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)


def main() -> None:
    """Run the lab's commands; the status is 2 where something could not be read as what it claims to be."""
    app(prog_name="glasslog")


if __name__ == "__main__":
    main()
