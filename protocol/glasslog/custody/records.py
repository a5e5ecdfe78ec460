"""What is written of a training: its start, one record a step, and the segments that are published (C1 to C6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from hashlib import sha256
from struct import pack, unpack
from typing import cast

from glasslog import codec
from glasslog.errors import DecodeError

RECORD_BYTES_MAX = 16_384
START_BYTES_MAX = 60_000
REASON_MAX = 200
VALUES_MAX = 64
FLOP_BYTES_MAX = 16
RUN_DOMAIN = b"glasslog/run/v1\x00"
VERSION = 1
STATES = "parameters", "gradients", "optimizer"


class Level(IntEnum):
    """What each step commits to (C2). Only L2 may say that every update is committed."""

    L0 = 0  # metadata: batch, seeds, loss, hyperparameters
    L2 = 2  # and all parameters


class Kind(IntEnum):
    """What a record says happened (C4)."""

    STEP = 1  # an update
    SKIP = 2  # an attempt that changed nothing
    GAP = 3  # ``count`` updates of which nothing is known
    RESUME = 4  # another process goes on; ``step`` is the first it does, ``count`` recorded ones are done again
    ROLLBACK = 5  # the same process goes back; as RESUME
    CHECKPOINT = 6  # the state after ``step`` was kept
    CLOSE = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """What is committed before the first update (C1). Its hash is the run's id, and the chain's first head.

    ``commits`` are the states every step's record has a root of, some of ``STATES`` in their order; ``parameters`` at
    L2 and not at L0. ``salt`` is 32 random bytes, ``started`` seconds since 1970. ``data_order`` commits to the order
    of the data: an order root, or the digest of seed and sampler state. ``environment`` and ``hyperparameters`` are
    text: organisations and versions, never persons.
    """

    name: str
    level: Level
    commits: tuple[str, ...]
    salt: bytes
    started: int = 0
    seed: int | None = None
    data_order: bytes | None = None
    dataset: bytes | None = None
    initial_params: bytes | None = None
    world_size: int = 1
    rank: int = 0
    hyperparameters: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def run(self) -> bytes:
        """The run's id: SHA-256 of the start's bytes under their domain."""
        return sha256(RUN_DOMAIN + self.encode()).digest()

    def encode(self) -> bytes:
        """Return the canonical bytes.

        Raises:
            DecodeError: STEP-01, what is stated does not fit the format.
        """
        data = _encode_bounded([VERSION, *_plain(self)], START_BYTES_MAX)
        self.decode(data)  # what no reader would take is never written
        return data

    @classmethod
    def decode(cls, data: bytes) -> RunStart:
        """Return the start that ``data`` encodes.

        Raises:
            DecodeError: CBOR-nn, STEP-01.
        """
        items = _read_array(data, START_BYTES_MAX, 14)
        name, level, commits, salt, started, seed, order, dataset, initial, size, rank, hyper, environment = items[1:]
        _need(isinstance(name, str) and 0 < len(name) <= REASON_MAX, "its name")
        _need(level in (0, 2) and isinstance(level, int) and not isinstance(level, bool), "its level")
        stated = tuple(map(str, commits)) if isinstance(commits, list) else ()
        _need(commits == [one for one in STATES if one in stated], "what it commits to")
        _need((STATES[0] in stated) == (level == Level.L2), "what it commits to at its level")
        _need(_is_hash(salt) and _is_count(started), "its salt or time")
        _need(seed is None or _is_int(seed), "its seed")
        _need(all(value is None or _is_hash(value) for value in (order, dataset, initial)), "a root")
        _need(_is_count(size) and _is_count(rank) and int(rank) < int(size), "its world size and rank")  # type: ignore[arg-type]  # both are counts
        return cls(
            name=str(name), level=Level(int(level)), commits=stated, salt=salt, started=started, seed=seed,  # type: ignore[arg-type]  # checked above
            data_order=order, dataset=dataset,  # type: ignore[arg-type]  # checked above
            initial_params=initial, world_size=size, rank=rank,  # type: ignore[arg-type]  # checked above
            hyperparameters=_read_texts(hyper), environment=_read_texts(environment),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a recorder is told of one step, before it is chained. Roots are 32 bytes or None: not committed.

    ``values`` (loss, lr, clip ...) are committed as their binary64 bits, so NaN and infinity have their place.
    """

    kind: Kind
    step: int
    count: int = 0
    epoch: int = 0
    batch: bytes | None = None
    rng: bytes | None = None
    gradients: bytes | None = None
    params: bytes | None = None
    optimizer: bytes | None = None
    tokens: int = 0
    flop: int = 0
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One link: an event, its place in the run and the head before it."""

    run: bytes
    number: int
    previous: bytes
    event: Event

    def encode(self) -> bytes:
        """Return the canonical bytes.

        Raises:
            DecodeError: STEP-01, what is stated does not fit the format.
        """
        event = self.event
        bits: codec.Map = {name: pack(">d", value) for name, value in event.values.items()}
        flop = event.flop.to_bytes((event.flop.bit_length() + 7) // 8, "big")
        items: list[codec.Value] = [
            VERSION, self.run, self.number, self.previous, int(event.kind), event.step, event.count, event.epoch,
            event.batch, event.rng, event.gradients, event.params, event.optimizer, event.tokens, flop, bits,
            event.reason,
        ]  # fmt: skip
        data = _encode_bounded(items, RECORD_BYTES_MAX)
        self.decode(data)  # what no reader would take is never written
        return data

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Return the record that ``data`` encodes.

        Raises:
            DecodeError: CBOR-nn, STEP-01.
        """
        items = _read_array(data, RECORD_BYTES_MAX, 17)
        _, run, number, previous, kind, step, count, epoch, *roots, tokens, flop, bits, reason = items
        _need(_is_hash(run) and _is_hash(previous), "its run or previous head")
        _need(all(_is_count(value) for value in (number, step, count, epoch, tokens)), "a number")
        _need(_is_count(kind) and kind in _KINDS, "its kind")
        _need(all(value is None or _is_hash(value) for value in roots), "a root")
        _need(isinstance(flop, bytes) and len(flop) <= FLOP_BYTES_MAX and flop[:1] != b"\x00", "its FLOP")
        _need(isinstance(reason, str) and len(reason) <= REASON_MAX, "its reason")
        batch, rng, gradients, params, optimizer = roots
        event = Event(
            kind=Kind(kind), step=step, count=count, epoch=epoch, batch=batch, rng=rng, gradients=gradients,  # type: ignore[arg-type]  # checked above
            params=params, optimizer=optimizer, tokens=tokens, flop=int.from_bytes(flop, "big"),  # type: ignore[arg-type]  # checked above
            values=_read_bits(bits), reason=reason,  # type: ignore[arg-type]  # checked above
        )  # fmt: skip
        return cls(run, number, previous, event)  # type: ignore[arg-type]  # checked above


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a stretch of a chain holds. ``redone`` steps were recorded before, ``missing`` ones never (C5).

    ``unbound`` are resumes and rollbacks that do not state the parameters they went on with.
    """

    steps: int = 0
    skips: int = 0
    gaps: int = 0
    missing: int = 0
    resumes: int = 0
    rollbacks: int = 0
    redone: int = 0
    unbound: int = 0
    checkpoints: int = 0
    tokens: int = 0
    flop: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of records as it is published (C6): what a ``training-segment`` statement carries.

    ``first_step`` is the first step that the segment does and ``last_step`` where it ends; records count from 0.
    ``steps_root`` is the RFC 9162 root over the records; ``params`` the parameters at the end, where known; ``ended``
    the recorder's clock, in seconds since 1970.
    """

    run: bytes
    index: int
    first_record: int
    last_record: int
    first_step: int
    last_step: int
    previous: bytes
    head: bytes
    steps_root: bytes
    params: bytes | None
    counts: Counts
    ended: int
    closed: bool = False

    def encode(self) -> bytes:
        """Return the canonical bytes, as they are spooled.

        Raises:
            DecodeError: STEP-01.
        """
        counts = [getattr(self.counts, one.name) for one in fields(Counts)]
        flop = counts.pop()
        wide: list[codec.Value] = [*counts, flop.to_bytes((flop.bit_length() + 7) // 8, "big")]
        items = [getattr(self, one.name) for one in fields(self)]
        return _encode_bounded([VERSION, *items[:-3], wide, self.ended, self.closed], RECORD_BYTES_MAX)

    @classmethod
    def decode(cls, data: bytes) -> Segment:
        """Return the segment that ``data`` encodes.

        Raises:
            DecodeError: CBOR-nn, STEP-01.
        """
        items = _read_array(data, RECORD_BYTES_MAX, 14)
        run, index, first, last, first_step, last_step, previous, head, root, params, counts, ended, closed = items[1:]
        _need(all(_is_hash(value) for value in (run, previous, head, root)), "a hash")
        _need(params is None or _is_hash(params), "its parameters' root")
        _need(all(_is_count(value) for value in (index, first, last, first_step, last_step)), "a number")
        _need(_is_count(ended), "its time")
        _need(isinstance(closed, bool) and isinstance(counts, list) and len(counts) == 11, "its counts")
        *numbers, flop = counts if isinstance(counts, list) else []
        _need(all(_is_count(value) for value in numbers), "its counts")
        _need(isinstance(flop, bytes) and len(flop) <= FLOP_BYTES_MAX and flop[:1] != b"\x00", "its FLOP")
        _need(int(first) <= int(last), "the order of its records")  # type: ignore[arg-type]  # both are counts
        named = dict(zip([one.name for one in fields(Counts)], [*numbers, int.from_bytes(flop, "big")], strict=True))  # type: ignore[arg-type]  # checked above
        return cls(
            run=run, index=index, first_record=first, last_record=last, first_step=first_step, last_step=last_step,  # type: ignore[arg-type]  # checked above
            previous=previous, head=head, steps_root=root, params=params, counts=Counts(**named), ended=ended,  # type: ignore[arg-type]  # checked above
            closed=closed is True,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """The whole of a run as its records show it."""

    run: bytes
    level: Level
    head: bytes
    last_step: int
    params: bytes | None
    segments: int
    counts: Counts
    closed: bool
    from_known: bool

    @property
    def every_update_committed(self) -> bool:
        """Whether the chain may say so (C2): level L2, from known parameters on, no gap, and no unbound seam."""
        return self.level is Level.L2 and self.from_known and self.counts.gaps == self.counts.unbound == 0


def count_event(event: Event) -> Counts:
    """Return what one event adds to the counts of its run."""
    kind, count = event.kind, event.count
    back = kind in (Kind.RESUME, Kind.ROLLBACK)
    return Counts(
        steps=int(kind is Kind.STEP), skips=int(kind is Kind.SKIP), gaps=int(kind is Kind.GAP),
        missing=count if kind is Kind.GAP else 0, resumes=int(kind is Kind.RESUME),
        rollbacks=int(kind is Kind.ROLLBACK), redone=count if back else 0,
        unbound=int(back and event.params is None), checkpoints=int(kind is Kind.CHECKPOINT), tokens=event.tokens,
        flop=event.flop,
    )  # fmt: skip


# --- bytes ------------------------------------------------------------------------------------------

_KINDS: frozenset[object] = frozenset(int(kind) for kind in Kind)


def _plain(start: RunStart) -> list[codec.Value]:
    values = [getattr(start, one.name) for one in fields(start)]
    return [_plain_value(value) for value in values]


def _plain_value(value: object) -> codec.Value:
    if isinstance(value, Level):
        return int(value)
    if isinstance(value, tuple):
        return list[codec.Value](cast("tuple[str, ...]", value))
    if isinstance(value, Mapping):
        return dict(cast("codec.Map", value))
    return cast("codec.Value", value)


def _encode_bounded(items: list[codec.Value], size_max: int) -> bytes:
    try:
        data = codec.encode(items)
    except (TypeError, ValueError) as error:
        raise DecodeError("STEP-01", f"no record can state this: {error}") from error
    if len(data) > size_max:
        raise DecodeError("STEP-01", f"{len(data)} bytes, at most {size_max} allowed")
    return data


def _read_array(data: bytes, size_max: int, length: int) -> list[codec.Value]:
    value = codec.decode(data, size_max=size_max, items_max=4_096)
    if not isinstance(value, list) or len(value) != length or not _is_count(value[0]) or value[0] != VERSION:
        raise DecodeError("STEP-01", f"not an array of {length} items, version {VERSION}")
    return value


def _need(held: bool, what: str) -> None:
    if not held:
        raise DecodeError("STEP-01", f"{what} has another type or size")


def _is_hash(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 32


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _read_texts(value: codec.Value) -> dict[str, str]:
    if not isinstance(value, dict):
        raise DecodeError("STEP-01", "a map of texts is none")
    found = dict[str, str]()
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise DecodeError("STEP-01", "a map of texts holds something else")
        found[key] = item
    return found


def _read_bits(value: codec.Value) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > VALUES_MAX:
        raise DecodeError("STEP-01", f"the values are not a map of at most {VALUES_MAX}")
    found = dict[str, float]()
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, bytes) or len(item) != 8:
            raise DecodeError("STEP-01", "a value is not 8 bytes under a name")
        found[key] = unpack(">d", item)[0]
    return found
