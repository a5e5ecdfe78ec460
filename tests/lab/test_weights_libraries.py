"""Files made by the formats' own libraries are read to what those libraries say: one root for one model (K1, K2, K4).

Each test needs the library that writes its format, and is skipped by name where that is not installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from glasslog.tensors import Tensor, content_root
from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights.comparing import compare_tensors
from glasslog_lab.weights.measuring import measure


def need(name: str) -> Any:
    return pytest.importorskip(name, reason=f"files written by {name} were not read: it is not installed")


def make_state(torch: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    kinds = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool)
    state = {f"layers.{at}.mlp": torch.randn(4, 3).mul(9).to(kind) for at, kind in enumerate(kinds)}
    state["scalar"] = torch.tensor(3.5)
    state["none"] = torch.zeros(0, 3)
    state["complex"] = torch.randn(2, 2, dtype=torch.complex64)
    state["eight"] = torch.randn(5).to(torch.float8_e4m3fn)
    return state


def root_of(torch: Any, state: dict[str, Any], names: dict[Any, str]) -> bytes:
    """What the library's own bytes say."""
    found = list[Tensor]()
    for name, one in state.items():
        data = one.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if one.numel() else b""
        found.append(Tensor(name, names[one.dtype], tuple(one.shape), blake3(data).digest()))
    return content_root(found)


def test_pytorch_and_safetensors_agree(tmp_path: Path) -> None:
    torch = need("torch")
    save_file = need("safetensors.torch").save_file
    state = make_state(torch)
    save_file(state, tmp_path / "a.safetensors")
    save_file(state, tmp_path / "b.safetensors", metadata={"format": "pt"})
    save_file(state, tmp_path / "c.safetensors", metadata={"a": "1", "b": "2", "c": "3"})
    (tmp_path / "shards").mkdir()
    from json import dumps

    halves = [dict(list(state.items())[:4]), dict(list(state.items())[4:])]
    for number, half in enumerate(halves, 1):
        save_file(half, tmp_path / "shards" / f"model-{number:05}-of-00002.safetensors")
    places = {name: f"model-{at:05}-of-00002.safetensors" for at, half in enumerate(halves, 1) for name in half}
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(dumps({"weight_map": places}))
    torch.save(state, tmp_path / "d.pt")
    torch.save(state, tmp_path / "e.pt", _use_new_zipfile_serialization=False)
    turned = {name: one.t().contiguous().t() if one.dim() == 2 else one for name, one in state.items()}
    torch.save(turned, tmp_path / "f.pt")
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "g.ckpt")
    names = {
        torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64", torch.int64: "I64",
        torch.uint8: "U8", torch.bool: "BOOL", torch.complex64: "C64", torch.float8_e4m3fn: "F8_E4M3",
    }  # fmt: skip
    roots = {path.name: measure(path).content_root for path in tmp_path.iterdir()}
    assert set(roots.values()) == {root_of(torch, state, names)}, roots
    state["layers.3.mlp"].view(torch.uint8)[0, 0] ^= 1
    torch.save(state, tmp_path / "changed.pt")
    found = compare_tensors(measure(tmp_path / "a.safetensors").tensors, measure(tmp_path / "changed.pt").tensors)
    assert found.line == "WEIGHTS-04 layers.3.mlp differs; 10 of 11 tensors match"


def test_checkpoint_of_a_training_keeps_its_optimizer_apart(tmp_path: Path) -> None:
    torch = need("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        model(torch.randn(2, 1, 8, 8)).sum().backward()
        optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    torch.save(model, tmp_path / "module.pt")
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "rng_state": torch.get_rng_state(),
        "step": torch.tensor(3),
        "args": {"lr": 0.1},
    }
    torch.save({**checkpoint, "step": 3}, tmp_path / "checkpoint.ckpt")
    found = measure(tmp_path / "checkpoint.ckpt")
    assert found.content_root == measure(tmp_path / "state.pt").content_root
    assert found.content_root == measure(tmp_path / "module.pt").content_root
    assert [one.name for one in found.tensors] == sorted(model.state_dict())
    assert len(found.optimizer) == 4 * 3 + 1
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    alone = measure(tmp_path / "optimizer.pt")
    assert (len(alone.tensors), len(alone.optimizer)) == (0, 12)


def test_tied_and_sliced_parameters(tmp_path: Path) -> None:
    torch = need("torch")
    whole = torch.randn(6, 4)
    state = {"embed": whole, "head": whole, "rows": whole[2:4], "columns": whole[:, 1:3], "wide": whole[0].expand(3, 4)}
    torch.save(state, tmp_path / "tied.pt")
    torch.save({name: one.clone().contiguous() for name, one in state.items()}, tmp_path / "plain.pt")
    assert measure(tmp_path / "tied.pt").content_root == measure(tmp_path / "plain.pt").content_root


