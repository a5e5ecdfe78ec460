"""Every kind of oracle sees the fault it is for: one is planted in the product, and a short run finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from mmap import mmap
from pathlib import Path
from typing import Any

import pytest

from fuzz.corpus import read_folder
from fuzz.engines import COUNTERS, Recorder, run_own
from fuzz.registry import TARGETS
from fuzz.targets import agreement as agreement_targets
from glasslog import codec, merkle, shapes, statement, tiles
from glasslog.agreement import replica
from glasslog.block import Header
from glasslog.bundle import verifying
from glasslog.errors import ProtocolError
from glasslog_node import config
from glasslog_node.api import reads
from glasslog_node.network import frames, yamux
from glasslog_node.store import schema

Plant = Callable[[pytest.MonkeyPatch], None]


def nothing(*_: Any, **__: Any) -> None:
    return None


def forget_what_waits(self: frames.FrameReader, chunk: bytes) -> Iterator[bytes]:
    yield from ORIGINAL_FEED(self, chunk)
    if self._held_bytes == 5:
        self._held.clear()
        self._held_bytes = 0


ORIGINAL_FEED = frames.FrameReader.feed


def believe_shapes(self: shapes.Shapes, entries: Any, author: str, first: int) -> None:
    del self, author, first
    for entry in entries:
        if not entry:
            raise ProtocolError("PLANTED", "empty")


def fail_on_certificates(self: replica.Replica) -> None:
    if any(round_.certificates for round_ in self.tally.rounds.values()):
        raise ProtocolError("PLANTED", "outside of where a peer's faults are caught")
    ORIGINAL_DRIVE(self)


ORIGINAL_DRIVE = replica.Replica._drive


def any_path(text: str) -> tiles.TilePath:
    return ORIGINAL_PATH(text.replace("/x000/", "/"))


ORIGINAL_PATH = tiles.parse_tile_path


def other_error(text: str) -> tiles.TilePath:
    try:
        return ORIGINAL_PATH(text)
    except ProtocolError as error:
        raise KeyError(text) from error


def lose_a_byte(self: yamux.YamuxStream, data: bytes) -> None:
    self._chunks.append(data[1:])


PLANTED: list[tuple[str, str, Plant]] = [
    ("codec", "long integers", lambda m: m.setattr(codec, "_SHORTEST", (0, 0, 0, 0))),
    ("leaf", "long integers", lambda m: m.setattr(codec, "_SHORTEST", (0, 0, 0, 0))),
    ("message", "long integers", lambda m: m.setattr(codec, "_SHORTEST", (0, 0, 0, 0))),
    ("statement", "bytes outside digests", lambda m: m.setattr(statement, "_check_strings", nothing)),
    ("shapes", "no check", lambda m: m.setattr(shapes.Shapes, "_check_run", believe_shapes)),
    ("block", "no check of entries", lambda m: m.setattr(shapes.Shapes, "check_entries", nothing)),
    ("evidence", "no signatures", lambda m: m.setattr(agreement_targets, "verify", lambda *_: True)),
    ("replica", "a fault that is not caught", lambda m: m.setattr(replica.Replica, "_drive", fail_on_certificates)),
    ("merkle", "no root", lambda m: m.setattr(merkle, "verify_inclusion", nothing)),
    ("verify", "no places", lambda m: m.setattr(verifying, "_check_places", nothing)),
    ("tile-path", "a second spelling", lambda m: m.setattr(tiles, "parse_tile_path", any_path)),
    ("frames", "lost bytes", lambda m: m.setattr(frames.FrameReader, "feed", forget_what_waits)),
    (
        "yamux",
        "endless window",
        lambda m: m.setattr(yamux.YamuxStream, "on_data", lambda self, data: self._chunks.append(data[1:])),
    ),
    ("config", "anyone may listen", lambda m: m.setattr(config, "_contradictions", lambda _config: iter(()))),
    ("request", "an error of ours", lambda m: m.setattr(reads, "parse_tile_path", other_error)),
    ("rows", "other bytes", lambda m: m.setattr(schema, "tip_value", lambda tip: bytes(48))),
    ("header", "another payload", lambda m: m.setattr(Header, "encode", lambda self: b"")),
]


@pytest.mark.parametrize(
    ("name", "plant"),
    [(name, plant) for name, _, plant in PLANTED],
    ids=[f"{name}-{what}" for name, what, _ in PLANTED],
)
def test_planted_fault_is_found(name: str, plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = TARGETS[name]
    seeds = list(target.seeds())
    assert [target.accepts(seed) for seed in seeds]
    plant(monkeypatch)
    recorder = Recorder(target, mmap(-1, COUNTERS.size), tmp_path)
    for _ in range(12):
        run_own(target, recorder, seeds, seed=1 + recorder.executions, seconds=None, runs=recorder.executions + 500)
        if recorder.seen:
            break
    assert recorder.seen, f"{recorder.executions} executions and nothing seen"
    assert read_folder(tmp_path)
