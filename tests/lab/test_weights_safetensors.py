"""The safetensors reader takes what is one model and refuses, by code, whatever could be read as another."""

from __future__ import annotations

import contextlib
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights.dtypes import SAFETENSORS_BITS
from glasslog_lab.weights.layout import TENSORS_MAX
from glasslog_lab.weights.safetensors import HEADER_BYTES_MAX, Span, parse_header, parse_length


def describe(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


ONE = describe("U8", [4], 0, 4)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[dict[str, object], list[Span]]:
    """A header and the tensors it describes, in the order of their bytes."""
    names = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=6))
    spans = list[Span]()
    end = 0
    for name in names:
        if name == "__metadata__":
            continue
        dtype = draw(st.sampled_from(sorted(SAFETENSORS_BITS)))
        shape = draw(st.lists(st.integers(0, 5), max_size=3))
        bits = math.prod(shape) * SAFETENSORS_BITS[dtype]
        if bits % 8:
            shape, bits = [*shape, 4], bits * 4  # a whole number of bytes
        spans.append(Span(name, dtype, tuple(shape), end, end + bits // 8))
        end += bits // 8
    header: dict[str, object] = {span.name: describe(span.dtype, list(span.shape), *span[3:]) for span in spans}
    if draw(st.booleans()):
        header["__metadata__"] = draw(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.just("x")))
    keys = draw(st.permutations(sorted(header)))
    return {key: header[key] for key in keys}, spans


@given(layouts(), st.integers(0, 9))
def test_any_layout_is_read_whatever_the_order_of_its_header(
    layout: tuple[dict[str, object], list[Span]], padding: int
) -> None:
    header, spans = layout
    read = parse_header(json.dumps(header).encode() + b" " * padding, spans[-1].end if spans else 0)
    assert sorted(read) == sorted(spans)
    assert [span.begin for span in read] == sorted(span.begin for span in spans)


@given(layouts(), st.data())
def test_shifted_range_is_refused(layout: tuple[dict[str, object], list[Span]], data: st.DataObject) -> None:
    header, spans = layout
    total = spans[-1].end if spans else 0
    by = data.draw(st.integers(1, 3))
    movable = [span for span in spans if span.end > span.begin]
    if not movable:
        return
    span = data.draw(st.sampled_from(movable))
    moved = describe(span.dtype, list(span.shape), span.begin + by, span.end + by)
    with pytest.raises(ArtifactError, match="TENSOR-09"):
        parse_header(json.dumps({**header, span.name: moved}).encode(), total)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.integers(0, 300))
def test_garbage_is_refused_or_wholly_understood(header: bytes, data_size: int) -> None:
    with contextlib.suppress(ArtifactError):
        assert sum(span.end - span.begin for span in parse_header(header, data_size)) == data_size


@pytest.mark.parametrize(
    ("code", "header", "data_size"),
    [
        ("TENSOR-02", b"{" + b"[" * (3 * TENSORS_MAX + 2), 0),
        ("TENSOR-03", b"", 0),
        ("TENSOR-03", b'["a"]', 0),
        ("TENSOR-03", b" {}", 0),
        ("TENSOR-03", b"{}\n\x00", 0),
        ("TENSOR-03", b'{"a": NaN}', 0),
        ("TENSOR-03", b'{"a": 1.5}', 0),
        ("TENSOR-03", b'{"\xff": 1}', 0),
        ("TENSOR-03", b'{"a":' + b"[" * 100_000, 0),
        ("TENSOR-03", b'{"a":' + b"9" * 5_000 + b"}", 0),
        ("TENSOR-04", b'{"a": 1, "a": 2}', 0),
        ("TENSOR-04", b'{"a": {"dtype": "U8", "dtype": "I8", "shape": [], "data_offsets": [0, 1]}}', 1),
        ("TENSOR-05", b'{"__metadata__": {"a": 1}}', 0),
        ("TENSOR-05", b'{"__metadata__": []}', 0),
        ("TENSOR-06", b'{"a": null}', 0),
        ("TENSOR-06", json.dumps({"a": {**ONE, "more": 1}}).encode(), 4),
        ("TENSOR-06", json.dumps({"a": describe("U8", [-4], 0, 4)}).encode(), 4),
        ("TENSOR-06", b'{"a": {"dtype": "U8", "shape": [true], "data_offsets": [0, 1]}}', 1),
        ("TENSOR-06", json.dumps({"a": describe("U8", [1] * 65, 0, 1)}).encode(), 1),
        ("TENSOR-06", json.dumps({"a": describe("U8", [2**64, 0], 0, 0)}).encode(), 0),
        ("TENSOR-06", json.dumps({"a": describe("U8", [0], 4, 0)}).encode(), 4),
        ("TENSOR-06", b'{"\\ud800": ' + json.dumps(ONE).encode() + b"}", 4),
        ("TENSOR-07", json.dumps({"a": describe("Q4", [4], 0, 4)}).encode(), 4),
        ("TENSOR-07", b'{"a": {"dtype": [], "shape": [4], "data_offsets": [0, 4]}}', 4),
        ("TENSOR-08", json.dumps({"a": describe("U8", [5], 0, 4)}).encode(), 4),
        ("TENSOR-08", json.dumps({"a": describe("F4", [3], 0, 2)}).encode(), 2),
        ("TENSOR-08", json.dumps({"a": describe("U8", [2**63, 2**63, 4], 0, 4)}).encode(), 4),
        ("TENSOR-09", json.dumps({"a": ONE, "b": ONE}).encode(), 4),
        ("TENSOR-09", json.dumps({"a": ONE, "b": describe("U8", [4], 3, 7)}).encode(), 7),
        ("TENSOR-09", json.dumps({"a": ONE, "b": describe("U8", [4], 5, 9)}).encode(), 9),
        ("TENSOR-09", json.dumps({"a": describe("U8", [4], 1, 5)}).encode(), 5),
        ("TENSOR-09", json.dumps({"a": ONE}).encode(), 5),
        ("TENSOR-09", json.dumps({"a": ONE}).encode(), 3),
    ],
)
def test_hostile_header_is_refused(code: str, header: bytes, data_size: int) -> None:
    with pytest.raises(ArtifactError, match=code):
        parse_header(header, data_size)


@pytest.mark.parametrize(
    ("code", "prefix", "file_size"),
    [
        ("TENSOR-01", b"", 0),
        ("TENSOR-01", b"\x01" + bytes(6), 7),
        ("TENSOR-01", struct.pack("<Q", 3), 10),
        ("TENSOR-01", b"\xff" * 8, 1 << 40),
        ("TENSOR-02", struct.pack("<Q", HEADER_BYTES_MAX + 1), 1 << 40),
    ],
)
def test_hostile_length_is_refused(code: str, prefix: bytes, file_size: int) -> None:
    with pytest.raises(ArtifactError, match=code):
        parse_length(prefix, file_size)
