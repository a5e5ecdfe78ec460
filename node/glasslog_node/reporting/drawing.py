"""A lineage as a drawing: boxes in layers, what went in below what came of it. Laid out once, drawn as SVG or print."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from glasslog.audit.reporting.document import Lineage, Part
from glasslog_node.reporting.legible import show

DRAWN_MAX = 24  # parts; tables have the others
_WIDTH, _HEIGHT, _GAP, _LAYER, _EDGE = 200, 56, 44, 122, 90
_SVG = "http://www.w3.org/2000/svg"
_PER_LAYER = 3
_LETTERS = 25  # of one line in a box


@dataclass(frozen=True, slots=True)
class Box:
    """A part, by its upper left corner."""

    x: int
    y: int
    kind: str
    lines: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Arrow:
    """From what went in to what came of it, by way of a control point; the label stands at (``tx``, ``ty``)."""

    x1: int
    y1: int
    cx: int
    cy: int
    x2: int
    y2: int
    tx: int
    ty: int
    label: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing in units that are pixels at 96 to the inch."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    left_out: int
    box_width: int = _WIDTH
    box_height: int = _HEIGHT


def lay_out(lineage: Lineage) -> Layout:
    """Return where everything goes."""
    parts = lineage.parts[:DRAWN_MAX]
    layers = _layers(lineage, parts)
    columns = max(len(layer) for layer in layers)
    width = columns * _WIDTH + (columns - 1) * _GAP + 2 * _EDGE
    places: dict[str, tuple[int, int]] = {}
    boxes: list[Box] = []
    for row, layer in enumerate(layers):
        taken = len(layer) * _WIDTH + (len(layer) - 1) * _GAP
        for column, part in enumerate(layer):
            x, y = (width - taken) // 2 + column * (_WIDTH + _GAP), 8 + row * _LAYER
            places[part.digest] = (x, y)
            boxes.append(Box(x, y, part.kind, _lines(part)))
    arrows = [
        _arrow(places[link.source], places[link.target], f"{show(link.relation, 24)} · {link.index}")
        for link in lineage.links
        if link.source in places and link.target in places
    ]
    height = 8 + len(layers) * _LAYER - (_LAYER - _HEIGHT) + 8
    return Layout(width, height, tuple(boxes), tuple(arrows), lineage.parts_count - len(parts))


def _layers(lineage: Lineage, parts: tuple[Part, ...]) -> list[list[Part]]:
    """Return layers by the longest way from the model, or by the shortest where statements go round in a ring."""
    level = {part.digest: 0 for part in parts}
    links = [link for link in lineage.links if link.source in level and link.target in level]
    for _ in parts:
        for link in links:
            level[link.source] = max(level[link.source], level[link.target] + 1)
    if max(level.values()) >= len(parts):
        level = {part.digest: part.depth for part in parts}
    rows: list[list[Part]] = []
    for number in sorted(set(level.values())):
        row = [part for part in parts if level[part.digest] == number]
        rows += [row[at : at + _PER_LAYER] for at in range(0, len(row), _PER_LAYER)]
    return rows


def _lines(part: Part) -> tuple[str, str, str]:
    name = show(part.name, _LETTERS - 1).partition(" … (")[0] or "no statement in the log"
    cut = "…" if len(part.name) >= _LETTERS else ""
    return f"{part.kind}", name + cut, show(part.author, 30).partition(" … (")[0] or f"{part.digest[:16]}…"


def _arrow(source: tuple[int, int], target: tuple[int, int], label: str) -> Arrow:
    (sx, sy), (tx, ty) = source, target
    if sy == ty:
        left = sx < tx
        x1, x2, y = (sx + _WIDTH, tx, sy + _HEIGHT // 2) if left else (sx, tx + _WIDTH, sy + _HEIGHT // 2)
        return Arrow(x1, y, (x1 + x2) // 2, y, x2, y, (x1 + x2) // 2, y - 8, label)
    x1, y1 = sx + _WIDTH // 2, sy if sy > ty else sy + _HEIGHT
    x2, y2 = tx + _WIDTH // 2, ty + _HEIGHT if sy > ty else ty
    if abs(sy - ty) == _LAYER:
        cx, cy = (x1 + x2) // 2, (y1 + y2) // 2
        return Arrow(x1, y1, cx, cy, x2, y2, cx, cy + 4, label)
    # Past what lies between: out at the right side of both boxes, and in again.
    x1, x2, y1, y2 = sx + _WIDTH, tx + _WIDTH, sy + _HEIGHT // 2, ty + _HEIGHT // 2
    cx, cy = max(x1, x2) + 70, (y1 + y2) // 2
    return Arrow(x1, y1, cx, cy, x2, y2, (x1 + 2 * cx + x2) // 4, cy, label)


def draw_lineage(lineage: Lineage) -> str:
    """Return the drawing as an SVG element for a page: classes instead of colours, and its text as its description."""
    layout = lay_out(lineage)
    size = f'viewBox="0 0 {layout.width} {layout.height}" width="{layout.width}" height="{layout.height}"'
    out = [
        f'<svg class="lineage" xmlns="{_SVG}" role="img" aria-labelledby="lineage-t lineage-d" {size}>',
        '<title id="lineage-t">What the model was made from</title>',
        f'<desc id="lineage-d">{escape(describe_lineage(lineage))}</desc>',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">',
        '<path class="tip" d="M0 0L10 5L0 10z"/></marker></defs>',
    ]
    out += [
        f'<path class="arrow" marker-end="url(#tip)" d="M{one.x1} {one.y1}Q{one.cx} {one.cy} {one.x2} {one.y2}"/>'
        for one in layout.arrows
    ]
    for box in layout.boxes:
        kind = quoteattr("box " + box.kind.replace(" ", "-"))
        out.append(f'<rect class={kind} x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>')
        for row, (line, style) in enumerate(zip(box.lines, ("kind", "name", "who"), strict=True)):
            out.append(
                f'<text class="{style}" x="{box.x + _WIDTH // 2}" y="{box.y + 17 + 16 * row}"'
                f' text-anchor="middle">{escape(line)}</text>'
            )
    out += [
        f'<text class="label" x="{one.tx}" y="{one.ty}" text-anchor="middle">{escape(one.label)}</text>'
        for one in layout.arrows
    ]
    return "".join([*out, "</svg>"])


def describe_lineage(lineage: Lineage) -> str:
    """Return the drawing in words, for who cannot see it."""
    names = {part.digest: show(part.name, 60) or part.digest[:16] for part in lineage.parts[:DRAWN_MAX]}
    said = [
        f"{names[link.target]} {show(link.relation, 40)} {names[link.source]}, says log index {link.index}."
        for link in lineage.links
        if link.source in names and link.target in names
    ]
    return " ".join(said) or "Nothing in the log says what went into it."
