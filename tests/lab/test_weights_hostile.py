"""Files made to mislead, exhaust or escape are refused, each by its code and on one line (K6, K10)."""

from __future__ import annotations

import contextlib
import io
import pickle
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights import layout, measuring, pickles, pytorch, torch_objects, zips
from glasslog_lab.weights.measuring import measure
from weights_files import (
    field,
    gguf_pair,
    gguf_text,
    make_gguf,
    make_given,
    make_npy,
    make_npz,
    make_onnx,
    make_raw_npy,
    make_raw_safetensors,
    make_safetensors,
    make_state_dict,
    make_torch_legacy,
    make_torch_zip,
    named,
    onnx_external,
    onnx_of,
    onnx_tensor,
    pickled,
    tensor_opcodes,
    torch_legacy_of,
    torch_zip_of,
    varint,
)

ONE = make_given("F32", (2, 3), 5)
MODEL = {"a": ONE, "b": make_given("U8", (3,))}
NO_BYTES = {"a": make_given("F32", (2, 3)), "b": make_given("I64", (2,))}


def refuse(tmp_path: Path, name: str, data: bytes) -> ArtifactError:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ArtifactError) as caught:
        measure(path)
    error = caught.value
    assert "\n" not in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 600
    return error


# --- safetensors (its header alone is in test_weights_safetensors.py) -----------------------------


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("TENSOR-01", b""),
        ("TENSOR-01", b"\xff" * 7),
        ("TENSOR-01", b"\xff" * 64),
        ("TENSOR-03", make_raw_safetensors([], b"")),
        ("TENSOR-04", make_raw_safetensors(b'{"a":0,"a":0}', b"")),
        ("TENSOR-06", make_raw_safetensors(b'{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,1]}}', b"x")),
        ("TENSOR-06", make_raw_safetensors({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}}, b"x")),
        ("TENSOR-09", make_safetensors(MODEL) + b"more"),
        ("TENSOR-09", make_safetensors(MODEL)[:-1]),
    ],
)
def test_safetensors(tmp_path: Path, code: str, data: bytes) -> None:
    found = refuse(tmp_path, "m.safetensors", data)
    assert found.code == code or (code, found.code) == ("TENSOR-06", "TENSOR-03")


# --- PyTorch --------------------------------------------------------------------------------------


def torch(
    value: object, storages: dict[str, bytes] | None = None, *, order: str = "little", root: str = "archive"
) -> bytes:
    return make_torch_zip(value, storages or {"0": bytes(24)}, order=order, root=root)


def tensor(**changed: object) -> bytes:
    given: dict[str, object] = {"dtype": "F32", "key": "0", "count": 6, "offset": 0, "shape": (2, 3), "strides": (3, 1)}
    return tensor_opcodes(**{**given, **changed})  # type: ignore[arg-type]  # what is tested is what is wrong


def call(module: str, name: str, arguments: bytes) -> bytes:
    return named(module, name) + arguments + b"R"


