"""Where statements go: the screen, a file, a spool; what --show-public prints is what leaves."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from glasslog.statement import Statement, encode_statement, from_json
from glasslog_lab.cli.emit import Destination, emit
from glasslog_lab.errors import ArtifactError
from glasslog_lab.spool import Spool, read_submissions


def make(number: int) -> Statement:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": f"s{number}", "digest": {"sha256": bytes([number]) * 32}}],
        "predicateType": "urn:x:y",
        "predicate": {"number": number, "é": "ü"},
    }


ONE, TWO = [make(1)], [make(1), make(2)]
IDS = [sha256(encode_statement(one)).hexdigest() for one in TWO]


@pytest.mark.parametrize("statements", [ONE, TWO])
def test_on_the_screen_is_what_can_be_submitted_and_ids_are_beside_it(
    capsys: pytest.CaptureFixture[str], statements: list[Statement]
) -> None:
    emit(statements, Destination())
    out, err = capsys.readouterr()
    texts = [out] if len(statements) == 1 else out.splitlines()
    assert [from_json(text) for text in texts] == statements
    assert [line for line in err.splitlines() if line.startswith("statement ")] == [
        f"statement {one}" for one in IDS[: len(statements)]
    ]
    assert "Next: " in err


@pytest.mark.parametrize("name", ["s.json", "s.jsonl", "s.cbor", "s.NDJSON"])
@pytest.mark.parametrize("statements", [ONE, TWO])
def test_in_a_file_is_what_can_be_submitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, statements: list[Statement]
) -> None:
    emit(statements, Destination(output=tmp_path / name))
    (batch,) = read_submissions(tmp_path / name)
    assert batch.body == b"".join(encode_statement(one) for one in statements)
    out, err = capsys.readouterr()
    assert (f"glasslog submit {tmp_path / name} --wait" in out, err) == (True, "")
    assert oct((tmp_path / name).stat().st_mode & 0o777) != "0o777"


def test_json_has_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emit(TWO, Destination(as_json=True, output=tmp_path / "s.json", spool=tmp_path / "spool"))
    said = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in said["statements"]] == IDS
    assert [from_json(json.dumps(one["statement"])) for one in said["statements"]] == TWO
    assert [one["bytes"] for one in said["statements"]] == [len(encode_statement(one)) for one in TWO]
    assert (said["sent"], said["output"], len(said["submissions"])) == (False, str(tmp_path / "s.json"), 1)


@pytest.mark.parametrize("apart", [False, True])
def test_in_a_spool_each_waits_once(tmp_path: Path, *, apart: bool) -> None:
    for _ in range(2):
        emit(TWO, Destination(spool=tmp_path / "spool"), apart=apart)
    spool = Spool(tmp_path / "spool")
    waiting = [item for name in spool.names() if (item := spool.read(name)) is not None]
    assert sorted(id_ for item in waiting for id_ in item.ids) == sorted(IDS)
    assert len(waiting) == (2 if apart else 1)


def test_what_is_shown_is_what_leaves_and_nothing_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.iterdir())
    to = Destination(
        show_public=True, spool=tmp_path / "spool", node="http://127.0.0.1:1", wait=True, author="lab.example"
    )
    emit(TWO, to)
    out, err = capsys.readouterr()
    shown = [bytes.fromhex(line.partition("<number>")[2]) for line in out.splitlines() if "<number>" in line]
    assert shown == [encode_statement(one) for one in TWO]
    assert [line for line in out.splitlines() if "6b6c61622e6578616d706c65<number>" in line], "the author's name"
    assert err.count("Nothing was sent or written") == 2
    assert sorted(tmp_path.iterdir()) == before
    emit(TWO, Destination(show_public=True, as_json=True))
    said = json.loads(capsys.readouterr().out)
    assert [bytes.fromhex(one["public"].partition("<number>")[2]) for one in said["statements"]] == shown
    assert said["sent"] is False


@pytest.mark.parametrize(
    ("statements", "to", "code"),
    [
        ([], Destination(), "EMIT-01"),
        (ONE, Destination(wait=True), "EMIT-02"),
        (ONE, Destination(output=Path("/proc/none/s.json")), "EMIT-03"),
        (ONE, Destination(output=Path("/")), "EMIT-03"),
        ([{**make(1), "subject": []}], Destination(), "STMT-"),
        (ONE, Destination(node="http://127.0.0.1:1"), "CLIENT-"),
        (ONE, Destination(node="ftp://x"), "CLIENT-"),
        (ONE, Destination(spool=Path("/proc/none")), "SPOOL-"),
    ],
)
def test_what_cannot_go_anywhere_is_refused_in_one_line(
    statements: list[Statement], to: Destination, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(ArtifactError) as caught:
        emit(statements, to)
    assert caught.value.code.startswith(code)
    assert "\n" not in str(caught.value)
    assert "Next: " in str(caught.value)


def test_a_file_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("x" * 10_000)
    emit(ONE, Destination(output=tmp_path / "s.json"))
    assert from_json((tmp_path / "s.json").read_text()) == ONE[0]
    assert [one.name for one in tmp_path.iterdir()] == ["s.json"]


def test_a_pipe_or_device_is_written_into_and_a_link_stays(tmp_path: Path) -> None:
    """As root, replacing what -o names would have put a plain file in the place of /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    try:
        emit(ONE, Destination(output=tmp_path / "pipe"))
        assert from_json(os.read(reader, 65_536).decode()) == ONE[0]
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link.json").symlink_to("s.json")
    emit(ONE, Destination(output=tmp_path / "link.json"))
    assert (tmp_path / "link.json").is_symlink()
    assert from_json((tmp_path / "s.json").read_text()) == ONE[0]
    with pytest.raises(ArtifactError, match=r"^EMIT-03 .* is a directory"):
        emit(ONE, Destination(output=tmp_path))
