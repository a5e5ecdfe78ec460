"""Files of weights written from their formats' descriptions, without the libraries: every byte is ours to bend."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import NamedTuple, TypeAlias

from blake3 import blake3

from glasslog.tensors import Tensor

Sides: TypeAlias = tuple[int, ...]
BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "BF16": 16, "F16": 16, "U8": 8, "I8": 8, "BOOL": 8}
STORAGES = {
    "F64": "Double", "I64": "Long", "F32": "Float", "I32": "Int", "BF16": "BFloat16", "F16": "Half", "U8": "Byte",
    "I8": "Char", "BOOL": "Bool",
}  # fmt: skip
ONNX_TYPES = {"F32": 1, "U8": 2, "I8": 3, "I32": 6, "I64": 7, "BOOL": 9, "F16": 10, "F64": 11, "BF16": 16}
GGML_TYPES = {
    "F32": (0, 4),
    "F16": (1, 2),
    "I8": (24, 1),
    "I32": (26, 4),
    "I64": (27, 8),
    "F64": (28, 8),
    "BF16": (30, 2),
}


class Given(NamedTuple):
    """A tensor with its bytes: row-major, little-endian."""

    dtype: str
    shape: Sides
    data: bytes


Model: TypeAlias = Mapping[str, Given]


def make_given(dtype: str, shape: Sides, seed: int = 1) -> Given:
    size = prod(shape) * BITS[dtype] // 8
    return Given(dtype, shape, bytes((seed * 37 + at * 11) % 251 for at in range(size)))


def tensors_of(model: Model) -> list[Tensor]:
    return [Tensor(name, one.dtype, one.shape, blake3(one.data).digest()) for name, one in model.items()]


# --- safetensors ----------------------------------------------------------------------------------


def make_safetensors(model: Model, metadata: dict[str, str] | None = None, order: Sequence[str] | None = None) -> bytes:
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name in order or list(model):
        one = model[name]
        offsets = [len(data), len(data) + len(one.data)]
        header[name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": offsets}
        data += one.data
    return make_raw_safetensors(header, data)


def make_raw_safetensors(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# --- GGUF -----------------------------------------------------------------------------------------


def gguf_text(text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def make_gguf(
    model: Model,
    pairs: Sequence[bytes] = (),
    *,
    alignment: int = 32,
    version: int = 3,
    count: int | None = None,
    end: bytes = b"",
) -> bytes:
    infos, data = b"", b""
    for name, one in model.items():
        kind, _ = GGML_TYPES[one.dtype]
        data += bytes(-len(data) % alignment)
        sides = struct.pack(f"<{len(one.shape)}Q", *reversed(one.shape))
        infos += gguf_text(name) + struct.pack("<I", len(one.shape)) + sides + struct.pack("<IQ", kind, len(data))
        data += one.data
    stated = len(model) if count is None else count
    head = b"GGUF" + struct.pack("<IQQ", version, stated, len(pairs)) + b"".join(pairs) + infos
    return head + bytes(-len(head) % alignment) + data + end


def gguf_pair(key: str, kind: int, value: bytes) -> bytes:
    return gguf_text(key) + struct.pack("<I", kind) + value


# --- PyTorch --------------------------------------------------------------------------------------


def pickled(value: object) -> bytes:
    """A value's opcodes without PROTO and STOP: numbers, texts, tuples, lists and dictionaries."""
    match value:
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"\x8a" + bytes([9]) + value.to_bytes(9, "little", signed=True)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(pickled, value)) + b"t"
        case list():
            return b"](" + b"".join(map(pickled, value)) + b"e"
        case dict():
            return b"}(" + b"".join(pickled(key) + pickled(item) for key, item in value.items()) + b"u"
        case bytes():
            return value  # opcodes already
        case None:
            return b"N"
        case _:
            raise TypeError(value)


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def tensor_opcodes(
    dtype: str, key: str, count: int, offset: int, shape: Sides, strides: Sides, *, view: bytes = b""
) -> bytes:
    storage = named("torch", f"{STORAGES[dtype]}Storage")
    pid = b"(" + pickled("storage") + storage + pickled(key) + pickled("cpu") + pickled(count) + view + b"tQ"
    arguments = pid + pickled(offset) + pickled(shape) + pickled(strides) + pickled(False)
    return (
        named("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + named("collections", "OrderedDict") + b")RtR"
    )


