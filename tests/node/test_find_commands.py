"""``glasslog find``, ``assess`` and ``lineage``, as an auditor runs them over a folder of tiles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from prov.model import ProvDocument

from audit_ledger import LAB, write_tiles_folder
from claims_ledger import Step, Story, root
from glasslog.audit.claims import Lineage
from glasslog.audit.claims.lineage import Edge, Kind, Node
from glasslog.predicates.values import TENSORS
from glasslog_lab.weights.digests import list_digests
from glasslog_lab.weights.measuring import measure
from glasslog_lab.weights.statement import make_model, state_model
from glasslog_node.lineage.svg import draw_svg
from glasslog_node.lineage.text import draw_text

RTL = "\N{RIGHT-TO-LEFT OVERRIDE}"


def write_safetensors(path: Path, tensors: dict[str, tuple[list[int], bytes]], **metadata: str) -> None:
    """Write float32 tensors in the order given: eight bytes of length, a JSON header, the values."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data for _, data in tensors.values()))


WEIGHTS = {f"layer.{at}": ([4, 2], sha256(b"%d" % at).digest()) for at in range(6)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that has the honest history and the statement of a file, the policy, and the file saved anew in shards."""
    folder = tmp_path_factory.mktemp("find")
    write_safetensors(folder / "weights.safetensors", WEIGHTS)
    statement, _ = state_model(make_model(measure(folder / "weights.safetensors", threads=1)))
    story = Story().add("weights", Step(LAB, lambda _: statement))
    (folder / "log").mkdir()
    write_tiles_folder(story.grow(), folder / "log")
    (folder / "policy").write_bytes(story.world.policy.format())
    shards = folder / "saved-anew"
    shards.mkdir()
    names = list(WEIGHTS)[::-1]
    for number, part in enumerate((names[:2], names[2:]), 1):
        write_safetensors(
            shards / f"model-{number:05}-of-00002.safetensors", {name: WEIGHTS[name] for name in part}, format="pt"
        )
    index = {name: f"model-0000{1 if name in names[:2] else 2}-of-00002.safetensors" for name in names}
    (shards / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def glasslog(place: Path, *arguments: str, policy: bool = True) -> subprocess.CompletedProcess[str]:
    log = ["--in", str(place / "log"), *(["--policy", str(place / "policy")] if policy else [])]
    command = [sys.executable, "-m", "glasslog_node", *arguments, *log]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=place)


def test_weights_saved_anew_in_shards_are_found_by_their_tensors(place: Path) -> None:
    result = glasslog(place, "find", "saved-anew", "--json")
    assert result.returncode == 0, result.stderr
    value = json.loads(result.stdout)
    assert [one["subject"] for one in value["found"]] == ["weights.safetensors"]
    assert value["sought"] == {TENSORS: list_digests(place / "weights.safetensors")[TENSORS].hex()}
    assert value["complete"] is True
    assert value["found"][0]["sentence"].endswith(" is true.")


def test_one_file_is_found_by_both_its_digests(place: Path) -> None:
    value = json.loads(glasslog(place, "find", "weights.safetensors", "--json").stdout)
    assert set(value["sought"]) == {TENSORS, "sha256"}
    assert {one["digest"] for one in value["found"]} == set(value["sought"].values())


def test_digest_with_a_name_and_without_are_found(place: Path) -> None:
    for text in (root("tuned").hex(), f"{TENSORS}:{root('tuned').hex().upper()}"):
        result = glasslog(place, "find", text)
        assert result.returncode == 0, result.stderr
        assert "found  10 statements in ledger.example/audited, ledger intact" in result.stdout
        assert "1 sealed entry cannot be searched" in result.stdout


def test_statuses_of_find(place: Path) -> None:
    assert glasslog(place, "find", "00" * 32).returncode == 4
    assert glasslog(place, "find", root("tuned").hex(), policy=False).returncode == 3
    nothing = glasslog(place, "find", "no such file")
    assert (nothing.returncode, nothing.stderr.split()[0]) == (2, "FIND-01")
    empty = place / "empty"
    empty.mkdir()
    assert glasslog(place, "find", "empty").returncode == 2


def test_assess_shows_lineage_requirements_and_verdicts(place: Path) -> None:
    result = glasslog(place, "assess", root("tuned").hex(), "--profile", "eu-gpai")
    assert result.returncode == 3, result.stderr
    for line in ("  model tuned ", "  MISSING   energy", "  stated    compute", "  claims       consistent"):
        assert line in result.stdout
    value = json.loads(glasslog(place, "assess", root("tuned").hex(), "--profile", "eu-gpai", "--json").stdout)
    assert value["status"] == 3
    assert {one["requirement"] for one in value["requirements"] if one["stated"] is False} >= {"energy"}
    assert len(value["lineage"]["nodes"]) == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--profile", "mars"), "ASSESS-01"),
        (("--at", "50"), "ASSESS-02"),
        (("--at", "2"), "ASSESS-02"),
    ],
)
def test_assess_refuses_what_it_cannot_answer(place: Path, arguments: tuple[str, ...], code: str) -> None:
    result = glasslog(place, "assess", root("tuned").hex(), *arguments)
    assert (result.returncode, result.stderr.split()[0]) == (2, code)


def test_lineage_in_every_format(place: Path) -> None:
    text = glasslog(place, "lineage", root("tuned").hex())
    assert text.stdout.splitlines()[0].startswith("model tuned ")
    assert glasslog(place, "lineage", "00" * 32).returncode == 4
    drawing = ET.fromstring(glasslog(place, "lineage", root("tuned").hex(), "--format", "svg").stdout)
    shown = {element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")}
    assert {"tuned", "base", "base-run", "tune-run", "corpus", "continued from"} <= shown
    written = glasslog(place, "lineage", root("tuned").hex(), "--format", "prov-json", "-o", "lineage.json")
    assert (written.returncode, written.stdout) == (0, "")
    document = ProvDocument.deserialize(str(place / "lineage.json"))
    assert len(list(document.get_records())) == 5 + 1 + 5 + 6  # things, an author, who stated each, edges
    refused = glasslog(place, "lineage", root("tuned").hex(), "-o", "no/such/folder")
    assert (refused.returncode, refused.stderr.split()[0]) == (2, "LINEAGE-01")


def test_hostile_names_are_harmless_in_drawings_and_text() -> None:
    asked = Node(Kind.MODEL, root("asked"), f"<script>alert(1)</script>{RTL}\x1b[2J" + "x" * 5_000, "lab\n2")
    lineage = Lineage(asked.digest, {asked.digest: asked})
    drawing = draw_svg(lineage)
    assert "<script" not in drawing
    assert RTL not in drawing
    assert "\x1b" not in drawing
    assert len(drawing) < 5_000
    ET.fromstring(drawing)
    assert len(draw_text(lineage)) == 1


def test_drawing_of_circles_and_of_hundreds_of_things_is_bounded() -> None:
    lineage = Lineage(root("asked"), {root("asked"): Node(Kind.MODEL, root("asked"))})
    for number in range(600):
        lineage.nodes[root(number)] = Node(Kind.DATASET, root(number), f"set {number}")
        lineage.edges.append(Edge(root(number), root("asked"), "made from", number))
        lineage.edges.append(Edge(root(number), root((number + 1) % 600), "made from", number))
    drawing = ET.fromstring(draw_svg(lineage))
    told = drawing.findtext("{http://www.w3.org/2000/svg}desc")
    assert told == "400 things and how one went into another; 201 more are left out"
    assert len(draw_text(lineage)) <= 2_001
