"""Report bundles: made again to the byte, from random stories and broken replicas; hostile ones refused (G4)."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_ledger import LAB, flip
from claims_ledger import HONEST, Story, root
from glasslog.tiles import join_entries
from glasslog_node.errors import ConfigError
from glasslog_node.reporting.bundle import MEMBERS_MAX, write_bundle
from reported import make_order, replay, report_on, save_bundle


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Any part of the honest history, in any author's name, with some leaves beyond it."""
    story = Story().drop(*draw(st.sets(st.sampled_from(sorted(HONEST)), max_size=12)))
    for name in draw(st.sets(st.sampled_from(sorted(story.steps)), max_size=3)):
        story.by(name, draw(st.sampled_from(("lab-1.example", "lab-2.example"))))
    return story


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    story=stories(),
    extra=st.lists(st.integers(1, 300), max_size=2),
    question=st.text(min_size=1, max_size=50),
    model=st.sampled_from((None, root("tuned"), root("base"), bytes(32))),
    damage=st.none() | st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 255)),
)
def test_replay_of_any_story_is_the_report_to_the_byte(
    tmp_path: Path,
    story: Story,
    extra: list[int],
    question: str,
    model: bytes | None,
    damage: tuple[int, int, int] | None,
) -> None:
    world = story.grow()
    for count in extra:
        world.add_height(world.make_blocks(LAB, (count,)))
    world.publish()
    source = world.source()
    if damage is not None:
        index = damage[0] % len(source.leaves)
        leaf = source.leaves[index]
        source.leaves[index] = flip(leaf, damage[1] % len(leaf), damage[2])
    order = make_order(world.policy.format(), question=question, model=model)
    direct = report_on(source, order)
    path = tmp_path / "bundle.zip"
    assert save_bundle(path, source, order).to_json() == direct.to_json()
    assert replay(path) == direct
    first = path.read_bytes()
    save_bundle(path, source, order)
    assert path.read_bytes() == first
    assert (direct.verdicts.ledger == "intact") == (damage is None)


def test_bundle_of_a_log_whose_leaves_cannot_be_told_apart_says_so_again(tmp_path: Path) -> None:
    world = Story().grow()
    source = world.source()
    source.spans = [len(source.leaves)]
    whole = join_entries(source.leaves)

    class Cut:
        def __getattr__(self, name: str) -> object:
            return getattr(source, name)

        def runs(self) -> object:
            for run in source.runs():
                yield type(run)(run.first_index, whole[:-7])

    order = make_order(world.policy.format())
    document = save_bundle(tmp_path / "b.zip", Cut(), order)  # type: ignore[arg-type]  # a source by its members
    assert document == report_on(Cut(), order)  # type: ignore[arg-type]  # the same
    assert document.verdicts.ledger == "broken"


