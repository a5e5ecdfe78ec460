"""What an oracle raises."""

from __future__ import annotations


class Violation(AssertionError):  # noqa: N818 - what was found, not an error of ours
    """An invariant does not hold; the text begins with its rule or with LIVENESS."""