def test_scripted_module(tmp_path: Path) -> None:
    torch = need("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_args, **_kwargs: None)  # scripting is deprecated, its files stay
        torch.jit.script(model).save(str(tmp_path / "m.jit"))
    torch.save(model.state_dict(), tmp_path / "m.pt")
    found = measure(tmp_path / "m.jit")
    assert (found.format, found.content_root) == ("torchscript", measure(tmp_path / "m.pt").content_root)


def test_sparse_and_quantised_tensors_are_refused_and_not_guessed(tmp_path: Path) -> None:
    torch = need("torch")
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    with pytest.raises(ArtifactError, match="WEIGHTS-16"):
        measure(tmp_path / "sparse.pt")
    torch.save({"a": torch.randn(2, dtype=torch.complex64).conj()}, tmp_path / "conjugate.pt")
    with pytest.raises(ArtifactError, match="WEIGHTS-16"):
        measure(tmp_path / "conjugate.pt")


def test_numpy_files(tmp_path: Path) -> None:
    numpy = need("numpy")
    arrays = {
        "a": numpy.arange(6, dtype="<f4").reshape(2, 3),
        "turned": numpy.asfortranarray(numpy.arange(6, dtype="<f8").reshape(2, 3)),
        "big": numpy.arange(4, dtype=">i4"),
        "scalar": numpy.float64(3),
        "text": numpy.array([True, False]),
        "complex": numpy.array([1 + 2j, 3], dtype=">c16"),
    }
    numpy.savez(tmp_path / "m.npz", **arrays)
    numpy.savez_compressed(tmp_path / "p.npz", **{name: one for name, one in arrays.items() if name != "turned"})
    for name, one in arrays.items():
        numpy.save(tmp_path / f"{name}.npy", one)
    whole = {one.name: one for one in measure(tmp_path / "m.npz").tensors}
    assert whole.keys() == arrays.keys()
    for name, one in arrays.items():
        plain = numpy.ascontiguousarray(one)
        data = plain.astype(plain.dtype.newbyteorder("<")).tobytes()
        assert whole[name].content == blake3(data).digest()
        [alone] = measure(tmp_path / f"{name}.npy").tensors
        assert alone == whole[name]
    packed = measure(tmp_path / "p.npz").tensors
    assert {one.name: one for one in packed} == {name: one for name, one in whole.items() if name != "turned"}


def test_onnx_files(tmp_path: Path) -> None:
    onnx, numpy = need("onnx"), need("numpy")
    arrays = {
        "w": numpy.arange(600, dtype="<f4").reshape(20, 30),
        "i": numpy.array([1, -1, 1 << 40], dtype="<i8"),
        "h": numpy.arange(3, dtype="<f2"),
    }
    initializers = [onnx.numpy_helper.from_array(one, name) for name, one in arrays.items()]
    initializers.append(onnx.helper.make_tensor("listed", onnx.TensorProto.FLOAT, [2], [0.5, -1]))
    initializers.append(onnx.helper.make_tensor("halves", onnx.TensorProto.FLOAT16, [2], [0.5, -1]))
    graph = onnx.helper.make_graph([], "g", [], [], initializer=initializers)
    model = onnx.helper.make_model(graph)
    onnx.save(model, str(tmp_path / "one.onnx"))
    (tmp_path / "two").mkdir()
    onnx.save(model, str(tmp_path / "two" / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0)
    arrays["listed"], arrays["halves"] = numpy.array([0.5, -1], "<f4"), numpy.array([0.5, -1], "<f2")
    expected = {name: blake3(one.tobytes()).digest() for name, one in arrays.items()}
    assert {one.name: one.content for one in measure(tmp_path / "one.onnx").tensors} == expected
    assert {one.name: one.content for one in measure(tmp_path / "two" / "m.onnx").tensors} == expected


def test_gguf_files(tmp_path: Path) -> None:
    gguf, numpy = need("gguf"), need("numpy")
    arrays = {"a": numpy.arange(6, dtype="<f4").reshape(2, 3), "b": numpy.arange(33, dtype="<f2")}
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "llama")
    writer.add_name("tiny")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    for name, one in arrays.items():
        writer.add_tensor(name, one)
    blocks = gguf.quants.quantize(numpy.ones((4, 64), "<f4"), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("q", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = {one.name: one for one in measure(tmp_path / "m.gguf").tensors}
    for name, one in arrays.items():
        assert (found[name].shape, found[name].content) == (one.shape, blake3(one.tobytes()).digest())
    assert (found["q"].dtype, found["q"].shape) == ("GGML_Q8_0", (4, 64))
    assert found["q"].content == blake3(blocks.tobytes()).digest()


def test_every_ggml_type_is_as_the_library_says() -> None:
    gguf = need("gguf")
    from glasslog_lab.weights.dtypes import GGML_TYPES

    for kind, (block, size) in gguf.GGML_QUANT_SIZES.items():
        assert kind.value in GGML_TYPES, kind
        name, elements, count = GGML_TYPES[kind.value]
        assert (name.removeprefix("GGML_"), elements, count) == (kind.name, block, size)
