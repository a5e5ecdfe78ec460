"""Sorting more keys than fit in memory: sorted runs in files that have no name, merged by ranges of keys.

An entry is a key of 32 bytes and how often it came, 8 bytes. Nothing is assumed about how keys are distributed:
whoever contributes records to a data set can choose digests that begin alike.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from struct import iter_unpack
from typing import BinaryIO

from glasslog_lab.datasets.refusals import refusal

ENTRY_BYTES = 40
RUN_KEYS = 400_000
RUNS_MAX = 48  # merged at once
_BUFFER_ENTRIES = 300_000  # of all runs together
_ONCE = (1).to_bytes(8, "big")
_AFTER_ANY_COUNT = b"\xff" * 8


class KeySorter:
    """Takes keys in any order; gives each once, in order, with its count."""

    def __init__(self, tmp: Path | None, *, run_keys: int = RUN_KEYS) -> None:
        self._tmp = tmp
        self._run_keys = run_keys
        self._keys: list[bytes] = []
        self._runs: list[BinaryIO] = []

    def add(self, keys: Sequence[bytes]) -> None:
        """Take more keys.

        Raises:
            ArtifactError: DATA-29 no room for temporary files.
        """
        self._keys += keys
        if len(self._keys) >= self._run_keys:
            self._write_run(iter([_sort(self._keys)]))
            self._keys = []
            if len(self._runs) >= RUNS_MAX:
                merged, self._runs = self._runs, []
                self._write_run(_merge(merged))

    def entries(self) -> Iterator[list[bytes]]:
        """Yield all entries in ascending order of their keys, in lists; the sorter is empty afterwards."""
        last, self._keys = _sort(self._keys), []
        runs, self._runs = self._runs, []
        if not runs:
            yield last
            return
        if last:
            self._write_run(iter([last]))
            del last
            runs, self._runs = runs + self._runs, []
        try:
            yield from _merge(runs)
        except OSError as error:
            raise refusal("DATA-29", f"a temporary file cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Forget everything, and the files."""
        for run in self._runs:
            run.close()
        self._keys, self._runs = [], []

    def _write_run(self, batches: Iterator[list[bytes]]) -> None:
        try:
            run = tempfile.TemporaryFile(dir=self._tmp)  # noqa: SIM115  it lives as long as the sorter
            self._runs.append(run)
            for batch in batches:
                run.write(b"".join(batch))
            run.seek(0)
        except OSError as error:
            self.close()
            raise refusal("DATA-29", f"a temporary file cannot be written: {error.strerror}") from error


def _sort(keys: list[bytes]) -> list[bytes]:
    counts = Counter(keys)
    if len(counts) == len(keys):
        return [key + _ONCE for key in sorted(keys)]
    return [key + counts[key].to_bytes(8, "big") for key in sorted(counts)]


class _Run:
    """A sorted run and the entries of it that are in memory."""

    def __init__(self, file: BinaryIO, buffer: int) -> None:
        self._file = file
        self._bytes = buffer * ENTRY_BYTES
        self.entries: list[bytes] = []
        self.ended = False
        self.fill()

    def fill(self) -> None:
        """Read more where no entry is left."""
        if not self.entries and not self.ended:
            data = self._file.read(self._bytes)
            self.entries = [entry for (entry,) in iter_unpack("40s", data)]
            if len(data) < self._bytes:
                self.ended = True
                self._file.close()

    def take(self, up_to: bytes) -> list[bytes]:
        """Remove and return the entries whose keys are not above ``up_to``."""
        if self.entries and self.entries[-1] <= up_to:
            taken, self.entries = self.entries, []
            return taken
        at = bisect_right(self.entries, up_to)
        taken, self.entries = self.entries[:at], self.entries[at:]
        return taken


def _merge(files: Sequence[BinaryIO]) -> Iterator[list[bytes]]:
    runs = [_Run(file, max(256, _BUFFER_ENTRIES // len(files))) for file in files]
    while runs := [run for run in runs if run.entries]:
        # Up to here every run has in memory all that it holds.
        bounds = [run.entries[-1] for run in runs if not run.ended] or [max(run.entries[-1] for run in runs)]
        up_to = min(bounds)[:32] + _AFTER_ANY_COUNT
        batch = [entry for run in runs for entry in run.take(up_to)]
        batch.sort()  # which finds the runs and merges them
        if len({entry[:32] for entry in batch}) < len(batch):
            batch = [_add_up(list(group)) for _, group in groupby(batch, key=lambda entry: entry[:32])]
        yield batch
        for run in runs:
            run.fill()


def _add_up(entries: list[bytes]) -> bytes:
    return entries[0][:32] + sum(int.from_bytes(entry[32:], "big") for entry in entries).to_bytes(8, "big")
