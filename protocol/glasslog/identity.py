"""Keys: Ed25519 by one rule, ML-DSA-44, and C2SP verifier keys (vkeys) with their key ids.

**One Ed25519 rule.** Verifiers differ on crafted signatures, and two validators that differ fork. Every node uses
libsodium's: S < L; A canonical and not of small order; R not of small order; and R must equal, byte for
byte, the encoding of [S]B - [k]A (no cofactor, no batching). Pinned by ``tests/protocol/test_identity.py``.
Verification answers with a bool, whatever the sizes. ML-DSA-44 (FIPS 204, RFC 9964) takes the empty context.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from glasslog.errors import DecodeError

ED25519_KEY_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
MLDSA44_KEY_BYTES = 1312
MLDSA44_SIGNATURE_BYTES = 2420
SEED_BYTES = 32

TYPE_ED25519 = 0x01  # a log's signature over a note
TYPE_COSIGNATURE_V1 = 0x04  # a timestamped Ed25519 cosignature
TYPE_SUBTREE_V1 = 0x06  # a timestamped ML-DSA-44 cosignature
KEY_BYTES = {
    TYPE_ED25519: ED25519_KEY_BYTES,
    TYPE_COSIGNATURE_V1: ED25519_KEY_BYTES,
    TYPE_SUBTREE_V1: MLDSA44_KEY_BYTES,
}
KEY_NAME_BYTES_MAX = 255  # C2SP tlog-cosignature puts it behind one length byte

Verify: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""``(public, message, signature)`` to whether the signature holds."""


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether ``signature`` holds by libsodium's rule; False also for sizes that cannot be right."""
    if len(public) != ED25519_KEY_BYTES or len(signature) != ED25519_SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True


def verify_mldsa44(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether an ML-DSA-44 signature over ``message`` with the empty context holds (FIPS 204)."""
    if len(public) != MLDSA44_KEY_BYTES or len(signature) != MLDSA44_SIGNATURE_BYTES:
        return False
    try:
        _mldsa44_public(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=256)
def _mldsa44_public(public: bytes) -> MLDSA44PublicKey:
    # Expanding the matrix from its seed is most of a verification.
    return MLDSA44PublicKey.from_public_bytes(public)


class Ed25519Key:
    """A private Ed25519 key from its 32-byte seed. Signing is deterministic (RFC 8032)."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError("an Ed25519 seed is 32 bytes")
        self.public: bytes
        self.public, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return crypto_sign(message, self._secret)[:ED25519_SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"Ed25519Key(public={self.public.hex()})"


class MlDsa44Key:
    """A private ML-DSA-44 key from its 32-byte seed (FIPS 204 ML-DSA.KeyGen_internal).

    ``sign`` is hedged: the library draws randomness, so only the shell calls it (an effect, never a step).
    """

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError("an ML-DSA-44 seed is 32 bytes")
        self._private = MLDSA44PrivateKey.from_seed_bytes(seed)
        self.public: bytes = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 2,420-byte signature over ``message`` with the empty context."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"MlDsa44Key(public={self.public[:8].hex()}...)"


# --- C2SP verifier keys ---------------------------------------------------------------------------


def is_key_name(name: str) -> bool:
    """Tell whether ``name`` can name a key: no space, control character or ``+``, 1..255 UTF-8 bytes."""
    if not name or any(char.isspace() or char < " " or char in "+\x7f" for char in name):
        return False
    try:
        return len(name.encode()) <= KEY_NAME_BYTES_MAX
    except UnicodeEncodeError:
        return False


def compute_key_id(name: str, type_byte: int, key: bytes) -> bytes:
    """Return the first 4 bytes of SHA-256(name || 0x0A || type || key) (C2SP signed-note, "Signatures")."""
    return sha256(name.encode() + b"\n" + bytes((type_byte,)) + key).digest()[:4]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A C2SP verifier key: whose (``name``), which (``key_id``, 4 bytes), what kind (``type``) and the raw key."""

    name: str
    key_id: bytes
    type: int
    key: bytes

    @classmethod
    def build(cls, name: str, type_byte: int, key: bytes) -> VerifierKey:
        """Return the verifier key of types 0x01, 0x04 and 0x06; ``ValueError`` on a name or size that cannot be."""
        if not is_key_name(name):
            raise ValueError(f"{name!r} cannot name a key")
        if KEY_BYTES.get(type_byte) != len(key):
            raise ValueError(f"a key of type {type_byte:#04x} cannot have {len(key)} bytes")
        return cls(name, compute_key_id(name, type_byte, key), type_byte, key)

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Return the key of ``name+hex8+base64(type || key)``.

        Raises ``DecodeError``: ``KEY-01`` form, ``KEY-02`` key id, ``KEY-03`` type or size.
        """
        name, _, rest = text.partition("+")
        key_id, plus, encoded = rest.partition("+")
        if not (plus and is_key_name(name) and re.fullmatch("[0-9a-f]{8}", key_id)):
            raise DecodeError("KEY-01", "a verifier key is not name+id+base64")
        blob = decode_base64(encoded)
        if not blob:
            raise DecodeError("KEY-01", f"the verifier key of {name} is not canonical base64")
        if compute_key_id(name, blob[0], blob[1:]).hex() != key_id:
            raise DecodeError("KEY-02", f"the verifier key of {name} does not hash to its key id {key_id}")
        if KEY_BYTES.get(blob[0]) != len(blob) - 1:
            raise DecodeError("KEY-03", f"the verifier key of {name} has type {blob[0]:#04x} and {len(blob) - 1} bytes")
        return cls(name, bytes.fromhex(key_id), blob[0], blob[1:])

    def format(self) -> str:
        """Return the vkey text, the one form ``parse`` accepts."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(bytes((self.type,)) + self.key).decode()}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the raw key, in hex: what people compare."""
        return sha256(self.key).hexdigest()


def decode_base64(text: str) -> bytes | None:
    """Return the bytes of standard padded base64 in its only spelling (RFC 4648 4, slack bits zero), else None."""
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return None
    return data if b64encode(data).decode() == text else None
