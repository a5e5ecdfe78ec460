"""Every way a request can fail, turned in one place into an HTTP status and ``{code, fact, next}`` (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glasslog.errors import ProtocolError
from glasslog_node.batches import StatementRefusedError
from glasslog_node.errors import OperatingError, RequestError

RETRY_SECONDS = 1
Refused = Callable[[str], object]


def problem(error: OperatingError, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return the problem document of an error."""
    value: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": error.code,
        "fact": error.fact,
        "next": error.next_step,
    }
    if isinstance(error, StatementRefusedError):
        value["statement"] = error.position
    extra = dict(headers or {})
    if status in (401, 408, 413, 415):
        # The rest of the body is not going to be read, so the connection cannot carry another request.
        extra["connection"] = "close"
    if status in (409, 429, 503) and error.code != "HTTP-03":
        extra.setdefault("retry-after", str(RETRY_SECONDS))
    if status == 401:
        extra["www-authenticate"] = 'Bearer realm="glasslog"'
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, extra, media_type="application/problem+json")


def describe(error: Exception) -> tuple[OperatingError, int] | None:
    """Return what to tell the client about this error, or None where the error is our own bug."""
    match error:
        case RequestError():
            return error, error.status
        case ProtocolError():
            return RequestError(error.code, error.fact, "correct the request", status=422), 422
        case OperatingError():
            # The node's own trouble: the client hears that, the details stay in the log.
            fact = f"the node cannot do this now ({error.code})"
            return RequestError("HTTP-08", fact, "try again; ask the operator to look at the log", status=503), 503
        case HTTPException(status_code=404):
            return RequestError("HTTP-10", "no such path", "see specs/log.md for the paths", status=404), 404
        case HTTPException(status_code=405):
            return RequestError("HTTP-11", "this path does not take this method", "use another method", status=405), 405
        case HTTPException():
            return RequestError("HTTP-13", error.detail, "correct the request", status=400), error.status_code
        case _:
            return None


def our_bug() -> tuple[OperatingError, int]:
    """Return what a client hears of an error that only a bug of ours can cause."""
    fact = "this is a bug in glasslog; the details are in the node's log"
    return RequestError("HTTP-99", fact, "try again, and report it with those details", status=500), 500


class Guard:
    """The outermost application: no exception leaves it, and every refusal is counted."""

    def __init__(self, app: ASGIApp, refused: Refused) -> None:
        self._app = app
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app  # so that the router raises what it refuses, instead of answering in plain text
        started = False

        async def send_once(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_once)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the boundary: a client's request must not end the node
            if not started:
                await self.answer(error, scope, receive, send)
            elif describe(error) is None:
                await _log_bug(error, scope)

    async def answer(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with the problem that ended it."""
        described = describe(error)
        if described is None:
            await _log_bug(error, scope)
            described = our_bug()
        fault, status = described
        if isinstance(error, OperatingError) and not isinstance(error, RequestError):
            structlog.get_logger().error("request failed", code=error.code, fact=error.fact, path=scope["path"])
        self._refused(fault.code)
        headers = error.headers if isinstance(error, HTTPException) else None
        await problem(fault, status, headers)(scope, receive, send)


async def _log_bug(error: Exception, scope: Scope) -> None:
    structlog.get_logger().error("bug: request failed", path=scope["path"], method=scope["method"], exc_info=error)
