"""Public keys that sign DSSE envelopes, what verifies under them, and private keys to sign with (M5).

ECDSA over P-256, P-384 and P-521 with SHA-256, SHA-384 and SHA-512; Ed25519; RSA-PSS and RSA PKCS #1 v1.5 with
SHA-256 of at least 2,048 bits. A key is named by SHA-256 of its SubjectPublicKeyInfo.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.reading import read_document, refusal

KEY_BYTES_MAX = 1 << 16
RSA_BITS_MIN = 2048
RSA_BITS_MAX = 16_384
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_CURVE_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384, "secp521r1": hashes.SHA512,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and what names it."""

    public: PublicKey

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER SubjectPublicKeyInfo, hexadecimal."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return sha256(self.public.public_bytes(serialization.Encoding.DER, form)).hexdigest()

    @property
    def pem_fingerprint(self) -> str:
        """SHA-256 of the PEM text: what model-signing writes into ``publicKey.hint``."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return sha256(self.public.public_bytes(serialization.Encoding.PEM, form)).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature over the message is by this key."""
        try:
            if isinstance(self.public, ed25519.Ed25519PublicKey):
                self.public.verify(signature, message)
            elif isinstance(self.public, ec.EllipticCurvePublicKey):
                self.public.verify(signature, message, ec.ECDSA(curve_hash(self.public)))
            else:
                return _verifies_rsa(self.public, signature, message)
        except InvalidSignature:
            return False
        return True


def curve_hash(public: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    """Return the hash that goes with the key's curve."""
    return _CURVE_HASHES[public.curve.name]()


def check_public(public: object, where: str) -> Key:
    """Return a key of a supported type.

    Raises:
        ArtifactError: IMPORT-09 of another type, curve or size.
    """
    if isinstance(public, ec.EllipticCurvePublicKey):
        if public.curve.name not in _CURVE_HASHES:
            raise refusal("IMPORT-09", where, f"is a key on {public.curve.name}", "use P-256, P-384 or P-521")
        return Key(public)
    if isinstance(public, rsa.RSAPublicKey):
        if not RSA_BITS_MIN <= public.key_size <= RSA_BITS_MAX:
            raise refusal("IMPORT-09", where, f"is an RSA key of {public.key_size} bits", "use 2,048 to 16,384 bits")
        return Key(public)
    if isinstance(public, ed25519.Ed25519PublicKey):
        return Key(public)
    raise refusal("IMPORT-09", where, "is a key of a type that signs no envelope", "use ECDSA, Ed25519 or RSA")


def read_public_key(path: Path) -> Key:
    """Return the public key of a PEM or DER file, or of a certificate in it.

    Raises:
        ArtifactError: IMPORT-01 not readable, IMPORT-09 no key that can be used.
    """
    data = read_document(path, KEY_BYTES_MAX)
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return check_public(x509.load_pem_x509_certificate(data).public_key(), str(path))
        if data.lstrip().startswith(b"-----BEGIN"):
            return check_public(serialization.load_pem_public_key(data), str(path))
        return check_public(serialization.load_der_public_key(data), str(path))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise refusal(
            "IMPORT-09", str(path), "is no public key in PEM or DER", "export it with openssl pkey"
        ) from error


def read_private_key(path: Path) -> PrivateKey:
    """Return the private key of a PEM file.

    Raises:
        ArtifactError: EXPORT-02 not readable, encrypted or no private key; EXPORT-04 of a type that signs no envelope.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(KEY_BYTES_MAX)
        key = serialization.load_pem_private_key(data, None)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ArtifactError("EXPORT-02", f"{path} cannot be read: {reason}", "check the path and its mode") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ArtifactError(
            "EXPORT-02", f"{path} is no private key in PEM that is not encrypted", "write it with openssl pkey"
        ) from error
    if isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        check_public(key.public_key(), str(path))
        return key
    raise ArtifactError("EXPORT-04", f"{path} is a key of a type that signs no envelope", "make one on P-256")


def make_signing_key(path: Path) -> Key:
    """Make a P-256 key, write it as PEM, PKCS #8, mode 0600, and beside it ``<path>.pub``; return the public one.

    Raises:
        ArtifactError: EXPORT-02 the file is there already or cannot be written.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = private.public_key().public_bytes(serialization.Encoding.PEM, form)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as stream:  # noqa: PTH123  a descriptor, not a path
            stream.write(secret)
        path.with_name(path.name + ".pub").write_bytes(public)
    except FileExistsError as error:
        raise ArtifactError(
            "EXPORT-02", f"{path} is there already", "name another file; keys are not replaced"
        ) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ArtifactError(
            "EXPORT-02", f"{path} cannot be written: {reason}", "check the folder and its mode"
        ) from error
    return Key(private.public_key())


def sign(private: PrivateKey, message: bytes) -> bytes:
    """Return a signature that ``Key.verifies`` accepts: ECDSA in DER, Ed25519, or RSA-PSS."""
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(message)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.sign(message, ec.ECDSA(curve_hash(private.public_key())))
    return private.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH), hashes.SHA256())


def _verifies_rsa(public: rsa.RSAPublicKey, signature: bytes, message: bytes) -> bool:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
    for scheme in (pss, padding.PKCS1v15()):
        try:
            public.verify(signature, message, scheme, hashes.SHA256())
        except InvalidSignature:
            continue
        return True
    return False
