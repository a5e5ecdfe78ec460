"""Where the vectors of other projects lie; a test that needs an absent one is skipped, and says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VECTORS = Path(os.environ.get("GLASSLOG_VECTORS") or Path(__file__).parents[2] / "shared" / "vectors")


def find_vectors(name: str) -> Path:
    """The folder or file ``name`` below the vectors, or the end of the calling test."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"vectors/{name} is not there; GLASSLOG_VECTORS names the folder that holds it")
    return path
