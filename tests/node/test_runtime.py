"""The runtime over in-memory links: real replicas, real LMDB stores, real keys, one process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing

from glasslog.agreement.effects import Audience, Broadcast, Finalized, Halt, Persist, Record, Send, StateRecovered
from glasslog.agreement.messages import Have, Kind, RunRequest, Status, Vote, decode_message, encode_message
from glasslog.block import Ref
from glasslog.bundle import make_bundle, read_policy, verify_bundle
from glasslog.cose import sign1
from glasslog_node import testnet as testnets
from glasslog_node.batches import read_cose_batch, read_json_batch
from glasslog_node.errors import StoreError
from glasslog_node.network.memory import MemoryHub
from glasslog_node.network.transport import Lane
from glasslog_node.node import assemble
from glasslog_node.outbox import Outbox
from glasslog_node.runtime import Runtime
from glasslog_node.seams import Stage
from glasslog_node.store.store import Store
from glasslog_node.telemetry import Metrics
from glasslog_node.view import RuntimeView

PATIENCE = 30.0
pytestmark = pytest.mark.trio
STATEMENT = (
    b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"m","digest":{"sha256":"%s"}}],'
    b'"predicateType":"urn:example:p","predicate":{}}'
)


def batch(number: int, count: int = 1) -> bytes:
    """A JSON array of ``count`` statements that no other number makes."""
    return b"[" + b",".join(STATEMENT % (b"%064x" % (number * 1_000 + i)) for i in range(count)) + b"]"


@pytest.fixture
def testnet(tmp_path: Path) -> testnets.Testnet:
    return testnets.new_testnet(tmp_path / "net", validators=4, labs=1, time_ms=1_000)


@asynccontextmanager
async def running(
    testnet: testnets.Testnet, names: Iterable[str], hub: MemoryHub
) -> AsyncGenerator[dict[str, Runtime]]:
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            runtimes: dict[str, Runtime] = {}
            for node in testnet.nodes:
                if node.name not in set(names):
                    continue
                store = Store.open(node.config.data, create=True, genesis=testnet.genesis.leaves)
                stack.enter_context(store)
                transport = hub.transport(node.name)
                runtimes[node.name] = assemble(node.config, testnet.genesis, store, transport, Metrics())
                await nursery.start(runtimes[node.name].run)
            yield runtimes
            nursery.cancel_scope.cancel()


async def publish(lab: Runtime, number: int, count: int = 1) -> int:
    """Submit to the lab and return the published size that covers it."""
    assert lab.author is not None
    receipt = await lab.author.submit(read_json_batch(batch(number, count)), key=None)
    with trio.fail_after(PATIENCE):
        state = await lab.author.wait(receipt.submission, Stage.PUBLISHED)
    assert state is not None
    assert state.checkpoint is not None
    return state.checkpoint


async def reach(runtimes: Iterable[Runtime], size: int) -> None:
    """Wait until every one of them has published this size."""
    with trio.fail_after(PATIENCE):
        for runtime in runtimes:
            while published(runtime) < size:
                await trio.sleep(0.01)


def published(runtime: Runtime) -> int:
    note = runtime.store.published()
    return 0 if note is None else note.size


def leaves(runtime: Runtime) -> list[bytes]:
    return list(runtime.store.leaves(0, runtime.store.size))


async def test_what_a_lab_submits_is_in_every_replica_once_and_alike(testnet: testnets.Testnet) -> None:
    async with running(testnet, [node.name for node in testnet.nodes], MemoryHub()) as nodes:
        lab = nodes[testnet.labs[0].name]
        for number in range(3):
            size = await publish(lab, number, count=5)
        await reach(nodes.values(), size)
        ledgers = [leaves(node)[:size] for node in nodes.values()]
        assert all(ledger == ledgers[0] for ledger in ledgers)
        for number in range(3):
            for i in range(5):
                digest = bytes.fromhex("%064x" % (number * 1_000 + i))
                assert sum(digest in leaf for leaf in ledgers[0]) == 1


async def test_three_of_four_go_on_and_the_fourth_catches_up(testnet: testnets.Testnet) -> None:
    hub = MemoryHub()
    names = [node.name for node in testnet.nodes]
    late = testnet.validators[3].name
    async with running(testnet, [name for name in names if name != late], hub) as nodes:
        lab = nodes[testnet.labs[0].name]
        for number in range(4):
            size = await publish(lab, number)
        async with running(testnet, [late], hub) as latecomers:
            await reach(latecomers.values(), size)
            assert leaves(latecomers[late])[:size] == leaves(lab)[:size]


async def test_two_of_four_stop_and_say_who_is_missing(testnet: testnets.Testnet) -> None:
    present = [*(node.name for node in testnet.validators[:2]), testnet.labs[0].name]
    missing = testnet.validators[2:]
    async with running(testnet, present, MemoryHub()) as nodes:
        lab = nodes[testnet.labs[0].name]
        assert lab.author is not None
        await lab.author.submit(read_json_batch(batch(1)), key=None)
        validator = nodes[present[0]]
        with trio.fail_after(PATIENCE):
            while not validator.replica.has_work():
                await trio.sleep(0.01)
        (line,) = RuntimeView(validator).why()
        assert line.startswith("QUORUM-01 2 of 3 validators needed")
        assert all(f"{node.name} ({node.jurisdiction})" in line for node in missing)
        assert validator.replica.branches.floor.height == 0


async def test_a_cut_link_heals_and_nothing_is_lost(testnet: testnets.Testnet) -> None:
    hub = MemoryHub(delay=0.001)
    async with running(testnet, [node.name for node in testnet.nodes], hub) as nodes:
        lab = nodes[testnet.labs[0].name]
        island = testnet.validators[0].name
        for name in nodes:
            if name != island:
                hub.cut(island, name)
        size = await publish(lab, 1)
        assert nodes[island].store.size < size
        for name in nodes:
            if name != island:
                hub.mend(island, name)
        await reach([nodes[island]], size)


async def test_garbage_is_counted_against_its_sender_and_survived(testnet: testnets.Testnet) -> None:
    hub = MemoryHub()
    rogue = hub.transport(testnet.labs[0].name)
    names = [node.name for node in testnet.validators]
    vote = Vote(1, 1, Kind.FINALIZE, b"\x01" * 32, 0, bytes(64))
    async with trio.open_nursery() as nursery, running(testnet, names, hub) as nodes:
        await nursery.start(rogue.run)
        with trio.fail_after(PATIENCE):
            while not set(names) <= {name for name, peer in rogue.peers().items() if peer.connected}:
                await trio.sleep(0.01)
        for data in (b"\xff", b"\x81\x18\x63", encode_message(vote), encode_message(RunRequest(1 << 60))):
            rogue.send(names, data)
        rogue.send(names, encode_message(Have((Ref("nobody.example", 1, bytes(32)),))))
        with trio.fail_after(PATIENCE):
            for node in nodes.values():
                while not {"WIRE-02", "VOTE-02", "HAVE-01"} <= faults(node) or len(faults(node)) < 4:
                    await trio.sleep(0.01)
            rogue.send(names, encode_message(Status(1, 1, 0, 7, 9, 0)))
            for node in nodes.values():  # a right message after the wrong ones is still taken in
                while rogue.name not in node.replica.catchup.statuses:
                    await trio.sleep(0.01)
        assert {len(faults(node)) for node in nodes.values()} == {4}
        assert all(node.replica.halted is None for node in nodes.values())
        nursery.cancel_scope.cancel()


def faults(runtime: Runtime) -> set[str]:
    samples = (sample for metric in runtime.metrics.misbehaved.collect() for sample in metric.samples)
    return {sample.labels["code"] for sample in samples if sample.name.endswith("_total")}


# --- the outbox -------------------------------------------------------------------------------------


class HeldStore:
    """A store whose commits are finished by the test."""

    def __init__(self) -> None:
        self.commits: list[tuple[tuple[Record, ...], Future[int]]] = []

    def submit(self, records: Iterable[Record]) -> Future[int]:
        future: Future[int] = Future()
        self.commits.append((tuple(records), future))
        return future


class RecordingTransport:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.sent: list[tuple[tuple[str, ...], object]] = []

    def send(self, peers: Iterable[str], data: bytes, lane: Lane = Lane.CONTROL) -> None:
        self.sent.append((tuple(peers), decode_message(data)))


class RecordingShell:
    """A shell that remembers."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def finalized(self, height: Finalized) -> None:
        self.heard.append(height)

    def halted(self, halt: Halt) -> None:
        self.heard.append(halt)


