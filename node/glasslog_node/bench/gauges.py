"""What processes use, read from outside: CPU, anonymous memory, bytes sent, bytes on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]  # publishes no types
import trio

from glasslog_node.fleet import Fleet, open_client
from glasslog_node.testnet import TestnetNode

SAMPLE_SECONDS = 0.5


@dataclass(slots=True)
class Usage:
    """Totals at one moment: CPU seconds by process, bytes sent by all, bytes on all disks."""

    cpu: dict[str, float]
    sent_bytes: float
    disk_bytes: int


@dataclass(slots=True)
class Gauges:
    """Reads a fleet's usage; ``peak_rss`` is the largest anonymous memory seen of each process, in bytes."""

    fleet: Fleet
    peak_rss: dict[str, int] = field(default_factory=dict[str, int])

    async def usage(self) -> Usage:
        """Return the totals now."""
        cpu = {name: _cpu_seconds(process.pid) for name, process in self.fleet.processes.items()}
        sent = 0.0
        for node in self.fleet.testnet.nodes:
            metrics = await _metrics(node)
            sent += metrics.get("glasslog_sent_bytes", 0.0)
        return Usage(cpu, sent, sum(_disk_bytes(node.config.data) for node in self.fleet.testnet.nodes))

    async def watch(self) -> None:
        """Sample memory until cancelled."""
        while True:
            for name, process in self.fleet.processes.items():
                rss = _anonymous_rss(process.pid)
                self.peak_rss[name] = max(rss, self.peak_rss.get(name, 0))
            await trio.sleep(SAMPLE_SECONDS)


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _anonymous_rss(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    return 0 if found is None else int(found[1]) * 1024


def _disk_bytes(folder: Path) -> int:
    """Return what the files occupy: LMDB's map is sparse, so its length says nothing."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


async def _metrics(node: TestnetNode) -> Mapping[str, float]:
    async with open_client(node.config) as client:
        try:
            text = (await client.get("/metrics")).text
        except httpx.HTTPError:
            return {}
    values: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#") and "{" not in name:
            values[name] = float(value)
    return values
