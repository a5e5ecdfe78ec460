"""Public reads in a process of their own: strangers' load and strangers' bytes stay away from the validator."""

from __future__ import annotations

import structlog
import trio

from glasslog_node.api.app import public_app
from glasslog_node.api.server import open_listener, serve
from glasslog_node.config import NodeConfig
from glasslog_node.errors import ConfigError
from glasslog_node.genesis import load_genesis
from glasslog_node.reader import StoreReader
from glasslog_node.store.store import Store


async def run_public(config: NodeConfig) -> None:
    """Serve the replica in ``config.data`` read-only at ``http.public_bind`` until cancelled.

    Raises:
        ConfigError: HTTP-22 no public_bind, HTTP-20 or HTTP-21 it cannot be had.
        StoreError: the replica cannot be opened.
    """
    if config.http.public_bind is None:
        fact = "http.public_bind is not configured"
        raise ConfigError("HTTP-22", fact, "set it to the address the public may reach")
    genesis = load_genesis(config.genesis)
    listener = open_listener(config.http.public_bind)
    with listener, Store.open(config.data, readonly=True, genesis=genesis.leaves) as store:
        structlog.get_logger().info("public reads", bind=config.http.public_bind, size=store.size)
        await serve(public_app(StoreReader(store)), listener, stop=trio.sleep_forever)
