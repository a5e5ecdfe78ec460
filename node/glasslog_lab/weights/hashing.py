"""One pass over a file for all its digests: SHA-256 and BLAKE3 of the whole, BLAKE3 of every tensor on the way (K7).

Every byte is read once, so all digests are of the same bytes. The slowest digest works in a thread of its own, beside
the reading and the others: with two cores a pass takes as long as that digest alone. Memory is a few windows a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import Literal, NamedTuple, Protocol, TypeAlias

from blake3 import blake3

from glasslog_lab.weights.files import OpenFile, Progress

Digest: TypeAlias = Literal["sha256", "blake3", "tensors"]
DIGESTS: frozenset[Digest] = frozenset({"sha256", "blake3", "tensors"})

WINDOW_BYTES = 1 << 20
SLOT_BYTES = 4 << 20  # larger where a thread hands over to another: each handing over may wait for a busy core
_SLOTS = 4
Run: TypeAlias = tuple[int, int]  # bytes [begin, end) of a file


class Sink(Protocol):
    """What is fed a file's bytes in order."""

    def update(self, data: memoryview, /) -> object:
        """Take the next bytes."""
        ...


class Digests(NamedTuple):
    """The digests of one file, those not asked for None, and the BLAKE3 of each run."""

    sha256: bytes | None
    blake3: bytes | None
    runs: dict[Run, bytes]


class RunHasher:
    """The BLAKE3 of runs of a stream, in one pass; they may overlap, and equal ones are hashed once."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._waiting = sorted(set(runs), reverse=True)
        self._open = list[tuple[Run, blake3]]()
        self._at = 0
        self.digests = dict[Run, bytes]()

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes of the stream."""
        begin, self._at = self._at, self._at + len(data)
        going = list[tuple[Run, blake3]]()
        for run, state in self._open:
            state.update(data[: run[1] - begin])
            self._keep(run, state, going)
        waiting = self._waiting
        while waiting and waiting[-1][0] < self._at:
            run = waiting.pop()
            self._keep(run, blake3(data[run[0] - begin : run[1] - begin]), going)
        self._open = going

    def finish(self) -> dict[Run, bytes]:
        """Return the digests by run; those that the stream was too short for are left out."""
        self.digests |= {run: blake3().digest() for run in self._waiting if run[0] == run[1]}
        return self.digests

    def _keep(self, run: Run, state: blake3, going: list[tuple[Run, blake3]]) -> None:
        if run[1] <= self._at:
            self.digests[run] = state.digest()
        else:
            going.append((run, state))


def hash_file(
    file: OpenFile, runs: Iterable[Run], digests: Iterable[Digest], on_read: Progress, *, parallel: bool = True
) -> Digests:
    """Read a file once and return its digests, and those of the runs where ``tensors`` are among ``digests``.

    With ``parallel``, one of the digests is computed in another thread; a file of one window never is.

    Raises:
        OSError: it cannot be read. Bytes that are missing at the end are noticed when it is closed.
    """
    wanted = frozenset(digests)
    whole_sha, whole_blake, by_run = sha256(), blake3(), RunHasher(runs if "tensors" in wanted else ())
    sinks = list[Sink]()
    if "sha256" in wanted:
        sinks.append(whole_sha)
    if "blake3" in wanted:
        sinks.append(whole_blake)
    if "tensors" in wanted:
        sinks.append(by_run)
    if parallel and file.size > WINDOW_BYTES and sinks:
        _stream_beside(file, sinks[0], sinks[1:], on_read)
    else:
        _stream(file, sinks, on_read)
    return Digests(
        whole_sha.digest() if "sha256" in wanted else None,
        whole_blake.digest() if "blake3" in wanted else None,
        by_run.finish(),
    )


def _stream(file: OpenFile, sinks: Sequence[Sink], on_read: Progress) -> None:
    window = memoryview(bytearray(min(WINDOW_BYTES, max(file.size, 1))))
    at = 0
    while count := file.read_into(window, at):
        for sink in sinks:
            sink.update(window[:count])
        at += count
        on_read(count)


def _stream_beside(file: OpenFile, slow: Sink, rest: Sequence[Sink], on_read: Progress) -> None:
    file.expect_sequential()
    slots = [memoryview(bytearray(SLOT_BYTES)) for _ in range(_SLOTS)]
    pending = deque[Future[object]]()
    at = number = 0
    with ThreadPoolExecutor(1) as beside:
        while True:
            if len(pending) == _SLOTS:
                pending.popleft().result()  # the oldest is of the slot that comes next
            window = slots[number % _SLOTS]
            if not (count := file.read_into(window, at)):
                break
            pending.append(beside.submit(slow.update, window[:count]))
            for sink in rest:
                sink.update(window[:count])
            at, number = at + count, number + 1
            on_read(count)
        for future in pending:
            future.result()
