"""One network namespace per node and one in the middle that joins them: hosts and their wires, on one machine.

Host *i* is 10.77.i.1 and has one wire, to the middle. There every other host has an address of its own on that wire:
host *i* knows host *j* as 10.77.i.(100+j). So what one host says to another one can be thrown away at either end by a
route or a rule, whoever opened the connection; and whoever listens at that address in the middle is the link.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

NETNS = Path("/run/netns")
PORT = 7000
MARK = "glasslog-chaos-"  # namespaces of this suite: the process that made them, and which one of its
MIDDLE = "middle"
HOSTS_MAX = 20
_WIRE = "wire"

Pair = tuple[int, int]  # who speaks, who is to hear it


def address_of(host: int) -> str:
    return f"10.77.{host}.1"


def address_seen(by: int, host: int) -> str:
    """Where ``by`` reaches ``host``: an address in the middle, on the wire of ``by``."""
    return f"10.77.{by}.{100 + host}"


def ip(*words: object) -> str:
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def why_not() -> str | None:
    """Why namespaces cannot be made here, or None."""
    name = f"{MARK}{os.getpid()}-probe"
    try:
        ip("netns", "add", name)
    except OSError as error:
        return f"network namespaces cannot be made: {error}"
    try:
        ip("-n", name, "link", "add", "name", "one", "type", "veth", "peer", "name", "other")
        ip("-n", name, "rule", "add", "from", "10.77.0.1", "blackhole")
    except OSError as error:
        return f"wires between network namespaces cannot be made: {error}"
    finally:
        ip("netns", "del", name)
    return None


def remove_leftovers() -> None:
    """Namespaces whose process is gone."""
    for path in sorted(NETNS.glob(f"{MARK}*")) if NETNS.is_dir() else ():
        if not Path(f"/proc/{path.name.removeprefix(MARK).split('-')[0]}").exists():
            ip("netns", "del", path.name)


class Hosts:
    """Made by ``open_hosts``. Cuts are kept, so that one fault's healing does not mend another one's damage."""

    def __init__(self, count: int, run: str) -> None:
        self.count = count
        self._prefix = f"{MARK}{run}-"
        self._cut: dict[Pair, str] = {}
        self._down: set[int] = set()

    def inside(self, host: int | str) -> list[str]:
        """The words that make a command run there, in a process of the same number."""
        return ["nsenter", f"--net={NETNS / self._name(host)}"]

    def _name(self, host: int | str) -> str:
        return f"{self._prefix}{host}"

    def build(self) -> None:
        middle = self._name(MIDDLE)
        ip("netns", "add", middle)
        ip("-n", middle, "link", "set", "lo", "up")
        for host in range(self.count):
            there, end = self._name(host), f"to-{host}"
            ip("netns", "add", there)
            ip("-n", there, "link", "set", "lo", "up")
            ip("-n", middle, "link", "add", "name", end, "type", "veth", "peer", "name", _WIRE, "netns", there)
            ip("-n", there, "addr", "add", f"{address_of(host)}/24", "dev", _WIRE)
            ip("-n", there, "link", "set", _WIRE, "up")
            for other in range(self.count):
                if other != host:
                    ip("-n", middle, "addr", "add", f"{address_seen(host, other)}/24", "dev", end)
            ip("-n", middle, "link", "set", end, "up")

    def remove(self) -> None:
        """The wires go with the namespaces, and these once no process is in them."""
        for path in sorted(NETNS.glob(f"{self._prefix}*")):
            ip("netns", "del", path.name)

    # --- cuts -------------------------------------------------------------------------------------

    def cut(self, pairs: Iterable[Pair], *, at_sender: bool) -> None:
        """Nothing that the first of a pair sends reaches the second.

        At the sender its own kernel has no route: connecting fails at once. In the middle packets vanish: it hangs.
        """
        for pair in pairs:
            if pair not in self._cut:
                self._cut[pair] = "sender" if at_sender else "middle"
                self._apply("add", pair)

    def heal(self) -> None:
        """Take every cut away."""
        for pair in list(self._cut):
            self._apply("del", pair)
            del self._cut[pair]
        for host in list(self._down):
            self.set_wire(host, up=True)

    def _apply(self, what: str, pair: Pair) -> None:
        speaker, hearer = pair
        if self._cut[pair] == "sender":
            ip("-n", self._name(speaker), "route", what, "blackhole", f"{address_seen(speaker, hearer)}/32")
        else:
            source, target = address_seen(hearer, speaker), address_of(hearer)
            ip("-n", self._name(MIDDLE), "rule", what, "from", source, "to", target, "blackhole")

    def set_wire(self, host: int, *, up: bool) -> None:
        """Pull the plug of a host, or put it in again."""
        ip("-n", self._name(host), "link", "set", _WIRE, "up" if up else "down")
        (self._down.discard if up else self._down.add)(host)


@contextmanager
def open_hosts(count: int) -> Iterator[Hosts]:
    """That many hosts, while the block lasts."""
    assert count <= HOSTS_MAX, count
    remove_leftovers()
    hosts = Hosts(count, str(os.getpid()))
    try:
        hosts.build()
        yield hosts
    finally:
        hosts.remove()
