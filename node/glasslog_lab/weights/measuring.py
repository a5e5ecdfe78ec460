"""From a path to what a model consists of: every file digested once, every tensor, and which of them are the model's.

``measure`` is the way in. Several files are read at once; each is refused where it changes meanwhile, and what a cache
knows of an unchanged one is used again and said to be (K9).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Event

from blake3 import blake3

from glasslog.tensors import Tensor, content_root, sort_tensors
from glasslog_lab.weights.cache import Cache
from glasslog_lab.weights.containers import read_container
from glasslog_lab.weights.files import Key, OpenFile, Progress, open_file
from glasslog_lab.weights.hashing import DIGESTS, Digest, Run, hash_file
from glasslog_lab.weights.index import is_index, read_index
from glasslog_lab.weights.joining import FILES_FORMAT, choose_model, list_model, name_optimizer
from glasslog_lab.weights.layout import Container, Source, Span
from glasslog_lab.weights.measured import HashedFile, HashedTensor
from glasslog_lab.weights.refusals import quote, refusal, refuse

CONTENT_FREE_BYTES = 1 << 30  # so much may tensors come to, whatever the size of their file
CONTENT_RATIO_MAX = 8  # and so many times the file
_WORKERS_MAX = 8


@dataclass(frozen=True)
class ModelMeasured:
    """What a model consists of. ``tensors`` and ``optimizer`` are sorted bytewise by name, ``files`` by path.

    ``format`` is the container of the tensors, ``files`` where none were read; ``metadata`` what that container says
    of itself, which is no part of any root. ``reused`` counts the files whose digests a cache knew.
    """

    name: str
    format: str
    tensors: tuple[Tensor, ...]
    optimizer: tuple[Tensor, ...]
    files: tuple[HashedFile, ...]
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    reused: int = 0

    @cached_property
    def content_root(self) -> bytes | None:
        """The root over the model's tensors (K3), 32 bytes; None where there are none."""
        return content_root(self.tensors) if self.tensors else None

    @cached_property
    def optimizer_root(self) -> bytes | None:
        """The root over a checkpoint's other tensors; None where there are none."""
        return content_root(self.optimizer) if self.optimizer else None

    @property
    def parameters(self) -> int:
        """How many elements the model's tensors have together."""
        return sum(tensor.parameters for tensor in self.tensors)


def _ignore(_count: int) -> None:
    pass


def measure(
    path: Path,
    *,
    digests: Iterable[Digest] = DIGESTS,
    cache: Cache | None = None,
    on_read: Progress = _ignore,
    main: str | None = None,
    follow: bool = False,
    as_files: bool = False,
    threads: int | None = None,
) -> ModelMeasured:
    """Return what the file, folder or index at ``path`` consists of. Nothing in it is run.

    ``digests`` says what is computed: ``sha256`` and ``blake3`` of files, ``tensors``. ``main`` names the file that
    holds the model where several do. ``follow`` reads links that lead out of the folder. ``as_files`` looks into no
    file. ``on_read`` is told of the bytes read, from several threads. ``threads`` is the number of files read at
    once, by default one for each core; 1 computes everything in the calling thread.

    Raises:
        ArtifactError: FILE-nn, INDEX-nn, MODEL-01, TENSOR-nn, WEIGHTS-nn.
    """
    wanted = frozenset(digests)
    listed = list_model(path, follow=follow)
    job = _Job(listed, frozenset(wanted - {"tensors"} if as_files else wanted), cache, on_read, parallel=threads != 1)
    files = job.run(min(threads or os.cpu_count() or 1, _WORKERS_MAX))
    model = choose_model(path, files, main) if "tensors" in job.digests else None
    return ModelMeasured(
        name=path.name or path.resolve().name,
        format=FILES_FORMAT if model is None else model.format,
        tensors=() if model is None else tuple(sort_tensors(model.tensors)),
        optimizer=tuple(sort_tensors(name_optimizer(files))),
        files=files,
        metadata={} if model is None else model.metadata,
        reused=sum(file.reused for file in files),
    )


class _StoppedError(Exception):
    """Another file failed, or the user had enough."""


