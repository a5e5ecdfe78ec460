"""A network of real nodes, each on a host of its own, whose wires, links, disks, clocks and versions can be spoiled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from chaos.history import History
from chaos.hosts import MARK, PORT, Hosts, Pair, address_of, address_seen, open_hosts
from chaos.links import CLEAR, Links, Weather, open_links
from chaos.rig import PATIENCE, Load, Node, found, kill
from glasslog_node.config import load_config
from glasslog_node.fleet import LOG_FILE, Fleet
from glasslog_node.store.mark import default_mark_path
from glasslog_node.testnet import Testnet, load_testnet

ROOT = Path(__file__).parents[2]
DISK_BYTES = 1 << 30
CLOCK_FILE = "clock"  # how far a node's wall clock is off, as libfaketime reads it
FIRST_VERSION, NEW_VERSION = "version-1", "version-2"
_SOURCES = ("protocol", "node")
_GREETING = 'log.info("node runs"'


def faketime() -> Path | None:
    """The library that gives a process a wall clock of its own, or None where it is not installed."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


class HostFleet(Fleet):
    """Runs each node on its host, from a copy of the sources, so that nothing edited meanwhile is run."""

    def __init__(self, testnet: Testnet, hosts: Hosts, host_of: Mapping[str, int], sources: Path) -> None:
        super().__init__(testnet)
        self.sources = sources
        self._hosts = hosts
        self._host_of = host_of

    async def start(self, node: Node) -> trio.Process:
        command = [*self._hosts.inside(self._host_of[node.name]), sys.executable, "-m", "glasslog_node"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": _python_path(self.sources)}
        library = faketime()
        if library is not None and (node.folder / CLOCK_FILE).exists():
            environment |= {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(node.folder / CLOCK_FILE),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                # With it a thread waits for another one's lock for 60 ms instead of 60 us: Python waits by that clock.
                "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            }
        with (node.folder / LOG_FILE).open("ab") as log:
            self.processes[node.name] = process = await trio.lowlevel.open_process(
                [*command, "node", "run", "--with-parent", "--config", str(node.config_path)],
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment,
            )  # fmt: skip
        return process


def _python_path(sources: Path) -> str:
    return os.pathsep.join(str(sources / name) for name in _SOURCES)


@dataclass
class World:
    """Made by ``open_world``. Whoever spoils something puts it back."""

    folder: Path
    testnet: Testnet
    hosts: Hosts
    host_of: dict[str, int]  # the twin's place is the last one
    fleet: HostFleet
    links: Links
    load: Load
    history: History
    counts: Counter[str] = field(default_factory=Counter[str])

    @property
    def lab(self) -> Node:
        return self.testnet.labs[0]

    @property
    def observer(self) -> Node:
        """A replica that nobody kills: what grows with time grows there."""
        return self.testnet.labs[-1]

    @property
    def targets(self) -> list[Node]:
        """The nodes that may be killed."""
        return [node for node in self.testnet.nodes if node is not self.observer]

    @property
    def live(self) -> list[Node]:
        return [node for node in self.testnet.nodes if node.name in self.fleet.processes]

    @property
    def suspect(self) -> Node:
        """The one validator that may lose its memory or its keys: there are never more than f such."""
        return self.testnet.validators[0]

    @property
    def with_disks(self) -> list[Node]:
        return [node for node in self.targets if (node.folder / "disk").is_dir()]

    @property
    def with_clocks(self) -> list[Node]:
        return [node for node in self.targets if (node.folder / CLOCK_FILE).exists()]

    async def start(self, *nodes: Node) -> None:
        for node in nodes:
            await self.fleet.start(node)

    async def kill(self, *nodes: Node) -> None:
        """kill -9, of all of them before the first is gone."""
        numbers = [self.fleet.processes[node.name].pid for node in nodes]
        await kill(self.fleet, *nodes)
        self.counts["kills"] += len(nodes)
        for number in numbers:
            _sweep_clock(number)

    def pairs(self, speakers: Iterable[Node], hearers: Iterable[Node]) -> list[Pair]:
        hearers = list(hearers)
        return [(self.host_of[a.name], self.host_of[b.name]) for a in speakers for b in hearers if a is not b]

    def cut(self, one: Iterable[Node], other: Iterable[Node], *, at_sender: bool) -> None:
        """Between these two groups nothing is heard, in neither direction."""
        one, other = list(one), list(other)
        self.hosts.cut([*self.pairs(one, other), *self.pairs(other, one)], at_sender=at_sender)

    @asynccontextmanager
    async def weather(self, weather: Weather, pairs: Iterable[Pair]) -> AsyncIterator[None]:
        pairs = list(pairs)
        await self.links.set(dict.fromkeys(pairs, weather))
        yield
        await self.links.set(dict.fromkeys(pairs, CLEAR))

    async def recovered(self, kind: str) -> float:
        """From now, when everything is mended: until every node has finalized a height that was not final yet."""
        begun = trio.current_time()
        await self.history.ask(self.live)
        goal = self.history.height + 1
        waiting = self.live
        while waiting:
            await trio.sleep(0.1)
            waiting = [node for node in waiting if await self.history.height_of(node) < goal]
            seconds = trio.current_time() - begun
            if seconds > PATIENCE:
                why = {node.name: (await self.fleet.status(node) or {}).get("why") for node in waiting}
                raise AssertionError(f"after {kind}, no new height on {why} within {PATIENCE:.0f} s")
        self.history.recoveries.append((kind, seconds))
        return seconds


@asynccontextmanager
async def open_world(folder: Path, *, validators: int) -> AsyncIterator[World]:
    """A running, connected network of validators, one lab and one more as the observer; load is not started."""
    testnet = found(folder / "net", validators=validators, labs=2)
    host_of = {node.name: index for index, node in enumerate(testnet.nodes)}
    with tempfile.TemporaryDirectory(prefix="glc-") as short, open_hosts(len(testnet.nodes) + 1) as hosts:
        for node in testnet.nodes:
            settle_in(node, host_of[node.name], host_of, Path(short))
        if faketime() is not None:
            for node in (testnet.validators[1], testnet.labs[0]):
                (node.folder / CLOCK_FILE).write_text("+0")
        sources = copy_sources(ROOT, folder / FIRST_VERSION)
        with disks([testnet.validators[-1], testnet.validators[-2], testnet.labs[0]]):
            testnet = load_testnet(testnet.folder)
            fleet = HostFleet(testnet, hosts, host_of, sources)
            async with open_links(hosts, folder / "links.log") as links:
                load = Load(testnet.labs[0], clients=2, batch=20, pause=0.15)
                world = World(folder, testnet, hosts, host_of, fleet, links, load, History(fleet))
                try:
                    await world.start(*testnet.nodes)
                    await fleet.wait_until_connected(PATIENCE)
                    yield world
                finally:
                    hosts.heal()
                    await fleet.stop()


def settle_in(node: Node, host: int, host_of: Mapping[str, int], sockets: Path) -> None:
    """The node's configuration on its host. Its clients reach it by a unix socket, whatever happens to the wires."""
    peers = "\n".join(
        f'"{name}" = "{address_seen(host, other)}:{PORT}"' for name, other in host_of.items() if name != node.name
    )
    (node.folder / "config.toml").write_text(f"""name = "{node.name}"
data = "data"
genesis = "../genesis"
keys = "keys"

[network]
listen = "{address_of(host)}:{PORT}"

[network.peers]
{peers}

[http]
bind = "unix:{sockets / f"{host}.sock"}"
token_file = "token"
""")


def make_twin(world: World, name: str) -> HostFleet:
    """Another machine with the suspect's keys: what its thief starts. Its store is what lies in its folder."""
    original, place = world.suspect, len(world.testnet.nodes)
    folder = world.testnet.folder / name
    folder.mkdir()
    for what in ("keys", "token"):
        source = original.folder / what
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / what)
    twin = replace(original, config_path=folder / "config.toml")
    settle_in(twin, place, world.host_of, Path(original.config.http.bind.removeprefix("unix:")).parent)
    twin = replace(twin, config=load_config(twin.config_path))
    return HostFleet(replace(world.testnet, nodes=(twin,)), world.hosts, {twin.name: place}, world.fleet.sources)


def copy_sources(source: Path, to: Path, *, version: str | None = None) -> Path:
    """The product as it is there; under a version of its own it says so when it starts."""
    for name in _SOURCES:
        shutil.copytree(source / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    if version is not None:
        path = to / "node" / "glasslog_node" / "node.py"
        text = path.read_text()
        assert _GREETING in text
        path.write_text(
            re.sub(rf'{re.escape(_GREETING)}(, version="[^"]*")?', f'{_GREETING}, version="{version}"', text)
        )
    return to


# --- disks and clocks -----------------------------------------------------------------------------------


@contextmanager
def disks(nodes: Iterable[Node]) -> Iterator[None]:
    """A small disk for each node's data, while the block lasts."""
    remove_leftover_disks()
    mounted: list[Path] = []
    try:
        for node in nodes:
            disk = node.folder / "disk"
            disk.mkdir()
            _mount("-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", f"{MARK}{os.getpid()}", disk)
            mounted.append(disk)
            shutil.move(default_mark_path(node.config.data), default_mark_path(disk / "data"))
            text = node.config_path.read_text()
            node.config_path.write_text(text.replace('data = "data"', 'data = "disk/data"'))
        yield
    finally:
        for disk in mounted:
            keep_disk(disk)


def keep_disk(disk: Path) -> None:
    """Take the disk out; what was on it stays readable in its place."""
    aside = disk.with_name("disk.kept")
    shutil.copytree(disk, aside)
    _unmount(disk)
    disk.rmdir()
    aside.rename(disk)


def fill_disk(node: Node) -> None:
    """Not a byte more fits."""
    usage = os.statvfs(node.folder / "disk")
    _mount("-o", f"remount,size={(usage.f_blocks - usage.f_bfree) * usage.f_frsize}", node.folder / "disk")


def free_disk(node: Node) -> None:
    _mount("-o", f"remount,size={DISK_BYTES}", node.folder / "disk")


def _mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


def _unmount(disk: Path) -> None:
    subprocess.run(["umount", str(disk)], check=True, capture_output=True)


def remove_leftover_disks() -> None:
    """Disks whose process is gone."""
    for line in Path("/proc/mounts").read_text().splitlines():
        source, target, *_ = line.split(" ")
        if source.startswith(MARK) and not Path(f"/proc/{source.removeprefix(MARK)}").exists():
            _unmount(Path(target))


def set_clock(node: Node, seconds: int) -> None:
    """Its wall clock is that far off, from about a second from now on."""
    path = node.folder / CLOCK_FILE
    new = path.with_suffix(".new")
    new.write_text(f"{seconds:+d}")
    new.replace(path)


def _sweep_clock(process: int) -> None:
    """What libfaketime leaves in shared memory when a process has no chance to take it away."""
    for name in (f"faketime_shm_{process}", f"sem.faketime_sem_{process}"):
        (Path("/dev/shm") / name).unlink(missing_ok=True)
