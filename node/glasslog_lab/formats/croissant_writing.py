"""Croissant 1.1, written from a `dataset` statement: each file with its real sha256, derivation as PROV (M18)."""

from __future__ import annotations

from glasslog.predicates.base import Subject
from glasslog.predicates.dataset import Dataset
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.bill import hex_digests
from glasslog_lab.formats.dsse import dump_json
from glasslog_lab.formats.reading import Json

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_UNPUBLISHED = "urn:glasslog:not-published"
_TYPES = {
    ".parquet": "application/vnd.apache.parquet", ".jsonl": "application/jsonlines", ".json": "application/json",
    ".csv": "text/csv", ".tsv": "text/tab-separated-values", ".tar": "application/x-tar", ".zip": "application/zip",
    ".txt": "text/plain", ".gz": "application/gzip",
}  # fmt: skip
_CONTEXT: dict[str, Json] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key",
    "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "samplingRate": "cr:samplingRate", "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform", "prov": "http://www.w3.org/ns/prov#",
    "glasslog": "urn:glasslog:",
}  # fmt: skip


def write_croissant(subjects: tuple[Subject, ...], dataset: Dataset) -> bytes:
    """Return a data set's Croissant file.

    Raises:
        ArtifactError: EXPORT-03, a file has no sha256, which Croissant wants.
    """
    distribution: list[dict[str, object]] = []
    for number, file in enumerate(dataset.files):
        digests = hex_digests(file.digest)
        if "sha256" not in digests:
            raise ArtifactError(
                "EXPORT-03", f"{file.name} has no sha256, which Croissant wants", "attest it with sha256"
            )
        distribution.append(
            {
                "@type": "cr:FileObject",
                "@id": f"file-{number + 1}",
                "name": file.name,
                "contentUrl": file.name,
                "contentSize": f"{file.bytes} B",
                "encodingFormat": _encoding(file.name),
                "sha256": digests["sha256"],
            }
        )
    value: dict[str, object] = {
        "@context": _CONTEXT, "@type": "sc:Dataset", "name": dataset.name, "conformsTo": CONFORMS_TO,
        "description": dataset.description or dataset.name, "url": dataset.identifier or _UNPUBLISHED,
        "license": dataset.license or "NOASSERTION",
    }  # fmt: skip
    own = [one for subject in subjects[:1] for one in hex_digests(subject.digest).items()]
    derived = [_entity(one.name, one.uri, hex_digests(one.digest)) for one in dataset.derived_from]
    optional: dict[str, object | None] = {
        "version": dataset.version,
        "datePublished": dataset.issued,
        "inLanguage": list(dataset.languages) or None,
        "creator": {"@type": "sc:Organization", "name": dataset.issuer.name} if dataset.issuer is not None else None,
        "identifier": [f"{name}:{one}" for name, one in own],
        "prov:wasDerivedFrom": derived or None,
        "prov:wasGeneratedBy": _activity(dataset),
    }
    value |= {name: one for name, one in optional.items() if one is not None}
    value["distribution"] = distribution
    return dump_json(value)


def _entity(name: str | None, uri: str | None, digests: dict[str, str]) -> dict[str, object]:
    found: dict[str, object] = {"@type": "prov:Entity"}
    if uri is not None:
        found["@id"] = uri
    if name is not None:
        found["name"] = name
    return found | ({"glasslog:digest": digests} if digests else {})


def _activity(dataset: Dataset) -> dict[str, object] | None:
    if dataset.generation_method is None and dataset.collected is None:
        return None
    found: dict[str, object] = {"@type": "prov:Activity", "description": dataset.generation_method or "collection"}
    if dataset.collected is not None:
        found["prov:startedAtTime"] = dataset.collected.start
        if dataset.collected.end is not None:
            found["prov:endedAtTime"] = dataset.collected.end
    return found


def _encoding(name: str) -> str:
    return next((kind for suffix, kind in _TYPES.items() if name.endswith(suffix)), "application/octet-stream")
