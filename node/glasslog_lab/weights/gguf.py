"""GGUF, versions 2 and 3: key-value pairs, tensor infos, then the data, each tensor at a multiple of the alignment.

Between tensors there may be padding of less than the alignment, and nothing else. What a block of elements is
quantised to is not looked into: its bytes are the content, and its type has ggml's name. Source: the GGUF description
of the ggml project.
"""

from __future__ import annotations

import struct
from typing import Any

from glasslog_lab.weights.dtypes import GGML_TYPES
from glasslog_lab.weights.layout import TENSORS_MAX, Container, Placed, Span, check_shape
from glasslog_lab.weights.refusals import quote, refusal, refuse
from glasslog_lab.weights.windows import Cursor, Window

MAGIC = b"GGUF"
_SHORT = "WEIGHTS-40"
_BAD = "WEIGHTS-41"
_PAIRS_MAX = 65_536
_KEY_BYTES_MAX = 65_535
_NAME_BYTES_MAX = 4_096
_KEPT_BYTES_MAX = 4_096  # a longer string of `general.` is not kept
_KEPT_MAX = 256
_ALIGNMENT_MAX = 1 << 20
_DIMENSIONS_MAX = 8
_ITEMS_MAX = 20_000_000  # of all arrays of strings or arrays, which are walked one by one
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip


def read_gguf(name: str, window: Window) -> Container:
    """Return the tensors of a GGUF file and what it states under ``general.`` and ``split.``.

    Raises:
        ArtifactError: WEIGHTS-40 cut short or of another version, WEIGHTS-41 it contradicts itself, WEIGHTS-42 tensors
            overlap or leave holes.
    """
    reader = _Reader(Cursor(window, 0, window.size, _SHORT))
    if reader.cursor.read(4) != MAGIC:
        refuse(_SHORT, "does not begin with GGUF")
    version = reader.number("<I")
    if version not in (2, 3):
        odd = "big-endian, or of another version" if version > 0xFFFF else f"of version {version}"
        refuse(_SHORT, f"is GGUF {odd}; versions 2 and 3, little-endian, are read")
    tensors, pairs = reader.number("<Q"), reader.number("<Q")
    left = window.size - reader.cursor.offset
    if pairs > _PAIRS_MAX or pairs * 13 > left:
        refuse(_BAD, f"states {pairs} key-value pairs in {left} bytes")
    if tensors > TENSORS_MAX or tensors * 24 > left:
        refuse(_BAD, f"states {tensors} tensors in {left} bytes")
    metadata, alignment = reader.read_pairs(pairs)
    infos = [reader.read_info() for _ in range(tensors)]
    start = -(-reader.cursor.offset // alignment) * alignment
    return Container("gguf", tuple(_place(name, infos, start, alignment, window.size)), metadata)


class _Reader:
    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.items = 0

    def number(self, form: str) -> Any:  # noqa: ANN401 - whatever the format says
        return struct.unpack(form, self.cursor.read(struct.calcsize(form)))[0]

    def text(self, longest: int) -> str:
        length = self.number("<Q")
        if length > longest:
            refuse(_BAD, f"a name before byte {self.cursor.offset} has {length} bytes")
        try:
            return self.cursor.read(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise refusal(_BAD, f"a name before byte {self.cursor.offset} is not UTF-8") from error

    def read_pairs(self, count: int) -> tuple[dict[str, str], int]:
        kept, seen, alignment = dict[str, str](), set[str](), 32
        for _ in range(count):
            key = self.text(_KEY_BYTES_MAX)
            if key in seen:
                refuse(_BAD, f"has the key {quote(key)} twice")
            seen.add(key)
            value = self.read_value(self.number("<I"))
            if key == "general.alignment":
                if type(value) is not int or not 0 < value <= _ALIGNMENT_MAX or value & (value - 1):
                    refuse(_BAD, "its alignment is no power of two")
                alignment = value
            if value is not None and key.startswith(("general.", "split.")) and len(kept) < _KEPT_MAX:
                kept[key] = str(value)
        return kept, alignment

    def read_value(self, kind: int) -> object:
        """Return a scalar or a short string; None for what is passed over."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            length = self.number("<Q")
            if length > _KEPT_BYTES_MAX:
                self.cursor.skip(length)
                return None
            return self.cursor.read(length).decode("utf-8", "replace")
        if kind == _ARRAY:
            self.skip_array(0)
            return None
        raise refusal(_BAD, f"has a value of the unknown type {kind}")

    def skip_array(self, depth: int) -> None:
        kind, count = self.number("<I"), self.number("<Q")
        if depth > 3:
            refuse(_BAD, "nests arrays deeper than four")
        if kind in _SCALARS:
            self.cursor.skip(count * struct.calcsize(_SCALARS[kind]))
            return
        if kind not in (_STRING, _ARRAY):
            refuse(_BAD, f"has an array of the unknown type {kind}")
        self.items += count
        if self.items > _ITEMS_MAX or count * 8 > self.cursor.end - self.cursor.offset:
            refuse(_BAD, f"states an array of {count} items")
        for _ in range(count):
            if kind == _STRING:
                self.cursor.skip(int.from_bytes(self.cursor.read(8), "little"))
            else:
                self.skip_array(depth + 1)

    def read_info(self) -> tuple[str, str, tuple[int, ...], int, int]:
        """Return a tensor's name, type, shape (slowest dimension first), offset in the data, and bytes."""
        name, dimensions = self.text(_NAME_BYTES_MAX), self.number("<I")
        if dimensions > _DIMENSIONS_MAX:
            refuse(_BAD, f"tensor {quote(name)} has {dimensions} dimensions")
        sides = tuple(self.number("<Q") for _ in range(dimensions))
        kind, offset = self.number("<I"), self.number("<Q")
        if kind not in GGML_TYPES:
            refuse(_BAD, f"tensor {quote(name)} is of the unknown ggml type {kind}")
        dtype, block, size = GGML_TYPES[kind]
        count = check_shape(name, sides, _BAD)
        if (sides[0] if sides else 1) % block:
            refuse(_BAD, f"the rows of tensor {quote(name)} are not whole blocks of {block}")
        return name, dtype, tuple(reversed(sides)), offset, count // block * size


def _place(
    name: str, infos: list[tuple[str, str, tuple[int, ...], int, int]], start: int, alignment: int, size: int
) -> list[Placed]:
    placed, end = list[Placed](), start
    for title, dtype, shape, offset, length in sorted(infos, key=lambda info: info[3:]):
        begin = start + offset
        if offset % alignment or begin < end:
            refuse("WEIGHTS-42", f"tensor {quote(title)} at byte {begin} overlaps the one before, or is not aligned")
        if begin - end >= alignment:
            refuse("WEIGHTS-42", f"tensor {quote(title)} at byte {begin} follows a hole of {begin - end} bytes")
        end = begin + length
        if end > size:
            refuse(_SHORT, f"ends early: tensor {quote(title)} ends at byte {end} of {size}")
        placed.append(Placed(title, dtype, shape, Span(name, begin, end)))
    if size - end >= alignment and infos:
        refuse("WEIGHTS-42", f"has {size - end} bytes after its last tensor")
    return placed