def row_major(shape: Sides) -> Sides:
    return tuple(prod(shape[at + 1 :]) for at in range(len(shape)))


def make_state_dict(model: Model) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The opcodes of each tensor, and the bytes of each storage by its key."""
    opcodes, storages = dict[str, bytes](), dict[str, bytes]()
    for number, (name, one) in enumerate(model.items()):
        opcodes[name] = tensor_opcodes(one.dtype, str(number), prod(one.shape), 0, one.shape, row_major(one.shape))
        storages[str(number)] = one.data
    return opcodes, storages


def make_torch_zip(
    value: object, storages: Mapping[str, bytes], *, packed: bool = False, order: str = "little", root: str = "archive"
) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        file.writestr(f"{root}/data.pkl", b"\x80\x02" + pickled(value) + b".")
        file.writestr(f"{root}/byteorder", order)
        for key, data in storages.items():
            file.writestr(f"{root}/data/{key}", data)
        file.writestr(f"{root}/version", "3\n")
    return target.getvalue()


def make_torch_legacy(value: object, storages: Sequence[tuple[str, int, bytes]]) -> bytes:
    """``storages``: key, element count, bytes."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    heads = (0x1950A86A20F9469CFC6C, 1001, system)
    start = b"".join(pickle.dumps(head, 2) for head in heads) + b"\x80\x02" + pickled(value) + b"."
    keys = pickle.dumps([key for key, _, _ in storages], 2)
    return start + keys + b"".join(struct.pack("<Q", count) + data for _, count, data in storages)


def torch_zip_of(model: Model) -> bytes:
    return make_torch_zip(*make_state_dict(model))


def torch_legacy_of(model: Model) -> bytes:
    opcodes, storages = make_state_dict(model)
    counts = {str(number): prod(one.shape) for number, one in enumerate(model.values())}
    return make_torch_legacy(opcodes, [(key, counts[key], data) for key, data in storages.items()])


# --- ONNX -----------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def onnx_tensor(name: str, one: Given, *, raw: bytes | None = None) -> bytes:
    dims = b"".join(field(1, side) for side in one.shape)
    content = field(9, one.data if raw is None else raw)
    return dims + field(2, ONNX_TYPES[one.dtype]) + field(8, name) + content


def onnx_external(name: str, one: Given, location: str, offset: int, length: int | None = None) -> bytes:
    pairs = {"location": location, "offset": str(offset), "length": str(len(one.data) if length is None else length)}
    dims = b"".join(field(1, side) for side in one.shape)
    entries = b"".join(field(13, field(1, key) + field(2, value)) for key, value in pairs.items())
    return dims + field(2, ONNX_TYPES[one.dtype]) + field(8, name) + entries + field(14, 1)


def make_onnx(initializers: Iterable[bytes], nodes: Iterable[bytes] = ()) -> bytes:
    graph = b"".join(field(1, node) for node in nodes) + field(2, "graph")
    graph += b"".join(field(5, one) for one in initializers)
    return field(1, 10) + field(2, "test") + field(7, graph)


def onnx_of(model: Model) -> bytes:
    return make_onnx([onnx_tensor(name, one) for name, one in model.items()])


# --- NumPy ----------------------------------------------------------------------------------------

NUMPY_TYPES = {
    "F64": "<f8",
    "I64": "<i8",
    "F32": "<f4",
    "I32": "<i4",
    "F16": "<f2",
    "U8": "|u1",
    "I8": "|i1",
    "BOOL": "|b1",
}


def make_npy(one: Given, *, descr: str | None = None, fortran: bool = False, data: bytes | None = None) -> bytes:
    shape = f"({one.shape[0]},)" if len(one.shape) == 1 else str(tuple(one.shape))
    return make_raw_npy(
        f"{{'descr': '{descr or NUMPY_TYPES[one.dtype]}', 'fortran_order': {fortran}, 'shape': {shape}, }}",
        one.data if data is None else data,
    )


def make_raw_npy(header: str, data: bytes) -> bytes:
    text = header.encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def make_npz(model: Model, *, packed: bool = False) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for name, one in model.items():
            file.writestr(f"{name}.npy", make_npy(one))
    return target.getvalue()
