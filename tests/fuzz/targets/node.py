"""Files that a person edits, rows of an old disk, and the files of a static mirror."""

from __future__ import annotations

import io
import struct
from pathlib import Path, PosixPath
from typing import Any, cast

from fuzz import specimens
from fuzz.mutators import make_line_mutator, mutate_cbor
from fuzz.target import Target, accepted, fields
from glasslog import codec
from glasslog.block import Ref
from glasslog.bundle import export_tlog_proof
from glasslog.errors import DecodeError, ProtocolError
from glasslog.ledger import Tip
from glasslog.tiles import Edge, join_entries, split_entries
from glasslog_node.config import is_loopback, load_config
from glasslog_node.errors import ConfigError, OperatingError
from glasslog_node.genesis import NetworkGenesis, load_genesis, print_genesis
from glasslog_node.keys import Purpose, SecretKey, decode_key, decode_token, encode_key
from glasslog_node.sources.note_file import read_note_file
from glasslog_node.sources.tlog import TlogSource
from glasslog_node.store import mark, schema, spool

TOKEN = "t" * 32


class MemoryPath(PosixPath):
    """A path whose file is these bytes."""

    content = b""

    @classmethod
    def of(cls, content: bytes, name: str = "/node/file") -> MemoryPath:
        path = cls(name)
        path.content = content
        return path

    def open(self, *_: Any, **__: Any) -> Any:
        return io.BytesIO(self.content)

    def read_bytes(self) -> bytes:
        return self.content


# --- files ----------------------------------------------------------------------------------------


def run_config(data: bytes) -> None:
    config = load_config(MemoryPath.of(data))
    assert config.data.is_absolute()
    assert config.http.allow_remote or is_loopback(config.http.bind)
    assert 1 <= config.timers.delay_ms <= 600_000


def run_genesis(data: bytes) -> None:
    network = load_genesis(MemoryPath.of(data))
    assert print_genesis(network).encode() == data, "accepted, and printed otherwise"
    assert network.hash == network.membership.genesis_hash


def run_key(data: bytes) -> None:
    text = data.decode("latin-1")
    key = decode_key(text, Path("key"))
    assert encode_key(key) == text, "accepted, and written otherwise"


def run_token(data: bytes) -> None:
    token = decode_token(data.decode("latin-1"), Path("token"))
    assert 20 <= len(token) <= 512
    assert token.isascii()


def run_mark(data: bytes) -> None:
    found = mark.read_mark(MemoryPath.of(data), b"\x01" * 32)
    if found is not None:
        slots = [data[:128], data[128:256]]
        assert mark._slot(found) in slots, "a mark that nobody wrote"


def run_rows(data: bytes) -> None:
    """Every kind of row: what is read of one is what writes it again."""
    which, value = fields(data, int, bytes)
    assert isinstance(which, int)
    assert isinstance(value, bytes)
    match which % 12:
        case 0:
            assert schema.block_key(schema.read_block_key(value))[-40:] == value[-40:]
        case 1:
            header, entries = schema.read_body(value)
            assert len(header) + len(entries) <= len(value)
        case 2:
            span = schema.read_span(value)
            again = (
                schema.leaf_span(span.leaves, span.bundle)
                if span.key is None
                else schema.block_span(span.leaves, span.key)
            )
            assert again[1:] == value[1:]
        case 3:
            assert schema.height_value(*schema.read_height(value)) == value
        case 4:
            assert schema.tip_value(schema.read_tip(value)) == value
        case 5:
            assert schema.ChainValue.decode(value).encode() == value
        case 6:
            assert schema.cosign_value(*schema.read_cosign(value)) == value
        case 7:
            assert spool.SealedBlock.decode(schema.u64(1), value).encode() == value
        case 8:
            assert spool.Counters.decode(value).encode() == value
        case 9:
            chain = spool.OwnChain.decode(value)
            assert chain is not None
            assert chain.encode() == value
        case 10:
            assert spool.submission_value(spool.read_submission(b"key", value)) == value
        case _:
            items = spool.batch_items(value)
            assert spool.batch_value(tuple(items))[4:] == value[4:]
            assert spool.batch_count(value) >= 0


def run_edge_tile(data: bytes) -> None:
    """A partial tile out of an encoded edge, against the edge decoded."""
    edge = Edge.decode(data)
    for level, partial in enumerate(edge.partials):
        found = schema.edge_tile(memoryview(data), level, edge.size >> 8 * (level + 1))
        assert found is not None
        assert bytes(found) == partial


# --- files of a mirror ----------------------------------------------------------------------------


class _Mirror(TlogSource):
    label = "mirror"

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def read(self, path: str, *, size_max: int) -> bytes | None:
        found = self._files.get(path)
        return None if found is None else found[: size_max + 1]


