"""Specification and code agree on what exists: every cited rule is stated, every stated rule is cited.

A rule is stated by a paragraph of ``specs/*.md`` that starts with its bold id, ``**A8.**``. It is cited by that id in
a comment or docstring of code or tests.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPECS = ROOT / "specs"
# Each file and the letter of the rules it states.
NORMATIVE = {
    "agreement.md": "A",
    "log.md": "L",
    "storage.md": "S",
    "wire.md": "W",
    "threat-model.md": "T",
    "secrecy.md": "X",
    "custody.md": "C",
    "statements.md": "V",
    "weights.md": "K",
    "datasets.md": "D",
    "formats.md": "M",
    "claims.md": "Q",
    "receipts.md": "R",
    "mirror.md": "P",
    "report.md": "G",
}

STATED = re.compile(r"^\*\*([A-Z]\d+)\.\*\*", re.MULTILINE)
CITED = re.compile(r"\b([ACDGKLMPQRSTVWX][1-9]\d?)\b")
FILE_NAMED = re.compile(r"\bspecs/([a-z-]+\.(?:md|cddl))")


def read_prose(source: str) -> list[tuple[int, str]]:
    """Comments and docstrings with the line each starts on."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    prose = [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    prose += [
        (node.lineno, node.value.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    return prose


def find_citations(pattern: re.Pattern[str]) -> dict[str, list[str]]:
    """What the prose of all Python files cites, with the places."""
    places = defaultdict[str, list[str]](list)
    for folder in ("protocol", "node", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path == Path(__file__):
                continue
            for line, text in read_prose(path.read_text()):
                for cited in pattern.findall(text):
                    places[cited].append(f"{path.relative_to(ROOT)}:{line}")
    return dict(places)


def read_stated() -> dict[str, list[str]]:
    """Every rule id and the files that state it."""
    stated = defaultdict[str, list[str]](list)
    for path in sorted(SPECS.glob("*.md")):
        for rule in STATED.findall(path.read_text()):
            stated[rule].append(path.name)
    return dict(stated)


@pytest.mark.parametrize("name", [*NORMATIVE, "wire.cddl"])
def test_normative_file_exists(name: str) -> None:
    assert (SPECS / name).stat().st_size > 0


@pytest.mark.parametrize(("name", "letter"), NORMATIVE.items())
def test_rules_are_numbered_without_gap_in_their_own_file(name: str, letter: str) -> None:
    stated = STATED.findall((SPECS / name).read_text())
    assert stated == [f"{letter}{number}" for number in range(1, len(stated) + 1)]
    assert stated


def test_every_cited_rule_is_stated_once() -> None:
    stated = read_stated()
    assert {rule: files for rule, files in stated.items() if len(files) > 1} == {}
    assert {rule: places for rule, places in find_citations(CITED).items() if rule not in stated} == {}


def test_every_stated_rule_is_cited() -> None:
    cited = find_citations(CITED)
    assert [rule for rule in read_stated() if rule not in cited] == []


def test_every_spec_file_named_exists() -> None:
    named = find_citations(FILE_NAMED)
    for path in sorted(ROOT.glob("*.md")) + sorted(SPECS.glob("*.md")):
        for name in FILE_NAMED.findall(path.read_text()):
            named.setdefault(name, []).append(path.name)
    assert {name: places for name, places in named.items() if not (SPECS / name).exists()} == {}


def test_citation_is_found_in_comments_and_docstrings_only() -> None:
    source = '"""Obeys A8 (specs/log.md)."""\nx = "L3"  # as S12 says\nT1 = 4\n'
    prose = " ".join(text for _, text in read_prose(source))
    assert CITED.findall(prose) == ["S12", "A8"]
    assert FILE_NAMED.findall(prose) == ["log.md"]
