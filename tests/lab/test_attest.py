"""From a path to a statement: which files are read, what makes a model, and what is refused."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.predicates.weights import CONTENT_ROOT, WEIGHTS_TYPE
from glasslog.statement import from_json, to_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.files import list_files, read_file
from glasslog_lab.models import list_artifact, measure
from glasslog_lab.statement import build_statement

Tensors: TypeAlias = dict[str, tuple[list[int], bytes]]  # of U8
TENSORS: Tensors = {"b.weight": ([2, 2], b"abcd"), "a.bias": ([3], b"xyz"), "c": ([], b"!"), "empty": ([0, 7], b"")}


def write_model(
    path: Path, tensors: Mapping[str, tuple[list[int], bytes]], metadata: dict[str, str] | None = None
) -> None:
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (shape, content) in tensors.items():
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_shards(folder: Path, tensors: Tensors, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    places = {name: f"model-{number % count + 1:05}-of-{count:05}.safetensors" for number, name in enumerate(tensors)}
    for shard in set(places.values()):
        write_model(folder / shard, {name: tensors[name] for name, place in places.items() if place == shard})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 8}, "weight_map": places}))
    return index


def attest(path: Path, name: str = "m") -> dict[str, Any]:
    statement = build_statement(name, measure(list_artifact(path), lambda _count: None))
    assert from_json(to_json(statement)) == statement
    parsed: dict[str, Any] = json.loads(to_json(statement))
    return parsed


def get_root(path: Path) -> str:
    root: str = attest(path)["predicate"]["content"]["digest"][CONTENT_ROOT]
    return root


def refuse(path: Path) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        attest(path)
    return caught.value


def test_root_is_the_same_in_one_file_in_shards_and_in_a_folder(tmp_path: Path) -> None:
    write_model(tmp_path / "one.safetensors", TENSORS)
    write_model(tmp_path / "two.safetensors", dict(reversed(TENSORS.items())), {"format": "pt"})
    assert (tmp_path / "one.safetensors").read_bytes() != (tmp_path / "two.safetensors").read_bytes()
    roots = {get_root(tmp_path / "one.safetensors"), get_root(tmp_path / "two.safetensors")}
    for count in (1, 2, 3):
        index = write_shards(tmp_path / f"in-{count}", TENSORS, count)
        roots |= {get_root(index), get_root(index.parent)}
    assert len(roots) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"a.bias": ([3], b"xyZ")},
        {"a.bias": ([1, 3], b"xyz")},
        {"added": ([1], b"1")},
    ],
)
def test_root_differs_where_a_tensor_differs(tmp_path: Path, change: Tensors) -> None:
    write_model(tmp_path / "one.safetensors", TENSORS)
    write_model(tmp_path / "two.safetensors", TENSORS | change)
    assert get_root(tmp_path / "one.safetensors") != get_root(tmp_path / "two.safetensors")


def test_every_file_of_a_folder_stands_in_the_statement_with_its_digest(tmp_path: Path) -> None:
    write_model(tmp_path / "model.safetensors", TENSORS)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "config.json").write_bytes(b"{}")
    (tmp_path / ".hidden").write_bytes(b"")
    statement = attest(tmp_path)
    expected = {
        ".hidden": sha256(b"").hexdigest(),
        "model.safetensors": sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest(),
        "sub/config.json": sha256(b"{}").hexdigest(),
    }
    assert {file["name"]: file["digest"]["sha256"] for file in statement["predicate"]["files"]} == expected
    assert {s["name"]: s["digest"].get("sha256") for s in statement["subject"][1:]} == expected
    assert statement["predicate"]["tensors"] == 4


@pytest.mark.parametrize("write_empty_model", [True, False])
def test_files_without_tensors_are_known_by_their_digests_alone(tmp_path: Path, *, write_empty_model: bool) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x04cos\nsystem\n")
    if write_empty_model:
        write_model(tmp_path / "none.safetensors", {})
    statement = attest(tmp_path)
    assert [list(subject["digest"]) for subject in statement["subject"]] == [["sha256"]] * (1 + write_empty_model)
    assert "content" not in statement["predicate"]


def test_statement_is_the_same_for_the_same_content_elsewhere(tmp_path: Path) -> None:
    for place in ("x", "y"):
        write_shards(tmp_path / place, TENSORS, 2)
    assert attest(tmp_path / "x") == attest(tmp_path / "y")


def test_several_models_are_refused_by_name(tmp_path: Path) -> None:
    write_model(tmp_path / "a.safetensors", TENSORS)
    write_model(tmp_path / "b.safetensors", TENSORS)
    error = refuse(tmp_path)
    assert error.code == "MODEL-01"
    assert "a.safetensors, b.safetensors" in error.fact


def test_more_files_than_a_statement_holds_are_refused(tmp_path: Path) -> None:
    for number in range(64):
        (tmp_path / str(number)).touch()
    assert refuse(tmp_path).code == "MODEL-02"
    for number in range(64, 600):
        (tmp_path / f"{number}".rjust(200, "x")).touch()
    write_model(tmp_path / "model.safetensors", TENSORS)
    assert refuse(tmp_path).code == "MODEL-03"


def test_link_within_the_folder_is_read_and_any_other_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "blobs").mkdir(parents=True)
    write_model(folder / "blobs" / "0a", TENSORS)
    (folder / "model.safetensors").symlink_to("blobs/0a")
    assert attest(folder)["predicate"]["tensors"] == 4
    (tmp_path / "secret").write_text("s")
    (folder / "link").symlink_to("../secret")
    assert refuse(folder).code == "FILE-02"
    (folder / "link").unlink()
    (folder / "link").symlink_to("blobs", target_is_directory=True)
    assert refuse(folder).code == "FILE-02"
    (folder / "link").unlink()
    (folder / "link").symlink_to("link")
    assert refuse(folder).code == "FILE-01"


def test_link_given_itself_is_followed_and_keeps_its_name(tmp_path: Path) -> None:
    write_model(tmp_path / "0a", TENSORS)
    (tmp_path / "model.safetensors").symlink_to("0a")
    assert attest(tmp_path / "model.safetensors")["predicate"]["files"][0]["name"] == "model.safetensors"


def test_pipe_odd_name_and_absence_are_refused_without_waiting(tmp_path: Path) -> None:
    assert refuse(tmp_path).code == "FILE-01"
    assert refuse(tmp_path / "none").code == "FILE-01"
    os.mkfifo(tmp_path / "pipe")
    assert refuse(tmp_path).code == "FILE-03"
    assert refuse(tmp_path / "pipe").code == "FILE-03"
    (tmp_path / "pipe").unlink()
    for name in (b"\xff", b"a\nb", b"\x1b[2J"):
        place = tmp_path / os.fsdecode(name)
        place.touch()
        assert refuse(tmp_path).code == "FILE-04"
        place.unlink()


@pytest.mark.parametrize("change", ["grow", "cut", "touch"])
def test_file_that_changes_while_read_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "model.safetensors"
    write_model(path, {"a": ([9 << 20], bytes(9 << 20))})
    reads = list[int]()

    def disturb(count: int) -> None:
        reads.append(count)
        if len(reads) == 3:
            if change == "grow":
                with path.open("ab") as stream:
                    stream.write(b"more")
            elif change == "cut":
                os.truncate(path, 5 << 20)
            else:
                os.utime(path, ns=(1, 1))

    [(name, place)] = list_files(path)
    with pytest.raises(ArtifactError, match="FILE-05"):
        read_file(name, place, disturb)


def test_replaced_by_a_link_after_listing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    [(name, place)] = list_files(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").symlink_to("b")
    with pytest.raises(ArtifactError, match="FILE-01"):
        read_file(name, place, lambda _count: None)


@pytest.mark.parametrize(
    ("code", "index"),
    [
        ("INDEX-01", "[]"),
        ("INDEX-01", "nonsense"),
        ("INDEX-01", "[" * 100_000),
        ("INDEX-01", '{"weight_map": {}}'),
        ("INDEX-01", '{"weight_map": {"a": "s.safetensors", "a": "s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": 1}}'),
        ("INDEX-02", '{"weight_map": {"a": "../s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": "/s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": "x/../s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": "./s.safetensors"}}'),
        ("INDEX-02", '{"weight_map": {"a": "s.bin"}}'),
        ("INDEX-03", '{"weight_map": {"a": "t.safetensors"}}'),
        ("INDEX-04", '{"weight_map": {"b": "s.safetensors"}}'),
        ("INDEX-04", '{"weight_map": {"a": "s.safetensors", "b": "s.safetensors"}}'),
    ],
)
def test_index_that_its_shards_do_not_bear_out_is_refused(tmp_path: Path, code: str, index: str) -> None:
    write_model(tmp_path / "s.safetensors", {"a": ([1], b"1")})
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(index)
    assert refuse(tmp_path).code == code
    assert refuse(path).code == code


def test_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    index = write_shards(tmp_path, TENSORS, 2)
    write_model(tmp_path / "model-00001-of-00002.safetensors", TENSORS)
    assert refuse(index).code == "INDEX-04"


def test_hostile_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 9)
    error = refuse(tmp_path)
    assert error.code == "TENSOR-01"
    assert error.fact.startswith("bad.safetensors: ")


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_or_attested(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(data) // 2) + data)
    try:
        outcome = attest(path)["predicateType"]
    except ArtifactError as error:
        outcome = error.code
    assert outcome.startswith(("TENSOR-", WEIGHTS_TYPE))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glasslog_lab", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_prints_the_statement_and_nothing_else(tmp_path: Path) -> None:
    write_model(tmp_path / "model.safetensors", TENSORS)
    plain, line = (run("attest", str(tmp_path), *words) for words in ([], ["--json", "--name", "n"]))
    assert (plain.returncode, plain.stderr, line.returncode) == (0, "", 0)
    assert line.stdout.count("\n") == 1
    assert json.loads(line.stdout) == attest(tmp_path, "n")
    assert json.loads(plain.stdout) == attest(tmp_path, tmp_path.name)


def test_command_refuses_on_one_line(tmp_path: Path) -> None:
    done = run("attest", str(tmp_path / "none"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("FILE-01 ")
    assert ". Next: " in done.stderr
