"""From a path to what a model consists of: which files are read, what makes one model, what is refused (K5 to K8)."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from glasslog.predicates.model import Model as ModelPredicate
from glasslog.statement import encode_statement, from_json, to_json
from glasslog.tensors import content_root
from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights import hashing
from glasslog_lab.weights.comparing import compare_tensors
from glasslog_lab.weights.files import OpenFile, list_files, open_file
from glasslog_lab.weights.hashing import RunHasher, hash_file
from glasslog_lab.weights.measuring import ModelMeasured, measure
from glasslog_lab.weights.statement import make_model, state_model, write_manifest
from weights_files import (
    Given,
    Model,
    gguf_pair,
    make_gguf,
    make_given,
    make_npy,
    make_onnx,
    make_safetensors,
    make_state_dict,
    make_torch_zip,
    onnx_external,
    tensors_of,
    torch_legacy_of,
    torch_zip_of,
)

MODEL: Model = {
    "b.weight": make_given("F32", (2, 2), 1),
    "a.bias": make_given("BF16", (3,), 2),
    "c": make_given("I64", (), 3),
    "empty": make_given("F32", (0, 7)),
}


def write_shards(folder: Path, model: Model, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    places = {name: f"model-{number % count + 1:05}-of-{count:05}.safetensors" for number, name in enumerate(model)}
    for shard in set(places.values()):
        part = {name: model[name] for name, place in places.items() if place == shard}
        (folder / shard).write_bytes(make_safetensors(part))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 8}, "weight_map": places}))
    return index


def get_root(path: Path) -> bytes:
    root = measure(path).content_root
    assert root is not None
    return root


def refuse(path: Path, **options: Any) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        measure(path, **options)
    assert str(caught.value).count("\n") == 0
    return caught.value


# --- one model, whatever it is in -----------------------------------------------------------------


def test_same_tensors_have_one_root_in_every_container(tmp_path: Path) -> None:
    (tmp_path / "1.safetensors").write_bytes(make_safetensors(MODEL))
    (tmp_path / "2.safetensors").write_bytes(make_safetensors(MODEL, {"format": "pt"}, sorted(MODEL)))
    (tmp_path / "3.safetensors").write_bytes(make_safetensors(MODEL, {"a": "1", "b": "2"}, sorted(MODEL, reverse=True)))
    (tmp_path / "model.pt").write_bytes(torch_zip_of(MODEL))
    (tmp_path / "pytorch_model.bin").write_bytes(torch_legacy_of(MODEL))
    (tmp_path / "model.gguf").write_bytes(make_gguf(MODEL))
    paths = list(tmp_path.iterdir())
    for count in (1, 2, 3):
        index = write_shards(tmp_path / f"in-{count}", MODEL, count)
        paths += [index, index.parent]
    assert {get_root(path) for path in paths} == {content_root(tensors_of(MODEL))}
    assert len({measure(path).files[0].sha256 for path in paths}) > 5


def test_one_bit_changes_the_root_and_the_comparison_names_it(tmp_path: Path) -> None:
    model = {f"layers.{number}.mlp": make_given("F32", (4, 4), number) for number in range(212)}
    other = dict(model)
    data = bytearray(other["layers.3.mlp"].data)
    data[17] ^= 1
    other["layers.3.mlp"] = Given("F32", (4, 4), bytes(data))
    (tmp_path / "a.safetensors").write_bytes(make_safetensors(model))
    (tmp_path / "b.pt").write_bytes(torch_zip_of(other))
    one, two = measure(tmp_path / "a.safetensors"), measure(tmp_path / "b.pt")
    assert one.content_root != two.content_root
    line = compare_tensors(one.tensors, two.tensors).line
    assert line == "WEIGHTS-04 layers.3.mlp differs; 211 of 212 tensors match"
    assert compare_tensors(one.tensors, one.tensors).line == "all 212 tensors match"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"c": make_given("F64", (), 3)}, "WEIGHTS-04 c differs; 3 of 4 tensors match"),
        ({"a.bias": Given("BF16", (1, 3), MODEL["a.bias"].data)}, "WEIGHTS-04 a.bias differs; 3 of 4 tensors match"),
        ({"new one": make_given("U8", (1,))}, "WEIGHTS-04 only the second has 'new one'; 4 of 5 tensors match"),
        (
            {name: Given("U8", (1,), b"x") for name in MODEL},
            "WEIGHTS-04 a.bias, b.weight, c and 1 more differ; 0 of 4 tensors match",
        ),
    ],
)
def test_comparison_says_what_differs(change: Model, line: str) -> None:
    assert compare_tensors(tensors_of(MODEL), tensors_of({**MODEL, **change})).line == line


def test_comparison_sees_what_was_renamed() -> None:
    renamed = {("x." + name if name == "c" else name): one for name, one in MODEL.items()}
    found = compare_tensors(tensors_of(MODEL), tensors_of(renamed))
    assert found.renamed == (("c", "x.c"),)
    assert not found.same
    assert found.line == "WEIGHTS-04 c is named x.c in the second; 3 of 5 tensors match"
    assert (
        "only the first has a.bias, b.weight, c and 1 more" in compare_tensors(tensors_of(MODEL), tensors_of({})).line
    )


def test_optimizer_state_is_kept_apart(tmp_path: Path) -> None:
    moments = {"0.exp_avg": make_given("F32", (2, 2), 9)}
    opcodes, storages = make_state_dict({**MODEL, **moments})
    state = {"state": {0: {"exp_avg": opcodes.pop("0.exp_avg")}}, "param_groups": [{"lr": 1, "params": [0]}]}
    (tmp_path / "c.ckpt").write_bytes(make_torch_zip({"model": opcodes, "optimizer": state, "epoch": 7}, storages))
    found = measure(tmp_path / "c.ckpt")
    assert found.content_root == content_root(tensors_of(MODEL))
    assert [tensor.name for tensor in found.optimizer] == ["optimizer.state.0.exp_avg"]
    assert found.optimizer_root is not None
    statement: Any = state_model(make_model(found))[0]
    assert statement["predicate"]["optimizerRoot"]["digest"] != statement["predicate"]["contentRoot"]["digest"]
    (tmp_path / "model.safetensors").write_bytes(make_safetensors(MODEL))
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "optimizer.pt").write_bytes((tmp_path / "c.ckpt").read_bytes())
    both = measure(tmp_path)
    assert both.content_root == found.content_root
    assert [tensor.name.partition(":")[0] for tensor in both.optimizer] == ["again/optimizer.pt", "c.ckpt"]


def test_split_gguf_is_one_model(tmp_path: Path) -> None:
    count = gguf_pair("split.count", 2, (2).to_bytes(2, "little"))
    halves = [{name: MODEL[name] for name in names} for names in (("b.weight", "c"), ("a.bias", "empty"))]
    for number, half in enumerate(halves, 1):
        (tmp_path / f"m-{number:05}-of-00002.gguf").write_bytes(make_gguf(half, [count]))
    assert get_root(tmp_path) == content_root(tensors_of(MODEL))
    (tmp_path / "m-00002-of-00002.gguf").rename(tmp_path / "m.gguf")
    assert refuse(tmp_path).code == "WEIGHTS-43"
    (tmp_path / "m.gguf").unlink()
    assert refuse(tmp_path).code == "WEIGHTS-43"


def test_arrays_of_a_folder_are_one_model(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    for name in ("b.weight", "c", "empty"):
        (tmp_path / "layer" / f"{name}.npy").write_bytes(make_npy(MODEL[name]))
    assert [tensor.name for tensor in measure(tmp_path).tensors] == ["layer/b.weight", "layer/c", "layer/empty"]


def test_data_beside_an_onnx_file_belongs_to_it(tmp_path: Path) -> None:
    one = MODEL["b.weight"]
    (tmp_path / "w.bin").write_bytes(b"????" + one.data + b"?")
    (tmp_path / "m.onnx").write_bytes(make_onnx([onnx_external("b.weight", one, "w.bin", 4)]))
    alone, folder = measure(tmp_path / "m.onnx"), measure(tmp_path)
    assert alone.content_root == folder.content_root == content_root(tensors_of({"b.weight": one}))
    assert [file.name for file in alone.files] == [file.name for file in folder.files] == ["m.onnx", "w.bin"]
    (tmp_path / "w.bin").write_bytes(b"?" * 5)
    assert refuse(tmp_path / "m.onnx").code == refuse(tmp_path).code == "WEIGHTS-52"
    (tmp_path / "w.bin").unlink()
    assert refuse(tmp_path / "m.onnx").code == "FILE-01"
    assert refuse(tmp_path).code == "WEIGHTS-52"


def test_several_models_are_refused_unless_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(make_safetensors(MODEL))
    (tmp_path / "b.pt").write_bytes(torch_zip_of(MODEL))
    assert measure(tmp_path).format == "safetensors"
    (tmp_path / "c.pt").write_bytes(torch_zip_of({"x": make_given("U8", (1,))}))
    error = refuse(tmp_path)
    assert error.code == "MODEL-01"
    assert "'a.safetensors', 'b.pt', 'c.pt'" in error.fact
    assert [tensor.name for tensor in measure(tmp_path, main="c.pt").tensors] == ["x"]
    assert len(measure(tmp_path, main="c.pt").files) == 3
    assert refuse(tmp_path, main="d.pt").code == "MODEL-02"


def test_what_a_name_does_not_claim_is_digested_and_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "training_args.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    (tmp_path / "weights.zip").write_bytes(torch_zip_of(MODEL))
    found = measure(tmp_path)
    assert (found.format, found.tensors, found.content_root) == ("files", (), None)
    assert found.files[0].sha256 == sha256(b"\x80\x04cos\nsystem\n.").digest()


def test_as_files_looks_into_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"\xff" * 9)
    assert refuse(tmp_path).code == "TENSOR-01"
    assert refuse(tmp_path).fact.startswith("m.safetensors: ")
    assert measure(tmp_path, as_files=True).files[0].blake3 == blake3(b"\xff" * 9).digest()


# --- indices --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "index"),
    [
        ("INDEX-01", "[]"),
        ("INDEX-01", "nonsense"),
        ("INDEX-01", "[" * 300_000),
        ("INDEX-01", "[" * 100_000),
        ("INDEX-01", '{"weight_map": {}}'),
        ("INDEX-01", '{"weight_map": {"a": "s.safetensors", "a": "s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": 1}}'),
        ("INDEX-02", '{"weight_map": {"a": "../s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": "/s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": "x/../s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": "./s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": "s.txt"}}'),
        ("INDEX-02", '{"weight_map": {"a": "\\u0000.bin"}}'),
        ("INDEX-04", '{"weight_map": {"b": "s.safetensors"}}'),
        ("INDEX-04", '{"weight_map": {"a": "s.safetensors", "b": "s.safetensors"}}'),
    ],
)
def test_index_that_its_shards_do_not_bear_out_is_refused(tmp_path: Path, code: str, index: str) -> None:
    (tmp_path / "s.safetensors").write_bytes(make_safetensors({"a": make_given("U8", (1,))}))
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(index)
    assert refuse(tmp_path).code == code
    assert refuse(path).code == code


def test_index_that_names_what_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.safetensors").write_bytes(make_safetensors({"a": make_given("U8", (1,))}))
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"weight_map": {"a": "t.safetensors"}}')
    assert (refuse(tmp_path).code, refuse(path).code) == ("INDEX-03", "FILE-01")


def test_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    index = write_shards(tmp_path, MODEL, 2)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(make_safetensors(MODEL))
    assert refuse(index).code == "INDEX-04"


# --- files ----------------------------------------------------------------------------------------


def test_every_file_of_a_folder_has_its_digests(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(make_safetensors(MODEL))
    (tmp_path / "sub" / ".git").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name, data in (("sub/config.json", b"{}"), (".hidden", b""), ("sub/.git/x", b"1"), (".git/HEAD", b"ref")):
        (tmp_path / name).write_bytes(data)
    found = measure(tmp_path)
    expected = [".hidden", "model.safetensors", "sub/.git/x", "sub/config.json"]
    assert [file.name for file in found.files] == expected
    for file in found.files:
        data = (tmp_path / file.name).read_bytes()
        assert (file.size, file.sha256, file.blake3) == (len(data), sha256(data).digest(), blake3(data).digest())


def test_link_within_the_folder_is_read_and_any_other_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "0a").write_bytes(make_safetensors(MODEL))
    (folder / "model.safetensors").symlink_to("blobs/0a")
    assert len(measure(folder).tensors) == 4
    (tmp_path / "secret").write_text("s")
    (folder / "link").symlink_to("../secret")
    assert refuse(folder).code == "FILE-02"
    assert [file.name for file in measure(folder, follow=True).files] == ["blobs/0a", "link", "model.safetensors"]
    (folder / "link").unlink()
    (folder / "link").symlink_to("blobs", target_is_directory=True)
    assert refuse(folder).code == refuse(folder, follow=True).code == "FILE-02"
    (folder / "link").unlink()
    (folder / "link").symlink_to("link")
    assert refuse(folder).code == "FILE-01"


def test_index_in_a_cache_of_links_is_followed_on_demand(tmp_path: Path) -> None:
    index = write_shards(tmp_path / "blobs", MODEL, 2)
    snapshot = tmp_path / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    for file in index.parent.iterdir():
        (snapshot / file.name).symlink_to(file)
    assert refuse(snapshot / index.name).code == "FILE-02"
    assert measure(snapshot / index.name, follow=True).content_root == content_root(tensors_of(MODEL))


def test_link_given_itself_is_followed_and_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "0a").write_bytes(make_safetensors(MODEL))
    (tmp_path / "model.safetensors").symlink_to("0a")
    assert measure(tmp_path / "model.safetensors").files[0].name == "model.safetensors"


def test_pipe_odd_name_and_absence_are_refused_without_waiting(tmp_path: Path) -> None:
    assert refuse(tmp_path).code == "FILE-01"
    assert refuse(tmp_path / "none").code == "FILE-01"
    os.mkfifo(tmp_path / "pipe")
    assert refuse(tmp_path).code == "FILE-03"
    assert refuse(tmp_path / "pipe").code == "FILE-03"
    (tmp_path / "pipe").unlink()
    for name in (b"\xff", b"a\nb", b"\x1b[2J"):
        place = tmp_path / os.fsdecode(name)
        place.touch()
        assert refuse(tmp_path).code == "FILE-04"
        place.unlink()


@pytest.mark.parametrize("threads", [1, None])
@pytest.mark.parametrize("change", ["grow", "cut", "touch", "replace", "unlink", "exchange folders"])
def test_file_that_changes_while_read_is_refused(tmp_path: Path, change: str, threads: int | None) -> None:
    path = tmp_path / "model" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(make_safetensors({"a": Given("U8", (9 << 20,), bytes(9 << 20))}))
    reads = list[int]()

    def disturb(count: int) -> None:
        reads.append(count)
        if len(reads) == 2:
            if change == "grow":
                with path.open("ab") as stream:
                    stream.write(b"more")
            elif change == "cut":
                os.truncate(path, 3 << 20)
            elif change == "touch":
                os.utime(path, ns=(1, 1))
            elif change == "exchange folders":
                path.parent.rename(tmp_path / "old")
                path.parent.mkdir()
                path.write_bytes(bytes(9))
            else:
                path.unlink()
                if change == "replace":
                    path.write_bytes(bytes(9))

    assert refuse(path, on_read=disturb, threads=threads).code == "FILE-05"


def test_header_that_is_being_written_is_a_change_and_no_fault_of_the_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(make_safetensors(MODEL))
    read_at = OpenFile.read_at

    def cut_first(file: OpenFile, offset: int, count: int) -> bytes:
        os.truncate(path, 12)
        return read_at(file, offset, count)

    monkeypatch.setattr(OpenFile, "read_at", cut_first)
    assert refuse(path).code == "FILE-05"


def test_data_that_changes_between_its_two_readings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = MODEL["b.weight"]
    (tmp_path / "w.bin").write_bytes(one.data)
    (tmp_path / "m.onnx").write_bytes(make_onnx([onnx_external("b.weight", one, "w.bin", 0)]))
    opened = list[str]()
    init = OpenFile.__init__

    def touch_second(file: OpenFile, name: str, path: Path, descriptor: int) -> None:
        if name == "w.bin":
            opened.append(name)
            os.utime(path, ns=(len(opened), len(opened)))
        init(file, name, path, descriptor)

    monkeypatch.setattr(OpenFile, "__init__", touch_second)
    assert refuse(tmp_path, threads=1).code == "FILE-05"
    assert len(opened) == 2


def test_replaced_by_a_link_after_listing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    [(name, place)] = list_files(tmp_path / "a").items()
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").symlink_to("b")
    with pytest.raises(ArtifactError, match="FILE-01"), open_file(name, place):
        pass


def test_other_files_stop_where_one_is_refused(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.safetensors").write_bytes(make_safetensors({"a": make_given("U8", (1 << 20,), number)}))
    (tmp_path / "3.safetensors").write_bytes(bytes(4))
    assert refuse(tmp_path, threads=2).code == "TENSOR-01"


# --- one pass -------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8), st.lists(st.integers(1, 60), max_size=9)
)
def test_runs_are_hashed_whatever_the_windows(pairs: list[tuple[int, int]], cuts: list[int]) -> None:
    data = bytes(range(60))
    runs = [(min(pair), max(pair)) for pair in pairs]
    hasher, at = RunHasher(runs), 0
    for cut in [*cuts, 60]:
        hasher.update(memoryview(data)[at : at + cut])
        at = min(60, at + cut)
    assert hasher.finish() == {run: blake3(data[run[0] : run[1]]).digest() for run in runs}


@pytest.mark.parametrize("window", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("parallel", [True, False])
def test_digests_do_not_depend_on_window_or_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int, *, parallel: bool
) -> None:
    monkeypatch.setattr(hashing, "WINDOW_BYTES", window)
    monkeypatch.setattr(hashing, "SLOT_BYTES", window)
    data = bytes(range(251)) * 2
    (tmp_path / "f").write_bytes(data)
    counts = list[int]()
    with open_file("f", tmp_path / "f") as file:
        found = hash_file(file, [(3, 77), (77, 78), (502, 502)], hashing.DIGESTS, counts.append, parallel=parallel)
    assert (found.sha256, found.blake3) == (sha256(data).digest(), blake3(data).digest())
    assert found.runs == {run: blake3(data[run[0] : run[1]]).digest() for run in [(3, 77), (77, 78), (502, 502)]}
    assert sum(counts) == len(data)


def test_only_what_is_asked_for_is_computed(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(make_safetensors(MODEL))
    whole = measure(tmp_path, digests={"blake3"})
    assert (whole.files[0].sha256, whole.content_root, whole.tensors) == (None, None, ())
    assert whole.files[0].blake3 == measure(tmp_path).files[0].blake3
    tensors = measure(tmp_path, digests={"tensors"})
    assert tensors.files[0].digest == {}
    assert tensors.content_root == measure(tmp_path).content_root


# --- statements -----------------------------------------------------------------------------------


def state(measured: ModelMeasured, **facts: Any) -> Any:
    statement = state_model(make_model(measured, **facts))[0]
    assert from_json(to_json(statement)) == statement
    ModelPredicate.read(statement)
    return statement


def test_statement_is_the_same_for_the_same_content_elsewhere(tmp_path: Path) -> None:
    for place in ("x", "y"):
        (tmp_path / place).mkdir()
        write_shards(tmp_path / place / "m", MODEL, 2)
    one, two = (state(measure(tmp_path / place / "m")) for place in ("x", "y"))
    assert encode_statement(one) == encode_statement(two)
    assert one["subject"][0]["name"] == "m"
    assert one["predicate"]["parameters"] == 8
    assert len(one["subject"]) == 4


def test_files_without_tensors_are_known_by_their_digests(tmp_path: Path) -> None:
    (tmp_path / "none.safetensors").write_bytes(make_safetensors({}))
    statement = state(measure(tmp_path))
    assert [sorted(subject["digest"]) for subject in statement["subject"]] == [["blake3", "sha256"]]
    assert "contentRoot" not in statement["predicate"]
    with pytest.raises(ArtifactError, match="MODEL-04"):
        make_model(measure(tmp_path, digests={"tensors"}))


def test_more_files_than_a_statement_holds_go_into_a_list(tmp_path: Path) -> None:
    for number in range(70):
        (tmp_path / str(number)).write_bytes(b"%d" % number)
    model = make_model(measure(tmp_path))
    with pytest.raises(ArtifactError, match="MODEL-03"):
        state_model(model)
    statement, listed = state_model(model, manifest=True)
    subject: Any = statement["subject"]
    assert listed == write_manifest(model.files)
    assert subject == [{"name": "files.ndjson", "digest": {"sha256": sha256(listed or b"").digest()}}]
    assert len((listed or b"").splitlines()) == 70
    for number in range(400):
        (tmp_path / f"{number}".rjust(200, "x")).touch()
    (tmp_path / "model.safetensors").write_bytes(make_safetensors(MODEL))
    model = make_model(measure(tmp_path))
    with pytest.raises(ArtifactError, match="MODEL-03"):
        state_model(model)
    statement, listed = state_model(model, manifest=True)
    assert len((listed or b"").splitlines()) == 471
    assert ModelPredicate.read(statement).content_root is not None


def test_fact_that_is_none_is_refused_by_its_own_code(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(make_safetensors(MODEL))
    with pytest.raises(ArtifactError, match=r"PRED-04 .*SPDX.*Next: "):
        state(measure(tmp_path), license="!!")
