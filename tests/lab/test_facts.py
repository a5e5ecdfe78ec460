"""Facts files and options: what each predicate's template prints is taken, and what is wrong is said in one line."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from glasslog.errors import DecodeError
from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import list_members
from glasslog.predicates.vocabulary import PREDICATES, read_statement
from glasslog.statement import from_json
from glasslog_lab.cli.attest import make_command
from glasslog_lab.cli.facts import read_facts, read_subjects, state
from glasslog_lab.cli.facts_template import make_example, print_template
from glasslog_lab.errors import ArtifactError

SUBJECT = "m=sha256:" + "ab" * 32
MEMBER = re.compile(r"^(?:# )?([A-Za-z]+ = .*)$", re.MULTILINE)
each_predicate = pytest.mark.parametrize("predicate", PREDICATES, ids=lambda one: one.NAME)


def attest(predicate: type[Predicate], *arguments: str | Path, ok: bool = True) -> str:
    app = typer.Typer()
    app.command("attest")(make_command(predicate))
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    if not ok:
        assert isinstance(done.exception, ArtifactError), done.output
        said = str(done.exception)
        assert "\n" not in said
        assert ". Next: " in said
        return said
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.stdout


def refused(facts: dict[str, Any], predicate: type[Predicate]) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        state(predicate, read_subjects([SUBJECT], []), facts)
    assert "\n" not in str(caught.value)
    return caught.value


@each_predicate
def test_the_template_explains_every_member_and_each_example_is_one(predicate: type[Predicate]) -> None:
    text = print_template(predicate)
    examples = [tomllib.loads(line) for line in MEMBER.findall(text)]
    assert [name for one in examples for name in one] == [member.name for member in list_members(predicate)]
    for member, example in zip(list_members(predicate), examples, strict=True):
        member.kind.load(json.loads(json.dumps(example[member.name], default=str)), member.name)
        assert member.doc.rstrip(".").split()[0] in text


@each_predicate
def test_the_template_as_it_is_is_taken_or_its_first_line_says_what_else_is_needed(
    tmp_path: Path, predicate: type[Predicate]
) -> None:
    (tmp_path / "facts.toml").write_text(print_template(predicate))
    try:
        said = attest(predicate, "--facts", tmp_path / "facts.toml", "--subject", SUBJECT)
    except AssertionError:
        said = attest(predicate, "--facts", tmp_path / "facts.toml", "--subject", SUBJECT, ok=False)
        assert re.match(r"(PRED|STMT|ATTEST)-\d\d ", said), "a rule that ties members together"
    else:
        assert isinstance(read_statement(from_json(said)), predicate)


@each_predicate
def test_what_is_missing_wrong_or_unknown_is_named(predicate: type[Predicate]) -> None:
    whole: dict[str, Any] = {m.name: make_example(m.kind) for m in list_members(predicate) if m.required}
    for member in list_members(predicate):
        if member.required:
            error = refused({name: value for name, value in whole.items() if name != member.name}, predicate)
            assert member.name in str(error)
        error = refused({**whole, member.name: 0.5}, predicate)
        assert member.name in str(error)
        assert error.code.startswith(("PRED-", "STMT-", "ATTEST-"))
    error = refused({**whole, "colour": "red"}, predicate)
    assert (error.code, "colour" in error.fact) == ("ATTEST-04", True)
    assert refused({**whole, "\n\x1b[2J": "red"}, predicate).code == "ATTEST-04"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_facts_are_a_statement_or_refused_by_code(data: st.DataObject) -> None:
    predicate = data.draw(st.sampled_from(PREDICATES))
    names = st.sampled_from([member.name for member in list_members(predicate)])
    facts = data.draw(st.dictionaries(names | st.text(max_size=8), json_values, max_size=4))
    try:
        made = state(predicate, read_subjects([SUBJECT], []), facts)
    except ArtifactError as error:
        assert "\n" not in str(error)  # noqa: PT017  either is fine: refused in one line, or a statement
    else:
        assert isinstance(read_statement(made), predicate)


@pytest.mark.parametrize(
    ("name", "data", "fact"),
    [
        ("a.toml", b"colour =", "is not TOML"),
        ("a.toml", b"\xff\xfe", "is not UTF-8"),
        ("a.toml", b"a = " + b"[" * 5_000, "is not TOML"),
        ("a.json", b"[1]", "holds no object"),
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"[" * 100_000, "is not JSON"),
    ],
)
def test_files_that_hold_no_facts_are_refused(tmp_path: Path, name: str, data: bytes, fact: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=fact) as caught:
        read_facts(tmp_path / name)
    assert (caught.value.code, "\n" in str(caught.value)) == ("ATTEST-01", False)


def test_times_of_toml_are_written_as_rfc_3339_does(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        "day = 2026-11-24\nat = 2026-11-24T10:00:00+02:00\nlist = [{t = 2026-11-24T10:00:00}]\n"
    )
    assert read_facts(tmp_path / "a.toml") == {
        "day": "2026-11-24", "at": "2026-11-24T08:00:00Z", "list": [{"t": "2026-11-24T10:00:00Z"}],
    }  # fmt: skip


def test_subjects_are_digests_files_and_those_of_statements(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"x")
    named, plain, file = read_subjects([SUBJECT, "sha256:" + "cd" * 32, str(tmp_path / "w.bin")], [])
    assert (named.name, plain.digest["sha256"], file.name) == ("m", bytes.fromhex("cd" * 32), "w.bin")
    release = next(one for one in PREDICATES if one.NAME == "author")
    facts = {m.name: make_example(m.kind) for m in list_members(release) if m.required}
    (tmp_path / "s.json").write_text(json.dumps({
        "_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "q", "digest": {"sha256": "ef" * 32}}],
        "predicateType": release.type_uri(), "predicate": facts,
    }))  # fmt: skip
    assert [one.name for one in read_subjects([], [tmp_path / "s.json"])] == ["q"]


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("just a name", "ATTEST-03"),
        ("https://example.org/x", "ATTEST-03"),
        ("./absent", "ATTEST-02"),
        ("/", "ATTEST-02"),
    ],
)
def test_subjects_without_a_digest_are_refused(word: str, code: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_subjects([word], [])
    assert caught.value.code == code


def test_what_is_no_statement_gives_no_subjects(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"^ATTEST-03 .*s\.json is no statement"):
        read_subjects([], [tmp_path / "s.json"])
    with pytest.raises(DecodeError):
        from_json("{}")


def test_a_statement_about_nothing_is_refused() -> None:
    for predicate in PREDICATES:
        with pytest.raises(ArtifactError, match="no subject is given"):
            state(predicate, [], {})
