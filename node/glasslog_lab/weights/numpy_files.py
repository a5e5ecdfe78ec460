"""NumPy's .npy and .npz: arrays of numbers; of Python objects, text or records none.

The header is a Python literal; it is matched against the one form it can have, never evaluated. Source: the
description in ``numpy.lib.format``, versions 1.0 to 3.0.
"""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import PurePosixPath
from typing import NamedTuple

from glasslog_lab.weights.dtypes import BITS, NUMPY_DTYPES, SWAP
from glasslog_lab.weights.layout import DIMENSIONS_MAX, Container, Deflated, Placed, Source, Span, Strided, check_shape
from glasslog_lab.weights.refusals import quote, refuse
from glasslog_lab.weights.windows import MemoryWindow, Window
from glasslog_lab.weights.zips import DEFLATED, Member, inflate

MAGIC = b"\x93NUMPY"
HEAD_BYTES = 12 + 65_536
_BAD = "WEIGHTS-60"
_HEADER = re.compile(r"\{(?P<members>(?:[^{}])*)\}\s*")
_MEMBER = re.compile(
    r"\s*'(?:(?P<descr>descr)':\s*'(?P<dtype>[^']*)'|(?P<order>fortran_order)':\s*(?P<fortran>True|False)"
    r"|(?P<shape>shape)':\s*\((?P<sides>[0-9L, ]*)\))\s*(?:,|$)"
)


class Header(NamedTuple):
    """What a .npy states: element type, whether big-endian, whether column-major, shape, and where the data begins."""

    dtype: str
    swapped: bool
    fortran: bool
    shape: tuple[int, ...]
    start: int


def read_npy(name: str, window: Window) -> Container:
    """Return the one array of a .npy, named as its file without the suffix.

    Raises:
        ArtifactError: WEIGHTS-60 no array of numbers, WEIGHTS-61 another length than its shape's.
    """
    title = PurePosixPath(name).with_suffix("").as_posix()
    return Container("numpy", (_place(title, name, parse_header(window), 0, window.size),))


def read_npz(name: str, window: Window, members: dict[str, Member]) -> Container:
    """Return the arrays of a .npz, named as its entries without the suffix.

    Raises:
        ArtifactError: WEIGHTS-60, WEIGHTS-61, WEIGHTS-25 an entry cannot be unpacked.
    """
    placed = list[Placed]()
    for member in members.values():
        title = member.name.removesuffix(".npy")
        head = bytearray()
        for piece in inflate(window, member):
            head += piece[:HEAD_BYTES]
            if len(head) >= HEAD_BYTES:
                break
        header = parse_header(MemoryWindow(bytes(head)))
        if member.method == DEFLATED:
            placed.append(_place_packed(title, name, header, member))
        else:
            placed.append(_place(title, name, header, member.begin, member.end))
    return Container("numpy", tuple(placed))


def parse_header(window: Window) -> Header:
    """Return what the beginning of a .npy states.

    Raises:
        ArtifactError: WEIGHTS-60.
    """
    head = window.read_at(0, HEAD_BYTES)
    if head[:6] != MAGIC or head[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        refuse(_BAD, "is no .npy of version 1 to 3")
    begin = 10 if head[6] == 1 else 12
    start = begin + int.from_bytes(head[8:begin], "little")
    if start > len(head):
        refuse(_BAD, f"has a header of {start - begin} bytes, or ends early")
    found = _HEADER.fullmatch(head[begin:start].decode("latin-1"))
    stated = dict[str, str]()
    if found is not None:
        text, at = found["members"], 0
        while match := _MEMBER.match(text, at):
            key = match["descr"] or match["order"] or match["shape"]
            if key in stated:
                break
            stated[key] = match["dtype"] or match["fortran"] or match["sides"] or ""
            at = match.end()
        if text[at:].strip():
            stated.clear()
    if stated.keys() != {"descr", "fortran_order", "shape"}:
        refuse(_BAD, "has a header that describes no array of plain numbers (records, or not NumPy's)")
    dtype, swapped = _read_dtype(stated["descr"])
    shape = _read_shape(stated["shape"])
    return Header(dtype, swapped, stated["fortran_order"] == "True", shape, start)


def _read_dtype(text: str) -> tuple[str, bool]:
    dtype = NUMPY_DTYPES.get(text[1:])
    if dtype is None or text[0] not in "<>|=" or (text[0] in "|=" and BITS[dtype] > 8):
        kind = "Python objects, which only a pickle could restore" if "O" in text[:2] else f"the type {quote(text)}"
        refuse(_BAD, f"is an array of {kind}")
    return dtype, text[0] == ">" and BITS[dtype] > 8


def _read_shape(text: str) -> tuple[int, ...]:
    sides = [side.strip().removesuffix("L") for side in text.split(",")]
    if len(sides) > 1 and not sides[-1]:
        sides.pop()
    if sides == [""]:
        return ()
    if len(sides) > DIMENSIONS_MAX or not all(side.isdigit() and len(side) <= 20 for side in sides):
        refuse(_BAD, "has an impossible shape")
    return tuple(int(side) for side in sides)


def _place(title: str, name: str, header: Header, begin: int, end: int) -> Placed:
    length = _length(title, header)
    start = begin + header.start
    if start + length != end:
        refuse("WEIGHTS-61", f"array {quote(title)} has {end - start} bytes, its shape needs {length}")
    item = BITS[header.dtype] // 8
    swap = SWAP.get(header.dtype, item) if header.swapped else 1
    source: Source = Span(name, start, end)
    if length and ((header.fortran and len(header.shape) > 1) or swap > 1):
        source = Strided(name, start, end, item, header.shape, _strides(header), swap)
    return Placed(title, header.dtype, header.shape, source)


def _place_packed(title: str, name: str, header: Header, member: Member) -> Placed:
    length = _length(title, header)
    if header.start + length != member.size:
        refuse("WEIGHTS-61", f"array {quote(title)} has {member.size - header.start} bytes, its shape needs {length}")
    if header.fortran and len(header.shape) > 1 and length:
        refuse("WEIGHTS-16", f"array {quote(title)} is column-major and compressed")
    item = BITS[header.dtype] // 8
    swap = SWAP.get(header.dtype, item) if header.swapped else 1
    source = Deflated(name, member.begin, member.end, header.start, length, member.size, swap)
    return Placed(title, header.dtype, header.shape, source)


def _length(title: str, header: Header) -> int:
    return check_shape(title, header.shape, _BAD) * BITS[header.dtype] // 8


def _strides(header: Header) -> tuple[int, ...]:
    if not header.shape:
        return ()
    if header.fortran:
        return tuple(accumulate((1, *header.shape[:-1]), int.__mul__))
    return tuple(accumulate((1, *header.shape[:0:-1]), int.__mul__))[::-1]
