"""Tensors to and from a safetensors file, written by hand: a length, a header in JSON, the bytes one after another."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from glasslog_lab.errors import ArtifactError
from glasslog_lab.example.perceptron import SHAPES, Tensors, from_bytes, size_of, to_bytes


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write binary32 tensors, whole or not at all; no metadata, so that equal tensors make equal files."""
    header = dict[str, Any]()
    data = b""
    for name in sorted(tensors):
        encoded = to_bytes(tensors[name])
        header[name] = {
            "dtype": "F32", "shape": list(SHAPES[name]), "data_offsets": [len(data), len(data) + len(encoded)],
        }  # fmt: skip
        data += encoded
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    made = path.with_name(f".{path.name}.new")
    with made.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text + data)
        stream.flush()
        os.fsync(stream.fileno())
    made.replace(path)


def read_tensors(path: Path) -> Tensors:
    """Return the tensors of a file that ``write_tensors`` wrote.

    Raises:
        ArtifactError: EXAMPLE-03, it is not such a file.
    """
    try:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header: dict[str, dict[str, Any]] = json.loads(content[8 : 8 + length])
        data = content[8 + length :]
        found = {name: from_bytes(data[slice(*one["data_offsets"])]) for name, one in header.items()}
        shapes = {name: tuple(one["shape"]) for name, one in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refusal(path, f"{type(error).__name__}: {error}") from error
    counts = {name: len(values) for name, values in found.items()}
    wanted = {name: size_of(shape) for name, shape in SHAPES.items()}
    if shapes != SHAPES or counts != wanted or 4 * sum(counts.values()) != len(data):
        raise _refusal(path, "it holds other tensors than this network's")
    return found


def _refusal(path: Path, reason: str) -> ArtifactError:
    return ArtifactError("EXAMPLE-03", f"{path} cannot be read: {reason}", "train again into a new folder")
