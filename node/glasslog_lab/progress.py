"""A bar on standard error while many bytes are read; none where nobody would see it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

PROGRESS_BYTES_MIN = 256 << 20  # below, the work is done before a bar is read


@contextmanager
def show_progress(total: int) -> Generator[Callable[[int], None]]:
    """Yield what is to be told of each number of bytes read, of ``total`` in all."""
    if total < PROGRESS_BYTES_MIN or not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich import progress
    from rich.console import Console

    columns = (progress.BarColumn(), progress.DownloadColumn(), progress.TransferSpeedColumn())
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
