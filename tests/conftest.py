"""Settings of the whole suite: Hypothesis profiles, and which tests keep to one worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline would test the machine's load. In CI the examples are the same every time; elsewhere they differ.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("soak", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))

CHAOS = Path(__file__).parent / "chaos"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start processes run one after another: on two cores they would starve one another."""
    for item in items:
        if item.get_closest_marker("processes") or CHAOS in item.path.parents or item.path.stem.endswith("_processes"):
            item.add_marker(pytest.mark.xdist_group("processes"))
