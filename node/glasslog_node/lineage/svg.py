"""A lineage as a drawing: layers from what was first, on top, down to the model.

networkx sorts into layers (its BSD licence goes with ours, which igraph's does not); what stands beside what is
settled here, by the mean place of a node's neighbours (Sugiyama, Tagawa and Toda 1981, barycentre method).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias
from xml.etree import ElementTree as ET

import networkx as nx

from glasslog.audit.claims.lineage import Kind, Lineage, Node

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 232, 64, 28, 76, 24
_BEND = 40  # room for a line that passes a layer
_NODES_MAX = 400  # more than anybody can read in a drawing; the text and PROV-JSON have all
_SWEEPS = 6
_FONT = "system-ui, 'Noto Sans', sans-serif"
_INK, _FAINT, _LINE = "#1a1a1a", "#4a4a4a", "#44546a"
_FILLS = {Kind.MODEL: "#e8f0fb", Kind.RUN: "#eef6ea", Kind.DATASET: "#fdf3e1"}
_CLASSES = {Kind.MODEL: "model", Kind.RUN: "run", Kind.DATASET: "data"}
_DARK = """@media (prefers-color-scheme: dark) { text { fill: #f0f0f0 } .faint { fill: #c4c4c4 }
path, rect { stroke: #9db2d0 }
.model rect { fill: #1d2b40 } .run rect { fill: #22331d } .data rect { fill: #3d3018 } }"""

Spot: TypeAlias = "tuple[float, float]"
Key: TypeAlias = "tuple[bytes, bytes, int]"
"""What stands in a layer: a node as (digest, b"", 0), or where the line of an edge passes, as (source, target, row)."""


def draw_svg(lineage: Lineage) -> str:
    """Return the drawing as SVG text, readable where colours are not: kinds are in words, gaps are dashed."""
    nodes = dict(list(lineage.nodes.items())[:_NODES_MAX])
    relations: dict[tuple[bytes, bytes], list[str]] = {}
    for edge in lineage.edges:
        if edge.source in nodes and edge.target in nodes and edge.source != edge.target:
            words = relations.setdefault((edge.source, edge.target), [])
            words += [edge.relation] if edge.relation not in words else []
    lines, layers = _lay_out(list(nodes), list(relations))
    places, width, height = _place(layers)
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}", "viewBox": f"0 0 {width:.0f} {height:.0f}"}
    svg = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "font-family": _FONT} | size)
    asked = nodes[lineage.root]
    left_out = f"; {len(lineage.nodes) - len(nodes)} more are left out" if len(lineage.nodes) > len(nodes) else ""
    ET.SubElement(svg, "title").text = f"Lineage of {_clean(asked.name or asked.digest.hex()[:16], 60)}"
    ET.SubElement(svg, "desc").text = f"{len(nodes)} things and how one went into another{left_out}"
    ET.SubElement(svg, "style").text = _DARK
    for ends, keys in lines.items():
        _draw_edge(svg, [places[key] for key in keys], ", ".join(relations[ends]))
    for digest, node in nodes.items():
        _draw_node(svg, places[digest, b"", 0], node, asked=digest == lineage.root)
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _lay_out(
    nodes: list[bytes], edges: list[tuple[bytes, bytes]]
) -> tuple[dict[tuple[bytes, bytes], list[Key]], list[list[Key]]]:
    """Return the way of each edge, layer by layer, and the layers with what stands in them, in order."""
    rows = _layer(nodes, edges)
    layers: list[list[Key]] = [[] for _ in range(max(rows.values()) + 1)]
    for digest in nodes:
        layers[rows[digest]].append((digest, b"", 0))
    lines: dict[tuple[bytes, bytes], list[Key]] = {}
    for source, target in edges:
        passed = [(source, target, row) for row in range(rows[source] + 1, rows[target])]
        for key in passed:
            layers[key[2]].append(key)
        lines[source, target] = [(source, b"", 0), *passed, (target, b"", 0)]
    _order(layers, lines.values())
    return lines, layers


def _layer(nodes: list[bytes], edges: list[tuple[bytes, bytes]]) -> dict[bytes, int]:
    """Return the row of each node, sources first and as low as they can be; what names itself in a circle is in one."""
    graph: nx.DiGraph[bytes] = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    circles = nx.condensation(graph)
    generations = [list(one) for one in nx.topological_generations(circles)]
    row_of = {circle: row for row, generation in enumerate(generations) for circle in generation}
    for generation in reversed(generations):
        for circle in generation:
            below = [row_of[other] for other in circles.successors(circle)]
            row_of[circle] = min(below) - 1 if below else row_of[circle]
    return {digest: row_of[circle] for digest, circle in circles.graph["mapping"].items()}


def _order(layers: list[list[Key]], lines: Iterable[Sequence[Key]]) -> None:
    """Sort each layer by where the neighbours stand, down and up in turns."""
    near: dict[Key, list[Key]] = {key: [] for layer in layers for key in layer}
    for line in lines:
        for one, other in pairwise(line):
            near[one].append(other)
            near[other].append(one)
    for sweep in range(_SWEEPS):
        for fixed, layer in pairwise(layers if sweep % 2 == 0 else layers[::-1]):
            place = {key: (at + 0.5) / len(fixed) for at, key in enumerate(fixed)}
            mean = {key: (at + 0.5) / len(layer) for at, key in enumerate(layer)}
            for key in layer:
                known = [place[one] for one in near[key] if one in place]
                mean[key] = sum(known) / len(known) if known else mean[key]
            layer.sort(key=mean.__getitem__)


def _place(layers: list[list[Key]]) -> tuple[dict[Key, Spot], float, float]:
    """Return the top centre of everything, and the drawing's width and height."""
    breadths = [[_BEND if target else _WIDTH for _, target, _ in layer] for layer in layers]
    totals = [sum(breadth) + _GAP_X * (len(breadth) - 1) for breadth in breadths]
    places: dict[Key, Spot] = {}
    for row, (layer, breadth, total) in enumerate(zip(layers, breadths, totals, strict=True)):
        x = _MARGIN + (max(totals) - total) / 2
        for key, wide in zip(layer, breadth, strict=True):
            places[key] = (x + wide / 2, float(_MARGIN + row * (_HEIGHT + _GAP_Y)))
            x += wide + _GAP_X
    height = 2 * _MARGIN + len(layers) * _HEIGHT + (len(layers) - 1) * _GAP_Y
    return places, max(totals) + 2 * _MARGIN, height


def _draw_edge(svg: ET.Element, spots: list[Spot], relation: str) -> None:
    (x, y), last = spots[0], len(spots) - 1
    y += _HEIGHT
    way = f"M{x:.1f} {y:.1f}"
    label = (x, y)
    for at, (to_x, to_y) in enumerate(spots[1:], 1):
        end = to_y - 7 if at == last else to_y
        middle = (y + end) / 2
        way += f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {end:.1f}"
        if at == 1:
            label = ((x + to_x) / 2 + 6, middle + 4)
        x, y = to_x, end
        if at != last:
            y = to_y + _HEIGHT
            way += f"V{y:.1f}"
    drawn = {"fill": "none", "stroke": _LINE, "stroke-width": "1.3"}
    ET.SubElement(svg, "path", {"d": way} | drawn)
    ET.SubElement(svg, "path", {"d": f"M{x - 4:.1f} {y - 1:.1f}L{x:.1f} {y + 6:.1f}L{x + 4:.1f} {y - 1:.1f}"} | drawn)
    place = {"x": f"{label[0]:.1f}", "y": f"{label[1]:.1f}", "class": "faint", "font-size": "11", "fill": _FAINT}
    ET.SubElement(svg, "text", place).text = _clean(relation, 34)


def _draw_node(svg: ET.Element, place: Spot, node: Node, *, asked: bool) -> None:
    group = ET.SubElement(svg, "g", {"class": _CLASSES[node.kind]})
    x, y = place[0] - _WIDTH / 2, place[1]
    ET.SubElement(group, "title").text = f"{node.kind.value} {node.digest.hex()}"
    box = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": str(_WIDTH), "height": str(_HEIGHT), "rx": "6"}
    box |= {"fill": _FILLS[node.kind], "stroke": _LINE, "stroke-width": "3" if asked else "1.5"}
    ET.SubElement(group, "rect", box if node.author else box | {"stroke-dasharray": "6 4"})
    name = _clean(node.name, 28) or "(no name)"
    for row, line in enumerate(
        (name, f"{node.kind.value} {node.digest.hex()[:12]}", _clean(node.author, 36) or "no statement")
    ):
        spot = {"x": f"{x + 12:.1f}", "y": f"{y + 21 + 17 * row:.1f}"}
        look = {"class": "faint", "font-size": "11", "fill": _FAINT} if row else {"font-size": "13", "fill": _INK}
        ET.SubElement(group, "text", spot | look).text = line


def _clean(text: str, longest: int) -> str:
    """Return text that a drawing can hold: no control or direction characters, and no longer than its box."""
    plain = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return plain if len(plain) <= longest else plain[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
