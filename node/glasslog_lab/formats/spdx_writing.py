"""SPDX 3.0.1 JSON-LD with the AI and Dataset profiles, written from statements (M17).

Written by hand: spdx-python-model (0.0.x) is bindings made from SPDX's model, which would set the same members one by
one; they judge what is written, as SPDX's official JSON schema does.
"""

from __future__ import annotations

import re
from hashlib import sha256

from glasslog.predicates.base import Subject
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.model import Model
from glasslog.predicates.values import File
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.bill import Bill, hex_digests, list_tested_on, list_trained_on, slug
from glasslog_lab.formats.dsse import dump_json
from glasslog_lab.formats.facts import Digests

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
OURS = "urn:spdx:glasslog:"
_CREATION = "_:creationinfo"
_TIME = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII)
_NO_ASSERTION = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
ALGORITHMS = {
    "sha256": "sha256", "sha384": "sha384", "sha512": "sha512", "sha3_256": "sha3_256", "sha3_384": "sha3_384",
    "sha3_512": "sha3_512", "blake2b": "blake2b512", "blake2b_256": "blake2b256", "blake2b_384": "blake2b384",
    "blake3": "blake3", "md5": "md5", "sha1": "sha1",
}  # fmt: skip
_DATASET_TYPES = {"text": "text", "image": "image", "audio": "audio", "video": "video", "tabular": "structured"}


def write_document(bill: Bill, *, created: str, supplier: str | None = None) -> bytes:
    """Return the SPDX document of one model, its data sets and evaluations.

    Args:
        bill: the statements.
        created: when the document is made, RFC 3339 in UTC to the second.
        supplier: legal name of the organisation that makes the document, and supplies the model unless a release
            statement says who does.

    Raises:
        ArtifactError: EXPORT-01, not one model; EXPORT-03, ``created`` is no such time.
    """
    if not _TIME.fullmatch(created):
        raise ArtifactError("EXPORT-03", f"{created[:40]!r} is no time of SPDX", "write it as 2026-01-31T00:00:00Z")
    subjects, model = bill.need_model()
    graph = _Graph(f"{OURS}{bill.identity.hex()[:32]}")
    maker = graph.organisation(supplier or "not stated")
    info = {"type": "CreationInfo", "@id": _CREATION, "specVersion": "3.0.1", "created": created, "createdBy": [maker]}
    target = _write_model(graph, bill, subjects, model, supplier)
    trained, tested = list_trained_on(bill), list_tested_on(bill)
    for number, (names, dataset) in enumerate(bill.datasets):
        reference = _write_dataset(graph, number, names, dataset)
        if number in trained:
            graph.relate(target, "trainedOn", [reference])
        if number in tested:
            graph.relate(target, "testedOn", [reference])
    document = {
        "type": "SpdxDocument", "spdxId": graph.identifier("document"), "creationInfo": _CREATION,
        "profileConformance": ["core", "software", "simpleLicensing", *graph.list_profiles()], "rootElement": [target],
        "element": sorted(str(one["spdxId"]) for one in graph.elements), "name": f"AI BOM of {model.name}",
    }  # fmt: skip
    return dump_json({"@context": CONTEXT, "@graph": [info, document, *graph.elements]})


