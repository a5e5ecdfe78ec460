"""PyTorch's tensors as a pickle describes them: which storage, and which elements of it.

Source: ``torch._utils`` of PyTorch 1.0 to 2.13 (the ``_rebuild_*`` functions) and ``torch.serialization``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from glasslog_lab.weights.dtypes import BITS, TORCH_DTYPES, TORCH_STORAGES
from glasslog_lab.weights.layout import check_shape
from glasslog_lab.weights.pickles import Global, Made, Persistent, is_list, is_tuple
from glasslog_lab.weights.refusals import quote, refusal, refuse

_BAD = "WEIGHTS-33"
_UNSUPPORTED = "WEIGHTS-16"
_WRAPPED = ("_rebuild_parameter", "_rebuild_parameter_with_state")


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of elements: ``key`` names it in its file, ``first`` and ``count`` are in elements of ``dtype``.

    ``dtype`` None: bytes, which the tensors on it type.
    """

    key: str
    dtype: str | None
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class TensorValue:
    """A tensor: elements of ``storage`` from ``offset`` on, ``strides`` in elements."""

    dtype: str
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensor(value: Made) -> TensorValue | None:
    """Return the tensor that a call would have made; None where it would have made something else.

    Raises:
        ArtifactError: WEIGHTS-33 the description contradicts itself, WEIGHTS-16 a kind of tensor that is not one block
            of elements.
    """
    for _ in range(8):  # a parameter of a subclass of a tensor: few layers
        maker = value.maker
        if not isinstance(maker, Global):
            return None
        inner = _unwrap(value, maker)
        if inner is None:
            break
        value = inner
    maker = value.maker
    if not isinstance(maker, Global) or not maker.module.startswith("torch") or not maker.name.startswith("_rebuild_"):
        return None
    reader = _READERS.get(maker.name)
    if reader is None or maker.module != "torch._utils":
        refuse(
            _UNSUPPORTED, f"holds a tensor of {quote(f'{maker.module}.{maker.name}')}, which is no block of elements"
        )
    args = value.args
    if not is_tuple(args):
        refuse(_BAD, "a tensor is described by no list of arguments")
    return reader(args)


def read_storage(pid: Any) -> Storage:  # noqa: ANN401 - a stranger's value
    """Return the storage that a persistent id names.

    Raises:
        ArtifactError: WEIGHTS-33.
    """
    match pid:
        case ("storage", Global(name=str(kind)), str(key), _, int(count), *rest) if count >= 0:
            return _narrow(Storage(key, _storage_dtype(kind), 0, count), rest)
        case _:
            raise refusal(_BAD, "a persistent id is not of a storage")


def _narrow(storage: Storage, rest: list[Any]) -> Storage:
    """Apply the old format's view of a storage: its own key, offset and size."""
    match rest:
        case [] | [None]:
            return storage
        case [(_, int(first), int(count))] if first >= 0 and count >= 0 and first + count <= storage.count:
            return Storage(storage.key, storage.dtype, first, count)
        case _:
            raise refusal(_BAD, f"the view of storage {quote(storage.key)} leads out of it")


def _storage_dtype(kind: str) -> str | None:
    if kind == "UntypedStorage":
        return None
    if kind not in TORCH_STORAGES:
        refuse(_UNSUPPORTED, f"has a storage of the unknown kind {quote(kind)}")
    return TORCH_STORAGES[kind]


def _unwrap(value: Made, maker: Global) -> Made | None:
    args = value.args
    if not is_tuple(args) or not args:
        return None
    parts = args
    if (maker.module == "torch._utils" and maker.name in _WRAPPED) or (
        maker.module == "torch.nn.parameter" and maker.name in ("Parameter", "Buffer")
    ):
        return parts[0] if isinstance(parts[0], Made) else None
    if maker.module in ("torch._tensor", "torch._utils") and maker.name == "_rebuild_from_type_v2" and len(parts) > 2:
        return Made(parts[0], parts[2])
    return None


def _read_v2(args: tuple[Any, ...]) -> TensorValue:
    storage, offset, shape, strides = _read_place(args)
    if storage.dtype is None:
        refuse(_BAD, "a tensor on an untyped storage states no type")
    if len(args) > 6 and args[6] not in (None, {}):
        refuse(_UNSUPPORTED, "holds a tensor marked as conjugate or negative, whose elements are not its values")
    return _check(TensorValue(storage.dtype, storage, offset, shape, strides), storage.count)


def _read_v3(args: tuple[Any, ...]) -> TensorValue:
    storage, offset, shape, strides = _read_place(args)
    match args[6:]:
        case (Global(module="torch", name=str(kind)), *rest) if kind in TORCH_DTYPES and rest in ([], [None], [{}]):
            dtype = TORCH_DTYPES[kind]
        case _:
            refuse(_UNSUPPORTED, "holds a tensor of a type that is not known here")
    if storage.dtype is not None:
        refuse(_BAD, "a tensor states a type beside its storage's")
    return _check(TensorValue(dtype, storage, offset, shape, strides), storage.count // (BITS[dtype] // 8))


def _read_place(args: tuple[Any, ...]) -> tuple[Storage, int, tuple[int, ...], tuple[int, ...]]:
    match args:
        case (Persistent(pid=pid), int(offset), shape, strides, *_):
            return read_storage(pid), offset, _sizes(shape), _sizes(strides)
        case _:
            raise refusal(_BAD, "a tensor is not described by storage, offset, size and stride")


def _sizes(value: Any) -> tuple[int, ...]:  # noqa: ANN401 - a stranger's value
    if isinstance(value, Made) and value.is_a("torch", "Size") and is_tuple(value.args) and value.args:
        return _sizes(value.args[0])
    if is_list(value):
        return _sizes(tuple(value))
    if not is_tuple(value) or not all(type(side) is int and side >= 0 for side in value):
        refuse(_BAD, "a size or stride is not a list of whole numbers")
    return value


def _check(tensor: TensorValue, room: int) -> TensorValue:
    """Refuse a tensor that reaches out of the ``room`` elements of its storage."""
    count = check_shape("of a storage", tensor.shape, _BAD)
    if len(tensor.shape) != len(tensor.strides) or tensor.offset < 0:
        refuse(_BAD, "a tensor has another number of sizes than of strides")
    last = tensor.offset + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.strides, strict=True))
    if count and last >= room:
        refuse(_BAD, f"a tensor reaches element {min(last, 1 << 64)} of a storage of {room}")
    return tensor


_READERS: dict[str, Callable[[tuple[Any, ...]], TensorValue]] = {
    "_rebuild_tensor": _read_v2,
    "_rebuild_tensor_v2": _read_v2,
    "_rebuild_tensor_v3": _read_v3,
}
