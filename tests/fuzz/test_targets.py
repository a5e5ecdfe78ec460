"""Every parser that a stranger's bytes reach: specimens, kept corpora, past findings and new mutations."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fuzz.corpus import CORPUS, FILE_BYTES_MAX, FILES_MAX, REGRESSIONS, list_regressions, read_folder
from fuzz.engines import mutate
from fuzz.registry import TARGETS
from fuzz.target import Target

REFUSED_SEEDS = {"policy", "noise", "handshake", "checkpoint"}  # some show the way to a refusal
NEVER_ACCEPT = {"handshake"}
each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


@each_target
def test_specimens_are_accepted(target: Target) -> None:
    assert max(map(len, target.seeds())) <= target.size_max
    accepted = [target.accepts(seed) for seed in target.seeds()]
    assert accepted
    assert any(accepted) or target.name in NEVER_ACCEPT
    assert all(accepted) or target.name in REFUSED_SEEDS


@each_target
def test_kept_corpus_holds(target: Target) -> None:
    for data in read_folder(CORPUS / target.name):
        target.accepts(data)


def test_corpora_are_small_and_each_has_its_target() -> None:
    for folder in sorted(path for path in CORPUS.iterdir() if path.is_dir() and path.name != REGRESSIONS):
        inputs = read_folder(folder)
        assert folder.name in TARGETS
        assert 0 < len(inputs) <= FILES_MAX
        assert max(map(len, inputs)) <= FILE_BYTES_MAX


REGRESSION_FILES = list_regressions(TARGETS)


@pytest.mark.parametrize(
    ("target", "data"),
    [(target, path.read_bytes()) for target, path in REGRESSION_FILES],
    ids=[path.stem for _, path in REGRESSION_FILES],
)
def test_past_finding_holds(target: Target, data: bytes) -> None:
    """Each raised what it must not, or was accepted against an oracle, before it was fixed."""
    target.accepts(data)


@each_target
@settings(max_examples=60)
@given(data=st.data())
def test_any_bytes(target: Target, data: st.DataObject) -> None:
    target.accepts(data.draw(st.binary(max_size=min(target.size_max, 300))))


@each_target
@settings(max_examples=60)
@given(seed=st.integers(0, (1 << 64) - 1), steps=st.integers(1, 4))
@example(seed=0, steps=1)
def test_mutated_specimens(target: Target, seed: int, steps: int) -> None:
    rng = Random(seed)
    data = rng.choice(target.seeds())
    for _ in range(steps):
        data = mutate(target, data, rng)
    target.accepts(data)
