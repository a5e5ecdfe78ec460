"""Drives load through the labs' HTTP interfaces and follows every submission to its published checkpoint."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count as naturals
from typing import Any

import trio

from glasslog_node.bench.gauges import Gauges, Usage
from glasslog_node.bench.statements import StatementMaker
from glasslog_node.cli.connection import read_token
from glasslog_node.errors import OperatingError
from glasslog_node.fleet import Fleet, open_client
from glasslog_node.testnet import TestnetNode

WARM_UP_SECONDS = 3.0
DRAIN_SECONDS = 60.0
RECENT = 256  # submissions looked at again in the end; more are never under way at once
BATCH = 2_048  # statements a request, where no rate is asked for
IN_FLIGHT = 12  # batches a lab has acknowledged and not published, where no rate is asked for: throughput, not queueing
FOLLOW_SECONDS = 50
FOLLOWED_PER_SECOND = 20.0  # at a rate above this, only every k-th submission: following must not be the load
_RETRY_SECONDS = 0.1

Tell = Callable[[str], None]


@dataclass(slots=True)
class Tally:
    """What happened: counts by when they were published, latencies in seconds from acknowledgement."""

    acknowledged: int = 0
    published: int = 0
    refused: int = 0
    latencies: list[float] = field(default_factory=list[float])


@dataclass(frozen=True, slots=True)
class Load:
    """What to drive: statements a second over all labs (None: as many as there is room for), and for how long."""

    entry_bytes: int
    rate: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome of one run."""

    attestations_per_second: float
    seconds: float
    published: int
    refused: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    cpu_seconds_per_1000: float
    cpu_by_process: dict[str, float]
    sent_bytes_per_attestation: float
    disk_bytes_per_attestation: float
    peak_rss_bytes: dict[str, int]