PERSISTENT = (
    b"(" + pickled("storage") + named("torch", "FloatStorage") + pickled("0") + pickled("cpu") + pickled(6) + b"tQ"
)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("WEIGHTS-30", torch(b"")),
        ("WEIGHTS-30", torch(b"R")),
        ("WEIGHTS-30", torch(b"t")),
        ("WEIGHTS-30", torch(b"(")),
        ("WEIGHTS-30", torch(b"h\x07")),
        ("WEIGHTS-30", torch(b"Nb")),
        ("WEIGHTS-30", torch(b"NNs")),
        ("WEIGHTS-30", torch(b"\x8d" + b"\xff" * 8)),
        ("WEIGHTS-30", torch(b"c" + b"x" * 5_000)),
        ("WEIGHTS-30", torch(b"cos\n")),
        ("WEIGHTS-30", torch(b"\x8c\x02\xff\xff")),
        ("WEIGHTS-31", torch(b"](" + pickled("x" * 60_000) * 900 + b"e")),
        ("WEIGHTS-32", torch(b"\x82\x01")),
        ("WEIGHTS-32", torch(b"\x80\x06N")),
        ("WEIGHTS-32", torch(b"\x8a\xff" + bytes(255))),
        ("WEIGHTS-32", torch(b"S'\\x00'\n")),
        ("WEIGHTS-33", torch({"a": tensor(count=5)})),
        ("WEIGHTS-33", torch({"a": tensor(offset=1)})),
        ("WEIGHTS-33", torch({"a": tensor(offset=-1)})),
        ("WEIGHTS-33", torch({"a": tensor(strides=(3,))})),
        ("WEIGHTS-33", torch({"a": tensor(strides=(-3, 1))})),
        ("WEIGHTS-33", torch({"a": tensor(shape=(2, -3))})),
        ("WEIGHTS-33", torch({"a": tensor(shape=(1 << 62, 1 << 62))})),
        ("WEIGHTS-33", torch({"a": tensor(shape=(1,) * 65, strides=(1,) * 65)})),
        ("WEIGHTS-33", torch({"a": tensor(count=-1)})),
        ("WEIGHTS-33", torch({"a": call("torch._utils", "_rebuild_tensor_v2", b"N")})),
        ("WEIGHTS-33", torch({"a": call("torch._utils", "_rebuild_tensor_v2", b"(NNNNt")})),
        ("WEIGHTS-33", torch({"a": call("torch._utils", "_rebuild_tensor_v2", b"(" + PERSISTENT + b"\x88NNt")})),
        ("WEIGHTS-33", torch({"a": tensor().replace(b"storage", b"stowage")})),
        ("WEIGHTS-16", torch({"a": tensor().replace(b"FloatStorage", b"FancyStorage")})),
        ("WEIGHTS-16", torch({"a": call("torch._utils", "_rebuild_sparse_tensor", b")")})),
        ("WEIGHTS-16", torch({"a": call("torch._utils", "_rebuild_qtensor", b")")})),
        ("WEIGHTS-17", torch({"a": tensor(shape=(1 << 40, 6), strides=(0, 1))})),
        ("WEIGHTS-22", torch({"a": tensor()}, root="x/..")),
        ("WEIGHTS-34", torch({"a": tensor()}, order="middle")),
        ("WEIGHTS-35", torch({"a": tensor(key="1")})),
        ("WEIGHTS-35", torch({"a": tensor(key="../data.pkl")})),
        ("WEIGHTS-36", torch({"a": tensor()}, {"0": bytes(23)})),
        ("WEIGHTS-14", torch({"a": {"b": tensor()}, "a.b": tensor()})),
        ("WEIGHTS-14", torch({b"\x8c\x03\xed\xa0\x80": tensor()})),
    ],
)
def test_pytorch_zip(tmp_path: Path, code: str, data: bytes) -> None:
    assert refuse(tmp_path, "m.pt", data).code == code


def test_every_global_is_inert(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(ran)!r}, 'w')",)

    for protocol in range(6):
        value = pickle.dumps([Hostile(), {"x": Hostile()}], protocol)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as file:
            file.writestr("a/data.pkl", value)
        (tmp_path / "m.pt").write_bytes(target.getvalue())
        assert measure(tmp_path / "m.pt").tensors == ()
    assert not ran.exists()


def test_values_within_themselves_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cycle = b"]q\x00h\x00a"
    (tmp_path / "m.pt").write_bytes(torch(cycle))
    assert measure(tmp_path / "m.pt").tensors == ()
    monkeypatch.setattr(torch_objects, "VISITS_MAX", 10_000)
    doubled = b"(" + tensor() + b"t" + b"".join(b"q%c](h%ch%ce" % (n, n, n) for n in range(40))
    assert refuse(tmp_path, "n.pt", torch(doubled)).code == "WEIGHTS-31"
    deep = b"](" * 20_000 + b"e" * 20_000
    assert refuse(tmp_path, "o.pt", torch(deep)).code == "WEIGHTS-31"


def test_opcodes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "OPCODES_MAX", 1_000)
    assert refuse(tmp_path, "m.pt", torch(b"N0" * 501 + b"N")).code == "WEIGHTS-31"


