"""Escrow: shares of a secret, any k of n of which give it back (specs/secrecy.md, X12).

The arithmetic is a library's and the shell's; here is what a share is as a file, and when shares belong together.
Every share names all shares by digest and the secret by a commitment: a wrong one is found before anything is joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from glasslog import codec
from glasslog.bundle.sealed import expect_domain
from glasslog.codec import ArrayReader
from glasslog.errors import DecodeError, ProofError

SHARE_DOMAIN = "glasslog/escrow-share/v1"
SHARE_PURPOSE = "escrow-share"
SECRET_BYTES = 32
CUSTODIANS_MAX = 64
_BYTES_MAX = 16_384


@dataclass(frozen=True, slots=True)
class Share:
    """Share ``index``, from 1, of ``len(digests)``, any ``needed`` of which are enough. ``label`` says of what."""

    label: str
    needed: int
    index: int
    share: bytes = field(repr=False)
    commitment: bytes
    digests: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the share as a file: for its custodian's eyes only."""
        return codec.encode(
            [SHARE_DOMAIN, self.label, self.needed, self.index, self.share, self.commitment, list(self.digests)]
        )

    @classmethod
    def decode(cls, data: bytes) -> Share:
        """Return the share in a file.

        Raises:
            DecodeError: SEAL-10, it is no share, or not the one that its digests name.
        """
        try:
            reader = ArrayReader.parse(data, "share", size_max=_BYTES_MAX)
            expect_domain(reader, SHARE_DOMAIN)
            label, needed, index = reader.text("label", most=255), reader.uint("needed"), reader.uint("index")
            share, commitment = reader.bytes("share", exactly=SECRET_BYTES), reader.bytes("commitment", exactly=32)
            listed = reader.array("digests", most=CUSTODIANS_MAX)
            digests = tuple(listed.bytes("digest", exactly=32) for _ in range(listed.left))
            reader.end()
        except DecodeError as error:
            raise DecodeError("SEAL-10", f"not a share: {error.fact}") from error
        if not 2 <= needed <= len(digests) or not 1 <= index <= len(digests):
            raise DecodeError("SEAL-10", f"not a share: {index} of {len(digests)}, {needed} needed")
        if digest_share(label, index, share) != digests[index - 1]:
            raise DecodeError("SEAL-10", f"share {index} is not the one that was made: its bytes were changed")
        return cls(label, needed, index, share, commitment, digests)


def digest_share(label: str, index: int, share: bytes) -> bytes:
    """Return the digest by which the other shares know this one."""
    return sha256(codec.encode([SHARE_DOMAIN, label, index, share])).digest()


def commit_secret(label: str, secret: bytes) -> bytes:
    """Return the digest by which the joined secret is known to be right. It tells nothing of 32 random bytes."""
    return sha256(codec.encode(["glasslog/escrowed/v1", label, secret])).digest()


def check_shares(shares: Sequence[Share]) -> Share:
    """Return any one of shares that belong together and are enough.

    Raises:
        ProofError: SEAL-11, they are of different escrows, or one stands twice; SEAL-12, too few.
    """
    if not shares:
        raise ProofError("SEAL-12", "no shares")
    first = shares[0]
    for share in shares[1:]:
        if (share.label, share.needed, share.commitment, share.digests) != (
            first.label, first.needed, first.commitment, first.digests,
        ):  # fmt: skip
            raise ProofError("SEAL-11", f"share {share.index} is of another escrow than share {first.index}")
    if len({share.index for share in shares}) != len(shares):
        raise ProofError("SEAL-11", "a share stands twice")
    if len(shares) < first.needed:
        raise ProofError("SEAL-12", f"{len(shares)} shares where {first.needed} are needed")
    return first


def check_secret(first: Share, secret: bytes) -> bytes:
    """Return the secret that was joined if it is the one that was split.

    Raises:
        ProofError: SEAL-13.
    """
    if commit_secret(first.label, secret) != first.commitment:
        raise ProofError("SEAL-13", "what the shares give is not the secret that was split")
    return secret
