"""Work grows with the input and not with its square: eight times the bytes take a parser some eight times the time.

Times are compared with one another only, and are of this process alone; the least of several counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from time import process_time

import pytest

from fuzz.specimens import statements, statements_json
from fuzz.targets.network import OWN, _read_frames, _yamux
from fuzz.targets.node import CONFIG, MemoryPath
from fuzz.targets.weights import make_file
from glasslog import codec, tiles
from glasslog.block import split
from glasslog.errors import ProtocolError
from glasslog.identity import VerifierKey
from glasslog.note import Note
from glasslog.policy import Policy
from glasslog.shapes import Shapes
from glasslog.statement import decode_statement, from_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.weights.index import read_index
from glasslog_lab.weights.safetensors import parse_header, parse_length
from glasslog_lab.weights.windows import MemoryWindow
from glasslog_node.batches import read_cbor_batch, read_json_batch, read_ndjson_batch
from glasslog_node.config import load_config
from glasslog_node.errors import OperatingError
from glasslog_node.network.batch import join_payloads, split_payloads
from glasslog_node.network.frames import frame_header
from glasslog_node.network.transport import Lane
from glasslog_node.network.yamux import DATA, SYN, YamuxConnection

TIMES = 8
RATIO_MAX = 28.0  # 8 where it is linear, 64 where it is quadratic


def measure(parse: Callable[[bytes], object], data: bytes) -> float:
    """The least processor time of several runs; what is refused has its cost too."""
    least = float("inf")
    for _ in range(3):
        start = process_time()
        with suppress(ProtocolError, OperatingError, ArtifactError):
            parse(data)
        least = min(least, process_time() - start)
    return least


def ratio(parse: Callable[[bytes], object], make: Callable[[int], bytes], size: int) -> float:
    small = measure(parse, make(size))
    return measure(parse, make(size * TIMES)) / max(small, 1e-6)


def byte_by_byte(data: bytes) -> object:
    return _read_frames(iter([data[at : at + 1] for at in range(len(data))]))


def feed_yamux(data: bytes) -> object:
    connection = YamuxConnection(None, initiator=False, accept=lambda _stream: None)  # type: ignore[arg-type]  # nothing is written
    for at in range(1, len(data)):
        connection._on_bytes(data[at : at + 1])
    return connection


def parse_file(data: bytes) -> object:
    length = parse_length(data[:8], len(data))
    return parse_header(data[8 : 8 + length], len(data) - 8 - length)


def json_members(count: int, more: str = "") -> bytes:
    return ("{" + ",".join(f'"{number:06d}":0' for number in range(count)) + more + "}").encode()


def tensors(count: int) -> bytes:
    described = {f"t{n}": {"dtype": "U8", "shape": [1], "data_offsets": [n, n + 1]} for n in range(count)}
    return make_file(described, count)


def policy_of(count: int) -> bytes:
    keys = [VerifierKey.build(f"w{n}", 4, n.to_bytes(32, "big")) for n in range(count)]
    lines = [f"witness w{n} {key.format()}" for n, key in enumerate(keys)]
    names = " ".join(f"w{n}" for n in range(count))
    return "\n".join([*lines, f"group g any {names}", "quorum g", ""]).encode()


def shapes_of(data: bytes) -> object:
    Shapes().check_entries(split(data), "lab", 0)
    return None


def array(count: int, item: bytes) -> bytes:
    return codec.encode_head(4, count) + item * count


SMALL_STATEMENT, SMALL_JSON = statements()[0], statements_json()[0]
BIG = 1 << 24
CASES: list[tuple[str, Callable[[bytes], object], Callable[[int], bytes], int]] = [
    ("cbor array", lambda data: codec.decode(data, size_max=BIG), lambda n: array(n, b"\x00"), 2_000),
    ("cbor strings", lambda data: codec.decode(data, size_max=BIG), lambda n: array(n, b"\x41a"), 2_000),
    (
        "cbor map",
        lambda data: codec.decode(data, size_max=BIG),
        lambda n: codec.encode(dict.fromkeys(range(n), 0)),
        2_000,
    ),
    ("statement not one", decode_statement, lambda n: codec.encode({str(k): 0 for k in range(n)}), 800),
    ("members of a statement", from_json, json_members, 4_000),
    ("a member twice", from_json, lambda n: json_members(n, f',"{n - 1:06d}":1'), 4_000),
    ("digits of an integer", from_json, lambda n: b"1" * n, 50_000),
    ("digits of a float", from_json, lambda n: b"0." + b"1" * n, 50_000),
    ("text of a note", Note.parse, lambda n: b"a\n\n" * n + "— a AAAAAAA=\n".encode(), 20_000),
    ("witnesses of a policy", Policy.parse, policy_of, 200),
    ("empty entries", split, lambda n: b"\x00\x00" * n + b"\x00\x01a", 5_000),
    ("empty entries of a tile", tiles.split_entries, lambda n: b"\x00\x00" * n + b"\x00\x01a", 5_000),
    ("entries of no shape", shapes_of, lambda n: b"\x00\x02\x84\x00" * n, 500),
    ("payloads", lambda data: list(split_payloads(data)), lambda n: join_payloads([b"a"] * n), 5_000),
    ("frames, byte by byte", byte_by_byte, lambda n: frame_header(n, Lane.BULK, last=False) + b"a" * n, 4_000),
    ("tiny frames", byte_by_byte, lambda n: (frame_header(1, Lane.BULK, last=False) + b"a") * n, 1_000),
    ("hello instead of frames", byte_by_byte, lambda n: OWN.encode() * n, 1_000),
    ("yamux, byte by byte", feed_yamux, lambda n: _yamux((DATA, SYN, 1, n, b"a" * n)), 4_000),
    ("statements in JSON", read_json_batch, lambda n: b"[" + b",".join([SMALL_JSON] * n) + b"]", 20),
    ("nothing in JSON", read_json_batch, lambda n: b"[" + b"0," * n + b"0]", 4_000),
    ("spaces in JSON", read_json_batch, lambda n: b"[" + b" " * n + b"0" + b" " * n + b"]", 20_000),
    ("lines of JSON", read_ndjson_batch, lambda n: b"\n".join([SMALL_JSON] * n), 20),
    ("empty lines", read_ndjson_batch, lambda n: b" \n" * n, 20_000),
    ("statements in CBOR", read_cbor_batch, lambda n: array(n, SMALL_STATEMENT), 100),
    ("sequence of nothing", read_cbor_batch, lambda n: b"\x80" * n, 20_000),
    ("keys of a configuration", lambda data: load_config(MemoryPath.of(data)), lambda n: CONFIG + keys_of(n), 100),
    ("tensors of a file", parse_file, tensors, 300),
    ("a tensor twice", parse_file, lambda n: make_text(json_members(n, f',"{n - 1:06d}":1')), 4_000),
    (
        "tensors of an index",
        lambda data: read_index("m.safetensors.index.json", MemoryWindow(data)),
        lambda n: json.dumps({"weight_map": {f"t{k}": "m.safetensors" for k in range(n)}}).encode(),
        500,
    ),
]


def keys_of(count: int) -> bytes:
    return "".join(f"unknown{number} = 1\n" for number in range(count)).encode()


def make_text(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(("parse", "make", "size"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_time_grows_with_the_bytes(parse: Callable[[bytes], object], make: Callable[[int], bytes], size: int) -> None:
    found = [ratio(parse, make, size)]
    while min(found) >= RATIO_MAX and len(found) < 4:
        found.append(ratio(parse, make, size))
    assert min(found) < RATIO_MAX, f"{TIMES} times the input took {min(found):.0f} times as long"


def test_a_quadratic_parser_is_seen() -> None:
    """As duplicate members once were looked for."""

    def count_each(data: bytes) -> int:
        names = data.split(b",")
        return sum(1 for name in names if names.count(name) > 1)

    assert ratio(count_each, lambda n: b",".join(b"%06d" % number for number in range(n)), 300) > RATIO_MAX
