"""What anyone may read: checkpoint, tiles and entry bundles by their C2SP tlog-tiles paths, entries, proofs.

Everything here is at or below the published size, so that no answer shows what a checkpoint does not cover.
A tile never changes and is served as immutable; the checkpoint is never cached.
"""

from __future__ import annotations

import base64
import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from glasslog.entry import SealedEntry, StatementEntry, decode_leaf
from glasslog.errors import DecodeError
from glasslog.statement import decode_statement, to_json
from glasslog.tiles import parse_tile_path
from glasslog_node.api.requests import read_number
from glasslog_node.errors import RequestError
from glasslog_node.seams import LogReader

_IMMUTABLE = {"cache-control": "public, max-age=31536000, immutable", "access-control-allow-origin": "*"}
_FRESH = {"cache-control": "no-store", "access-control-allow-origin": "*"}
_OCTETS = "application/octet-stream"
_BUNDLE = "application/vnd.glasslog.bundle+cbor"
_KINDS = {
    0: "statement",
    1: "sealed",
    2: "height seal",
    3: "block header",
    4: "genesis",
    5: "membership",
}


def read_routes(reader: LogReader) -> list[Route]:
    """Return the read-only routes over this log."""

    async def checkpoint(_request: Request) -> Response:
        note = reader.checkpoint()
        if note is None:
            raise RequestError("HTTP-14", "no checkpoint is published yet", "wait for the first height", status=404)
        return Response(note, headers=_FRESH, media_type="text/plain; charset=utf-8")

    async def tile(request: Request) -> Response:
        try:
            # Not ``request.url``, which also decodes the query, and fails where that is not UTF-8.
            path = parse_tile_path(f"tile/{request.path_params['path']}")
        except DecodeError as error:
            raise RequestError(error.code, error.fact, "see C2SP tlog-tiles for the paths", status=404) from None
        data = reader.tile(path)
        if data is None:
            fact = "the published log has no tile of this width there"
            raise RequestError("HTTP-10", fact, "read /checkpoint for the size", status=404)
        return Response(data, headers=_IMMUTABLE, media_type=_OCTETS)

    async def entry(request: Request) -> Response:
        index = read_number(request.path_params["index"], "the index")
        leaf = reader.entry(index)
        if leaf is None:
            fact = f"entry {index} is not below the published size {reader.published_size()}"
            raise RequestError("HTTP-10", fact, "wait until it is published", status=404)
        if "application/cbor" in request.headers.get("accept", ""):
            return Response(leaf, headers=_IMMUTABLE, media_type="application/cbor")
        body = json.dumps(entry_value(index, leaf), ensure_ascii=False).encode()
        return Response(body, headers=_IMMUTABLE, media_type="application/json")

    async def bundle(request: Request) -> Response:
        index = read_number(request.path_params["index"], "the index")
        return bundle_response(reader, index)

    async def health(_request: Request) -> Response:
        return Response(b'{"health":"ok"}', headers=_FRESH, media_type="application/json")

    return [
        Route("/checkpoint", checkpoint),
        Route("/tile/{path:path}", tile),
        Route("/v1/entries/{index}", entry),
        Route("/v1/bundles/{index}", bundle),
        Route("/health", health),
    ]


def entry_value(index: int, leaf: bytes) -> dict[str, object]:
    """Return a leaf as the JSON object clients see; ``leaf`` in it is what the tree hashes."""
    value: dict[str, object] = {"index": index, "kind": _kind(leaf)}
    decoded = decode_leaf(leaf)
    match decoded:
        case StatementEntry():
            value |= {"author": decoded.author, "number": decoded.seq}
            value["statement"] = json.loads(to_json(decode_statement(decoded.statement)))
        case SealedEntry():
            value |= {"author": decoded.author, "number": decoded.seq, "commitment": decoded.commitment.hex()}
        case _:
            pass
    value["leaf"] = base64.b64encode(leaf).decode()
    return value


def _kind(leaf: bytes) -> str:
    return "signed statement" if leaf[0] >> 5 == 6 else _KINDS[leaf[1]]


def bundle_response(reader: LogReader, index: int | None) -> Response:
    """Answer with the bundle of the entry at ``index``.

    Raises:
        RequestError: HTTP-14 (409), it is not published yet.
    """
    if index is None or index >= reader.published_size():
        what = "the entry" if index is None else f"entry {index}"
        fact = f"{what} is not published yet; the published size is {reader.published_size()}"
        raise RequestError("HTTP-14", fact, "wait for the next checkpoint", status=409)
    return Response(reader.bundle(index), headers=_FRESH, media_type=_BUNDLE)
