"""House style that no linter knows: sizes, names, reasons for exceptions, and words that have no place here."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

NAMES_BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
# Spelt with escapes so that this file does not hold what it looks for.
UNFINISHED = re.compile("\\b(?:T\x4fDO|FI\x58ME|X\x58X|H\x41CK|NotImpl\x65mentedError)\\b")
WORKSHOP = re.compile(
    "/wo\x72k/|\\.lib\x72ary|pyp\x69\\.org|pythonh\x6fsted|deb\\.d\x65bian|npm\x6as|proxy\\.g\x6flang", re.IGNORECASE
)
DIRECTIVE = re.compile(
    r"#\s*(?:noqa|(?:type|pyright):\s*ignore|pragma: no \w+|fmt: \w+)(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|\[[\w\-, ]*\])?"
)
WORD = re.compile(r"[A-Za-z]{2,}")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".lock", ".cddl", ".txt", ".json", ".yml", ".yaml", ".service", ""}
# What judges bytes from outside; a fault in them is a ProtocolError, never an assertion.
JUDGES = ("decode", "parse", "verify", "check", "split", "read", "from_", "admit")

Check = Callable[[str], Iterator[str]]


def list_python(*folders: str) -> list[Path]:
    """Our Python files below the folders, sorted."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def list_functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def find_long(source: str) -> Iterator[str]:
    """A module over 600 lines or a function over 70, its decorators not counted."""
    if (lines := source.count("\n")) > MODULE_LINES_MAX:
        yield f"module of {lines} lines"
    for function in list_functions(source):
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX:
            yield f"{function.lineno}: {function.name} has {lines} lines"


def find_unfinished(source: str) -> Iterator[str]:
    """Marks of work put off."""
    for number, line in enumerate(source.splitlines(), 1):
        if UNFINISHED.search(line):
            yield f"{number}: {line.strip()}"


def find_unreasoned(source: str) -> Iterator[str]:
    """A suppressed finding whose line does not say why (formatting directives need no reason)."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (directives := DIRECTIVE.findall(token.string)):
            reason = WORD.findall(DIRECTIVE.sub("", token.string))
            if len(reason) < 2 and not all("fmt:" in directive for directive in directives):
                yield f"{token.start[0]}: {token.string}"


def find_asserting_judge(source: str) -> Iterator[str]:
    """A function that judges bytes from outside and asserts."""
    for function in list_functions(source):
        if function.name.lstrip("_").startswith(JUDGES):
            for node in ast.walk(function):
                if isinstance(node, ast.Assert):
                    yield f"{node.lineno}: assert in {function.name}"


def find_workshop(source: str) -> Iterator[str]:
    """Places and hosts of one machine."""
    for number, line in enumerate(source.splitlines(), 1):
        if WORKSHOP.search(line):
            yield f"{number}: {line.strip()[:100]}"


def apply(check: Check, paths: list[Path]) -> list[str]:
    """All findings, each with its file."""
    return [f"{path.relative_to(ROOT)}:{found}" for path in paths for found in check(path.read_text())]


@pytest.mark.parametrize(
    ("check", "folders"),
    [
        (find_long, ("protocol", "node", "tests", "deploy")),
        (find_unfinished, ("protocol", "node", "tests", "deploy")),
        (find_unreasoned, ("protocol", "node", "tests", "deploy")),
        (find_asserting_judge, ("protocol",)),
    ],
)
def test_python_files_keep_the_style(check: Check, folders: tuple[str, ...]) -> None:
    assert apply(check, list_python(*folders)) == []


def test_modules_are_named_for_what_they_do() -> None:
    modules = list_python("protocol", "node", "tests", "deploy")
    names = {path: {*path.stem.split("_"), *path.parent.name.split("_")} for path in modules}
    assert [str(path) for path, words in names.items() if words & NAMES_BANNED] == []


def test_no_file_names_the_place_it_was_made_in() -> None:
    hidden_but_ours = {".ci", ".gitignore"}
    paths = [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file()
        and path.suffix in TEXT_SUFFIXES
        and not any(part.startswith(".") and part not in hidden_but_ours for part in path.relative_to(ROOT).parts)
        and not {"__pycache__", "build", "dist", "htmlcov"} & set(path.parts)
    ]
    assert ROOT / ".ci" / "run" in paths
    assert apply(find_workshop, paths) == []


@pytest.mark.parametrize(
    ("check", "planted"),
    [
        (find_long, "def f():\n" + "    x = 1\n" * 70),
        (find_long, "x = 1\n" * 601),
        (find_unfinished, "x = 1  # T\x4fDO later\n"),
        (find_unfinished, "raise NotImpl\x65mentedError\n"),
        (find_unreasoned, "import os  # noqa: F401\n"),
        (find_unreasoned, "x: int = ''  # type: ignore[assignment]\n"),
        (find_unreasoned, "x: int = ''  # pyright: ignore[reportAssignmentType]\n"),
        (find_asserting_judge, "def _decode_it(data):\n    assert data\n"),
        (find_workshop, "see /wo\x72k/main\n"),
        (find_workshop, "https://pyp\x69.org/simple\n"),
    ],
)
def test_planted_fault_is_found(check: Check, planted: str) -> None:
    assert list(check(planted))


@pytest.mark.parametrize(
    ("check", "fine"),
    [
        (find_long, "def f():\n" + "    x = 1\n" * 69),
        (find_unreasoned, "import os  # noqa: F401  re-exported for readers\n"),
        (find_unreasoned, "x: int = ''  # type: ignore[assignment]  # the stub is wrong here\n"),
        (find_unreasoned, "x = [1]  # fmt: skip\n"),
        (find_asserting_judge, "def step(x):\n    assert x\n"),
    ],
)
def test_what_is_fine_is_left_alone(check: Check, fine: str) -> None:
    assert not list(check(fine))
