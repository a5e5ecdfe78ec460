"""The weights predicate: what a model's parameters are, whatever file they are kept in (specs/log.md, L4).

The *content root* depends on the tensors alone: per tensor its name, element type, shape and bytes, sorted by name, an
RFC 9162 tree over the records. The same tensors in another file, format or order have the same root, and one tensor
can be proved to belong to a model. Beside it stand the files as they lay on disk, each with its SHA-256.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glasslog import codec
from glasslog.limits import SUBJECTS_MAX
from glasslog.statement import STATEMENT_TYPE, Statement, check_statement
from glasslog.tensors import CONTENT_ROOT, Tensor, content_root

WEIGHTS_TYPE = "urn:glasslog:predicate:weights:v1"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file of a model: its path within the model, its ``size`` in bytes and its SHA-256."""

    name: str
    size: int
    sha256: bytes

    @property
    def subject(self) -> codec.Map:
        """The file as a subject of a statement."""
        return {"name": self.name, "digest": {"sha256": self.sha256}}


def weights_statement(
    name: str, model_format: str, tensors: Sequence[Tensor], files: Sequence[WeightsFile]
) -> Statement:
    """Return the statement that ``name`` consists of these tensors, kept in these files.

    The first subject is the model, by its content root; every file follows as a subject of its own, unless a
    statement cannot hold so many; the predicate lists them in any case. ``model_format`` is what the files are, such
    as ``safetensors``.

    Raises:
        ValueError: as ``content_root``; two files of one name.
        DecodeError: STMT-nn, e.g. an empty name.
    """
    root = content_root(tensors)
    ordered = sorted(files, key=lambda file: file.name.encode())
    if len({file.name for file in ordered}) != len(ordered):
        raise ValueError("two files of one name")
    subjects: list[codec.Value] = [{"name": name, "digest": {CONTENT_ROOT: root}}]
    if len(ordered) < SUBJECTS_MAX:
        subjects += [file.subject for file in ordered]
    listed: list[codec.Value] = [{**file.subject, "bytes": file.size} for file in ordered]
    statement: Statement = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": WEIGHTS_TYPE,
        "predicate": {
            "format": model_format,
            "tensors": len(tensors),
            "parameters": sum(tensor.parameters for tensor in tensors),
            "files": listed,
            "content": {"digest": {CONTENT_ROOT: root}},
        },
    }
    check_statement(statement)
    return statement
