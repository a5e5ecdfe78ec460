"""A real network of processes for the tests: its load, its clients' memory, and what its replicas hold in the end."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import trio

from glasslog.merkle import hash_leaves, root
from glasslog.statement import STATEMENT_TYPE, encode_statement
from glasslog_node.cli.connection import read_token
from glasslog_node.fleet import LOG_FILE, Fleet, open_client, open_fleet
from glasslog_node.store.store import Store
from glasslog_node.testnet import Testnet, TestnetNode, new_testnet

Node: TypeAlias = TestnetNode  # under its own name pytest would take it for a test class

PATIENCE = 120.0  # seconds any single wait may take, on a loaded machine
_DIGEST_BYTES = 32


def report(line: str) -> None:
    """A measured figure: shown by ``pytest -s``, never asserted."""
    print(f"  [chaos] {line}", flush=True)  # noqa: T201 - a test's report


def found(folder: Path, *, validators: int = 4, labs: int = 1) -> Testnet:
    return new_testnet(folder, validators=validators, labs=labs, time_ms=time.time_ns() // 1_000_000)


def run(test: Callable[..., Awaitable[None]], *args: Any, seconds: float = 5 * PATIENCE) -> None:
    async def limited() -> None:
        with trio.fail_after(seconds):
            await test(*args)

    trio.run(limited)


# --- nodes ------------------------------------------------------------------------------------------


@asynccontextmanager
async def network(testnet: Testnet, *, absent: Iterable[str] = ()) -> AsyncIterator[Fleet]:
    """The testnet's nodes, connected; none of them may end by itself."""
    async with open_fleet(testnet, start=False) as fleet:
        for node in testnet.nodes:
            if node.name not in absent:
                await fleet.start(node)
        await fleet.wait_until_connected(PATIENCE)
        yield fleet
        assert fleet.ended() == {}, [fleet.last_words(node) for node in testnet.nodes if node.name in fleet.ended()]


async def kill(fleet: Fleet, *nodes: Node) -> None:
    """SIGKILL all of them, the last before the first is gone."""
    processes = [fleet.processes.pop(node.name) for node in nodes]
    for process in processes:
        process.kill()
    for process in processes:
        await process.wait()


async def stop(fleet: Fleet, node: Node) -> None:
    process = fleet.processes.pop(node.name)
    process.terminate()
    with trio.fail_after(PATIENCE):
        assert await process.wait() == 0, fleet.last_words(node)


async def until(what: str, condition: Callable[[], Awaitable[bool]], *, seconds: float = PATIENCE) -> float:
    """Wait for a state that has no event of its own; return how long it took."""
    begun = trio.current_time()
    with trio.move_on_after(seconds):
        while not await condition():
            await trio.sleep(0.05)
        return trio.current_time() - begun
    raise AssertionError(f"not within {seconds} s: {what}")


async def height_of(fleet: Fleet, node: Node) -> int:
    return int((await fleet.status(node) or {}).get("height", -1))


async def wait_for_height(fleet: Fleet, nodes: Iterable[Node], height: int) -> float:
    async def there() -> bool:
        return all([await height_of(fleet, node) >= height for node in nodes])

    return await until(f"height {height}", there)


async def wait_for_growth(fleet: Fleet, nodes: Iterable[Node], heights: int = 3) -> float:
    """Finalization goes on: these nodes finalize that many more heights."""
    nodes = list(nodes)
    return await wait_for_height(fleet, nodes, max([await height_of(fleet, node) for node in nodes]) + heights)


async def peer_faults(node: Node) -> Counter[tuple[str, str]]:
    """What the node counted of its peers' faults, by peer and code."""
    faults: Counter[tuple[str, str]] = Counter()
    async with open_client(node.config) as client:
        for line in (await client.get("/metrics")).text.splitlines():
            if line.startswith("glasslog_peer_faults_total{"):
                labels = dict(part.split("=") for part in line[line.index("{") + 1 : line.index("}")].split(","))
                faults[labels["peer"].strip('"'), labels["code"].strip('"')] = int(float(line.rpartition(" ")[2]))
    return faults


def log_of(node: Node) -> str:
    return (node.folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")


# --- commands ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


async def glasslog(*arguments: object) -> Answer:
    """Run ``glasslog`` as a process."""
    command = [sys.executable, "-m", "glasslog_node", *map(str, arguments)]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(command, stdin=b"", capture_stdout=True, capture_stderr=True, check=False)
    assert isinstance(done, subprocess.CompletedProcess)
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


# --- load -------------------------------------------------------------------------------------------

_HEAD, _TAIL = encode_statement(
    {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "step", "digest": {"sha256": bytes(_DIGEST_BYTES)}}],
        "predicateType": "urn:glasslog:chaos",
        "predicate": {},
    }
).split(bytes(_DIGEST_BYTES))