def test_tensors_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "TENSORS_MAX", 1)
    assert refuse(tmp_path, "m.npz", make_npz(MODEL)).code == "WEIGHTS-15"


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("WEIGHTS-30", torch_legacy_of(MODEL)[:60]),
        ("WEIGHTS-30", torch_legacy_of(MODEL)[:-1]),
        ("WEIGHTS-36", torch_legacy_of(MODEL) + b"x"),
        ("WEIGHTS-34", torch_legacy_of(MODEL).replace(b"M\xe9\x03.", b"M\xea\x03.")),
        ("WEIGHTS-35", make_torch_legacy({"a": tensor()}, [])),
        ("WEIGHTS-36", make_torch_legacy({"a": tensor()}, [("0", 6, bytes(24)), ("0", 6, bytes(24))])),
        ("WEIGHTS-36", make_torch_legacy({"a": tensor()}, [("0", 6, bytes(24)), ("1", 6, bytes(24))])),
        ("WEIGHTS-36", make_torch_legacy({"a": tensor()}, [("0", 5, bytes(20))])),
        ("WEIGHTS-30", make_torch_legacy({"a": tensor()}, [("0", 1 << 63, bytes(24))])),
        ("WEIGHTS-36", make_torch_legacy({"a": tensor(), "b": tensor(dtype="U8")}, [("0", 6, bytes(24))])),
        (
            "WEIGHTS-33",
            make_torch_legacy(
                {"a": tensor(view=b"(" + pickled("v") + pickled(3) + pickled(6) + b"t")}, [("0", 6, bytes(24))]
            ),
        ),
    ],
)
def test_pytorch_legacy(tmp_path: Path, code: str, data: bytes) -> None:
    assert refuse(tmp_path, "m.bin", data).code == code


# --- zip ------------------------------------------------------------------------------------------


def make_zip(change: Callable[[zipfile.ZipFile], None], *, packed: bool = False) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        file.writestr("m/data.pkl", b"\x80\x02}.")
        change(file)
    return target.getvalue()


def patch(data: bytes, after: bytes, offset: int, new: bytes) -> bytes:
    """Replace bytes at an offset from the last place where ``after`` stands."""
    at = data.rindex(after) + offset
    return data[:at] + new + data[at + len(new) :]


PLAIN = torch_zip_of(MODEL)
NAMES = ("/abs", "../up", "m/../../up", "m//x", "m/\\x", "m/./x")


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("WEIGHTS-20", b"PK\x03\x04"),
        ("WEIGHTS-20", PLAIN[:-1]),
        ("WEIGHTS-20", PLAIN[: len(PLAIN) // 2]),
        ("WEIGHTS-20", PLAIN + b"x"),
        ("WEIGHTS-20", patch(PLAIN, b"PK\x05\x06", 12, b"\xff\xff\xff\x0f")[:]),
        ("WEIGHTS-21", patch(PLAIN, b"PK\x05\x06", 4, b"\x01\x00")),
        ("WEIGHTS-21", patch(PLAIN, b"PK\x01\x02", 8, b"\x01\x00")),
        ("WEIGHTS-21", patch(PLAIN, b"PK\x01\x02", 10, b"\x0c\x00")),
        ("WEIGHTS-23", patch(PLAIN, b"PK\x01\x02", 42, b"\x00\x00\x00\x00")),
        ("WEIGHTS-23", patch(PLAIN, b"PK\x01\x02", 42, b"\xff\xff\xff\x7f")),
        ("WEIGHTS-23", patch(PLAIN, b"PK\x01\x02", 20, b"\x01\x00\x00\x00")),
        ("WEIGHTS-24", patch(PLAIN, b"PK\x05\x06", 12, b"\xff\xff\xff\x7f")),
    ],
)  # fmt: skip
def test_zip_that_contradicts_itself(tmp_path: Path, code: str, data: bytes) -> None:
    found = refuse(tmp_path, "m.pt", data).code
    assert found == code or (code, found) == ("WEIGHTS-20", "WEIGHTS-24")


@pytest.mark.parametrize("name", NAMES)
def test_zip_entry_that_leads_out(tmp_path: Path, name: str) -> None:
    assert refuse(tmp_path, "m.pt", make_zip(lambda file: file.writestr(name, b""))).code == "WEIGHTS-22"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_entry_twice(tmp_path: Path) -> None:
    assert refuse(tmp_path, "m.pt", make_zip(lambda file: file.writestr("m/data.pkl", b"N."))).code == "WEIGHTS-22"


