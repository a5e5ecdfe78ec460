"""The spool: nothing lost, nothing entered twice, whatever crashes, whatever the node does."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog.cose import TAG
from glasslog.statement import Statement, encode_statement, to_json
from glasslog_lab.client import Client, ClientError, Receipt
from glasslog_lab.errors import ArtifactError
from glasslog_lab.spool import BATCH_BYTES_MAX, BATCH_STATEMENTS_MAX, Spool, pack, read_submissions, write_whole


class CrashError(BaseException):
    """The process dies here: no handler runs, and nothing is tidied up."""


def make(number: int, padding: int = 0) -> Statement:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": f"s{number}", "digest": {"sha256": bytes([number % 256]) * 32}}],
        "predicateType": "urn:x:y",
        "predicate": {"number": number, "padding": "x" * padding},
    }


class FakeNode:
    """Takes submissions as a node does: each key once; what ``faults`` says happens to the next requests."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        self.ledger: list[bytes] = []
        self.faults: list[str] = []
        self.requests = 0

    def client(self, spool: Path | None, **how: Any) -> Client:
        transport = httpx.MockTransport(self)
        return Client("http://node", spool=spool, transport=transport, sleep=lambda _: None, **how)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "down":
            raise httpx.ConnectError("refused")
        if fault == "busy":
            problem = {"code": "SUBMIT-02", "fact": "the spool is full", "next": "wait"}
            return httpx.Response(429, json=problem, headers={"retry-after": "1"})
        answer = self._take(request) if request.method == "POST" else self._follow(request)
        if fault == "lost":
            raise httpx.ReadError("the connection went away")
        return answer

    def _take(self, request: httpx.Request) -> httpx.Response:
        key, body = request.headers["idempotency-key"], request.content
        if self.taken.setdefault(key, body) != body:
            return httpx.Response(409, json={"code": "SUBMIT-09", "fact": "used", "next": "x"})
        repeated = body in self.ledger
        if not repeated:
            self.ledger.append(body)
        count = body.count(b"predicateType")
        return httpx.Response(202, json={"submission": key, "count": count, "repeated": repeated})

    def _follow(self, request: httpx.Request) -> httpx.Response:
        key = request.url.path.rpartition("/")[2]
        if key not in self.taken:
            return httpx.Response(404, json={"code": "HTTP-10", "fact": "no such", "next": "x"})
        at = self.ledger.index(self.taken[key])
        count = self.taken[key].count(b"predicateType")
        runs = [{"number": at, "index": 10 * at, "count": count}]
        return httpx.Response(200, json={"submission": key, "state": "published", "runs": runs, "checkpoint": 99})


@contextmanager
def crashing(after: int) -> Iterator[None]:
    """Let the process die before its ``after``-th change to a file or folder: later ones do not happen either."""
    left = after

    def guard(act: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **how: Any) -> Any:
            nonlocal left
            if left <= 0:
                raise CrashError
            left -= 1
            return act(*arguments, **how)

        return guarded

    with (
        mock.patch.object(os, "fsync", guard(lambda _: None)),
        mock.patch.object(Path, "replace", guard(Path.replace)),
        mock.patch.object(Path, "unlink", guard(Path.unlink)),
        mock.patch.object(Path, "mkdir", guard(Path.mkdir)),
        mock.patch.object(Path, "open", guard(Path.open)),
    ):
        yield


@settings(max_examples=60, deadline=None)
@given(
    crashes=st.lists(st.integers(0, 40), max_size=4),
    faults=st.lists(st.lists(st.sampled_from(["none", "down", "lost", "busy"]), max_size=6), min_size=5, max_size=5),
    count=st.integers(1, 4),
    copies=st.booleans(),
)
def test_whatever_crashes_each_statement_enters_once(
    crashes: list[int], faults: list[list[str]], count: int, copies: bool
) -> None:
    with tempfile.TemporaryDirectory() as base, mock.patch.object(os, "fsync", return_value=None):
        folder, node = Path(base, "spool"), FakeNode()
        spool = Spool(folder)
        items = [item for number in range(count) for item in pack([encode_statement(make(number))])]
        for number, after in enumerate(crashes):
            node.faults = list(faults[number])
            with crashing(after):
                try:
                    for item in items:
                        spool.put(item)
                    with node.client(folder, patience=0) as client:
                        client.send_spool(wait=True)
                except (CrashError, ClientError):
                    continue
        node.faults = []
        for item in items:
            spool.put(item)
        if copies:
            shutil.copytree(folder, Path(base, "stick"))
            with node.client(Path(base, "stick")) as client:
                assert not client.send_spool(wait=True).problems
        with node.client(folder) as client:
            assert not client.send_spool(wait=True).problems
        assert sorted(node.ledger) == sorted(item.body for item in items)
        assert spool.names() == []
        assert spool.unpublished() == []
        receipts = {path.name.partition(".")[0] for path in (folder / "done").glob("*.published.json")}
        assert receipts == {item.key for item in items}


def test_the_property_sees_a_client_that_makes_up_new_keys() -> None:
    node = FakeNode()
    body = encode_statement(make(1))
    for key in ("a", "b"):
        node(
            httpx.Request(
                "POST", "http://node/v1/submissions", headers={"idempotency-key": key}, content=body + key.encode()
            )
        )
    assert len(node.ledger) == 2


def test_file_name_is_the_id_of_its_only_statement(tmp_path: Path) -> None:
    (item,) = pack([encode_statement(make(1))])
    Spool(tmp_path).put(item)
    assert item.ids == (item.key,) == (sha256(encode_statement(make(1))).hexdigest(),)
    assert (tmp_path / f"{item.key}.cbor").read_bytes() == encode_statement(make(1))


