"""The author's pipeline over a real store: nothing acknowledged is lost or doubled, blocks are what validators take."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog import codec
from glasslog.entry import number_entry
from glasslog.ledger import Tip
from glasslog.limits import BLOCK_ENTRIES_MAX
from glasslog.statement import decode_statement, to_json
from glasslog_node.batches import (
    BATCH_STATEMENTS_MAX,
    Batch,
    StatementRefusedError,
    batch_of,
    read_cbor_batch,
    read_json_batch,
    read_ndjson_batch,
)
from glasslog_node.errors import RequestError, StoreError
from glasslog_node.seams import Stage
from glasslog_node.submit import AuthorLimits
from node.author_world import AUTHOR, LIMITS, Office, numbers, until
from node.store_world import statement


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office.new(tmp_path / "store")
    yield made
    made.close()


def run(office: Office, work: Callable[[], Coroutine[Any, Any, None]], *, press: bool = True) -> None:
    """Run ``work`` beside the pipeline's own task, and stop both."""

    async def main() -> None:
        with trio.fail_after(8):
            async with trio.open_nursery() as nursery:
                if press:
                    nursery.start_soon(office.author.run)
                await work()
                nursery.cancel_scope.cancel()

    trio.run(main)


async def submit(office: Office, first: int, count: int = 1, key: str | None = None) -> str:
    batch = batch_of([statement(number) for number in range(first, first + count)])
    return (await office.author.submit(batch, key=key)).submission


# --- from submission to publication ---------------------------------------------------------------


def test_submission_passes_through_every_stage(office: Office) -> None:
    async def work() -> None:
        name = await submit(office, 0, 3)
        state = await office.author.wait(name, Stage.SEALED)
        assert state is not None
        assert (state.stage, state.entries, state.runs) == (Stage.SEALED, ((0, 3),), ())
        office.finalize()
        state = await office.author.wait(name, Stage.FINAL)
        assert state is not None
        assert (state.stage, state.checkpoint) == (Stage.FINAL, None)
        size = office.publish()
        state = await office.author.wait(name, Stage.PUBLISHED)
        assert state is not None
        assert state.checkpoint == size
        for position in range(3):
            index = state.index(position)
            assert index is not None
            assert office.world.leaves[index] == number_entry(AUTHOR, position, statement(position))
        assert state.index(3) is None

    run(office, work)


def test_idle_author_seals_at_once_and_a_busy_one_gathers(office: Office) -> None:
    async def work() -> None:
        await submit(office, 0)
        await until(lambda: len(office.offered) == 1)
        for number in range(1, 30):
            await submit(office, number)
        office.finalize()
        await until(lambda: not office.store.spool_depth().unsealed)
        office.finalize()

    run(office, work)
    blocks = [office.check(held) for held in office.offered]
    assert blocks[0].header.count == 1
    assert len(blocks) < 10
    assert numbers(office.statements()) == list(range(30))