@pytest.fixture(scope="module")
def bundle() -> bytes:
    world = Story().grow()
    file = io.BytesIO()
    write_bundle(file, make_order(world.policy.format()), world.source())
    return file.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def pack(parts: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in parts:
            file.writestr(name, content)
        file.comment = comment
    return out.getvalue()


def without(data: bytes, name: str) -> bytes:
    return pack([(one, content) for one, content in members(data).items() if one != name])


def manifest(data: bytes, **changes: object) -> bytes:
    parts = members(data)
    value = json.loads(parts["manifest.json"]) | changes
    parts["manifest.json"] = (json.dumps(value, indent=2) + "\n").encode()
    return pack(list(parts.items()))


def swap(data: bytes, name: str, content: bytes) -> bytes:
    return pack(list((members(data) | {name: content}).items()))


def many(data: bytes) -> bytes:
    """A directory that says it has more members than memory should be asked for."""
    return data[:-14] + struct.pack("<HHII", 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) + data[-2:]


def many64(data: bytes) -> bytes:
    end64 = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, MEMBERS_MAX + 1, MEMBERS_MAX + 1, 1 << 30, 0)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, len(data) - 22, 1)
    return data[:-22] + end64 + locator + many(data)[-22:]


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "cut off"),
    "truncated": (lambda data: data[: len(data) // 2], "cut off"),
    "last byte gone": (lambda data: data[:-1], "cut off"),
    "not a zip": (lambda _: b"%PDF-1.7" * 100, "cut off"),
    "a comment": (lambda data: pack(list(members(data).items()), comment=b"hello"), "cut off"),
    "too many members": (many, "not where it should be"),
    "too many members, zip64": (many64, "more than is read"),
    "compressed": (lambda data: pack(list(members(data).items()), zipfile.ZIP_DEFLATED), "compressed"),
    "a bomb": (lambda _: pack([("tile/0/001", bytes(1 << 24))], zipfile.ZIP_LZMA), "compressed"),
    "a way out": (lambda data: pack([*members(data).items(), ("../../etc/passwd", b"x")]), "which none has"),
    "an absolute way": (lambda data: pack([*members(data).items(), ("/etc/passwd", b"x")]), "which none has"),
    "a way out below tiles": (lambda data: pack([*members(data).items(), ("tile/0/../../x", b"x")]), "which none has"),
    "another member": (lambda data: pack([*members(data).items(), ("notes.txt", b"x")]), "which none has"),
    "a line end in a name": (lambda data: pack([*members(data).items(), ("policy\n", b"x")]), "which none has"),
    "no manifest": (lambda data: without(data, "manifest.json"), "no manifest"),
    "no policy": (lambda data: without(data, "policy"), "no policy"),
    "another policy": (lambda data: swap(data, "policy", b"log x\n"), "not those that it names"),
    "another reply": (lambda data: swap(data, "reply", b"We agree."), "not those that it names"),
    "no reply": (lambda data: without(data, "reply"), "not those that it names"),
    "a large policy": (lambda data: swap(data, "policy", bytes(1 << 22)), "are read"),
    "a large reply": (lambda data: swap(data, "reply", bytes(1 << 21)), "are read"),
    "manifest: no JSON": (lambda data: swap(data, "manifest.json", b"{"), "not of the form"),
    "manifest: a list": (lambda data: swap(data, "manifest.json", b"[]"), "not of the form"),
    "manifest: deep": (lambda data: swap(data, "manifest.json", b"[" * 500_000), "not of the form"),
    "manifest: another format": (lambda data: manifest(data, format="x"), "spelt otherwise"),
    "manifest: a member more": (lambda data: manifest(data, more=1), "spelt otherwise"),
    "manifest: a number for a question": (lambda data: manifest(data, question=1), "not of the form"),
    "manifest: a long question": (lambda data: manifest(data, question="x" * 30_000), "not of the form"),
    "manifest: half a letter": (lambda data: manifest(data, question="\ud800"), "not of the form"),
    "manifest: a short model": (lambda data: manifest(data, model="ab"), "not of the form"),
    "manifest: many examiners": (lambda data: manifest(data, examiners=["x"] * 100), "not of the form"),
    "manifest: keys of two parts": (lambda data: manifest(data, keys=[["a", "b"]]), "not of the form"),
    "manifest: software of none": (lambda data: manifest(data, software=None), "not of the form"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bundle_is_refused_in_one_line(tmp_path: Path, bundle: bytes, name: str) -> None:
    make, fact = HOSTILE[name]
    path = tmp_path / "bundle.zip"
    path.write_bytes(make(bundle))
    with pytest.raises(ConfigError, match="REPORT-03") as caught:
        replay(path)
    assert fact in caught.value.fact
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_twice_is_refused(tmp_path: Path, bundle: bytes) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(pack([*members(bundle).items(), ("policy", b"x")]))
    with pytest.raises(ConfigError, match="policy twice"):
        replay(path)


def test_missing_bundle_is_an_error_of_the_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="REPORT-02"):
        replay(tmp_path / "none")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**9), mask=st.integers(1, 255))
def test_any_flipped_byte_is_refused_or_shows(tmp_path: Path, bundle: bytes, at: int, mask: int) -> None:
    """Never an exception of another kind, and never the same report from other content."""
    path = tmp_path / "bundle.zip"
    path.write_bytes(bundle)
    honest = replay(path)
    path.write_bytes(flip(bundle, at % len(bundle), mask))
    try:
        document = replay(path)
    except ConfigError as error:
        code = error.code
    else:
        code = ""
        assert document != honest or members(path.read_bytes()) == members(bundle)
    assert code in ("", "REPORT-03")


def test_tampered_log_in_a_bundle_is_a_finding(tmp_path: Path, bundle: bytes) -> None:
    parts = members(bundle)
    name = next(name for name in parts if name.startswith("tile/entries"))
    path = tmp_path / "bundle.zip"
    path.write_bytes(swap(bundle, name, flip(parts[name], len(parts[name]) // 2)))
    assert replay(path).verdicts.ledger == "broken"
    path.write_bytes(without(bundle, name))
    assert replay(path).verdicts.ledger == "broken"
