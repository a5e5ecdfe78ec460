"""CycloneDX ML-BOM 1.5 to 1.7, read as declared facts (M16)."""

from __future__ import annotations

from glasslog.predicates.values import ORDER, RECORDS, TENSORS
from glasslog_lab.formats.circles import find_circle
from glasslog_lab.formats.cyclonedx_writing import ALGORITHMS, PROPERTY_PREFIX
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
    declared,
)
from glasslog_lab.formats.reading import Cursor, is_digest, load_json, refusal, show_decimal

VERSIONS = ("1.5", "1.6", "1.7")
MEDIA_TYPE = "application/vnd.cyclonedx+json"
COMPONENTS_MAX = 100_000
OWN_DIGESTS = (TENSORS, RECORDS, ORDER)
_NAMES = {shown: name for name, shown in ALGORITHMS.items()}


def import_bom(data: bytes, where: str) -> Imported:
    """Import an ML-BOM: models and data sets anywhere in it, with their lineage.

    Raises:
        ArtifactError: IMPORT-02, IMPORT-03, IMPORT-05; IMPORT-12 a reference that stands twice; IMPORT-15 components
            that depend on one another in a circle.
    """
    top = Cursor(where, "", load_json(data, where))
    if top.need("bomFormat").text() != "CycloneDX" or top.need("specVersion").text() not in VERSIONS:
        raise top.refuse(f"is not CycloneDX {', '.join(VERSIONS)}")
    metadata = top.get("metadata")
    main = metadata.get("component") if metadata is not None else None
    components = _walk([*([main] if main is not None else []), *top.list("components")])
    by_reference = _index(components)
    _check_circles(top)
    models, datasets, evaluations = list[ModelFacts](), list[DatasetFacts](), list[EvaluationFacts]()
    for component in components:
        kind = component.need("type").text()
        if kind == "machine-learning-model":
            models.append(_read_model(component, by_reference))
            evaluations += _read_metrics(component)
        elif kind == "data":
            datasets.append(_read_data(component))
    evidence = (Evidence.of(data, MEDIA_TYPE, where),)
    unchecked = ("what it declares", "a signature inside the BOM")
    return Imported(
        format="cyclonedx", checked=Checked.DECLARED, evidence=evidence, models=tuple(models), datasets=tuple(datasets),
        evaluations=tuple(evaluations), unchecked=unchecked,
    )  # fmt: skip


def _walk(roots: list[Cursor]) -> list[Cursor]:
    found, waiting = list[Cursor](), list(reversed(roots))
    while waiting:
        component = waiting.pop()
        found.append(component)
        if len(found) > COMPONENTS_MAX:
            raise refusal("IMPORT-03", component.where, f"there are over {COMPONENTS_MAX} components")
        waiting += reversed(list(component.list("components")))
    return found


def _index(components: list[Cursor]) -> dict[str, Cursor]:
    found = dict[str, Cursor]()
    for component in components:
        reference = component.text_of("bom-ref")
        if reference is None:
            continue
        if reference in found:
            raise component.refuse(f"bom-ref {reference[:60]!r} stands twice", "IMPORT-12")
        found[reference] = component
    return found


def _check_circles(top: Cursor) -> None:
    edges = dict[str, list[str]]()
    for one in top.list("dependencies"):
        reference = one.need("ref").text()
        if reference in edges:
            raise one.refuse(f"the dependencies of {reference[:60]!r} stand twice", "IMPORT-12")
        edges[reference] = [below.text() for below in one.list("dependsOn")]
    if circle := find_circle(edges):
        raise top.refuse(f"{circle[:60]!r} depends on itself", "IMPORT-15")


