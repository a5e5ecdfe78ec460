"""Digests of what a training holds in memory: tensors by name, without a copy (specs/custody.md, C2).

One thread only. BLAKE3 over memory as it lies: a snapshot to hash in the background would copy as many bytes as
hashing reads, and double the memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from glasslog import codec, merkle

if TYPE_CHECKING:
    from blake3 import blake3

TENSOR_DOMAIN = b"glasslog/tensor/v1\x00"


class Memory(NamedTuple):
    """A tensor in memory: its bytes row-major and little-endian, ``dtype`` as safetensors writes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


def content_root(tensors: Iterable[Memory]) -> bytes:
    """Return the content root of tensors: the one that their checkpoint's files have.

    Raises:
        ValueError: a name stands twice.
    """
    hasher = new_hasher()
    leaves = dict[bytes, bytes]()
    for name, dtype, shape, data in tensors:
        hasher.reset()
        hasher.update(data)
        key, prefix = _prefix(name, dtype, shape)
        if key in leaves:
            raise ValueError(f"two tensors named {name!r}")
        leaves[key] = sha256(prefix + hasher.digest()).digest()
    return merkle.root(b"".join([leaves[key] for key in sorted(leaves)]))


def batch_digest(tensors: Iterable[Memory]) -> bytes:
    """Return the commitment to one batch's tensors, in the order they are given."""
    hasher = new_hasher()
    for name, dtype, shape, data in tensors:
        hasher.update(codec.encode([name, dtype, list(shape)]))
        hasher.update(data)
    return bytes(hasher.digest())


def new_hasher() -> blake3:
    """Return a BLAKE3 state that uses the calling thread only."""
    from blake3 import blake3

    return blake3(max_threads=1)


@lru_cache(65_536)
def _prefix(name: str, dtype: str, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    described: list[codec.Value] = [name, dtype, list[Any](shape)]
    return name.encode(), b"\x00" + TENSOR_DOMAIN + codec.encode(described)
