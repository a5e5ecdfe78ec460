"""The recorder's background thread: chains events, writes them, ends segments.

What cannot be written is lost, and said to be: step numbers show what is missing, and the next record that can be
written is preceded by a declared gap (specs/custody.md, C5). Nothing here ever stops.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from glasslog.custody import Chain, Counts, Event, Kind, count_event
from glasslog.errors import ProtocolError
from glasslog_lab.recorder.journal import BOUNDARY, RECORD, JournalFile

QUEUE_MAX = 4_096
SYNC_SECONDS = 1.0
_LAST = Kind.CHECKPOINT, Kind.CLOSE  # end the segment of the step they are about, also where it is full


class Writer:
    """Owns the chain. ``put`` never blocks; ``finish`` waits a bounded time."""

    def __init__(self, chain: Chain, file: JournalFile, *, every: int, seconds: float) -> None:
        self.counts = Counts()
        self.faults: list[str] = []
        self._chain, self._file = chain, file
        self._every, self._seconds = every, seconds
        self._queue = queue.Queue[Event | None](QUEUE_MAX)
        self._lost = 0  # events that found the queue full
        self._kept = False  # the last record is a checkpoint: its parameters are the end of a segment
        self._synced = self._ended = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="glasslog-recorder", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Hand over an event; where the queue is full it becomes part of a gap."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._lost += 1
            self._note("the queue of events is full")

    def finish(self, timeout: float) -> bool:
        """Write what is queued, end the segment and stop. Whether that was done within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return False
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        running = True
        while running:
            try:
                event = self._queue.get(timeout=SYNC_SECONDS)
            except queue.Empty:
                self._guarded(self._do_due)
                continue
            running = event is not None
            self._guarded(partial(self._take, event))
            self._queue.task_done()
        self._file.close()

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (OSError, ProtocolError) as error:
            self._note(str(error))
        except Exception as error:  # noqa: BLE001  our own bug is a gap in the chain, never an end of the training
            self._note(f"{type(error).__name__}: {error}")

    def _take(self, event: Event | None) -> None:
        if event is None:
            self._end_segment()
        else:
            if self._chain.pending >= self._every and event.kind not in _LAST:
                self._end_segment()
            try:
                self._record(event)
            except Exception:
                self._lost += event.kind not in (Kind.STEP, Kind.CLOSE)  # whose absence their numbers show
                raise
        self._do_due()

    def _record(self, event: Event) -> None:
        if not self._file.is_open:
            self._file.open(self._chain.start)
        for one in self._bridge(event):
            data = self._chain.make(one)
            self._file.append(RECORD, data)
            self._chain.accept(one, data)
            self.counts += count_event(one)
            self._kept = one.kind is Kind.CHECKPOINT

    def _bridge(self, event: Event) -> Iterator[Event]:
        """Yield the event, behind a declared gap where steps before it are missing."""
        chain = self._chain
        due = event.step - (event.kind in (Kind.STEP, Kind.SKIP, Kind.GAP, Kind.RESUME, Kind.ROLLBACK))
        if chain.closed and event.kind is not Kind.RESUME:
            yield Event(kind=Kind.RESUME, step=chain.step + 1, reason="the run went on after its close")
        if due < chain.step and event.kind not in (Kind.RESUME, Kind.ROLLBACK):
            reason = "the record of an earlier rollback was lost"
            yield Event(kind=Kind.ROLLBACK, step=due + 1, count=chain.step - due, reason=reason)
        if due > chain.step or self._lost:
            lost, missing = self._lost, max(0, due - chain.step)
            why = self.faults[-1] if self.faults else "not recorded"
            yield Event(kind=Kind.GAP, step=chain.step + 1, count=missing, reason=f"events lost: {why}"[:200])
            self._lost -= lost
        yield event

    def _do_due(self) -> None:
        now, chain = time.monotonic(), self._chain
        if self._kept or chain.closed or (chain.pending and now - self._ended >= self._seconds):
            self._end_segment()
        if now - self._synced >= SYNC_SECONDS:
            self._synced = now
            self._file.sync()

    def _end_segment(self) -> None:
        if self._chain.pending:
            now = int(time.time())
            self._file.append(BOUNDARY, self._chain.open_segment(now).encode())
            self._chain.seal(now)
        self._kept = False
        self._ended = time.monotonic()
        self._file.sync()

    def _note(self, fact: str) -> None:
        if not self.faults or self.faults[-1] != fact:
            self.faults = [*self.faults[-9:], fact]
