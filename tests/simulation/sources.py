"""What the outcome of a seed depends on: the modules that the simulation imports, and the modules that those import."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

PACKAGES = ("glasslog", "simulation")


def find_sources(*modules: str) -> dict[str, Path]:
    """Return the source of each of these and of everything of ours that it imports, also late, by module."""
    found, ahead = dict[str, Path](), list(modules)
    while ahead:
        name = ahead.pop()
        if name in found or (path := _find(name)) is None:
            continue
        found[name] = path
        ahead += _imports(path)
        ahead += [name.rpartition(".")[0]] if "." in name else []
    return dict(sorted(found.items()))


def digest_sources(*modules: str) -> str:
    """Return a digest of the sources of these and of all that they import."""
    digest = sha256()
    for name, path in find_sources(*modules).items():
        digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _find(name: str) -> Path | None:
    """Return a module's source, beside which it may be compiled; None for what is no file of ours."""
    if name.split(".", maxsplit=1)[0] not in PACKAGES:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a name in a module, asked for as if it were a module
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin.with_name(f"{origin.name.split('.', maxsplit=1)[0]}.py")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
