"""A ``model`` statement from what was measured (specs/statements.md), with the list of files where it is too long."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

from glasslog.errors import ProtocolError
from glasslog.limits import SUBJECTS_MAX
from glasslog.predicates.base import Subject
from glasslog.predicates.model import Model
from glasslog.predicates.schema import LIST_ITEMS_MAX
from glasslog.predicates.values import Commitment, File, Resource
from glasslog.statement import Statement
from glasslog.tensors import CONTENT_ROOT
from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights.measuring import ModelMeasured
from glasslog_lab.weights.refusals import quote, refuse

MANIFEST_NAME = "files.ndjson"
MANIFEST_TYPE = "application/x-ndjson"
_TOO_LONG = {"STMT-01", "STMT-09"}  # bytes, subjects


def make_model(measured: ModelMeasured, **facts: Any) -> Model:  # noqa: ANN401  the predicate's own members
    """Return the predicate of what was measured; ``facts`` are members that no file tells, such as ``license``.

    Raises:
        ArtifactError: MODEL-04 nothing was digested that a model could be known by.
    """
    files = tuple(File(name=file.name, bytes=file.size, digest=file.digest) for file in measured.files if file.digest)
    if not files and measured.content_root is None:
        refuse("MODEL-04", f"{quote(measured.name)} was read for its tensors alone, and holds none")
    stated: dict[str, Any] = {
        "name": measured.name,
        "format": measured.format,
        "content_root": _commit(measured.content_root),
        "optimizer_root": _commit(measured.optimizer_root),
        "tensors": len(measured.tensors),
        "parameters": measured.parameters,
        "files": files,
        "digests_reused": True if measured.reused else None,
    }
    return Model(**stated | facts)


def state_model(model: Model, *, manifest: bool = False) -> tuple[Statement, bytes | None]:
    """Return the statement about a model; with ``manifest`` and where its files do not fit, their list apart.

    The list is JSON, a line for each file in the bytewise order of names; the statement has its SHA-256.

    Raises:
        ArtifactError: MODEL-03 no statement can hold this.
    """
    ordered = replace(model, files=tuple(sorted(model.files, key=lambda file: file.name.encode())))
    try:
        return ordered.statement(*_list_subjects(ordered)), None
    except ProtocolError as error:
        if error.code not in _TOO_LONG and len(model.files) <= LIST_ITEMS_MAX:
            raise ArtifactError(error.code, error.fact, "state it otherwise, or leave it out") from error
        if not manifest or not model.files:
            fact = f"one statement cannot hold {len(model.files)} files and what is stated beside them"
            raise ArtifactError("MODEL-03", fact, "give --manifest FILE, where their list is then written") from error
    listed = write_manifest(ordered.files)
    resource = Resource(name=MANIFEST_NAME, digest={"sha256": sha256(listed).digest()}, media_type=MANIFEST_TYPE)
    short = replace(ordered, files=(), manifest=resource)
    try:
        return short.statement(*_list_subjects(short)), listed
    except ProtocolError as error:
        fact = f"no statement can hold this, even without its files: {error}"
        raise ArtifactError("MODEL-03", fact, "shorten what you state beside it") from error


def write_manifest(files: tuple[File, ...]) -> bytes:
    """Return the list of files: a line of JSON for each."""
    lines = [
        {"name": file.name, "bytes": file.bytes, "digest": {name: bytes.hex(one) for name, one in _bytes(file)}}
        for file in files
    ]
    return "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()


def describe_list(name: str, data: bytes) -> Resource:
    """Return the resource that a tensor list is: evidence, by digest."""
    return Resource(name=name, digest={"sha256": sha256(data).digest()}, media_type="application/cbor")


def _list_subjects(model: Model) -> list[Subject]:
    subjects = list[Subject]()
    if model.content_root is not None:
        subjects.append(Subject(model.name, model.content_root.digest))
    elif model.manifest is not None and model.manifest.digest is not None:
        subjects.append(Subject(MANIFEST_NAME, model.manifest.digest))
    files = [Subject(file.name, file.digest) for file in model.files]
    # Without tensors the files are all there is to know it by: then a statement that cannot hold them is refused.
    fits = len(subjects) + len(files) <= SUBJECTS_MAX or not subjects
    return subjects + files if fits else subjects


def _bytes(file: File) -> list[tuple[str, bytes]]:
    return [(name, one) for name, one in file.digest.items() if isinstance(one, bytes)]


def _commit(root: bytes | None) -> Commitment | None:
    return None if root is None else Commitment(digest={CONTENT_ROOT: root})
