"""Weights that a lab did not make itself: every container, indices, pickles, proofs and lists of tensors (K10)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from fuzz.mutators import mutate_bytes, mutate_cbor, mutate_json
from fuzz.target import Target, accepted
from glasslog.errors import ProtocolError
from glasslog.tensors import TensorProof, content_root, decode_list, encode_list, prove_tensor
from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights.containers import read_container
from glasslog_lab.weights.dtypes import SAFETENSORS_BITS
from glasslog_lab.weights.index import read_index
from glasslog_lab.weights.layout import Source, Span
from glasslog_lab.weights.pickles import read_pickle
from glasslog_lab.weights.safetensors import parse_header, parse_length
from glasslog_lab.weights.sources import read_source
from glasslog_lab.weights.windows import Cursor, MemoryWindow
from weights_files import (
    Given,
    gguf_pair,
    gguf_text,
    make_gguf,
    make_given,
    make_npy,
    make_npz,
    make_onnx,
    make_state_dict,
    make_torch_zip,
    onnx_external,
    onnx_of,
    onnx_tensor,
    pickled,
    tensors_of,
    torch_legacy_of,
    torch_zip_of,
)


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
        assert elements * SAFETENSORS_BITS[span.dtype] == 8 * (span.end - span.begin), "another size than its shape's"
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
    found = read_index("folder/model.safetensors.index.json", MemoryWindow(data))
    assert found
    for file in found.values():
        assert file.startswith("folder/"), "a file outside its folder"
        assert "/../" not in f"/{file}/", "a file outside its folder"


BESIDE_BYTES = 64  # of every file that an ONNX model names
WORK_BYTES_MAX = 1 << 20
MODEL = {"a.weight": make_given("F32", (2, 3), 1), "b": make_given("U8", (3,), 2), "c": make_given("I64", (), 3)}


def run_container(name: str, data: bytes) -> None:
    """Whatever is read has its tensors inside its file, of the size that type and shape say, and they can be read."""
    window = MemoryWindow(data)
    container = read_container(name, window, lambda _other: BESIDE_BYTES)
    if container is None:
        return
    for tensor in container.tensors:
        check_source(tensor.source, name, len(data))
        if tensor.source.length > WORK_BYTES_MAX or tensor.source.file != name:
            continue
        pieces = list(read_source(tensor.source, window))
        with accepted():
            assert sum(map(len, pieces)) == tensor.source.length, "another number of bytes than was said"
    with accepted():
        assert len({(tensor.role, tensor.name) for tensor in container.tensors}) == len(container.tensors)


def check_source(source: Source, name: str, size: int) -> None:
    size = size if source.file == name else BESIDE_BYTES
    runs = [(source.begin, source.end)] if not hasattr(source, "runs") else source.runs
    assert source.length >= 0, "a negative length"
    for begin, end in runs:
        assert 0 <= begin <= end <= size, "bytes outside the file"
    if isinstance(source, Span) and source.file != name:
        assert ".." not in source.file.split("/"), "a file outside the folder"
        assert not source.file.startswith("/"), "a file outside the folder"


def run_pickle(data: bytes) -> None:
    read_pickle(Cursor(MemoryWindow(data), 0, len(data), "WEIGHTS-30"))


def run_tensor_proof(data: bytes) -> None:
    proof = TensorProof.decode(data)
    with accepted():
        assert proof.encode() == data, "accepted, and encoded otherwise"


def run_tensor_list(data: bytes) -> None:
    tensors = decode_list(data)
    with accepted():
        assert encode_list(tensors) == data, "accepted, and encoded otherwise"
        content_root(tensors)


def _torch_seeds() -> list[bytes]:
    opcodes, storages = make_state_dict(MODEL)
    state = {"state": {"0": {"exp_avg": opcodes["b"]}}, "param_groups": []}
    checkpoint = {"model_state_dict": opcodes, "optimizer": state, "epoch": 3}
    return [
        torch_zip_of(MODEL),
        make_torch_zip(checkpoint, storages),
        make_torch_zip(opcodes, storages, packed=True),
        make_torch_zip(opcodes, storages, order="big"),
        torch_legacy_of(MODEL),
    ]


def _onnx_seeds() -> list[bytes]:
    one = Given("F32", (2,), b"12345678")
    constant = make_onnx([], [(b"\x12\x01o\x22\x08Constant" + _attribute(onnx_tensor("", one)))])
    return [onnx_of(MODEL), make_onnx([onnx_external("w", one, "w.bin", 4)]), constant]


def _attribute(tensor: bytes) -> bytes:
    inner = b"\x0a\x05value\x2a" + bytes([len(tensor)]) + tensor
    return b"\x2a" + bytes([len(inner)]) + inner


def _gguf_seeds() -> list[bytes]:
    model = {name: one for name, one in MODEL.items() if one.dtype != "U8"}
    array = gguf_pair("tokens", 9, (8).to_bytes(4, "little") + (2).to_bytes(8, "little") + gguf_text("a") * 2)
    alignment = gguf_pair("general.alignment", 4, (64).to_bytes(4, "little"))
    return [make_gguf(model), make_gguf(model, [array, alignment], alignment=64), make_gguf({})]


def _container(target: str, name: str, seeds: Callable[[], Sequence[bytes]], *tokens: bytes) -> Target:
    run = partial(run_container, name)
    return Target(target, run, seeds, allowed=(ArtifactError,), tokens=tokens, size_max=2_048, weight=0.5)


TARGETS = (
    _container("weights-gguf", "m.gguf", _gguf_seeds, b"GGUF", b"general.alignment"),
    _container("weights-torch", "m.pt", _torch_seeds, b"PK\x01\x02", b"PK\x05\x06", b"_rebuild_tensor_v2", b"tR"),
    _container("weights-onnx", "m.onnx", _onnx_seeds, b"location", b"offset", b"../"),
    _container(
        "weights-npy", "m.npy", lambda: [make_npy(one) for one in MODEL.values()], b"'descr'", b"'>f4'", b"True"
    ),
    _container("weights-npz", "m.npz", lambda: [make_npz(MODEL), make_npz(MODEL, packed=True)], b"PK\x03\x04"),
    Target(
        "weights-pickle",
        run_pickle,
        lambda: [b"\x80\x02" + pickled({"a": [1, "x", (None, True)]}) + b".", b"\x80\x04\x8c\x02os\x8c\x06system\x93."],
        allowed=(ArtifactError,),
        tokens=(b"R", b"b", b"\x93", b"(", b"t", b"u", b"q\x00", b"h\x00"),
        size_max=512,
    ),
    Target(
        "tensor-proof",
        run_tensor_proof,
        lambda: [prove_tensor(tensors_of(MODEL), name).encode() for name in MODEL],
        allowed=(ProtocolError,),
        mutators=(mutate_cbor,),
        size_max=512,
    ),
    Target(
        "tensor-list",
        run_tensor_list,
        lambda: [encode_list(tensors_of(MODEL)), encode_list([])],
        allowed=(ProtocolError,),
        mutators=(mutate_cbor,),
        size_max=512,
    ),
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
