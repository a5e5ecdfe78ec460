"""Waiting, in trio, for what another thread does."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

import trio

T = TypeVar("T")


async def durably(future: Future[T]) -> T:
    """Wait until a write is on stable storage and return its result, or raise what it raised."""
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def tell(_future: Future[T]) -> None:
        try:
            token.run_sync_soon(done.set)
        except trio.RunFinishedError:
            return  # the node ended first; nobody waits any more

    future.add_done_callback(tell)
    await done.wait()
    return future.result()
