"""What `find`, `assess` and `lineage` are asked about: a digest, or a file or folder that is measured first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from glasslog.predicates.values import TENSORS
from glasslog_node.errors import ConfigError

MEASURERS = "glasslog.measurers"  # entry points: what can tell the digests of a file
_DIGEST = re.compile(r"(?:(?P<name>[A-Za-z0-9]+):)?(?P<hex>[0-9a-fA-F]{32,128})")

Digests = Mapping[str, bytes]


def read_sought(text: str) -> Digests:
    """Return the digests, by algorithm, of what a user names: ``[ALGORITHM:]HEX``, or the path of weights.

    A digest without a name is looked for whatever it is, under the name ``any``.

    Raises:
        ConfigError: FIND-01 neither a digest nor a path; FIND-02 no package here measures weights.
        OperatingError: FILE-nn and the like, the weights cannot be read.
    """
    found = _DIGEST.fullmatch(text)
    if Path(text).exists():
        return find_measurer()(Path(text))
    if found is None or len(found["hex"]) % 2:
        fact = f"{text} is no file, and no digest in hexadecimal"
        raise ConfigError("FIND-01", fact, "name weights, or a digest such as sha256:1f2e...")
    return {found["name"] or "any": bytes.fromhex(found["hex"])}


def read_model(text: str) -> bytes:
    """Return the content root that a user names, by itself or by weights that have it.

    Raises:
        ConfigError: as ``read_sought``; FIND-03, the weights have no content root, or the digest is another one.
    """
    digests = read_sought(text)
    root = digests.get(TENSORS, digests.get("any"))
    if root is None or len(root) != 32:
        fact = f"{text} has no content root: {', '.join(sorted(digests))} is known of it"
        raise ConfigError("FIND-03", fact, "name weights whose tensors can be read, or a content root")
    return root


def find_measurer() -> Callable[[Path], Digests]:
    """Return what measures weights: the function that the lab's package names ``weights`` among its measurers.

    Raises:
        ConfigError: FIND-02, no such package is installed.
    """
    for point in entry_points(group=MEASURERS, name="weights"):
        measure: Callable[[Path], Digests] = point.load()
        return measure
    raise ConfigError("FIND-02", "nothing here can measure weights", "pip install 'glasslog[lab]', or give a digest")
