"""Copies of the core with one fault each. The product itself is never touched."""

from __future__ import annotations

import compileall
import shutil
from collections.abc import Iterable
from importlib.util import cache_from_source
from pathlib import Path

from mutants.mutant import Edit, Mutant

ROOT = Path(__file__).parents[2]
CORE = ROOT / "protocol" / "glasslog"


class AnchorGone(AssertionError):  # noqa: N818 - what has to be put right is in the text
    """A mutant's line is not in the core any more, or more than once."""


def find_gone(mutants: Iterable[Mutant], core: Path = CORE) -> list[str]:
    """Return what is wrong with the anchors of these mutants."""
    texts = dict[str, str]()
    gone = list[str]()
    for mutant in mutants:
        for edit in mutant.edits:
            if edit.file not in texts:
                path = core / edit.file
                texts[edit.file] = path.read_text() if path.exists() else ""
            count = texts[edit.file].count(edit.anchor)
            if count != 1:
                gone.append(f"MUTANT anchor gone: {mutant.name}: {edit.file} holds {count} times {edit.anchor!r}")
    return gone


def copy_core(folder: Path, core: Path = CORE) -> Path:
    """Copy the core as it is now, compiled, so that all mutants of one campaign are of one version."""
    sound = folder / "sound"
    shutil.copytree(core, sound / "glasslog", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(sound, quiet=1)
    return sound


def plant(mutant: Mutant, sound: Path, folder: Path) -> Path:
    """Return a new copy of the copy with this fault in it."""
    gone = find_gone([mutant], sound / "glasslog")
    if gone:
        raise AnchorGone("\n".join(gone))
    copy = folder / mutant.name.replace(" ", "-")
    shutil.copytree(sound, copy)
    for edit in mutant.edits:
        change(copy / "glasslog" / edit.file, edit)
    return copy


def change(path: Path, edit: Edit) -> None:
    """Change one place of a file, and forget what was compiled from it."""
    path.write_text(path.read_text().replace(edit.anchor, edit.instead))
    Path(cache_from_source(str(path))).unlink(missing_ok=True)
