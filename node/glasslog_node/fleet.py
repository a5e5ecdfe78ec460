"""Running a testnet's nodes as child processes: start, ask, kill, stop. Nothing is restarted silently.

A child ends when its standard input closes, so that none outlives this process, however it ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from glasslog_node.config import UNIX_PREFIX, NodeConfig
from glasslog_node.errors import OperatingError
from glasslog_node.testnet import Testnet, TestnetNode

STOP_SECONDS = 10.0
ASK_SECONDS = 2.0
LOG_FILE = "node.log"


class Fleet:
    """The running nodes of a testnet, by name. Made by ``open_fleet``."""

    def __init__(self, testnet: Testnet) -> None:
        self.testnet = testnet
        self.processes: dict[str, trio.Process] = {}
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def start(self, node: TestnetNode) -> trio.Process:
        """Start one node; its output goes to ``node.log`` in its folder."""
        command = [sys.executable, "-m", "glasslog_node", "node", "run", "--with-parent"]
        with (node.folder / LOG_FILE).open("ab") as log:
            process = await trio.lowlevel.open_process(
                [*command, "--config", str(node.config_path)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to the whole terminal: the nodes are to hear it from us, in order.
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.processes[node.name] = process
        return process

    async def kill(self, name: str) -> None:
        """End a node at once, as a power cut would (SIGKILL)."""
        self.processes[name].kill()
        await self.processes[name].wait()

    async def stop(self) -> list[str]:
        """Ask every node to stop; kill those that have not after 10 s and return their names."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        late: list[str] = []
        with trio.CancelScope(shield=True):
            deadline = trio.current_time() + STOP_SECONDS
            for name, process in self.processes.items():
                with trio.move_on_at(deadline) as scope:
                    await process.wait()
                if scope.cancelled_caught:
                    late.append(name)
                    await self.kill(name)
            for client in self._clients.values():
                await client.aclose()
        return late

    def ended(self) -> Mapping[str, int]:
        """Return the exit status of every node that has ended, negative for a signal."""
        statuses = {name: process.poll() for name, process in self.processes.items()}
        return {name: status for name, status in statuses.items() if status is not None}

    def last_words(self, node: TestnetNode, lines: int = 5) -> list[str]:
        """Return the end of a node's log."""
        path = node.folder / LOG_FILE
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]

    async def status(self, node: TestnetNode) -> dict[str, Any] | None:
        """Return what a node says of itself (``/v1/status``), None where it does not answer."""
        client = self._clients.get(node.name)
        if client is None:
            client = self._clients[node.name] = open_client(node.config)
        try:
            response = await client.get("/v1/status")
            value: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError):
            return None
        return value if response.status_code == 200 else None

    async def wait_for_height(self, height: int, seconds: float) -> None:
        """Return once every node that runs has finalized this height.

        Raises:
            OperatingError: FLEET-01 a node ended, FLEET-02 it took longer than ``seconds``.
        """
        with trio.move_on_after(seconds) as patience:
            for node in self.testnet.nodes:
                while ((await self.status(node)) or {}).get("height", -1) < height:
                    self._check_alive()
                    await trio.sleep(0.05)
        if not patience.cancelled_caught:
            return
        fact = f"not every node finalized height {height} within {seconds:g} s"
        raise OperatingError("FLEET-02", fact, f"read {LOG_FILE} in the nodes' folders of {self.testnet.folder}")

    async def wait_for_size(self, size: int, seconds: float) -> None:
        """Return once every node that runs holds and shows this published size.

        Raises:
            OperatingError: FLEET-01 a node ended, FLEET-02 it took longer than ``seconds``.
        """
        with trio.move_on_after(seconds) as patience:
            for node in self.testnet.nodes:
                while ((await self.status(node)) or {}).get("published", -1) < size:
                    self._check_alive()
                    await trio.sleep(0.05)
        if patience.cancelled_caught:
            fact = f"not every node published size {size} within {seconds:g} s"
            raise OperatingError("FLEET-02", fact, f"read {LOG_FILE} in the nodes' folders of {self.testnet.folder}")

    async def wait_until_connected(self, seconds: float) -> None:
        """Return once every node that runs is connected to every other one that does.

        Raises:
            OperatingError: FLEET-01 a node ended, FLEET-03 it took longer than ``seconds``.
        """
        running = {name for name, process in self.processes.items() if process.poll() is None}
        with trio.move_on_after(seconds) as patience:
            for node in self.testnet.nodes:
                while node.name in running:
                    status = await self.status(node)
                    connected = {peer["name"] for peer in (status or {}).get("peers", ()) if peer["connected"]}
                    if status is not None and running - {node.name} <= connected:
                        break
                    self._check_alive()
                    await trio.sleep(0.05)
        if patience.cancelled_caught:
            fact = f"not every node found the others within {seconds:g} s"
            raise OperatingError("FLEET-03", fact, f"read {LOG_FILE} in the nodes' folders of {self.testnet.folder}")

    def _check_alive(self) -> None:
        for name, status in self.ended().items():
            node = next(node for node in self.testnet.nodes if node.name == name)
            words = " / ".join(self.last_words(node, 1))
            fact = f"{name} ended with status {status}: {words[:300]}"
            raise OperatingError("FLEET-01", fact, f"read {node.folder / LOG_FILE}")


@asynccontextmanager
async def open_fleet(testnet: Testnet, *, start: bool = True) -> AsyncGenerator[Fleet]:
    """Run a testnet's nodes while the block lasts; on leaving it, stop them."""
    fleet = Fleet(testnet)
    try:
        if start:
            for node in testnet.nodes:
                await fleet.start(node)
        yield fleet
    finally:
        await fleet.stop()


def open_client(config: NodeConfig, *, timeout: float = ASK_SECONDS) -> httpx.AsyncClient:
    """Return an HTTP client for a node on this machine; never through a proxy."""
    bind = config.http.bind
    if bind.startswith(UNIX_PREFIX):
        transport = httpx.AsyncHTTPTransport(uds=bind[len(UNIX_PREFIX) :])
        return httpx.AsyncClient(base_url="http://node", transport=transport, timeout=timeout)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)  # every long poll holds one
    return httpx.AsyncClient(base_url=f"http://{bind}", timeout=timeout, limits=limits, trust_env=False)
