"""CycloneDX, SPDX and Croissant: round trips here, hostile documents, and each format's own schema where installed.

The schemas' packages are heavy and left to an environment of their own; without them those tests say what they
skipped. GLASSLOG_SPDX_SCHEMA names SPDX's official JSON schema (3.0.1/rdf/schema.json of spdx-spec's pages), which is
in no package.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest

from glasslog.predicates.dataset import Dataset
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.model import Model
from glasslog.predicates.values import RECORDS, TENSORS, File
from glasslog.predicates.vocabulary import read_statement
from glasslog.statement import Statement
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.bill import Bill, gather
from glasslog_lab.formats.circles import find_circle
from glasslog_lab.formats.croissant import import_croissant, read_description
from glasslog_lab.formats.croissant_writing import write_croissant
from glasslog_lab.formats.cyclonedx import import_bom
from glasslog_lab.formats.cyclonedx_writing import Version, write_bom
from glasslog_lab.formats.facts import Checked, Reference
from glasslog_lab.formats.spdx import import_document
from glasslog_lab.formats.spdx_writing import write_document
from glasslog_lab.formats.statements import check_files, enrich_model, make_statements
from lab.formats.world import (
    RECORDS_ROOT,
    ROOT,
    all_statements,
    change,
    dataset_statement,
    model_statement,
    release_statement,
    run_statement,
)

VERSIONS: tuple[Version, ...] = ("1.6", "1.7")
BARE = Model(name="m", format="files", tensors=0, parameters=0).statement


def bill(statements: list[Statement] | None = None) -> Bill:
    return gather(all_statements() if statements is None else statements)


def spdx(statements: list[Statement] | None = None) -> bytes:
    return write_document(bill(statements), created="2026-03-01T00:00:00Z", supplier="Example Lab")


def bare() -> list[Statement]:
    from glasslog.predicates.base import Subject

    return [BARE(Subject("m", {TENSORS: ROOT}))]


# --- CycloneDX ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_cyclonedx_goes_out_and_comes_back(version: Version) -> None:
    data = write_bom(bill(), version)
    assert data == write_bom(bill(list(reversed(all_statements()))), version)
    imported = import_bom(data, "bom.json")
    assert imported.checked is Checked.DECLARED
    (model,), (dataset,), (evaluation,) = imported.models, imported.datasets, imported.evaluations
    assert (model.name, model.version, model.license, model.architecture) == ("tiny", "1.0", "Apache-2.0", "TinyNet")
    assert model.digests == {TENSORS: ROOT.hex()}
    assert model.base_model_relation == "finetune"
    assert [one.uri for one in model.base_models] == ["pkg:huggingface/base/model@abc"]
    assert [one.name for one in model.datasets] == ["digits & more"]
    assert [(one.name, one.size) for one in model.files] == [("config.json", 2), ("weights/model.safetensors", 1)]
    assert model.purl == "pkg:huggingface/lab/tiny@1"
    assert (dataset.name, dataset.license, dataset.uri) == ("digits & more", "CC-BY-4.0", "https://example.org/digits")
    assert dataset.digests == {RECORDS: RECORDS_ROOT.hex()}
    assert (evaluation.metric, evaluation.value) == ("accuracy", "0.875")


def test_facts_of_a_bom_fill_a_measured_model_and_never_overrule_it() -> None:
    facts = import_bom(write_bom(bill()), "b").models[0]
    measured = read_statement(model_statement())
    assert isinstance(measured, Model)
    stripped = Model(name="mine", format="safetensors", tensors=2, parameters=10, files=measured.files, license="MIT")
    filled = enrich_model(stripped, facts)
    assert (filled.name, filled.license, filled.architecture) == ("mine", "MIT", "TinyNet")
    assert filled.base_model_relation == "finetune"
    assert filled.content_root is None
    assert check_files(measured, facts) == []
    other = change(write_bom(bill()), "metadata.component.components.0.hashes.0.content", "0" * 64)
    assert check_files(measured, import_bom(other, "b").models[0]) == ["config.json"]


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("bomFormat", "SPDX", "IMPORT-05"),
        ("specVersion", "9.9", "IMPORT-05"),
        ("metadata.component.name", ..., "IMPORT-05"),
        ("metadata.component.type", 5, "IMPORT-05"),
        ("components.0.bom-ref", "model", "IMPORT-12"),
        ("dependencies", [{"ref": "a", "dependsOn": ["b"]}, {"ref": "b", "dependsOn": ["a"]}], "IMPORT-15"),
        ("dependencies", [{"ref": "a", "dependsOn": ["a"]}], "IMPORT-15"),
        ("dependencies", [{"ref": "a"}, {"ref": "a"}], "IMPORT-12"),
        ("dependencies", 5, "IMPORT-05"),
        ("metadata.component.modelCard", [], "IMPORT-05"),
        ("metadata.component.components.0.hashes", [{"alg": "SHA-256"}], "IMPORT-05"),
    ],
)
def test_spoilt_bom_is_refused(path: str, value: Any, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        import_bom(change(write_bom(bill()), path, value), "bom.json")
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_deep_and_many_components_end() -> None:
    nested: dict[str, Any] = {"type": "file", "name": "x"}
    for _ in range(40):
        nested = {"type": "file", "name": "x", "components": [nested]}
    data = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [nested]}).encode()
    with pytest.raises(ArtifactError, match="IMPORT-03"):
        import_bom(data, "b")
    chain = [{"ref": str(n), "dependsOn": [str(n + 1)]} for n in range(5_000)]
    data = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "dependencies": chain}).encode()
    assert import_bom(data, "b").models == ()
    chain.append({"ref": "5000", "dependsOn": ["0"]})
    data = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "dependencies": chain}).encode()
    with pytest.raises(ArtifactError, match="IMPORT-15"):
        import_bom(data, "b")


def test_junk_hash_of_a_bom_is_no_digest() -> None:
    data = change(write_bom(bill()), "metadata.component.components.0.hashes.0.content", "not a hash")
    assert import_bom(data, "b").models[0].files[0].digests == {}


def test_circles_are_found() -> None:
    assert find_circle({"a": ["b", "c"], "b": ["d"], "c": ["d"]}) is None
    assert find_circle({"a": ["b"], "b": ["c"], "c": ["b"]}) == "b"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("statements", [None, "bare"])
def test_cyclonedx_keeps_the_official_schema(version: Version, statements: str | None) -> None:
    why = "cyclonedx-python-lib[validation] has CycloneDX's schemas"
    schema = pytest.importorskip("cyclonedx.schema", reason=why)
    validation = pytest.importorskip("cyclonedx.validation.json", reason=why)
    validator = validation.JsonStrictValidator(schema.SchemaVersion.from_version(version))
    data = write_bom(bill(bare() if statements else None), version).decode()
    assert validator.validate_str(data) is None
    assert validator.validate_str(data.replace('"bomFormat"', '"bomFromat"')) is not None


# --- SPDX -----------------------------------------------------------------------------------------


def test_spdx_goes_out_and_comes_back() -> None:
    imported = import_document(spdx(), "sbom.json")
    assert imported.checked is Checked.DECLARED
    model = next(one for one in imported.models if one.name == "tiny")
    assert (model.version, model.license, model.architecture) == ("1.0", "Apache-2.0", "TinyNet")
    assert model.digests == {TENSORS: ROOT.hex()}
    assert [one.name for one in model.base_models] == ["base/model"]
    assert [one.name for one in model.datasets] == ["digits & more"]
    assert {one.name for one in model.files} == {"config.json", "weights/model.safetensors"}
    (dataset,) = imported.datasets
    assert (dataset.name, dataset.license, dataset.version) == ("digits & more", "CC-BY-4.0", "2")
    assert dataset.digests == {RECORDS: RECORDS_ROOT.hex()}
    assert [(one.metric, one.value, one.dataset.name) for one in imported.evaluations] == [
        ("accuracy", "0.875", "digits")
    ]
    assert spdx() == spdx()


def graph_with(*extra: dict[str, Any]) -> bytes:
    top = json.loads(spdx())
    top["@graph"] += extra
    return json.dumps(top).encode()


def relation(source: str, kind: str, target: str, number: int = 0) -> dict[str, Any]:
    return {
        "type": "Relationship", "spdxId": f"urn:x:r{number}", "creationInfo": "_:creationinfo", "from": source,
        "relationshipType": kind, "to": [target],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (lambda: change(spdx(), "@context", "https://evil.example/context"), "IMPORT-05"),
        (lambda: change(spdx(), "@context", {"x": "y"}), "IMPORT-05"),
        (lambda: change(spdx(), "@graph", {}), "IMPORT-05"),
        (lambda: graph_with({"type": "ai_AIPackage", "name": "x"}), "IMPORT-05"),
        (lambda: graph_with({"spdxId": "urn:x:1"}), "IMPORT-05"),
        (lambda: graph_with(*[{"type": "software_File", "spdxId": "urn:x:1", "name": "f"}] * 2), "IMPORT-12"),
        (lambda: graph_with(relation("urn:spdx:absent", "contains", "urn:x:2")), "IMPORT-12"),
        (lambda: graph_with(relation("a", "descendantOf", "a")), "IMPORT-15"),
        (lambda: graph_with(relation("a", "descendantOf", "b"), relation("b", "descendantOf", "a", 1)), "IMPORT-15"),
        (lambda: graph_with(relation("a", "contains", "b"), relation("b", "contains", "a", 1)), "IMPORT-15"),
        (lambda: graph_with(relation("a", "ancestorOf", "b"), relation("b", "ancestorOf", "a", 1)), "IMPORT-15"),
        (lambda: graph_with(relation("a", "descendantOf", "b"), relation("a", "ancestorOf", "b", 1)), "IMPORT-15"),
        (
            lambda: graph_with(
                relation("a", "descendantOf", "b"),
                relation("b", "descendantOf", "a", 1),
                relation("c", "ancestorOf", "a", 2),
                relation("c", "ancestorOf", "b", 3),
            ),
            "IMPORT-15",
        ),
        (lambda: graph_with({"type": "ai_AIPackage", "spdxId": "urn:x:1", "name": ["x"]}), "IMPORT-05"),
    ],
)
def test_spoilt_spdx_is_refused(data: Any, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        import_document(data(), "sbom.json")
    assert caught.value.code == code, str(caught.value)
    assert "\n" not in str(caught.value)


def test_export_says_no_more_than_the_statements() -> None:
    """Without a run nothing says what the model was trained on; no maker and no day of release is made up."""
    without = [model_statement(), dataset_statement(issuer=None)]
    assert import_document(spdx(without), "s").models[0].datasets == ()
    assert import_bom(write_bom(bill(without)), "b").models[0].datasets == ()
    elements = json.loads(spdx(without))["@graph"]
    made_up = {"originatedBy", "releaseTime", "software_downloadLocation"}
    assert not any(made_up & one.keys() for one in elements if one["type"] == "ai_AIPackage")
    assert not any("originatedBy" in one for one in elements)
    concluded = [one["to"] for one in elements if one.get("relationshipType") == "hasConcludedLicense"]
    assert {target for one in concluded for target in one} == {
        "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
    }


def test_spdx_claims_a_profile_only_where_it_has_what_that_demands() -> None:
    def claimed(*statements: Statement) -> set[str]:
        elements = json.loads(spdx(list(statements)))["@graph"]
        found: list[str] = next(one["profileConformance"] for one in elements if one["type"] == "SpdxDocument")
        return {"ai", "dataset"} & set(found)

    assert claimed(*all_statements()) == {"ai", "dataset"}
    assert claimed(model_statement(), dataset_statement()) == {"dataset"}
    assert claimed(model_statement(), release_statement(), dataset_statement(issued=None)) == {"ai"}
    assert claimed(model_statement(), dataset_statement(), dataset_statement(issuer=None)) == set()


def test_long_line_of_descent_is_read() -> None:
    packages = [{"type": "ai_AIPackage", "spdxId": f"urn:x:{n}", "name": "m"} for n in range(2_000)]
    lines = [relation(f"urn:x:{n}", "descendantOf", f"urn:x:{n + 1}", n) for n in range(1_999)]
    value = {"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [*packages, *lines]}
    imported = import_document(json.dumps(value).encode(), "s")
    assert len(imported.models) == 2_000
    assert imported.models[0].base_models == (Reference(name="m"),)


@pytest.mark.parametrize("statements", [None, "bare"])
def test_spdx_keeps_the_bindings_of_its_model(statements: str | None) -> None:
    """The bindings are made from SPDX's own SHACL model: types, cardinalities, enumerations, patterns."""
    model = pytest.importorskip("spdx_python_model", reason="spdx-python-model has the bindings of SPDX 3.0.1")

    def load(data: bytes) -> Any:
        import io

        objects = model.v3_0_1.SHACLObjectSet()
        model.v3_0_1.JSONLDDeserializer().read(io.BytesIO(data), objects)
        objects.link()
        return objects

    data = spdx(bare() if statements else None)
    objects = load(data)
    assert len(list(objects.foreach_type(model.v3_0_1.ai_AIPackage))) == 1
    for one in objects.foreach():
        assert one.validate() if hasattr(one, "validate") else True
    with pytest.raises(Exception, match=r".*"):
        load(change(data, "@graph.0.created", "yesterday"))


