"""Serving an application on loopback or a unix socket, with every wait bounded."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.config import Sockets
from hypercorn.logging import Logger
from hypercorn.trio.run import worker_serve
from hypercorn.utils import wrap_app  # pyright: ignore[reportUnknownVariableType] - half typed there
from starlette.types import ASGIApp

from glasslog_node.config import UNIX_PREFIX, split_address
from glasslog_node.errors import ConfigError

HEADER_SECONDS_MAX = 10.0
GRACE_SECONDS = 3.0
_BACKLOG = 256


class _Log(Logger):
    """Hypercorn's log, in ours: it would otherwise write to standard error in a form of its own."""

    def __init__(self, config: HypercornConfig) -> None:
        super().__init__(config)
        self.error_logger = logging.getLogger("glasslog.http")  # has no handler: passes all on to the root's


def open_listener(bind: str) -> socket.socket:
    """Bind ``host:port`` or ``unix:/path``; the latter is opened to its owner only.

    Raises:
        ConfigError: HTTP-20, the address is in use; HTTP-21, it cannot be had.
    """
    try:
        if bind.startswith(UNIX_PREFIX):
            return _open_unix(Path(bind[len(UNIX_PREFIX) :]))
        host, port = split_address(bind)
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = infos[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        if e.errno == errno.EADDRINUSE:
            fact = f"{bind} is in use by another process"
            raise ConfigError("HTTP-20", fact, "stop that process, or change http.bind in the configuration") from e
        raise ConfigError("HTTP-21", f"cannot listen on {bind}: {reason}", "change http.bind") from e
    return listener


def _open_unix(path: Path) -> socket.socket:
    """Bind a unix socket, replacing the file of a process that is gone, never that of one that answers."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                in_use = probe.connect_ex(str(path)) == 0
            if not in_use:  # else bind says so
                path.unlink()
        # The mask, not a later chmod: there is to be no moment at which others can connect.
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
    except OSError:
        listener.close()
        raise
    return listener


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    *,
    stop: Callable[[], Awaitable[None]] = trio.sleep_forever,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until ``stop`` returns, then let requests in progress finish for a moment. Started when listening.

    A connection that has not sent a whole request head in 10 s is closed; bodies have a limit of their own.
    """
    config = HypercornConfig()
    config.logger_class = _Log
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = HEADER_SECONDS_MAX  # also bounds how slowly a request's head may come
    config.keep_alive_max_requests = 1_000_000
    config.graceful_timeout = GRACE_SECONDS
    config.h11_max_incomplete_size = 32 << 10
    address = listener.getsockname()
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    sockets = Sockets([], [listener], [])
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]  # Starlette's types are wider
    try:
        await worker_serve(wrapped, config, sockets=sockets, shutdown_trigger=stop, task_status=task_status)
    finally:
        listener.close()
        _remove_unix(address)


def _remove_unix(address: object) -> None:
    """Remove the file of a unix socket, so that the next one does not have to ask whether somebody answers."""
    if isinstance(address, str):
        Path(address).unlink(missing_ok=True)
