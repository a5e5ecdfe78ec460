"""From a request's body to statements: one in-toto statement, an array of them, or a sequence of them.

JSON is decoded and encoded by ``glasslog.statement``. CBOR is only cut into pieces here: whoever takes the batch
validates every piece with the validators' own code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from glasslog.bundle.sealed import decode_item
from glasslog.codec import encode_head, read_item
from glasslog.cose import parse_signed_statement
from glasslog.errors import DecodeError, ProtocolError
from glasslog.statement import encode_statement, from_json
from glasslog_node.errors import RequestError

BATCH_STATEMENTS_MAX = 65_536
# How a canonical statement of four members begins: {"_type": "https://in-toto.io/Statement/v1", ... Its keys are in
# bytewise order, so nothing else can come first.
_OPENING = b"\xa4\x65_type\x78\x1fhttps://in-toto.io/Statement/v1"
_SPACE = " \t\r\n"
_NOT_JSON = "STMT-02"
_MAP = 5  # the CBOR major type of a statement


class StatementRefusedError(RequestError):
    """One statement of a batch broke a rule; ``position`` counts from 0. Nothing of the batch was taken."""

    def __init__(self, position: int, cause: ProtocolError, *, status: int = 422) -> None:
        super().__init__(
            cause.code,
            f"statement {position}: {cause.fact}",
            "correct it and send the whole batch again",
            status=status,
        )
        self.position = position


@dataclass(frozen=True, slots=True)
class Batch:
    """Statements as CBOR, in order, and the digest of the body that carried them.

    ``statements`` may be cut by guess, which is right for every batch whose pieces all prove canonical: one
    statement's bytes are never the beginning of another's. Where a piece is refused, ``exactly`` cuts again,
    slowly and surely, so that the refusal names the statement that deserves it. ``sealed``: sealed items may stand
    among them (specs/secrecy.md, X2).
    """

    statements: Sequence[bytes]
    digest: bytes
    exactly: Callable[[], Sequence[bytes]] = field(repr=False)
    sealed: bool = False


def batch_of(statements: Sequence[bytes]) -> Batch:
    """Return a batch of statements that are already apart."""
    return _batch(statements, sha256(b"".join(statements)).digest(), lambda: statements)


def read_cbor_batch(body: bytes) -> Batch:
    """Cut a CBOR body: one statement, an array of statements, or a sequence of either (RFC 8742).

    Raises:
        RequestError: HTTP-01, no statement; HTTP-04, too many; CBOR-nn, not canonical.
    """
    digest = sha256(body).digest()
    parts = body.split(_OPENING)
    head = parts[0]
    if len(parts) > 1 and (not head or head == encode_head(4, len(parts) - 1)):
        statements: Sequence[bytes] = [_OPENING + part for part in parts[1:]]
        return _batch(statements, digest, lambda: cut_items(body))
    statements = cut_items(body)
    return _batch(statements, digest, lambda: statements)


def read_json_batch(body: bytes) -> Batch:
    """Convert a JSON body: one statement or an array of statements.

    Raises:
        RequestError: HTTP-01, not JSON; HTTP-04, too many statements.
        StatementRefusedError: one of them is not a statement that CBOR can carry.
    """
    text = _text(body)
    start = _skip_space(text, 0)
    if not text.startswith("[", start):
        return _converted([text], body)
    slices: list[str] = []
    at = _skip_space(text, start + 1)
    while not text.startswith("]", at):
        end = _value_end(text, at)
        slices.append(text[at:end])
        at = _skip_space(text, end)
        if text.startswith(",", at):
            at = _skip_space(text, at + 1)
            if text.startswith("]", at):
                raise _malformed("a comma before the end of the array")
        elif not text.startswith("]", at):
            raise _malformed(f"neither a comma nor the end of the array at character {at}")
    if _skip_space(text, at + 1) != len(text):
        raise _malformed(f"text after the array, at character {at + 1}")
    return _converted(slices, body)


def read_ndjson_batch(body: bytes) -> Batch:
    """Convert newline-delimited JSON, one statement a line; blank lines do not count.

    Raises:
        RequestError: HTTP-01, not text; HTTP-04, too many statements.
        StatementRefusedError: one of them is not a statement that CBOR can carry.
    """
    return _converted([line for line in _text(body).split("\n") if line.strip(_SPACE)], body)


def read_cose_batch(body: bytes) -> Batch:
    """Take a third party's signed statement, byte for byte: one a body (RFC 9943; specs/log.md, L2).

    Raises:
        StatementRefusedError: CBOR-nn or COSE-nn, it is none that the log takes.
    """
    try:
        parse_signed_statement(body)
    except DecodeError as error:
        raise StatementRefusedError(0, error, status=400) from error
    return batch_of([body])


def read_sealed_batch(body: bytes) -> Batch:
    """Cut a sequence (RFC 8742) of sealed items and statements, in any order; arrays are not looked into.

    Raises:
        StatementRefusedError: CBOR-nn (400), the bytes are not canonical; SEAL-01 (422), not a sealed item.
        RequestError: HTTP-01, nothing in it; HTTP-04, too many items.
    """
    items: list[bytes] = []
    at = 0
    while at < len(body):
        if len(items) == BATCH_STATEMENTS_MAX:
            raise _too_many(len(items) + 1)
        try:
            _, end = read_item(body, at)
        except DecodeError as error:
            raise StatementRefusedError(len(items), error, status=400) from error
        items.append(body[at:end])
        at = end
        if items[-1][0] >> 5 != _MAP:
            try:
                decode_item(items[-1])
            except DecodeError as error:
                raise StatementRefusedError(len(items) - 1, error) from error
    batch = _batch(items, sha256(body).digest(), lambda: items)
    return replace(batch, sealed=True)


def cut_items(body: bytes) -> list[bytes]:
    """Cut a CBOR sequence into its items, an array into its elements, by decoding each.

    Raises:
        StatementRefusedError: CBOR-nn (400), the bytes are not canonical; HTTP-04 (413), too many items.
    """
    items: list[bytes] = []
    at = 0
    while at < len(body):
        count, at = _array_head(body, at) if body[at] >> 5 == 4 else (1, at)
        if len(items) + count > BATCH_STATEMENTS_MAX:
            raise _too_many(len(items) + count)
        for _ in range(count):
            try:
                _, end = read_item(body, at)
            except DecodeError as error:
                raise StatementRefusedError(len(items), error, status=400) from error
            items.append(body[at:end])
            at = end
    return items


def _array_head(body: bytes, at: int) -> tuple[int, int]:
    """Return the array's length and where its first element begins (RFC 8949 section 3)."""
    info = body[at] & 0x1F
    if info < 24:
        return info, at + 1
    end = at + 1 + (1 << (info - 24))
    if info > 27 or end > len(body):
        raise _malformed(f"the head of the array at byte {at} has an indefinite or cut-off length")
    return int.from_bytes(body[at + 1 : end], "big"), end


