"""The ASGI application: the log's read-only paths, and, inside the institute, submission and status.

``public_app`` is what strangers may reach: tlog-tiles, entries and bundles, nothing that writes and nothing about
the node itself. ``node_app`` adds the rest. Both are made of the same routes, so that they answer alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from glasslog_node.api.node_routes import Writes, node_routes
from glasslog_node.api.problems import Guard
from glasslog_node.api.reads import read_routes
from glasslog_node.errors import RequestError
from glasslog_node.seams import LogReader


def public_app(reader: LogReader, *, refused: Callable[[str], object] = str) -> ASGIApp:
    """Return the read-only application; ``refused`` is called with each refusal's code."""
    return _guarded(read_routes(reader), refused)


def node_app(reader: LogReader, writes: Writes) -> ASGIApp:
    """Return the whole application, for loopback or a unix socket."""
    counter = writes.metrics.refused

    def refused(code: str) -> None:
        counter.labels(code=code).inc()

    return _guarded([*read_routes(reader), *node_routes(writes, reader)], refused)


def _guarded(routes: Sequence[BaseRoute], refused: Callable[[str], object]) -> ASGIApp:
    # The bare router: Starlette's application would add handlers that answer in plain text before the guard hears
    # of an error. Without redirects, because their target's host would be of the client's choice.
    return Guard(Router(routes, redirect_slashes=False, default=_no_such_path), refused)


async def _no_such_path(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RequestError("HTTP-10", "no such path", "see specs/log.md for the paths", status=404)
