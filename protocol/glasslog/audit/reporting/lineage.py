"""The lineage of the asked model as it stands in a report: cut where it is long, with its depth for a drawing (G3)."""

from __future__ import annotations

from collections import deque

from glasslog.audit.claims import Claims
from glasslog.audit.claims.lineage import Lineage as Traced
from glasslog.audit.claims.lineage import trace
from glasslog.audit.reporting.document import Lineage, Link, Missing, Part

PARTS_MAX = 200
LINKS_MAX = 400
MISSING_MAX = 100


def show_lineage(claims: Claims, root: bytes) -> Lineage:
    """Return what went into a model, nearest first."""
    traced = trace(claims, root)
    depths = _depths(traced)
    ordered = sorted(traced.nodes.values(), key=lambda node: (depths[node.digest], node.digest))
    parts = [
        Part(node.kind.value, node.digest.hex(), node.name, node.author, depths[node.digest])
        for node in ordered[:PARTS_MAX]
    ]
    shown = {part.digest for part in parts}
    links = [Link(one.source.hex(), one.target.hex(), one.relation, one.index) for one in traced.edges]
    links = list(dict.fromkeys(links))
    kept = [one for one in links if one.source in shown and one.target in shown][:LINKS_MAX]
    missing = [Missing(fact, None if index < 0 else index) for fact, index in traced.missing]
    return Lineage(
        root.hex(), tuple(parts), len(traced.nodes), tuple(kept), len(links), tuple(missing[:MISSING_MAX]), len(missing)
    )


def _depths(traced: Traced) -> dict[bytes, int]:
    """Return how far each thing is from the model, by the shortest way."""
    above: dict[bytes, list[bytes]] = {}
    for edge in traced.edges:
        above.setdefault(edge.target, []).append(edge.source)
    depths, waiting = {traced.root: 0}, deque([traced.root])
    while waiting:
        here = waiting.popleft()
        for source in above.get(here, ()):
            if source not in depths:
                depths[source] = depths[here] + 1
                waiting.append(source)
    return depths
