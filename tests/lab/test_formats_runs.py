"""Cards, LFS pointers, MLflow, DVC, W&B: declared facts, weak digests as claims. Which document is of which format."""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from glasslog.predicates.dataset import Dataset
from glasslog.predicates.evaluation import Evaluation
from glasslog.statement import to_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.bill import gather
from glasslog_lab.formats.cards import import_card, import_pointer, write_card
from glasslog_lab.formats.croissant_writing import write_croissant
from glasslog_lab.formats.cyclonedx_writing import write_bom
from glasslog_lab.formats.detect import FORMATS, Options, detect, import_data, import_path
from glasslog_lab.formats.dsse import dump_json
from glasslog_lab.formats.facts import Checked
from glasslog_lab.formats.mlflow import import_dvc, import_run_folder, import_run_json, import_wandb
from glasslog_lab.formats.oms import Trust
from glasslog_lab.formats.reading import show_decimal
from glasslog_lab.formats.spdx_writing import write_document
from glasslog_lab.formats.statements import make_statements
from lab.formats.world import all_statements, change, dataset_statement

pytest.importorskip("yaml", reason="PyYAML is in the lab extra")

CARD = b"""---
license: apache-2.0
language: [en, no]
base_model: org/base
base_model_relation: finetune
datasets:
- org/data
model-index:
- name: tiny
  results:
  - task: {type: text-classification, name: Text}
    dataset: {name: GLUE, type: glue}
    metrics:
    - {type: accuracy, value: 0.915}
    - {type: f1, value: 1.0e-7}
    - {type: strange, value: [1, 2]}
---
# Tiny
"""
DATASET_CARD = b"""---
pretty_name: Digits
license: [mit, cc-by-4.0]
language: [en, no]
source_datasets: [original, org/older]
task_categories: [image-classification]
---
"""
OPTIONS = Options(trust=Trust())


def test_model_card_is_declared() -> None:
    imported = import_card(CARD, "repo/README.md")
    (model,) = imported.models
    assert (model.name, model.license, model.base_model_relation) == ("tiny", "apache-2.0", "finetune")
    assert [(one.name, one.uri) for one in model.base_models] == [("org/base", "https://huggingface.co/org/base")]
    assert [one.uri for one in model.datasets] == ["https://huggingface.co/datasets/org/data"]
    assert [(one.metric, one.value) for one in imported.evaluations] == [("accuracy", "0.915"), ("f1", "0.0000001")]
    assert imported.checked is Checked.DECLARED
    assert "its value is not one number" in imported.notes[0]
    statements = make_statements(imported)
    results = [Evaluation.read(one) for one in statements if one["predicateType"] == Evaluation.type_uri()]
    assert [one.value for one in results] == ["0.915", "0.0000001"]
    assert {one.assurance_level for one in results} == {"self-reported"}


def test_dataset_card_is_declared() -> None:
    imported = import_card(DATASET_CARD, "repo/README.md")
    (dataset,) = imported.datasets
    assert (dataset.name, dataset.license, dataset.languages) == ("Digits", "mit OR cc-by-4.0", ("en", "no"))
    assert [one.name for one in dataset.derived_from] == ["org/older"]
    statement = make_statements(imported)[0]
    assert set(Dataset.read(statement).declared_unverified) >= {"name", "license", "languages"}


def test_card_goes_out_and_comes_back() -> None:
    model = gather(all_statements()).need_model()[1]
    card = write_card(model, (("GLUE: part", "accuracy", "0.875"),))
    imported = import_card(card, "README.md")
    assert imported.models[0].base_model_relation == "finetune"
    assert [one.name for one in imported.models[0].base_models] == ["base/model"]
    assert [(one.value, one.dataset.name) for one in imported.evaluations] == [("0.875", "GLUE: part")]


