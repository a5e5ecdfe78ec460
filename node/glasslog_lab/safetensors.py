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

from glasslog_lab.errors import ArtifactError

HEADER_BYTES_MAX = 100_000_000  # the reference implementation's
PREFIX_BYTES = 8
_U64_MAX = 2**64 - 1

# Bits of one element. The sub-byte types pack elements, so a tensor of them still ends on a byte.
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip


class Span(NamedTuple):
    """One tensor and where its bytes are: ``[begin, end)`` of the data after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def parse_length(prefix: bytes, file_size: int) -> int:
    """Return the header's length from the first eight bytes of a file.

    Raises:
        ArtifactError: TENSOR-01 the file ends before its header does, TENSOR-02 the header is too large.
    """
    length = int.from_bytes(prefix, "little")
    if len(prefix) < PREFIX_BYTES or length > file_size - PREFIX_BYTES:
        _refuse("TENSOR-01", f"the header is said to take {length} bytes of a file of {file_size}")
    if length > HEADER_BYTES_MAX:
        _refuse("TENSOR-02", f"the header has {length} bytes, at most {HEADER_BYTES_MAX} are read")
    return length


def parse_header(header: bytes, data_size: int) -> tuple[Span, ...]:
    """Return the tensors of a header in the order of their bytes, which together are all ``data_size`` bytes.

    Raises:
        ArtifactError: TENSOR-03 to TENSOR-09, what is wrong with the header.
    """
    described = _parse_json(header)
    metadata = described.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(v, str) for v in cast("dict[str, object]", metadata).values()
    ):
        _refuse("TENSOR-05", "__metadata__ is not a map from text to text")
    spans = sorted((_parse_tensor(name, entry) for name, entry in described.items()), key=lambda span: span[3:])
    end = 0
    for span in spans:
        if span.begin != end:
            kind = "overlaps the tensor before it" if span.begin < end else "leaves a hole before it"
            _refuse("TENSOR-09", f"tensor {span.name!r} at byte {span.begin} {kind}, which ends at {end}")
        end = span.end
    if end != data_size:
        _refuse("TENSOR-09", f"the tensors end at byte {end} of {data_size}")
    return tuple(spans)


def _parse_json(header: bytes) -> dict[str, object]:
    if not header.startswith(b"{"):
        _refuse("TENSOR-03", "the header does not start with a brace")
    try:
        value: object = json.loads(
            header.decode("utf-8").rstrip(" "),
            object_pairs_hook=_build_map,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except (ValueError, RecursionError) as error:
        raise _refusal("TENSOR-03", f"the header is not JSON in UTF-8: {type(error).__name__}") from error
    return cast("dict[str, object]", value)  # it starts with a brace


def _build_map(pairs: list[tuple[str, object]]) -> dict[str, object]:
    built = dict(pairs)
    if len(built) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        _refuse("TENSOR-04", f"the header has the key {twice!r} twice")
    return built


def _refuse_number(text: str) -> NoReturn:
    _refuse("TENSOR-03", f"the header holds the number {text[:20]}, only whole ones belong there")


def _parse_tensor(name: str, entry: object) -> Span:
    if not isinstance(entry, dict) or cast("dict[str, object]", entry).keys() != {"dtype", "shape", "data_offsets"}:
        _refuse("TENSOR-06", f"tensor {name!r} is not described by dtype, shape and data_offsets alone")
    described = cast("dict[str, object]", entry)
    dtype = described["dtype"]
    shape, offsets = _parse_sizes(name, described["shape"]), _parse_sizes(name, described["data_offsets"])
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _refusal("TENSOR-06", f"the tensor name {name!r} has no UTF-8 form") from error
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        _refuse("TENSOR-07", f"tensor {name!r} has the unknown dtype {dtype!r}")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        _refuse("TENSOR-06", f"the data_offsets of tensor {name!r} are not a begin and an end")
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits != 8 * (offsets[1] - offsets[0]):
        _refuse("TENSOR-08", f"tensor {name!r} needs {bits} bits by its shape and has {offsets[1] - offsets[0]} bytes")
    return Span(name, dtype, shape, *offsets)


def _parse_sizes(name: str, value: object) -> tuple[int, ...]:
    sizes = cast("list[object]", value) if isinstance(value, list) else [None]
    if len(sizes) > 64 or not all(type(size) is int and 0 <= size <= _U64_MAX for size in sizes):
        _refuse("TENSOR-06", f"a shape or offset of tensor {name!r} is not a list of at most 64 sizes")
    return tuple(cast("list[int]", sizes))


def _refusal(code: str, fact: str) -> ArtifactError:
    return ArtifactError(
        code, fact, "write the file anew with a current safetensors library, or attest it under another suffix"
    )


def _refuse(code: str, fact: str) -> NoReturn:
    raise _refusal(code, fact)