def run_mirror(data: bytes) -> None:
    """``[checkpoint, entry bundle, tile]`` of a static mirror: read without a fault, and never more than it says."""
    checkpoint, bundle, hashes = fields(data, bytes, bytes, bytes)
    files = {"checkpoint": checkpoint, "tile/entries/000": bundle, "tile/0/000": hashes}
    with accepted():
        source = _Mirror(cast("dict[str, bytes]", files))
        if source.size > 1 << 16:
            return  # every bundle but the first is missing
        runs = list(source.runs())
        assert len(runs) <= 1
        if runs:
            try:
                split_entries(runs[0].bundle)
            except DecodeError:
                assert runs[0].bundle == bundle
        found = source.tile(0, 0, min(256, source.size) or 1)
        assert found is None or len(found) <= 256 * 32


def _mirror_seeds() -> list[bytes]:
    note = b"a\n2\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 a AAAAAAA=\n"
    return [codec.encode([note, join_entries([b"one", b"two", b"three"]), b"\x01" * 96])]


def run_note_file(data: bytes) -> None:
    """A note, or what holds one: what comes out stands in the file."""
    note = read_note_file(MemoryPath.of(data))
    assert note in data


# --- specimens ------------------------------------------------------------------------------------

CONFIG = b"""name = "institute-de.example"
data = "data"

[network]
listen = "127.0.0.1:7001"

[network.peers]
"institute-fr.example" = "10.0.0.2:7001"

[http]
bind = "unix:run/node.sock"
public_bind = "0.0.0.0:8080"
body_bytes_max = 1048576

[log]
level = "info"

[timers]
delay_ms = 300
"""
CONFIG_WORDS = (
    "name", "[http]", "[network.peers]", "allow_remote", "true", "1979-05-27T07:32:00Z", "inf", "nan", "[[http]]",
    "1e9", '"""', "'''", '"\\uD800"', "{}", "[]", "0x" + "f" * 5_000, "1" * 5_000, "[" * 400, '"[::1]:1"', '"unix:"',
    "=", ".",
)  # fmt: skip


def _network() -> NetworkGenesis:
    world = specimens.world()
    return NetworkGenesis(tuple(world.genesis), world.founded, world.membership)


def _genesis_seeds() -> list[bytes]:
    return [print_genesis(_network()).encode()]


def _key_seeds() -> list[bytes]:
    return [
        encode_key(SecretKey(purpose, "a.example", b"\x07" * 32)).encode() for purpose in (Purpose.VOTE, Purpose.LOG)
    ]


def _row_seeds() -> list[bytes]:
    block, ref, tip = specimens.cheap_block(), Ref("lab", 3, b"\x01" * 32), Tip(3, b"\x02" * 32, 9)
    rows = (
        schema.block_key(ref),
        schema.body_value(block.leaf, block.entries),
        schema.leaf_span(2, join_entries([b"a", b"b"])),
        schema.height_value(7, b"\x03" * 32, b"proposal"),
        schema.tip_value(tip),
        schema.ChainValue(1, 2, 3, b"\x04" * 32).encode(),
        schema.cosign_value(1, b"\x05" * 32, 2),
        spool.SealedBlock(1, b"\x06" * 32, 2, 3, 4).encode(),
        spool.Counters(4, 3, 2, 1).encode(),
        spool.OwnChain("lab", tip).encode(),
        spool.submission_value(spool.Submission(b"key", b"\x07" * 32, 1, 2)),
        spool.batch_value((b"one", b"two")),
    )
    return [codec.encode([number, row]) for number, row in enumerate(rows)]


TARGETS = (
    Target(
        "config",
        run_config,
        lambda: [CONFIG],
        allowed=(ConfigError,),
        tokens=tuple(word.encode() for word in CONFIG_WORDS if len(word) < 100),
        mutators=(make_line_mutator(CONFIG_WORDS),),
        size_max=8_192,
    ),
    Target(
        "genesis", run_genesis, _genesis_seeds, allowed=(ConfigError,), mutators=(make_line_mutator(),), size_max=20_000
    ),
    Target("key", run_key, _key_seeds, allowed=(ConfigError,), mutators=(make_line_mutator(),), size_max=256),
    Target("token", run_token, lambda: [TOKEN.encode() + b"\n"], allowed=(ConfigError,), size_max=600),
    Target(
        "mark",
        run_mark,
        lambda: [b"".join(mark._slot(mark.Mark(b"\x01" * 32, number)) for number in (6, 7))],
        mutators=(make_line_mutator(),),
        size_max=300,
    ),
    Target(
        "rows",
        run_rows,
        _row_seeds,
        allowed=(ProtocolError, struct.error, ValueError),
        mutators=(mutate_cbor,),
        size_max=1_024,
    ),
    Target(
        "edge-tile", run_edge_tile, lambda: [Edge.empty().extend(b"\x07" * 32 * size)[0].encode() for size in (5, 258)]
    ),
    Target(
        "note-file",
        run_note_file,
        lambda: [specimens.world().note or b"", specimens.bundles()[0], export_tlog_proof(specimens.bundles()[0])],
        allowed=(OperatingError,),
        mutators=(mutate_cbor, make_line_mutator()),
        size_max=20_000,
    ),
    Target("mirror", run_mirror, _mirror_seeds, mutators=(mutate_cbor,), size_max=2_048),
)
