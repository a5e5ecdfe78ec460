"""Golden transcripts of the agreement: each script tells one story, and today's core must tell it word for word.

``GLASSLOG_UPDATE_TRACES=1`` rewrites them; the difference is then read, not trusted.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulation.stage import play

TRACES = sorted(Path(__file__).parent.glob("*.txt"))


def test_every_story_is_there() -> None:
    stories = {
        "author-fork", "equivocating-leader-evidence", "happy-path", "lagging-validator-catches-up",
        "late-notarize-and-nullify-coexist", "leader-silent-nullified", "lost-state-recovers", "observer-follows",
        "publication", "restart-own-nullify-recounted",
    }  # fmt: skip
    assert stories <= {path.stem for path in TRACES}


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_trace_is_told_word_for_word(path: Path) -> None:
    recorded = path.read_text()
    played = play(recorded)
    if os.environ.get("GLASSLOG_UPDATE_TRACES"):
        path.write_text(played)
        return
    assert played.splitlines() == recorded.splitlines()
