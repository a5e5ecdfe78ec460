"""What may follow what in a step chain, for who makes one and for who judges one (C3 to C6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from glasslog import merkle
from glasslog.custody.records import (
    STATES,
    Counts,
    Event,
    Kind,
    Level,
    Record,
    RunEnd,
    RunStart,
    Segment,
    count_event,
)
from glasslog.errors import ProofError
from glasslog.merkle import HASH_BYTES

STEP_DOMAIN = b"glasslog/step/v1\x00"
_PAGE_STEPS = 64
_NOTHING = bytes(_PAGE_STEPS * HASH_BYTES)


class Roots:
    """The parameters' root after each step, as far as recorded: about 35 bytes a step, for runs of millions.

    Kept in pages, since a stranger's chain may declare a gap of any length and go on behind it.
    """

    def __init__(self) -> None:
        self._pages = dict[int, bytearray]()

    def __getitem__(self, step: int) -> bytes | None:
        """Return the root after ``step``, None where it is not known."""
        page, at = divmod(step, _PAGE_STEPS)
        root = bytes(self._pages.get(page, _NOTHING)[at * HASH_BYTES : (at + 1) * HASH_BYTES])
        return root if any(root) else None

    def __setitem__(self, step: int, root: bytes) -> None:
        """Note the root after ``step``."""
        page, at = divmod(step, _PAGE_STEPS)
        held = self._pages.setdefault(page, bytearray(len(_NOTHING)))
        held[at * HASH_BYTES : (at + 1) * HASH_BYTES] = root

    def find(self, root: bytes) -> int | None:
        """Return the last step after which the parameters were these, None where there is none."""
        for page in sorted(self._pages, reverse=True):
            held, end = self._pages[page], len(_NOTHING)
            while (at := held.rfind(root, 0, end)) >= 0:
                if at % HASH_BYTES == 0:
                    return page * _PAGE_STEPS + at // HASH_BYTES
                end = at + HASH_BYTES - 1
        return None

    def forget_after(self, step: int) -> None:
        """Forget what came after ``step``: it is done again."""
        page, at = divmod(step + 1, _PAGE_STEPS)
        for later in [one for one in self._pages if one > page]:
            del self._pages[later]
        if page in self._pages:
            self._pages[page][at * HASH_BYTES :] = bytes(len(_NOTHING) - at * HASH_BYTES)


@dataclass(slots=True)
class Chain:
    """The state of one run's chain: what may come next, and what it makes of it (C3, C4, C5)."""

    start: RunStart
    number: int = 0
    step: int = 0
    head: bytes = b""
    params: bytes | None = None
    closed: bool = False
    known: Roots = field(default_factory=Roots)
    segment: int = 0
    _pending: list[bytes] = field(default_factory=list[bytes])
    _first_step: int | None = None
    _previous: bytes = b""
    _counts: Counts = field(default_factory=Counts)
    _run: bytes = b""

    def __post_init__(self) -> None:
        self._run = self.head = self._previous = self.start.run
        self.params = self.start.initial_params
        if self.params is not None:
            self.known[0] = self.params

    @property
    def pending(self) -> int:
        """How many records the open segment has."""
        return len(self._pending)

    def extend(self, event: Event) -> bytes:
        """Chain ``event`` and return its record.

        Raises:
            DecodeError: STEP-01, it does not fit the format.
            ProofError: STEP-04 to STEP-08, as ``check``.
        """
        data = self.make(event)
        self.accept(event, data)
        return data

    def make(self, event: Event) -> bytes:
        """Return the record that ``event`` would be; raises as ``extend``. A writer accepts it once it is written."""
        self.check(event)
        return Record(self._run, self.number, self.head, event).encode()

    def verify(self, data: bytes) -> Record:
        """Check that ``data`` is the next record and go on to the state after it.

        Raises:
            DecodeError: CBOR-nn, STEP-01.
            ProofError: STEP-02 another run's, STEP-03 not the next, STEP-04 to STEP-08 as ``check``.
        """
        record = Record.decode(data)
        if record.run != self._run:
            raise ProofError("STEP-02", f"record {self.number} belongs to another run")
        if (record.number, record.previous) != (self.number, self.head):
            raise ProofError("STEP-03", f"record {record.number} does not follow record {self.number - 1}")
        self.check(record.event)
        self.accept(record.event, data)
        return record

    def check(self, event: Event) -> None:
        """Check that ``event`` may come next.

        Raises:
            ProofError: STEP-04 the run is closed, STEP-05 another step was due, STEP-06 a count that is not so,
                STEP-07 parameters missing at L2, STEP-08 parameters that contradict those recorded.
        """
        kind, step = event.kind, event.step
        place = f"record {self.number} ({kind.name.lower()})"
        if self.closed and kind is not Kind.RESUME:
            raise ProofError("STEP-04", f"{place} follows the close of the run")
        going_back = kind in (Kind.RESUME, Kind.ROLLBACK)
        due = self.step + 1 if kind in (Kind.STEP, Kind.SKIP, Kind.GAP) or going_back else self.step
        if not (1 <= step <= due if going_back else step == due):
            raise ProofError("STEP-05", f"{place} is about step {step}; step {due} was due")
        count = due - step if going_back else None if kind is Kind.GAP else 0
        if count is not None and event.count != count:
            raise ProofError("STEP-06", f"{place} states {event.count} steps; there are {count}")
        self._check_committed(event, place)
        standing = (self.known[step - 1] if step else None) if going_back else self.params
        contradicts = event.params is not None and standing is not None and event.params != standing
        if kind not in (Kind.STEP, Kind.GAP) and contradicts:
            raise ProofError("STEP-08", f"{place} at step {step} has other parameters than were recorded there")

    def _check_committed(self, event: Event, place: str) -> None:
        if event.kind is Kind.STEP:
            needed = self.start.commits
        elif event.kind is Kind.CHECKPOINT and self.start.level is Level.L2:
            needed = STATES[:1]
        else:
            return
        roots = zip(STATES, (event.params, event.gradients, event.optimizer), strict=True)
        missing = [state for state, root in roots if root is None and state in needed]
        if missing:
            raise ProofError("STEP-07", f"{place} of step {event.step} commits to no {missing[0]}, as the run has to")

    def seal(self, ended: int) -> Segment:
        """End the open segment, at ``ended`` (seconds since 1970), and return it; it has at least one record."""
        segment = self.open_segment(ended)
        self.segment += 1
        self._pending, self._counts, self._first_step, self._previous = [], Counts(), None, self.head
        return segment

    def open_segment(self, ended: int) -> Segment:
        """Return the segment that the records since the last one make."""
        if not self._pending:
            raise ValueError("a segment without records")
        return Segment(
            run=self._run, index=self.segment, first_record=self.number - len(self._pending),
            last_record=self.number - 1, first_step=self._first_step or 0, last_step=self.step,
            previous=self._previous, head=self.head, steps_root=merkle.root(merkle.hash_leaves(self._pending)),
            params=self.params, counts=self._counts, ended=ended, closed=self.closed,
        )  # fmt: skip

    def accept(self, event: Event, data: bytes) -> None:
        """Go on to the state after ``event``, whose record ``make`` returned as ``data``."""
        kind = event.kind
        self.number += 1
        self.head = sha256(STEP_DOMAIN + data).digest()
        self._pending.append(data)
        self._counts += count_event(event)
        if self._first_step is None:
            self._first_step = event.step
        self.closed = kind is Kind.CLOSE
        if kind is Kind.STEP:
            self.step, self.params = event.step, event.params
        elif kind is Kind.GAP:
            self.step, self.params = event.step + event.count - 1, None
        elif kind in (Kind.RESUME, Kind.ROLLBACK):
            self.step = event.step - 1
            self.params = event.params
            self.known.forget_after(self.step)
        elif event.params is not None:
            self.params = event.params
        if self.params is not None:
            self.known[self.step] = self.params


