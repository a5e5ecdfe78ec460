"""The index of a sharded model, ``*.index.json``: which tensor is in which file beside it.

It is believed only where it and the shards say the same. Source: the format that Hugging Face's libraries write.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import cast

from glasslog_lab.weights.layout import TENSORS_MAX
from glasslog_lab.weights.refusals import quote, refusal, refuse
from glasslog_lab.weights.windows import Window

INDEX_SUFFIXES = (".safetensors.index.json", ".bin.index.json")
INDEX_BYTES_MAX = 32 << 20
_SHARD_SUFFIXES = (".safetensors", ".bin")


def is_index(name: str) -> bool:
    """Whether a file's name says that it is an index of shards."""
    return name.endswith(INDEX_SUFFIXES)


def read_index(name: str, window: Window) -> dict[str, str]:
    """Return an index's map from tensor to file, the files named relative to what ``name`` is relative to.

    Raises:
        ArtifactError: INDEX-01 not an index, INDEX-02 a file outside its folder.
    """
    if window.size > INDEX_BYTES_MAX:
        refuse("INDEX-01", f"{name} has {window.size} bytes, at most {INDEX_BYTES_MAX} are read")
    data = window.read_at(0, window.size)
    if data.count(b"[") + data.count(b"{") > TENSORS_MAX:
        refuse("INDEX-01", f"{name} has more brackets than an index needs")
    try:
        index: object = json.loads(data.decode("utf-8"), object_pairs_hook=_build_map)
    except (ValueError, RecursionError) as error:
        fact = f"{name} is not JSON in UTF-8 with each key once: {type(error).__name__}"
        raise refusal("INDEX-01", fact) from error
    shards: object = cast("dict[str, object]", index).get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards:
        refuse("INDEX-01", f"{name} has no weight_map")
    folder = PurePosixPath(name).parent
    found = dict[str, str]()
    for tensor, file in cast("dict[str, object]", shards).items():
        if not isinstance(file, str) or not _is_below(file):
            refuse("INDEX-02", f"{name} places {quote(tensor)} in {quote(file)}, which is no shard below its folder")
        found[tensor] = (folder / file).as_posix()
    return found


def _is_below(file: str) -> bool:
    """Whether a shard's name is a plain relative path, as written: one spelling, nothing upwards."""
    path = PurePosixPath(file)
    plain = not path.is_absolute() and ".." not in path.parts and path.as_posix() == file
    return plain and file.endswith(_SHARD_SUFFIXES) and "\0" not in file


def _build_map(pairs: list[tuple[str, object]]) -> dict[str, object]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("a key stands twice")
    return built
