"""Telling atheris which code to watch. Imports nothing of the product itself, for what comes first is not watched."""

from __future__ import annotations

import importlib
import importlib.util
import io
from contextlib import redirect_stderr
from typing import Any

PRODUCT = ("glasslog", "glasslog_node", "glasslog_lab")


def has_atheris() -> bool:
    """Say whether atheris is installed: it has no wheel for every Python."""
    return importlib.util.find_spec("atheris") is not None


def import_instrumented() -> None:
    """Import all targets so that atheris sees which way the product takes."""
    atheris: Any = importlib.import_module("atheris")
    with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=[*PRODUCT]):  # a line for each module
        importlib.import_module("fuzz.registry")
