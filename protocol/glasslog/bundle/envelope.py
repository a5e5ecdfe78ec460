"""Envelopes: bytes for one named reader's eyes (specs/secrecy.md, X8).

Two layers, each enough alone: inside a libsodium sealed box to the reader's X25519 key, around it a secret box whose
key comes from ML-KEM-768 (FIPS 203). Whoever records envelopes today has to break both. What is random in making one
is the caller's.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox
from nacl.secret import SecretBox

from glasslog import codec
from glasslog.bundle.sealed import expect_domain
from glasslog.codec import ArrayReader
from glasslog.errors import DecodeError, ProofError

ENVELOPE_DOMAIN = "glasslog/envelope/v1"
ENVELOPE_BYTES_MAX = 16 << 20
X25519_BYTES, MLKEM_PUBLIC_BYTES, MLKEM_SEED_BYTES, MLKEM_CIPHERTEXT_BYTES = 32, 1184, 64, 1088
_PUBLIC, _PRIVATE = "glasslog-reader-key-v1", "PRIVATE+glasslog-reader-key-v1"


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom an envelope is for: a name, and raw X25519 and ML-KEM-768 public keys."""

    name: str
    x25519: bytes
    mlkem: bytes

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over the name and both keys: what people compare before they trust a key."""
        return sha256(codec.encode([_PUBLIC, self.name, self.x25519, self.mlkem])).digest()

    def format(self) -> str:
        """Return the key as one line: ``glasslog-reader-key-v1 NAME FINGERPRINT BASE64``."""
        keys = base64.b64encode(self.x25519 + self.mlkem).decode()
        return f"{_PUBLIC} {self.name} {self.fingerprint.hex()} {keys}\n"

    @classmethod
    def parse(cls, text: str) -> Reader:
        """Return the reader that a line names.

        Raises:
            DecodeError: SEAL-08, it is no such line, or its fingerprint is another's.
        """
        name, fingerprint, keys = _split_line(text, _PUBLIC, 3)
        raw = _unbase64(keys)
        if len(raw) != X25519_BYTES + MLKEM_PUBLIC_BYTES:
            raise DecodeError("SEAL-08", f"the keys of {name} have {len(raw)} bytes")
        reader = cls(name, raw[:X25519_BYTES], raw[X25519_BYTES:])
        if reader.fingerprint.hex() != fingerprint:
            raise DecodeError("SEAL-08", f"the key of {name} does not have the fingerprint beside it")
        try:
            MLKEM768PublicKey.from_public_bytes(reader.mlkem)
        except (ValueError, InvalidKey):
            raise DecodeError("SEAL-08", f"the ML-KEM-768 key of {name} is none") from None
        return reader


@dataclass(frozen=True)
class ReaderKey:
    """A reader's private key: an X25519 key and the ML-KEM-768 seed."""

    name: str
    x25519: bytes = field(repr=False)
    seed: bytes = field(repr=False)

    @cached_property
    def public(self) -> Reader:
        """What others encrypt to."""
        mlkem = MLKEM768PrivateKey.from_seed_bytes(self.seed).public_key().public_bytes_raw()
        return Reader(self.name, bytes(PrivateKey(self.x25519).public_key), mlkem)

    def format(self) -> str:
        """Return the key as one line, to be kept in a file that only its reader can read."""
        return f"{_PRIVATE} {self.name} {base64.b64encode(self.x25519 + self.seed).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> ReaderKey:
        """Return the key that a line holds.

        Raises:
            DecodeError: SEAL-08, it is no such line.
        """
        name, keys = _split_line(text, _PRIVATE, 2)
        raw = _unbase64(keys)
        if len(raw) != X25519_BYTES + MLKEM_SEED_BYTES:
            raise DecodeError("SEAL-08", f"the private key of {name} has {len(raw)} bytes")
        return cls(name, raw[:X25519_BYTES], raw[X25519_BYTES:])

    def open(self, data: bytes, purpose: str) -> bytes:
        """Return what an envelope of this purpose holds.

        Raises:
            DecodeError: SEAL-06, it is no envelope, or one for another purpose.
            ProofError: SEAL-07, it is for another key, or was changed.
        """
        envelope = Envelope.decode(data)
        if envelope.purpose != purpose:
            raise DecodeError("SEAL-06", f"the envelope holds a {envelope.purpose[:40]}, not a {purpose}")
        if (envelope.name, envelope.fingerprint) != (self.name, self.public.fingerprint):
            fact = f"the envelope is for {envelope.name} ({envelope.fingerprint.hex()[:16]}), not for this key"
            raise ProofError("SEAL-07", fact)
        shared = MLKEM768PrivateKey.from_seed_bytes(self.seed).decapsulate(envelope.encapsulated)
        try:
            inner = SecretBox(envelope.outer_key(shared)).decrypt(envelope.box)
            return SealedBox(PrivateKey(self.x25519)).decrypt(inner)
        except (CryptoError, ValueError):
            raise ProofError("SEAL-07", "the envelope was changed since it was made") from None


@dataclass(frozen=True, slots=True)
class Envelope:
    """``[domain, purpose, reader's name, fingerprint, ML-KEM ciphertext, box]``, canonical."""

    purpose: str
    name: str
    fingerprint: bytes
    encapsulated: bytes
    box: bytes

    def outer_key(self, shared: bytes) -> bytes:
        """Return the outer box's key: everything in the clear goes into it, so that none of it can be changed."""
        clear = codec.encode([ENVELOPE_DOMAIN, self.purpose, self.name, self.fingerprint, self.encapsulated])
        return hmac.digest(shared, clear, "sha256")

    def encode(self) -> bytes:
        """Return the file."""
        return codec.encode([ENVELOPE_DOMAIN, self.purpose, self.name, self.fingerprint, self.encapsulated, self.box])

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """Return what the file holds in the clear.

        Raises:
            DecodeError: SEAL-06, it is no envelope.
        """
        try:
            reader = ArrayReader.parse(data, "envelope", size_max=ENVELOPE_BYTES_MAX)
            expect_domain(reader, ENVELOPE_DOMAIN)
            envelope = cls(
                reader.text("purpose", most=64),
                reader.name("name"),
                reader.bytes("fingerprint", exactly=32),
                reader.bytes("encapsulated key", exactly=MLKEM_CIPHERTEXT_BYTES),
                reader.bytes("box", most=ENVELOPE_BYTES_MAX),
            )
            reader.end()
        except DecodeError as error:
            raise DecodeError("SEAL-06", f"not an envelope: {error.fact}") from error
        return envelope


def make_envelope(
    reader: Reader, purpose: str, content: bytes, *, encapsulate: tuple[bytes, bytes], seal: Callable[[bytes], bytes],
    nonce: bytes,
) -> bytes:  # fmt: skip
    """Return the envelope; ``encapsulate`` is ML-KEM's (shared secret, ciphertext), ``seal`` the sealed box."""
    shared, encapsulated = encapsulate
    envelope = Envelope(purpose, reader.name, reader.fingerprint, encapsulated, b"")
    box = bytes(SecretBox(envelope.outer_key(shared)).encrypt(seal(content), nonce))
    return Envelope(purpose, reader.name, reader.fingerprint, encapsulated, box).encode()


def _split_line(text: str, word: str, count: int) -> list[str]:
    parts = text.strip("\n").split(" ")
    if len(parts) != count + 1 or parts[0] != word or not codec.is_name(parts[1]):
        raise DecodeError("SEAL-08", f"not a {word} line with a name of a-z 0-9 . -")
    return parts[1:]


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError("SEAL-08", "the key is not base64") from None