def _batch(statements: Sequence[bytes], digest: bytes, exactly: Callable[[], Sequence[bytes]]) -> Batch:
    if not statements:
        raise _malformed("no statement in it")
    if len(statements) > BATCH_STATEMENTS_MAX:
        raise _too_many(len(statements))
    return Batch(statements, digest, exactly)


def _converted(slices: Sequence[str], body: bytes) -> Batch:
    if len(slices) > BATCH_STATEMENTS_MAX:
        raise _too_many(len(slices))
    statements: list[bytes] = []
    for position, text in enumerate(slices):
        try:
            statements.append(encode_statement(from_json(text)))
        except ProtocolError as error:
            raise StatementRefusedError(position, error, status=400 if error.code == _NOT_JSON else 422) from error
    return _batch(statements, sha256(body).digest(), lambda: statements)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"not UTF-8 at byte {error.start}") from None


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


_JSON = json.JSONDecoder()


def _value_end(text: str, at: int) -> int:
    """Return where the JSON value that begins here ends. What it is, is judged by ``glasslog.statement``."""
    try:
        return _JSON.raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg.lower()} at character {error.pos}") from None
    except (ValueError, RecursionError):
        raise _malformed(f"a number or nesting beyond all bounds in the value at character {at}") from None


def _malformed(fact: str) -> RequestError:
    return RequestError("HTTP-01", f"the body is malformed: {fact}", "correct the request", status=400)


def _too_many(count: int) -> RequestError:
    fact = f"{count} statements in one batch, at most {BATCH_STATEMENTS_MAX}"
    return RequestError("HTTP-04", fact, "send smaller batches", status=413)