def test_full_block_is_sealed_though_an_earlier_one_is_open(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store", AuthorLimits(10, 1 << 20, seal_interval=1000))

    async def work() -> None:
        await submit(office, 0)
        await until(lambda: len(office.offered) == 1)
        await submit(office, 1, 9)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(office.offered) == 1
        await submit(office, 10, 1)
        await until(lambda: len(office.offered) == 2)

    run(office, work)
    assert [office.check(held).header.count for held in office.offered] == [1, 10]
    office.close()


def test_gathering_ends_after_the_interval(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store", AuthorLimits(100, 1 << 20, seal_interval=0.02))

    async def work() -> None:
        await submit(office, 0)
        await until(lambda: len(office.offered) == 1)
        await submit(office, 1)
        await until(lambda: len(office.offered) == 2)

    run(office, work)
    office.close()


def test_block_never_exceeds_its_byte_limit(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store", AuthorLimits(4096, 20_000))

    async def work() -> None:
        batch = batch_of([statement(number, 3_000) for number in range(40)])
        await office.author.submit(batch, key=None)
        await until(lambda: sum(office.check(held).header.count for held in office.offered) == 40)

    run(office, work)
    blocks = [office.check(held) for held in office.offered]
    assert sum(block.header.count for block in blocks) == 40
    assert all(10_000 < block.body_bytes <= 20_000 for block in blocks[:-1])
    office.close()


def test_submission_over_two_blocks_has_two_runs(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store", AuthorLimits(5, 1 << 20, seal_interval=0.01))

    async def work() -> None:
        name = await submit(office, 0, 8)
        await until(lambda: not office.store.spool_depth().unsealed)
        office.finalize()
        state = office.author.state(name)
        assert state is not None
        assert [(run.number, run.count) for run in state.runs] == [(0, 5), (5, 3)]
        assert [office.world.leaves[state.index(p) or 0] for p in range(8)] == office.statements()

    run(office, work)
    office.close()


# --- restarts ---------------------------------------------------------------------------------------


def test_restart_offers_open_blocks_again_and_seals_what_waits(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store")

    async def before() -> None:
        await submit(office, 0, 2)
        await until(lambda: len(office.offered) == 1)

    async def between() -> None:
        await submit(office, 2, 2)

    run(office, before)
    run(office, between, press=False)
    first = office.offered[0]
    office.close()
    again = Office.open(tmp_path / "store", office.world)

    async def after() -> None:
        await until(lambda: len(again.offered) == 2 or not again.store.spool_depth().unsealed)
        assert again.offered[0] == first
        again.finalize()
        await until(lambda: not again.store.spool_depth().unsealed)
        again.finalize()

    run(again, after)
    assert numbers(again.statements()) == [0, 1, 2, 3]
    again.close()


def test_open_block_is_offered_again_when_it_takes_long(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store", AuthorLimits(100, 1 << 20, republish=0.02))

    async def work() -> None:
        await submit(office, 0)
        await until(lambda: len(office.offered) >= 3)
        assert {held.ref for held in office.offered} == {office.offered[0].ref}
        office.finalize()
        await submit(office, 1)
        await until(lambda: office.offered[-1].ref.seq == 2)

    run(office, work)
    office.close()


def test_author_with_lost_state_seals_only_after_the_tip_is_known(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store")
    office.close()
    (tmp_path / "store.mark").unlink()
    lost = Office.open(tmp_path / "store", office.world)
    assert lost.store.state_lost
    tip = Tip(3, b"\x05" * 32, 17)

    async def work() -> None:
        name = await submit(lost, 0, 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert lost.offered == []
        await lost.author.take_up(tip)
        state = await lost.author.wait(name, Stage.SEALED)
        assert state is not None
        assert state.entries == ((17, 2),)
        await until(lambda: len(lost.offered) == 1)

    run(lost, work)
    header = lost.check(lost.offered[0]).header
    assert (header.seq, header.prev, header.first) == (4, tip.hash, 17)
    lost.close()


# --- refusals -----------------------------------------------------------------------------------------


def test_same_key_and_batch_is_taken_once(office: Office) -> None:
    async def work() -> None:
        batch = batch_of([statement(1)])
        one = await office.author.submit(batch, key="k")
        two = await office.author.submit(batch, key="k")
        assert (one.repeated, two.repeated, two.count) == (False, True, 1)
        with pytest.raises(RequestError, match="SUBMIT-09") as refusal:
            await office.author.submit(batch_of([statement(2)]), key="k")
        assert refusal.value.status == 409
        assert office.store.spool_depth().unfinal == 1

    run(office, work, press=False)


def test_author_that_is_behind_refuses_before_spooling(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store", AuthorLimits(100, 1 << 20, spool_entries_max=5))

    async def work() -> None:
        await submit(office, 0, 4)
        with pytest.raises(RequestError, match="SUBMIT-02") as refusal:
            await submit(office, 4, 2)
        assert refusal.value.status == 429
        assert office.store.spool_depth().unfinal == 4

    run(office, work, press=False)
    office.close()


def broken_statements() -> list[tuple[bytes, str]]:
    good = statement(7)
    return [
        (good[:-1], "CBOR-02"),
        (good + b"\x00", "CBOR-05"),
        (b"\xa0", "STMT-08"),
        (b"\x00", "STMT-07"),
        (b"", "CBOR-02"),
        (good.replace(b"x\x1fhttps://in-toto.io/Statement/v1", b"x\x1fhttps://in-toto.io/Statement/v2"), "STMT-08"),
    ]


@pytest.mark.parametrize(("broken", "code"), broken_statements())
def test_refused_statement_is_named_and_nothing_of_its_batch_is_taken(office: Office, broken: bytes, code: str) -> None:
    async def work() -> None:
        with pytest.raises(StatementRefusedError) as refusal:
            await office.author.submit(batch_of([statement(1), statement(2), broken, statement(3)]), key=None)
        assert (refusal.value.position, refusal.value.status) == (2, 422)
        assert refusal.value.code == code
        assert office.store.spool_depth().unfinal == 0

    run(office, work, press=False)


def test_statement_over_the_quota_is_refused(tmp_path: Path) -> None:
    office = Office.new(tmp_path / "store", AuthorLimits(100, 5_000))

    async def work() -> None:
        with pytest.raises(RequestError, match="SUBMIT-05") as refusal:
            await office.author.submit(batch_of([statement(1, 4_500)]), key=None)
        assert refusal.value.status == 413

    run(office, work, press=False)
    office.close()


@pytest.mark.parametrize(
    ("cause", "code", "status"),
    [(OSError(28, "No space left on device"), "SUBMIT-03", 507), (OSError(5, "I/O error"), "SUBMIT-04", 503)],
)
def test_write_that_fails_is_not_acknowledged(
    office: Office, monkeypatch: pytest.MonkeyPatch, cause: OSError, code: str, status: int
) -> None:
    def fail(_batch: object) -> Future[Any]:
        error = StoreError("STORE-05", "writing failed", "free disk space")
        error.__cause__ = cause
        future: Future[Any] = Future()
        future.set_exception(error)
        return future

    monkeypatch.setattr(office.store, "spool_submit", fail)

    async def work() -> None:
        with pytest.raises(RequestError, match=code) as refusal:
            await submit(office, 0)
        assert refusal.value.status == status

    run(office, work, press=False)


def test_unknown_submission_has_no_state(office: Office) -> None:
    assert office.author.state("nobody") is None
    assert office.author.state("") is None
    assert office.author.state("x" * 600) is None


# --- batches --------------------------------------------------------------------------------------------

predicates = st.dictionaries(
    st.text(max_size=6), st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=40) | st.booleans(), max_size=4
)


def in_toto(predicate: Mapping[str, int | str]) -> bytes:
    members: codec.Map = {}
    for name, value in predicate.items():
        members[name] = value
    return codec.encode({**decode_statement(statement(1)), "predicate": members})


def quoting() -> bytes:
    """Return a statement with a digest that reads like the opening of another statement."""
    subject: codec.Value = {"name": "n", "digest": {"sha256": b"\xa4\x65_type\x78\x1fhttps://in-toto.io/Statement/v1"}}
    return codec.encode({**decode_statement(statement(1)), "subject": [subject]})


statements = st.lists(predicates.map(in_toto), min_size=1, max_size=8)


@given(statements, st.booleans())
def test_cbor_batch_is_cut_into_its_statements(items: list[bytes], as_array: bool) -> None:
    body = (codec.encode_head(4, len(items)) if as_array else b"") + b"".join(items)
    batch = read_cbor_batch(body)
    assert list(batch.statements) == items
    assert list(batch.exactly()) == items


@given(statements)
def test_json_batches_carry_the_same_statements(items: list[bytes]) -> None:
    texts = [to_json(decode_statement(item)) for item in items]
    assert list(read_json_batch((" [ " + " ,\n".join(texts) + " ] ").encode()).statements) == items
    assert list(read_ndjson_batch("\n\n".join(texts).encode()).statements) == items
    assert list(read_json_batch(texts[0].encode()).statements) == items[:1]


@settings(max_examples=50)
@given(st.lists(predicates, min_size=1, max_size=3))
def test_statement_quoting_a_statement_is_cut_exactly(inner: list[dict[str, int | str]]) -> None:
    """A text that holds another statement's opening defeats the guess, never the result."""
    items = [in_toto(each) for each in inner]
    tricky = quoting()
    batch = read_cbor_batch(b"".join([*items, tricky]))
    assert len(batch.statements) == len(items) + 2
    assert list(batch.exactly()) == [*items, tricky]


def test_guess_that_fails_is_mended_before_anything_is_refused(office: Office) -> None:
    tricky = quoting()

    async def work() -> None:
        receipt = await office.author.submit(read_cbor_batch(statement(2) + tricky + statement(3)), key=None)
        assert receipt.count == 3
        await until(lambda: not office.store.spool_depth().unsealed)
        office.finalize()
        assert office.statements()[1] == number_entry(AUTHOR, 1, tricky)

    run(office, work)


def status_of(read: Callable[[bytes], Batch], body: bytes) -> int:
    try:
        return 200 if read(body).statements else 0
    except RequestError as error:
        return error.status


@given(st.binary(max_size=200))
def test_any_bytes_as_cbor_are_cut_or_refused(body: bytes) -> None:
    assert status_of(read_cbor_batch, body) in (200, 400, 413)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_as_json_are_converted_or_refused(body: bytes) -> None:
    readers: list[Callable[[bytes], Batch]] = [read_json_batch, read_ndjson_batch]
    for read in readers:
        assert status_of(read, body) in (200, 400, 422)


@pytest.mark.parametrize(
    "body", [b"[", b"[1,]", b"[,]", b"[] x", b"[1 2]", b"[" * 100_000, b"[NaN", b"\xff", b"[]", b""]
)
def test_malformed_json_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(RequestError) as refusal:
        read_json_batch(body)
    assert refusal.value.status in (400, 422)


def test_too_many_statements_are_refused() -> None:
    with pytest.raises(RequestError, match="HTTP-04"):
        read_cbor_batch(codec.encode_head(4, 1 << 31))
    with pytest.raises(RequestError, match="HTTP-04"):
        read_cbor_batch(statement(1) * (BATCH_STATEMENTS_MAX + 1))


def test_limits_admit_a_whole_block() -> None:
    assert LIMITS.quota_entries >= BLOCK_ENTRIES_MAX


# --- order --------------------------------------------------------------------------------------------


def hold_back(office: Office, monkeypatch: pytest.MonkeyPatch, write: str) -> tuple[list[Any], Future[Any]]:
    """Let the store's write happen, but not its future: return what it came to, and the future to complete."""
    real, results, future = getattr(office.store, write), list[Any](), Future[Any]()

    def held_back(argument: Any) -> Future[Any]:
        results.append(real(argument).result())
        return future

    monkeypatch.setattr(office.store, write, held_back)
    return results, future


def test_batch_is_not_acknowledged_before_it_is_durable(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    results, future = hold_back(office, monkeypatch, "spool_submit")
    acknowledged: list[str] = []

    async def work() -> None:
        async def client() -> None:
            acknowledged.append(await submit(office, 0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            await until(lambda: bool(results))
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert acknowledged == []
            future.set_result(results[0])
        assert len(acknowledged) == 1

    run(office, work, press=False)


def test_block_is_not_offered_before_it_is_durable(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    results, future = hold_back(office, monkeypatch, "submit")

    async def work() -> None:
        await submit(office, 0)
        await until(lambda: bool(results))
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert office.offered == []
        future.set_result(results[0])
        await until(lambda: len(office.offered) == 1)

    run(office, work)
