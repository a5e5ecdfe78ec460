"""The kept inputs: small ones for every target that together reach what a campaign has reached, and every finding.

``tests/vectors/fuzz/<target>/`` holds at most FILES_MAX inputs of at most FILE_BYTES_MAX bytes, named by their
SHA-256; ``regressions/<target>-<what>.bin`` an input that once was a finding. Both are replayed by the suite.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.target import Target

CORPUS = Path(__file__).parents[1] / "vectors" / "fuzz"
REGRESSIONS = "regressions"
FILES_MAX = 40
FILE_BYTES_MAX = 2_048
CANDIDATES_MAX = 400
_PRODUCT = ("/glasslog/", "/glasslog_node/", "/glasslog_lab/")

Arc = tuple[str, int, int]


def read_folder(folder: Path) -> list[bytes]:
    """Return every input below a folder, in the order of their names; none where there is no folder."""
    return [path.read_bytes() for path in sorted(folder.glob("*.bin"))] if folder.is_dir() else []


def write_input(folder: Path, data: bytes) -> Path:
    """Keep one input under its own name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sha256(data).hexdigest()[:16]}.bin"
    path.write_bytes(data)
    return path


def list_regressions(targets: Mapping[str, Target], folder: Path = CORPUS) -> list[tuple[Target, Path]]:
    """Return every finding of the past with its target, whose name the file's begins with."""
    found: list[tuple[Target, Path]] = []
    for path in sorted((folder / REGRESSIONS).glob("*.bin")):
        names = [name for name in targets if path.name.startswith(f"{name}-")]
        if not names:
            raise ValueError(f"{path.name} names no target")
        found.append((targets[max(names, key=len)], path))
    return found


def trace_arcs(target: Target, data: bytes) -> frozenset[Arc]:
    """Return the line-to-line steps that the product takes on this input, without how often."""
    arcs: set[Arc] = set()
    last: dict[int, int] = {}

    def local(frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            arcs.add((frame.f_code.co_filename, last.get(id(frame), 0), frame.f_lineno))
            last[id(frame)] = frame.f_lineno
        return local

    def calls(frame: FrameType, _event: str, _arg: Any) -> Any:
        last.pop(id(frame), None)
        return local if any(part in frame.f_code.co_filename for part in _PRODUCT) else None

    before = sys.gettrace()
    sys.settrace(calls)
    try:
        target.accepts(data)
    except Exception:  # noqa: BLE001 - a finding is kept elsewhere; here only its way counts
        return frozenset()
    finally:
        sys.settrace(before)
    return frozenset(arcs)


def minimise(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """Return few small inputs that together take every step that all of them take: a greedy cover."""
    small = sorted({data for data in inputs if len(data) <= FILE_BYTES_MAX}, key=lambda data: (len(data), data))
    step = max(1, -(-len(small) // CANDIDATES_MAX))
    left = {data: trace_arcs(target, data) for data in small[::step]}
    kept: list[bytes] = []
    covered: frozenset[Arc] = frozenset()
    while left and len(kept) < FILES_MAX:
        best = max(left, key=lambda data: (len(left[data] - covered), -len(data)))
        gain = left.pop(best) - covered
        if not gain:
            break
        kept.append(best)
        covered |= gain
    return kept


def keep(target: Target, inputs: Sequence[bytes], folder: Path = CORPUS) -> int:
    """Put the minimised inputs, with those kept before, in the place of the target's folder; return their number."""
    place = folder / target.name
    kept = minimise(target, [*inputs, *read_folder(place)])
    if place.is_dir():
        for path in place.glob("*.bin"):
            path.unlink()
    for data in kept:
        write_input(place, data)
    return len(kept)
