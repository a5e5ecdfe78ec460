"""C2SP tlog-checkpoint without extension lines, and the three lines a validator puts under one.

Per validator: its log signature (0x01, under the origin's name), its Ed25519 ``cosignature/v1`` (0x04) and its
ML-DSA-44 ``subtree/v1`` (0x06), in this order (C2SP tlog-cosignature). The last is for the day a quantum forger
breaks the others (specs/threat-model.md, T7). A cosignature is irrevocable and never a vote; when one may be made is
the agreement's business. Times are seconds since 1970.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glasslog.errors import DecodeError, SignatureError
from glasslog.identity import (
    ED25519_SIGNATURE_BYTES,
    KEY_NAME_BYTES_MAX,
    MLDSA44_SIGNATURE_BYTES,
    TYPE_COSIGNATURE_V1,
    TYPE_ED25519,
    TYPE_SUBTREE_V1,
    Ed25519Key,
    MlDsa44Key,
    VerifierKey,
    decode_base64,
    verify_ed25519,
    verify_mldsa44,
)
from glasslog.limits import VALIDATORS_MAX
from glasslog.merkle import EMPTY_ROOT, HASH_BYTES, SIZE_MAX
from glasslog.note import NOTE_LINES_MAX, Note, NoteLine, check_ed25519

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME_MAX = (1 << 63) - 1
TIME_BYTES = 8
_DECIMAL = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)

_QUORUM_MAX = VALIDATORS_MAX - (VALIDATORS_MAX - 1) // 3
assert 1 + 2 * _QUORUM_MAX <= NOTE_LINES_MAX, "a quorum must fit a note"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's name, its size in leaves, and its root at that size."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note text: origin, size and root, a line each (C2SP tlog-checkpoint)."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Return what a note text says.

        Raises ``DecodeError``: ``CHECKPOINT-01`` lines, ``CHECKPOINT-02`` origin, ``CHECKPOINT-03`` size,
        ``CHECKPOINT-04`` root.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise DecodeError("CHECKPOINT-01", f"{len(lines) - 1} lines where origin, size and root are to stand")
        origin, size, root = lines[0], lines[1], decode_base64(lines[2])
        if not origin or len(origin.encode()) > KEY_NAME_BYTES_MAX:
            raise DecodeError("CHECKPOINT-02", "an origin of no bytes, or of more than 255")
        if not _DECIMAL.fullmatch(size) or int(size) > SIZE_MAX:
            raise DecodeError("CHECKPOINT-03", "a size that is not a plain decimal below 2**63")
        if root is None or len(root) != HASH_BYTES:
            raise DecodeError("CHECKPOINT-04", "a root that is not canonical base64 of 32 bytes")
        if size == "0" and root != EMPTY_ROOT:
            raise DecodeError("CHECKPOINT-04", "an empty log whose root is not SHA-256 of nothing")
        return cls(origin, int(size), root)


# --- what is signed -------------------------------------------------------------------------------


def cosignature_v1_message(time: int, text: str) -> bytes:
    """Return what a 0x04 cosignature covers (C2SP tlog-cosignature, "Ed25519 signed message")."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def subtree_v1_message(cosigner: str, time: int, origin: str, start: int, end: int, root: bytes) -> bytes:
    """Return what a 0x06 cosignature covers (C2SP tlog-cosignature, "ML-DSA-44 signed message").

    A checkpoint is the subtree ``[0, size)``; any other start takes time 0.
    """
    if start and time:
        raise ValueError("a subtree that does not start at 0 is cosigned without a time")
    if len(root) != HASH_BYTES:
        raise ValueError("a root is 32 bytes")
    name, log = cosigner.encode(), origin.encode()
    return b"".join(
        (
            b"subtree/v1\n\x00",
            len(name).to_bytes(1, "big") + name,
            time.to_bytes(TIME_BYTES, "big"),
            len(log).to_bytes(1, "big") + log,
            start.to_bytes(8, "big"),
            end.to_bytes(8, "big"),
            root,
        )
    )


def check_line(key: VerifierKey, text: str, signature: bytes) -> bool:
    """Tell whether a checkpoint's line of type 0x01, 0x04 or 0x06 holds: the ``SignatureCheck`` of checkpoints.

    A 0x06 cosignature of time 0 makes no statement about the largest tree seen, so it does not hold here.
    """
    if key.type == TYPE_ED25519:
        return check_ed25519(key, text, signature)
    time, raw = int.from_bytes(signature[:TIME_BYTES], "big"), signature[TIME_BYTES:]
    if len(signature) <= TIME_BYTES or time > TIME_MAX:
        return False
    if key.type == TYPE_COSIGNATURE_V1:
        return verify_ed25519(key.key, cosignature_v1_message(time, text), raw)
    if key.type == TYPE_SUBTREE_V1 and time:
        try:
            checkpoint = Checkpoint.parse(text)
        except DecodeError:
            return False
        return verify_mldsa44(key.key, _checkpoint_subtree_message(key.name, time, checkpoint), raw)
    return False


def _checkpoint_subtree_message(cosigner: str, time: int, checkpoint: Checkpoint) -> bytes:
    return subtree_v1_message(cosigner, time, checkpoint.origin, 0, checkpoint.size, checkpoint.root)


