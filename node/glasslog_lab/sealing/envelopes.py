"""Making keys, envelopes and shares: the parts that need randomness (specs/secrecy.md, X8 and X12)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from nacl.public import PublicKey, SealedBox

from glasslog import codec
from glasslog.bundle.disclosure import DISCLOSURE_PURPOSE, Disclosure
from glasslog.bundle.envelope import MLKEM_SEED_BYTES, X25519_BYTES, Reader, ReaderKey, make_envelope
from glasslog.bundle.escrow import (
    CUSTODIANS_MAX,
    SECRET_BYTES,
    SHARE_PURPOSE,
    Share,
    check_secret,
    check_shares,
    commit_secret,
    digest_share,
)
from glasslog.bundle.opening import check_openings
from glasslog.bundle.sealed import Opening
from glasslog_lab.errors import ArtifactError
from glasslog_lab.sealing.refusals import refusing


class _Sharing(Protocol):
    """What the library has: shares of 16 bytes, any ``k`` of which combine."""

    def split(self, k: int, n: int, secret: bytes) -> list[tuple[int, bytes]]: ...
    def combine(self, shares: list[tuple[int, bytes]]) -> bytes: ...


_HALF = 16  # what the library's field, GF(2^128), holds


def new_reader_key(name: str) -> ReaderKey:
    """Return a new key of a reader: an auditor or a custodian.

    Raises:
        ArtifactError: SEAL-08, the name is none.
    """
    if not codec.is_name(name):
        raise ArtifactError("SEAL-08", f"{name[:80]!r} is no name", "use 1 to 63 of a-z 0-9 . -")
    return ReaderKey(name, secrets.token_bytes(X25519_BYTES), secrets.token_bytes(MLKEM_SEED_BYTES))


def seal_to(reader: Reader, purpose: str, content: bytes) -> bytes:
    """Return an envelope that only the reader can open."""
    return make_envelope(
        reader,
        purpose,
        content,
        encapsulate=MLKEM768PublicKey.from_public_bytes(reader.mlkem).encapsulate(),
        seal=SealedBox(PublicKey(reader.x25519)).encrypt,
        nonce=secrets.token_bytes(24),
    )


def disclose(bundle: bytes, openings: Sequence[Opening], reader: Reader) -> bytes:
    """Return the disclosure of these openings to a reader; they are held against the bundle's entry before.

    Raises:
        ArtifactError: BUNDLE-nn or SEAL-nn.
    """
    with refusing():
        check_openings(bundle, openings)
        return seal_to(reader, DISCLOSURE_PURPOSE, Disclosure(bundle, tuple(openings)).encode())


def open_disclosure(data: bytes, key: ReaderKey) -> Disclosure:
    """Return what was disclosed to this key; ``Disclosure.verify`` judges it.

    Raises:
        ArtifactError: SEAL-04, SEAL-06, SEAL-07 or SEAL-09.
    """
    with refusing():
        return Disclosure.decode(key.open(data, DISCLOSURE_PURPOSE))


def split_secret(secret: bytes, label: str, needed: int, custodians: Sequence[Reader]) -> list[bytes]:
    """Return an envelope for each custodian; any ``needed`` of the shares in them give the secret back.

    Raises:
        ArtifactError: SEAL-26, numbers that make no escrow, or one custodian named twice; SEAL-27, a library lacks.
    """
    count = len(custodians)
    if not 2 <= needed <= count <= CUSTODIANS_MAX:
        raise ArtifactError("SEAL-26", f"{needed} of {count} shares", "take 2 <= k <= n <= 64")
    if len({reader.fingerprint for reader in custodians}) != count:
        raise ArtifactError("SEAL-26", "a custodian is named twice", "name each once")
    if len(secret) != SECRET_BYTES:
        raise ValueError("the secret is not 32 bytes")
    shamir = _shamir()
    halves = [shamir.split(needed, count, secret[:_HALF]), shamir.split(needed, count, secret[_HALF:])]
    shares = [low[1] + high[1] for low, high in zip(*halves, strict=True)]
    digests = tuple(digest_share(label, index, share) for index, share in enumerate(shares, 1))
    commitment = commit_secret(label, secret)
    return [
        seal_to(reader, SHARE_PURPOSE, Share(label, needed, index, share, commitment, digests).encode())
        for index, (reader, share) in enumerate(zip(custodians, shares, strict=True), 1)
    ]


def open_share(data: bytes, key: ReaderKey) -> bytes:
    """Return a custodian's share as a file that others can join.

    Raises:
        ArtifactError: SEAL-06, SEAL-07 or SEAL-10.
    """
    with refusing():
        return Share.decode(key.open(data, SHARE_PURPOSE)).encode()


def join_secret(files: Sequence[bytes]) -> tuple[str, bytes]:
    """Return the label and the secret that these shares give back.

    Raises:
        ArtifactError: SEAL-10 to SEAL-13; SEAL-27.
    """
    with refusing():
        shares = [Share.decode(data) for data in files]
        first = check_shares(shares)
        chosen = shares[: first.needed]
        shamir = _shamir()
        low = shamir.combine([(share.index, share.share[:_HALF]) for share in chosen])
        high = shamir.combine([(share.index, share.share[_HALF:]) for share in chosen])
        return first.label, check_secret(first, low + high)


def _shamir() -> _Sharing:
    try:
        from Crypto.Protocol.SecretSharing import Shamir
    except ImportError as error:
        raise ArtifactError("SEAL-27", "escrow needs pycryptodome", "pip install 'glasslog[lab]'") from error
    return Shamir()