def verify_segment(chain: Chain, records: Iterable[bytes], ended: int) -> Segment:
    """Check that ``records`` continue ``chain`` and return the segment they make; its end's time is only stated.

    Raises:
        DecodeError, ProofError: as ``Chain.verify``; STEP-09 no record.
    """
    for data in records:
        chain.verify(data)
    if not chain.pending:
        raise ProofError("STEP-09", "a segment has no record")
    return chain.seal(ended)


def verify_run(start: RunStart, segments: Iterable[tuple[Segment, Sequence[bytes]]]) -> RunEnd:
    """Check published segments against their records, from the start on, and return what the run shows.

    Raises:
        DecodeError, ProofError: as ``verify_segment``; STEP-10 a segment is not what its records make.
    """
    chain, total = Chain(start), Counts()
    for stated, records in segments:
        if verify_segment(chain, records, stated.ended) != stated:
            raise ProofError("STEP-10", f"segment {stated.index} is not what its records make")
        total += stated.counts
    return end_of(chain, total)


def verify_segments(start: RunStart, segments: Iterable[Segment]) -> RunEnd:
    """Check, without records, that published segments join without a break, and return what they state.

    Raises:
        ProofError: STEP-02 another run's, STEP-11 a segment that does not follow the one before it.
    """
    chain, total = Chain(start), Counts()
    for stated in segments:
        if stated.run != start.run:
            raise ProofError("STEP-02", f"segment {stated.index} belongs to another run")
        if (stated.index, stated.previous, stated.first_record) != (chain.segment, chain.head, chain.number):
            raise ProofError("STEP-11", f"segment {stated.index} does not follow segment {chain.segment - 1}")
        chain.segment, chain.head, chain.number = stated.index + 1, stated.head, stated.last_record + 1
        chain.step, chain.params, chain.closed = stated.last_step, stated.params, stated.closed
        total += stated.counts
    return end_of(chain, total)


def end_of(chain: Chain, total: Counts) -> RunEnd:
    """Return the run as far as ``chain`` has come; ``total`` counts it all."""
    return RunEnd(
        run=chain.start.run, level=chain.start.level, head=chain.head, last_step=chain.step, params=chain.params,
        segments=chain.segment, counts=total, closed=chain.closed,
        from_known=chain.start.initial_params is not None,
    )  # fmt: skip
