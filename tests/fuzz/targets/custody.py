"""Step chains and journals that somebody else wrote: records, starts, segments, whole journal files."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import isnan
from random import Random

from fuzz.mutators import mutate_bytes, mutate_cbor
from fuzz.target import Target, accepted
from glasslog.custody import Chain, Event, Kind, Level, Record, RunStart, Segment, verify_run
from glasslog_lab.errors import ArtifactError
from glasslog_lab.recorder.journal import BOUNDARY, MAGIC, RECORD, START, frame, parse_journal

_START = RunStart(
    name="run", level=Level.L2, commits=("parameters",), salt=bytes(32), seed=3, environment={"python": "3"}
)


@lru_cache(1)
def _made() -> tuple[list[bytes], list[Segment], bytes]:
    chain, records, segments = Chain(_START), list[bytes](), list[Segment]()
    file = MAGIC + frame(START, _START.encode())
    story = [(Kind.STEP, 1, 0), (Kind.SKIP, 2, 0), (Kind.STEP, 2, 0), (Kind.RESUME, 2, 1), (Kind.GAP, 2, 3)]
    for number, (kind, step, count) in enumerate([*story, (Kind.CLOSE, 4, 0)]):
        params = bytes([step]) * 32 if kind is Kind.STEP else None
        event = Event(kind=kind, step=step, count=count, params=params, values={"loss": 0.5}, flop=1 << 70)
        records.append(chain.extend(event))
        file += frame(RECORD, records[-1])
        if number % 2:
            segments.append(chain.seal(number))
            file += frame(BOUNDARY, segments[-1].encode())
    return records, segments, file


def run_record(data: bytes) -> None:
    record = Record.decode(data)
    with accepted():
        if not any(isnan(value) for value in record.event.values.values()):  # a NaN's payload need not survive
            assert record.encode() == data, "accepted, and encoded otherwise"


def run_start(data: bytes) -> None:
    start = RunStart.decode(data)
    with accepted():
        assert start.encode() == data, "accepted, and encoded otherwise"


def run_segment(data: bytes) -> None:
    segment = Segment.decode(data)
    with accepted():
        assert segment.encode() == data, "accepted, and encoded otherwise"


def run_journal(data: bytes) -> None:
    journal = parse_journal(data, "journal")
    with accepted():
        assert journal.size + journal.torn == len(data)
        sealed = [*journal.segments]
        if journal.open_records:
            sealed.append((journal.chain.seal(0), journal.open_records))
        end = verify_run(journal.chain.start, sealed)
        assert (end.head, end.counts) == (journal.end.head, journal.end.counts), "two readers disagree"


def _mutate_frames(change: Callable[[bytes, Random], bytes]) -> Callable[[bytes, Random], bytes]:
    def mutate(data: bytes, rng: Random) -> bytes:
        frames, at = list[bytes](), len(MAGIC)
        while at + 8 < len(data):
            end = at + 8 + int.from_bytes(data[at : at + 4], "big")
            frames.append(data[at + 8 : end])
            at = end
        if not frames:
            return mutate_bytes(data, rng)
        place = rng.randrange(len(frames))
        frames[place] = frames[place][:1] + change(frames[place][1:], rng)
        return MAGIC + b"".join(frame(one[:1], one[1:]) for one in frames)

    return mutate


TARGETS = (
    Target("custody-record", run_record, lambda: _made()[0], mutators=(mutate_cbor,), size_max=1_024),
    Target("custody-start", run_start, lambda: [_START.encode()], mutators=(mutate_cbor,), size_max=1_024),
    Target(
        "custody-segment",
        run_segment,
        lambda: [one.encode() for one in _made()[1]],
        mutators=(mutate_cbor,),
        size_max=1_024,
    ),
    Target(
        "custody-journal",
        run_journal,
        lambda: [_made()[2]],
        allowed=(ArtifactError,),
        tokens=(MAGIC, bytes(8)),
        mutators=(_mutate_frames(mutate_cbor), mutate_bytes),
    ),
)
