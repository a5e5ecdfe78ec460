"""A weights statement from the files of a model (specs/log.md, L4)."""

from __future__ import annotations

from typing import cast

from glasslog.codec import Map, Value
from glasslog.errors import ProtocolError
from glasslog.limits import SUBJECTS_MAX
from glasslog.predicates.weights import WeightsFile, weights_statement
from glasslog.statement import Statement, encode_statement
from glasslog_lab.errors import ArtifactError
from glasslog_lab.models import Measured

SAFETENSORS = "safetensors"
FILES = "files"  # nothing in them was read as tensors


def build_statement(name: str, measured: Measured) -> Statement:
    """Return the statement about files already measured, of one model or of none.

    Without tensors there is no content root to be known by: the files themselves are the subjects.

    Raises:
        ArtifactError: MODEL-01 to MODEL-03.
    """
    if len(measured.models) > 1:
        names = ", ".join(model.name for model in measured.models)
        raise ArtifactError(
            "MODEL-01", f"{name} holds {len(measured.models)} models: {names}", "attest each by its own path"
        )
    tensors = measured.models[0].tensors if measured.models else ()
    files = [WeightsFile(file.name, file.size, file.digest) for file in measured.files]
    if not tensors and len(files) >= SUBJECTS_MAX:
        raise ArtifactError(
            "MODEL-02",
            f"{name} has {len(files)} files and no tensors",
            f"attest at most {SUBJECTS_MAX - 1} files at once",
        )
    try:
        statement = weights_statement(name, SAFETENSORS if tensors else FILES, tensors, files)
        if not tensors:
            statement = _without_content(statement)
        encode_statement(statement)
    except ProtocolError as error:
        raise ArtifactError(
            "MODEL-03", f"no statement can hold this: {error}", "attest fewer files, or shorten the name"
        ) from error
    return statement


def _without_content(statement: Statement) -> Statement:
    # The root over no tensor is the same for all; as a subject it would make any two such models one.
    subjects = cast("list[Value]", statement["subject"])
    predicate = dict(cast("Map", statement["predicate"]))
    del predicate["content"]
    return {**statement, "subject": subjects[1:], "predicate": predicate}
