"""SPDX 3.0 JSON-LD with the AI and Dataset profiles, read as declared facts (M17).

Only documents of SPDX's own context are read, ``@graph`` flat and references by identifier, as SPDX's schema has it: no
context is fetched and no other JSON-LD is expanded.
"""

from __future__ import annotations

from glasslog_lab.formats.circles import find_circle
from glasslog_lab.formats.facts import (
    Checked,
    DatasetFacts,
    Digests,
    EvaluationFacts,
    Evidence,
    FileFact,
    Imported,
    ModelFacts,
    Reference,
    Source,
    declared,
)
from glasslog_lab.formats.reading import Cursor, is_digest, load_json, refusal, show_decimal
from glasslog_lab.formats.spdx_writing import ALGORITHMS

MEDIA_TYPE = "application/spdx+json"
ELEMENTS_MAX = 200_000
_NAMES = {shown: name for name, shown in ALGORITHMS.items()}
_Relations = dict[str, list[tuple[str, list[str]]]]  # from, then type and to


def import_document(data: bytes, where: str) -> Imported:
    """Import an SPDX 3.0 document: AI packages, data set packages and what relates them.

    Raises:
        ArtifactError: IMPORT-02, IMPORT-03, IMPORT-05; IMPORT-12 an identifier twice or one that leads nowhere;
            IMPORT-15 a model that descends from itself.
    """
    top = Cursor(where, "", load_json(data, where))
    context = top.need("@context")
    if not isinstance(context.value, str) or not context.value.startswith("https://spdx.org/rdf/3.0"):
        raise context.refuse("is not SPDX 3.0's own context, and no other is fetched")
    elements = _index(top)
    relations = _read_relations(elements)
    if circle := find_circle(_edges(relations, "descendantOf", "ancestorOf")):
        raise top.refuse(f"{circle[:80]!r} descends from itself", "IMPORT-15")
    if circle := find_circle(_edges(relations, "contains")):
        raise top.refuse(f"{circle[:80]!r} contains itself", "IMPORT-15")
    models, datasets, evaluations = list[ModelFacts](), list[DatasetFacts](), list[EvaluationFacts]()
    for identifier, element in elements.items():
        kind = element.need("type").text()
        if kind == "ai_AIPackage":
            models.append(_read_model(identifier, element, elements, relations))
            evaluations += _read_metrics(element)
        elif kind == "dataset_DatasetPackage":
            datasets.append(_read_dataset(identifier, element, elements, relations))
    evidence = (Evidence.of(data, MEDIA_TYPE, where),)
    return Imported(
        format="spdx", checked=Checked.DECLARED, evidence=evidence, models=tuple(models), datasets=tuple(datasets),
        evaluations=tuple(evaluations), unchecked=("what it declares",),
    )  # fmt: skip


def _index(top: Cursor) -> dict[str, Cursor]:
    found = dict[str, Cursor]()
    for number, element in enumerate(top.need("@graph").items()):
        if number >= ELEMENTS_MAX:
            raise refusal("IMPORT-03", element.where, f"there are over {ELEMENTS_MAX} elements")
        identifier = element.text_of("spdxId") or element.text_of("@id")
        if identifier is None:
            raise element.refuse("has neither spdxId nor @id")
        if identifier in found:
            raise element.refuse(f"identifier {identifier[:80]!r} stands twice", "IMPORT-12")
        element.need("type").text()
        found[identifier] = element
    return found


def _read_relations(elements: dict[str, Cursor]) -> _Relations:
    found: _Relations = {}
    for element in elements.values():
        if element.need("type").value not in {"Relationship", "LifecycleScopedRelationship"}:
            continue
        source, targets = element.need("from").text(), [one.text() for one in element.list("to")]
        for name in [source, *targets]:
            if name not in elements and name.startswith(("_:", "urn:spdx:")):
                raise element.refuse(f"{name[:80]!r} leads nowhere", "IMPORT-12")
        found.setdefault(source, []).append((element.need("relationshipType").text(), targets))
    return found


def _edges(relations: _Relations, kind: str, inverse: str | None = None) -> dict[str, list[str]]:
    """Return where relations of a kind lead, those of its inverse followed backwards."""
    edges = dict[str, list[str]]()
    for source, found in relations.items():
        for said, targets in found:
            for target in targets:
                if said == kind:
                    edges.setdefault(source, []).append(target)
                elif said == inverse:
                    edges.setdefault(target, []).append(source)
    return edges