@pytest.mark.parametrize("value", ["0.1234567890123456789", "0.0000001", "100000000000000000000000", "-0.5", "7"])
def test_metric_of_a_card_keeps_every_digit(value: str) -> None:
    """Whether the number is written as one or as text: no reader rounds it."""
    model = gather(all_statements()).need_model()[1]
    (found,) = import_card(write_card(model, (("d", "m", value),)), "README.md").evaluations
    assert Decimal(found.value) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"# no front matter", "IMPORT-05"),
        (b"---\n---\n", "IMPORT-05"),
        (b"---\nlicense: mit\n", "IMPORT-02"),
        (b"---\n- a\n---\n", "IMPORT-05"),
        (b"---\nlicense: &a mit\n---\n", "IMPORT-14"),
        (b"---\nlicense: !!python/name:os.system x\n---\n", "IMPORT-14"),
        (b"---\nbase_model_relation: clone\n---\n", "IMPORT-05"),
        (b"---\nbase_model: {a: b}\n---\n", "IMPORT-05"),
        (b"---\nbase_model: 5\n---\n", "IMPORT-05"),
        (b"---\nmodel-index: 5\n---\n", "IMPORT-05"),
        (b"---\nmodel-index: [{results: [{metrics: [{type: x}], dataset: {name: d}}]}]\n---\n", "IMPORT-05"),
        (b"---\nlicense: mit\nlicense: gpl\n---\n", "IMPORT-02"),
    ],
)
def test_spoilt_card_is_refused(text: bytes, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        import_card(text, "README.md")
    assert caught.value.code == code, str(caught.value)
    assert "\n" not in str(caught.value)


def test_card_reads_as_its_library_reads_it(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub reads cards")
    model = gather(all_statements()).need_model()[1]
    (tmp_path / "README.md").write_bytes(write_card(model, (("GLUE", "accuracy", "0.875"),)))
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == ["base/model"]
    assert card.data.license == "apache-2.0"
    assert card.data.eval_results[0].metric_value == 0.875
    (tmp_path / "README.md").write_bytes(CARD)
    theirs, (ours,) = hub.ModelCard.load(tmp_path / "README.md").data, import_card(CARD, "README.md").models
    assert theirs.base_model == ours.base_models[0].name
    assert theirs.license == ours.license
    assert theirs.datasets == [one.name for one in ours.datasets]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.915, "0.915"), (1e-7, "0.0000001"), ("12.50", "12.50"), (5, "5"), (True, None), ("x", None), ([1], None),
     ("NaN", None), ("1e400", None), (-0.5, "-0.5"), (1e30, "1000000000000000000000000000000"), ("Infinity", None)],
)  # fmt: skip
def test_numbers_are_decimals_without_exponent(value: Any, shown: str | None) -> None:
    assert show_decimal(value) == shown


# --- LFS ------------------------------------------------------------------------------------------


def pointer(content: bytes) -> bytes:
    digest = sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


def test_pointer_is_a_claim_until_the_file_is_here(tmp_path: Path) -> None:
    data = pointer(b"weights")
    assert detect(data) == "lfs"
    declared = import_pointer(data, "model.bin")
    assert declared.models[0].sources["files"].checked is Checked.DECLARED
    (tmp_path / "model.bin").write_bytes(b"weights")
    checked = import_pointer(data, "model.bin", tmp_path / "model.bin")
    assert checked.models[0].sources["files"].checked is Checked.REHASHED
    (tmp_path / "model.bin").write_bytes(b"weightz")
    with pytest.raises(ArtifactError, match="IMPORT-13"):
        import_pointer(data, "model.bin", tmp_path / "model.bin")
    for spoilt in (data[:-1], data.replace(b"sha256:", b"sha256:g"), data + b"x", data.replace(b"size ", b"size -")):
        with pytest.raises(ArtifactError, match="IMPORT-05"):
            import_pointer(spoilt, "model.bin")


# --- MLflow, DVC, W&B -----------------------------------------------------------------------------


def make_run(folder: Path) -> Path:
    run = folder / "mlruns" / "1" / ("a" * 32)
    for name, text in {
        "meta.yaml": f"run_id: {'a' * 32}\nrun_name: nice-run\nstart_time: 1760000000000\nend_time: 1760000060000\n",
        "params/lr": "0.1", "params/model/depth": "12", "metrics/loss": "1760000000001 0.5 0\n1760000000002 0.25 1\n",
        "tags/mlflow.source.name": "train.py", "tags/mlflow.user": "a-person", "metrics/bad": "1760000000001 nan 0\n",
    }.items():  # fmt: skip
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    return run


def test_run_of_the_file_store_is_read(tmp_path: Path) -> None:
    imported = import_run_folder(make_run(tmp_path))
    (run,) = imported.runs
    assert (run.name, run.started, run.finished) == ("nice-run", "2025-10-09T08:53:20Z", "2025-10-09T08:54:20Z")
    assert run.parameters == {"lr": "0.1", "model/depth": "12"}
    assert run.metrics == {"loss": "0.25"}
    assert imported.checked is Checked.DECLARED
    assert any("MD5 or shorter" in one for one in imported.unchecked)
    # No predicate of a run can carry it: one statement, which refers to the original and says what that declares.
    (statement,) = make_statements(imported)
    said: Any = json.loads(to_json(statement))["predicate"]["references"][0]["annotations"]
    assert said["checked"] == "declared"
    assert said["runs"] == [{
        "name": "nice-run", "buildType": "https://mlflow.org/docs/latest/tracking", "invocation": "a" * 32,
        "started": "2025-10-09T08:53:20Z", "finished": "2025-10-09T08:54:20Z", "metrics": {"loss": "0.25"},
        "parameters": {"lr": "0.1", "model/depth": "12"},
    }]  # fmt: skip


