"""The commands as a person meets them: attest, compare, prove one tensor, verify it (K11, K12)."""

from __future__ import annotations

import io
import json
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from blake3 import blake3

from glasslog import codec
from glasslog.predicates.base import statement_id
from glasslog.predicates.model import Model
from glasslog.statement import encode_statement, from_json
from glasslog.tensors import (
    CONTENT_ROOT,
    TensorProof,
    content_root,
    decode_list,
    encode_list,
    prove_tensor,
    verify_tensor,
)
from weights_files import Given, make_given, make_safetensors, tensors_of, torch_zip_of

MODEL = {f"layers.{number}.mlp": make_given("F32", (2, 2), number) for number in range(5)}
ROOT = content_root(tensors_of(MODEL)).hex()


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(*words: object) -> Done:
    """Run ``python -m glasslog_lab`` in this process, which is a third of a second quicker."""
    out, err, argv, status = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = ["glasslog_lab", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            runpy.run_module("glasslog_lab", run_name="__main__")
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    finally:
        sys.argv = argv
    return Done(status, out.getvalue(), err.getvalue())


def refuse(code: str, *words: object) -> str:
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert done.stderr.startswith(f"{code} ")
    assert ". Next: " in done.stderr
    return done.stderr


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(make_safetensors(MODEL))
    return path


def test_attest_prints_the_statement_the_bytes_and_the_id_without_a_node(model: Path) -> None:
    done = run("attest", "model", model, "--show-public", "--json", "--no-cache", "--license", "MIT", "--name", "tiny")
    assert (done.returncode, done.stderr) == (0, "")
    [stated] = json.loads(done.stdout)["statements"]
    statement = from_json(json.dumps(stated["statement"]))
    read = Model.read(statement)
    assert (read.name, read.license, read.tensors, read.parameters) == ("tiny", "MIT", 5, 20)
    assert read.content_root is not None
    assert read.content_root.digest == {CONTENT_ROOT: bytes.fromhex(ROOT)}
    assert stated["id"] == statement_id(statement).hex()
    assert encode_statement(statement).hex() in stated["public"]


def test_attest_in_a_process_of_its_own(model: Path) -> None:
    command = [sys.executable, "-m", "glasslog_lab", "attest", "model", str(model), "--show-public", "--json"]
    done = subprocess.run([*command, "--no-cache"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ROOT in done.stdout


def test_attest_alone_prints_what_can_be_submitted(model: Path) -> None:
    done = run("attest", "model", model.parent, "--no-cache", "--digest", "tensors", "--digest", "sha256")
    statement: Any = from_json(done.stdout)
    assert Model.read(statement).name == model.parent.name
    assert list(statement["predicate"]["files"][0]["digest"]) == ["sha256"]


def test_all_facts_stand_in_the_statement(model: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "base").write_text("b")
    facts = ["--version", "1", "--architecture", "Llama", "--base-model-relation", "merge", "--description", "d"]
    bases = ["--base-model", ROOT, "--base-model", "pkg:huggingface/a/b", "--base-model", "a b"]
    listed = tmp_path / "tensors.cbor"
    words = ["--tokenizer", tmp_path / "tokenizer.json", "--tensors", listed, "--no-cache", "--json"]
    done = run("attest", "model", model, *facts, *bases, *words)
    assert done.returncode == 0, done.stderr
    read = Model.read(from_json(json.dumps(json.loads(done.stdout)["statements"][0]["statement"])))
    assert (read.version, read.architecture, read.base_model_relation, read.description) == ("1", "Llama", "merge", "d")
    assert [base.digest or base.uri or base.name for base in read.base_model] == [
        {CONTENT_ROOT: bytes.fromhex(ROOT)},
        "pkg:huggingface/a/b",
        "a b",
    ]
    assert read.tokenizer is not None
    assert read.tokenizer.name == "tokenizer.json"
    assert content_root(decode_list(listed.read_bytes())).hex() == ROOT
    assert [one.name for one in read.evidence] == ["tensors.cbor"]


def test_diff_names_the_tensor(model: Path, tmp_path: Path) -> None:
    data = bytearray(MODEL["layers.3.mlp"].data)
    data[0] ^= 1
    other = tmp_path / "other.pt"
    other.write_bytes(torch_zip_of({**MODEL, "layers.3.mlp": Given("F32", (2, 2), bytes(data))}))
    done = run("diff", model, other, "--no-cache")
    assert (done.returncode, done.stdout) == (1, "WEIGHTS-04 layers.3.mlp differs; 4 of 5 tensors match\n")
    found = json.loads(run("diff", model, other, "--no-cache", "--json").stdout)
    assert (found["values"], found["matching"], found["total"], found["same"]) == (["layers.3.mlp"], 4, 5, False)
    (tmp_path / "tensors.cbor").write_bytes(encode_list(tensors_of(MODEL)))
    for path in (model, tmp_path / "tensors.cbor"):
        same = run("diff", path, model, "--no-cache")
        assert (same.returncode, same.stdout) == (0, "all 5 tensors match\n")


def test_diff_with_a_statement_compares_roots(model: Path, tmp_path: Path) -> None:
    statement = tmp_path / "statement.json"
    statement.write_text(run("attest", "model", model, "--no-cache").stdout)
    (tmp_path / "statement.cbor").write_bytes(encode_statement(from_json(statement.read_bytes())))
    other = tmp_path / "other.safetensors"
    other.write_bytes(make_safetensors({"x": make_given("U8", (1,))}))
    for path in (statement, tmp_path / "statement.cbor"):
        assert run("diff", path, model, "--no-cache").stdout == "all 5 tensors match\n"
        done = run("diff", other, path, "--no-cache")
        assert done.returncode == 1
        assert done.stdout.startswith("WEIGHTS-05 ")
        assert done.stdout.count("\n") == 1


def test_one_tensor_is_proved_and_verified_with_the_protocol_alone(model: Path, tmp_path: Path) -> None:
    name, proof = "layers.2.mlp", tmp_path / "p"
    done = run("prove-tensor", model, name, "-o", proof, "--no-cache")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"--root {ROOT}" in done.stdout
    one = next(tensor for tensor in tensors_of(MODEL) if tensor.name == name)
    verify_tensor(TensorProof.decode(proof.read_bytes()), bytes.fromhex(ROOT), one.content)
    assert TensorProof.decode(proof.read_bytes()) == prove_tensor(tensors_of(MODEL), name)
    raw = tmp_path / "raw"
    raw.write_bytes(MODEL[name].data)
    statement = tmp_path / "statement.json"
    statement.write_text(run("attest", "model", model, "--no-cache").stdout)
    for words in (["--root", ROOT], ["--statement", statement], ["--root", ROOT, "--content", raw]):
        done = run("verify-tensor", proof, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("layers.2.mlp (F32, 2 x 2) is tensor 2 of 5 of this model")
    found = json.loads(run("verify-tensor", proof, "--root", ROOT, "--content", model, "--json").stdout)
    assert (found["verified"], found["contentChecked"], found["blake3"]) == (True, True, one.content.hex())


def test_what_does_not_verify_is_refused(model: Path, tmp_path: Path) -> None:
    proof = tmp_path / "p"
    assert run("prove-tensor", model, "layers.2.mlp", "-o", proof, "--no-cache").returncode == 0
    (tmp_path / "raw").write_bytes(b"other")
    (tmp_path / "not").write_bytes(codec.encode(["x"]))
    (tmp_path / "long").write_bytes(bytes(70_000))
    (tmp_path / "s.json").write_text("{}")
    (tmp_path / "x.safetensors").write_bytes(make_safetensors({"x": make_given("U8", (1,))}))
    assert run("verify-tensor", proof, "--root", "00" * 32).stderr.startswith("PROOF-")
    refuse("WEIGHTS-02", "verify-tensor", proof, "--root", ROOT, "--content", tmp_path / "raw")
    refuse("WEIGHTS-06", "verify-tensor", proof, "--root", ROOT, "--content", tmp_path / "x.safetensors")
    refuse("WEIGHTS-01", "verify-tensor", tmp_path / "not", "--root", ROOT)
    refuse("WEIGHTS-07", "verify-tensor", tmp_path / "long", "--root", ROOT)
    refuse("FILE-01", "verify-tensor", tmp_path / "none", "--root", ROOT)
    refuse("WEIGHTS-09", "verify-tensor", proof)
    refuse("WEIGHTS-09", "verify-tensor", proof, "--root", "abc")
    refuse("WEIGHTS-07", "verify-tensor", proof, "--statement", tmp_path / "s.json")
    refuse("WEIGHTS-06", "prove-tensor", model, "layers.9.mlp", "-o", proof, "--no-cache")
    refuse("WEIGHTS-08", "prove-tensor", model, "layers.2.mlp", "-o", tmp_path / "no" / "p", "--no-cache")
    refuse("WEIGHTS-07", "diff", tmp_path / "raw", model, "--no-cache")


def test_refusals_of_attest(model: Path, tmp_path: Path) -> None:
    refuse("FILE-01", "attest", "model", tmp_path / "none")
    refuse("MODEL-05", "attest", "model", model, "--digest", "md5")
    refuse("PRED-04", "attest", "model", model, "--license", "!!")
    refuse("WEIGHTS-08", "attest", "model", model, "--tensors", tmp_path / "no" / "t.cbor")
    (tmp_path / "b.safetensors").write_bytes(make_safetensors({"x": make_given("U8", (1,))}))
    assert "--main" in refuse("MODEL-01", "attest", "model", tmp_path)
    assert run("attest", "model", tmp_path, "--main", "b.safetensors", "--no-cache").returncode == 0
    for number in range(70):
        (tmp_path / str(number)).touch()
    assert "--manifest" in refuse("MODEL-03", "attest", "model", tmp_path, "--as-files")
    manifest = tmp_path.parent / f"{tmp_path.name}.ndjson"
    assert run("attest", "model", tmp_path, "--as-files", "--manifest", manifest).returncode == 0
    assert len(manifest.read_text().splitlines()) == 72


def test_content_of_a_tensor_is_plain_blake3() -> None:
    """Whoever has a tensor's bytes checks a proof with any BLAKE3 tool."""
    one = tensors_of(MODEL)[0]
    assert one.content == blake3(MODEL[one.name].data).digest()
