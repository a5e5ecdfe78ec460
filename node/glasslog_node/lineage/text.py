"""A lineage as indented lines, from the model upwards to what it comes from."""

from __future__ import annotations

from glasslog.audit.claims.lineage import Kind, Lineage, Node

_LINES_MAX = 2_000  # a terminal's worth, and more: what is cut off is said


def title(node: Node) -> str:
    """Return what a node is called: kind, name, the beginning of its digest, and who stated it."""
    name = f" {node.name}" if node.name else ""
    author = f", stated by {node.author}" if node.author else ", no statement"
    return f"{node.kind.value}{name} {node.digest.hex()[:16]}{author}"


def draw_text(lineage: Lineage) -> list[str]:
    """Return the lines. What was shown before is named again and not followed again."""
    above: dict[bytes, list[tuple[str, bytes, int]]] = {}
    for edge in lineage.edges:
        above.setdefault(edge.target, []).append((edge.relation, edge.source, edge.index))
    lines: list[str] = []
    shown = set[bytes]()
    waiting: list[tuple[int, str, bytes]] = [(0, "", lineage.root)]
    while waiting and len(lines) < _LINES_MAX:
        depth, label, digest = waiting.pop()
        node = lineage.nodes.get(digest, Node(Kind.MODEL, digest))
        again = digest in shown and digest in above
        lines.append(f"{'  ' * depth}{label}{title(node)}{' (see above)' if again else ''}")
        if not again:
            shown.add(digest)
            sources = above.get(digest, [])
            waiting += [(depth + 1, f"{relation} (leaf {index}): ", one) for relation, one, index in reversed(sources)]
    if waiting:
        lines.append(f"and more: {_LINES_MAX} lines are shown")
    return lines