def test_zip_entries_of_the_same_bytes(tmp_path: Path) -> None:
    def write(file: zipfile.ZipFile) -> None:
        file.writestr("m/data/0", b"1234")
        file.writestr("m/data/1", b"5678")

    data = make_zip(write)
    shared = patch(data, b"PK\x01\x02", 42, struct.pack("<I", data.index(b"PK\x03\x04", 30)))
    assert refuse(tmp_path, "m.pt", shared).code == "WEIGHTS-23"


def test_zip_entry_that_reaches_over_the_next(tmp_path: Path) -> None:
    def write(file: zipfile.ZipFile) -> None:
        file.writestr("m/data/0", b"1234")
        file.writestr("m/data/1", b"5678")

    data = make_zip(write)
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))
    sizes = struct.pack("<II", 40, 40)
    assert refuse(tmp_path, "m.pt", data[: entry + 20] + sizes + data[entry + 28 :]).code == "WEIGHTS-23"


@pytest.mark.parametrize(("field_at", "code"), [(None, ""), (32, "WEIGHTS-20"), (40, "WEIGHTS-20"), (48, "WEIGHTS-20")])
def test_zip_with_a_wide_and_a_narrow_directory(tmp_path: Path, field_at: int | None, code: str) -> None:
    """PyTorch writes both; they have to agree, else two readers could follow one each."""
    end = PLAIN.rindex(b"PK\x05\x06")
    _, _, _, _, count, size, begin, _ = struct.unpack_from("<4s4H2IH", PLAIN, end)
    record = bytearray(struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, begin))
    if field_at is not None:
        record[field_at] ^= 1
        if field_at == 32:
            record[24] ^= 1  # entries here and entries in all
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    data = PLAIN[:end] + bytes(record) + locator + PLAIN[end:]
    if field_at is not None:
        assert refuse(tmp_path, "m.pt", data).code == code
        return
    (tmp_path / "m.pt").write_bytes(data)
    assert len(measure(tmp_path / "m.pt").tensors) == 2
    narrow = patch(data, b"PK\x05\x06", 8, struct.pack("<HH", count - 1, count - 1))
    assert refuse(tmp_path, "m.pt", narrow).code == "WEIGHTS-20"
    lost = data.replace(b"PK\x06\x06", b"PK\x06\x08")
    assert refuse(tmp_path, "m.pt", lost).code == "WEIGHTS-20"


def test_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "UNPACKED_FREE", 1 << 20)
    monkeypatch.setattr(pytorch, "PACKED_PICKLE_BYTES_MAX", 1 << 19)
    bomb = make_zip(lambda file: file.writestr("m/data/0", bytes(4 << 20)), packed=True)
    assert len(bomb) < 16 << 10
    assert refuse(tmp_path, "m.pt", bomb).code == "WEIGHTS-24"
    large = make_zip(lambda file: file.writestr("m/constants.pkl", b"N" * (1 << 19) + b"N"), packed=True)
    assert refuse(tmp_path, "m.pt", large).code == "WEIGHTS-24"


def test_zip_entry_that_unpacks_to_something_else(tmp_path: Path) -> None:
    opcodes, storages = make_state_dict({"a": make_given("U8", (4_000,))})
    data = make_torch_zip(opcodes, storages, packed=True)
    for size in (3_999, 4_001, 1 << 20):
        entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))
        changed = data[: entry + 24] + struct.pack("<I", size) + data[entry + 28 :]
        assert refuse(tmp_path, "m.pt", changed).code in {"WEIGHTS-25", "WEIGHTS-36"}
    packed = zlib.compressobj(wbits=-15)
    inner = packed.compress(storages["0"]) + packed.flush()
    broken = data.replace(inner[:40], bytes(40))
    assert broken != data
    assert refuse(tmp_path, "m.pt", broken).code == "WEIGHTS-25"


