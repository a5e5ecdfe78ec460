"""Every container is read to the same tensors, however they lie in it: strided, swapped, packed, in pieces (K2, K4)."""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from random import Random

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights import sources
from glasslog_lab.weights.layout import Strided
from glasslog_lab.weights.measuring import measure
from glasslog_lab.weights.sources import read_source
from glasslog_lab.weights.windows import MemoryWindow
from weights_files import (
    Given,
    Sides,
    field,
    gguf_pair,
    gguf_text,
    make_gguf,
    make_given,
    make_npy,
    make_npz,
    make_onnx,
    make_state_dict,
    make_torch_legacy,
    make_torch_zip,
    named,
    onnx_tensor,
    pickled,
    row_major,
    tensor_opcodes,
    varint,
)

ONE = make_given("F32", (2, 3), 5)


def read(path: Path, data: bytes) -> dict[str, tuple[str, Sides, bytes]]:
    path.write_bytes(data)
    return {one.name: (one.dtype, one.shape, one.content) for one in measure(path).tensors}


def expect(**model: Given) -> dict[str, tuple[str, Sides, bytes]]:
    return {name: (one.dtype, one.shape, blake3(one.data).digest()) for name, one in model.items()}


def ordered(tensors: dict[str, bytes]) -> bytes:
    """An OrderedDict with an attribute, which is what ``Module.state_dict()`` returns."""
    items = b"".join(pickled(name) + pickled(one) for name, one in tensors.items())
    return named("collections", "OrderedDict") + b")R(" + items + b"u" + pickled({"_metadata": {"": {}}}) + b"b"


def swap(data: bytes, width: int) -> bytes:
    return b"".join(data[at : at + width][::-1] for at in range(0, len(data), width))


# --- strides --------------------------------------------------------------------------------------


@st.composite
def views(draw: st.DrawFn) -> Strided:
    shape = tuple(draw(st.lists(st.integers(1, 5), max_size=4)))
    strides = tuple(draw(st.lists(st.integers(0, 30), min_size=len(shape), max_size=len(shape))))
    item = draw(st.sampled_from([1, 2, 4, 8, 16]))
    reach = (sum((side - 1) * step for side, step in zip(shape, strides, strict=True)) + 1) * item
    begin = draw(st.integers(0, 3))
    halves = draw(st.sampled_from([1, item])) if item < 16 else draw(st.sampled_from([1, 8]))
    return Strided("f", begin, begin + reach, item, shape, strides, halves)


def gather(source: Strided, data: bytes) -> bytes:
    """What the strides mean, element by element."""
    places = [0]
    for side, step in zip(source.shape, source.strides, strict=True):
        places = [place + number * step for place in places for number in range(side)]
    elements = [data[source.begin + place * source.item :][: source.item] for place in places]
    whole = b"".join(elements)
    return whole if source.swap == 1 else swap(whole, source.swap)


@given(views(), st.sampled_from([8, 100, 64 << 20]))
def test_any_view_is_gathered(view: Strided, held: int) -> None:
    data = Random(1).randbytes(view.end)
    kept, sources.GATHERED_BYTES_MAX = sources.GATHERED_BYTES_MAX, held
    try:
        found = b"".join(read_source(view, MemoryWindow(data)))
    except ArtifactError as error:
        if error.code == "WEIGHTS-16" and view.end - view.begin > held:
            return  # rows across one another, in less memory than they reach over
        raise
    finally:
        sources.GATHERED_BYTES_MAX = kept
    assert found == gather(view, data)


def test_view_too_wide_to_hold_is_gathered_by_rows_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "GATHERED_BYTES_MAX", 16)
    data = bytes(range(64))
    by_rows = Strided("f", 0, 62, 1, (4, 7), (16, 2))
    assert b"".join(read_source(by_rows, MemoryWindow(data))) == gather(by_rows, data)
    across = Strided("f", 0, 64, 1, (8, 8), (1, 8))
    with pytest.raises(ArtifactError, match="WEIGHTS-16"):
        list(read_source(across, MemoryWindow(data)))


# --- PyTorch --------------------------------------------------------------------------------------


def test_views_of_one_storage(tmp_path: Path) -> None:
    data = struct.pack("<12f", *range(12))
    opcodes = {
        "whole": tensor_opcodes("F32", "0", 12, 0, (3, 4), (4, 1)),
        "turned": tensor_opcodes("F32", "0", 12, 0, (4, 3), (1, 4)),
        "part": tensor_opcodes("F32", "0", 12, 4, (4,), (1,)),
        "spread": tensor_opcodes("F32", "0", 12, 1, (2, 3), (0, 2)),
        "one": tensor_opcodes("F32", "0", 12, 11, (), ()),
        "none": tensor_opcodes("F32", "0", 12, 0, (0, 4), (4, 1)),
        "odd": tensor_opcodes("F32", "0", 12, 0, (1, 4), (99, 1)),
    }
    expected = expect(
        whole=Given("F32", (3, 4), data),
        turned=Given("F32", (4, 3), struct.pack("<12f", 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11)),
        part=Given("F32", (4,), data[16:32]),
        spread=Given("F32", (2, 3), struct.pack("<6f", 1, 3, 5, 1, 3, 5)),
        one=Given("F32", (), data[44:]),
        none=Given("F32", (0, 4), b""),
        odd=Given("F32", (1, 4), data[:16]),
    )
    assert read(tmp_path / "m.pt", make_torch_zip(opcodes, {"0": data})) == expected
    assert read(tmp_path / "m.pth", make_torch_legacy(opcodes, [("0", 12, data)])) == expected


