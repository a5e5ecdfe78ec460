"""JAX and Optax: an optimizer wrapped so that each update is recorded (specs/custody.md, C9)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from glasslog_lab.recorder.digests import Memory
from glasslog_lab.recorder.recording import Recorder

_DTYPES = {"f": "F", "i": "I", "u": "U", "b": "BOOL", "c": "C"}


def list_arrays(tree: Any) -> Iterator[Memory]:
    """Yield the arrays of a pytree, each named by its path."""
    jax: Any = import_module("jax")
    np: Any = import_module("numpy")

    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        array = np.ascontiguousarray(leaf)
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if array.dtype.name == "bfloat16":
            dtype = "BF16"
        else:
            dtype = "BOOL" if array.dtype.kind == "b" else f"{_DTYPES[array.dtype.kind]}{8 * array.dtype.itemsize}"
        shape = tuple(np.shape(leaf))
        yield Memory(name, dtype, shape, memoryview(array.reshape(-1).view(np.uint8)))


def wrap(optimizer: Any, recorder: Recorder) -> Any:
    """Return an Optax ``GradientTransformation`` like ``optimizer`` that records each update, also under ``jit``.

    ``update`` needs its ``params``; the parameters recorded are ``optax.apply_updates(params, updates)``.
    ``init`` begins the run, so call it outside ``jit``.
    """
    optax: Any = import_module("optax")
    io_callback: Any = import_module("jax.experimental").io_callback

    def init(params: Any) -> Any:
        recorder.begin(list(list_arrays(params)))
        return optimizer.init(params)

    def record(params: Any) -> None:
        try:
            recorder.step(list(list_arrays(params)))
        except Exception as error:  # noqa: BLE001  a fault of ours never reaches a training
            recorder.fault(error)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        changed, after = optimizer.update(updates, state, params, **extra)
        io_callback(record, None, optax.apply_updates(params, changed), ordered=True)
        return changed, after

    return optax.GradientTransformationExtraArgs(init, update)