def test_nested_zips_are_no_model(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr("m/model.pt", PLAIN)
    path.write_bytes(target.getvalue())
    assert measure(path).tensors == ()
    assert refuse(tmp_path, "m.pt", make_zip(lambda file: file.writestr("n/data.pkl", b"N."))).code == "WEIGHTS-34"
    assert refuse(tmp_path, "m.npz", target.getvalue()).code == "WEIGHTS-60"


# --- GGUF -----------------------------------------------------------------------------------------

WHOLE = make_gguf(NO_BYTES)


def gguf(tensors: int, pairs: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + rest


def info(name: str, sides: tuple[int, ...], kind: int, offset: int) -> bytes:
    return gguf_text(name) + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, kind, offset)


def with_infos(*infos: bytes, size: int = 0) -> bytes:
    head = gguf(len(infos), 0, b"".join(infos))
    return head + bytes(-len(head) % 32) + bytes(size)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("WEIGHTS-40", b""),
        ("WEIGHTS-40", b"GGML" + bytes(60)),
        ("WEIGHTS-40", WHOLE[:-1]),
        ("WEIGHTS-40", gguf(0, 0, version=1)),
        ("WEIGHTS-40", gguf(0, 0, version=0x03000000)),
        ("WEIGHTS-41", gguf(1 << 63, 0)),
        ("WEIGHTS-41", gguf(0, 1 << 63)),
        ("WEIGHTS-41", gguf(0, 1, struct.pack("<Q", 1 << 63) + bytes(20))),
        ("WEIGHTS-40", gguf(0, 1, gguf_pair("k", 8, struct.pack("<Q", 1 << 63)))),
        ("WEIGHTS-41", gguf(0, 1, gguf_pair("k", 9, struct.pack("<IQ", 8, 1 << 63)))),
        ("WEIGHTS-40", gguf(0, 1, gguf_pair("k", 9, struct.pack("<IQ", 0, 1 << 63)))),
        ("WEIGHTS-41", gguf(0, 1, gguf_pair("k", 9, struct.pack("<IQ", 9, 1) * 6))),
        ("WEIGHTS-41", gguf(0, 1, gguf_pair("k", 13, bytes(8)))),
        ("WEIGHTS-41", gguf(0, 1, gguf_pair("k", 9, struct.pack("<IQ", 13, 1)))),
        ("WEIGHTS-41", gguf(0, 2, gguf_pair("k", 0, b"1") * 2)),
        ("WEIGHTS-41", gguf(0, 1, gguf_text(b"\xff\xff") + bytes(8))),
        ("WEIGHTS-41", gguf(0, 1, gguf_pair("general.alignment", 4, struct.pack("<I", 3)))),
        ("WEIGHTS-41", gguf(0, 1, gguf_pair("general.alignment", 4, struct.pack("<I", 0)))),
        ("WEIGHTS-41", gguf(0, 1, gguf_pair("general.alignment", 8, gguf_text("32")))),
        ("WEIGHTS-41", with_infos(info("a", (1,) * 9, 0, 0))),
        ("WEIGHTS-41", with_infos(info("a", (1 << 63,), 0, 0))),
        ("WEIGHTS-41", with_infos(info("a", (1 << 62, 1 << 62), 0, 0))),
        ("WEIGHTS-41", with_infos(info("a", (4,), 99, 0), size=16)),
        ("WEIGHTS-41", with_infos(info("a", (33,), 2, 0), size=64)),
        ("WEIGHTS-40", with_infos(info("a", (1 << 40,), 0, 0), size=64)),
        ("WEIGHTS-40", with_infos(info("a", (4,), 0, 1 << 62))),
        ("WEIGHTS-42", with_infos(info("a", (4,), 0, 8), size=64)),
        ("WEIGHTS-42", with_infos(info("a", (4,), 0, 32), size=64)),
        ("WEIGHTS-42", with_infos(info("a", (16,), 0, 0), info("b", (4,), 0, 32), size=64)),
        ("WEIGHTS-42", with_infos(info("a", (4,), 0, 0), info("b", (4,), 0, 64), size=80)),
        ("WEIGHTS-42", make_gguf(NO_BYTES, end=bytes(64))),
        ("WEIGHTS-14", with_infos(info("a", (4,), 0, 0), info("a", (4,), 0, 32), size=48)),
    ],
)
def test_gguf(tmp_path: Path, code: str, data: bytes) -> None:
    found = refuse(tmp_path, "m.gguf", data).code
    assert found == code or (code, found) == ("WEIGHTS-40", "WEIGHTS-42")


# --- ONNX -----------------------------------------------------------------------------------------


def onnx(dims: bytes, kind: int, content: bytes) -> bytes:
    return make_onnx([dims + field(2, kind) + field(8, "a") + content])