class Driver:
    """Submits to one lab."""

    def __init__(self, node: TestnetNode, load: Load, tally: Tally) -> None:
        self._load = load
        self._tally = tally
        self._maker = StatementMaker(load.entry_bytes, node.name)
        self._client = open_client(node.config, timeout=FOLLOW_SECONDS + 10)
        token = read_token(node.config.token_path)
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/cbor"}
        self._slots = trio.CapacityLimiter(IN_FLIGHT if load.rate is None else 100_000)
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._published = 0
        self.counting = False

    async def run(self, nursery: trio.Nursery, rate: float | None) -> None:
        """Submit until cancelled."""
        if rate is None:
            while True:
                await self._slots.acquire_on_behalf_of(token := object())
                nursery.start_soon(self._one, BATCH, token)
                await trio.lowlevel.checkpoint()
        due, every = trio.current_time(), max(1, round(rate / FOLLOWED_PER_SECOND))
        for number in naturals(1):
            due += 1 / rate
            await trio.sleep_until(due)
            if number % every:
                nursery.start_soon(self._one, 1, None)
            else:
                await self._slots.acquire_on_behalf_of(token := object())
                nursery.start_soon(self._one, 1, token)

    async def _one(self, size: int, token: object | None) -> None:
        """Submit one batch; with a token, also wait until its checkpoint is published."""
        location = await self._post(self._maker.batch(size))
        acknowledged = trio.current_time()
        counting = self.counting
        self._tally.acknowledged += size
        self._recent.append(location)
        if token is None:
            return
        try:
            self._note(await self._follow(location))
            if counting:
                self._tally.latencies.append(trio.current_time() - acknowledged)
        finally:
            self._slots.release_on_behalf_of(token)

    def _note(self, state: dict[str, Any]) -> None:
        """Count what is published: an author's entries are so in the order of their numbers, followed or not."""
        last = state["runs"][-1]
        published = max(self._published, last["number"] + last["count"])
        self._tally.published += published - self._published
        self._published = published

    async def drain(self) -> None:
        """Return once the last submissions, and so every one, are published."""
        for location in self._recent:  # acknowledged side by side, so not in the order of their numbers
            self._note(await self._follow(location))

    async def _post(self, body: bytes) -> str:
        while True:
            response = await self._client.post("/v1/submissions", content=body, headers=self._headers)
            if response.status_code == 202:
                return str(response.headers["location"])
            if response.status_code != 429:
                raise OperatingError("BENCH-02", f"the lab answered {response.text[:200]}", "read its node.log")
            self._tally.refused += 1
            await trio.sleep(_RETRY_SECONDS)

    async def _follow(self, location: str) -> dict[str, Any]:
        while True:
            response = await self._client.get(f"{location}?wait=published&timeout={FOLLOW_SECONDS}")
            state: dict[str, Any] = response.json()
            if state.get("state") == "published":
                return state

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def measure(fleet: Fleet, load: Load, tell: Tell) -> Measured:
    """Run the load on a running fleet: warm up, measure for ``load.seconds``, let everything drain.

    Raises:
        OperatingError: BENCH-02 a lab refused, BENCH-03 not everything acknowledged was published.
    """
    tally, gauges = Tally(), Gauges(fleet)
    labs = fleet.testnet.labs
    drivers = [Driver(lab, load, tally) for lab in labs]
    rate = None if load.rate is None else load.rate / len(labs)
    async with trio.open_nursery() as watching:
        watching.start_soon(gauges.watch)
        async with trio.open_nursery() as following:
            async with _driving(drivers, following, rate):
                tell(f"warming up for {WARM_UP_SECONDS:g} s")
                await trio.sleep(WARM_UP_SECONDS)
                before, published, begun = await gauges.usage(), tally.published, trio.current_time()
                for driver in drivers:
                    driver.counting = True
                tell(f"measuring for {load.seconds:g} s")
                await trio.sleep(load.seconds)
                seconds = trio.current_time() - begun
                published = tally.published - published
                after = await gauges.usage()
            tell("waiting until everything acknowledged is published")
            following.cancel_scope.deadline = trio.current_time() + DRAIN_SECONDS
        with trio.move_on_after(DRAIN_SECONDS):
            for driver in drivers:
                await driver.drain()
        watching.cancel_scope.cancel()
    for driver in drivers:
        await driver.close()
    if tally.published != tally.acknowledged:
        fact = f"{tally.acknowledged - tally.published} acknowledged attestations were not published"
        raise OperatingError("BENCH-03", fact, "read node.log of the nodes")
    return _result(tally, published, seconds, (before, after), gauges)


@asynccontextmanager
async def _driving(drivers: list[Driver], following: trio.Nursery, rate: float | None) -> AsyncGenerator[None]:
    async with trio.open_nursery() as driving:
        for driver in drivers:
            driving.start_soon(driver.run, following, rate)
        yield
        driving.cancel_scope.cancel()


def _result(tally: Tally, count: int, seconds: float, span: tuple[Usage, Usage], gauges: Gauges) -> Measured:
    before, after = span
    cpu = {name: after.cpu[name] - before.cpu[name] for name in after.cpu}
    each = max(count, 1)
    return Measured(
        attestations_per_second=count / seconds,
        seconds=seconds,
        published=count,
        refused=tally.refused,
        p50_ms=_percentile(tally.latencies, 0.50),
        p90_ms=_percentile(tally.latencies, 0.90),
        p99_ms=_percentile(tally.latencies, 0.99),
        cpu_seconds_per_1000=sum(cpu.values()) / each * 1000,
        cpu_by_process=cpu,
        sent_bytes_per_attestation=(after.sent_bytes - before.sent_bytes) / each,
        disk_bytes_per_attestation=(after.disk_bytes - before.disk_bytes) / each,
        peak_rss_bytes=gauges.peak_rss,
    )


def _percentile(latencies: list[float], part: float) -> float:
    """Return the nearest-rank percentile in milliseconds; 0 where nothing was measured."""
    if not latencies:
        return 0.0
    ordered = sorted(latencies)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] * 1000
