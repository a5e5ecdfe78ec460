"""What reading one file came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from glasslog.tensors import Tensor
from glasslog_lab.weights.files import Key
from glasslog_lab.weights.layout import Role


@dataclass(frozen=True, slots=True)
class HashedTensor:
    """A tensor of a file, and whose it is."""

    tensor: Tensor
    role: Role


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file by content: ``name`` is its POSIX path below the artifact, ``size`` in bytes, digests of 32 bytes.

    A digest that was not asked for is None. ``format`` is None where the file holds no tensors by its name, ``index``
    where it is no index; ``beside`` has the other files that its tensors were read from, as they were then.
    """

    name: str
    key: Key
    sha256: bytes | None
    blake3: bytes | None
    format: str | None = None
    tensors: tuple[HashedTensor, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    index: Mapping[str, str] | None = None
    beside: tuple[tuple[str, Key], ...] = ()
    reused: bool = False

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.key.size

    @property
    def digest(self) -> dict[str, bytes]:
        """Its digests by name."""
        pairs = (("sha256", self.sha256), ("blake3", self.blake3))
        return {name: value for name, value in pairs if value is not None}
