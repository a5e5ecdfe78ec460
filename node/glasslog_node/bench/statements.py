"""Statements of an exact entry size, made fast: the load must not cost what it measures."""

from __future__ import annotations

import secrets

from glasslog.entry import number_entry
from glasslog.statement import STATEMENT_TYPE, encode_statement
from glasslog_node.errors import RequestError

_DIGEST_BYTES = 32
_PREDICATE = "urn:glasslog:predicate:bench:v1"


class StatementMaker:
    """Makes statements that differ in their subject's digest and are otherwise alike, as a training run's are."""

    def __init__(self, entry_bytes: int, author: str) -> None:
        """``entry_bytes`` is the size of the leaf each statement becomes, number and author included.

        Raises:
            RequestError: BENCH-01, no statement is that small or that large.
        """
        for filler in range(max(0, entry_bytes)):
            statement = self._encode(filler)
            # Numbers of five bytes: what an author's entries have from the 65,536th on.
            size = len(number_entry(author, 1 << 16, statement))
            if size >= entry_bytes:
                break
        else:
            size, statement = 0, b""
        if size != entry_bytes:
            fact = f"no entry of {entry_bytes} bytes"
            raise RequestError("BENCH-01", fact, "use --size 220 or more", status=0)
        self._head, self._tail = statement.split(bytes(_DIGEST_BYTES))

    @staticmethod
    def _encode(filler: int) -> bytes:
        return encode_statement(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": "step", "digest": {"sha256": bytes(_DIGEST_BYTES)}}],
                "predicateType": _PREDICATE,
                "predicate": {"filler": "x" * filler},
            }
        )

    def batch(self, count: int) -> bytes:
        """Return a CBOR sequence of ``count`` statements, none ever made before."""
        noise = secrets.token_bytes(count * _DIGEST_BYTES)
        head, tail = self._head, self._tail
        return b"".join(
            [head + noise[at : at + _DIGEST_BYTES] + tail for at in range(0, len(noise), _DIGEST_BYTES)]
        )  # fmt: skip
