"""The chaos itself: cuts cut, links delay, change, hold and swallow, and the oracles see what they are there to see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import trio

from chaos.campaign import FULL, schedule
from chaos.faults import FAULTS, KILLS, LINKS, PARTITIONS
from chaos.history import History, ViolationError, percentile, read_ledger
from chaos.hosts import NETNS, Hosts, address_of, address_seen, open_hosts, remove_leftovers, why_not
from chaos.links import CLEAR, Weather, open_links
from chaos.rig import found, until
from glasslog.merkle import hash_leaves, root
from glasslog_node.fleet import Fleet
from glasslog_node.store.store import Store

SERVER = """
import socket, sys, threading
def echo(s):
    try:
        while data := s.recv(65536): s.sendall(data)
    except OSError: pass
listener = socket.create_server((sys.argv[1], 7000))
print("ready", flush=True)
while True: threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
"""
CLIENT = """
import socket, sys, time
begun = time.monotonic()
try:
    s = socket.create_connection((sys.argv[1], 7000), timeout=2)
    s.sendall(b"x" * 1000)
    back = b""
    while len(back) < 1000:
        data = s.recv(65536)
        if not data: break
        back += data
    print("same" if back == b"x" * 1000 else "changed" if back else "ended", time.monotonic() - begun)
except TimeoutError: print("nothing", 2)
except OSError as error: print("refused", 0)
"""


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    reason = why_not()
    if reason is not None and os.environ.get("GLASSLOG_CHAOS") != "1":
        pytest.skip(reason)
    assert reason is None, reason
    with open_hosts(3) as made:
        server = subprocess.Popen(
            [*made.inside(1), sys.executable, "-c", SERVER, address_of(1)], stdout=subprocess.PIPE
        )  # fmt: skip
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield made
        finally:
            server.kill()
            server.communicate()


async def call(hosts: Hosts, by: int = 0) -> tuple[str, float]:
    """What host 1 sends back of what a host sends it, and how long that took."""
    command = [*hosts.inside(by), sys.executable, "-c", CLIENT, address_seen(by, 1)]
    done = await trio.run_process(command, capture_stdout=True)
    word, seconds = done.stdout.decode().split()
    return word, float(seconds)


def test_links_do_to_the_bytes_what_the_weather_says(hosts: Hosts, tmp_path: Path) -> None:
    async def test() -> None:
        async with open_links(hosts, tmp_path / "links.log") as links:
            assert (await call(hosts))[0] == "same"
            for weather, word in (
                (Weather(corrupt=1), "changed"),
                (Weather(stalled=True), "nothing"),
                (Weather(swallow=True), "nothing"),
                (Weather(reset=1), "refused"),
                (CLEAR, "same"),
            ):
                await links.set({(0, 1): weather})
                assert (await call(hosts))[0] == word, weather
            for weather in (Weather(delay=0.5), Weather(loss=1), Weather(rate=5_000)):
                await links.set({(1, 0): weather})
                word, seconds = await call(hosts)
                assert word == "same"
                assert seconds >= 0.2, weather
            await links.set({})
            assert links.seen["corrupt"] == links.seen["reset"] == links.seen["lost"] == links.seen["swallowed"] == 1

    trio.run(test)


@pytest.mark.parametrize("at_sender", [True, False])
def test_cut_stops_one_direction_of_one_pair_until_it_is_healed(
    hosts: Hosts, tmp_path: Path, *, at_sender: bool
) -> None:
    async def test() -> None:
        async with open_links(hosts, tmp_path / "links.log"):
            for pair in ((0, 1), (1, 0)):
                hosts.cut([pair], at_sender=at_sender)
                assert (await call(hosts))[0] in {"nothing", "refused"}, pair
                assert (await call(hosts, by=2))[0] == "same"
                hosts.heal()
                assert (await call(hosts))[0] == "same"
            hosts.set_wire(1, up=False)
            assert (await call(hosts))[0] in {"nothing", "refused"}
            hosts.heal()

            async def works() -> bool:
                return (await call(hosts))[0] == "same"

            await until("the kernel has noticed that the wire is back", works)

    trio.run(test)


def test_hosts_leave_nothing_behind_and_clear_away_what_a_dead_run_left(hosts: Hosts) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = Hosts(1, str(ended.pid))
    left.build()
    assert list(NETNS.glob(f"*-{ended.pid}-*"))
    remove_leftovers()
    assert not list(NETNS.glob(f"*-{ended.pid}-*"))
    assert list(NETNS.glob(f"*-{os.getpid()}-*")), "it took the namespaces of a run that goes on"


# --- the schedule and the oracles -----------------------------------------------------------------------


def test_schedule_is_drawn_by_its_seed_and_the_full_one_reaches_its_numbers() -> None:
    planned = list(islice(schedule(Random(7), 30, None, set()), sum(FULL.values())))
    assert planned == list(islice(schedule(Random(7), 30, None, set()), len(planned)))
    assert planned != list(islice(schedule(Random(8), 30, None, set()), len(planned)))
    times = Counter(planned)
    assert times == Counter(FULL)
    # Of 4 validators and a lab; at least two die in every fault that kills several.
    kills = times["kill one"] + 2 * times["kill several"] + 5 * times["kill all"] + 10 * times["kill all, and again"]
    assert kills + 2 * times["split and kill"] + 2 * times["roll back"] + 2 * times["wipe"] >= 500
    assert sum(times[kind] for kind in PARTITIONS) >= 100
    assert (times["disk full"], times["roll back"], times["stolen key"]) == (3, 2, 1)
    assert times["clock jump"] >= 5
    short = Counter(islice(schedule(Random(7), 1, None, {"clock jump"}), 12))
    assert short.keys() <= set(FAULTS) - {"clock jump"}
    assert set(KILLS) | set(LINKS) < set(FAULTS)


def test_oracles_see_a_fork_a_root_taken_back_andx(tmp_path: Path) -> None:
    testnet = found(tmp_path / "net")
    leaves = testnet.genesis.leaves
    folder = testnet.validators[0].config.data
    Store.open(folder, create=True, genesis=leaves).close()
    right = {size: root(hash_leaves(leaves[:size])) for size in range(1, len(leaves) + 1)}
    ledger = read_ledger(folder, right)
    assert (ledger.size, ledger.root) == (len(leaves), right[len(leaves)])
    for wrong in ({1: b"\1" * 32}, {2: right[1]}, {len(leaves) + 1: b"\1" * 32}):
        with pytest.raises(ViolationError):
            read_ledger(folder, wrong)
    history = History(Fleet(testnet))
    history._compare(history.roots, 3, right[3], "a")
    history._compare(history.roots, 3, right[3], "b")
    with pytest.raises(ViolationError, match="fork"):
        history._compare(history.roots, 3, right[2], "b")


def test_percentiles_are_of_nearest_rank() -> None:
    assert [percentile([1, 2, 3, 4], part) for part in (0.5, 0.99, 1)] == [2, 4, 4]
    assert percentile([], 0.5) == 0
