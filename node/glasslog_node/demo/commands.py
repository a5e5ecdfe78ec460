"""The commands a person would type, run as processes of their own: what the demonstration shows is what they do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended, its one JSON object if it printed one, and its first line of complaint."""

    status: int
    value: dict[str, Any]
    complaint: str

    @property
    def code(self) -> str:
        """The code its complaint begins with."""
        return self.complaint.partition(" ")[0]

    @property
    def fact(self) -> str:
        """What its complaint says after the code."""
        return self.complaint.partition(" ")[2]


async def run(module: str, arguments: Sequence[str]) -> Answer:
    """Run ``python -m module arguments`` and return how it ended."""
    process = await trio.run_process(
        [sys.executable, "-m", module, *arguments], capture_stdout=True, capture_stderr=True, check=False
    )
    assert isinstance(process, subprocess.CompletedProcess)
    lines = process.stderr.decode("utf-8", "replace").strip().splitlines()
    try:
        value: dict[str, Any] = json.loads(process.stdout)
    except ValueError:
        value = {}
    return Answer(process.returncode, value, lines[0] if lines else "")


async def glasslog(*arguments: str) -> Answer:
    """Run a ``glasslog`` command."""
    return await run("glasslog_node", arguments)
