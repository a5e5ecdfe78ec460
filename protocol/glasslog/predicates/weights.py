"""The weights predicate: what a model's parameters are, whatever file they are kept in (specs/log.md, L4).

The *content root* depends on the tensors alone: per tensor its name, element type, shape and bytes, sorted by name, an
RFC 9162 tree over the records. The same tensors in another file, format or order have the same root, and one tensor
can be proved to belong to a model. Beside it stand the files as they lay on disk, each with its SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import prod

from glasslog import codec, merkle
from glasslog.limits import SUBJECTS_MAX
from glasslog.statement import STATEMENT_TYPE, Statement, check_statement

WEIGHTS_TYPE = "urn:glasslog:predicate:weights:v1"
TENSOR_DOMAIN = b"glasslog/tensor/v1\x00"
CONTENT_ROOT = "glasslogTensorsV1"  # the name of the content root among a subject's digests


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. ``content`` is the SHA-256 of its elements: row-major, little-endian, without padding.

    ``dtype`` is the element type as safetensors writes it: ``F32``, ``BF16``, ``I64``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: bytes

    @property
    def record(self) -> bytes:
        """The tensor's leaf in the content tree: domain, canonical CBOR of what it is, digest of its bytes.

        The digest comes last and alone, so that the bytes can be hashed before name and shape are known, or in parts.
        """
        return TENSOR_DOMAIN + codec.encode([self.name, self.dtype, list(self.shape)]) + self.content

    @property
    def parameters(self) -> int:
        """How many elements the tensor has; a scalar has one."""
        return prod(self.shape)


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


def content_root(tensors: Iterable[Tensor]) -> bytes:
    """Return the RFC 9162 root over the tensors' records, sorted bytewise by name.

    Raises:
        ValueError: a name stands twice, a digest is not 32 bytes, or a dimension is negative.
    """
    ordered = sorted(tensors, key=lambda tensor: tensor.name.encode())
    if len({tensor.name for tensor in ordered}) != len(ordered):
        raise ValueError("two tensors of one name")
    if any(len(tensor.content) != 32 for tensor in ordered):
        raise ValueError("the digest of a tensor is not a SHA-256")
    if any(side < 0 for tensor in ordered for side in tensor.shape):
        raise ValueError("a tensor with a negative dimension")
    return merkle.root(merkle.hash_leaves([tensor.record for tensor in ordered]))


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


def tensor_content(parts: Iterable[bytes]) -> bytes:
    """Return the SHA-256 of a tensor's bytes, given in parts of any size."""
    state = sha256()
    for part in parts:
        state.update(part)
    return state.digest()