# --- one validator's three lines ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A validator's three public keys as verifier keys, in the order of its lines."""

    log: VerifierKey
    ed25519: VerifierKey
    mldsa44: VerifierKey

    @classmethod
    def build(cls, origin: str, name: str, *, log: bytes, ed25519: bytes, mldsa44: bytes) -> Cosigner:
        """Return the cosigner ``name`` (``<member>/<network>``) of a log; ``ValueError`` on keys that cannot be."""
        return cls(
            VerifierKey.build(origin, TYPE_ED25519, log),
            VerifierKey.build(name, TYPE_COSIGNATURE_V1, ed25519),
            VerifierKey.build(name, TYPE_SUBTREE_V1, mldsa44),
        )


@dataclass(frozen=True, slots=True)
class CosignerKeys:
    """A validator's three private keys. ``sign`` draws randomness for ML-DSA, so only the shell calls it."""

    name: str
    log: Ed25519Key
    ed25519: Ed25519Key
    mldsa44: MlDsa44Key

    def sign(self, checkpoint: Checkpoint, time: int) -> tuple[bytes, bytes, bytes]:
        """Return the raw 0x01, 0x04 and 0x06 signatures (64, 64 and 2,420 bytes) at ``time``, in seconds, > 0."""
        if not 0 < time <= TIME_MAX:
            raise ValueError(f"cosignature time {time}")
        text = checkpoint.text
        return (
            self.log.sign(text.encode()),
            self.ed25519.sign(cosignature_v1_message(time, text)),
            self.mldsa44.sign(_checkpoint_subtree_message(self.name, time, checkpoint)),
        )


def verify_cosignature(
    cosigner: Cosigner, checkpoint: Checkpoint, *, time: int, log: bytes, ed25519: bytes, mldsa44: bytes
) -> None:
    """Check a validator's three raw signatures on one checkpoint.

    Raises ``SignatureError``: ``COSIGN-01`` time, ``COSIGN-02`` the 0x01, ``COSIGN-03`` the 0x04,
    ``COSIGN-04`` the 0x06 signature.
    """
    who, text = cosigner.ed25519.name, checkpoint.text
    if not 0 < time <= TIME_MAX:
        raise SignatureError("COSIGN-01", f"{who} cosigned at time {time}")
    if not verify_ed25519(cosigner.log.key, text.encode(), log):
        raise SignatureError("COSIGN-02", f"the log signature of {who} at size {checkpoint.size} does not verify")
    if not verify_ed25519(cosigner.ed25519.key, cosignature_v1_message(time, text), ed25519):
        raise SignatureError("COSIGN-03", f"the Ed25519 cosignature of {who} at size {checkpoint.size} does not verify")
    message = _checkpoint_subtree_message(cosigner.mldsa44.name, time, checkpoint)
    if not verify_mldsa44(cosigner.mldsa44.key, message, mldsa44):
        raise SignatureError(
            "COSIGN-04", f"the ML-DSA-44 cosignature of {who} at size {checkpoint.size} does not verify"
        )


def cosignature_lines(
    cosigner: Cosigner, *, time: int, log: bytes, ed25519: bytes, mldsa44: bytes
) -> tuple[NoteLine, NoteLine, NoteLine]:
    """Return a validator's 0x01, 0x04 and 0x06 note lines from its raw signatures; nothing is verified."""
    if len(log) != ED25519_SIGNATURE_BYTES or len(ed25519) != ED25519_SIGNATURE_BYTES:
        raise ValueError("an Ed25519 signature is 64 bytes")
    if len(mldsa44) != MLDSA44_SIGNATURE_BYTES:
        raise ValueError("an ML-DSA-44 signature is 2,420 bytes")
    stamp = time.to_bytes(TIME_BYTES, "big")
    return (
        NoteLine(cosigner.log.name, cosigner.log.key_id, log),
        NoteLine(cosigner.ed25519.name, cosigner.ed25519.key_id, stamp + ed25519),
        NoteLine(cosigner.mldsa44.name, cosigner.mldsa44.key_id, stamp + mldsa44),
    )


def format_checkpoint(checkpoint: Checkpoint, cosigned: Sequence[Sequence[NoteLine]]) -> bytes:
    """Return the note over ``checkpoint`` with the lines of each validator, given in validator order.

    Stock clients read 100 lines. Above that, log lines after the first go (any one suffices), then the last
    validators' lines; a quorum of the largest network still fits.
    """
    groups = [tuple(lines) for lines in cosigned]
    if sum(map(len, groups)) > NOTE_LINES_MAX:
        rest = [tuple([line for line in lines if line.name != checkpoint.origin]) for lines in groups[1:]]
        groups = [groups[0], *rest]
    lines: list[NoteLine] = []
    for group in groups:
        if len(lines) + len(group) > NOTE_LINES_MAX:
            break
        lines.extend(group)
    if not lines:
        raise ValueError("a checkpoint without a signature is not a note")
    return Note(checkpoint.text, tuple(lines)).format()


def cosignature_time(key: VerifierKey, line: NoteLine) -> int | None:
    """Return the time a line of type 0x04 or 0x06 states, None for a log's."""
    return None if key.type == TYPE_ED25519 else int.from_bytes(line.signature[:TIME_BYTES], "big")