def new_outbox(store: HeldStore, transport: RecordingTransport, shell: RecordingShell) -> Outbox:
    audiences = {Audience.VALIDATORS: ("a", "b"), Audience.MEMBERS: ("a", "b", "lab")}
    return Outbox(store, transport, shell, audiences, Metrics())  # type: ignore[arg-type]  # the parts used


async def test_nothing_leaves_before_what_was_persisted_earlier_is_durable() -> None:
    store, transport, shell = HeldStore(), RecordingTransport(), RecordingShell()
    outbox = new_outbox(store, transport, shell)
    final = Finalized(1, 2, bytes(32), 3, ())
    first, second = StateRecovered(1), StateRecovered(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run)
        outbox.put([Persist((first,)), Send("a", RunRequest(1)), final])
        outbox.put([Persist((second,)), Broadcast(Audience.MEMBERS, RunRequest(2))])
        await trio.testing.wait_all_tasks_blocked()
        assert [records for records, _ in store.commits] == [(first, second)]
        assert not transport.sent
        assert not shell.heard
        outbox.put([Send("b", RunRequest(3))])
        store.commits[0][1].set_result(1)
        with trio.fail_after(PATIENCE):
            while len(transport.sent) < 3:
                await trio.lowlevel.checkpoint()
        assert transport.sent == [
            (("a",), RunRequest(1)), (("a", "b", "lab"), RunRequest(2)), (("b",), RunRequest(3)),
        ]  # fmt: skip
        assert shell.heard == [final]
        nursery.cancel_scope.cancel()