@pytest.mark.parametrize("statements", [None, "bare"])
def test_spdx_keeps_the_official_schema(statements: str | None) -> None:
    schema = os.environ.get("GLASSLOG_SPDX_SCHEMA")
    if schema is None:
        pytest.skip("GLASSLOG_SPDX_SCHEMA does not name SPDX's JSON schema")
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema judges SPDX's schema")
    validator = jsonschema.Draft202012Validator(json.loads(Path(schema).read_text()))
    data = spdx(bare() if statements else None)
    assert [error.message[:300] for error in validator.iter_errors(json.loads(data))] == []
    assert list(validator.iter_errors(json.loads(change(data, "@graph.0.created", "yesterday"))))


# --- Croissant ------------------------------------------------------------------------------------


def croissant(**changes: Any) -> bytes:
    found = gather([dataset_statement(**changes)])
    return write_croissant(*found.datasets[0])


def test_croissant_goes_out_and_comes_back() -> None:
    imported = import_croissant(croissant(), "croissant.json")
    (facts,) = imported.datasets
    assert (facts.name, facts.version, facts.license) == ("digits & more", "2", "CC-BY-4.0")
    assert facts.digests == {RECORDS: RECORDS_ROOT.hex()}
    assert [(one.name, one.size, len(one.digests["sha256"])) for one in facts.files] == [
        ("a.csv", 4, 64), ("b.parquet", 1, 64),
    ]  # fmt: skip
    assert [one.name for one in facts.derived_from] == ["older"]
    assert imported.verdict() == "declared, unverified"
    value = json.loads(croissant())
    assert value["prov:wasGeneratedBy"]["prov:startedAtTime"] == "2025-01-01"
    with pytest.raises(ArtifactError, match="EXPORT-03"):
        croissant(files=(File(name="x", bytes=1, digest={"blake3": bytes(32)}),))