def test_other_byte_order_and_packed_storages(tmp_path: Path) -> None:
    model = {"a": ONE, "b": make_given("I64", (2,), 8), "c": make_given("U8", (3,)), "d": make_given("BF16", (2, 2))}
    opcodes, storages = make_state_dict(model)
    widths = {"0": 4, "1": 8, "2": 1, "3": 2}
    turned = {key: swap(data, widths[key]) for key, data in storages.items()}
    for order, kept in (("little", storages), ("big", turned)):
        for packed in (False, True):
            data = make_torch_zip(opcodes, kept, packed=packed, order=order)
            assert read(tmp_path / "m.pt", data) == expect(**model)


def test_part_of_a_packed_storage_that_unpacks_in_several_pieces(tmp_path: Path) -> None:
    data = b"".join(struct.pack("<I", number) for number in range(800_000))
    opcodes = {"late": tensor_opcodes("I32", "0", 800_000, 700_000, (50_000,), (1,))}
    found = read(tmp_path / "m.pt", make_torch_zip(opcodes, {"0": data}, packed=True))
    assert found == expect(late=Given("I32", (50_000,), data[2_800_000:3_000_000]))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors, "hyper_parameters": {"lr": 1}},
        lambda tensors: {"model_state_dict": tensors, "epoch": 3, "lr_schedulers": [{"last_epoch": 1}]},
        lambda tensors: {"model": tensors, "optimizer": {"state": {}, "param_groups": []}},
        lambda tensors: {"module": {"state_dict": tensors}},
        lambda tensors: {"model": ordered(tensors), "optimizer": {"state": {}, "param_groups": []}},
        lambda tensors: ordered({"model": ordered(tensors), "rng_state": tensors["a.w"]}),
    ],
)
def test_wrapper_of_a_checkpoint_adds_nothing_to_names(tmp_path: Path, wrap: object) -> None:
    opcodes, storages = make_state_dict({"a.w": ONE})
    assert callable(wrap)
    assert set(read(tmp_path / "m.pt", make_torch_zip(wrap(opcodes), storages))) == {"a.w"}


def test_random_states_and_averages_are_no_part_of_the_model(tmp_path: Path) -> None:
    model = {"w": ONE, "rng": make_given("U8", (4,)), "ema.w": ONE, "cpu": make_given("U8", (2,))}
    opcodes, storages = make_state_dict(model)
    checkpoint = {
        "state_dict": {"w": opcodes["w"]},
        "rng_state": opcodes["rng"],
        "ema": {"w": opcodes["ema.w"]},
        "more": {"python": 1, "numpy": 2, "cpu": opcodes["cpu"]},
    }
    path = tmp_path / "m.ckpt"
    path.write_bytes(make_torch_zip(checkpoint, storages))
    found = measure(path)
    assert [one.name for one in found.tensors] == ["w"]
    assert [one.name for one in found.optimizer] == ["ema.w", "more.cpu", "rng_state"]


def test_pickled_module_has_the_names_of_its_state_dict(tmp_path: Path) -> None:
    opcodes, storages = make_state_dict({"w": ONE, "hidden": ONE, "mean": ONE})
    parameter = named("torch._utils", "_rebuild_parameter") + b"(" + opcodes["w"] + b"\x88N" + b"tR"
    linear = {
        "training": True,
        "_parameters": {"weight": parameter, "bias": None},
        "_buffers": {"mean": opcodes["mean"], "hidden": opcodes["hidden"]},
        "_non_persistent_buffers_set": named("builtins", "set") + b"(](" + pickled("hidden") + b"etR",
        "_modules": {},
    }
    inner = named("torch.nn", "Linear") + b")\x81" + pickled(linear) + b"b"
    outer = {"_parameters": {}, "_buffers": {}, "_modules": {"0": inner}}
    module = named("my.package", "Net") + b")\x81" + pickled(outer) + b"b"
    found = read(tmp_path / "m.pt", make_torch_zip(module, storages))
    assert found == expect(**{"0.weight": ONE, "0.mean": ONE})


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    call = named("os", "system") + b"(" + pickled(f"touch {marker}") + b"tR"
    opcodes, storages = make_state_dict({"w": ONE})
    assert set(read(tmp_path / "m.pt", make_torch_zip({"w": opcodes["w"], "x": call}, storages))) == {"w"}
    assert not marker.exists()


# --- GGUF -----------------------------------------------------------------------------------------


