"""Sealed items through a node: spooled, numbered, final, forgotten; with statements and across crashes (X2)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from glasslog import codec
from glasslog.block import Block
from glasslog.bundle.sealed import compute_commitment, encode_item
from glasslog.entry import SealedEntry, decode_leaf, number_entry
from glasslog.tiles import split_entries
from glasslog_node.batches import StatementRefusedError, batch_of, read_cbor_batch, read_sealed_batch
from glasslog_node.errors import RequestError
from glasslog_node.seams import Stage
from glasslog_node.submit import AuthorLimits
from node.api_world import Api, with_api
from node.author_world import AUTHOR, Office, until
from node.store_world import statement

MEDIA = "application/vnd.glasslog.sealed+cbor"


def item(number: int) -> bytes:
    return encode_item(sha256(b"salt %d" % number).digest(), sha256(b"root %d" % number).digest())


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office.new(tmp_path / "store")
    yield made
    made.close()


def run(office: Office, work: Callable[[], Coroutine[Any, Any, None]], *, press: bool = True) -> None:
    async def main() -> None:
        with trio.fail_after(8):
            async with trio.open_nursery() as nursery:
                if press:
                    nursery.start_soon(office.author.run)
                await work()
                nursery.cancel_scope.cancel()

    trio.run(main)


def entries_of(block: Block) -> list[bytes]:
    return split_entries(block.entries)


def expected(office: Office, number: int, made_of: bytes) -> bytes:
    if made_of[:1] != b"\x82":
        return number_entry(AUTHOR, number, made_of)
    commitment = compute_commitment(office.world.genesis_hash, AUTHOR, number, made_of[3:35], made_of[37:])
    return codec.encode([1, AUTHOR, number, commitment])


def test_mixed_batch_becomes_entries_in_its_order_and_the_node_forgets(office: Office) -> None:
    made_of = [item(0), statement(1), item(2), statement(3), item(4)]

    async def work() -> None:
        receipt = await office.author.submit(read_sealed_batch(b"".join(made_of)), key="k")
        assert receipt.count == 5
        state = await office.author.wait("k", Stage.SEALED)
        assert state is not None
        assert state.entries == ((0, 5),)
        office.finalize()

    run(office, work)
    entries = [entry for held in office.offered for entry in entries_of(office.check(held))]
    assert entries == [expected(office, number, each) for number, each in enumerate(made_of)]
    assert office.store.spool_depth().bytes == 0
    assert office.author._unsealed_bytes == 0
    assert office.store.spool_pending(items_max=10, bytes_max=1 << 20).items == ()


@pytest.mark.parametrize("first", [0, 23, 255, 65_535])
def test_commitment_covers_the_number_whatever_its_width(office: Office, first: int) -> None:
    numbered = office.author._number([item(0), statement(1), item(2)], first)
    assert numbered == [expected(office, first + n, each) for n, each in enumerate([item(0), statement(1), item(2)])]
    leaf = decode_leaf(numbered[0])
    assert isinstance(leaf, SealedEntry)
    assert leaf.seq == first


@given(st.lists(st.integers(0, 9).map(item) | st.integers(0, 9).map(statement), min_size=1, max_size=8))
def test_sequence_is_cut_into_its_items(items: list[bytes]) -> None:
    assert list(read_sealed_batch(b"".join(items)).statements) == items


@given(st.binary(max_size=150))
def test_any_bytes_are_cut_or_refused(body: bytes) -> None:
    try:
        taken, status = b"".join(read_sealed_batch(body).statements), 202
    except RequestError as error:
        taken, status = body, error.status
    assert (taken, status in (202, 400, 422)) == (body, True)


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b"", "HTTP-01", 400),
        (item(0)[:-1], "CBOR-02", 400),
        (item(0) + b"\x00", "SEAL-01", 422),
        (codec.encode([codec.decode(item(0), size_max=99)]), "SEAL-01", 422),
        (codec.encode([b"x" * 32, b"y" * 31]), "SEAL-01", 422),
        (codec.encode([b"x" * 32, "y" * 32]), "SEAL-01", 422),
        (codec.encode([b"x" * 32, b"y" * 32, b"z"]), "SEAL-01", 422),
        (b"\x9f\x58\x20" + bytes(32) + b"\x58\x20" + bytes(32) + b"\xff", "CBOR-06", 400),
        (b"\x82\x59\x00\x20" + bytes(32) + b"\x58\x20" + bytes(32), "CBOR-08", 400),
        (item(0) * 65_537, "HTTP-04", 413),
    ],
)
def test_malformed_body_is_refused(body: bytes, code: str, status: int) -> None:
    with pytest.raises(RequestError) as refusal:
        read_sealed_batch(body)
    assert (refusal.value.code, refusal.value.status) == (code, status)


def test_broken_statement_in_a_sealed_batch_is_named_and_nothing_is_taken(office: Office) -> None:
    async def work() -> None:
        with pytest.raises(StatementRefusedError) as refusal:
            await office.author.submit(read_sealed_batch(item(0) + item(1) + b"\xa0"), key=None)
        assert (refusal.value.position, refusal.value.code) == (2, "STMT-08")
        assert office.store.spool_depth().unfinal == 0

    run(office, work, press=False)


def test_sealed_item_in_another_media_type_is_refused(office: Office) -> None:
    async def work() -> None:
        nested = codec.encode([codec.decode(item(0), size_max=99)])
        for batch in (batch_of([item(0)]), read_cbor_batch(nested), read_cbor_batch(item(0))):
            with pytest.raises(StatementRefusedError):
                await office.author.submit(batch, key=None)
        assert office.store.spool_depth().unfinal == 0

    run(office, work, press=False)


def test_many_sealed_entries_leave_no_debt_that_would_seal_early(tmp_path: Path) -> None:
    """A sealed item is longer than its entry: counted by entries, what waits would seem to grow for ever."""
    office = Office.new(tmp_path / "store", AuthorLimits(4_096, 1 << 20, seal_interval=0.01))

    async def work() -> None:
        for n in range(4):
            await office.author.submit(read_sealed_batch(b"".join(map(item, range(500 * n, 500 * n + 500)))), key=None)
        await until(lambda: not office.store.spool_depth().unsealed and not office.author._unsealed_bytes)

    run(office, work)
    office.close()


def test_over_http_with_idempotency_and_quota(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store", AuthorLimits(100, 1 << 20, spool_entries_max=5))

    async def work(api: Api) -> None:
        body = item(0) + statement(1) + item(2)
        first = await api.post(body, MEDIA, **{"idempotency-key": "k"})
        assert (first.status_code, first.json()["count"]) == (202, 3)
        assert (await api.post(body, MEDIA, **{"idempotency-key": "k"})).json()["repeated"] is True
        other = await api.post(item(3), MEDIA, **{"idempotency-key": "k"})
        assert (other.status_code, other.json()["code"]) == (409, "SUBMIT-09")
        behind = await api.post(b"".join(map(item, range(6))), MEDIA)
        assert (behind.status_code, behind.json()["code"]) == (429, "SUBMIT-02")
        broken = await api.post(item(0) + b"\x00", MEDIA)
        assert (broken.status_code, broken.json()["code"], broken.json()["statement"]) == (422, "SEAL-01", 1)
        await until(lambda: bool(api.office.offered))
        api.publish()
        proved = await api.client.get("/v1/submissions/k/bundles/2")
        assert proved.content == b"bundle of " + expected(office, 2, item(2))

    with_api(office, work)
    office.close()


# --- kills ------------------------------------------------------------------------------------------------

CHILD = """
import sys, trio
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from node.author_world import Office
from node.test_sealed import item
from glasslog_node.batches import read_sealed_batch
async def main():
    office = Office.new(Path(sys.argv[1]))
    async with trio.open_nursery() as nursery:
        if sys.argv[2] == "press":
            nursery.start_soon(office.author.run)
        for n in range(10_000):
            receipt = await office.author.submit(read_sealed_batch(item(n)), key=f"k-{n}")
            print(n, flush=True)
trio.run(main)
"""


@pytest.mark.processes
@pytest.mark.parametrize("press", ["press", "desk"])
def test_nothing_acknowledged_is_lost_or_doubled_by_a_kill(tmp_path: Path, press: str) -> None:
    tests = str(Path(__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "store"), press, tests], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = -1
    for line in child.stdout:
        acknowledged = int(line)
        if acknowledged == 40:
            os.kill(child.pid, signal.SIGKILL)
            break
    acknowledged = max([acknowledged, *(int(line) for line in child.stdout.read().split())])
    child.stdout.close()
    child.wait()
    office = Office.open(tmp_path / "store", Office.new(tmp_path / "fresh").world)

    async def work() -> None:
        for n in range(acknowledged + 1):
            receipt = await office.author.submit(read_sealed_batch(item(n)), key=f"k-{n}")
            assert receipt.repeated
        await until(lambda: not office.store.spool_depth().unsealed)

    run(office, work)
    entries = [entry for held in office.store.unfinal_blocks() for entry in entries_of(office.check(held))]
    assert len(entries) in (acknowledged + 1, acknowledged + 2)
    assert entries == [expected(office, n, item(n)) for n in range(len(entries))]
    office.close()
