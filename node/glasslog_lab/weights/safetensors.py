"""The safetensors format, read without running or trusting anything in it.

A file is ``u64 LE N || N bytes of JSON || data``; the JSON maps each tensor's name to its dtype, its shape and the
range of ``data`` that holds it, little-endian and row-major. This reader takes exactly the files in which every byte
of ``data`` belongs to one tensor and every statement of the header is understood: two readers then cannot see two
models in one file. Source: the format's description and reference implementation, release 0.8.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import NamedTuple, NoReturn, cast

from glasslog_lab.weights.dtypes import SAFETENSORS_BITS
from glasslog_lab.weights.layout import DIMENSIONS_MAX, TENSORS_MAX, Container, Placed
from glasslog_lab.weights.layout import Span as Source
from glasslog_lab.weights.refusals import quote, refusal, refuse
from glasslog_lab.weights.windows import Window

HEADER_BYTES_MAX = 20_000_000  # a fifth of the reference implementation's: parsed, it takes ten times as much memory
PREFIX_BYTES = 8
_U64_MAX = 2**64 - 1
_BRACKETS_MAX = 3 * TENSORS_MAX + 2


class Span(NamedTuple):
    """One tensor and where its bytes are: ``[begin, end)`` of the data after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(name: str, window: Window) -> Container:
    """Return the tensors of a safetensors file, and its ``__metadata__``.

    Raises:
        ArtifactError: TENSOR-01 to TENSOR-09.
    """
    length = parse_length(window.read_at(0, PREFIX_BYTES), window.size)
    start = PREFIX_BYTES + length
    header = window.read_at(PREFIX_BYTES, length)
    spans, metadata = _parse(header, window.size - start)
    tensors = [
        Placed(span.name, span.dtype, span.shape, Source(name, start + span.begin, start + span.end)) for span in spans
    ]
    return Container("safetensors", tuple(tensors), metadata)


def parse_length(prefix: bytes, file_size: int) -> int:
    """Return the header's length from the first eight bytes of a file.

    Raises:
        ArtifactError: TENSOR-01 the file ends before its header does, TENSOR-02 the header is too large.
    """
    length = int.from_bytes(prefix, "little")
    if len(prefix) < PREFIX_BYTES or length > file_size - PREFIX_BYTES:
        refuse("TENSOR-01", f"the header is said to take {length} bytes of a file of {file_size}")
    if length > HEADER_BYTES_MAX:
        refuse("TENSOR-02", f"the header has {length} bytes, at most {HEADER_BYTES_MAX} are read")
    return length


def parse_header(header: bytes, data_size: int) -> tuple[Span, ...]:
    """Return the tensors of a header in the order of their bytes, which together are all ``data_size`` bytes.

    Raises:
        ArtifactError: TENSOR-02 to TENSOR-09, what is wrong with the header.
    """
    return _parse(header, data_size)[0]


def _parse(header: bytes, data_size: int) -> tuple[tuple[Span, ...], dict[str, str]]:
    described = _parse_json(header)
    metadata = described.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(v, str) for v in cast("dict[str, object]", metadata).values()
    ):
        refuse("TENSOR-05", "__metadata__ is not a map from text to text")
    spans = sorted((_parse_tensor(name, entry) for name, entry in described.items()), key=lambda span: span[3:])
    end = 0
    for span in spans:
        if span.begin != end:
            kind = "overlaps the tensor before it" if span.begin < end else "leaves a hole before it"
            refuse("TENSOR-09", f"tensor {quote(span.name)} at byte {span.begin} {kind}, which ends at {end}")
        end = span.end
    if end != data_size:
        refuse("TENSOR-09", f"the tensors end at byte {end} of {data_size}")
    return tuple(spans), cast("dict[str, str]", metadata)


def _parse_json(header: bytes) -> dict[str, object]:
    if not header.startswith(b"{"):
        refuse("TENSOR-03", "the header does not start with a brace")
    if header.count(b"[") + header.count(b"{") > _BRACKETS_MAX:
        refuse("TENSOR-02", f"the header has more brackets than {TENSORS_MAX} tensors need")
    try:
        value: object = json.loads(
            header.decode("utf-8").rstrip(" "),
            object_pairs_hook=_build_map,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except (ValueError, RecursionError) as error:
        raise refusal("TENSOR-03", f"the header is not JSON in UTF-8: {type(error).__name__}") from error
    return cast("dict[str, object]", value)  # it starts with a brace


def _build_map(pairs: list[tuple[str, object]]) -> dict[str, object]:
    built = dict(pairs)
    if len(built) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        refuse("TENSOR-04", f"the header has the key {quote(twice)} twice")
    return built


def _refuse_number(text: str) -> NoReturn:
    refuse("TENSOR-03", f"the header holds the number {text[:20]}, only whole ones belong there")


def _parse_tensor(name: str, entry: object) -> Span:
    if not isinstance(entry, dict) or cast("dict[str, object]", entry).keys() != {"dtype", "shape", "data_offsets"}:
        refuse("TENSOR-06", f"tensor {quote(name)} is not described by dtype, shape and data_offsets alone")
    described = cast("dict[str, object]", entry)
    dtype = described["dtype"]
    shape, offsets = _parse_sizes(name, described["shape"]), _parse_sizes(name, described["data_offsets"])
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise refusal("TENSOR-06", f"the tensor name {quote(name)} has no UTF-8 form") from error
    if not isinstance(dtype, str) or dtype not in SAFETENSORS_BITS:
        refuse("TENSOR-07", f"tensor {quote(name)} has the unknown dtype {quote(dtype)}")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        refuse("TENSOR-06", f"the data_offsets of tensor {quote(name)} are not a begin and an end")
    bits = math.prod(shape) * SAFETENSORS_BITS[dtype]
    if bits != 8 * (offsets[1] - offsets[0]):
        stated = f"{bits} bits" if bits < 1 << 70 else "too many bits"
        have = offsets[1] - offsets[0]
        refuse("TENSOR-08", f"tensor {quote(name)} needs {stated} by its shape and has {have} bytes")
    return Span(name, dtype, shape, *offsets)


def _parse_sizes(name: str, value: object) -> tuple[int, ...]:
    sizes = cast("list[object]", value) if isinstance(value, list) else [None]
    if len(sizes) > DIMENSIONS_MAX or not all(type(size) is int and 0 <= size <= _U64_MAX for size in sizes):
        refuse("TENSOR-06", f"a shape or offset of tensor {quote(name)} is not a list of at most 64 sizes")
    return tuple(cast("list[int]", sizes))
