"""The layers hold: protocol/ is pure, low layers never import high ones, node and lab never meet.

The contracts themselves stand in pyproject.toml, under ``tool.importlinter``. A contract that names a module
which does not exist fails too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROTOCOL = ROOT / "protocol" / "glasslog"

# Everything the pure part may use. Nothing here reads a clock, draws a random number, or touches a file or socket.
PURE = {
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "contextlib", "dataclasses", "decimal", "enum",
    "fractions", "functools", "hashlib", "hmac", "heapq", "itertools", "json", "math", "operator", "re", "string",
    "struct", "types", "typing", "unicodedata",
    "cbor2", "cryptography", "nacl",
    "glasslog",
}  # fmt: skip
IMPURE_NAMES = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}


def find_impurities(source: str) -> list[str]:
    """Imports from outside ``PURE``, imports in disguise, and built-ins that reach the world."""
    found = list[str]()
    for node in ast.walk(ast.parse(source)):
        names = list[str]()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."] if not node.level else ["."]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_NAMES:
            found.append(f"{node.func.id}()")
        found += [f"import {name}" for name in names if name.split(".")[0] not in PURE]
    return found


def test_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_protocol_imports_nothing_impure() -> None:
    found = {
        str(path.relative_to(ROOT)): impurities
        for path in sorted(PROTOCOL.rglob("*.py"))
        if (impurities := find_impurities(path.read_text()))
    }
    assert not found


@pytest.mark.parametrize(
    "planted",
    [
        "import time",
        "from os import path",
        "def f():\n    import random",
        "from . import codec",
        "import glasslog_node",
        "x = __import__('socket')",
        "open('/etc/passwd')",
    ],
)
def test_impurity_is_found(planted: str) -> None:
    assert find_impurities(planted)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("glasslog.codec", "glasslog.ledger"),
        ("glasslog.merkle", "time"),
        ("glasslog.errors", "glasslog_lab"),
        ("glasslog_lab", "glasslog_node"),
        ("glasslog_node.store", "glasslog_lab"),
        ("glasslog_node.store", "glasslog_node.api"),
    ],
)
def test_planted_import_breaks_a_contract(tmp_path: Path, importer: str, imported: str) -> None:
    """The same contracts over a skeleton of the tree with one forbidden import in it."""
    for top in ("protocol", "node"):
        for path in (ROOT / top).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    top = "protocol" if importer.partition(".")[0] == "glasslog" else "node"
    place = tmp_path / top / importer.replace(".", "/")
    (place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).write_text(f"import {imported}\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}/protocol:{tmp_path}/node"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{importer} -> {imported} (l.1)" in done.stdout
