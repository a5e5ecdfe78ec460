"""The lab trains a model in a process of its own; each statement it makes on the way is submitted as it comes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from glasslog_node.demo.commands import Answer, run
from glasslog_node.demo.screen import Screen
from glasslog_node.demo.submitting import submit
from glasslog_node.errors import OperatingError
from glasslog_node.testnet import Testnet

PROGRAM = "glasslog_lab.example.digits"
_LINE_BYTES_MAX = 1 << 20
_PENDING_MAX = 4_096


@dataclass(slots=True)
class Trained:
    """What a training left behind. ``logged`` has the kind of each statement by log index."""

    folder: Path
    weights: Path = Path()
    right: int = 0
    tested: int = 0
    recorded: str = ""
    logged: dict[int, str] = field(default_factory=dict[int, str])
    checkpoint: int = 0
    seconds: float = 0.0  # from acknowledged to published, of the last statements

    def to_value(self) -> dict[str, object]:
        """Return the training as JSON."""
        return {
            "weights": str(self.weights), "right": self.right, "tested": self.tested, "recorded": self.recorded,
            "logged": {str(index): kind for index, kind in self.logged.items()},
        }  # fmt: skip


async def train(testnet: Testnet, folder: Path, screen: Screen) -> Trained:
    """Train, show it, and return once every statement is published.

    Raises:
        OperatingError: DEMO-02 the training ended with a fault, DEMO-05 a statement was not published.
    """
    trained = Trained(folder)
    log = folder.with_suffix(".log")
    with log.open("wb") as complaints:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", PROGRAM, "train", str(folder), "--hold", "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints,
        )  # fmt: skip
    try:
        async with trio.open_nursery() as nursery:
            send, receive = trio.open_memory_channel[dict[str, Any]](_PENDING_MAX)
            nursery.start_soon(_submit_all, testnet, receive, process, screen, trained)
            await _read_events(process, send, screen)
        status = await process.wait()
    finally:
        screen.close()
        process.kill()
    if status or not trained.tested:
        lines = log.read_text("utf-8", "replace").strip().splitlines() or [f"status {status}"]
        raise OperatingError("DEMO-02", f"the training failed: {lines[-1][:300]}", f"read {log}, or name a --model")
    return trained


async def replay(folder: Path, beacon: str, count: int) -> Answer:
    """Do ``count`` of the training's segments again, chosen by ``beacon``, in a process of its own."""
    return await run(PROGRAM, ["replay", str(folder), "--beacon", beacon, "--count", str(count), "--json"])


async def _read_events(process: trio.Process, send: trio.MemorySendChannel[dict[str, Any]], screen: Screen) -> None:
    """Pass on what the training says, line by line; steps are shown at once."""
    assert process.stdout is not None, "it was asked for"
    pending = b""
    async with send:
        async for data in process.stdout:
            *lines, pending = (pending + data).split(b"\n")
            if len(pending) > _LINE_BYTES_MAX:
                raise OperatingError("DEMO-02", "the training says something endless", "name a --model")
            for line in lines:
                event: dict[str, Any] = json.loads(line)
                if event["event"] == "step":
                    screen.step(event)
                else:
                    await send.send(event)


async def _submit_all(
    testnet: Testnet,
    receive: trio.MemoryReceiveChannel[dict[str, Any]],
    process: trio.Process,
    screen: Screen,
    trained: Trained,
) -> None:
    """Submit statements in their order; what waits meanwhile goes as one batch."""
    async for first in receive:
        events = [first]
        while True:
            try:
                events.append(receive.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        stated = [event for event in events if event["event"] == "statement"]
        if stated:
            published = await submit(testnet, [event["statement"] for event in stated])
            trained.logged |= dict(zip(published.indices, (event["kind"] for event in stated), strict=True))
            trained.checkpoint, trained.seconds = published.checkpoint, published.seconds
        for event in events:
            await _show(event, process, screen, trained)


async def _show(event: dict[str, Any], process: trio.Process, screen: Screen, trained: Trained) -> None:
    match event["event"]:
        case "ready":
            kinds = ", ".join(f"{kind} {index}" for index, kind in trained.logged.items())
            screen.tell(f"logged before the first update: {kinds}")
            screen.open(event)
            assert process.stdin is not None, "it was asked for"
            with contextlib.suppress(trio.BrokenResourceError):  # it has ended, and its status says so
                await process.stdin.send_all(b"\n")
        case "segment":
            segments = [index for index, kind in trained.logged.items() if kind == "training-segment"]
            screen.segment(event, segments[int(event["number"]) - 1])
        case "recorded":
            trained.recorded = event["line"]
        case "done":
            screen.close()
            trained.right, trained.tested = event["right"], event["test"]
            trained.weights = Path(event["model"])
            screen.tell(f"every update recorded: {trained.recorded}")
            screen.tell(
                f"{trained.weights.name}: {trained.right} of {trained.tested} digits it had not seen are read right, "
                f"{100 * trained.right / trained.tested:.1f} %"
            )
            screen.digits(event["shown"])
        case _:
            pass
