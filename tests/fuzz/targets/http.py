"""What clients send over HTTP: batches of statements, and whole requests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import structlog
import structlog.testing
import trio

from fuzz import specimens
from fuzz.mutators import mutate_bytes, mutate_cbor, mutate_json
from fuzz.target import Target, accepted, fields, texts
from glasslog import codec
from glasslog.entry import decode_leaf
from glasslog.errors import DecodeError, ProtocolError
from glasslog.merkle import hash_leaf, root
from glasslog.statement import decode_statement, from_json
from glasslog.tiles import TilePath, join_entries, parse_tile_path, tile_width
from glasslog_node.api.app import node_app
from glasslog_node.api.node_routes import Writes
from glasslog_node.api.reads import entry_value
from glasslog_node.api.requests import BodyLimits, read_number
from glasslog_node.batches import Batch, read_cbor_batch, read_cose_batch, read_json_batch, read_ndjson_batch
from glasslog_node.errors import OperatingError, RequestError
from glasslog_node.seams import NodeStatus, PeerStatus, Receipt, Run, Stage, SubmissionState
from glasslog_node.telemetry import Metrics

TOKEN = "t" * 32


# --- bodies ---------------------------------------------------------------------------------------


def _run_converted(batch: Batch, values: Sequence[object]) -> None:
    assert 1 <= len(batch.statements) <= 65_536
    assert len(values) == len(batch.statements)
    for value, data in zip(values, batch.statements, strict=True):
        assert decode_statement(data) == from_json(json.dumps(value)), "another library reads another statement"


def run_json_body(data: bytes) -> None:
    batch = read_json_batch(data)
    value = json.loads(data)
    _run_converted(batch, value if isinstance(value, list) else [value])


def run_ndjson_body(data: bytes) -> None:
    batch = read_ndjson_batch(data)
    _run_converted(batch, [json.loads(line) for line in data.decode().split("\n") if line.strip(" \t\r\n")])


def run_cbor_body(data: bytes) -> None:
    """A body cut by guess: where every piece proves to be a statement, the sure way cuts the same."""
    batch = read_cbor_batch(data)
    for piece in batch.statements:
        decode_statement(piece)
    with accepted():
        assert list(batch.exactly()) == list(batch.statements), "the guess is wrong, and nobody noticed"


def run_cose_body(data: bytes) -> None:
    assert list(read_cose_batch(data).statements) == [data]


def run_number(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    if text:
        assert str(read_number(text, "it")) == text, "a second spelling"


def run_entry_json(data: bytes) -> None:
    decode_leaf(data)
    with accepted():
        json.loads(json.dumps(entry_value(7, data)))


# --- requests -------------------------------------------------------------------------------------


class _Log:
    """A published log of a world's leaves."""

    def __init__(self) -> None:
        self._leaves = specimens.world().leaves

    def checkpoint(self) -> bytes | None:
        return specimens.world().note

    def published_size(self) -> int:
        return len(self._leaves)

    def entry(self, index: int) -> bytes | None:
        return self._leaves[index] if index < len(self._leaves) else None

    def tile(self, path: TilePath) -> bytes | None:
        level = path.level or 0
        if path.width > tile_width(len(self._leaves), level, path.index):
            return None
        start, step = path.index * 256 * 256**level, 256**level
        if path.level is None:
            return join_entries(self._leaves[start : start + path.width])
        hashes = [hash_leaf(leaf) for leaf in self._leaves]
        return b"".join(root(b"".join(hashes[at : at + step])) for at in range(start, start + path.width * step, step))

    def bundle(self, index: int) -> bytes:
        return specimens.bundles()[0]


class _Desk:
    """Takes everything that is a statement."""

    async def submit(self, batch: Batch, *, key: str | None) -> Receipt:
        for piece in batch.statements:
            if piece[0] != 0xD2:
                decode_statement(piece)
        return Receipt(key or "s", len(batch.statements), False)

    def state(self, submission: str) -> SubmissionState | None:
        if submission != "s":
            return None
        return SubmissionState("s", 2, Stage.FINAL, ((0, 2),), (Run(0, 7, 2),), None)

    async def wait(self, submission: str, stage: Stage) -> SubmissionState | None:
        return self.state(submission)


class _Node:
    def status(self) -> NodeStatus:
        peer = PeerStatus("v1", "validator", "JP", False, None, None, "refused")
        return NodeStatus("a", "author", "DE", "n", "o", "idle", 1, 7, 3, 20, b"\x01" * 32, 12, 5, (peer,))

    def why(self) -> Sequence[str]:
        return ()

    def unready(self) -> str | None:
        return None


@cache
def _app() -> Any:
    writes = Writes(_Desk(), _Node(), Metrics(), TOKEN, BodyLimits(65_536, 5.0), 1.0)
    return trio.run(_make_app, writes)


async def _make_app(writes: Writes) -> Any:
    return node_app(_Log(), writes)


