"""ONNX: the initializers and constants of a model's graphs, read from the protobuf as it lies on disk.

A tensor's name is its own within the main graph; below a node with a graph of its own, the node and attribute stand in
front (K4). Source: ``onnx.proto`` of ONNX 1.19.
"""

from __future__ import annotations

from typing import NamedTuple

from glasslog_lab.weights.layout import TENSORS_MAX, Container, Placed, Role
from glasslog_lab.weights.onnx_tensors import FindSize, read_tensor
from glasslog_lab.weights.protobuf import CODE, FIELDS_MAX, Field, Message
from glasslog_lab.weights.refusals import quote, refuse
from glasslog_lab.weights.windows import Window

DEPTH_MAX = 16
_BAD = "WEIGHTS-51"
_KEPT_MAX = 256
_KEPT = {2: "producer_name", 3: "producer_version", 4: "domain"}


class _Graph(NamedTuple):
    message: Message
    prefix: str
    depth: int
    role: Role
    nodes: int  # the field of its nodes: 1 in a graph, 7 in a function


def read_onnx(name: str, window: Window, find_size: FindSize) -> Container:
    """Return the tensors of an ONNX model; ``find_size`` tells the bytes of a file beside it.

    Raises:
        ArtifactError: WEIGHTS-50 to WEIGHTS-53, WEIGHTS-15, WEIGHTS-16.
    """
    model = Message(window, 0, window.size, [FIELDS_MAX])
    metadata, waiting = _read_model(model)
    placed = list[Placed]()
    while waiting:
        graph = waiting.pop()
        if graph.depth > DEPTH_MAX:
            refuse("WEIGHTS-53", f"nests graphs deeper than {DEPTH_MAX}")
        _read_graph(name, graph, placed, waiting, find_size)
        if len(placed) > TENSORS_MAX:
            refuse("WEIGHTS-15", f"holds more than {TENSORS_MAX} tensors")
    return Container("onnx", tuple(placed), metadata)


def _read_model(model: Message) -> tuple[dict[str, str], list[_Graph]]:
    metadata, graphs, main = dict[str, str](), list[_Graph](), 0
    for field in model.fields():
        if field.number == 7:
            main += 1
            graphs.append(_Graph(model.inner(field), "", 0, Role.MODEL, 1))
        elif field.number == 20:
            training = model.inner(field)
            for number, inner in enumerate(one for one in training.fields() if one.number in (1, 2)):
                graphs.append(_Graph(training.inner(inner), f"training_info.{number}/", 0, Role.OPTIMIZER, 1))
        elif field.number == 25:
            function = model.inner(field)
            texts = {one.number: function.text(one) for one in function.fields() if one.number in (1, 10)}
            graphs.append(_Graph(function, f"{texts.get(10, '')}:{texts.get(1, '')}/", 0, Role.MODEL, 7))
        elif field.number in _KEPT:
            metadata[_KEPT[field.number]] = model.text(field)
        elif field.number == 14 and len(metadata) < _KEPT_MAX:
            entry = model.inner(field)
            pair = {one.number: entry.text(one) for one in entry.fields() if one.number in (1, 2)}
            metadata[pair.get(1, "")] = pair.get(2, "")
    if main != 1:
        refuse(CODE, f"is no ONNX model: {main} graphs at its root")
    return metadata, graphs


def _read_graph(name: str, graph: _Graph, placed: list[Placed], waiting: list[_Graph], find_size: FindSize) -> None:
    message, number = graph.message, 0
    for field in message.fields():
        if field.number == 5 and graph.nodes == 1:
            tensor = read_tensor(name, message.inner(field), graph.prefix, None, graph.role, find_size)
            placed += [tensor] if tensor else []
        elif field.number == 15 and graph.nodes == 1:
            refuse("WEIGHTS-16", f"holds a sparse initializer at byte {field.begin}")
        elif field.number == graph.nodes:
            _read_node(name, graph, message.inner(field), number, placed, waiting, find_size)
            number += 1


def _read_node(
    name: str, graph: _Graph, node: Message, number: int, placed: list[Placed], waiting: list[_Graph], find: FindSize
) -> None:
    attributes, output, title, kind = list[Field](), None, "", ""
    for field in node.fields():
        if field.number == 5:
            attributes.append(field)
        elif field.number == 2 and output is None:
            output = node.text(field)
        elif field.number == 3:
            title = node.text(field)
        elif field.number == 4:
            kind = node.text(field)
    title = title or f"{kind}_{number}"
    for field in attributes:
        attribute = node.inner(field)
        fields = [one for one in attribute.fields() if one.number in (1, 5, 6, 11, 22, 23)]
        label = next((attribute.text(one) for one in fields if one.number == 1), "")
        for at, one in enumerate(one for one in fields if one.number in (6, 11)):
            place = f"{graph.prefix}{title}.{label}{at or ''}/"
            waiting.append(_Graph(attribute.inner(one), place, graph.depth + 1, graph.role, 1))
        if kind != "Constant":
            continue
        if any(one.number in (22, 23) for one in fields):
            refuse("WEIGHTS-16", f"holds the sparse constant {quote(output)}")
        for one in fields:
            if one.number == 5:
                if output is None:
                    refuse(_BAD, f"the constant {quote(title)} has no output")
                tensor = read_tensor(name, attribute.inner(one), graph.prefix, output, graph.role, find)
                placed += [tensor] if tensor else []
