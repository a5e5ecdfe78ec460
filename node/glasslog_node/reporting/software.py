"""What a report was made with: one digest over the installed files (G6)."""

from __future__ import annotations

from hashlib import file_digest, sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import glasslog
import glasslog_node
from glasslog.audit.reporting import Software

_PACKAGES = (glasslog, glasslog_node)


def measure_software() -> Software:
    """Return name, version and digest of the packages that make a report.

    The digest is SHA-256 over lines as ``sha256sum`` prints them, of every file below both packages but compiled ones,
    in the order of their paths' bytes.
    """
    lines: list[tuple[bytes, bytes]] = []
    for package in _PACKAGES:
        top = Path(str(package.__file__)).parent
        for path in top.rglob("*"):
            name = path.relative_to(top.parent).as_posix().encode()
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                with path.open("rb") as file:
                    lines.append((name, file_digest(file, "sha256").hexdigest().encode()))
    whole = b"".join(b"%b  %b\n" % (digest, name) for name, digest in sorted(lines))
    try:
        number = version("glasslog")
    except PackageNotFoundError:
        number = "not installed"
    return Software("glasslog", number, sha256(whole).hexdigest())
