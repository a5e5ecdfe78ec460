"""Files that a document names, hashed here: what agrees is *rehashed*, what does not is refused, the rest is said (M3).

Names are a stranger's: one that leads out of the folder, also by a link, is refused before anything is opened.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.facts import Checked, DatasetFacts, FileFact, Imported, ModelFacts
from glasslog_lab.formats.oms_manifest import check_name
from glasslog_lab.formats.reading import DIGEST_HEX, WEAK_DIGESTS, refusal

_CHUNK_BYTES = 4 << 20
_STEP = "use the files that it describes; do not load these"
_F = TypeVar("_F", ModelFacts, DatasetFacts)


class _Hash(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def hexdigest(self) -> str: ...


def check_folder(imported: Imported, folder: Path | None) -> Imported:
    """Compare the files an import names with those of a folder; say what was not compared.

    Raises:
        ArtifactError: IMPORT-13 a file is another than stated, IMPORT-11 a name or link out of the folder, IMPORT-01
            not readable.
    """
    if not any(one.files for one in imported.models) and not any(one.files for one in imported.datasets):
        unused = ("the folder was not used: no file is named",) if folder is not None else ()
        return replace(imported, notes=(*imported.notes, *unused))
    if folder is None:
        return replace(imported, unchecked=(*imported.unchecked, "the files themselves: no folder was given"))
    if not folder.is_dir():
        raise refusal("IMPORT-01", str(folder), "is no folder", "give the folder of the files it describes")
    left = list[str]()
    models = tuple(_check(one, folder, left) for one in imported.models)
    datasets = tuple(_check(one, folder, left) for one in imported.datasets)
    unchecked = imported.unchecked
    if left:
        unchecked = (*unchecked, f"{len(left)} files not here or without a strong digest, first {left[0][:120]!r}")
    return replace(imported, models=models, datasets=datasets, unchecked=unchecked)


def _check(facts: _F, folder: Path, left: list[str]) -> _F:
    before = len(left)
    files = tuple(_check_file(one, folder, left) for one in facts.files)
    sources = dict(facts.sources)
    if files and len(left) == before and "files" in sources:
        sources["files"] = replace(sources["files"], checked=Checked.REHASHED)
    return replace(facts, files=files, sources=sources)


def _check_file(fact: FileFact, folder: Path, left: list[str]) -> FileFact:
    stated = {name: value for name, value in fact.digests.items() if name not in WEAK_DIGESTS and name in DIGEST_HEX}
    path = _find(fact.name, folder)
    if path is None or not stated:
        left.append(fact.name)
        return fact
    try:
        size, found = _hash(path, {*stated, "sha256"})
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise refusal("IMPORT-01", str(path), f"cannot be read: {reason}", "check the path and its mode") from error
    if any(found[name] != value for name, value in stated.items()) or fact.size not in (None, size):
        raise refusal("IMPORT-13", fact.name, "is here and is not what the document states", _STEP)
    return replace(fact, size=size, digests={**fact.digests, "sha256": found["sha256"]})


def _find(name: str, folder: Path) -> Path | None:
    """Return the file of a name, None where there is none."""
    path = folder / check_name(name, str(folder))
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(Path(os.path.realpath(folder))):
        raise refusal("IMPORT-11", str(path), "is a link out of the folder", "copy the file in")
    try:
        return real if stat.S_ISREG(real.stat().st_mode) else None
    except OSError:
        return None


def _hash(path: Path, names: Iterable[str]) -> tuple[int, dict[str, str]]:
    states, size = {name: _new_hash(name) for name in names}, 0
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:  # noqa: PTH123  a descriptor, not a path
        while data := stream.read(_CHUNK_BYTES):
            size += len(data)
            for state in states.values():
                state.update(data)
    return size, {name: state.hexdigest() for name, state in states.items()}


def _new_hash(name: str) -> _Hash:
    if name.startswith("blake2b_"):
        return hashlib.blake2b(digest_size=int(name.removeprefix("blake2b_")) // 8)
    if name != "blake3":
        return hashlib.new(name)
    try:
        import blake3
    except ImportError as error:
        raise ArtifactError("EXTRA-01", "blake3 is not installed", "pip install 'glasslog[lab]'") from error
    return blake3.blake3()
