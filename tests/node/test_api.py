"""The HTTP interface on a real server: what clients get for good requests, and one clear answer for every bad one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from glasslog import codec
from glasslog.entry import number_entry
from glasslog.merkle import hash_leaf, root
from glasslog.statement import decode_statement, to_json
from glasslog.tiles import split_entries
from glasslog_node.api.server import open_listener
from glasslog_node.errors import ConfigError
from node.api_world import BODY_MAX, TOKEN, Api, open_api, with_api
from node.author_world import AUTHOR, Office, until
from node.store_world import statement

CBOR = "application/cbor"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office.new(tmp_path / "store")
    yield made
    made.close()


def json_of(number: int) -> str:
    return to_json(decode_statement(statement(number)))


# --- submission ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "media", "count"),
    [
        (json_of(0).encode(), "application/json", 1),
        (f"[{json_of(0)},{json_of(1)}]".encode(), "application/json; charset=utf-8", 2),
        (f"{json_of(0)}\n{json_of(1)}\n".encode(), "application/x-ndjson", 2),
        (statement(0), CBOR, 1),
        (b"\x82" + statement(0) + statement(1), CBOR, 2),
        (statement(0) + statement(1) + statement(2), "application/cbor-seq", 3),
    ],
)
@pytest.mark.parametrize("unix", [False, True])
def test_batch_of_every_form_is_taken_and_published(
    office: Office, tmp_path: Path, body: bytes, media: str, count: int, unix: bool
) -> None:
    async def work(api: Api) -> None:
        response = await api.post(body, media)
        assert response.status_code == 202, response.text
        answer = response.json()
        assert answer == {"submission": answer["submission"], "count": count, "repeated": False}
        path = response.headers["location"]
        state = (await api.client.get(path, params={"wait": "sealed", "timeout": "5"})).json()
        assert (state["state"], state["entries"]) == ("sealed", [[0, count]])
        size = api.publish()
        state = (await api.client.get(path, params={"wait": "published"})).json()
        assert (state["state"], state["checkpoint"], state["runs"][0]["count"]) == ("published", size, count)
        entry = (await api.client.get(f"/v1/entries/{state['runs'][0]['index']}")).json()
        assert (entry["author"], entry["number"]) == (AUTHOR, 0)
        assert entry["statement"] == json.loads(json_of(0))

    with_api(office, work, bind=f"unix:{tmp_path}/http" if unix else "")


def test_acknowledged_batch_is_already_durable(office: Office) -> None:
    async def work(api: Api) -> None:
        key = (await api.post(statement(0), CBOR, **{"idempotency-key": "mine"})).json()["submission"]
        assert key == "mine"
        found = api.office.store.submission(b"mine")
        assert found is not None
        assert found.count == 1

    with_api(office, work)


def test_same_idempotency_key_is_taken_once(office: Office) -> None:
    async def work(api: Api) -> None:
        key = {"idempotency-key": "batch-17"}
        assert (await api.post(statement(0), CBOR, **key)).json()["repeated"] is False
        assert (await api.post(statement(0), CBOR, **key)).json()["repeated"] is True
        conflict = await api.post(statement(1), CBOR, **key)
        assert (conflict.status_code, conflict.json()["code"]) == (409, "SUBMIT-09")

    with_api(office, work)


def test_bundle_is_refused_before_publication_and_served_after(office: Office) -> None:
    async def work(api: Api) -> None:
        name = (await api.post(statement(0) + statement(1), CBOR)).json()["submission"]
        early = await api.client.get(f"/v1/submissions/{name}/bundles/1")
        assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (409, "HTTP-14", "1")
        await api.client.get(f"/v1/submissions/{name}", params={"wait": "sealed"})
        api.publish()
        bundle = await api.client.get(f"/v1/submissions/{name}/bundles/1")
        assert bundle.content == b"bundle of " + number_entry(AUTHOR, 1, statement(1))
        state = (await api.client.get(f"/v1/submissions/{name}")).json()
        by_index = await api.client.get(f"/v1/bundles/{state['runs'][0]['index'] + 1}")
        assert by_index.content == bundle.content
        assert (await api.client.get(f"/v1/submissions/{name}/bundles/2")).status_code == 404
        assert (await api.client.get("/v1/bundles/0")).status_code == 422

    with_api(office, work)


def test_wait_that_takes_too_long_answers_with_the_state_so_far(office: Office) -> None:
    async def work(api: Api) -> None:
        name = (await api.post(statement(0), CBOR)).json()["submission"]
        with trio.fail_after(10):
            state = await api.client.get(f"/v1/submissions/{name}", params={"wait": "published", "timeout": "0"})
        assert state.json()["state"] in ("spooled", "sealed")

    with_api(office, work)


# --- refusals: code, fact and next step, never a traceback ----------------------------------------------

BAD_BODIES = [
    (b"{", "application/json", 400, "STMT-02"),
    (b"[1", "application/json", 400, "HTTP-01"),
    (b"", "application/json", 400, "STMT-02"),
    (b"[]", "application/json", 400, "HTTP-01"),
    (b"\xff\xfe", "application/json", 400, "HTTP-01"),
    (b"[" * 60_000, "application/json", 400, "HTTP-01"),
    (b'{"_type": "x"}', "application/json", 422, "STMT-08"),
    (json_of(0).replace("{", '{"extra": 1, ', 1).encode(), "application/json", 422, "STMT-07"),
    (json_of(0).replace("}", ', "a": NaN}', 1).encode(), "application/json", 422, "STMT-04"),
    (b"", CBOR, 400, "HTTP-01"),
    (b"\x80", CBOR, 400, "HTTP-01"),
    (b"\xff", CBOR, 400, None),
    (b"\x9f" + statement(0) + b"\xff", CBOR, 400, "HTTP-01"),
    (statement(0)[:-1], CBOR, 400, "CBOR-02"),
    (b"\xa0", CBOR, 422, "STMT-08"),
    (b"\xa2" + b"\x61a\x01" * 2, CBOR, 400, None),
    (b"\x9b" + b"\xff" * 8, CBOR, 413, "HTTP-04"),
]


@pytest.mark.parametrize(("body", "media", "status", "code"), BAD_BODIES)
def test_bad_body_is_refused_with_its_code(
    office: Office, body: bytes, media: str, status: int, code: str | None
) -> None:
    async def work(api: Api) -> None:
        response = await api.post(body, media)
        check_problem(response.status_code, response.content, status, code)
        assert response.headers["content-type"] == "application/problem+json"
        assert api.office.store.spool_depth().unfinal == 0
        assert (await api.post(statement(0), CBOR)).status_code == 202

    with_api(office, work)


def check_problem(status: int, body: bytes, expected: int, code: str | None) -> None:
    value = json.loads(body)
    assert status == expected == value["status"], value
    assert code in (None, value["code"])
    assert value["fact"]
    assert value["next"]
    assert b"Traceback" not in body


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"bearer{TOKEN}", "Bearer é"]
)
def test_wrong_token_is_refused_before_the_body_is_read(office: Office, header: str | None) -> None:
    async def work(api: Api) -> None:
        headers = {"content-type": CBOR} | ({} if header is None else {"authorization": header})
        encoded = {name.encode(): value.encode() for name, value in headers.items()}
        response = await api.client.post("/v1/submissions", content=b"\xff" * 1000, headers=encoded)
        check_problem(response.status_code, response.content, 401, "HTTP-02")
        assert response.headers["www-authenticate"].startswith("Bearer")

    with_api(office, work)


@pytest.mark.parametrize("media", ["text/plain", "", "application/jsonx"])
def test_unknown_media_type_is_refused(office: Office, media: str) -> None:
    async def work(api: Api) -> None:
        response = await api.post(statement(0), media)
        check_problem(response.status_code, response.content, 415, "HTTP-05")

    with_api(office, work)


def test_compressed_body_is_refused(office: Office) -> None:
    async def work(api: Api) -> None:
        response = await api.post(statement(0), CBOR, **{"content-encoding": "gzip"})
        check_problem(response.status_code, response.content, 415, "HTTP-05")

    with_api(office, work)


@pytest.mark.parametrize("key", ["", "a b", "x" * 65, "17", "a/b"])
def test_unusable_idempotency_key_is_refused(office: Office, key: str) -> None:
    async def work(api: Api) -> None:
        response = await api.post(statement(0), CBOR, **{"idempotency-key": key})
        check_problem(response.status_code, response.content, 400, "HTTP-13")

    with_api(office, work)


def request_head(length: str) -> bytes:
    return (
        f"POST /v1/submissions HTTP/1.1\r\nhost: n\r\nauthorization: Bearer {TOKEN}\r\n"
        f"content-type: {CBOR}\r\n{length}\r\n\r\n"
    ).encode()


def test_oversized_body_is_refused_by_its_stated_length_alone(office: Office) -> None:
    async def work(api: Api) -> None:
        answer = await api.raw(request_head(f"content-length: {BODY_MAX + 1}"))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"connection: close" in head
        check_problem(int(head.split()[1]), body, 413, "HTTP-04")

    with_api(office, work)


def test_oversized_chunked_body_is_refused_while_it_comes(office: Office) -> None:
    async def work(api: Api) -> None:
        chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        answer = await api.raw(request_head("transfer-encoding: chunked") + chunk * 4)
        check_problem(int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2], 413, "HTTP-04")

    with_api(office, work)


def test_slow_body_is_given_up(office: Office) -> None:
    async def work(api: Api) -> None:
        answer = await api.raw(request_head("content-length: 1000") + b"x")
        check_problem(int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2], 408, "HTTP-12")

    with_api(office, work, body_seconds=0.1)


def test_client_that_goes_away_mid_body_leaves_nothing(office: Office) -> None:
    async def work(api: Api) -> None:
        await api.raw(request_head("content-length: 1000") + b"x", wait=False)
        assert (await api.post(statement(0), CBOR)).status_code == 202
        assert api.office.store.spool_depth().unfinal == 1

    with_api(office, work)


def test_client_that_never_ends_its_head_is_cut_off(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasslog_node.api.server.HEADER_SECONDS_MAX", 0.1)

    async def work(api: Api) -> None:
        assert await api.raw(b"POST /v1/submissions HTTP/1.1\r\nhost: n\r\nx-slow: ") == b""

    with_api(office, work)


@pytest.mark.parametrize(
    "data", [b"\x00\xff garbage\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G" * 70_000, b"GET / HTTP/1.1\r\n: x\r\n\r\n"]
)
def test_bytes_that_are_not_http_end_the_connection_only(
    office: Office, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr("glasslog_node.api.server.HEADER_SECONDS_MAX", 0.3)

    async def work(api: Api) -> None:
        assert b"Traceback" not in await api.raw(data)
        assert (await api.client.get("/health")).json() == {"health": "ok"}

    with_api(office, work)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "HTTP-10"),
        ("GET", "/v1/entries/", 404, "HTTP-10"),
        ("DELETE", "/v1/submissions", 405, "HTTP-11"),
        ("GET", "/v1/entries/x", 400, "HTTP-13"),
        ("GET", "/v1/entries/-1", 400, "HTTP-13"),
        ("GET", "/v1/entries/01", 400, "HTTP-13"),
        ("GET", "/v1/entries/" + "9" * 5000, 400, "HTTP-13"),
        ("GET", "/v1/entries/9999999", 404, "HTTP-10"),
        ("GET", "/v1/bundles/0", 409, "HTTP-14"),
        ("GET", "/v1/submissions/nobody", 404, "HTTP-10"),
        ("GET", "/v1/submissions/nobody/bundles/0", 404, "HTTP-10"),
        ("GET", "/checkpoint", 404, "HTTP-14"),
        ("GET", "/tile/0/000", 404, "HTTP-10"),
        ("GET", "/tile/0/0", 404, "TILE-02"),
        ("GET", "/tile/../../etc/passwd", 404, None),
        ("GET", "/tile/64/000", 404, "TILE-02"),
    ],
)
def test_bad_path_is_refused_with_its_code(
    office: Office, method: str, path: str, status: int, code: str | None
) -> None:
    async def work(api: Api) -> None:
        response = await api.client.request(method, path)
        check_problem(response.status_code, response.content, status, code)

    with_api(office, work)


@pytest.mark.parametrize(
    "query", ["wait=never", "wait=final&timeout=x", "wait=final&timeout=-1", "wait=final&timeout=1e9"]
)
def test_bad_wait_is_refused(office: Office, query: str) -> None:
    async def work(api: Api) -> None:
        name = (await api.post(statement(0), CBOR)).json()["submission"]
        response = await api.client.get(f"/v1/submissions/{name}?{query}")
        check_problem(response.status_code, response.content, 400, "HTTP-13")

    with_api(office, work)


def test_our_own_bug_is_a_500_that_tells_nothing_of_the_inside(
    office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(api: Api) -> None:
        monkeypatch.setattr(api.log, "entry", lambda _index: 1 // 0)
        response = await api.client.get("/v1/entries/0")
        check_problem(response.status_code, response.content, 500, "HTTP-99")
        assert "ZeroDivision" not in response.text

    with_api(office, work)
    assert "ZeroDivisionError" in "".join(capsys.readouterr())


# --- reads ------------------------------------------------------------------------------------------------


def test_tiles_and_entry_bundles_are_the_published_tree(office: Office) -> None:
    async def work(api: Api) -> None:
        await api.post(b"".join(map(statement, range(600))), CBOR)
        await api.client.get("/v1/status")
        await until(lambda: not api.office.store.spool_depth().unsealed)
        size = api.publish()
        leaves = api.office.world.leaves[:size]
        hashes = b"".join(map(hash_leaf, leaves))
        full = await api.client.get("/tile/0/000")
        assert full.content == hashes[: 256 * 32]
        assert "immutable" in full.headers["cache-control"]
        partial = await api.client.get(f"/tile/0/002.p/{size - 512}")
        assert partial.content == hashes[512 * 32 :]
        upper = await api.client.get("/tile/1/000.p/2")
        assert upper.content == root(hashes[: 256 * 32]) + root(hashes[256 * 32 : 512 * 32])
        bundle = await api.client.get("/tile/entries/001")
        assert split_entries(bundle.content) == leaves[256:512]
        assert (await api.client.get(f"/tile/0/002.p/{size - 511}")).status_code == 404
        checkpoint = await api.client.get("/checkpoint")
        assert checkpoint.headers["cache-control"] == "no-store"

    with_api(office, work)


def test_every_kind_of_leaf_is_shown(office: Office) -> None:
    async def work(api: Api) -> None:
        await api.post(statement(0), CBOR)
        await until(lambda: not api.office.store.spool_depth().unsealed)
        size = api.publish()
        shown = [(await api.client.get(f"/v1/entries/{index}")).json() for index in range(size)]
        kinds = [entry["kind"] for entry in shown]
        assert kinds == ["genesis", *["membership"] * 6, "statement", "block header", "height seal"]
        raw = await api.client.get("/v1/entries/7", headers={"accept": CBOR})
        assert raw.content == number_entry(AUTHOR, 0, statement(0))

    with_api(office, work)


def test_public_interface_reads_and_nothing_else(office: Office) -> None:
    async def work(api: Api) -> None:
        api.log.size = 3
        assert (await api.client.get("/v1/entries/2")).status_code == 200
        assert (await api.client.get("/health")).status_code == 200
        for path in ("/v1/status", "/metrics", "/ready", "/v1/submissions/x"):
            assert (await api.client.get(path)).status_code == 404
        assert (await api.post(statement(0), CBOR)).status_code == 404

    with_api(office, work, public=True)


def test_status_says_why(office: Office) -> None:
    async def work(api: Api) -> None:
        api.node.problems = ["LIVE-01 v1 (JP) is absent. Next: ask its operator"]
        status = (await api.client.get("/v1/status")).json()
        assert (status["height"], status["root"], status["why"]) == (3, "01" * 32, api.node.problems)
        assert status["peers"][0]["last_error"] == "connection refused"
        assert (await api.client.get("/ready")).status_code == 200
        api.node.reason = "not caught up"
        assert (await api.client.get("/ready")).status_code == 503

    with_api(office, work)


def test_metrics_count_what_was_taken_and_refused(office: Office) -> None:
    async def work(api: Api) -> None:
        await api.post(statement(0) + statement(1), CBOR)
        await api.post(b"\xa0", CBOR)
        text = (await api.client.get("/metrics")).text
        assert "glasslog_submitted_entries_total 2.0" in text
        assert 'glasslog_refused_requests_total{code="STMT-08"} 1.0' in text

    with_api(office, work)


# --- listening ----------------------------------------------------------------------------------------------


def test_address_in_use_is_refused() -> None:
    first = open_listener("127.0.0.1:0".replace(":0", f":{free_port()}"))
    first.listen()
    try:
        with pytest.raises(ConfigError, match=r"HTTP-20 .* is in use"):
            open_listener(f"127.0.0.1:{first.getsockname()[1]}")
    finally:
        first.close()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_address_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ConfigError, match="HTTP-21"):
        open_listener("192.0.2.1:80")


def test_unix_socket_is_private_and_replaces_only_a_dead_one(tmp_path: Path) -> None:
    bind = f"unix:{tmp_path}/http"
    first = open_listener(bind)
    first.listen()
    assert (tmp_path / "http").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="HTTP-20"):
        open_listener(bind)
    first.close()
    second = open_listener(bind)
    second.close()


def test_stopped_server_removes_its_unix_socket(office: Office, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_api(office, bind=f"unix:{tmp_path}/http") as api:
            assert (await api.client.get("/health")).status_code == 200
        assert not (tmp_path / "http").exists()

    trio.run(main)


def test_server_says_nothing_by_itself(office: Office, capfd: pytest.CaptureFixture[str]) -> None:
    async def work(api: Api) -> None:
        assert (await api.client.get("/health")).status_code == 200

    with_api(office, work)
    assert capfd.readouterr() == ("", "")


def test_value_of_a_header_is_never_a_redirect(office: Office) -> None:
    async def work(api: Api) -> None:
        response = await api.client.get("/v1/status/", headers={"host": "evil.example"})
        assert response.status_code == 404
        assert "location" not in response.headers

    with_api(office, work)


def test_canonical_form_is_judged_for_cbor_too(office: Office) -> None:
    unsorted = codec.encode_head(5, 2) + codec.encode("subject") + b"\x80" + codec.encode("_type") + b"\x00"

    async def work(api: Api) -> None:
        response = await api.post(unsorted, CBOR)
        check_problem(response.status_code, response.content, 400, None)

    with_api(office, work)
