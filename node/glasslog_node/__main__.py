"""``glasslog``: runs a command and turns whatever ends it into one line and an exit status.

Statuses: 0 done; 1 somebody's bytes broke a rule; 2 something here has to be mended, or the command was not
understood; 70 a bug of ours; 130 interrupted. ``audit`` adds its own (specs/auditing.md).
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from typing import cast

from glasslog.errors import ProtocolError
from glasslog_node.cli.app import build_app
from glasslog_node.cli.output import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_UNABLE,
    describe_error,
    print_error,
)
from glasslog_node.errors import OperatingError


def main() -> None:
    """Run the command that the arguments name, and exit with its status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit status. Nothing but ``SystemExit`` can come out of a command's own exit."""
    try:
        build_app()(arguments, prog_name="glasslog", standalone_mode=True)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_UNABLE if stop.code else 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BaseExceptionGroup as group:
        return _report(_single(group))
    except Exception as error:  # noqa: BLE001 - the boundary to a person
        return _report(error)
    return 0


def _single(error: BaseException) -> BaseException:
    """Return the one error that a nursery wrapped; of several, the first that is ours to explain."""
    while isinstance(error, BaseExceptionGroup):
        parts = cast("BaseExceptionGroup[BaseException]", error).exceptions
        bugs = [part for part in parts if not isinstance(part, KeyboardInterrupt | OperatingError | BaseExceptionGroup)]
        error = (bugs or list(parts))[0]
    return error


def _report(error: BaseException) -> int:
    if os.environ.get("GLASSLOG_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, ProtocolError | OperatingError):
        lines, status = describe_error(error)
        for line in lines:
            print_error(line)
        return status
    if _is_explained(error):  # an error of another package's command, which this one knows by its form only
        print_error(str(error))
        return EXIT_UNABLE
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("glasslog"):
        print_error(f"EXTRA-01 this command needs {error.name}. Next: pip install 'glasslog[all]'")
        return EXIT_UNABLE
    print_error(f"BUG-01 {type(error).__name__}: {error}"[:300])
    print_error(f"This is a bug in glasslog. Next: report it with {_keep_details(error)}")
    return EXIT_BUG


def _is_explained(error: BaseException) -> bool:
    """Whether an error says what is wrong and what to do next, as ours do."""
    return all(isinstance(getattr(error, name, None), str) for name in ("code", "fact", "next_step"))


def _keep_details(error: BaseException) -> str:
    """Write the traceback to a file, since a screen of it helps nobody who did not write it; return where."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="glasslog-bug-", suffix=".txt", delete=False) as file:
            file.writelines(traceback.format_exception(error))
            return file.name
    except OSError:
        return "what GLASSLOG_DEBUG=1 prints"


if __name__ == "__main__":
    main()
