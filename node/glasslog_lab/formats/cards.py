"""Hugging Face cards and LFS pointers: what a repository's README and pointer files declare (M13).

A card is declared, never checked. A pointer's sha256 is a claim about a file that is compared where the file is here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from glasslog.predicates.model import Model
from glasslog_lab.formats.bill import hex_digests
from glasslog_lab.formats.facts import (
    Checked,
    DatasetFacts,
    EvaluationFacts,
    Evidence,
    FileFact,
    Imported,
    ModelFacts,
    Reference,
    declared,
)
from glasslog_lab.formats.reading import Cursor, refusal, show_decimal
from glasslog_lab.formats.yaml_reading import load_yaml, split_front_matter

RELATIONS = ("finetune", "adapter", "merge", "quantized")
POINTER_BYTES_MAX = 1024
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[0-9]-\w+ sha256:[0-9a-f]{64}\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,20})\n"
)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_HUB = "https://huggingface.co/"


def import_card(data: bytes, where: str, *, kind: Literal["model", "dataset"] | None = None) -> Imported:
    """Import a model or data set card; its own members tell which where ``kind`` is not given.

    Raises:
        ArtifactError: IMPORT-02, IMPORT-03, IMPORT-14 its YAML; IMPORT-05 members of another type.
    """
    front, _ = split_front_matter(data, where)
    if not front.strip():
        raise refusal("IMPORT-05", where, "has no YAML front matter", "give a card that begins with ---")
    top = Cursor(where, "", load_yaml(front, where))
    top.members()
    evidence = (Evidence.of(data, "text/markdown", where),)
    note = ("everything: a card is what its author writes",)
    if (kind or _guess(top)) == "dataset":
        dataset = _read_dataset(top, where)
        return Imported(format="card", checked=Checked.DECLARED, evidence=evidence, datasets=(dataset,), unchecked=note)
    model = _read_model(top, where)
    evaluations, passed_over = _read_index(top, model)
    return Imported(
        format="card", checked=Checked.DECLARED, evidence=evidence, models=(model,), evaluations=evaluations,
        unchecked=note, notes=passed_over,
    )  # fmt: skip


def import_pointer(data: bytes, where: str, file: Path | None = None) -> Imported:
    """Import an LFS pointer, and compare the file it stands for where that is given.

    Raises:
        ArtifactError: IMPORT-05 no pointer, IMPORT-13 the file is another, FILE-01 it cannot be read.
    """
    from glasslog_lab.formats.oms_manifest import Serialization, measure_folder

    found = read_pointer(data)
    if found is None:
        raise refusal("IMPORT-05", where, "is no LFS pointer")
    digest, size = found
    checked = Checked.DECLARED
    if file is not None:
        manifest = measure_folder(file, Serialization(allow_symlinks=True))
        if len(manifest.resources) != 1 or next(iter(manifest.resources.values())).hex() != digest:
            raise refusal("IMPORT-13", where, f"{file.name} is not the file it points to", "fetch the file again")
        checked = Checked.REHASHED
    fact = FileFact(name=Path(where).name, digests={"sha256": digest}, size=size, uri=None)
    model = ModelFacts(
        name=Path(where).name, files=(fact,), digests={"sha256": digest},
        sources=declared(where, {"files": "oid"}, checked),
    )  # fmt: skip
    evidence = (Evidence.of(data, "text/plain", where),)
    unchecked = () if file is not None else ("the file itself: it was not given",)
    return Imported(format="lfs", checked=Checked.DECLARED, evidence=evidence, models=(model,), unchecked=unchecked)


def read_pointer(data: bytes) -> tuple[str, int] | None:
    """Return the sha256 and size an LFS pointer states, or None where the bytes are no pointer."""
    found = _POINTER.fullmatch(data) if len(data) <= POINTER_BYTES_MAX else None
    return None if found is None else (found[1].decode(), int(found[2]))


def write_card(model: Model, metrics: tuple[tuple[str, str, str], ...] = ()) -> bytes:
    """Return a model card: front matter that the Hub reads, and who can check what.

    Args:
        model: what the predicate says.
        metrics: data set, metric, value of evaluations.
    """
    bases = [one.name for one in model.base_model if one.name is not None]
    shown = hex_digests(model.content_root.digest) if model.content_root is not None else {}
    front: dict[str, object] = {}
    if model.license is not None:
        front["license"] = model.license.lower()
    if bases:
        front["base_model"] = bases
    if model.base_model_relation in RELATIONS:
        front["base_model_relation"] = model.base_model_relation
    if metrics:
        results = [
            {
                "task": {"type": "other"},
                "dataset": {"name": dataset, "type": dataset},
                "metrics": [{"type": metric, "value": _number(value), "verified": False}],
            }
            for dataset, metric, value in metrics
        ]
        front["model-index"] = [{"name": model.name, "results": results}]
    # A JSON text is a YAML value, so strings need no rules of their own.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=True)}" for name, value in front.items()]
    body = [
        f"# {model.name}",
        "",
        model.description or "",
        "",
        *(f"{name}: `{value}`" for name, value in shown.items()),
    ]
    return "\n".join(["---", *lines, "---", "", *body, ""]).encode()


def _number(value: str) -> float | str:
    """Return a decimal as the number that says the same in YAML 1.1 and 1.2, as text where no double does."""
    number = float(value)
    return number if show_decimal(number) == show_decimal(value) and "e" not in repr(number) else value


def _guess(top: Cursor) -> Literal["model", "dataset"]:
    members = top.members().keys()
    of_models = members & {"base_model", "model-index", "library_name", "pipeline_tag", "base_model_relation"}
    of_datasets = members & {
        "task_categories", "size_categories", "configs", "dataset_info", "annotations_creators", "source_datasets",
        "pretty_name", "multilinguality", "task_ids",
    }  # fmt: skip
    return "dataset" if of_datasets and not of_models else "model"


def _read_model(top: Cursor, where: str) -> ModelFacts:
    relation = top.get("base_model_relation")
    said = relation.text() if relation is not None else None
    if relation is not None and said not in RELATIONS:
        raise relation.refuse(f"is none of {', '.join(RELATIONS)}")
    names = [one.text() for one in top.each("base_model")]
    index = next(iter(top.list("model-index")), None)
    name = (index.text_of("name") if index is not None else None) or Path(where).absolute().parent.name or "model"
    places = {"license": "license", "base_models": "base_model", "datasets": "datasets"}
    return ModelFacts(
        name=name, license=_license(top), base_models=tuple(_reference(one) for one in names),
        base_model_relation=said, datasets=tuple(_reference(one.text(), "datasets/") for one in top.each("datasets")),
        sources=declared(where, {member: place for member, place in places.items() if top.get(place) is not None}),
    )  # fmt: skip


def _read_dataset(top: Cursor, where: str) -> DatasetFacts:
    languages = tuple(one.text() for one in top.each("language"))
    sources = [one.text() for one in top.each("source_datasets")]
    name = top.text_of("pretty_name") or Path(where).absolute().parent.name or "dataset"
    return DatasetFacts(
        name=name, license=_license(top), languages=languages,
        derived_from=tuple(_reference(one, "datasets/") for one in sources if one not in {"original", "extended"}),
        sources=declared(where, {"license": "license", "languages": "language"}),
    )  # fmt: skip


def _read_index(top: Cursor, model: ModelFacts) -> tuple[tuple[EvaluationFacts, ...], tuple[str, ...]]:
    found, notes = list[EvaluationFacts](), list[str]()
    for entry in top.list("model-index"):
        for result in entry.list("results"):
            dataset, task = result.need("dataset"), result.get("task")
            for metric in result.list("metrics"):
                value = show_decimal(metric.need("value").value)
                if value is None:
                    notes.append(f"{metric.path}: its value is not one number")
                    continue
                found.append(
                    EvaluationFacts(
                        model=Reference(name=entry.text_of("name") or model.name),
                        metric=metric.need("type").text(),
                        value=value,
                        dataset=Reference(name=dataset.text_of("name") or dataset.need("type").text()),
                        task=task.text_of("type") if task is not None else None,
                        sources=declared(top.file, {"value": metric.path}),
                    )
                )
    return tuple(found), tuple(notes)


def _license(top: Cursor) -> str | None:
    said = [one.text() for one in top.each("license")]
    return " OR ".join(said) or None


def _reference(name: str, folder: str = "") -> Reference:
    known = _REPOSITORY.fullmatch(name) is not None
    return Reference(name=name, uri=f"{_HUB}{folder}{name}" if known and "/" in name else None)
