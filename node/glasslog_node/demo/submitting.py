"""How the demonstration's lab submits: to its own node over HTTP, and waits for the published checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import trio

from glasslog_node.cli.connection import read_token
from glasslog_node.errors import OperatingError
from glasslog_node.fleet import open_client
from glasslog_node.testnet import Testnet

PATIENCE_SECONDS = 60.0


class Published(NamedTuple):
    """Where statements stand, in their order, from which published size on, and how long that took after the 202."""

    indices: list[int]
    checkpoint: int
    seconds: float


async def submit(testnet: Testnet, statements: Sequence[dict[str, Any]]) -> Published:
    """Submit statements as one batch and wait until a checkpoint covers them.

    Raises:
        OperatingError: DEMO-05, they were refused, or not published in time.
    """
    lab = testnet.labs[0]
    headers = {
        "authorization": f"Bearer {read_token(lab.config.token_path)}",
        "content-type": "application/json",
    }
    async with open_client(lab.config, timeout=PATIENCE_SECONDS + 5) as client:
        response = await client.post("/v1/submissions", content=json.dumps(list(statements)), headers=headers)
        if response.status_code != 202:
            raise OperatingError("DEMO-05", f"the lab's node refused: {response.text[:200]}", "read its node.log")
        acknowledged = trio.current_time()
        follow = f"{response.headers['location']}?wait=published&timeout={PATIENCE_SECONDS:g}"
        state = (await client.get(follow)).json()
        if state.get("state") != "published":
            fact = f"nothing was published within {PATIENCE_SECONDS:g} s"
            raise OperatingError("DEMO-05", fact, f"read node.log in the folders of {testnet.folder}")
    indices = [run["index"] + place for run in state["runs"] for place in range(run["count"])]
    return Published(indices, state["checkpoint"], trio.current_time() - acknowledged)
