"""Which safetensors files make one model: a file alone, or the shards that an index names.

An index, ``*.safetensors.index.json``, maps each tensor to the file that holds it. It is believed only where it and
the shards say the same: every tensor in exactly the file named for it, and none besides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn, cast

from glasslog.predicates.weights import Tensor
from glasslog_lab.errors import ArtifactError
from glasslog_lab.files import File, Progress, list_files, read_file

INDEX_SUFFIX = ".safetensors.index.json"
INDEX_BYTES_MAX = 100_000_000


class Model(NamedTuple):
    """The tensors of one model, sorted by name as bytes, and the names of the files they were read from."""

    name: str
    files: tuple[str, ...]
    tensors: tuple[Tensor, ...]


class Measured(NamedTuple):
    """Every file of an artifact, sorted by name as bytes, and the models among them."""

    files: tuple[File, ...]
    models: tuple[Model, ...]


def list_artifact(path: Path) -> list[tuple[str, Path]]:
    """Return what attesting ``path`` reads: the file, the files below a folder, or an index with the shards it names.

    Raises:
        ArtifactError: FILE-nn, or INDEX-nn where the path is an index that names what is not beside it.
    """
    listed = list_files(path)
    if not path.name.endswith(INDEX_SUFFIX) or not path.is_file():
        return listed
    shards = set(read_index(path.name, path, None).values())
    beside = [(name, place) for name, place in list_files(path.parent) if name in shards or name == path.name]
    if missing := shards - {name for name, _ in beside}:
        _refuse(path.name, "INDEX-03", f"names {min(missing)}, which is not there")
    return beside


def measure(listed: Iterable[tuple[str, Path]], on_read: Progress) -> Measured:
    """Read every listed file once and put the models together.

    Raises:
        ArtifactError: FILE-nn, TENSOR-nn, INDEX-nn.
    """
    places = dict(listed)
    files = {name: read_file(name, place, on_read) for name, place in places.items()}
    models = list[Model]()
    sharded = set[str]()
    for name, file in files.items():
        if name.endswith(INDEX_SUFFIX):
            model = _join_shards(name, read_index(name, places[name], file.digest), files)
            sharded.update(model.files)
            models.append(model)
    models += [
        Model(name, (name,), _sort(file.tensors))
        for name, file in files.items()
        if file.tensors is not None and name not in sharded
    ]
    return Measured(tuple(files.values()), tuple(sorted(models, key=lambda model: model.name.encode())))


def read_index(name: str, path: Path, digest: bytes | None) -> dict[str, str]:
    """Return an index's map from tensor to file, the files named relative to what ``name`` is relative to.

    Raises:
        ArtifactError: INDEX-01 not an index, INDEX-02 a file outside its folder, FILE-01 not readable, FILE-05 its
            bytes are not those of ``digest``.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(INDEX_BYTES_MAX + 1)
    except OSError as error:
        raise ArtifactError(
            "FILE-01", f"{path} cannot be read: {error.strerror}", "check the path and its mode"
        ) from error
    if digest is not None and sha256(data).digest() != digest:
        raise ArtifactError("FILE-05", f"{name} changed while it was read", "wait until nothing writes to it")
    try:
        index: object = json.loads(data.decode("utf-8"), object_pairs_hook=_build_map)
    except (ValueError, RecursionError) as error:
        raise _refusal(name, "INDEX-01", f"is not JSON in UTF-8 with each key once: {type(error).__name__}") from error
    shards: object = cast("dict[str, object]", index).get("weight_map") if isinstance(index, dict) else None
    if len(data) > INDEX_BYTES_MAX or not isinstance(shards, dict) or not shards:
        _refuse(name, "INDEX-01", "has no weight_map")
    folder = PurePosixPath(name).parent
    found = dict[str, str]()
    for tensor, file in cast("dict[str, object]", shards).items():
        if not isinstance(file, str) or not _is_below(file):
            _refuse(
                name, "INDEX-02", f"places {tensor!r} in {file!r}, which is not a safetensors file below its folder"
            )
        found[tensor] = (folder / file).as_posix()
    return found


def _join_shards(name: str, index: Mapping[str, str], files: Mapping[str, File]) -> Model:
    tensors = dict[str, Tensor]()
    for shard in sorted(set(index.values())):
        file = files.get(shard)
        if file is None or file.tensors is None:
            raise _refusal(name, "INDEX-03", f"names {shard}, which is not there")
        for tensor in file.tensors:
            if index.get(tensor.name) != shard:
                _refuse(name, "INDEX-04", f"does not place {tensor.name!r} in {shard}, which holds it")
            tensors[tensor.name] = tensor
    if absent := min(index.keys() - tensors.keys(), default=None):
        _refuse(name, "INDEX-04", f"places {absent!r} in {index[absent]}, which does not hold it")
    return Model(name, (name, *sorted(set(index.values()))), _sort(tensors.values()))


def _sort(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple(sorted(tensors, key=lambda tensor: tensor.name.encode()))


def _is_below(file: str) -> bool:
    """Whether a shard's name is a plain relative path, as written: one spelling, nothing upwards."""
    path = PurePosixPath(file)
    return (
        file.endswith(".safetensors") and not path.is_absolute() and ".." not in path.parts and path.as_posix() == file
    )


def _build_map(pairs: list[tuple[str, object]]) -> dict[str, object]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("a key stands twice")
    return built


def _refusal(name: str, code: str, fact: str) -> ArtifactError:
    return ArtifactError(code, f"{name} {fact}", "fetch or write the index and its shards anew, all of one version")


def _refuse(name: str, code: str, fact: str) -> NoReturn:
    raise _refusal(name, code, fact)
