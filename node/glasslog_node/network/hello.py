"""The first bytes on a member link, in both directions (specs/wire.md, W2).

``"glasslog" || version uint16 || genesis-hash 32 || run 16 || name length uint8 || name``. Both sides send at once and
check what they get, so both know why a link was refused. ``run`` is drawn at each start of the process: by it
a peer that restarted is told from one that dialled while it was being dialled.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from glasslog.errors import AdmissionError, DecodeError
from glasslog.limits import NAME_BYTES_MAX

LINK_VERSION = 1
RUN_BYTES = 16
_MAGIC = b"glasslog"
_HEAD = struct.Struct(f"!8sH32s{RUN_BYTES}sB")
HELLO_BYTES_MIN = _HEAD.size
HELLO_BYTES_MAX = _HEAD.size + NAME_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Hello:
    """Who speaks, which network it means, and which run of its process this is."""

    genesis_hash: bytes
    name: str
    run: bytes
    version: int = LINK_VERSION

    def encode(self) -> bytes:
        """The bytes on the wire."""
        name = self.name.encode()
        return _HEAD.pack(_MAGIC, self.version, self.genesis_hash, self.run, len(name)) + name

    def check(self, *, genesis_hash: bytes, name: str) -> None:
        """Accept the other side's hello from the member whose key was just proved.

        Raises:
            AdmissionError: LINK-02 another version, LINK-03 another network, LINK-04 another member's name.
        """
        if self.version != LINK_VERSION:
            raise AdmissionError("LINK-02", f"{name} speaks link version {self.version}, we speak {LINK_VERSION}")
        if self.genesis_hash != genesis_hash:
            raise AdmissionError(
                "LINK-03", f"{name} belongs to another network, genesis {self.genesis_hash.hex()[:16]}"
            )
        if self.name != name:
            raise AdmissionError("LINK-04", f"the key of {name} came with the name {self.name!r}")


def hello_size(head: bytes) -> int:
    """How many bytes the hello that starts with these HELLO_BYTES_MIN bytes has.

    Raises:
        DecodeError: LINK-01, this is no hello.
    """
    magic, _, _, _, size = _HEAD.unpack_from(head)
    if magic != _MAGIC or not 0 < size <= NAME_BYTES_MAX:
        raise DecodeError("LINK-01", "the link does not start with a hello")
    return _HEAD.size + int(size)


def decode_hello(data: bytes) -> Hello:
    """Read a whole hello.

    Raises:
        DecodeError: LINK-01, these bytes are not one hello.
    """
    if len(data) < HELLO_BYTES_MIN or hello_size(data) != len(data):
        raise DecodeError("LINK-01", "the link does not start with a hello")
    _, version, genesis_hash, run, _ = _HEAD.unpack_from(data)
    try:
        name = data[_HEAD.size :].decode("ascii")
    except UnicodeDecodeError:
        raise DecodeError("LINK-01", "the link does not start with a hello") from None
    return Hello(genesis_hash, name, run, version)
