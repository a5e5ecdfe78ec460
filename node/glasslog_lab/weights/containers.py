"""Which reader a file goes to: by its name, and among PyTorch's formats by its first bytes (K6).

A file whose name says nothing is digested whole and not looked into; one whose name says what it is has to be that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights.layout import Container, check_names
from glasslog_lab.weights.windows import Window

FindSize = Callable[[str], int]

PYTORCH_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".jit", ".ptl", ".torchscript"})
_HEAD_BYTES = 64


def read_container(name: str, window: Window, find_size: FindSize) -> Container | None:
    """Return what tensors a file holds and where; None where its name and start do not say that it holds any.

    ``find_size`` tells the bytes of a file beside it, which ONNX may keep tensors in.

    Raises:
        ArtifactError: TENSOR-nn, WEIGHTS-nn; the fact begins with the file's name.
    """
    try:
        container = _read(name, window, find_size)
        if container is not None:
            check_names(container.tensors)
    except ArtifactError as error:
        raise ArtifactError(error.code, f"{name}: {error.fact}", error.next_step) from error
    return container


def _read(name: str, window: Window, find_size: FindSize) -> Container | None:
    match PurePosixPath(name).suffix.lower():
        case ".safetensors":
            from glasslog_lab.weights.safetensors import read_safetensors

            return read_safetensors(name, window)
        case ".gguf":
            from glasslog_lab.weights.gguf import read_gguf

            return read_gguf(name, window)
        case ".onnx":
            from glasslog_lab.weights.onnx import read_onnx

            return read_onnx(name, window, find_size)
        case ".npy" | ".npz" as suffix:
            from glasslog_lab.weights.numpy_files import read_npy, read_npz
            from glasslog_lab.weights.zips import read_directory

            return read_npy(name, window) if suffix == ".npy" else read_npz(name, window, read_directory(window))
        case suffix if suffix in PYTORCH_SUFFIXES:
            return _read_pytorch(name, window)
        case _:
            return None


def _read_pytorch(name: str, window: Window) -> Container | None:
    from glasslog_lab.weights.pytorch import LEGACY_START, find_root, read_legacy, read_zip
    from glasslog_lab.weights.zips import read_directory

    head = window.read_at(0, _HEAD_BYTES)
    if head.startswith(b"PK\x03\x04"):
        members = read_directory(window)
        root = find_root(members)
        return None if root is None else read_zip(name, window, members, root)
    return read_legacy(name, window) if LEGACY_START.match(head) else None