def test_long_run_stands_in_the_original_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for number in range(100):
        (run / "params" / f"p{number}").write_text("x" * 200)
    (statement,) = make_statements(import_run_folder(run))
    said: Any = json.loads(to_json(statement))["predicate"]["references"][0]["annotations"]
    assert "runs" not in said
    assert said["runsLeftOut"] == 1


def test_run_with_data_sets_and_hostile_places(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "inputs" / "i").mkdir(parents=True)
    (run / "inputs" / "i" / "meta.yaml").write_text("source_type: DATASET\nsource_id: d1\n")
    store = run.parent / "datasets" / "d1"
    store.mkdir(parents=True)
    (store / "meta.yaml").write_text(
        "name: digits\ndigest: abcd1234\nsource: https://example.org/d\nsource_type: http\n"
    )
    (dataset,) = import_run_folder(run).datasets
    assert (dataset.name, dataset.uri, dataset.digests) == ("digits", "https://example.org/d", {})
    (run / "inputs" / "i" / "meta.yaml").write_text("source_type: DATASET\nsource_id: ../../../secret\n")
    with pytest.raises(ArtifactError, match="IMPORT-11"):
        import_run_folder(run)
    (run / "inputs" / "i" / "meta.yaml").write_text("source_type: MODEL\n")
    (run / "params" / "link").symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError, match="IMPORT-11"):
        import_run_folder(run)
    (run / "params" / "link").unlink()
    (run / "metrics" / "odd").write_text("one two three four five six\n")
    with pytest.raises(ArtifactError, match="IMPORT-05"):
        import_run_folder(run)
    (run / "metrics" / "odd").write_bytes(b"\xff 1\n")
    with pytest.raises(ArtifactError, match="IMPORT-02"):
        import_run_folder(run)
    (run / "metrics" / "odd").unlink()
    (run / "meta.yaml").write_text(f"run_id: x\nstart_time: {10**18}\n")
    with pytest.raises(ArtifactError, match="IMPORT-05"):
        import_run_folder(run)
    (run / "meta.yaml").unlink()
    with pytest.raises(ArtifactError, match="IMPORT-01"):
        import_run_folder(run)


def test_real_file_store_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny writes a file store")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # since 3.10 it asks for a word before it writes one
    store = mlflow.tracking.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    run = store.create_run(store.create_experiment("e"), run_name="real")
    store.log_param(run.info.run_id, "lr", 0.1)
    store.log_metric(run.info.run_id, "loss", 0.5, step=1)
    store.log_metric(run.info.run_id, "loss", 0.125, step=2)
    store.set_terminated(run.info.run_id)
    (folder,) = (tmp_path / "mlruns").glob(f"*/{run.info.run_id}")
    (facts,) = import_run_folder(folder).runs
    assert (facts.name, facts.parameters, facts.metrics) == ("real", {"lr": "0.1"}, {"loss": "0.125"})
    assert facts.finished is not None


RUN_JSON = {
    "run": {
        "info": {"run_id": "abc", "run_name": "r", "start_time": 1760000000000, "end_time": "1760000060000"},
        "data": {
            "params": [{"key": "lr", "value": "0.1"}], "metrics": [{"key": "loss", "value": 0.5, "step": 0}],
            "tags": [{"key": "t", "value": ""}],
        },
        "inputs": {"dataset_inputs": [{"dataset": {"name": "d", "digest": "1234abcd", "source": "{}"}}]},
    }
}  # fmt: skip


def test_run_of_the_rest_interface_is_read() -> None:
    imported = import_run_json(dump_json(RUN_JSON), "run.json")
    (run,) = imported.runs
    assert (run.parameters, run.metrics, run.finished) == ({"lr": "0.1"}, {"loss": "0.5"}, "2025-10-09T08:54:20Z")
    assert [one.name for one in run.dependencies] == ["d"]
    assert imported.datasets[0].uri is None
    for path, value in (
        ("run.info", ...), ("run.info.start_time", "soon"), ("run.info.start_time", -1), ("run.info.start_time", True),
        ("run.data.params", [{"key": "a", "value": "1"}] * 2), ("run.data.metrics", [{"key": "a"}]), ("run", []),
    ):  # fmt: skip
        with pytest.raises(ArtifactError, match="IMPORT-05"):
            import_run_json(change(dump_json(RUN_JSON), path, value), "run.json")


