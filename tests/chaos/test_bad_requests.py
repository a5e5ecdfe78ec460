"""What clients can get wrong: each refusal is one line with a code; the node goes on, and nothing it took is lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from chaos.rig import (
    PATIENCE,
    Load,
    Node,
    check_exactly_once,
    found,
    glasslog,
    log_of,
    network,
    report,
    run,
    settle,
    statement_of,
    wait_for_growth,
)
from chaos.test_bad_installation import LINE, UNABLE
from glasslog.cose import sign1
from glasslog.statement import STATEMENT_TYPE
from glasslog_node.cli.connection import read_token
from glasslog_node.fleet import Fleet, open_client

GOOD = {
    "_type": STATEMENT_TYPE,
    "subject": [{"name": "weights", "digest": {"sha256": "ab" * 32}}],
    "predicateType": "urn:glasslog:chaos",
    "predicate": {},
}
SIGNED = sign1(b"a third party's statement", bytes(64))

# The file's name, its content, and the code of the refusal.
BAD: list[tuple[str, bytes, str]] = [
    ("cut.json", json.dumps(GOOD).encode()[:-1], "STMT-02"),
    ("not.json", b"hello\n", "STMT-02"),
    ("nul.json", b"\x00\xff\xfe", "HTTP-01"),
    ("array.json", b"[1,", "HTTP-01"),
    ("deep.json", b"[" * 100_000, "HTTP-01"),
    ("empty.json", b"", "STMT-02"),
    ("shape.json", b'{"a": 1}', "STMT-"),
    ("nan.json", json.dumps({**GOOD, "predicate": {"loss": float("nan")}}).encode(), "STMT-"),
    ("large.json", json.dumps({**GOOD, "predicate": {"filler": "x" * 61_000}}).encode(), "STMT-"),
    ("third.ndjson", b"\n".join([json.dumps(GOOD).encode(), b"{}", b""]), "STMT-"),
    ("cut.cbor", statement_of(bytes(32))[:-1], "CBOR-"),
    ("long.cbor", b"\x18\x01" + statement_of(bytes(32)), "CBOR-"),
    ("after.cbor", statement_of(bytes(32)) + b"\xff", "CBOR-"),
    ("duplicate.cbor", b"\xa2\x61a\x01\x61a\x01", "CBOR-"),
    ("signed.cbor", SIGNED, "CBOR-11"),
    ("torn-signed.cbor", SIGNED[:-3], "CBOR-11"),
    ("torn.cose", SIGNED[:-3], "CBOR-02"),
    ("statement.cose", statement_of(bytes(32)), "COSE-02"),
    ("open.cose", SIGNED.replace(b"\xa0", b"\xa1\x01\x01", 1), "COSE-03"),
]


IN_FULL = ("cut.json", "signed.cbor", "large.json")  # by the command too; it says what the node says
MEDIA_TYPES = {
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".cbor": "application/cbor",
    ".cose": "application/cose",
}


def dict_of_codes() -> dict[str, str]:
    return {name: code for name, _, code in BAD}


async def check_refused(code: str, *arguments: object) -> None:
    answer = await glasslog(*arguments)
    assert answer.status == UNABLE, (arguments, answer)
    assert answer.out == ""
    assert len(answer.lines) == 1, answer.err
    assert LINE.fullmatch(answer.err.strip()), answer.err
    assert answer.err.startswith(code), answer.err
    report(f"{Path(str(arguments[1])).name}: {answer.err.strip()}")


def test_bad_submissions_are_refused_in_one_line_and_nothing_of_them_is_kept(tmp_path: Path) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        lab = testnet.labs[0]
        alone = {node.name for node in testnet.validators}
        async with network(testnet, absent=alone) as fleet:
            async with open_client(lab.config) as client:
                for name, content, code in BAD:
                    (tmp_path / name).write_bytes(content)
                    headers = {"authorization": f"Bearer {read_token(lab.config.token_path)}",
                               "content-type": MEDIA_TYPES[Path(name).suffix]}  # fmt: skip
                    answer = await client.post("/v1/submissions", content=content, headers=headers)
                    said = answer.json()
                    line = f"{said['code']} {said['fact']}. Next: {said['next']}"
                    report(f"{name}: {answer.status_code} {line}")
                    assert answer.status_code in {400, 413, 422}
                    assert LINE.fullmatch(line)
                    assert line.startswith(code)
            for name in IN_FULL:
                await check_refused(dict_of_codes()[name], "submit", tmp_path / name, "--config", lab.config_path)
            await check_wrong_token(tmp_path, lab)
            status = await fleet.status(lab)
            assert status is not None
            assert status["spooled"] == 0
            assert "Traceback" not in log_of(lab)
            assert "bug" not in log_of(lab)
            await check_key_used_twice(tmp_path, lab)

    async def check_wrong_token(folder: Path, lab: Node) -> None:
        good, token = folder / "good.json", folder / "token"
        good.write_text(json.dumps(GOOD))
        token.write_text("f" * 64 + "\n")
        token.chmod(0o600)
        where = ("--url", f"http://{lab.config.http.bind}", "--token-file", token)
        await check_refused("HTTP-02", "submit", good, *where)
        token.chmod(0o644)
        await check_refused("KEY-02", "submit", good, *where)
        await check_refused("CLIENT-04", "submit", folder / "absent.json", "--config", lab.config_path)

    async def check_key_used_twice(folder: Path, lab: Node) -> None:
        good, other = folder / "good.json", folder / "other.json"
        other.write_text(json.dumps({**GOOD, "predicate": {"other": True}}))
        for _ in range(2):
            answer = await glasslog("submit", good, "--config", lab.config_path, "--key", "mine", "--json")
            assert answer.status == 0
        assert json.loads(answer.out)["repeated"] is True
        await check_refused("SUBMIT-09", "submit", other, "--config", lab.config_path, "--key", "mine")

    run(test)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def enlarge_disk(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


@pytest.mark.parametrize("victim", ["lab", "validator"])
def test_node_with_a_full_disk_stops_safely_and_loses_nothing(tmp_path: Path, victim: str) -> None:
    async def test() -> None:
        testnet = found(tmp_path / "net")
        node = testnet.labs[0] if victim == "lab" else testnet.validators[0]
        load = Load(testnet.labs[0], clients=4, batch=500, pause=0.0)
        others = [other for other in testnet.validators if other is not node]
        with small_disk(node.config.data, "3m"):
            async with network(testnet) as fleet:
                async with load.running():
                    process = fleet.processes[node.name]
                    with trio.fail_after(PATIENCE):
                        status = await process.wait()
                    del fleet.processes[node.name]
                    check_safe_stop(node, status)
                    if victim == "validator":
                        await wait_for_growth(fleet, others)
                    await check_still_full(fleet, node)
                    load.slow_down()
                    enlarge_disk(node.config.data, "500m")
                    await fleet.start(node)
                await settle(fleet)
            size = check_exactly_once(testnet, load)
        report(f"{victim}'s disk full: {len(load.acknowledged)} acknowledged, {size} leaves, refused: {load.refusals}")
        if victim == "lab":
            assert load.refusals["SUBMIT-03"] + load.refusals["SUBMIT-04"] + load.refusals["unreachable"]

    def check_safe_stop(node: Node, status: int) -> None:
        assert status == UNABLE
        last = log_of(node).strip().splitlines()[-1]
        assert LINE.fullmatch(last), last
        assert last.startswith(("STORE-05 ", "STORE-06 refused after STORE-05 ")), last
        assert "the disk is full" in last
        assert last.count("Next: ") == 1
        assert "Traceback" not in log_of(node)
        report(last)

    async def check_still_full(fleet: Fleet, node: Node) -> None:
        """Started again while the disk is full, it says so again or waits for work; it never damages what is there."""
        answer_or_running = await fleet.start(node)
        with trio.move_on_after(8):
            await answer_or_running.wait()
        if answer_or_running.poll() is None:
            answer_or_running.kill()
            await answer_or_running.wait()
        del fleet.processes[node.name]
        assert "Traceback" not in log_of(node)

    run(test)