def _is_tile_path(text: str) -> bool:
    try:
        parse_tile_path(text)
    except DecodeError:
        return False
    return True


def run_request(data: bytes) -> None:
    """``[method, path, query, headers, body]`` through the whole interface: an answer, and never our own bug."""
    method, path, query, headers, body = fields(data, bytes, bytes, bytes, list, bytes)
    pairs = texts(headers)
    assert isinstance(method, bytes)
    assert isinstance(path, bytes)
    assert isinstance(query, bytes)
    assert isinstance(body, bytes)
    scope = {
        "type": "http",
        "method": method.decode("ascii", "replace"),
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "headers": [(name.lower(), value) for name, value in zip(pairs[::2], pairs[1::2], strict=False)],
        "root_path": "",
        "scheme": "http",
        "server": ("localhost", 80),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    with accepted(), structlog.testing.capture_logs():  # an own bug would print its whole traceback
        trio.run(_app(), scope, receive, send)
    status, answer = sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
    assert 200 <= status < 500 or status == 503, f"status {status}"
    assert b'"code": "HTTP-99"' not in answer, "our own bug"  # the metrics may name it
    if status == 200 and path.startswith(b"/tile/"):
        assert _is_tile_path(path[1:].decode("utf-8", "replace")), "a second spelling, which caches keep for good"
    for name, value in sent[0]["headers"]:
        assert b"\r" not in value, "a header with a line break"
        assert b"\n" not in value, "a header with a line break"
        if name == b"content-type" and b"json" in value and scope["method"] != "HEAD":
            json.loads(answer)
    if status >= 400:
        raise RequestError("HTTP", f"{status}", "none", status=status)


def _request(method: str, path: str, query: str = "", headers: Sequence[bytes] = (), body: bytes = b"") -> bytes:
    return codec.encode([method.encode(), path.encode(), query.encode(), list(headers), body])


def _request_seeds() -> list[bytes]:
    bearer = (b"authorization", b"Bearer " + TOKEN.encode())
    kinds = {
        b"application/json": specimens.statements_json()[0],
        b"application/x-ndjson": b"\n".join(specimens.statements_json()[:2]),
        b"application/cbor": specimens.statements()[0],
        b"application/cose": specimens.signed_statements()[0],
    }
    posts = [
        _request(
            "POST", "/v1/submissions", headers=(*bearer, b"content-type", kind, b"idempotency-key", b"k1"), body=body
        )
        for kind, body in kinds.items()
    ]
    paths = (
        "/checkpoint", "/tile/0/000.p/32", "/tile/entries/000.p/32", "/v1/entries/8", "/v1/bundles/8", "/health",
        "/v1/submissions/s/bundles/1", "/v1/status", "/ready", "/metrics",
    )  # fmt: skip
    waits = [_request("GET", "/v1/submissions/s", "wait=published&timeout=0")]
    return [
        *posts,
        *[_request("GET", path) for path in paths],
        *waits,
        _request("GET", "/v1/entries/8", "", (b"accept", b"application/cbor")),
    ]


def _cbor_bodies() -> list[bytes]:
    several = list(specimens.statements()[:3])
    return [several[0], codec.encode_head(4, 3) + b"".join(several), b"".join(several)]


def _json_bodies() -> list[bytes]:
    several = specimens.statements_json()
    return [several[0], b"[" + b",\n".join(several[:3]) + b"]"]


def _mutate_json_lines(data: bytes, rng: Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = mutate_json(lines[at], rng) if rng.random() < 0.8 else mutate_bytes(lines[at], rng)
    return b"\n".join(lines)


TARGETS = (
    Target("json-body", run_json_body, _json_bodies, allowed=(RequestError,), mutators=(mutate_json,)),
    Target(
        "ndjson-body",
        run_ndjson_body,
        lambda: [b"\n".join(specimens.statements_json())],
        allowed=(RequestError,),
        mutators=(_mutate_json_lines,),
    ),
    Target("cbor-body", run_cbor_body, _cbor_bodies, allowed=(RequestError, ProtocolError), mutators=(mutate_cbor,)),
    Target("cose-body", run_cose_body, specimens.signed_statements, allowed=(RequestError,), mutators=(mutate_cbor,)),
    Target(
        "number",
        run_number,
        lambda: [b"0", b"9223372036854775807"],
        allowed=(RequestError,),
        size_max=32,
        weight=2,
        tokens=("٣".encode(), b"+1", b"1_0", b"00", b" 1"),
    ),
    Target("entry-json", run_entry_json, specimens.leaves, mutators=(mutate_cbor,)),
    Target(
        "request",
        run_request,
        _request_seeds,
        allowed=(ProtocolError, OperatingError),
        tokens=(b"/v1/entries/", b"%2e%2e", b"wait=", b"timeout=", b"content-length", b"chunked", b"gzip", b"*/*"),
        mutators=(mutate_cbor,),
        weight=0.5,
    ),
)