def _read_model(component: Cursor, by_reference: dict[str, Cursor]) -> ModelFacts:
    card, pedigree = component.get("modelCard"), component.get("pedigree")
    parameters = card.get("modelParameters") if card is not None else None
    datasets = [_read_used(one, by_reference) for one in parameters.list("datasets")] if parameters is not None else []
    ancestors = list(pedigree.list("ancestors")) if pedigree is not None else []
    relations = [value for one in ancestors if (value := _property(one, "base_model_relation")) is not None]
    places = {"name": "name", "license": "licenses", "files": "components", "digests": "hashes"}
    return ModelFacts(
        name=component.need("name").text(), version=component.text_of("version"),
        description=component.text_of("description"), license=_read_license(component),
        architecture=parameters.text_of("modelArchitecture") if parameters is not None else None,
        base_models=tuple(_read_reference(one) for one in ancestors),
        base_model_relation=relations[0] if relations and relations[0] != "base" else None,
        datasets=tuple(datasets), files=_read_files(component), digests=_read_digests(component),
        purl=component.text_of("purl"),
        sources=declared(component.file, {member: f"{component.path}.{place}" for member, place in places.items()}),
    )  # fmt: skip


def _read_data(component: Cursor) -> DatasetFacts:
    uri = None
    for one in component.list("data"):
        contents = one.get("contents")
        uri = uri or (contents.text_of("url") if contents is not None else None)
    return DatasetFacts(
        name=component.need("name").text(), version=component.text_of("version"),
        description=component.text_of("description"), license=_read_license(component), uri=uri,
        files=_read_files(component), digests=_read_digests(component),
        sources=declared(component.file, {"name": component.path, "files": f"{component.path}.components"}),
    )  # fmt: skip


def _read_metrics(component: Cursor) -> list[EvaluationFacts]:
    card = component.get("modelCard")
    analysis = card.get("quantitativeAnalysis") if card is not None else None
    found = list[EvaluationFacts]()
    for metric in analysis.list("performanceMetrics") if analysis is not None else ():
        value = metric.get("value")
        number = show_decimal(value.value) if value is not None else None
        if number is not None:
            found.append(
                EvaluationFacts(
                    model=Reference(name=component.need("name").text()),
                    metric=metric.text_of("type") or "unnamed",
                    value=number,
                    dataset=Reference(name=metric.text_of("slice") or "unnamed"),
                    sources=declared(component.file, {"value": metric.path}),
                )
            )
    return found


def _read_used(one: Cursor, by_reference: dict[str, Cursor]) -> Reference:
    reference = one.text_of("ref")
    if reference is None:
        return Reference(name=one.text_of("name") or "unnamed")
    target = by_reference.get(reference)
    return Reference(name=target.need("name").text() if target is not None else reference)


def _read_reference(component: Cursor) -> Reference:
    uri = component.text_of("purl")
    for one in component.list("externalReferences"):
        uri = uri or one.text_of("url")
    return Reference(name=component.need("name").text(), uri=uri, digests=_read_hashes(component))


def _read_files(component: Cursor) -> tuple[FileFact, ...]:
    found = list[FileFact]()
    for one in component.list("components"):
        if one.text_of("type") == "file":
            size = _property(one, "bytes")
            found.append(
                FileFact(
                    name=one.need("name").text(),
                    digests=_read_hashes(one),
                    size=int(size)
                    if size is not None and size.isascii() and size.isdecimal() and len(size) < 20
                    else None,
                )
            )
    return tuple(found)


def _read_hashes(component: Cursor) -> Digests:
    found = dict[str, str]()
    for one in component.list("hashes"):
        name, value = _NAMES.get(one.need("alg").text()), one.need("content").text().lower()
        if name is not None and is_digest(name, value):
            found[name] = value
    return found


def _read_digests(component: Cursor) -> Digests:
    """Return a component's hashes and the digests of glasslog among its properties."""
    own = {name: value for name in OWN_DIGESTS if (value := _property(component, name)) is not None}
    return {**_read_hashes(component), **{name: value for name, value in own.items() if is_digest("sha256", value)}}


def _read_license(component: Cursor) -> str | None:
    said = list[str]()
    for one in component.list("licenses"):
        inner = one.get("license")
        text = one.text_of("expression") or (
            inner.text_of("id") or inner.text_of("name") if inner is not None else None
        )
        if text is not None:
            said.append(text)
    return " AND ".join(said) or None


def _property(component: Cursor, name: str) -> str | None:
    return next(
        (one.text_of("value") for one in component.list("properties") if one.text_of("name") == PROPERTY_PREFIX + name),
        None,
    )
