"""CycloneDX ML-BOM 1.6 and 1.7, written from statements (M16).

Not carried: steps, roots of records and keys of glasslog other than as properties, territories, duties. The original
statements stay what counts. Written by hand, since cyclonedx-python-lib 11 has no model cards; its copies of the
official schemas judge what is written.
"""

from __future__ import annotations

from typing import Literal

from glasslog.predicates.base import Subject
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.model import Model
from glasslog.predicates.values import File
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.bill import Bill, hex_digests, list_tested_on, list_trained_on, slug
from glasslog_lab.formats.dsse import dump_json

Version = Literal["1.6", "1.7"]
PROPERTY_PREFIX = "glasslog:"
ALGORITHMS = {
    "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512", "sha3_256": "SHA3-256", "sha3_384": "SHA3-384",
    "sha3_512": "SHA3-512", "blake2b_256": "BLAKE2b-256", "blake2b_384": "BLAKE2b-384", "blake2b": "BLAKE2b-512",
    "blake3": "BLAKE3", "md5": "MD5", "sha1": "SHA-1",
}  # fmt: skip


def write_bom(bill: Bill, version: Version = "1.6") -> bytes:
    """Return the ML-BOM of one model, its data sets and evaluations; the same statements, the same bytes.

    Raises:
        ArtifactError: EXPORT-01, not one model; EXPORT-03, not a version that is written.
    """
    if version not in ("1.6", "1.7"):
        raise ArtifactError("EXPORT-03", f"CycloneDX {version} is not written", "choose 1.6 or 1.7")
    subjects, model = bill.need_model()
    names = [f"data-{number + 1}-{slug(one.name)}" for number, (_, one) in enumerate(bill.datasets)]
    data = [_data(name, subjects, one) for name, (subjects, one) in zip(names, bill.datasets, strict=True)]
    component = _model(bill, subjects, model, names)
    return dump_json(
        {
            "$schema": f"http://cyclonedx.org/schema/bom-{version}.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": version,
            "serialNumber": f"urn:uuid:{bill.uuid()}",
            "version": 1,
            "metadata": {"component": component},
            "components": data,
            "dependencies": [{"ref": "model", "dependsOn": _used(bill, names)}, *({"ref": name} for name in names)],
        }
    )


def _used(bill: Bill, names: list[str]) -> list[str]:
    """Return the data sets that a run trains on or an evaluation is on, the only ones said to be used."""
    return [names[number] for number in sorted(list_trained_on(bill) | list_tested_on(bill))]


def _model(bill: Bill, subjects: tuple[Subject, ...], model: Model, names: list[str]) -> dict[str, object]:
    properties = [{"name": PROPERTY_PREFIX + name, "value": value} for name, value in _own_digests(subjects).items()]
    parameters: dict[str, object] = {"datasets": [{"ref": name} for name in _used(bill, names)]}
    if model.architecture is not None:
        parameters["modelArchitecture"] = model.architecture
    card: dict[str, object] = {"modelParameters": parameters}
    metrics = [
        {"type": one.metric, "value": one.value, "slice": one.dataset.name or "unnamed"} for _, one in bill.evaluations
    ]
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    component: dict[str, object] = {"type": "machine-learning-model", "bom-ref": "model", "name": model.name}
    if model.version is not None:
        component["version"] = model.version
    if model.description is not None:
        component["description"] = model.description
    if model.license is not None:
        component["licenses"] = [{"expression": model.license}]
    if bill.releases:
        component["purl"] = bill.releases[0][1].purl
    if model.base_model:
        relation = model.base_model_relation or "base"
        component["pedigree"] = {"ancestors": [_ancestor(one.name, one.uri, relation) for one in model.base_model]}
    component["modelCard"] = card
    component["properties"] = properties
    if model.files:
        component["components"] = [_file("model", one) for one in model.files]
    return component


def _ancestor(name: str | None, uri: str | None, relation: str) -> dict[str, object]:
    found: dict[str, object] = {"type": "machine-learning-model", "name": name or uri or "unnamed"}
    if uri is not None and uri.startswith("pkg:"):
        found["purl"] = uri
    elif uri is not None:
        found["externalReferences"] = [{"type": "distribution", "url": uri}]
    found["properties"] = [{"name": f"{PROPERTY_PREFIX}base_model_relation", "value": relation}]
    return found


def _data(reference: str, subjects: tuple[Subject, ...], dataset: Dataset) -> dict[str, object]:
    component: dict[str, object] = {"type": "data", "bom-ref": reference, "name": dataset.name}
    if dataset.version is not None:
        component["version"] = dataset.version
    if dataset.description is not None:
        component["description"] = dataset.description
    if dataset.license is not None:
        component["licenses"] = [{"expression": dataset.license}]
    described: dict[str, object] = {"type": "dataset", "name": dataset.name}
    if dataset.identifier is not None:
        described["contents"] = {"url": dataset.identifier}
    if dataset.confidentiality is not None:
        described["classification"] = dataset.confidentiality
    component["data"] = [described]
    own = {**_own_digests(subjects), "sourceCategory": ", ".join(dataset.source_category)}
    if dataset.declared_unverified:
        own["declaredUnverified"] = ", ".join(dataset.declared_unverified)
    component["properties"] = [{"name": PROPERTY_PREFIX + name, "value": value} for name, value in own.items()]
    if dataset.files:
        component["components"] = [_file(reference, one) for one in dataset.files]
    return component


def _file(parent: str, file: File) -> dict[str, object]:
    known = hex_digests(file.digest)
    hashes = [{"alg": ALGORITHMS[name], "content": value} for name, value in known.items() if name in ALGORITHMS]
    size = {"name": f"{PROPERTY_PREFIX}bytes", "value": str(file.bytes)}
    return {
        "type": "file", "bom-ref": f"{parent}/{file.name}", "name": file.name, "hashes": hashes, "properties": [size],
    }  # fmt: skip


def _own_digests(subjects: tuple[Subject, ...]) -> dict[str, str]:
    found = dict[str, str]()
    for subject in subjects[:1]:
        found.update(hex_digests(subject.digest))
    return found
