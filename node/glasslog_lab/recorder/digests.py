"""Digests of what a training holds in memory: tensors by name, without a copy (specs/custody.md, C2).

One thread only. BLAKE3 over memory as it lies: a snapshot to hash in the background would copy as many bytes as
hashing reads, and double the memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from glasslog import codec, merkle
from glasslog.tensors import TENSOR_DOMAIN
from glasslog_lab.weights.dtypes import BITS, byte_count

if TYPE_CHECKING:
    from blake3 import blake3
    from typing_extensions import Buffer

_TREE_PREFIX_BYTES = 1 + len(TENSOR_DOMAIN)


class Memory(NamedTuple):
    """A tensor in memory: its bytes row-major and little-endian, ``dtype`` as safetensors writes it.

    ``data`` is anything that gives its memory in one piece: bytes, a memoryview, an array, a NumPy array.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Buffer


Form: TypeAlias = dict[bytes, bytes]
"""Which tensors there are: for each name, its description as it stands in the tree."""


def content_root(tensors: Iterable[Memory]) -> bytes:
    """Return the content root of tensors: the one that their checkpoint's files have.

    Raises:
        ValueError: a name stands twice, or a tensor has other bytes than its shape says.
        TypeError, BufferError: a tensor's memory is not in one piece.
    """
    return content_root_and_form(tensors)[0]


def content_root_and_form(tensors: Iterable[Memory]) -> tuple[bytes, Form]:
    """Return the content root and which tensors it is of; raises as ``content_root``."""
    hasher = new_hasher()
    leaves, form = dict[bytes, bytes](), Form()
    for name, dtype, shape, data in tensors:
        plain = _in_bytes(data)
        key, prefix, size = _prefix(name, dtype, tuple(shape))
        if size not in (None, len(plain)):
            raise ValueError(f"the tensor {name!r} has {len(plain)} bytes, and {size} by its type and shape")
        if key in leaves:
            raise ValueError(f"two tensors named {name!r}")
        hasher.reset()
        hasher.update(plain)
        leaves[key] = sha256(prefix + hasher.digest()).digest()
        form[key] = prefix
    return merkle.root(b"".join([leaves[key] for key in sorted(leaves)])), form


def batch_digest(tensors: Iterable[Memory]) -> bytes:
    """Return the commitment to one batch's tensors, in the order they are given; raises as ``content_root``."""
    hasher = new_hasher()
    for name, dtype, shape, data in tensors:
        plain = _in_bytes(data)
        _, prefix, size = _prefix(name, dtype, tuple(shape))
        if size not in (None, len(plain)):
            raise ValueError(f"the tensor {name!r} has {len(plain)} bytes, and {size} by its type and shape")
        hasher.update(prefix[_TREE_PREFIX_BYTES:])
        hasher.update(plain)
    return bytes(hasher.digest())


def new_hasher() -> blake3:
    """Return a BLAKE3 state that uses the calling thread only."""
    from blake3 import blake3

    return blake3(max_threads=1)


def _in_bytes(data: Buffer) -> bytes | memoryview:
    if isinstance(data, bytes):
        return data
    view = memoryview(data)
    if view.format == "B" and view.ndim == 1 and view.contiguous:
        return view
    return view.cast("B") if view.nbytes else b""  # casts no shape with a zero in it


@lru_cache(65_536)
def _prefix(name: str, dtype: str, shape: tuple[int, ...]) -> tuple[bytes, bytes, int | None]:
    """Return a tensor's key, what stands before its content's digest, and its bytes, None for a type not known."""
    described: list[codec.Value] = [name, dtype, list[Any](shape)]
    size = byte_count(dtype, prod(shape)) if dtype in BITS else None
    return name.encode(), b"\x00" + TENSOR_DOMAIN + codec.encode(described), size
