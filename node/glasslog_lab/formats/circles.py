"""References that lead back to where they start, which a document made by a stranger may hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter


def find_circle(edges: Mapping[str, Iterable[str]]) -> str | None:
    """Return a node from which edges lead back to it, None where there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return str(error.args[1][0])
    return None
