"""The keys of receipts: ES256 on P-256, or EdDSA with Ed25519, as COSE keys named by their thumbprint.

A receipt key is a validator's own key for this one use, never its vote, log or cosignature key (specs/receipts.md,
R4). ES256 is the default because clients of SCITT take it. Signing is deterministic (RFC 6979, RFC 8032).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256, sha512
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicNumbers,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from glasslog import codec
from glasslog.codec import Map, Value
from glasslog.cose import SIGNATURE_BYTES
from glasslog.errors import DecodeError
from glasslog.identity import ED25519_KEY_BYTES, SEED_BYTES, Ed25519Key, verify_ed25519

ES256, EDDSA = -7, -8
KEY_SET_BYTES_MAX = 65_536
_KTY, _KID, _ALG, _CRV, _X, _Y = 1, 2, 3, -1, -2, -3
_OKP, _EC2 = 1, 2
_ED25519, _P256 = 6, 1
_COORDINATE_BYTES = 32
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SCALAR_LABEL = b"glasslog receipt key ES256\n"


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """A public key: for ``ES256`` the two coordinates, 64 bytes; for ``EDDSA`` the 32 bytes of Ed25519."""

    algorithm: int
    public: bytes

    @property
    def _required(self) -> Map:
        if self.algorithm == EDDSA:
            return {_KTY: _OKP, _CRV: _ED25519, _X: self.public}
        x, y = self.public[:_COORDINATE_BYTES], self.public[_COORDINATE_BYTES:]
        return {_KTY: _EC2, _CRV: _P256, _X: x, _Y: y}

    @property
    def kid(self) -> bytes:
        """The COSE key thumbprint with SHA-256, 32 bytes (RFC 9679)."""
        return sha256(codec.encode(self._required)).digest()

    def to_cose(self) -> Map:
        """Return the COSE_Key with its id and algorithm (RFC 9052 section 7)."""
        return {**self._required, _KID: self.kid, _ALG: self.algorithm}

    @classmethod
    def from_cose(cls, value: Value) -> ReceiptKey:
        """Return the key of a COSE_Key; an id or algorithm it carries must be its own.

        Raises ``DecodeError``: ``RECEIPT-07``, not a key of either kind, not on its curve, or named wrongly.
        """
        if not isinstance(value, dict) or not set(value) <= {_KTY, _KID, _ALG, _CRV, _X, _Y}:
            raise DecodeError("RECEIPT-07", "not a COSE key with the members of a receipt key")
        x, y = value.get(_X), value.get(_Y)
        kind = (value.get(_KTY), value.get(_CRV))
        if kind == (_OKP, _ED25519) and isinstance(x, bytes) and len(x) == ED25519_KEY_BYTES and y is None:
            key = cls(EDDSA, x)
        elif kind == (_EC2, _P256) and isinstance(x, bytes) and isinstance(y, bytes) and _is_point(x, y):
            key = cls(ES256, x + y)
        else:
            raise DecodeError("RECEIPT-07", "not a key of P-256 or Ed25519")
        if {**key.to_cose(), **value} != key.to_cose():
            raise DecodeError("RECEIPT-07", "a COSE key whose id or algorithm is not its own")
        return key

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` over ``message`` holds (RFC 9053 section 2); False whatever its size."""
        if self.algorithm == EDDSA:
            return verify_ed25519(self.public, message, signature)
        if len(signature) != SIGNATURE_BYTES:
            return False
        r, s = int.from_bytes(signature[:_COORDINATE_BYTES]), int.from_bytes(signature[_COORDINATE_BYTES:])
        x, y = int.from_bytes(self.public[:_COORDINATE_BYTES]), int.from_bytes(self.public[_COORDINATE_BYTES:])
        try:
            point = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
            point.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


def _is_point(x: bytes, y: bytes) -> bool:
    if len(x) != _COORDINATE_BYTES or len(y) != _COORDINATE_BYTES:
        return False
    try:
        EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1()).public_key()
    except ValueError:
        return False
    return True


def encode_key_set(keys: Sequence[ReceiptKey]) -> bytes:
    """Return the COSE_KeySet of these keys, in their order (RFC 9052 section 7)."""
    return codec.encode([key.to_cose() for key in keys])


def decode_key_set(data: bytes) -> tuple[ReceiptKey, ...]:
    """Return the keys of a COSE_KeySet. Raises ``DecodeError``: ``CBOR-nn``, ``RECEIPT-07``."""
    value = codec.decode(data, size_max=KEY_SET_BYTES_MAX)
    if not isinstance(value, list) or not value:
        raise DecodeError("RECEIPT-07", "a key set is an array of at least one key")
    return tuple(ReceiptKey.from_cose(item) for item in value)


class ReceiptSigner(Protocol):
    """What signs receipts."""

    @property
    def public(self) -> ReceiptKey:
        """The key that verifies what is signed."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return a signature of 64 bytes."""
        ...


class Es256Signer:
    """ES256 from a seed of 32 bytes; the scalar has 256 bits to spare over the order (FIPS 186-5 A.2.1)."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes")
        scalar = int.from_bytes(sha512(_SCALAR_LABEL + seed).digest()) % (_P256_ORDER - 1) + 1
        self._key = derive_private_key(scalar, SECP256R1())
        numbers = self._key.public_key().public_numbers()
        self.public = ReceiptKey(ES256, _coordinate(numbers.x) + _coordinate(numbers.y))

    def sign(self, message: bytes) -> bytes:
        """Return r and s, 32 bytes each (RFC 9053 section 2.1)."""
        r, s = decode_dss_signature(self._key.sign(message, ECDSA(SHA256(), deterministic_signing=True)))
        return _coordinate(r) + _coordinate(s)


class EdDsaSigner:
    """EdDSA with Ed25519 from a seed of 32 bytes (RFC 9053 section 2.2)."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519Key(seed)
        self.public = ReceiptKey(EDDSA, self._key.public)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of 64 bytes."""
        return self._key.sign(message)


def _coordinate(value: int) -> bytes:
    return value.to_bytes(_COORDINATE_BYTES)
