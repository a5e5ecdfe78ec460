"""What a model consists of: its tensors by one root, whatever files they lie in, and those files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Commitment, Count, File, Flag, Name, Resource, SpdxExpression, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Predicate):
    """The *content root* depends on names, types, shapes and values of the tensors alone."""

    NAME: ClassVar[str] = "model"
    SUBJECTS: ClassVar[str] = (
        "First the model, by its content root (glasslogTensorsV1); then its files by sha256 and blake3, as many as fit."
    )
    SHOWS: ClassVar[str] = (
        "That the author had these exact tensors, or their digests, no later than the checkpoint. Two models of one "
        "content root have the same tensors; one tensor can be shown to be of a model without the others."
    )
    DOES_NOT_SHOW: ClassVar[str] = (
        "Who trained it, on what, or that it was the first. Another root is no sign of another origin: one changed "
        "bit, a renamed tensor or another number format is enough."
    )

    name: Name = field(metadata=doc("What its publisher calls it."))
    version: Name | None = field(default=None, metadata=doc("Its version, as its publisher counts."))
    format: Name = field(metadata=doc("Container of the tensors: safetensors, gguf, pytorch, onnx, numpy, files."))
    content_root: Commitment | None = field(
        default=None, metadata=doc("glasslogTensorsV1 over the model's tensors; left out where none could be read.")
    )
    optimizer_root: Commitment | None = field(
        default=None, metadata=doc("The same over a checkpoint's optimizer state, which is not part of the model.")
    )
    tensors: Count = field(metadata=doc("How many tensors."))
    parameters: Count = field(metadata=doc("How many elements they have together."))
    files: tuple[File, ...] = field(default=(), metadata=doc("Every file, in the bytewise order of names."))
    manifest: Resource | None = field(
        default=None, metadata=doc("The list of files by digest, where it is too long to stand here.")
    )
    digests_reused: Flag | None = field(
        default=None, metadata=doc("True where digests of files that look unchanged were taken from an earlier run.")
    )
    architecture: Name | None = field(default=None, metadata=doc("As its configuration names it."))
    tokenizer: Resource | None = field(default=None, metadata=doc("The tokenizer, by digest."))
    base_model: tuple[Resource, ...] = field(
        default=(), metadata=doc("What it was made from, by content root where that is known.")
    )
    base_model_relation: Literal["finetune", "adapter", "merge", "quantized", "distilled"] | None = field(
        default=None, metadata=doc("How it was made from it; the first four as Hugging Face cards say it.")
    )
    license: SpdxExpression | None = field(default=None, metadata=doc("Licence of the model."))
    description: Text | None = field(default=None, metadata=doc("One paragraph."))