@pytest.mark.parametrize(
    "junk",
    [
        "https://github.com/mlcommons/croissant/issues/80", "0" * 40, "0" * 64, "0" * 32, "main", "", 7, None,
        ["0" * 64],
        {"@value": "x"},
    ],
)  # fmt: skip
def test_junk_hash_is_imported_as_declared_unverified(junk: Any) -> None:
    data = change(croissant(), "distribution.0.sha256", junk)
    imported = import_croissant(data, "croissant.json")
    assert imported.datasets[0].files[0].digests == {}
    assert any("is no sha256 digest and was left out" in note for note in imported.notes) == (junk is not None)
    statement = next(one for one in make_statements(imported) if one["predicateType"] == Dataset.type_uri())
    dataset = Dataset.read(statement)
    assert {"files", "license", "name", "sourceCategory"} <= set(dataset.declared_unverified)
    assert [one.name for one in dataset.files] == ["b.parquet"]
    assert dataset.evidence[0].digest == {"sha256": imported.evidence[0].digest}


def described(*resources: dict[str, Any]) -> bytes:
    listed = list(resources) or [{"@type": "sc:Person", "@id": "a"}]
    return json.dumps({"@type": "sc:Dataset", "name": "x", "distribution": listed}).encode()


def test_description_is_given_whole_to_whoever_has_the_files() -> None:
    """Vocabularies' prefixes make no difference; what stands as a digest is kept as it stands."""
    junk = "https://github.com/mlcommons/croissant/issues/80"
    read = read_description(
        described(
            {"@type": "http://mlcommons.org/croissant/FileObject", "@id": "repo", "name": "r", "sha256": junk,
             "contentUrl": "https://example.org/r", "contentSize": "12 kB", "encodingFormat": "git+https"},
            {"@type": "cr:FileSet", "@id": "s", "containedIn": {"@id": "repo"}, "includes": ["*.csv", "*.tsv"],
             "cr:excludes": "x.csv"},
            {"@type": "FileObject", "@id": "t", "sc:contentUrl": "a/t.csv", "cr:md5": "D1" * 16, "contentSize": "7"},
        ),
        "c",
    )  # fmt: skip
    remote, local = read.files
    assert (remote.path, remote.stated, remote.digests, remote.size) == (None, (("sha256", junk),), {}, None)
    assert (local.path, local.digests, local.size) == ("a/t.csv", {"md5": "d1" * 16}, 7)
    assert local.stated == (("md5", "D1" * 16),)
    assert [(one.includes, one.excludes, one.inside) for one in read.sets] == [
        (("*.csv", "*.tsv"), ("x.csv",), ("repo",))
    ]  # fmt: skip
    assert len(read.notes) == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{}", "IMPORT-05"),
        (b'{"@type": "sc:Person", "name": "x"}', "IMPORT-05"),
        (b'{"@type": "sc:Dataset"}', "IMPORT-05"),
        (b'{"@type": "sc:Dataset", "name": 5}', "IMPORT-05"),
        (b'{"@type": "sc:Dataset", "name": "x", "name": "y"}', "IMPORT-02"),
        (b'{"@type": ["sc:Dataset"], "name": "x", "distribution": [{"sha256": 1e999}]}', "IMPORT-02"),
        (b'{"@type": "sc:Dataset", "name": "x", "sc:name": "y"}', "IMPORT-12"),
        (described(), "IMPORT-05"),
        (described({"@type": "cr:FileObject"}), "IMPORT-05"),
        (described({"@type": "cr:FileObject", "@id": "a", "contentUrl": "../up"}), "IMPORT-11"),
        (described({"@type": "cr:FileObject", "@id": "a", "contentUrl": "/etc/passwd"}), "IMPORT-11"),
        (described({"@type": "cr:FileObject", "@id": "a", "contentUrl": "file:///etc/passwd"}), "IMPORT-11"),
        (described({"@type": "cr:FileObject", "@id": "a", "contentUrl": "a\\b"}), "IMPORT-11"),
        (described({"@type": "cr:FileSet", "@id": "a", "includes": "../*"}), "IMPORT-11"),
        (described(*[{"@type": "cr:FileObject", "@id": "a"}] * 2), "IMPORT-12"),
        (described({"@type": "cr:FileObject", "@id": "a", "containedIn": {"@id": "a"}}), "IMPORT-15"),
    ],
)  # fmt: skip
def test_spoilt_croissant_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        import_croissant(data, "croissant.json")
    assert caught.value.code == code, str(caught.value)
    assert "\n" not in str(caught.value)


