"""Where the bytes of a tensor are: what every reader of a container returns, and the hashing works from.

A *source* tells how the canonical bytes of one tensor (K2) come out of a file. A ``Span`` is those
bytes as they lie, and is hashed as the file streams by; the others are produced afterwards, in pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import prod
from typing import TypeAlias

from glasslog_lab.weights.refusals import quote, refuse

TENSORS_MAX = 250_000  # of one artifact; each costs about a kilobyte of memory
DIMENSIONS_MAX = 64
ELEMENTS_MAX = (1 << 63) - 1


class Role(Enum):
    """Whose a tensor is: the model's, or a checkpoint's other state (optimizer, scheduler, random generators)."""

    MODEL = "model"
    OPTIMIZER = "optimizer"


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``[begin, end)`` of a file, which are canonical as they are."""

    file: str
    begin: int
    end: int

    @property
    def length(self) -> int:
        """How many canonical bytes come out."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Strided:
    """Elements of ``item`` bytes at ``begin`` and on, in ``strides`` counted in elements (none negative).

    ``swap`` is the width in bytes within which the order is reversed (big-endian files), 1 where none is.
    """

    file: str
    begin: int
    end: int
    item: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    swap: int = 1

    @property
    def length(self) -> int:
        """How many canonical bytes come out."""
        return prod(self.shape) * self.item


@dataclass(frozen=True, slots=True)
class Deflated:
    """Bytes ``[skip, skip + length)`` of what the raw DEFLATE stream at ``[begin, end)`` unpacks to, ``size`` in all.

    ``swap`` as in ``Strided``.
    """

    file: str
    begin: int
    end: int
    skip: int
    length: int
    size: int
    swap: int = 1


@dataclass(frozen=True, slots=True)
class Varints:
    """Protobuf varints at ``runs`` of a file, each the low ``item`` bytes of one element (or packed nibble pair)."""

    file: str
    runs: tuple[tuple[int, int], ...]
    item: int
    length: int


@dataclass(frozen=True, slots=True)
class Pieces:
    """Bytes that lie in several places of a file, one after the other: a protobuf list that was not packed."""

    file: str
    runs: tuple[tuple[int, int], ...]

    @property
    def length(self) -> int:
        """How many canonical bytes come out."""
        return sum(end - begin for begin, end in self.runs)


Source: TypeAlias = Span | Strided | Deflated | Varints | Pieces


@dataclass(frozen=True, slots=True)
class Placed:
    """One tensor of a container and where its bytes are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    source: Source
    role: Role = Role.MODEL


@dataclass(frozen=True, slots=True)
class Container:
    """What one file holds: its format, its tensors, and what it says about itself, which is never part of identity."""

    format: str
    tensors: tuple[Placed, ...]
    metadata: dict[str, str] = field(default_factory=dict[str, str])


def check_shape(name: str, shape: tuple[int, ...], code: str) -> int:
    """Return how many elements a shape has.

    Raises:
        ArtifactError: ``code``, the shape is impossible.
    """
    if len(shape) > DIMENSIONS_MAX or any(side < 0 or side > ELEMENTS_MAX for side in shape):
        refuse(code, f"tensor {quote(name)} has an impossible shape")
    count = 0 if 0 in shape else prod(shape)
    if count > ELEMENTS_MAX:
        refuse(code, f"tensor {quote(name)} has an impossible shape: {count} elements")
    return count


def check_names(tensors: tuple[Placed, ...]) -> None:
    """Refuse two tensors of one name, a name without a UTF-8 form, and too many.

    Raises:
        ArtifactError: WEIGHTS-14 a name, WEIGHTS-15 too many.
    """
    if len(tensors) > TENSORS_MAX:
        refuse("WEIGHTS-15", f"holds {len(tensors)} tensors, at most {TENSORS_MAX} are read")
    seen = set[tuple[Role, str]]()
    for tensor in tensors:
        if (tensor.role, tensor.name) in seen:
            refuse("WEIGHTS-14", f"holds two tensors named {quote(tensor.name)}")
        seen.add((tensor.role, tensor.name))
        if any("\ud800" <= letter <= "\udfff" for letter in tensor.name):
            refuse("WEIGHTS-14", f"the tensor name {quote(tensor.name)} has no UTF-8 form")
