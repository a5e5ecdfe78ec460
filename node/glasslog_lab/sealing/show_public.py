"""``--show-public``: the exact bytes that others will see, before anything leaves (specs/secrecy.md, X3)."""

from __future__ import annotations

from collections.abc import Iterable

from glasslog import codec
from glasslog.bundle.sealed import SEALED_ITEM
from glasslog.statement import decode_statement, to_json
from glasslog_lab.sealing.refusals import refusing


def show_public(items: Iterable[bytes], author: str | None) -> str:
    """Return, for each item of a submission, its entry's bytes in hexadecimal and what they say.

    The number is the node's to give, so it stands as ``<number>``, as does ``<author>`` where that is None; a
    commitment covers it, so it stands as
    ``<commitment>``, 32 bytes that tell nobody anything.

    Raises:
        ArtifactError: CBOR-nn or STMT-nn, an item is neither sealed item nor statement.
    """
    return "\n".join(_show(item, "<author>" if author is None else codec.encode(author).hex()) for item in items)


def _show(item: bytes, author: str) -> str:
    if item.startswith(SEALED_ITEM):
        return (
            f"8401{author}<number>5820<commitment>\n"
            "  a sealed entry: kind, author, number, and 32 bytes; not how large, nor what kind of, statement it holds"
        )
    with refusing():
        text = to_json(decode_statement(item))
    return f"8400{author}<number>{item.hex()}\n  a statement, public in full: {text}"
