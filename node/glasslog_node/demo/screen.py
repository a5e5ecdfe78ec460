"""What the demonstration shows while a model trains: lines for everybody, and on a terminal a bar as well."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

Tell = Callable[[str], None]
_SHOW_EVERY_STEPS = 4  # a terminal is read by a person
_GAP = "   "


class Screen:
    """Shows one training. ``live``: there is a terminal, and nothing else is written to it meanwhile."""

    def __init__(self, tell: Tell, *, live: bool) -> None:
        self._tell = tell
        self._live = live
        self._bar: Progress | None = None
        self._about: dict[str, Any] = {}

    def tell(self, line: str) -> None:
        """Say a line, above the bar where there is one."""
        lines = self._wrap(line) if self._live else [line]
        for one in lines:
            if self._bar is None:
                self._tell(one)
            else:
                self._bar.console.print(one, markup=False, highlight=False)

    @staticmethod
    def _wrap(line: str) -> list[str]:
        """Break a line between words where the terminal is too narrow for it."""
        width = shutil.get_terminal_size().columns
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        wrapped = textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        return wrapped if len(line) > width else [line]

    def open(self, about: dict[str, Any]) -> None:
        """Show what is about to be trained."""
        self._about = about
        self.tell(
            f"{about['parameters']:,} parameters will learn from {about['digits']:,} handwritten digits: "
            f"{about['steps']} updates, {about['batch']} digits each"
        )
        if self._live:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[said]}"),
            )
            self._bar = Progress(*columns, auto_refresh=False, transient=True)
            self._bar.start()
            self._bar.add_task("training", total=about["steps"], said="")

    def step(self, event: dict[str, Any]) -> None:
        """Show one update."""
        if self._bar is not None and event["step"] % _SHOW_EVERY_STEPS == 0:
            said = f"loss {event['loss']:.3f}, {event['right']} of {self._about['batch']} right"
            self._bar.update(self._bar.task_ids[0], completed=event["step"], said=said, refresh=True)

    def segment(self, event: dict[str, Any], index: int) -> None:
        """Show a segment that is in the log."""
        share = f"{100 * event['right'] / event['seen']:.1f}"
        self.tell(
            f"  log index {index:3}  steps {event['first']:3} to {event['last']:3}  loss {event['loss']:.3f}  "
            f"{share:>4} % right  head {event['head'][:8]}…"
        )

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def digits(self, shown: Sequence[dict[str, Any]]) -> None:
        """Draw a few images with what the model takes them for."""
        self.tell("")
        for row in zip(*[one["lines"] for one in shown], strict=True):
            self.tell(("  " + _GAP.join(row)).rstrip())
        captions = [_caption(one).ljust(len(one["lines"][0])) for one in shown]
        self.tell(("  " + _GAP.join(captions)).rstrip())
        self.tell("")


def _caption(shown: dict[str, Any]) -> str:
    if shown["answer"] == shown["label"]:
        return f"a {shown['answer']}: right"
    return f"a {shown['answer']}? It is {shown['label']}"


def is_terminal() -> bool:
    """Whether standard output is a terminal that can redraw a line."""
    from rich.console import Console

    return sys.stdout.isatty() and not Console().is_dumb_terminal
