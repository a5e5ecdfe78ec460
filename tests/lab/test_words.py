"""The lab's words: each is there, light until it is called, and a refusal of any is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

import pytest

from glasslog.predicates.vocabulary import PREDICATES
from glasslog_lab.cli.app import WORDS, Words

STATED_ELSEWHERE = {"disclosure": "glasslog disclose writes it"}


def flatten(words: Words, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for word, (_, place) in words.items():
        if isinstance(place, str):
            yield (*before, word), place
        else:
            yield from flatten(place, (*before, word))


def run(
    cwd: Path, *arguments: str | Path, code: str = "from glasslog_node.__main__ import main; main()"
) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.argv[0] = 'glasslog'\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "COLUMNS": "120", "PYTHONPATH": os.pathsep.join(sys.path)}, cwd=cwd,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "place"), list(flatten(WORDS)), ids=lambda one: " ".join(one) if isinstance(one, tuple) else ""
)
def test_each_word_leads_to_a_function_that_says_what_it_does(words: tuple[str, ...], place: str) -> None:
    module, _, name = place.partition(":")
    function = getattr(import_module(module), name)
    assert callable(function)
    assert function.__doc__, words


def test_the_words_are_those_that_glasslog_finds() -> None:
    (found,) = (one for one in entry_points(group="glasslog.commands") if one.name == "lab")
    assert cast("Mapping[str, object]", found.load()) is WORDS


def test_each_predicate_has_a_word() -> None:
    places = {place.rpartition(":")[2] for _, place in flatten(WORDS)}
    by_hand = {"model": "attest_model", "dataset": "attest_dataset", "training-run": "attest_run"}
    for predicate in PREDICATES:
        wanted = by_hand.get(predicate.NAME, "state_" + predicate.NAME.replace("-", "_"))
        assert wanted in places or predicate.NAME in STATED_ELSEWHERE, predicate.NAME


def test_verify_pays_for_no_lab(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(b"\x80")
    code = (
        "import atexit, sys\nfrom glasslog_node.__main__ import main\n"
        "lab = lambda: sorted(name for name in sys.modules if name.startswith('glasslog_lab'))\n"
        "atexit.register(lambda: print(lab(), file=sys.stderr))\n"
        "main()"
    )
    done = run(tmp_path, "verify", tmp_path / "bundle", "--policy", tmp_path / "bundle", code=code)
    assert done.returncode in {1, 2}
    assert set(done.stderr.splitlines()[-1].strip("[]").replace("'", "").split(", ")) <= {
        "glasslog_lab", "glasslog_lab.cli", "glasslog_lab.cli.app", "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("attest", "model", "absent"),
        ("attest", "dataset", "absent", "--source", "synthetic"),
        ("attest", "run", "absent"),
        ("attest", "release"),
        ("attest", "release", "--subject", "a=sha256:" + "00" * 32),
        ("attest", "rights", "--facts", "absent"),
        ("diff", "absent", "absent"),
        ("prove-tensor", "absent", "w"),
        ("verify-tensor", "absent", "--root", "00" * 32),
        ("prove-record", "absent", "--value", "x"),
        ("verify-record", "absent", "--root", "00" * 32, "--value", "x"),
        ("journal", "absent"),
        ("import", "absent"),
        ("export", "cyclonedx", "absent"),
        ("vault", "list", "absent"),
        ("seal", "absent", "--vault", "absent"),
        ("open", "absent", "--key", "absent"),
        ("evidence", "verify", "absent"),
        ("submit", "absent", "--url", "http://127.0.0.1:1"),
    ],
    ids=" ".join,
)
def test_a_refusal_is_one_line_and_status_2_and_leaves_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, *(str(tmp_path / one) if one == "absent" else one for one in arguments))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    assert len(lines) == 1 or "Usage:" in done.stderr, done.stderr
    assert " Next: " in done.stderr or "Usage:" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_of_every_word_can_be_read(tmp_path: Path) -> None:
    for words in (("attest",), ("attest", "evaluation"), ("vault",), ("import",), ("seal-clock",)):
        done = run(tmp_path, *words, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: glasslog " + " ".join(words) in done.stdout
