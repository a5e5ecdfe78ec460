"""Which files make one model, and which of several models in a folder is meant (K8).

An index joins its shards, a split GGUF its parts, a folder of .npy its arrays; any other file with tensors of a model
is a model of its own. Several are one where their content root is one; otherwise nothing is guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glasslog.tensors import Tensor, content_root
from glasslog_lab.weights.containers import read_container
from glasslog_lab.weights.files import find_beside, list_files, open_file
from glasslog_lab.weights.index import is_index, read_index
from glasslog_lab.weights.layout import Role
from glasslog_lab.weights.measured import HashedFile
from glasslog_lab.weights.refusals import quote, refuse

FILES_FORMAT = "files"  # of an artifact in which nothing was read as tensors
_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """The tensors of one model and the files they are in, the first of which names it."""

    files: tuple[str, ...]
    format: str
    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


def list_model(path: Path, *, follow: bool = False) -> dict[str, Path]:
    """Return the files that belong to ``path``, name to real path: with an index its shards, with ONNX its data.

    Raises:
        ArtifactError: FILE-nn, INDEX-nn, WEIGHTS-nn.
    """
    listed = list_files(path, follow=follow)
    if len(listed) > 1 or path.is_dir():
        return listed
    [(name, place)] = listed.items()
    if is_index(name):
        with open_file(name, place) as file:
            named = sorted(set(read_index(name, file).values()))
        return listed | find_beside(path, dict.fromkeys(named, name), follow=follow)
    if name.lower().endswith(".onnx"):
        beside = dict[str, Path]()

        def find_size(other: str) -> int:
            if other not in beside:
                beside.update(find_beside(path, {other: name}, follow=follow))
            return beside[other].stat().st_size

        with open_file(name, place) as file:
            read_container(name, file, find_size)
        return listed | dict(sorted(beside.items()))
    return listed


def choose_model(path: Path, files: Sequence[HashedFile], main: str | None) -> Candidate | None:
    """Return the one model among the files, or the one that is in the file ``main``; None where there is none.

    Raises:
        ArtifactError: INDEX-03, INDEX-04, WEIGHTS-43 parts that do not make a whole, MODEL-01 several models,
            MODEL-02 ``main`` holds none.
    """
    found = _list_candidates({file.name: file for file in files})
    if main is not None:
        found = [one for one in found if main in one.files]
        if not found:
            refuse("MODEL-02", f"{quote(main)} is no file of {quote(str(path))} that holds a model's tensors")
    if len(found) > 1 and len({content_root(one.tensors) for one in found}) > 1:
        names = ", ".join(quote(one.files[0]) for one in found[:4]) + (", ..." if len(found) > 4 else "")
        refuse("MODEL-01", f"{quote(str(path))} holds {len(found)} models that differ: {names}")
    return found[0] if found else None


def name_optimizer(files: Iterable[HashedFile]) -> list[Tensor]:
    """Return the tensors that are no part of the model; with its file's name in front where two have one name."""
    found = [(file.name, one.tensor) for file in files for one in file.tensors if one.role is Role.OPTIMIZER]
    counts = Counter(tensor.name for _, tensor in found)
    return [
        tensor
        if counts[tensor.name] == 1
        else Tensor(f"{name}:{tensor.name}", tensor.dtype, tensor.shape, tensor.content)
        for name, tensor in found
    ]


def _list_candidates(files: Mapping[str, HashedFile]) -> list[Candidate]:
    found, taken = list[Candidate](), set[str]()
    for file in files.values():
        if file.index is not None:
            found.append(_join_shards(file.name, file.index, files))
    for parts in _group_parts(files):
        found.append(_join(parts[0].name, parts))
    arrays = [file for name, file in files.items() if file.format == "numpy" and name.lower().endswith(".npy")]
    if len(arrays) > 1:
        found.append(_join(arrays[0].name, arrays))
    for one in found:
        taken.update(one.files)
    for file in files.values():
        if file.name not in taken and any(one.role is Role.MODEL for one in file.tensors):
            found.append(_join(file.name, [file]))
    return sorted((one for one in found if one.tensors), key=lambda one: one.files[0].encode())


def _join(label: str, files: Sequence[HashedFile], index: str | None = None) -> Candidate:
    tensors = dict[str, Tensor]()
    for file in files:
        for one in file.tensors:
            if one.role is not Role.MODEL:
                continue
            if one.tensor.name in tensors:
                refuse("WEIGHTS-14", f"{label}: two of its files hold a tensor named {quote(one.tensor.name)}")
            tensors[one.tensor.name] = one.tensor
    named = tuple(file.name for file in files)
    return Candidate(
        (index, *named) if index is not None else named,
        files[0].format or FILES_FORMAT,
        tuple(tensors.values()),
        files[0].metadata,
    )


def _join_shards(name: str, index: Mapping[str, str], files: Mapping[str, HashedFile]) -> Candidate:
    shards = sorted(set(index.values()))
    for shard in shards:
        file = files.get(shard)
        if file is None or file.format is None:
            refuse("INDEX-03", f"{name} names {quote(shard)}, which is not there or holds no tensors")
        for one in file.tensors:
            if index.get(one.tensor.name) != shard:
                refuse("INDEX-04", f"{name} does not place {quote(one.tensor.name)} in {shard}, which holds it")
    joined = _join(name, [files[shard] for shard in shards], name)
    if absent := min(index.keys() - {tensor.name for tensor in joined.tensors}, default=None):
        refuse("INDEX-04", f"{name} places {quote(absent)} in {index[absent]}, which does not hold it")
    return joined


def _group_parts(files: Mapping[str, HashedFile]) -> list[list[HashedFile]]:
    groups = dict[tuple[str, int], dict[int, HashedFile]]()
    for file in files.values():
        if file.format != "gguf" or file.metadata.get("split.count", "1") in {"0", "1"}:
            continue
        named = _PART.fullmatch(file.name)
        if named is None or file.metadata["split.count"] != str(int(named["count"])):
            refuse("WEIGHTS-43", f"{file.name} is one of {file.metadata['split.count']} parts, its name says otherwise")
        groups.setdefault((named["stem"], int(named["count"])), {})[int(named["number"])] = file
    for (stem, count), parts in groups.items():
        if parts.keys() != set(range(1, count + 1)):
            refuse("WEIGHTS-43", f"{stem}: {len(parts)} of its {count} parts are there")
    return [[parts[number] for number in sorted(parts)] for parts in groups.values()]
