"""From what was imported to what is entered: statements, and never more than was checked (M19).

Every import yields one statement of in-toto's ``reference`` predicate, which names the original by digest, says how far
it was checked, and lists the statements made from it: one of each data set and evaluation it describes. Facts about a
model fill the statement of a model that was measured here, and make none alone. A release or a training run is never
made: the one is an act of its author, the other commits to what no document holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, TypeAlias

from glasslog.errors import DecodeError
from glasslog.limits import SUBJECTS_MAX
from glasslog.predicates.base import Subject, list_subjects, statement_id
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.model import Model
from glasslog.predicates.values import STATEMENT, TENSORS, File, Resource
from glasslog.statement import STATEMENT_TYPE, Statement, from_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.bill import hex_digests
from glasslog_lab.formats.dsse import dump_json
from glasslog_lab.formats.facts import (
    DatasetFacts,
    Digests,
    EvaluationFacts,
    Evidence,
    FileFact,
    Imported,
    ModelFacts,
    Reference,
    RunFacts,
    list_declared,
)
from glasslog_lab.formats.reading import WEAK_DIGESTS, refusal

REFERENCE_TYPE = "https://in-toto.io/attestation/reference/v0.1"
ENTRY_AUTHOR = "urn:glasslog:entry-author"  # whoever signs the block that holds the entry
_RUNS_MAX = 16_384  # characters
_FILES_MAX = 200  # more stand in the original, which is kept
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_SPDX = re.compile(r"[A-Za-z0-9.+:() -]{1,500}")
_LANGUAGE = re.compile("[a-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_Relation: TypeAlias = Literal["finetune", "adapter", "merge", "quantized", "distilled"]
_RELATIONS: tuple[_Relation, ...] = ("finetune", "adapter", "merge", "quantized", "distilled")


def make_statements(imported: Imported, measured: Statement | None = None) -> list[Statement]:
    """Return what an import is entered as: what was signed as it was signed, what it describes, and last the reference.

    Args:
        imported: what a document gave.
        measured: the statement of the model it is about, as it was measured here: its open members are filled.

    Raises:
        ArtifactError: IMPORT-13, the document contradicts what was measured; IMPORT-16, it fits no statement.
    """
    made = list(imported.statements)
    try:
        made += [_dataset(one, imported) for one in imported.datasets]
        models = {one.name: one for one in reversed(imported.models)}
        made += [_evaluation(one, imported, models.get(one.model.name or ""), measured) for one in imported.evaluations]
        if measured is not None:
            made.append(_model(imported, measured))
        made.append(_refer(imported, [statement_id(one).hex() for one in made]))
    except DecodeError as error:
        raise ArtifactError(
            "IMPORT-16", f"what {imported.evidence[0].name} says fits no statement: {error.code} {error.fact}",
            "attest by hand what matters of it, with the file as evidence",
        ) from error  # fmt: skip
    return made


def enrich_model(model: Model, facts: ModelFacts, evidence: Iterable[Evidence] = ()) -> Model:
    """Return a measured model with what a card, BOM or bundle declares, where the model does not say it itself."""
    relation = next((one for one in _RELATIONS if one == facts.base_model_relation), None)
    return replace(
        model,
        version=model.version or facts.version,
        architecture=model.architecture or facts.architecture,
        license=model.license or _licence(facts.license),
        description=model.description or _short(facts.description),
        base_model=model.base_model or tuple(_resource(one) for one in facts.base_models),
        base_model_relation=model.base_model_relation or relation,
        evidence=(*model.evidence, *(as_resource(one) for one in evidence)),
    )


def check_files(model: Model, facts: ModelFacts) -> list[str]:
    """Return the files, sorted, of which a document states another digest than was measured; or the content root."""
    root = hex_digests(model.content_root.digest) if model.content_root is not None else {}
    if facts.digests.get(TENSORS) not in (None, root.get(TENSORS)):
        return ["the content root"]
    measured = {file.name: hex_digests(file.digest) for file in model.files}
    wrong = [
        file.name
        for file in facts.files
        if file.name in measured
        and any(measured[file.name].get(name, one) != one for name, one in file.digests.items())
    ]
    return sorted(wrong)


def as_resource(evidence: Evidence) -> Resource:
    """Return how a statement names evidence."""
    name = re.sub(r"[^\x20-\x7e]", "_", evidence.name.rsplit("/", 1)[-1])[:255] or "document"
    return Resource(name=name, digest={"sha256": evidence.digest}, media_type=evidence.media_type)


def _model(imported: Imported, measured: Statement) -> Statement:
    model, where = Model.read(measured), imported.evidence[0].name
    named = [one for one in imported.models if one.name == model.name] or list(imported.models)
    if len(named) != 1:
        fact = f"describes {len(named)} models, none called {model.name!r}" if named else "describes no model"
        raise refusal("IMPORT-16", where, fact, "leave the model's statement out, or give the document of this model")
    if wrong := check_files(model, named[0]):
        fact = f"{wrong[0]} was measured otherwise than it states, {len(wrong)} in all"
        raise refusal("IMPORT-13", where, fact, "find out which is wrong before anything is attested")
    return enrich_model(model, named[0], imported.evidence).statement(*list_subjects(measured))


def _refer(imported: Imported, entered: list[str]) -> Statement:
    """Return the reference to the original; ``entered`` are the ids of the statements made from it."""
    annotations: dict[str, object] = {
        "format": imported.format, "checked": imported.checked.value, "verdict": imported.verdict(),
        "signers": list(imported.signers), "unchecked": list(imported.unchecked),
        "notes": [note[:300] for note in imported.notes[:20]], STATEMENT: entered[:SUBJECTS_MAX],
    }  # fmt: skip
    if runs := [_run(one) for one in imported.runs if not imported.statements]:
        shown = {"runs": runs} if len(json.dumps(runs)) <= _RUNS_MAX else {"runsLeftOut": len(runs)}
        annotations.update(shown)
    references = [
        {
            "name": as_resource(one).name, "digest": {"sha256": one.digest.hex()}, "mediaType": one.media_type,
            "annotations": annotations,
        }
        for one in imported.evidence
    ]  # fmt: skip
    value: dict[str, object] = {
        "_type": STATEMENT_TYPE, "subject": _subjects(imported), "predicateType": REFERENCE_TYPE,
        "predicate": {"attester": {"id": ENTRY_AUTHOR}, "references": references},
    }  # fmt: skip
    return from_json(dump_json(value))


def _run(run: RunFacts) -> dict[str, object]:
    """Return what a document declares of a run, numbers as it writes them: no predicate of a run can carry it."""
    members = {
        "name": run.name, "buildType": run.build_type, "builder": run.builder, "invocation": run.invocation,
        "started": run.started, "finished": run.finished, "metrics": dict(run.metrics),
        "parameters": {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in run.parameters.items()
        },
    }  # fmt: skip
    return {name: value for name, value in members.items() if value}


def _subjects(imported: Imported) -> list[dict[str, object]]:
    """Return what the original is about, by strong digests; itself where it names none."""
    named = [(model.name, model.digests) for model in imported.models]
    named += [(dataset.name, dataset.digests) for dataset in imported.datasets]
    named += [(file.name, file.digests) for model in imported.models for file in model.files]
    named += [(file.name, file.digests) for dataset in imported.datasets for file in dataset.files]
    named += [(one.name or "output", one.digests) for run in imported.runs for one in run.outputs]
    found: list[dict[str, object]] = []
    for name, digests in named:
        strong = _strong(digests)
        subject: dict[str, object] = {"name": name[:255], "digest": strong}
        if strong and subject not in found and len(found) < SUBJECTS_MAX:
            found.append(subject)
    if not found:
        found = [{"name": as_resource(one).name, "digest": {"sha256": one.digest.hex()}} for one in imported.evidence]
    return found


def _dataset(facts: DatasetFacts, imported: Imported) -> Statement:
    kept = [file for file in facts.files if file.size is not None and _strong(file.digests)][:_FILES_MAX]
    strong = [Subject(file.name[:255], _bytes(_strong(file.digests))) for file in kept[: SUBJECTS_MAX - 1]]
    own = [Subject(facts.name[:255], _bytes(_strong(facts.digests)))] if _strong(facts.digests) else []
    evidence = tuple(as_resource(one) for one in imported.evidence)
    members = {
        "name": facts.name, "version": facts.version, "description": facts.description, "license": facts.license,
        "identifier": facts.uri, "files": facts.files, "derivedFrom": facts.derived_from, "languages": facts.languages,
    }  # fmt: skip
    checked = set(facts.sources) - set(list_declared(facts.sources.items()))
    unverified = sorted(name for name, value in members.items() if value and name not in checked)
    identifier = facts.uri if facts.uri is not None and len(facts.uri) <= 2000 and _URI.fullmatch(facts.uri) else None
    dataset = Dataset(
        name=facts.name[:255], version=facts.version[:255] if facts.version else None,
        identifier=identifier,
        description=_short(facts.description), license=_licence(facts.license), metadata=evidence[0],
        files=tuple(_file(file) for file in sorted(kept, key=lambda one: one.name.encode())),
        derived_from=tuple(_resource(one) for one in facts.derived_from),
        languages=tuple(one for one in facts.languages if _LANGUAGE.fullmatch(one) and len(one) <= 35),
        source_category=("other",), declared_unverified=(*unverified, "sourceCategory"), evidence=evidence,
    )  # fmt: skip
    itself = Subject(evidence[0].name or "document", {"sha256": imported.evidence[0].digest})
    return dataset.statement(*([*own, *strong] or [itself]))


def _evaluation(
    facts: EvaluationFacts, imported: Imported, model: ModelFacts | None, measured: Statement | None
) -> Statement:
    evidence = tuple(as_resource(one) for one in imported.evidence)
    digests = _strong(model.digests) if model is not None else {}
    if measured is not None:
        subject = next(iter(list_subjects(measured)))
    elif digests:
        subject = Subject((facts.model.name or "model")[:255], _bytes(digests))
    else:
        subject = Subject(evidence[0].name or "document", {"sha256": imported.evidence[0].digest})
    return Evaluation(
        metric=facts.metric[:255], value=facts.value, dataset=_resource(facts.dataset),
        harness=Resource(name="not stated"), assurance_level="self-reported", evidence=evidence,
    ).statement(subject)  # fmt: skip


def _file(file: FileFact) -> File:
    return File(name=file.name[:1000], bytes=file.size or 0, digest=_bytes(_strong(file.digests)))


def _resource(reference: Reference) -> Resource:
    uri = reference.uri if reference.uri is not None and _URI.fullmatch(reference.uri) else None
    strong = _bytes(_strong(reference.digests))
    name = reference.name[:255] if reference.name else None
    if name is None and uri is None and not strong:
        name = (reference.uri or "unnamed")[:255]
    return Resource(name=name, uri=uri, digest=strong or None)


def _strong(digests: Digests) -> dict[str, str]:
    return {name: value for name, value in digests.items() if name not in WEAK_DIGESTS}


def _bytes(digests: Digests) -> dict[str, bytes | str]:
    return {name: bytes.fromhex(value) for name, value in digests.items()}


def _licence(said: str | None) -> str | None:
    return said if said is not None and _SPDX.fullmatch(said) else None


def _short(text: str | None) -> str | None:
    return text[:2000] if text else None
