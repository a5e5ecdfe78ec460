"""One ONNX ``TensorProto``: its type, its shape and where its elements are, in whichever of eight ways they are kept.

Source: ``onnx.proto`` of ONNX 1.19 (IR version 12).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from glasslog_lab.weights.dtypes import BITS, ONNX_DTYPES, byte_count
from glasslog_lab.weights.layout import DIMENSIONS_MAX, Pieces, Placed, Role, Source, Span, Varints, check_shape
from glasslog_lab.weights.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Message
from glasslog_lab.weights.refusals import quote, refuse

_BAD = "WEIGHTS-51"
_RUNS_MAX = 4_096
_STRING_TYPE = 8
_RAW = 9
# Which list of a TensorProto may hold which types, and how: the width of a fixed field, or 0 for varints.
_LISTS = {
    4: (4, {"F32", "C64"}),
    5: (0, {"I32", "I16", "I8", "U16", "U8", "BOOL", "F16", "BF16", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2",
            "F8_E5M2FNUZ", "F8_E8M0", "I4", "U4", "F4", "I2", "U2"}),
    7: (0, {"I64"}),
    10: (8, {"F64", "C128"}),
    11: (0, {"U32", "U64"}),
}  # fmt: skip

FindSize = Callable[[str], int]


class _Parts:
    """What the fields of a TensorProto say."""

    def __init__(self, message: Message) -> None:
        self.dims = list[int]()
        self.kind = 0
        self.name = ""
        self.runs = dict[int, list[Field]]()
        self.external = dict[str, str]()
        self.is_external = False
        seen = set[int]()
        for field in message.fields():
            if field.number in (2, 3, 8, _RAW, 14) and field.number in seen:
                refuse(_BAD, f"a tensor states field {field.number} twice, the second at byte {field.begin}")
            seen.add(field.number)
            self._take(message, field)

    def _take(self, message: Message, field: Field) -> None:
        match field.number:
            case 1:
                self.dims += message.integers(field, DIMENSIONS_MAX)
                if len(self.dims) > DIMENSIONS_MAX:
                    refuse(_BAD, "a tensor has more than 64 dimensions")
            case 2:
                self.kind = field.value
            case 3:
                refuse("WEIGHTS-16", "holds a tensor in segments")
            case 8:
                self.name = message.text(field)
            case 4 | 5 | 7 | 9 | 10 | 11:
                runs = self.runs.setdefault(field.number, [])
                if field.end > field.begin:
                    runs.append(field)
                if len(runs) > _RUNS_MAX:
                    refuse("WEIGHTS-15", f"a tensor is in more than {_RUNS_MAX} pieces")
            case 13:
                entry = message.inner(field)
                pair = {one.number: entry.text(one) for one in entry.fields()}
                self.external[pair.get(1, "")] = pair.get(2, "")
            case 14:
                self.is_external = field.value == 1
            case _:
                pass


def read_tensor(
    name: str, message: Message, prefix: str, title: str | None, role: Role, find_size: FindSize
) -> Placed | None:
    """Return the tensor of a TensorProto, named ``prefix`` and its own name or ``title``; None where it is of strings.

    ``find_size`` tells the bytes of a file by its name; what it raises passes through.

    Raises:
        ArtifactError: WEIGHTS-50 no message, WEIGHTS-51 it contradicts itself, WEIGHTS-52 its file leads out of the
            model's folder, WEIGHTS-16 in segments.
    """
    parts = _Parts(message)
    if parts.kind == _STRING_TYPE:
        return None
    full = prefix + (parts.name if title is None else title)
    if parts.kind not in ONNX_DTYPES:
        refuse(_BAD, f"tensor {quote(full)} is of the unknown type {parts.kind}")
    dtype = ONNX_DTYPES[parts.kind]
    shape = tuple(parts.dims)
    length = byte_count(dtype, check_shape(full, shape, _BAD))
    filled = [number for number, runs in parts.runs.items() if runs]
    if parts.is_external:
        if filled:
            refuse(_BAD, f"tensor {quote(full)} is kept in two places")
        source: Source = _place_external(name, full, parts.external, length, find_size)
    elif not filled:
        if length:
            refuse(_BAD, f"tensor {quote(full)} has no elements, its shape needs {length} bytes")
        source = Span(name, message.begin, message.begin)
    elif len(filled) > 1:
        refuse(_BAD, f"tensor {quote(full)} is kept in two places")
    else:
        source = _place(name, full, dtype, filled[0], parts.runs[filled[0]], length)
    return Placed(full, dtype, shape, source, role)


def _place(name: str, full: str, dtype: str, number: int, runs: list[Field], length: int) -> Source:
    places = tuple((field.begin, field.end) for field in runs)
    total = sum(end - begin for begin, end in places)
    if number == _RAW:
        if runs[0].kind != BYTES or total != length:
            refuse(_BAD, f"tensor {quote(full)} has {total} bytes, its shape needs {length}")
        return Span(name, *places[0])
    width, dtypes = _LISTS[number]
    if dtype not in dtypes:
        refuse(_BAD, f"tensor {quote(full)} of {dtype} is kept in a list for other types")
    if width == 0:
        if any(field.kind not in (BYTES, VARINT) for field in runs) or total > 10 * max(length, 1):
            refuse(_BAD, f"tensor {quote(full)} has {total} bytes of varints, its shape needs {length} bytes")
        item = max(1, BITS[dtype] // 8)
        return Varints(name, places, item, length)
    single = FIXED32 if width == 4 else FIXED64
    if any(field.kind not in (BYTES, single) for field in runs) or total != length:
        refuse(_BAD, f"tensor {quote(full)} has {total} bytes, its shape needs {length}")
    return Span(name, *places[0]) if len(places) == 1 else Pieces(name, places)


def _place_external(name: str, full: str, stated: dict[str, str], length: int, find_size: FindSize) -> Span:
    location = stated.get("location", "")
    path = PurePosixPath(location)
    if (
        not location
        or "\0" in location
        or "\\" in location
        or path.is_absolute()
        or ".." in path.parts
        or path.as_posix() != location
    ):
        refuse("WEIGHTS-52", f"tensor {quote(full)} is in {quote(location)}, which is no file below the model's folder")
    begin, count = _read_number(full, stated.get("offset", "0")), _read_number(full, stated.get("length", str(length)))
    if count != length:
        refuse(_BAD, f"tensor {quote(full)} has {count} bytes, its shape needs {length}")
    file = (PurePosixPath(name).parent / path).as_posix()
    size = find_size(file)
    if begin + length > size:
        refuse("WEIGHTS-52", f"tensor {quote(full)} ends at byte {begin + length} of {quote(file)}, which has {size}")
    return Span(file, begin, begin + length)


def _read_number(full: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        refuse(_BAD, f"tensor {quote(full)} states the place {quote(text)}")
    return int(text)