class _Graph:
    """Elements by identifier below one namespace, each with the shared creation info."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.elements: list[dict[str, object]] = []

    def identifier(self, name: str) -> str:
        return f"{self.namespace}:{name}"

    def add(self, kind: str, label: str, **members: object) -> str:
        identifier = self.identifier(label)
        kept = {name: value for name, value in members.items() if value is not None and value != []}
        self.elements.append({"type": kind, "spdxId": identifier, "creationInfo": _CREATION, **kept})
        return identifier

    def list_profiles(self) -> list[str]:
        """Return the profiles whose every package has what they demand (SPDX 3.0.1, AI and Dataset)."""
        common = {"software_packageVersion", "software_downloadLocation", "software_primaryPurpose", "releaseTime"}
        demanded = {
            "ai": ("ai_AIPackage", common | {"suppliedBy"}),
            "dataset": ("dataset_DatasetPackage", common | {"originatedBy", "builtTime", "dataset_datasetType"}),
        }
        return [
            profile
            for profile, (kind, members) in demanded.items()
            if all(members <= one.keys() for one in self.elements if one["type"] == kind)
        ]

    def organisation(self, name: str) -> str:
        """Return the organisation of a name, one element for each."""
        label = f"organisation-{sha256(name.encode()).hexdigest()[:16]}"
        if all(one["spdxId"] != self.identifier(label) for one in self.elements):
            self.add("Organization", label, name=name)
        return self.identifier(label)

    def relate(self, source: str, kind: str, targets: list[str]) -> None:
        label = f"relationship-{len(self.elements)}"
        self.add("Relationship", label, **{"from": source, "relationshipType": kind, "to": targets})


def _write_model(graph: _Graph, bill: Bill, subjects: tuple[Subject, ...], model: Model, supplier: str | None) -> str:
    metrics = [
        {"type": "DictionaryEntry", "key": f"{one.metric} on {one.dataset.name or 'unnamed'}", "value": one.value}
        for _, one in bill.evaluations
    ]
    release = bill.releases[0][1] if bill.releases else None
    provider = release.provider.name if release is not None and release.provider is not None else supplier
    target = graph.add(
        "ai_AIPackage", "model", name=model.name, description=model.description,
        suppliedBy=graph.organisation(provider) if provider is not None else None,
        releaseTime=f"{release.placed}T00:00:00Z" if release is not None else None, software_primaryPurpose="model",
        software_packageVersion=model.version or (release.version if release is not None else None),
        software_downloadLocation=release.purl if release is not None else None,
        software_packageUrl=release.purl if release is not None else None,
        externalIdentifier=_own_identifiers(subjects), ai_metric=metrics,
        ai_typeOfModel=[model.architecture] if model.architecture else None,
    )  # fmt: skip
    _write_licence(graph, target, model.license)
    _write_files(graph, target, "model", model.files)
    for number, base in enumerate(model.base_model):
        # No ai_AIPackage: of another's model nobody here can state what that demands.
        reference = graph.add(
            "software_Package", f"base-{number + 1}", name=base.name or base.uri or "unnamed",
            software_primaryPurpose="model", software_downloadLocation=base.uri,
            verifiedUsing=_hashes(hex_digests(base.digest)),
            comment=f"base model ({model.base_model_relation or 'base'})",
        )  # fmt: skip
        graph.relate(target, "descendantOf", [reference])
    return target


def _write_dataset(graph: _Graph, number: int, subjects: tuple[Subject, ...], dataset: Dataset) -> str:
    label = f"data-{number + 1}"
    unverified = f"declared, not verified: {', '.join(dataset.declared_unverified)}"
    types = [_DATASET_TYPES.get(one.modality, "other") for one in dataset.size] or ["noAssertion"]
    issued = f"{dataset.issued}T00:00:00Z" if dataset.issued is not None else None
    reference = graph.add(
        "dataset_DatasetPackage", label, name=dataset.name, description=dataset.description,
        originatedBy=[graph.organisation(dataset.issuer.name)] if dataset.issuer is not None else None,
        builtTime=issued, releaseTime=issued, software_primaryPurpose="data", software_packageVersion=dataset.version,
        software_downloadLocation=dataset.identifier, externalIdentifier=_own_identifiers(subjects),
        dataset_datasetType=sorted(set(types)), dataset_datasetSize=dataset.bytes,
        dataset_intendedUse=dataset.intended_use, dataset_dataCollectionProcess=dataset.generation_method,
        dataset_anonymizationMethodUsed=list(dataset.privacy_measures) or None,
        comment=unverified if dataset.declared_unverified else None,
    )  # fmt: skip
    _write_licence(graph, reference, dataset.license)
    _write_files(graph, reference, label, dataset.files)
    return reference


def _write_licence(graph: _Graph, target: str, licence: str | None) -> None:
    stated = _NO_ASSERTION
    if licence is not None:
        label = f"licence-{slug(target.rsplit(':', 1)[1])}"
        stated = graph.add("simplelicensing_LicenseExpression", label, simplelicensing_licenseExpression=licence)
    graph.relate(target, "hasDeclaredLicense", [stated])
    graph.relate(target, "hasConcludedLicense", [_NO_ASSERTION])  # nobody here weighed what is declared


def _write_files(graph: _Graph, target: str, label: str, files: tuple[File, ...]) -> None:
    references = [
        graph.add(
            "software_File",
            f"{label}-file-{number + 1}",
            name=file.name,
            verifiedUsing=_hashes(hex_digests(file.digest)),
            software_primaryPurpose="model" if label == "model" else "data",
            comment=f"{file.bytes} bytes",
        )
        for number, file in enumerate(files)
    ]
    if references:
        graph.relate(target, "contains", references)


def _hashes(digests: Digests) -> list[dict[str, object]]:
    return [
        {"type": "Hash", "algorithm": ALGORITHMS[name], "hashValue": value}
        for name, value in digests.items()
        if name in ALGORITHMS
    ]


def _own_identifiers(subjects: tuple[Subject, ...]) -> list[dict[str, object]]:
    return [
        {
            "type": "ExternalIdentifier", "externalIdentifierType": "other", "identifier": f"{name}:{value}",
            "comment": "glasslog digest",
        }
        for subject in subjects[:1]
        for name, value in hex_digests(subject.digest).items()
    ]  # fmt: skip