def test_dvc_and_wandb_are_claims() -> None:
    md5 = "d" * 32
    data = f"outs:\n- md5: {md5}\n  size: 5\n  path: data.csv\n- md5: {md5}.dir\n  path: folder\n".encode()
    imported = import_dvc(data, "data.csv.dvc")
    assert [(one.name, dict(one.digests)) for one in imported.datasets[0].files] == [
        ("data.csv", {"md5": md5}), ("folder", {}),
    ]  # fmt: skip
    # MD5 never becomes a subject or a digest of a statement.
    assert not any(md5 in json.dumps(str(one)) for one in make_statements(imported))
    lock = (
        b"schema: '2.0'\nstages:\n  train:\n    cmd: python train.py\n    deps:\n    - path: d.csv\n      md5: "
        + md5.encode()
    )
    lock += (
        b"\n    params:\n      params.yaml:\n        lr: 0.1\n    outs:\n    - path: m.bin\n      md5: " + md5.encode()
    )
    (run,) = import_dvc(lock, "dvc.lock").runs
    assert (run.name, run.parameters["cmd"], run.outputs[0].name) == ("train", "python train.py", "m.bin")
    for spoilt in (data.replace(b"data.csv", b"../up"), data.replace(md5.encode(), b"x" * 32), b"stages: 5", b"{}"):
        with pytest.raises(ArtifactError):
            import_dvc(spoilt, "x.dvc")
    manifest = {
        "version": 1,
        "storagePolicy": "x",
        "contents": {"a/b.bin": {"digest": "1B2M2Y8AsgTpgAmY7PhCfg==", "size": 0}},
    }
    (model,) = import_wandb(dump_json(manifest), "manifest.json").models
    assert model.files[0].digests == {"md5": "d41d8cd98f00b204e9800998ecf8427e"}
    for path, value in (
        ("contents", []),
        ("contents", {"../x": {"digest": "YQ=="}}),
        ("contents", {"x": {"digest": "%"}}),
    ):
        with pytest.raises(ArtifactError):
            import_wandb(change(dump_json(manifest), path, value), "m")


# --- which format ---------------------------------------------------------------------------------


def specimens() -> dict[str, bytes]:
    bill = gather(all_statements())
    return {
        "card": CARD, "lfs": pointer(b"x"), "mlflow": dump_json(RUN_JSON), "cyclonedx": write_bom(bill),
        "spdx": write_document(bill, created="2026-03-01T00:00:00Z", supplier="x"),
        "croissant": write_croissant(*gather([dataset_statement()]).datasets[0]), "dvc": b"outs:\n- path: a\n",
        "wandb": b'{"storagePolicy": "x", "contents": {}}', "intoto": b'{"_type": "x", "predicateType": "y"}',
        "dsse": b'{"payload": "", "payloadType": ""}', "oms": b'{"mediaType": "", "verificationMaterial": {}}',
    }  # fmt: skip


@pytest.mark.parametrize(("name", "data"), specimens().items(), ids=list(specimens()))
def test_format_is_told_by_content(name: str, data: bytes) -> None:
    assert detect(data, "README.md") == name
    for other in FORMATS:
        if other not in {name, "slsa", "vsa", "intoto", "card", "dvc"}:
            with pytest.raises(ArtifactError) as caught:
                import_data(data, "x", OPTIONS, other)
            assert caught.value.code.startswith("IMPORT-")


def test_card_of_another_system_is_a_card() -> None:
    """A byte order mark and carriage returns, as editors of another system leave them."""
    for data in (CARD.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + CARD):
        assert detect(data) == "card"
        assert import_card(data, "README.md").models[0].license == "apache-2.0"
    assert detect(b"---\nouts:\n- path: a\n") == "dvc"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "IMPORT-04"), (b"\xef\xbb\xbf{}", "IMPORT-02"), (b"---\nouts: &a 1\n", "IMPORT-14"),
     (b"\x00\x01", "IMPORT-04"), (b"{}", "IMPORT-04"), (b"[]", "IMPORT-04"), (b"text", "IMPORT-04"),
     (b"{", "IMPORT-02"), (b"a: &a [*a]", "IMPORT-14"), (b"a: 1", "IMPORT-04")],
)  # fmt: skip
def test_unknown_document_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        detect(data, "x")
    assert caught.value.code == code


def test_folder_and_absent_file(tmp_path: Path) -> None:
    assert import_path(make_run(tmp_path), OPTIONS).format == "mlflow"
    with pytest.raises(ArtifactError, match="IMPORT-04"):
        import_path(tmp_path, OPTIONS, "oms")
    with pytest.raises(ArtifactError, match="IMPORT-01"):
        import_path(tmp_path / "absent", OPTIONS)
    (tmp_path / "x").write_bytes(b"{}")
    with pytest.raises(ArtifactError, match="IMPORT-04"):
        import_path(tmp_path / "x", OPTIONS, "docx")