def test_croissant_keeps_its_library(tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant judges Croissant files")
    (tmp_path / "croissant.json").write_bytes(croissant())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = mlcroissant.Dataset(tmp_path / "croissant.json")
    assert dataset.metadata.name == "digits & more"
    assert list(dataset.metadata.ctx.issues.errors) == []
    assert {one.sha256 for one in dataset.metadata.distribution} == {
        one["sha256"] for one in json.loads(croissant())["distribution"]
    }


# --- what is exported from what -------------------------------------------------------------------


def test_export_needs_the_right_statements() -> None:
    with pytest.raises(ArtifactError, match="EXPORT-01"):
        write_bom(gather([dataset_statement()]))
    with pytest.raises(ArtifactError, match="EXPORT-01"):
        write_bom(gather([model_statement(), model_statement()]))
    with pytest.raises(ArtifactError, match="EXPORT-01"):
        gather([])
    broken: Any = json.loads(json.dumps({}))
    with pytest.raises(ArtifactError, match="EXPORT-01"):
        gather([broken])
    wrong = {**run_statement(), "predicate": {}}
    with pytest.raises(ArtifactError, match=r"EXPORT-01 .*PRED-02"):
        gather([wrong])
    with pytest.raises(ArtifactError, match="EXPORT-03"):
        write_bom(bill(), "1.4")  # type: ignore[arg-type]  # what a caller without types may say


def test_evaluation_of_an_import_says_that_it_is_self_reported() -> None:
    imported = import_bom(write_bom(bill()), "b")
    found = [one for one in make_statements(imported) if one["predicateType"] == Evaluation.type_uri()]
    evaluation = Evaluation.read(found[0])
    assert (evaluation.value, evaluation.assurance_level) == ("0.875", "self-reported")
    assert evaluation.evidence
