"""C2SP tlog-proof: one entry's inclusion and the checkpoint it is included in, in one text.

It carries no author's signature: a corrupt quorum could log what an author never signed, and only a bundle
shows otherwise. ``extra`` is authenticated by nothing.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glasslog import merkle
from glasslog.checkpoint import Checkpoint
from glasslog.errors import DecodeError
from glasslog.identity import decode_base64
from glasslog.merkle import HASH_BYTES, SIZE_MAX
from glasslog.note import NOTE_BYTES_MAX, Note

if TYPE_CHECKING:
    from glasslog.policy import Evaluation, Policy

FIRST_LINE = "c2sp.org/tlog-proof@v1"
PATH_HASHES_MAX = 63
PROOF_BYTES_MAX = NOTE_BYTES_MAX + (128 << 10)
_INDEX = re.compile("index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Leaf ``index``, its path (leaf's sibling first), the checkpoint's note verbatim, and free ``extra`` bytes."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def format(self) -> bytes:
        """Return the proof's bytes (C2SP tlog-proof, "Format")."""
        if self.extra == b"":
            raise ValueError("extra data is absent, or at least a byte")
        lines = [FIRST_LINE]
        if self.extra is not None:
            lines.append(f"extra {b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines.extend(b64encode(value).decode() for value in self.path)
        return ("\n".join(lines) + "\n\n").encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """Return the proof, in its one spelling; the checkpoint is not looked at yet.

        Raises ``DecodeError``: ``PROOF-04`` size, first line or characters, ``PROOF-05`` a line of it.
        """
        head, blank, checkpoint = data.partition(b"\n\n")
        if len(data) > PROOF_BYTES_MAX or not blank or not head.isascii():
            raise DecodeError("PROOF-04", "not a tlog-proof: too long, without a checkpoint, or not ASCII above it")
        lines = head.decode().split("\n")
        if lines[0] != FIRST_LINE:
            raise DecodeError("PROOF-04", f"the first line is not {FIRST_LINE}")
        extra: bytes | None = None
        if len(lines) > 1 and lines[1].startswith("extra "):
            extra = decode_base64(lines.pop(1).removeprefix("extra "))
            if not extra:
                raise DecodeError("PROOF-05", "extra data that is not canonical base64 of at least a byte")
        index = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
        if index is None or int(index[1]) > SIZE_MAX:
            raise DecodeError("PROOF-05", "no index line, or an index that is not a plain decimal below 2**63")
        if len(lines) - 2 > PATH_HASHES_MAX:
            raise DecodeError("PROOF-05", f"a path of {len(lines) - 2} hashes where {PATH_HASHES_MAX} are the most")
        path = [decode_base64(line) or b"" for line in lines[2:]]
        if any(len(value) != HASH_BYTES for value in path):
            raise DecodeError("PROOF-05", "a path line that is not canonical base64 of 32 bytes")
        return cls(int(index[1]), tuple(path), checkpoint, extra)

    def verify(self, leaf_hash: bytes, policy: Policy, *, strict: bool = False) -> Evaluation:
        """Check the checkpoint against ``policy``, then the inclusion of ``leaf_hash``.

        Returns a satisfied evaluation. Raises what ``Policy.check`` and ``merkle.verify_inclusion`` raise.
        """
        note = Note.parse(self.checkpoint)
        evaluation = policy.check(note, strict=strict)
        checkpoint = Checkpoint.parse(note.text)
        merkle.verify_inclusion(self.index, checkpoint.size, leaf_hash, self.path, checkpoint.root)
        return evaluation
