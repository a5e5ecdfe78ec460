"""The digests by which a log may know weights: what ``glasslog find`` asks for a file or folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from glasslog.predicates.values import TENSORS
from glasslog_lab.weights.measuring import measure


def list_digests(path: Path) -> Mapping[str, bytes]:
    """Return the content root of the weights at ``path``, and the sha256 of their file where they are one file.

    Raises:
        ArtifactError: FILE-nn, INDEX-nn, MODEL-01, TENSOR-nn, WEIGHTS-nn.
    """
    measured = measure(path, digests=("sha256", "tensors"))
    found: dict[str, bytes] = {}
    if measured.content_root is not None:
        found[TENSORS] = measured.content_root
    if len(measured.files) == 1 and measured.files[0].sha256 is not None:
        found["sha256"] = measured.files[0].sha256
    return found
