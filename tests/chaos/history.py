"""What was seen of a network while it was being spoiled, and what its replicas have to agree on in the end."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import time

import httpx
import psutil  # type: ignore[import-untyped]  # publishes no types
import trio

from chaos.rig import Load, Node, check_exactly_once, glasslog, peer_faults
from glasslog.agreement.evidence import Evidence, decode_evidence, verify_evidence
from glasslog.entry import StatementEntry, decode_leaf
from glasslog.identity import verify_ed25519
from glasslog.membership import read_genesis
from glasslog.merkle import EMPTY_ROOT, hash_children, hash_leaf
from glasslog.predicates.evidence import EVIDENCE_TYPE, read_evidence
from glasslog.statement import decode_statement
from glasslog_node.bench.gauges import _anonymous_rss
from glasslog_node.fleet import Fleet, open_client
from glasslog_node.store.store import Store
from glasslog_node.testnet import Testnet

SAMPLE_SECONDS = 1.0
FAULTS_EVERY = 5  # samples


class ViolationError(AssertionError):
    """Something that no fault within the threat model may bring about."""


@dataclass(frozen=True)
class Usage:
    """A process as the kernel sees it."""

    age: float  # seconds
    rss: int  # anonymous, bytes
    descriptors: int


def median_usage(looks: Sequence[Usage]) -> Usage:
    """The medians of several looks at one process."""
    rss, descriptors = (median(getattr(one, name) for one in looks) for name in ("rss", "descriptors"))
    return Usage(looks[0].age, int(rss), int(descriptors))


@dataclass
class History:
    """All that nodes said of themselves, and when they came back."""

    fleet: Fleet
    height: int = 0  # the highest that any node has reported
    roots: dict[int, bytes] = field(default_factory=dict[int, bytes])  # of every size that any node has reported
    notes: dict[int, bytes] = field(default_factory=dict[int, bytes])  # of every checkpoint that any node has published
    recoveries: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    suspects: set[str] = field(default_factory=set[str])  # whose keys are in other hands as well
    accused: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    may_end: set[str] = field(default_factory=set[str])  # these may end by themselves now

    # --- while it runs ----------------------------------------------------------------------------

    async def height_of(self, node: Node) -> int:
        """What it says it has finalized, -1 if it does not answer. Two roots of one size are a fork."""
        status = await self.fleet.status(node)
        if status is None:
            return -1
        height, size = int(status["height"]), int(status["size"])
        self._compare(self.roots, size, bytes.fromhex(status["root"]), node.name)
        self.height = max(self.height, height)
        return height

    async def ask(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            await self.height_of(node)

    def _compare(self, known: dict[int, bytes], size: int, root: bytes, name: str) -> None:
        if known.setdefault(size, root) != root:
            raise ViolationError(f"fork: {name} has another root of size {size} than one reported before")

    async def watch(self) -> None:
        """Ask everybody, now and then, until cancelled."""
        turn = 0
        while True:
            turn += 1
            self._check_alive()
            for node in self.fleet.testnet.nodes:
                if node.name in self.fleet.processes:
                    await self.height_of(node)
                    await self._read_note(node)
                    if turn % FAULTS_EVERY == 0:
                        await self.hear_accusations(node)
            await trio.sleep(SAMPLE_SECONDS)

    def _check_alive(self) -> None:
        for name, status in self.fleet.ended().items():
            if name not in self.may_end:
                node = next(node for node in self.fleet.testnet.nodes if node.name == name)
                raise ViolationError(f"{name} ended by itself, status {status}: {self.fleet.last_words(node)}")

    async def _read_note(self, node: Node) -> None:
        async with open_client(node.config) as client:
            try:
                answer = await client.get("/checkpoint")
            except httpx.HTTPError:
                return
        if answer.status_code == 200:
            _, size, root, *_ = answer.text.split("\n")
            self._compare(self.notes, int(size), base64.b64decode(root), node.name)

    async def hear_accusations(self, node: Node) -> None:
        """What a node counted against its peers: honest ones are never to blame, whatever the wires do."""
        try:
            faults = await peer_faults(node)
        except httpx.HTTPError:
            return
        for peer, code in faults:
            self.accused[peer, code] += 1
            if peer not in self.suspects:
                raise ViolationError(f"{node.name} says that {peer}, which is honest, broke {code}")

    def usage(self) -> dict[str, Usage]:
        """Of every running node."""
        usages: dict[str, Usage] = {}
        for name, process in self.fleet.processes.items():
            age = time() - psutil.Process(process.pid).create_time()
            descriptors = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            usages[name] = Usage(age, _anonymous_rss(process.pid), descriptors)
        return usages

    def recovery(self, kind: str | None = None) -> list[float]:
        """Seconds, in ascending order."""
        return sorted(seconds for name, seconds in self.recoveries if kind in {None, name})


def percentile(ascending: Sequence[float], part: float) -> float:
    """Nearest rank."""
    return ascending[max(0, math.ceil(part * len(ascending)) - 1)] if ascending else 0.0


# --- in the end ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ledger:
    """One replica, read leaf by leaf: its size and root, and a hash over the very bytes."""

    size: int
    root: bytes
    bytes_hash: str
    evidence: tuple[Evidence, ...]


def read_ledger(folder: Path, roots: dict[int, bytes]) -> Ledger:
    """Read a replica; every (size, root) of *roots* must be that of a prefix of it."""
    with Store.open(folder, readonly=True) as store:
        genesis, edge = store.load().genesis, store.edge()
        membership = read_genesis(genesis)[1]
        content, tree, found = hashlib.sha256(), _Tree(), list[Evidence]()
        expected = dict(sorted(roots.items()))
        for number, leaf in enumerate(store.leaves(0, edge.size), 1):
            content.update(len(leaf).to_bytes(4, "big") + leaf)
            tree.append(leaf)
            if (root := expected.pop(number, None)) is not None and tree.root() != root:
                raise ViolationError(f"the root reported of size {number} is not that of the first {number} leaves")
            if EVIDENCE_TYPE.encode() in leaf and isinstance(entry := decode_leaf(leaf), StatementEntry):
                accusation = decode_evidence(read_evidence(decode_statement(entry.statement)))
                verify_evidence(accusation, membership, verify_ed25519)
                found.append(accusation)
        expected.pop(0, None)
        if expected or tree.root() != edge.root():
            raise ViolationError(
                f"{folder} has {edge.size} leaves; sizes reported and not held: {sorted(expected)[:5]}"
            )
    return Ledger(edge.size, tree.root(), content.hexdigest(), tuple(found))


class _Tree:
    """RFC 9162's tree head, by the book: perfect subtrees from the left, joined from the right."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []  # leaves under it, hash

    def append(self, leaf: bytes) -> None:
        count, node = 1, hash_leaf(leaf)
        while self._peaks and self._peaks[-1][0] == count:
            node = hash_children(self._peaks.pop()[1], node)
            count *= 2
        self._peaks.append((count, node))

    def root(self) -> bytes:
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            node = hash_children(left, node)
        return node


async def check_ledgers(testnet: Testnet, history: History, load: Load) -> Ledger:
    """Nothing acknowledged is lost or doubled, nothing reported was taken back, all replicas are the same bytes."""
    check_exactly_once(testnet, load)
    ledgers = {node.name: read_ledger(node.config.data, history.roots | history.notes) for node in testnet.nodes}
    first = next(iter(ledgers.values()))
    for name, ledger in ledgers.items():
        if ledger != first:
            raise ViolationError(f"the ledger of {name} is not that of the others, byte for byte")
    for size in history.roots.keys() & history.notes.keys():
        if history.roots[size] != history.notes[size]:
            raise ViolationError(f"what was published of size {size} is not what was final")
    for accusation in first.evidence:
        if accusation.accused not in history.suspects:
            raise ViolationError(f"evidence of {accusation.fault.value} names {accusation.accused}, which is honest")
    for node in testnet.nodes:
        answer = await glasslog("audit", node.config.data, "--policy", testnet.policy_path, "--json")
        if answer.status != 0:
            words = f"{answer.out[:500]} {answer.err[:500]}"
            raise ViolationError(f"the audit of {node.name} ends with {answer.status}: {words}")
        assert json.loads(answer.out)["root"] == first.root.hex()
    return first