SIX = field(1, 2) + field(1, 3)
WHOLE_ONNX = onnx_of(MODEL)


def nest(depth: int) -> bytes:
    graph = field(5, onnx_tensor("a", ONE))
    for _ in range(depth):
        graph = field(1, field(3, "n") + field(5, field(1, "g") + field(6, graph)))
    return field(1, 10) + field(7, graph)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("WEIGHTS-50", b""),
        ("WEIGHTS-50", b"\xff" * 20),
        ("WEIGHTS-50", WHOLE_ONNX[:-1]),
        ("WEIGHTS-50", WHOLE_ONNX[:40]),
        ("WEIGHTS-50", field(7, b"") * 2),
        ("WEIGHTS-50", varint(7 << 3 | 3)),
        ("WEIGHTS-50", varint(0) + b"\x00"),
        ("WEIGHTS-50", field(7, 3)),
        ("WEIGHTS-50", varint(7 << 3 | 2) + b"\xff" * 9 + b"\x01"),
        ("WEIGHTS-50", onnx(SIX, 1, field(9, ONE.data)).replace(field(8, "a"), field(8, b"\xff"))),
        ("WEIGHTS-51", onnx(SIX, 99, field(9, ONE.data))),
        ("WEIGHTS-51", onnx(SIX, 1, field(9, ONE.data[1:]))),
        ("WEIGHTS-51", onnx(SIX, 1, b"")),
        ("WEIGHTS-51", onnx(SIX, 1, field(9, ONE.data) + field(4, ONE.data))),
        ("WEIGHTS-51", onnx(SIX, 1, field(7, varint(1) * 6))),
        ("WEIGHTS-51", onnx(SIX, 7, field(7, varint(1) * 5))),
        ("WEIGHTS-51", onnx(SIX, 7, field(7, varint(1) * 7))),
        ("WEIGHTS-51", onnx(SIX, 7, field(7, varint(-1) * 50))),
        ("WEIGHTS-51", onnx(SIX, 1, field(4, ONE.data[4:]))),
        ("WEIGHTS-51", onnx(SIX, 1, field(9, ONE.data) * 2)),
        ("WEIGHTS-51", onnx(field(1, -1), 1, field(9, ONE.data))),
        ("WEIGHTS-51", onnx(field(1, 1 << 62) * 2, 1, field(9, ONE.data))),
        ("WEIGHTS-51", onnx(field(1, 1) * 65, 1, field(9, b"1234"))),
        ("WEIGHTS-51", make_onnx([onnx_external("a", ONE, "w", 0) + field(9, ONE.data)])),
        ("WEIGHTS-51", make_onnx([onnx_external("a", ONE, "w", 0, 5)])),
        ("WEIGHTS-51", make_onnx([onnx_external("a", ONE, "w", -1)])),
        (
            "WEIGHTS-51",
            make_onnx([], [field(4, "Constant") + field(5, field(1, "value") + field(5, onnx_tensor("", ONE)))]),
        ),
        ("WEIGHTS-52", make_onnx([onnx_external("a", ONE, "../w", 0)])),
        ("WEIGHTS-52", make_onnx([onnx_external("a", ONE, "/etc/passwd", 0)])),
        ("WEIGHTS-52", make_onnx([onnx_external("a", ONE, "", 0)])),
        ("WEIGHTS-52", make_onnx([onnx_external("a", ONE, "a\\w", 0)])),
        ("WEIGHTS-53", nest(20)),
        ("WEIGHTS-16", field(7, field(15, b""))),
        ("WEIGHTS-16", onnx(SIX, 1, field(3, b""))),
        ("WEIGHTS-14", make_onnx([onnx_tensor("a", ONE), onnx_tensor("a", ONE)])),
        ("WEIGHTS-15", onnx(field(1, 5_000), 1, (varint(4 << 3 | 5) + b"1234") * 5_000)),
    ],
)
def test_onnx(tmp_path: Path, code: str, data: bytes) -> None:
    assert refuse(tmp_path, "m.onnx", data).code == code


def test_onnx_data_through_a_link_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(ONE.data)
    (folder / "w").symlink_to("../secret")
    assert refuse(folder, "m.onnx", make_onnx([onnx_external("a", ONE, "w", 0)])).code == "FILE-02"


