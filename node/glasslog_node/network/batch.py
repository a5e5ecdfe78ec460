"""Several payloads in one gossip message: ``(uint32 length || payload)*``, big-endian (specs/wire.md, W6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from glasslog.errors import DecodeError

BATCH_BYTES_MAX = 256 << 10


def join_payloads(payloads: Iterable[bytes]) -> bytes:
    """One message of these payloads."""
    return b"".join(part for payload in payloads for part in (len(payload).to_bytes(4, "big"), payload))


def split_payloads(data: bytes) -> Iterator[bytes]:
    """Yield the payloads of a message.

    Raises:
        DecodeError: GOSSIP-04, the lengths do not add up, or a payload is empty.
    """
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        end = at + 4 + size
        if len(data) - at < 4 or size == 0 or end > len(data):
            raise DecodeError("GOSSIP-04", "announcement whose lengths do not add up")
        yield data[at + 4 : end]
        at = end
