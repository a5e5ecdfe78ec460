"""Write the hash-locked requirement lists beside this file anew: ``.venv/bin/python deploy/lock.py [--upgrade]``.

Roots are what ``pyproject.toml`` declares. pip resolves them once, for the oldest Python, and then names the file
it would take on every target; a lock records names, versions and those files' SHA-256, never where they came from.
Versions already locked stay unless ``--upgrade`` is given. Needs pip >= 23.1 and a package index.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DEPLOY = Path(__file__).resolve().parent
PYTHONS = ("3.11", "3.12", "3.13")
ARCHITECTURES = ("x86_64", "aarch64")
GLIBC_MINOR_MAX = 36  # Debian 12's

# Declared by libp2p 0.8.1, and left out on purpose.
LEFT_OUT = {
    "fastecdsa": "has no Linux wheel, so it would need a compiler; it serves ECDSA peer ids, which glasslog refuses",
    "mypy-protobuf": "is a code generator of libp2p's own build",
    "types-requests": "are type stubs of libp2p's own build",
}
# Pure Python published as source only: built on the spot by the locked setuptools, with no compiler.
SOURCE_ONLY = ("python-baseconv", "varint")


class Lock(NamedTuple):
    """One list: its file, what it is for, its root requirements, and the lists it is installed on top of."""

    file: str
    purpose: str
    roots: tuple[str, ...]
    below: tuple[str, ...]


class Locked(NamedTuple):
    """One distribution of a list; ``requires`` are the PEP 508 lines of its metadata, ``marker`` where it is for."""

    version: str
    hashes: frozenset[str]
    requires: tuple[str, ...]
    marker: Marker | None


def read_locks() -> tuple[Lock, ...]:
    """The four lists, as ``pyproject.toml`` describes them."""
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    needed = [requirement for extra in ("node", "lab", "audit", "report") for requirement in extras[extra]]
    runtime = (*project["project"]["dependencies"], *needed)
    return (
        Lock("requirements-build.lock", "what installs the project and the source-only distributions",
             tuple(groups["build"]), ()),
        Lock("requirements.lock", "what `glasslog` needs to run, every extra included but `parquet`", runtime,
             ("requirements-build.lock",)),
        Lock("requirements-test.lock", "what `deploy/run test` needs besides", tuple(groups["test"]),
             ("requirements-build.lock", "requirements.lock")),
        Lock("requirements-check.lock", "what `deploy/run check` needs besides", tuple(groups["check"]),
             ("requirements-build.lock", "requirements.lock", "requirements-test.lock")),
        Lock("requirements-fuzz.lock", "what `deploy/run soak` needs besides", tuple(groups["fuzz"]),
             ("requirements-build.lock", "requirements.lock", "requirements-test.lock", "requirements-check.lock")),
    )  # fmt: skip


def write_stand_in(folder: Path, name: str) -> None:
    """An empty wheel that satisfies the resolver for a distribution left out on purpose.

    fastecdsa is pinned by libp2p to 2.3.2; of the others any version does.
    """
    version = "2.3.2" if name == "fastecdsa" else "9999"
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    members = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: glasslog\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
        for path, text in members.items()
    )
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in (*members.items(), (f"{info}/RECORD", f"{record}{info}/RECORD,,\n")):
            wheel.writestr(path, text)


def report(arguments: list[str]) -> list[dict[str, Any]]:
    """What pip would install, as its JSON report says; the program ends with pip's own words where it cannot."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  fixed words and our own pins
    if done.returncode:
        raise SystemExit(done.returncode)
    installs: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return installs


def resolve(lock: Lock, stand_ins: Path, pins: dict[str, str]) -> dict[str, Locked]:
    """The closure of the roots on this Python, sources included."""
    constraints = stand_ins / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
    markers = {canonicalize_name(root.name): root.marker for root in map(Requirement, lock.roots)}
    found: dict[str, Locked] = {}
    for item in report(["--find-links", str(stand_ins), "--constraint", str(constraints), *lock.roots]):
        name = canonicalize_name(item["metadata"]["name"])
        if name not in LEFT_OUT:
            requires = tuple(item["metadata"].get("requires_dist", ()))
            found[name] = Locked(item["metadata"]["version"], frozenset((hash_of(item),)), requires, markers.get(name))
    return found