# --- NumPy ----------------------------------------------------------------------------------------

HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("WEIGHTS-60", b""),
        ("WEIGHTS-60", b"\x93NUMPY\x04\x00" + bytes(80)),
        ("WEIGHTS-60", b"\x93NUMPY\x02\x00\xff\xff\xff\xff"),
        ("WEIGHTS-60", make_raw_npy("__import__('os').system('x')", b"")),
        ("WEIGHTS-60", make_raw_npy(HEADER.replace("(2, 3)", "(__import__('os'), 3)"), ONE.data)),
        ("WEIGHTS-60", make_raw_npy(HEADER.replace("<f4", "|O"), ONE.data)),
        ("WEIGHTS-60", make_raw_npy(HEADER.replace("<f4", "<U9"), ONE.data)),
        ("WEIGHTS-60", make_raw_npy(HEADER.replace("'<f4'", "[('a', '<f4')]"), ONE.data)),
        ("WEIGHTS-60", make_raw_npy(HEADER.replace("(2, 3)", "(-2, 3)"), ONE.data)),
        ("WEIGHTS-60", make_raw_npy(HEADER.replace("(2, 3)", "(nan, 3)"), ONE.data)),
        ("WEIGHTS-60", make_raw_npy(HEADER.replace("(2, 3)", "(" + "1, " * 65 + ")"), b"1234")),
        ("WEIGHTS-60", make_raw_npy(HEADER.replace("2, 3", "9" * 19 + ", 9"), ONE.data)),
        ("WEIGHTS-60", make_raw_npy(HEADER + HEADER, ONE.data)),
        ("WEIGHTS-60", make_raw_npy(HEADER.replace("'descr': '<f4'", "'descr': '<f4', 'descr': '<f8'"), ONE.data)),
        ("WEIGHTS-61", make_npy(ONE, data=ONE.data[1:])),
        ("WEIGHTS-61", make_npy(ONE, data=ONE.data + b"1")),
    ],
)
def test_npy(tmp_path: Path, code: str, data: bytes) -> None:
    assert refuse(tmp_path, "m.npy", data).code == code


@pytest.mark.parametrize("packed", [True, False])
def test_npz(tmp_path: Path, *, packed: bool) -> None:
    def write(content: bytes) -> Callable[[zipfile.ZipFile], None]:
        def into(file: zipfile.ZipFile) -> None:
            file.writestr("a.npy", content)

        return into

    def archive(content: bytes) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
            write(content)(file)
        return target.getvalue()

    assert refuse(tmp_path, "m.npz", archive(make_npy(ONE, data=ONE.data[1:]))).code == "WEIGHTS-61"
    assert refuse(tmp_path, "m.npz", archive(b"\x80\x04N.")).code == "WEIGHTS-60"


def test_views_of_views_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlapping tensors of one storage: many times the bytes that there are."""
    monkeypatch.setattr(measuring, "CONTENT_FREE_BYTES", 1 << 20)
    opcodes = {str(at): tensor(count=65_536, offset=at, shape=(65_000,), strides=(1,)) for at in range(16)}
    assert refuse(tmp_path, "m.pt", torch(opcodes, {"0": bytes(262_144)})).code == "WEIGHTS-17"


# --- all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.safetensors", make_safetensors(MODEL)),
        ("m.gguf", make_gguf(NO_BYTES, [gguf_pair("general.name", 8, gguf_text("x"))])),
        ("m.pt", PLAIN),
        ("m.bin", torch_legacy_of(MODEL)),
        ("m.npy", make_npy(ONE)),
        ("m.npz", make_npz(MODEL, packed=True)),
        ("m.onnx", WHOLE_ONNX),
    ],
)
def test_file_cut_anywhere_is_refused_or_has_other_tensors(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    whole = measure(path).content_root
    assert whole is not None
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with contextlib.suppress(ArtifactError):
            assert measure(path, threads=1).content_root != whole, length


def test_hostile_file_takes_little_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuse(tmp_path, "m.pt", torch(b"](" + pickled("x" * 60_000) * 900 + b"e"))
    refuse(tmp_path, "m.gguf", gguf(0, 1, gguf_pair("k", 9, struct.pack("<IQ", 8, 1 << 40)) + bytes(1 << 20)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10
