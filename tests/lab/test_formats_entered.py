"""What an import is entered as: files compared where a folder is given, a measured model filled, never overruled."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from glasslog.predicates.base import Subject, list_subjects, statement_id
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.model import Model
from glasslog.predicates.values import STATEMENT, TENSORS, Commitment
from glasslog.statement import Statement, to_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.bill import gather
from glasslog_lab.formats.cards import import_card
from glasslog_lab.formats.croissant import import_croissant
from glasslog_lab.formats.croissant_writing import write_croissant
from glasslog_lab.formats.cyclonedx import import_bom
from glasslog_lab.formats.cyclonedx_writing import write_bom
from glasslog_lab.formats.facts import Checked, DatasetFacts, Imported, ModelFacts
from glasslog_lab.formats.rehash import check_folder
from glasslog_lab.formats.spdx import import_document
from glasslog_lab.formats.spdx_writing import write_document
from glasslog_lab.formats.statements import make_statements
from lab.formats.world import ROOT, all_statements, change, dataset_statement, model_statement

CONTENTS = {"config.json": b"{}", "weights/model.safetensors": b"w", "a.csv": b"1,2\n", "b.parquet": b"P"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in CONTENTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def bom() -> Imported:
    return import_bom(write_bom(gather(all_statements())), "bom.json")


def croissant(**changes: Any) -> Imported:
    data = write_croissant(*gather([dataset_statement()]).datasets[0])
    for path, value in changes.items():
        data = change(data, path.replace("__", "."), value)
    return import_croissant(data, "croissant.json")


def spdx() -> Imported:
    data = write_document(gather(all_statements()), created="2026-03-01T00:00:00Z", supplier="x")
    return import_document(data, "s.json")


@pytest.mark.parametrize("make", [bom, croissant, spdx])
def test_files_that_agree_are_rehashed_and_the_rest_stays_declared(folder: Path, make: Any) -> None:
    checked = check_folder(make(), folder)
    assert checked.checked is Checked.DECLARED
    described: list[ModelFacts | DatasetFacts] = [*checked.models, *checked.datasets]
    for facts in described:
        assert facts.sources["files"].checked is (Checked.REHASHED if facts.files else Checked.DECLARED)
        assert all(member.checked is Checked.DECLARED for name, member in facts.sources.items() if name != "files")
        assert [one.size for one in facts.files] == [len(CONTENTS[one.name]) for one in facts.files]
    (statement,) = [one for one in make_statements(checked) if one["predicateType"] == Dataset.type_uri()]
    dataset = Dataset.read(statement)
    assert "files" not in dataset.declared_unverified
    assert {"name", "license"} <= set(dataset.declared_unverified)


@pytest.mark.parametrize("make", [bom, croissant, spdx])
def test_file_that_is_another_is_refused(folder: Path, make: Any) -> None:
    (folder / "a.csv").write_bytes(b"1,3\n")
    with pytest.raises(ArtifactError, match=r"IMPORT-13 a.csv: is here and is not what the document states"):
        check_folder(make(), folder)


def test_file_that_is_not_here_or_has_no_digest_stays_declared(folder: Path) -> None:
    (folder / "a.csv").unlink()
    checked = check_folder(croissant(), folder)
    assert checked.datasets[0].sources["files"].checked is Checked.DECLARED
    assert checked.unchecked[-1] == "1 files not here or without a strong digest, first 'a.csv'"
    junk = check_folder(croissant(distribution__0__sha256="0" * 40), folder)
    assert "first 'a.csv'" in junk.unchecked[-1]
    nothing = check_folder(croissant(), None)
    assert nothing.unchecked[-1] == "the files themselves: no folder was given"


def test_wrong_size_and_other_digests_are_compared_too(folder: Path) -> None:
    (facts,) = croissant().datasets
    wrong = replace(facts.files[0], size=5)
    for file, fine in (
        (wrong, False),
        (replace(facts.files[0], digests={"sha512": "0" * 128}), False),
        (replace(facts.files[0], digests={"blake3": "0" * 64}), False),
        (replace(facts.files[0], digests={"blake2b_256": "0" * 64}), False),
        (replace(facts.files[0], digests={"sha3_256": "0" * 64}), False),
        (replace(facts.files[0], digests={**facts.files[0].digests, "md5": "0" * 32}), True),
    ):
        imported = replace(croissant(), datasets=(replace(facts, files=(file,)),))
        if fine:
            assert check_folder(imported, folder).datasets[0].sources["files"].checked is Checked.REHASHED
            continue
        with pytest.raises(ArtifactError, match="IMPORT-13"):
            check_folder(imported, folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "link", "into/secret", "a\\b", "pipe"])
def test_name_that_leads_out_of_the_folder_is_never_opened(folder: Path, name: str) -> None:
    outside = folder.parent / f"{folder.name}-outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"s")
    (folder / "link").symlink_to(outside / "secret")
    (folder / "into").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    (facts,) = croissant().datasets
    file = replace(facts.files[0], name=name, digests={"sha256": sha256(b"s").hexdigest()}, size=None)
    imported = replace(croissant(), datasets=(replace(facts, files=(file,)),))
    if name == "pipe":
        assert check_folder(imported, folder).datasets[0].sources["files"].checked is Checked.DECLARED
        return
    with pytest.raises(ArtifactError, match="IMPORT-11") as caught:
        check_folder(imported, folder)
    assert "\n" not in str(caught.value)


def test_folder_that_is_none_and_document_without_files(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="IMPORT-01"):
        check_folder(croissant(), tmp_path / "absent")
    card = import_card(b"---\nlicense: mit\n---\n", "README.md")
    assert check_folder(card, tmp_path).notes == ("the folder was not used: no file is named",)


# --- a model that was measured here ---------------------------------------------------------------

MEASURED = Model(
    name="tiny", format="safetensors", tensors=2, parameters=10, license="MIT",
    content_root=Commitment(digest={TENSORS: ROOT}),
).statement(Subject("tiny", {TENSORS: ROOT}))  # fmt: skip


def pick(statements: list[Statement], kind: Any) -> list[Statement]:
    return [one for one in statements if one["predicateType"] == kind.type_uri()]


def test_measured_model_is_filled_and_not_overruled() -> None:
    statements = make_statements(bom(), MEASURED)
    (statement,) = pick(statements, Model)
    model = Model.read(statement)
    assert list_subjects(statement) == list_subjects(MEASURED)
    assert (model.license, model.architecture, model.base_model_relation) == ("MIT", "TinyNet", "finetune")
    assert model.files == ()
    assert model.evidence[0].digest == {"sha256": bom().evidence[0].digest}
    # Results are then about these weights, no longer about a document.
    (evaluation,) = pick(statements, Evaluation)
    assert list_subjects(evaluation)[0].digest == {TENSORS: ROOT}


def test_reference_lists_what_was_entered_from_the_original() -> None:
    *entered, last = make_statements(bom(), MEASURED)
    reference: Any = json.loads(to_json(last))
    listed = reference["predicate"]["references"][0]["annotations"][STATEMENT]
    assert listed == [statement_id(one).hex() for one in entered]
    assert len(listed) == 3


def test_document_that_contradicts_what_was_measured_is_refused() -> None:
    other = replace(bom().models[0], digests={TENSORS: "0" * 64})
    with pytest.raises(ArtifactError, match=r"IMPORT-13 .*the content root was measured otherwise"):
        make_statements(replace(bom(), models=(other,)), MEASURED)
    wrong = change(write_bom(gather(all_statements())), "metadata.component.components.0.hashes.0.content", "0" * 64)
    with pytest.raises(ArtifactError, match=r"IMPORT-13 .*config.json was measured otherwise"):
        make_statements(import_bom(wrong, "bom.json"), model_statement())


def test_document_of_other_models_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"IMPORT-16 .*describes no model"):
        make_statements(croissant(), MEASURED)
    renamed = [replace(bom().models[0], name=name) for name in ("one", "two")]
    with pytest.raises(ArtifactError, match=r"IMPORT-16 .*describes 2 models, none called 'tiny'"):
        make_statements(replace(bom(), models=tuple(renamed)), MEASURED)
    several = replace(bom(), models=(renamed[0], bom().models[0], renamed[1]))
    assert len(pick(make_statements(several, MEASURED), Model)) == 1
