"""Reading requests: who may write, how much, how slowly, in which media type. All of it before any work."""

from __future__ import annotations

import hmac
import re
from contextlib import aclosing
from dataclasses import dataclass

import trio
from starlette.requests import Request

from glasslog_node.errors import RequestError

JSON, NDJSON, CBOR = "application/json", "application/x-ndjson", "application/cbor"
COSE = "application/cose"
SEALED = "application/vnd.glasslog.sealed+cbor"
_ALIASES = {
    JSON: JSON,
    "application/vnd.in-toto+json": JSON,
    NDJSON: NDJSON,
    "application/jsonl": NDJSON,
    CBOR: CBOR,
    "application/cbor-seq": CBOR,
    COSE: COSE,
    SEALED: SEALED,
}
KEY_CHARS_MAX = 64
_KEY = re.compile(r"[A-Za-z0-9._~-]{1,64}")  # so that it can stand in a path, as the submission's name
ENTRY_NUMBER_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large a body may be, in bytes, and how long it may take to arrive, in seconds."""

    bytes_max: int
    seconds_max: float


def check_token(request: Request, token: str) -> None:
    """Refuse a request that does not carry the bearer token (RFC 6750), in time that tells nothing about it.

    Raises:
        RequestError: HTTP-02 (401).
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    offered = given.strip().encode("utf-8", "replace")
    if scheme.lower() != "bearer" or not hmac.compare_digest(offered, token.encode()):
        fact = "the bearer token is missing or wrong"
        raise RequestError("HTTP-02", fact, "send `Authorization: Bearer` with the node's token file", status=401)


def read_media_type(request: Request) -> str:
    """Return which of ``JSON``, ``NDJSON``, ``CBOR``, ``COSE``, ``SEALED`` the body is in.

    Raises:
        RequestError: HTTP-05 (415).
    """
    stated = request.headers.get("content-type", "")
    media_type = _ALIASES.get(stated.partition(";")[0].strip().lower())
    if media_type is None or request.headers.get("content-encoding", "identity").lower() != "identity":
        fact = f"the body is {stated[:80] or 'of no stated type'!r}, or compressed"
        raise RequestError(
            "HTTP-05", fact, f"send {JSON}, {NDJSON}, {CBOR}, {COSE} or {SEALED}, uncompressed", status=415
        )
    return media_type


def read_idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key header, None where there is none.

    Raises:
        RequestError: HTTP-13 (400), not 1 to 64 unreserved characters.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key) or key.isdigit():  # a number names a place in the log
        fact = f"Idempotency-Key is not 1 to {KEY_CHARS_MAX} of A-Z a-z 0-9 . _ ~ -, or is a number"
        raise RequestError("HTTP-13", fact, "use a UUID", status=400)
    return key


async def read_body(request: Request, limits: BodyLimits) -> bytes:
    """Return the whole body. A stated length over the limit is refused before any of it is read.

    Raises:
        RequestError: HTTP-04 (413) too large, HTTP-12 (408) too slow.
    """
    too_large = RequestError(
        "HTTP-04", f"the body is larger than {limits.bytes_max} bytes", "send smaller batches", status=413
    )
    stated = request.headers.get("content-length", "")
    if stated.isascii() and stated.isdigit() and int(stated[:20]) > limits.bytes_max:
        raise too_large
    parts: list[bytes] = []
    size = 0
    with trio.move_on_after(limits.seconds_max) as deadline:
        async with aclosing(request.stream()) as stream:
            async for part in stream:
                size += len(part)
                if size > limits.bytes_max:
                    raise too_large
                parts.append(part)
    if deadline.cancelled_caught:
        fact = f"the body did not arrive within {limits.seconds_max:g} s"
        raise RequestError("HTTP-12", fact, "send smaller batches, or mend the connection", status=408)
    return b"".join(parts)


def read_number(text: str, what: str) -> int:
    """Return a decimal number in its only spelling.

    Raises:
        RequestError: HTTP-13 (400).
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or (text[0] == "0" and text != "0"):
        raise RequestError("HTTP-13", f"{what} is not a decimal number", "correct the path", status=400)
    number = int(text)
    if number > ENTRY_NUMBER_MAX:
        raise RequestError("HTTP-13", f"{what} is not a decimal number below 2^63", "correct the path", status=400)
    return number
