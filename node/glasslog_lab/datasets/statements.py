"""A `dataset` statement from what was measured and what is declared (D8, D9)."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from hashlib import sha256

from glasslog.errors import DecodeError
from glasslog.limits import SUBJECTS_MAX
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.values import ORDER, RECORDS
from glasslog.records import Blinding
from glasslog.statement import STATEMENT_TYPE, Statement, from_json
from glasslog_lab.datasets.facts import MEASURED, Facts
from glasslog_lab.datasets.measure import DatasetFile, DatasetMeasured
from glasslog_lab.datasets.refusals import refusal
from glasslog_lab.errors import ArtifactError

FILES_MAX = 200  # in the statement itself
_FILE_NAMES_BYTES_MAX = 20_000
_MANIFEST_SALT = b"glasslog/record-files/v1\x00"
MANIFEST_TYPE = "text/plain"


def build_statement(
    measured: DatasetMeasured, facts: Facts, croissant: Facts | None = None, blinding: Blinding | None = None
) -> Statement:
    """Return the statement about a measured data set; ``facts`` overrule what ``croissant`` says.

    Raises:
        ArtifactError: DATA-28 a fact that the predicate does not allow, or none about where the data comes from.
    """
    if (blinding is None) == measured.blinded:
        raise ValueError("measured with one secret, described with another")
    declared = {name: value for name, value in (croissant or {}).items() if name not in facts}
    if not facts.get("sourceCategory"):
        raise ArtifactError(
            "DATA-28", "nothing says where the data comes from",
            "--source public-dataset, licensed-private, other-private, crawled, user-data, synthetic or other",
        )  # fmt: skip
    predicate: Facts = {"name": measured.name, **declared, **facts, **_describe(measured, blinding)}
    if croissant is not None:
        predicate["declaredUnverified"] = sorted(declared)
    if measured.croissant is not None:
        digest = sha256(measured.croissant.data).digest()
        predicate["metadata"] = _resource(measured.croissant.name, digest, "application/ld+json")
    name = predicate["name"] if isinstance(predicate["name"], str) else measured.name
    subjects = [{"name": name or measured.name, "digest": {RECORDS: measured.records_root.hex()}}]
    if not measured.blinded:
        subjects += [{"name": file.name, "digest": {"sha256": file.sha256.hex()}} for file in measured.files]
    value = {
        "_type": STATEMENT_TYPE, "subject": subjects[:SUBJECTS_MAX], "predicateType": Dataset.type_uri(),
        "predicate": predicate,
    }  # fmt: skip
    try:
        statement = from_json(json.dumps(value, ensure_ascii=False))
        Dataset.read(statement)
    except DecodeError as error:
        raise refusal("DATA-28", f"no statement can say this: {error.fact}") from error
    return statement


def make_manifest(files: Sequence[DatasetFile], blinding: Blinding | None) -> bytes:
    """Return the list of a data set's files as ``sha256sum`` reads it, salted where the data set is blinded (D8)."""
    salt = b"" if blinding is None else hmac.digest(blinding.secret, _MANIFEST_SALT, "sha256")
    lines = [f"# glasslog files v1 {salt.hex()}".rstrip()]
    for file in files:
        escape = "\\" if "\\" in file.name else ""
        name = file.name.replace("\\", "\\\\")
        lines.append(f"{escape}{file.sha256.hex()}  {name}")
    return ("\n".join(lines) + "\n").encode()


def needs_manifest(measured: DatasetMeasured) -> bool:
    """Whether the files are listed outside the statement: they are too many, or their digests would tell too much."""
    names = sum(len(file.name.encode()) for file in measured.files)
    return measured.blinded or len(measured.files) > FILES_MAX or names > _FILE_NAMES_BYTES_MAX


def _describe(measured: DatasetMeasured, blinding: Blinding | None) -> Facts:
    found: Facts = {
        "recordsRoot": {"digest": {RECORDS: measured.records_root.hex()}}, "blinded": measured.blinded,
        "recordForm": measured.record_form, "records": measured.records, "bytes": measured.size,
    }  # fmt: skip
    if measured.order_root is not None:
        found["orderRoot"] = {"digest": {ORDER: measured.order_root.hex()}}
    if needs_manifest(measured):
        found["manifest"] = _resource(
            "files.sha256", sha256(make_manifest(measured.files, blinding)).digest(), MANIFEST_TYPE
        )
    else:
        found["files"] = [
            {"name": file.name, "bytes": file.size, "digest": {"sha256": file.sha256.hex()}} for file in measured.files
        ]
    assert found.keys() <= MEASURED, "a measured member may be declared"
    return found


def _resource(name: str, digest: bytes, media_type: str) -> Facts:
    return {"name": name, "digest": {"sha256": digest.hex()}, "mediaType": media_type}
