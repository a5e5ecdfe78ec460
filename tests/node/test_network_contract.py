"""What every Transport promises (network/transport.py), run against both implementations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
import trio

from glasslog.limits import MESSAGE_BYTES_MAX
from glasslog_node.errors import NetworkError
from glasslog_node.network.memory import MemoryHub
from glasslog_node.network.transport import (
    GossipReceived,
    Lane,
    MessageReceived,
    PeerConnected,
    PeerLost,
    Transport,
)
from node.network_child import OrderCheck, numbered_message
from node.network_rig import Town, next_event, run, running, until

Make: TypeAlias = Callable[..., "Transport"]
Kind: TypeAlias = Callable[..., Make]


def memory_kind(*names: str) -> Make:
    return MemoryHub().transport


def libp2p_kind(*names: str) -> Make:
    """Only the smaller name dials: two that dial each other at once reconnect, which would disturb the counting."""
    town = Town(*names)
    return lambda name, **more: town.transport(name, unknown=tuple(each for each in names if each < name), **more)


@pytest.fixture(params=[memory_kind, libp2p_kind], ids=["memory", "libp2p"])
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@asynccontextmanager
async def connected(kind: Kind, *names: str, **more: Any) -> AsyncIterator[list[Transport]]:
    make = kind(*names)
    transports = [make(name, **more) for name in names]
    async with running(*transports):
        for transport in transports:
            met = {(await next_event(transport, PeerConnected)).peer for _ in names[1:]}
            assert len(met) == len(names) - 1
        yield transports


def test_connect_when_both_run(kind: Kind) -> None:
    async def test() -> None:
        async with connected(kind, "a", "b", "c") as (a, _, _):
            states = a.peers()
            assert set(states) == {"b", "c"}
            assert all(state.connected and state.last_error is None for state in states.values())

    run(test)


@pytest.mark.parametrize("size", [1, 1000, 100_000, MESSAGE_BYTES_MAX])
def test_send_delivers_whole_message(kind: Kind, size: int) -> None:
    async def test() -> None:
        async with connected(kind, "a", "b") as (a, b):
            data = bytes(range(256)) * (size // 256) + bytes(size % 256)
            for lane in Lane:
                a.send(["b", "nobody"], data, lane)
                assert (await next_event(b, MessageReceived)) == MessageReceived("a", data)
            await until(lambda: a.peers()["b"].queued_bytes == 0, "everything sent")
            assert a.peers()["b"].sent_bytes >= 2 * size
            assert b.peers()["a"].received_bytes >= 2 * size

    run(test)


def test_lanes_keep_order_under_load(kind: Kind) -> None:
    async def test() -> None:
        async with connected(kind, "a", "b") as (a, b):
            for number in range(300):
                a.send(["b"], numbered_message(number, 100 + number, Lane.CONTROL))
                a.send(["b"], numbered_message(number, 997 * (number % 100), Lane.BULK), Lane.BULK)
            check = OrderCheck()
            while check.counts != [300, 300]:
                event = await next_event(b, MessageReceived)
                assert check.take(event.data) is None

    run(test)


def test_control_overtakes_bulk(kind: Kind) -> None:
    async def test() -> None:
        async with connected(kind, "a", "b", events_max=1) as (a, b):
            for number in range(30):
                a.send(["b"], numbered_message(number, 1_000_000, Lane.BULK), Lane.BULK)
            a.send(["b"], b"vote")
            bulk_first = 0
            while (await next_event(b, MessageReceived)).data != b"vote":
                bulk_first += 1
            assert bulk_first < 15

    run(test)


def test_send_refuses_what_no_message_may_be(kind: Kind) -> None:
    async def test() -> None:
        async with connected(kind, "a", "b") as (a, _):
            for data in (b"", bytes(MESSAGE_BYTES_MAX + 1)):
                with pytest.raises(ValueError, match="message of"):
                    a.send(["b"], data)

    run(test)


def test_gossip_reaches_all_others_once(kind: Kind) -> None:
    async def test() -> None:
        async with connected(kind, "a", "b", "c") as (a, b, c):
            payloads = [b"announcement %d" % number for number in range(20)]
            await until_gossip_flows(a, b, c)
            for payload in payloads:
                a.gossip("blocks", payload)
            for other in (b, c):
                for payload in payloads:
                    assert (await next_event(other, GossipReceived, topic="blocks")).data == payload

    run(test)


async def until_gossip_flows(origin: Transport, *others: Transport) -> None:
    """A mesh takes a moment to form, and gossip before that may be lost: best effort."""
    for other in others:
        with trio.fail_after(20):
            got = None
            while got is None:
                origin.gossip("checkpoints", b"hello?")
                with trio.move_on_after(0.5):
                    got = await next_event(other, GossipReceived, topic="checkpoints")


def test_peer_that_reads_nothing_is_disconnected_not_skipped(kind: Kind) -> None:
    async def test() -> None:
        async with connected(kind, "a", "b", events_max=1) as (a, _):
            for _ in range(100):
                a.send(["b"], bytes(MESSAGE_BYTES_MAX), Lane.BULK)
            lost = await next_event(a, PeerLost)
            assert lost.peer == "b"
            assert "reads too slowly" in lost.reason

    run(test)


def test_lost_and_back_when_the_other_stops(kind: Kind) -> None:
    async def test() -> None:
        make = kind("a", "b")
        a = make("a")
        async with running(a):
            async with running(make("b")):
                await next_event(a, PeerConnected, peer="b")
            await next_event(a, PeerLost, peer="b")
            assert not a.peers()["b"].connected
            a.send(["b"], b"to nobody")
            async with running(again := make("b")):
                await next_event(a, PeerConnected, peer="b")
                a.send(["b"], b"welcome back")
                assert (await next_event(again, MessageReceived)).data == b"welcome back"

    run(test)


def test_run_refuses_an_address_in_use(kind: Kind) -> None:
    async def test() -> None:
        make = kind("a", "b")
        async with running(make("a")):
            with pytest.raises(NetworkError, match=r"NET-01 .* in use"):
                await make("a").run()

    run(test)