@given(st.lists(st.integers(0, 3 * BATCH_BYTES_MAX // 20), max_size=12))
@settings(max_examples=30, deadline=None)
def test_batches_keep_order_limits_and_are_the_same_every_time(sizes: list[int]) -> None:
    items = [bytes(size + 1) for size in sizes]
    batches = list(pack(items))
    assert b"".join(batch.body for batch in batches) == b"".join(items)
    assert [batch.key for batch in batches] == [batch.key for batch in pack(items)]
    assert all(len(batch.body) <= BATCH_BYTES_MAX or len(batch.ids) == 1 for batch in batches)
    assert len(list(pack([b"x"] * (BATCH_STATEMENTS_MAX + 1)))) == 2


def test_damaged_foreign_and_refused_files_do_not_keep_the_rest(tmp_path: Path) -> None:
    spool, node = Spool(tmp_path), FakeNode()
    good, bad = (next(pack([encode_statement(make(number))])) for number in (1, 2))
    spool.put(good)
    spool.put(bad)
    (tmp_path / f"{bad.key}.cbor").write_bytes(b"\x00" + bad.body)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "statements.jsonl").write_text(to_json(make(3)) + "\n\n" + to_json(make(4)) + "\n")
    (tmp_path / "array.json").write_text(f" [ {to_json(make(5))} , {to_json(make(6))} ] ")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / ".partial").write_text("left by a crash")
    with node.client(tmp_path) as client:
        drained = client.send_spool(wait=True)
    codes = sorted((problem.code, problem.fact.split()[0].rpartition("/")[2]) for problem in drained.problems)
    assert codes == [
        ("SPOOL-02", "link.json"), ("SPOOL-02", "notes.txt"), ("SPOOL-02", "pipe.json"),
        ("SPOOL-03", f"{bad.key}.cbor"), ("SPOOL-04", "broken.json"),
    ]  # fmt: skip
    assert sum(len(receipt.ids) for receipt in drained.receipts) == 5
    assert (tmp_path / "done" / "statements.jsonl").exists()


def test_what_the_node_refuses_for_good_is_moved_aside_with_the_reason(tmp_path: Path) -> None:
    node = FakeNode()
    item, other = (next(pack([encode_statement(make(number))])) for number in (1, 2))
    node.taken[item.key] = b"other bytes"
    for one in (item, other):
        Spool(tmp_path).put(one)
    with node.client(tmp_path) as client:
        drained = client.send_spool(wait=True)
    assert [problem.code for problem in drained.problems] == ["SUBMIT-09"]
    assert [receipt.submission for receipt in drained.receipts] == [other.key]
    reason = json.loads((tmp_path / "refused" / f"{item.key}.json").read_text())
    assert (reason["code"], reason["statements"]) == ("SUBMIT-09", [item.key])
    assert (tmp_path / "refused" / f"{item.key}.cbor").read_bytes() == item.body


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.json", b"", "SPOOL-04 * holds no statements: STMT-02 not JSON"),
        ("a.json", b"[" + b"[" * 100_000, "SPOOL-04 * holds no statements: not JSON"),
        ("a.json", b"[{}", "SPOOL-04 * holds no statements: statement 0: STMT-08 "),
        ("a.json", b"[{}] x", "SPOOL-04 * holds no statements: "),
        ("a.json", b"\xff", "SPOOL-04 * holds no statements: not JSON"),
        ("a.json", b'[{"_type":1,"_type":1}]', "SPOOL-04 * holds no statements: statement 0: STMT-"),
        ("a.jsonl", b"\n{}\n", "SPOOL-04 * holds no statements: line 2: STMT-08"),
        ("a.cbor", b"\xa0", "SPOOL-04 * holds no statements: statement 0: STMT-"),
        ("a.cbor", b"\xff", "SPOOL-04 * holds no statements: statement 0: CBOR-"),
        ("a.cose", bytes([0xC0 | TAG, 0x80]), "SPOOL-04 * holds no statements: COSE-"),
        ("a.txt", b"", "SPOOL-02 * is of no known kind"),
    ],
)
def test_malformed_file_is_one_line(tmp_path: Path, name: str, content: bytes, line: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        read_submissions(path)
    said = str(caught.value).replace(str(path), "*")
    assert said.startswith(line)
    assert "\n" not in said
    assert ". Next: " in said


def test_folder_that_cannot_be_written_or_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (item,) = pack([encode_statement(make(1))])
    with pytest.raises(ArtifactError, match=r"SPOOL-01 .*Next: "):
        Spool(tmp_path / "file").put(item)
    with pytest.raises(ArtifactError, match=r"SPOOL-02 .*Next: "):
        Spool(tmp_path / "none").names()


def test_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with mock.patch.object(os, "fsync", side_effect=OSError(28, "No space left on device")), pytest.raises(OSError):
        write_whole(tmp_path / "x", b"data")
    assert list(tmp_path.iterdir()) == []


def test_receipt_of_a_damaged_done_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "x.taken.json").write_text("{}")
    (tmp_path / "done" / f"{'0' * 64}.taken.json").write_text("[")
    assert Spool(tmp_path).unpublished() == [("0" * 64, ())]


def test_receipt_finds_a_place_across_runs() -> None:
    from glasslog_lab.client import Run

    receipt = Receipt("s", ("a", "b", "c"), "published", (Run(5, 70, 2), Run(7, 90, 1)), 99)
    assert [receipt.index(position) for position in range(4)] == [70, 71, 90, None]
