"""Models that a lab did not make itself: safetensors files, and the indices that name their shards."""

from __future__ import annotations

import json
from random import Random

from fuzz.mutators import mutate_bytes, mutate_json
from fuzz.target import Target
from fuzz.targets.node import MemoryPath
from glasslog_lab.errors import ArtifactError
from glasslog_lab.models import read_index
from glasslog_lab.safetensors import DTYPE_BITS, parse_header, parse_length


def run_safetensors(data: bytes) -> None:
    """A whole file: every byte of its data belongs to one tensor, of the size that its shape states."""
    length = parse_length(data[:8], len(data))
    spans = parse_header(data[8 : 8 + length], len(data) - 8 - length)
    end = 0
    for span in spans:
        elements = 1
        for side in span.shape:
            elements *= side
        assert span.begin == end, "a hole or an overlap"
        assert elements * DTYPE_BITS[span.dtype] == 8 * (span.end - span.begin), "another size than its shape's"
        end = span.end
    assert end == len(data) - 8 - length, "bytes that belong to nothing"
    stated = json.loads(data[8 : 8 + length])
    stated.pop("__metadata__", None)
    assert {span.name for span in spans} == set(stated), "another library reads other tensors"


def make_file(header: object, size: int) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


def _mutate_file(data: bytes, rng: Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = mutate_json(data[8 : 8 + length], rng) if rng.random() < 0.8 else mutate_bytes(data[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _seeds() -> list[bytes]:
    one = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    two = {**one, "b": {"dtype": "U8", "shape": [], "data_offsets": [24, 25]}, "__metadata__": {"format": "pt"}}
    three = {"c": {"dtype": "F4", "shape": [2, 0], "data_offsets": [0, 0]}}
    return [make_file(one, 24), make_file(two, 25), make_file(three, 0), make_file({}, 0)]


def run_index(data: bytes) -> None:
    found = read_index("folder/model.safetensors.index.json", MemoryPath.of(data), None)
    assert found
    for file in found.values():
        assert file.startswith("folder/"), "a file outside its folder"
        assert "/../" not in f"/{file}/", "a file outside its folder"


TARGETS = (
    Target(
        "safetensors",
        run_safetensors,
        _seeds,
        allowed=(ArtifactError,),
        tokens=(b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b'"BF16"', b"18446744073709551615"),
        mutators=(_mutate_file,),
        size_max=1_024,
    ),
    Target(
        "model-index",
        run_index,
        lambda: [b'{"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"x/m-2.safetensors"}}'],
        allowed=(ArtifactError,),
        tokens=(b'"weight_map"', b"../", b".safetensors", b"//", b"./"),
        mutators=(mutate_json,),
        size_max=512,
    ),
)
