"""What commands print: one JSON object, or lines for people; and how an error becomes one line and a status."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from glasslog.errors import ProtocolError
from glasslog_node.errors import OperatingError

EXIT_BROKEN = 1  # somebody's bytes broke a rule
EXIT_UNABLE = 2  # something here has to be mended first
EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130


def print_json(value: Mapping[str, object]) -> None:
    """Print one object on one line: all that a command prints with ``--json``."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def print_line(text: str = "") -> None:
    """Print a line for people."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def print_error(line: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


def describe_error(error: Exception) -> tuple[list[str], int]:
    """Return the lines ``CODE fact. Next: …`` for an error that is not our bug, and the exit status."""
    problems = getattr(error, "problems", ())
    if problems:
        assert isinstance(error, OperatingError), "only our configuration's error has problems"
        return [str(problem) for problem in problems] + [f"Next: {error.next_step}"], EXIT_UNABLE
    if isinstance(error, OperatingError):
        return [str(error)], EXIT_UNABLE
    assert isinstance(error, ProtocolError), "anything else is a bug"
    return [f"{error.code} {error.fact}. Next: {_next_step(error.code)}"], EXIT_BROKEN


def _next_step(code: str) -> str:
    if code.startswith("POLICY-"):
        from glasslog.policy import NEXT_STEPS

        return NEXT_STEPS[code]
    return "get it again from where it came from; if it comes out the same, ask whoever made it"


def printable(text: str) -> str:
    """Return text without what a terminal would act on: facts may quote a stranger's bytes."""
    clean = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return clean.encode(encoding, "backslashreplace").decode(encoding)
