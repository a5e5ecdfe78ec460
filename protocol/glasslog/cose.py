"""COSE_Sign1, RFC 9052 section 4.2: our block headers, and just enough of other people's signed statements.

A header of ours has one shape only: one protected header, an empty unprotected one, Ed25519. It is therefore not
parsed but rebuilt from its payload and signature and compared. A third party's Signed Statement (RFC 9943) is read
as deep as admission needs: that the leaf is canonical and names an algorithm. Its signature is its readers' business.
"""

from __future__ import annotations

from dataclasses import dataclass

from glasslog import codec
from glasslog.codec import Map, Tagged
from glasslog.errors import DecodeError
from glasslog.limits import LEAF_BYTES_MAX

TAG = 18
SIGNATURE_BYTES = 64
HEADER_TYPE = "application/vnd.glasslog.block+cbor"

_ALG, _TYP = 1, 16  # RFC 9052 section 3.1; RFC 9596
_EDDSA = -8
PROTECTED = codec.encode({_ALG: _EDDSA, _TYP: HEADER_TYPE})
_BEFORE_PAYLOAD = codec.encode_head(6, TAG) + codec.encode_head(4, 4) + codec.encode(PROTECTED) + codec.encode({})
_SIGNED_PREFIX = codec.encode_head(4, 4) + codec.encode("Signature1") + codec.encode(PROTECTED) + codec.encode(b"")
_BEFORE_SIGNATURE = codec.encode_head(2, SIGNATURE_BYTES)


def signature_structure(protected: bytes, payload: bytes, external_aad: bytes = b"") -> bytes:
    """Return the bytes a COSE_Sign1 signature covers (Sig_structure, RFC 9052 section 4.4)."""
    return codec.encode(["Signature1", protected, external_aad, payload])


def to_be_signed(payload: bytes) -> bytes:
    """Return the bytes an author signs for a block header with this payload."""
    return _SIGNED_PREFIX + codec.encode(payload)


def sign1(payload: bytes, signature: bytes) -> bytes:
    """Return the tagged COSE_Sign1 of a block header.

    Raises:
        ValueError: the signature is not SIGNATURE_BYTES long.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError(f"a signature has {SIGNATURE_BYTES} bytes")
    return _BEFORE_PAYLOAD + codec.encode(payload) + _BEFORE_SIGNATURE + signature


def parse_sign1(data: bytes) -> tuple[bytes, bytes]:
    """Return payload and signature of a block header's COSE_Sign1; ``to_be_signed`` gives what was signed.

    Raises:
        DecodeError: COSE-01, the data is not byte for byte what ``sign1`` makes of that payload and signature.
    """
    rest = data[len(_BEFORE_PAYLOAD) : -SIGNATURE_BYTES - len(_BEFORE_SIGNATURE)]
    payload = rest[1 if len(rest) < 25 else 2 if len(rest) < 258 else 3 :]
    signature = data[-SIGNATURE_BYTES:]
    if len(signature) != SIGNATURE_BYTES or sign1(payload, signature) != data:
        raise DecodeError("COSE-01", "not a COSE_Sign1 with the one protected header of a block")
    return payload, signature


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A third party's COSE_Sign1, taken apart. ``payload`` is None where it is detached."""

    protected: bytes
    headers: Map
    payload: bytes | None
    signature: bytes


def parse_signed_statement(data: bytes, *, size_max: int = LEAF_BYTES_MAX) -> SignedStatement:
    """Take apart a tagged COSE_Sign1 as it may enter the log (RFC 9943; specs/log.md).

    Raises:
        DecodeError: CBOR-nn, not canonical; COSE-02 to COSE-05, not a signed statement that the log takes.
    """
    value = codec.decode(data, size_max=size_max, tags=(TAG,))
    if not isinstance(value, Tagged) or not isinstance(value.value, list) or len(value.value) != 4:
        raise DecodeError("COSE-02", "a signed statement is tag 18 on an array of four")
    protected, unprotected, payload, signature = value.value
    if unprotected != {} or not isinstance(unprotected, dict):
        raise DecodeError("COSE-03", "the unprotected header of a signed statement is not an empty map")
    if not isinstance(signature, bytes) or not signature or not isinstance(payload, bytes | None):
        raise DecodeError("COSE-04", "payload or signature of a signed statement is not a byte string")
    if not isinstance(protected, bytes):
        raise DecodeError("COSE-05", "the protected header of a signed statement is not a byte string")
    headers = codec.decode(protected, size_max=size_max)
    if not isinstance(headers, dict) or type(headers.get(_ALG)) not in (int, str):
        raise DecodeError("COSE-05", "the protected header of a signed statement names no algorithm")
    return SignedStatement(protected, headers, payload, signature)
