"""Libp2pTransport between real processes: order under load, kill, freeze, restart, and the library as shipped."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys

import pytest
import trio

from glasslog_node.network.libp2p import Libp2pTransport
from glasslog_node.network.members import Endpoint, PeerAddress
from glasslog_node.network.timing import Timing
from glasslog_node.network.transport import GossipReceived, Lane, MessageReceived, PeerConnected, PeerLost
from node.network_child import numbered_message
from node.network_rig import (
    FOLDER,
    GENESIS,
    QUICK,
    WITHIN,
    Child,
    Town,
    next_event,
    public_key_of,
    run,
    running,
    seed_of,
    until,
)

pytestmark = pytest.mark.processes


async def echo(transport: Libp2pTransport, peer: str, data: bytes = b"echo") -> None:
    transport.send([peer], data)
    assert (await next_event(transport, MessageReceived, peer=peer)).data == data


async def echo_between(one: Libp2pTransport, other: Libp2pTransport) -> None:
    one.send([other.name], b"there")
    assert (await next_event(other, MessageReceived)).data == b"there"
    other.send([one.name], b"and back")
    assert (await next_event(one, MessageReceived)).data == b"and back"


def test_messages_arrive_whole_and_in_order_both_ways_under_load() -> None:
    async def test() -> None:
        town = Town("a", "b", "c")
        a = town.transport("a")
        with town.child("b", unknown=("a", "c")) as b, town.child("c", unknown=("a", "b")) as c:
            async with running(a):
                for child in (b, c):
                    await child.wait_for(event="connected", peer="a")
                for _ in range(2):
                    await next_event(a, PeerConnected)
                rng = random.Random(7)
                counts = [0, 0]
                plan: list[list[int]] = []
                for _ in range(600):
                    lane = rng.choice([0, 0, 1])
                    size = rng.choice([1, 200, 5000] if lane == 0 else [1, 30_000, 300_000])
                    plan.append([counts[lane], size, lane])
                    counts[lane] += 1
                b.tell(to=["a"], numbered=plan)
                for number, size, lane in plan:
                    a.send(["b", "c"], numbered_message(number, size, Lane(lane)), Lane(lane))
                    if a.peers()["b"].queued_bytes > 30_000_000:
                        await until(lambda: a.peers()["b"].queued_bytes < 1_000_000, "the queue empties")
                    await trio.lowlevel.checkpoint()
                received = [0, 0]
                while received != counts:
                    data = (await next_event(a, MessageReceived, peer="b")).data
                    lane, number, size = data[0], int.from_bytes(data[1:5], "big"), int.from_bytes(data[5:9], "big")
                    assert data == numbered_message(number, size, Lane(lane))
                    assert number == received[lane]
                    received[lane] += 1
                a.send(["b", "c"], b"report", Lane.BULK)
                replies = [await next_event(a, MessageReceived) for _ in "bc"]
                assert {reply.peer for reply in replies} == {"b", "c"}
                assert all(json.loads(reply.data) == counts for reply in replies)
                assert a.peers()["c"].received_bytes > 0

    run(test)


def test_frozen_peer_is_lost_within_its_deadline_and_others_are_unaffected() -> None:
    async def test() -> None:
        town = Town("a", "b", "c")
        a = town.transport("a")
        with town.child("b", unknown=("a",)) as frozen, town.child("c", unknown=("a",)) as healthy:
            async with running(a):
                for _ in "bc":
                    await next_event(a, PeerConnected)
                await frozen.wait_for_each("connected", "a", "c")
                await healthy.wait_for_each("connected", "a", "b")  # or it would have nothing to lose
                os.kill(frozen.process.pid, signal.SIGSTOP)
                frozen_at = trio.current_time()
                for number in range(40):  # more than its window and the kernel hold
                    a.send(["b"], bytes(1_000_000), Lane.BULK)
                    a.send(["c"], numbered_message(number, 1000, Lane.CONTROL))
                lost = await next_event(a, PeerLost)
                assert lost.peer == "b"
                assert "did not answer a ping" in lost.reason
                # Not an absolute time: the deadline itself, and slack for a busy machine.
                assert trio.current_time() - frozen_at < QUICK.ping_every + QUICK.ping + 5
                await healthy.wait_for(event="lost", peer="b")
                a.send(["c"], b"report")
                assert json.loads((await next_event(a, MessageReceived, peer="c")).data) == [40, 0]
                os.kill(frozen.process.pid, signal.SIGCONT)
                await next_event(a, PeerConnected, peer="b")
                await echo(a, "b")

    run(test)


def test_killed_peer_is_lost_at_once_and_reconnects_after_restart() -> None:
    async def test() -> None:
        town = Town("a", "b")
        b = town.transport("b", unknown=("a",))  # the restarted one must dial, or be dialled, by the other's knowledge
        async with running(b):
            for _ in range(3):
                with town.child("a") as a:
                    await a.wait_for(event="connected", peer="b")
                    await next_event(b, PeerConnected, peer="a")
                    await echo(b, "a")
                    a.process.kill()
                    lost = await next_event(b, PeerLost, peer="a")
                    assert "ping" not in lost.reason

    run(test)


def test_both_dialling_at_once_keep_one_connection() -> None:
    async def test() -> None:
        eager = Timing(**{**{key: getattr(QUICK, key) for key in QUICK.__slots__}, "defer": 0.0})
        town = Town("a", "b")
        for _ in range(5):
            a, b = town.transport("a", timing=eager), town.transport("b", timing=eager)
            async with running(a, b):
                await until(lambda: a.peers()["b"].connected and b.peers()["a"].connected, "connected")  # noqa: B023 - used within its turn
                quiet_since = trio.current_time()
                with trio.fail_after(WITHIN):
                    while trio.current_time() < quiet_since + 0.4:
                        for transport in (a, b):
                            if transport.events.statistics().current_buffer_used:
                                await transport.events.receive()
                                quiet_since = trio.current_time()
                        await trio.sleep(0.02)
                await echo_between(a, b)

    run(test)


def test_members_added_and_removed_while_running() -> None:
    async def test() -> None:
        town = Town("a", "b", "c")
        a, b = town.transport("a"), town.transport("b", unknown=("a", "c"))
        everyone = town.members()
        a.set_members({"a": everyone["a"]})
        async with running(a, b):
            assert a.peers() == {}
            a.set_members({name: everyone[name] for name in ("a", "b")})
            await next_event(a, PeerConnected, peer="b")
            a.set_members({"a": everyone["a"], "c": everyone["c"]})
            assert (await next_event(a, PeerLost, peer="b")).reason == "no longer a member"
            assert set(a.peers()) == {"c"}
            await next_event(b, PeerLost, peer="a")

    run(test)


def test_wrong_network_or_name_is_a_reason_not_a_crash() -> None:
    async def test() -> None:
        town = Town("a", "b", "c")
        a = town.transport("a")
        other = town.transport("b", genesis=hashlib.sha256(b"another network").digest(), unknown=("a", "c"))
        # c's key under b's name: the handshake admits the key, the hello does not fit it.
        listen = Endpoint("127.0.0.1", town.ports["c"])
        members = {"a": PeerAddress(public_key_of("a")), "x": PeerAddress(public_key_of("c"))}
        renamed = Libp2pTransport("x", seed_of("c"), listen, members, genesis_hash=GENESIS, timing=QUICK)
        async with running(a, other, renamed):
            await until(lambda: "LINK-03" in (a.peers()["b"].last_error or ""), "a reason for b")
            await until(lambda: "LINK-03" in (other.peers()["a"].last_error or ""), "a reason for a")
            await until(lambda: "LINK-04" in (a.peers()["c"].last_error or ""), "a reason for c")
            assert not a.peers()["b"].connected

    run(test)


def test_key_that_is_not_the_members_is_refused_by_the_dialler() -> None:
    async def test() -> None:
        town = Town("a", "b")
        a = town.transport("a")
        listen = Endpoint("127.0.0.1", town.ports["b"])
        impostor = Libp2pTransport(
            "b", seed_of("somebody"), listen, {"a": PeerAddress(public_key_of("a"))}, genesis_hash=GENESIS, timing=QUICK
        )
        async with running(a, impostor):
            await until(lambda: "handshake" in (a.peers()["b"].last_error or ""), "a reason")
            assert not a.peers()["b"].connected

    run(test)


def test_library_as_shipped_links_and_gossips_with_us() -> None:
    async def test() -> None:
        town = Town("a", "stock")
        a = town.transport("a", unknown=("stock",))
        topic = f"glasslog/{GENESIS.hex()[:32]}/blocks"
        arguments = [
            "stock",
            seed_of("stock").hex(),
            str(town.ports["a"]),
            public_key_of("a").hex(),
            GENESIS.hex(),
            topic,
        ]
        async with running(a):
            with Child({}, [sys.executable, str(FOLDER / "network_stock_peer.py"), *arguments]) as stock:
                assert (await stock.wait_for(event="hello"))["from"] == "a"
                await next_event(a, PeerConnected, peer="stock")
                for size in (1, 70_000, 1_000_000):
                    await echo(a, "stock", bytes(size))
                got = await next_event(a, GossipReceived, origin="stock", topic="blocks")
                assert got.data == b"from the library"
                a.gossip("blocks", b"from us")
                assert (await stock.wait_for(event="gossip"))["data"] == ["from us"]
                assert a.peers()["stock"].round_trip_ms is not None

    run(test)
