"""The canonical bytes of tensors that do not lie in a file as they are: strided, packed, swapped or in pieces (K2)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Literal

from glasslog_lab.weights.layout import Deflated, Pieces, Source, Span, Strided, Varints
from glasslog_lab.weights.protobuf import CODE, read_varint
from glasslog_lab.weights.refusals import refuse
from glasslog_lab.weights.windows import Cursor, Window
from glasslog_lab.weights.zips import inflate_raw

CHUNK_BYTES = 1 << 20
GATHERED_BYTES_MAX = 64 << 20  # of a file, held at once to pick the elements of a strided tensor from
_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


def read_source(source: Source, window: Window) -> Iterator[bytes]:
    """Yield the canonical bytes of a tensor, in pieces. ``window`` is the file that the source names.

    Raises:
        ArtifactError: WEIGHTS-16 a strided view too wide to gather, WEIGHTS-25 a zip entry that does not unpack,
            WEIGHTS-50 and WEIGHTS-51 varints that are none or too many.
    """
    match source:
        case Span():
            yield from _read_run(window, source.begin, source.end)
        case Pieces():
            for begin, end in source.runs:
                yield from _read_run(window, begin, end)
        case Strided():
            shape, strides, item = source.shape, source.strides, source.item
            if item not in _FORMATS:  # two halves of an element lie side by side
                shape, strides, item = (*shape, 2), (*(2 * step for step in strides), 1), item // 2
            for piece in _gather(window, source.begin, shape, strides, item):
                yield _swap(piece, source.swap)
        case Deflated():
            yield from _inflate(source, window)
        case Varints():
            yield from _read_varints(source, window)


def _read_run(window: Window, begin: int, end: int) -> Iterator[bytes]:
    for at in range(begin, end, CHUNK_BYTES):
        yield window.read_at(at, min(CHUNK_BYTES, end - at))


def _gather(window: Window, begin: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int) -> Iterator[bytes]:
    """Yield the elements in row-major order, from as much of the file at once as may be held."""
    reach = _measure_reach(shape, strides) * item
    inner = _measure_reach(shape[1:], strides[1:]) * item
    if reach <= GATHERED_BYTES_MAX:
        data = window.read_at(begin, reach)
        if len(data) == reach:  # fewer: the file is being cut, which is told when it is closed
            yield from _pick(memoryview(data).cast(_FORMATS[item]), 0, shape, strides)
    elif len(shape) == 1:
        rows = max(1, GATHERED_BYTES_MAX // (strides[0] * item))
        for row in range(0, shape[0], rows):
            part = (min(rows, shape[0] - row),)
            yield from _gather(window, begin + row * strides[0] * item, part, strides, item)
    elif inner <= reach // 2 and shape[0] * inner <= 4 * reach:
        for row in range(shape[0]):
            yield from _gather(window, begin + row * strides[0] * item, shape[1:], strides[1:], item)
    else:
        refuse("WEIGHTS-16", f"holds a view of {reach} bytes whose rows lie across one another")


def _measure_reach(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    return sum((side - 1) * step for side, step in zip(shape, strides, strict=True)) + 1


def _pick(elements: memoryview, at: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Iterator[bytes]:
    side, step = (shape[0], strides[0]) if shape else (1, 1)
    if len(shape) > 1:
        for row in range(side):
            yield from _pick(elements, at + row * step, shape[1:], strides[1:])
    elif step:
        yield elements[at : at + side * step : step].tobytes()
    else:
        for done in range(0, side, CHUNK_BYTES):
            yield elements[at : at + 1].tobytes() * min(CHUNK_BYTES, side - done)


def _swap(data: bytes, width: int) -> bytes:
    if width == 1:
        return data
    swapped = array(_FORMATS[width], data)
    swapped.byteswap()
    return swapped.tobytes()


def _inflate(source: Deflated, window: Window) -> Iterator[bytes]:
    """Yield the part that is the tensor's; the rest is unpacked all the same, since only then is it what it states."""
    skip, left, rest = source.skip, source.length, b""
    for piece in inflate_raw(window, source.begin, source.end, source.size):
        dropped = min(skip, len(piece))
        skip -= dropped
        part = rest + piece[dropped : dropped + left]
        left -= len(part) - len(rest)
        whole = len(part) - len(part) % source.swap
        rest = part[whole:]
        yield _swap(part[:whole], source.swap)


def _read_varints(source: Varints, window: Window) -> Iterator[bytes]:
    done, mask, out = 0, (1 << 8 * source.item) - 1, bytearray()
    for begin, end in source.runs:
        cursor = Cursor(window, begin, end, CODE)
        while cursor.offset < end:
            out += (read_varint(cursor) & mask).to_bytes(source.item, "little")
            if len(out) >= CHUNK_BYTES:
                done += len(out)
                yield bytes(out)
                out.clear()
            if done + len(out) > source.length:
                refuse("WEIGHTS-51", f"a list has more elements than the {source.length} bytes its shape needs")
    if done + len(out) != source.length:
        refuse("WEIGHTS-51", f"a list has fewer elements than the {source.length} bytes its shape needs")
    yield bytes(out)