class _Job:
    def __init__(
        self,
        places: Mapping[str, Path],
        digests: frozenset[Digest],
        cache: Cache | None,
        on_read: Progress,
        *,
        parallel: bool,
    ) -> None:
        self.digests = digests
        self._places = places
        self._cache = cache
        self._tell = on_read
        self._parallel = parallel
        self._stop = Event()

    def run(self, workers: int) -> tuple[HashedFile, ...]:
        """Digest all files, the largest first; return them in the order of their names."""
        if workers == 1 or len(self._places) == 1:
            return self._check([self._hash(name) for name in self._places])
        sizes = {name: self._find_size(name) for name in self._places}
        with ThreadPoolExecutor(workers) as pool:
            futures = {name: pool.submit(self._hash, name) for name in sorted(sizes, key=lambda name: -sizes[name])}
            try:
                done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                return self._check([futures[name].result() for name in self._places])
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def _on_read(self, count: int) -> None:
        if self._stop.is_set():
            raise _StoppedError
        self._tell(count)

    def _find_size(self, name: str) -> int:
        place = self._places.get(name)
        if place is None:
            refuse("WEIGHTS-52", f"names {quote(name)}, which is not there")
        try:
            return place.stat().st_size
        except OSError as error:
            raise refusal("FILE-01", f"{quote(str(place))} cannot be read: {error.strerror}") from error

    def _hash(self, name: str) -> HashedFile:
        started_ns = time.time_ns()
        with open_file(name, self._places[name]) as file:
            known = self._recall(file)
            if known is not None:
                self._on_read(file.size)
                return known
            container = index = None
            if "tensors" in self.digests:
                container = read_container(name, file, self._find_size)
                index = read_index(name, file) if is_index(name) else None
            hashed = self._read(file, container, index)
        if self._cache is not None and index is None:
            self._cache.keep(hashed, self.digests, started_ns)
        return hashed

    def _recall(self, file: OpenFile) -> HashedFile | None:
        known = None if self._cache is None else self._cache.find(file.name, file.key, self.digests)
        if known is None:
            return None
        for name, key in known.beside:
            if name not in self._places:
                return None
            with open_file(name, self._places[name]) as other:
                if other.key != key:
                    return None
        return known

    def _read(self, file: OpenFile, container: Container | None, index: Mapping[str, str] | None) -> HashedFile:
        placed = () if container is None else container.tensors
        sources = {one.source for one in placed}
        self._check_length(file, sources)
        runs = [(one.begin, one.end) for one in sources if isinstance(one, Span) and one.file == file.name]
        found = hash_file(file, runs, self.digests, self._on_read, parallel=self._parallel)
        contents: dict[Source, bytes | None] = {}
        beside = list[tuple[str, Key]]()
        for name in sorted({one.file for one in sources}):
            there = [one for one in sources if one.file == name]
            if name == file.name:
                contents |= {one: self._digest(one, file, found.runs) for one in there}
                continue
            with open_file(name, self._places[name]) as other:
                contents |= {one: self._digest(one, other, {}) for one in there}
                beside.append((name, other.key))
        tensors = list[HashedTensor]()
        for one in placed:
            content = contents[one.source]
            if content is None:
                refuse("FILE-05", f"{quote(file.name)} changed while it was read")
            tensors.append(HashedTensor(Tensor(one.name, one.dtype, one.shape, content), one.role))
        return HashedFile(
            file.name,
            file.key,
            found.sha256,
            found.blake3,
            None if container is None else container.format,
            tuple(tensors),
            {} if container is None else container.metadata,
            index,
            tuple(beside),
        )

    def _digest(self, source: Source, file: OpenFile, runs: Mapping[Run, bytes]) -> bytes | None:
        if isinstance(source, Span) and runs:
            return runs.get((source.begin, source.end))
        from glasslog_lab.weights.sources import read_source

        state = blake3()
        for piece in read_source(source, file):
            if self._stop.is_set():
                raise _StoppedError
            state.update(piece)
        return state.digest()

    def _check_length(self, file: OpenFile, sources: Iterable[Source]) -> None:
        """Refuse tensors that say much more than there are bytes: views of views of one storage."""
        room = {name: self._find_size(name) for name in {one.file for one in sources}}
        most = CONTENT_FREE_BYTES + CONTENT_RATIO_MAX * sum(room.values())
        total = sum(one.length for one in sources)
        if total > most:
            refuse("WEIGHTS-17", f"{file.name}: its tensors come to {total} bytes, of files of {sum(room.values())}")

    def _check(self, files: Sequence[HashedFile]) -> tuple[HashedFile, ...]:
        """Refuse data beside a file that was another when it was digested itself."""
        keys = {file.name: file.key for file in files}
        for file in files:
            for name, key in file.beside:
                if keys.get(name) != key:
                    refuse("FILE-05", f"{quote(name)} changed while {quote(file.name)} was read")
        return tuple(files)
