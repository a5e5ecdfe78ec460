"""A signed checkpoint out of a file: the note itself, or the one in a bundle or a C2SP tlog-proof."""

from __future__ import annotations

from pathlib import Path

from glasslog.bundle import BUNDLE_BYTES_MAX
from glasslog.bundle.form import Bundle
from glasslog.errors import ProtocolError
from glasslog.proof import FIRST_LINE, PROOF_BYTES_MAX, TlogProof
from glasslog_node.errors import StoreError

_BUNDLE_MARK = b"\x88"  # the head of the bundle's array; no note begins with a byte that is not UTF-8


def read_note_file(path: Path) -> bytes:
    """Return the signed note in a file; what it says is judged by whoever asked.

    Raises:
        StoreError: STORE-05, the system says no; SOURCE-04, a bundle or proof that is not one.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max(BUNDLE_BYTES_MAX, PROOF_BYTES_MAX) + 1)
    except OSError as e:
        fact = f"reading {path} failed: {(e.strerror or str(e)).lower()}"
        raise StoreError("STORE-05", fact, "check the path") from e
    try:
        if data.startswith(_BUNDLE_MARK):
            return Bundle.decode(data).checkpoint
        if data.startswith(FIRST_LINE.encode()):
            return TlogProof.parse(data).checkpoint
    except ProtocolError as e:
        fact = f"{path} has no checkpoint that can be read: {e}"
        raise StoreError("SOURCE-04", fact, "get it again from where it came from") from e
    return data
