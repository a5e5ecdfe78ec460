"""What deploy/run installs is what pyproject.toml asks for, pinned by hash, from nowhere in particular."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
LISTS = ("requirements-build", "requirements", "requirements-test", "requirements-check")


def read_lock(name: str) -> dict[str, str]:
    """Names and versions of a list; fails on any line that is neither a pin, a hash nor a comment."""
    pins = dict[str, str]()
    open_entry = False
    for line in (DEPLOY / f"{name}.lock").read_text().splitlines():
        if open_entry:
            matched = HASH.match(line)
            assert matched, line
            open_entry = bool(matched[1])
        elif not line.startswith("#"):
            pinned = PINNED.match(line)
            assert pinned, line
            pins[pinned[1]] = pinned[2]
            open_entry = True
    assert not open_entry
    return pins


def test_every_declared_requirement_is_locked_to_a_version_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    runtime = [*project["project"]["dependencies"], *extras["node"], *extras["lab"]]
    declared = dict(zip(LISTS, (groups["build"], runtime, groups["test"], groups["check"]), strict=True))
    for name, lines in declared.items():
        pins = read_lock(name)
        for requirement in map(Requirement, lines):
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), (name, str(requirement))


def test_no_distribution_is_in_two_lists() -> None:
    names = [name for file in LISTS for name in read_lock(file)]
    assert len(names) == len(set(names))


def test_what_needs_a_compiler_is_left_out_with_its_reason() -> None:
    text = (DEPLOY / "requirements.lock").read_text()
    assert "fastecdsa" not in read_lock("requirements")
    assert "# Left out: fastecdsa " in text


@pytest.mark.parametrize("script", ["run", "bare-debian-test"])
def test_script_is_posix_shell_and_executable(script: str) -> None:
    assert (DEPLOY / script).stat().st_mode & 0o111
    assert (DEPLOY / script).read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", DEPLOY / script], check=True)
