"""What a model's tensors are, whatever file they are kept in: their root, and the proof of one (specs/weights.md).

The *content root* (K3) depends on the tensors alone: per tensor its name, element type, shape and bytes, sorted by
name, an RFC 9162 tree over the records. The same tensors in another file, format or order have the same root. Tensor
bytes are never hashed here: a record holds their BLAKE3-256, which whoever reads the bytes computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from glasslog import codec, merkle
from glasslog.errors import DecodeError, ProofError

TENSOR_DOMAIN = b"glasslog/tensor/v1\x00"
CONTENT_ROOT = "glasslogTensorsV1"  # the name of the content root among a subject's digests
CONTENT_BYTES = 32
DIMENSIONS_MAX = 64
PROOF_LABEL = "glasslog/tensor-proof/v1"
PROOF_BYTES_MAX = 65_535
LIST_LABEL = "glasslog/tensor-list/v1"
LIST_BYTES_MAX = 64 << 20
_PATH_HASHES_MAX = 63


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor (K1). ``content`` is the BLAKE3-256 of its elements: row-major, little-endian, without padding.

    ``dtype`` is the element type as safetensors writes it (``F32``, ``BF16``, ``I64``), and the container's own name
    where safetensors has none (``GGML_Q4_K``). ``shape`` is in elements, the slowest dimension first.
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
class TensorProof:
    """That ``tensor`` is number ``index`` of the ``size`` tensors of a content root; ``path`` leaf's sibling first."""

    tensor: Tensor
    index: int
    size: int
    path: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the proof's bytes, one CBOR array."""
        one = self.tensor
        place: list[codec.Value] = [self.index, self.size, b"".join(self.path)]
        return codec.encode([PROOF_LABEL, one.name, one.dtype, list(one.shape), one.content, *place])

    @classmethod
    def decode(cls, data: bytes) -> TensorProof:
        """Return the proof of these bytes, its one encoding. Whether it leads to a root is not looked at.

        Raises:
            DecodeError: CBOR-nn; WEIGHTS-01 it is no proof of a tensor.
        """
        match codec.decode(data, size_max=PROOF_BYTES_MAX):
            case [str(label), *described, int(index), int(size), bytes(path)] if label == PROOF_LABEL:
                tensor = _read_tensor(described)
                hashes = len(path) // merkle.HASH_BYTES
                whole = len(path) == hashes * merkle.HASH_BYTES and hashes <= _PATH_HASHES_MAX
                if tensor is not None and whole and type(index) is type(size) is int:
                    cut = [path[at : at + merkle.HASH_BYTES] for at in range(0, len(path), merkle.HASH_BYTES)]
                    return cls(tensor, index, size, tuple(cut))
            case _:
                pass
        raise DecodeError("WEIGHTS-01", "not the proof of a tensor")


def sort_tensors(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors in the order of the content tree: bytewise by name.

    Raises:
        ValueError: a name stands twice, a digest is not 32 bytes, or a dimension is negative.
    """
    ordered = sorted(tensors, key=lambda tensor: tensor.name.encode())
    if len({tensor.name for tensor in ordered}) != len(ordered):
        raise ValueError("two tensors of one name")
    if any(len(tensor.content) != CONTENT_BYTES for tensor in ordered):
        raise ValueError("the digest of a tensor is not a BLAKE3-256")
    if any(side < 0 for tensor in ordered for side in tensor.shape):
        raise ValueError("a tensor with a negative dimension")
    return ordered


def content_root(tensors: Iterable[Tensor]) -> bytes:
    """Return the RFC 9162 root over the tensors' records, sorted bytewise by name.

    Raises:
        ValueError: as ``sort_tensors``.
    """
    return merkle.root(_leaf_hashes(sort_tensors(tensors)))


def prove_tensor(tensors: Iterable[Tensor], name: str) -> TensorProof:
    """Return the proof that the tensor of this name belongs to the content root of all of them.

    Raises:
        KeyError: no tensor has the name.
        ValueError: as ``sort_tensors``.
    """
    ordered = sort_tensors(tensors)
    index = next((at for at, tensor in enumerate(ordered) if tensor.name == name), None)
    if index is None:
        raise KeyError(name)
    leaves = _leaf_hashes(ordered)

    def subtree(start: int, end: int) -> bytes:
        return merkle.root(leaves[start * merkle.HASH_BYTES : end * merkle.HASH_BYTES])

    path = merkle.inclusion_proof(index, len(ordered), subtree)
    return TensorProof(ordered[index], index, len(ordered), tuple(path))


def verify_tensor(proof: TensorProof, root: bytes, content: bytes | None = None) -> None:
    """Check that the proof leads to ``root``, and that ``content`` (BLAKE3-256 of the bytes at hand) is the tensor's.

    Without ``content``, only that a tensor of this name, type, shape and digest belongs to the root (K11).

    Raises:
        ProofError: PROOF-01 to PROOF-03 it does not lead there; WEIGHTS-02 the bytes are not the tensor's.
    """
    merkle.verify_inclusion(proof.index, proof.size, merkle.hash_leaf(proof.tensor.record), proof.path, root)
    if content is not None and content != proof.tensor.content:
        raise ProofError("WEIGHTS-02", f"the bytes are not those of tensor {proof.tensor.name!r}")


def encode_list(tensors: Iterable[Tensor]) -> bytes:
    """Return the list of a model's tensors: what any one of them is proved from, without the weights (K11).

    Raises:
        ValueError: as ``sort_tensors``.
    """
    listed: list[codec.Value] = [[one.name, one.dtype, list(one.shape), one.content] for one in sort_tensors(tensors)]
    return codec.encode([LIST_LABEL, listed])


def decode_list(data: bytes) -> list[Tensor]:
    """Return the tensors of such a list, in the order of the content tree.

    Raises:
        DecodeError: CBOR-nn; WEIGHTS-03 it is no list of tensors, or not in order.
    """
    match codec.decode(data, size_max=LIST_BYTES_MAX):
        case [str(label), list(listed)] if label == LIST_LABEL:
            found = [_read_tensor(one) for one in listed if isinstance(one, list)]
            tensors = [one for one in found if one is not None]
            names = [one.name.encode() for one in tensors]
            if len(tensors) == len(listed) and all(one < after for one, after in pairwise(names)):
                return tensors
        case _:
            pass
    raise DecodeError("WEIGHTS-03", "not the list of a model's tensors")


def _read_tensor(value: Sequence[codec.Value]) -> Tensor | None:
    match value:
        case [str(name), str(dtype), list(shape), bytes(content)]:
            sides = [side for side in shape if type(side) is int and side >= 0]
            if len(sides) == len(shape) <= DIMENSIONS_MAX and len(content) == CONTENT_BYTES:
                return Tensor(name, dtype, tuple(sides), content)
        case _:
            pass
    return None


def _leaf_hashes(ordered: Sequence[Tensor]) -> bytes:
    return merkle.hash_leaves([tensor.record for tensor in ordered])