def hash_of(item: dict[str, Any]) -> str:
    """The SHA-256 that the index states for the file pip chose."""
    digest: str = item["download_info"]["archive_info"]["hashes"]["sha256"]
    return digest


def add_targets(found: dict[str, Locked], folder: Path) -> dict[str, Locked]:
    """The same versions with the hash of the wheel that each target takes."""
    hashes = {name: set(locked.hashes) if name in SOURCE_ONLY else set[str]() for name, locked in found.items()}
    for architecture in ARCHITECTURES:
        names = [f"manylinux_2_{minor}" for minor in range(GLIBC_MINOR_MAX, 4, -1)]
        tags = [f"{name}_{architecture}" for name in (*names, "manylinux2014", "manylinux2010", "manylinux1", "linux")]
        platforms = [word for tag in tags for word in ("--platform", tag)]
        for python in PYTHONS:
            target = ["--only-binary", ":all:", "--python-version", python, "--target", str(folder), *platforms]
            pins = [
                f"{name}=={locked.version}"
                for name, locked in found.items()
                if name not in SOURCE_ONLY and (locked.marker is None or holds(locked.marker, python, architecture))
            ]
            if not pins:
                continue  # a list may be for one architecture alone
            for item in report(["--no-deps", *target, *pins]):
                hashes[canonicalize_name(item["metadata"]["name"])].add(hash_of(item))
    return {name: locked._replace(hashes=frozenset(hashes[name])) for name, locked in found.items()}


def holds(marker: Marker, python: str, architecture: str) -> bool:
    """Whether a PEP 508 marker holds on a target, no extra asked for."""
    target = {"python_version": python, "python_full_version": f"{python}.9", "platform_machine": architecture}
    return marker.evaluate({"extra": "", **target})


def check_closed(found: dict[str, Locked], installed: dict[str, Locked]) -> None:
    """Every requirement that holds on any target is met by a list; otherwise the program ends and says which."""
    for name, locked in found.items():
        for line in locked.requires:
            wanted = Requirement(line)
            target = canonicalize_name(wanted.name)
            needed = wanted.marker is None or any(
                holds(wanted.marker, python, architecture) for python in PYTHONS for architecture in ARCHITECTURES
            )
            if needed and target not in installed and target not in LEFT_OUT:
                raise SystemExit(f"{name} needs {line} on some target, and no list has it")


def render(lock: Lock, found: dict[str, Locked]) -> str:
    """The text of a list: pip's requirements format, one distribution a paragraph."""
    lines = [f"# {lock.purpose[0].upper()}{lock.purpose[1:]}. Written by deploy/lock.py; installed by deploy/run."]
    if lock.file == "requirements.lock":
        lines += [f"# Left out: {name} {reason}." for name, reason in LEFT_OUT.items()]
    for name, locked in sorted(found.items()):
        lines.append(f"{name}=={locked.version}{f' ; {locked.marker}' if locked.marker else ''} \\")
        lines += [f"    --hash=sha256:{digest} \\" for digest in sorted(locked.hashes)]
        lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join(lines) + "\n"


def read_pins(path: Path) -> dict[str, str]:
    """Names and versions of a list written before."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split()[0].split("==") for line in lines if line[:1].isalnum())


def main(words: list[str]) -> None:
    """Write all lists, or none where pip cannot resolve one."""
    locks = read_locks()
    kept = {} if "--upgrade" in words else {n: v for lock in locks for n, v in read_pins(DEPLOY / lock.file).items()}
    texts: dict[str, str] = {}
    installed: dict[str, Locked] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in LEFT_OUT:
            write_stand_in(Path(scratch), name)
        for lock in locks:
            pins = kept | {name: locked.version for name, locked in installed.items()}
            resolved = resolve(lock, Path(scratch), pins)
            found = add_targets({n: v for n, v in resolved.items() if n not in installed}, Path(scratch) / "target")
            installed |= found
            check_closed(found, installed)
            texts[lock.file] = render(lock, found)
            sys.stderr.write(f"{lock.file}: {len(found)} distributions\n")
    for file, text in texts.items():
        (DEPLOY / file).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