def _targets(relations: _Relations, source: str, kinds: set[str]) -> list[str]:
    return [target for kind, targets in relations.get(source, ()) if kind in kinds for target in targets]


def _read_model(identifier: str, element: Cursor, elements: dict[str, Cursor], relations: _Relations) -> ModelFacts:
    bases = _targets(relations, identifier, {"descendantOf"})
    trained = _targets(relations, identifier, {"trainedOn", "finetunedOn", "pretrainedOn"})
    kinds = list(element.each("ai_typeOfModel"))
    return ModelFacts(
        name=element.need("name").text(), version=element.text_of("software_packageVersion"),
        description=element.text_of("description"), license=_read_licence(identifier, elements, relations),
        architecture=kinds[0].text() if kinds else None,
        base_models=tuple(_reference(one, elements) for one in bases),
        datasets=tuple(_reference(one, elements) for one in trained),
        files=_read_files(identifier, elements, relations), digests=_read_digests(element),
        purl=element.text_of("software_packageUrl"), sources=_sources(element),
    )  # fmt: skip


def _read_dataset(identifier: str, element: Cursor, elements: dict[str, Cursor], relations: _Relations) -> DatasetFacts:
    return DatasetFacts(
        name=element.need("name").text(), version=element.text_of("software_packageVersion"),
        description=element.text_of("description"), license=_read_licence(identifier, elements, relations),
        uri=element.text_of("software_downloadLocation"),
        files=_read_files(identifier, elements, relations), digests=_read_digests(element), sources=_sources(element),
    )  # fmt: skip


def _sources(element: Cursor) -> dict[str, Source]:
    return declared(element.file, dict.fromkeys(("name", "license", "files", "digests"), element.path))


def _read_metrics(element: Cursor) -> list[EvaluationFacts]:
    found = list[EvaluationFacts]()
    for entry in element.list("ai_metric"):
        key, value = entry.need("key").text(), entry.get("value")
        number = show_decimal(value.value) if value is not None else None
        metric, _, dataset = key.partition(" on ")
        if number is not None and metric:
            found.append(
                EvaluationFacts(
                    model=Reference(name=element.need("name").text()),
                    metric=metric,
                    value=number,
                    dataset=Reference(name=dataset or "unnamed"),
                    sources=declared(element.file, {"value": entry.path}),
                )
            )
    return found


def _read_licence(identifier: str, elements: dict[str, Cursor], relations: _Relations) -> str | None:
    for target in _targets(relations, identifier, {"hasDeclaredLicense"}):
        element = elements.get(target)
        if element is not None:
            return element.text_of("simplelicensing_licenseExpression")
    return None


def _read_files(identifier: str, elements: dict[str, Cursor], relations: _Relations) -> tuple[FileFact, ...]:
    found = list[FileFact]()
    for target in _targets(relations, identifier, {"contains", "hasDataFile"}):
        element = elements.get(target)
        if element is not None and element.need("type").value == "software_File":
            found.append(FileFact(name=element.need("name").text(), digests=_read_hashes(element)))
    return tuple(found)


def _read_hashes(element: Cursor) -> dict[str, str]:
    found = dict[str, str]()
    for one in element.list("verifiedUsing"):
        if one.text_of("type") != "Hash":
            continue
        name, value = _NAMES.get(one.need("algorithm").text()), one.need("hashValue").text().lower()
        if name is not None and is_digest(name, value):
            found[name] = value
    return found


def _read_digests(element: Cursor) -> Digests:
    found = _read_hashes(element)
    for one in element.list("externalIdentifier"):
        name, _, value = (one.text_of("identifier") or "").partition(":")
        if name.startswith("glasslog") and is_digest("sha256", value):
            found[name] = value
    return found


def _reference(identifier: str, elements: dict[str, Cursor]) -> Reference:
    element = elements.get(identifier)
    if element is None:
        return Reference(uri=identifier)
    uri = element.text_of("software_downloadLocation")
    return Reference(name=element.text_of("name"), uri=uri, digests=_read_digests(element))
