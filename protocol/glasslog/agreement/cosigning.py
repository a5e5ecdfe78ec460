"""The agreement's cosignatures as lines of a C2SP note, and back (specs/log.md, L9 and L10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from glasslog.agreement.messages import Cosignature
from glasslog.checkpoint import (
    TIME_BYTES,
    Checkpoint,
    Cosigner,
    cosignature_lines,
    format_checkpoint,
    verify_cosignature,
)
from glasslog.entry import Member
from glasslog.errors import ProofError, SignatureError
from glasslog.note import Note


def cosigner_of(member: Member, origin: str, network: str) -> Cosigner:
    """Return a validator's verifier keys: its log key under the origin's name, the others under its own."""
    assert member.log_key is not None
    assert member.cosign_ed25519 is not None
    assert member.cosign_mldsa44 is not None
    return Cosigner.build(
        origin,
        f"{member.name}/{network}",
        log=member.log_key,
        ed25519=member.cosign_ed25519,
        mldsa44=member.cosign_mldsa44,
    )


@dataclass(frozen=True)
class Cosigners:
    """The validators' verifier keys for one log, by index."""

    origin: str
    network: str
    validators: tuple[Member, ...]

    @cached_property
    def keys(self) -> tuple[Cosigner, ...]:
        """Each validator's three verifier keys, by index."""
        return tuple(cosigner_of(member, self.origin, self.network) for member in self.validators)

    def verify(self, cosignature: Cosignature) -> bool:
        """Tell whether all three signatures are this validator's on this checkpoint."""
        checkpoint = Checkpoint(self.origin, cosignature.size, cosignature.root)
        try:
            verify_cosignature(
                self.keys[cosignature.voter],
                checkpoint,
                time=cosignature.time,
                log=cosignature.log,
                ed25519=cosignature.ed25519,
                mldsa44=cosignature.mldsa44,
            )
        except SignatureError:
            return False
        return True

    def make_note(self, size: int, root: bytes, cosignatures: Sequence[Cosignature]) -> bytes:
        """Return the signed note with these validators' lines, in the order given."""
        lines = [
            cosignature_lines(
                self.keys[cosignature.voter],
                time=cosignature.time,
                log=cosignature.log,
                ed25519=cosignature.ed25519,
                mldsa44=cosignature.mldsa44,
            )
            for cosignature in cosignatures
        ]
        return format_checkpoint(Checkpoint(self.origin, size, root), lines)

    def read_note(self, data: bytes) -> list[Cosignature]:
        """Return the cosignatures of a published note whose three lines are all there; none is verified.

        Raises:
            DecodeError: not a checkpoint note.
            ProofError: a checkpoint of another log.
        """
        note = Note.parse(data)
        checkpoint = Checkpoint.parse(note.text)
        if checkpoint.origin != self.origin:
            raise ProofError("CHECKPOINT-05", f"a checkpoint of {checkpoint.origin!r}, not of {self.origin!r}")
        by_key = {(line.name, line.key_id): line.signature for line in note.lines}
        found: list[Cosignature] = []
        for voter, keys in enumerate(self.keys):
            log, ed25519, mldsa44 = (
                by_key.get((key.name, key.key_id)) for key in (keys.log, keys.ed25519, keys.mldsa44)
            )
            if log is None or ed25519 is None or mldsa44 is None or ed25519[:TIME_BYTES] != mldsa44[:TIME_BYTES]:
                continue
            time = int.from_bytes(ed25519[:TIME_BYTES], "big")
            found.append(
                Cosignature(
                    checkpoint.size, checkpoint.root, time, log, ed25519[TIME_BYTES:], mldsa44[TIME_BYTES:], voter
                )
            )
        return found