def statement_of(digest: bytes) -> bytes:
    return _HEAD + digest + _TAIL


class Load:
    """Clients of one lab that never give up: a batch is sent, under its idempotency key, until it has its 202."""

    def __init__(self, lab: Node, *, clients: int = 2, batch: int = 50, pause: float = 0.05) -> None:
        self.lab = lab
        self.sent: set[bytes] = set()
        self.acknowledged: set[bytes] = set()
        self.refusals: Counter[str] = Counter()  # by code
        self._clients, self._batch, self._pause = clients, batch, pause
        self._stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send while the block lasts; then until every batch begun is acknowledged."""
        self._stopping = False
        async with trio.open_nursery() as nursery:
            for _ in range(self._clients):
                nursery.start_soon(self._run)
            yield
            self._stopping = True
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE
        assert self.sent == self.acknowledged, "the lab did not take every batch in the end"

    def slow_down(self) -> None:
        """From now on a few batches a second."""
        self._batch, self._pause = 10, 0.5

    async def wait_for(self, more: int) -> None:
        """Wait until that many more statements are acknowledged."""
        goal = len(self.acknowledged) + more

        async def there() -> bool:
            return len(self.acknowledged) >= goal

        await until(f"{more} more acknowledged statements", there)

    async def _run(self) -> None:
        async with open_client(self.lab.config, timeout=10) as client:
            while not self._stopping:
                digests = [secrets.token_bytes(_DIGEST_BYTES) for _ in range(self._batch)]
                await self._submit(client, digests)
                await trio.sleep(self._pause)

    async def _submit(self, client: httpx.AsyncClient, digests: list[bytes]) -> None:
        headers = {
            "authorization": f"Bearer {read_token(self.lab.config.token_path)}",
            "content-type": "application/cbor",
            "idempotency-key": secrets.token_hex(16),
        }
        body = b"".join(map(statement_of, digests))
        self.sent.update(digests)
        while True:
            try:
                response = await client.post("/v1/submissions", content=body, headers=headers)
            except httpx.HTTPError:
                self.refusals["unreachable"] += 1
            else:
                if response.status_code == 202:
                    self.acknowledged.update(digests)
                    return
                assert response.status_code in {429, 503, 507}, response.text
                self.refusals[response.json()["code"]] += 1
            await trio.sleep(0.1)


# --- replicas ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replica:
    """One replica as its LMDB folder has it: every leaf was read."""

    size: int
    root: bytes
    height: int
    published: int
    digests: Counter[bytes]


def digest_in(leaf: bytes) -> bytes | None:
    """The digest that makes a statement of the load unique."""
    start = len(leaf) - len(_TAIL) - _DIGEST_BYTES
    if not leaf.endswith(_TAIL) or leaf[max(0, start - len(_HEAD)) : max(0, start)] != _HEAD:
        return None
    return leaf[start : start + _DIGEST_BYTES]


def read_replica(folder: Path) -> Replica:
    """Read every leaf, beside the running node or without it; the tree must be the one that the leaves make."""
    with Store.open(folder, readonly=True) as store:
        edge, height, published = store.edge(), store.height, store.published()
        leaves = list(store.leaves(0, edge.size))
        assert len(leaves) == edge.size
        assert root(hash_leaves(leaves)) == edge.root(), "the stored tree is not that of the stored leaves"
    digests = Counter(digest for digest in map(digest_in, leaves) if digest is not None)
    return Replica(edge.size, edge.root(), height, 0 if published is None else published.size, digests)


async def settle(fleet: Fleet) -> None:
    """Wait until nothing is under way: all replicas equal, all of it published."""

    async def quiet() -> bool:
        statuses = [await fleet.status(node) for node in fleet.testnet.nodes if node.name in fleet.processes]
        first = statuses[0]
        return first is not None and all(
            status is not None
            and status["spooled"] == 0
            and (status["size"], status["root"]) == (first["size"], first["root"])
            and status["published"] == status["size"]
            for status in statuses
        )

    await until("all replicas equal and published", quiet)


def check_exactly_once(testnet: Testnet, load: Load) -> int:
    """Every acknowledged statement is in every replica once, nothing else is, all roots are equal; return the size."""
    replicas = {node.name: read_replica(node.config.data) for node in testnet.nodes}
    for name, replica in replicas.items():
        doubled = {digest.hex(): count for digest, count in replica.digests.items() if count > 1}
        assert not doubled, f"{name} holds {len(doubled)} statements more than once"
        lost = load.acknowledged - replica.digests.keys()
        assert not lost, f"{name} lost {len(lost)} of {len(load.acknowledged)} acknowledged statements"
        assert replica.digests.keys() <= load.sent, f"{name} holds statements that nobody sent"
    assert len({(replica.size, replica.root) for replica in replicas.values()}) == 1, replicas.keys()
    return next(iter(replicas.values())).size