async def test_nothing_leaves_after_a_failed_commit() -> None:
    store, transport, shell = HeldStore(), RecordingTransport(), RecordingShell()
    outbox = new_outbox(store, transport, shell)

    async def fill() -> None:
        outbox.put([Persist((StateRecovered(1),)), Send("a", RunRequest(1))])
        await trio.testing.wait_all_tasks_blocked()
        store.commits[0][1].set_exception(StoreError("STORE-05", "no space left", "free some"))

    with pytest.RaisesGroup(StoreError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.run)
            nursery.start_soon(fill)
    assert not transport.sent


async def test_room_is_refused_while_the_disk_does_not_keep_up() -> None:
    store = HeldStore()
    outbox = new_outbox(store, RecordingTransport(), RecordingShell())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run)
        outbox.put([Persist((StateRecovered(1),))])
        await trio.testing.wait_all_tasks_blocked()
        outbox.put([Send("a", RunRequest(1))] * 5_000)
        with trio.move_on_after(0.05) as waiting:
            await outbox.room()
        assert waiting.cancelled_caught
        store.commits[0][1].set_result(1)
        with trio.fail_after(PATIENCE):
            await outbox.room()
        nursery.cancel_scope.cancel()


async def test_a_third_party_s_signed_statement_is_logged_byte_for_byte_and_proved(testnet: testnets.Testnet) -> None:
    signed = sign1(b"what a third party says", bytes(64))
    async with running(testnet, [node.name for node in testnet.nodes], MemoryHub()) as nodes:
        lab = nodes[testnet.labs[0].name]
        assert lab.author is not None
        await publish(lab, 1)
        receipt = await lab.author.submit(read_cose_batch(signed), key=None)
        await publish(lab, 2)
        with trio.fail_after(PATIENCE):
            state = await lab.author.wait(receipt.submission, Stage.PUBLISHED)
        assert state is not None
        index = state.index(0)
        assert index is not None
        assert lab.store.entry(index) == signed
        policy = read_policy(testnet.policy_path.read_bytes())
        verified = verify_bundle(make_bundle(lab.store, index), policy)
        assert verified.number == 1
