"""One sealed entry per period, whatever happened in it (specs/secrecy.md, X10).

The content of a period is a field tree whose fields are its members, ``/0``, ``/1`` and so on, each the SHA-256 of a
member's own salt and content root. A period in which nothing happened is a tree of padding. From outside both are 32
bytes that nobody can tell from random ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from glasslog import codec
from glasslog.bundle.fields import FieldContent, Opened, read_openings
from glasslog.bundle.sealed import FIELDS_MAX, Opening, decode_item
from glasslog.errors import DecodeError, ProofError

MEMBER_DOMAIN = "glasslog/period-member/v1"
PERIOD_MEMBERS_MAX = FIELDS_MAX


def commit_member(item: bytes) -> bytes:
    """Return what a period says of one member, given its sealed item.

    Raises:
        DecodeError: SEAL-01, it is no sealed item.
    """
    salt, content_root = decode_item(item)
    return sha256(codec.encode([MEMBER_DOMAIN, salt, content_root])).digest()


def seal_period(items: Sequence[bytes], secret: bytes) -> FieldContent:
    """Return a period's content: any number of members, also none.

    Raises:
        DecodeError: SEAL-03, more members than a tree holds; SEAL-01.
    """
    if len(items) > PERIOD_MEMBERS_MAX:
        raise DecodeError("SEAL-03", f"{len(items)} members in one period, at most {PERIOD_MEMBERS_MAX}")
    return FieldContent(secret, {f"/{place}": commit_member(item) for place, item in enumerate(items)})


def open_member(period: Opened, name: str, openings: Sequence[Opening]) -> Opened:
    """Return what openings of a member show; ``period`` are the period's own openings, checked against its entry.

    Raises:
        ProtocolError: SEAL-15, the period does not hold this member under that name; as ``read_openings``.
    """
    opened = read_openings(openings)
    committed = sha256(codec.encode([MEMBER_DOMAIN, opened.salt, opened.content_root])).digest()
    if name not in period.fields or period.fields[name] != committed:
        raise ProofError("SEAL-15", f"the period does not hold this content as {name[:80]!r}")
    return opened