def test_gguf_with_all_kinds_of_values_and_quantised_blocks(tmp_path: Path) -> None:
    pairs = [
        gguf_pair("general.name", 8, gguf_text("tiny")),
        gguf_pair("general.alignment", 4, struct.pack("<I", 64)),
        gguf_pair("tokens", 9, struct.pack("<IQ", 8, 2) + gguf_text("a") + gguf_text("bc")),
        gguf_pair("nested", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 0, 3) + b"123"),
        gguf_pair("long", 8, gguf_text("x" * 5_000)),
        *(
            gguf_pair(f"k{kind}", kind, bytes(size))
            for kind, size in ((0, 1), (5, 4), (6, 4), (7, 1), (10, 8), (12, 8))
        ),
    ]
    model = {"w": ONE, "v": make_given("BF16", (33,), 4)}
    path = tmp_path / "m.gguf"
    assert read(path, make_gguf(model, pairs, alignment=64)) == expect(**model)
    assert measure(path).metadata["general.name"] == "tiny"
    assert "long" not in measure(path).metadata
    block = bytes(range(144))
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + gguf_text("q") + struct.pack("<IQQIQ", 2, 256, 1, 12, 0)
    data = head + bytes(-len(head) % 32) + block
    assert read(path, data) == {"q": ("GGML_Q4_K", (1, 256), blake3(block).digest())}


# --- ONNX -----------------------------------------------------------------------------------------


def test_onnx_keeps_elements_in_many_ways(tmp_path: Path) -> None:
    floats, longs = make_given("F32", (3,)), Given("I64", (3,), struct.pack("<3q", 1, -1, 300))
    halves, bytes_ = (
        Given("F16", (2,), struct.pack("<2H", 7, 65_535)),
        Given("I8", (3,), struct.pack("<3b", 1, -1, -128)),
    )

    def tensor(name: str, one: Given, kind: int, content: bytes) -> bytes:
        return b"".join(field(1, side) for side in one.shape) + field(2, kind) + field(8, name) + content

    spread = b"".join(b"\x25" + floats.data[at : at + 4] for at in range(0, 12, 4))
    initializers = [
        onnx_tensor("raw", floats),
        tensor("packed", floats, 1, field(4, floats.data)),
        tensor("spread", floats, 1, spread),
        tensor("longs", longs, 7, field(7, varint(1) + varint(-1) + varint(300))),
        tensor("one by one", longs, 7, field(7, 1) + field(7, -1) + field(7, 300)),
        tensor("halves", halves, 10, field(5, varint(7) + varint(65_535))),
        tensor("bytes", bytes_, 3, field(5, varint(1) + varint(-1) + varint(-128))),
        tensor("empty", Given("F32", (0,), b""), 1, b""),
        tensor("text", floats, 8, field(6, "abc")),
    ]
    inner = field(1, b"") + field(5, onnx_tensor("then", floats))
    nodes = [
        field(2, "k") + field(4, "Constant") + field(5, field(1, "value") + field(5, onnx_tensor("", floats))),
        field(2, "y") + field(3, "if") + field(4, "If") + field(5, field(1, "then_branch") + field(6, inner)),
    ]
    assert read(tmp_path / "m.onnx", make_onnx(initializers, nodes)) == expect(
        raw=floats,
        packed=floats,
        spread=floats,
        longs=longs,
        **{"one by one": longs, "if.then_branch/then": floats},
        halves=halves,
        bytes=bytes_,
        empty=Given("F32", (0,), b""),
        k=floats,
    )


def test_training_graph_is_no_part_of_the_model(tmp_path: Path) -> None:
    training = field(20, field(1, field(5, onnx_tensor("m", ONE))))
    path = tmp_path / "m.onnx"
    path.write_bytes(make_onnx([onnx_tensor("w", ONE)]) + training)
    assert [one.name for one in measure(path).optimizer] == ["training_info.0/m"]


# --- NumPy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_numpy_archives(tmp_path: Path, *, packed: bool) -> None:
    model = {"a": ONE, "b": make_given("U8", (3,)), "c": make_given("F64", ())}
    assert read(tmp_path / "m.npz", make_npz(model, packed=packed)) == expect(**model)


@given(st.lists(st.integers(1, 4), max_size=3).map(tuple), st.booleans(), st.booleans())
def test_numpy_orders(tmp_path_factory: pytest.TempPathFactory, shape: Sides, fortran: bool, big: bool) -> None:
    one = make_given("F32", shape, 3)
    data = one.data
    if fortran:
        data = b"".join(one.data[4 * place :][:4] for place in _column_major(shape))
    data = swap(data, 4) if big else data
    path = tmp_path_factory.mktemp("npy") / "m.npy"
    assert read(path, make_npy(one, descr=">f4" if big else None, fortran=fortran, data=data)) == expect(m=one)


def _column_major(shape: Sides) -> list[int]:
    """Row-major place of each element, in column-major order."""
    places = list[int]()
    for number in range(prod(shape)):
        place, rest = 0, number
        for side, step in zip(shape, row_major(shape), strict=True):
            place, rest = place + rest % side * step, rest // side
        places.append(place)
    return places
