"""DSSE envelopes (secure-systems-lab/dsse 1.0.2): payload, its type, signatures over both (M6).

What is signed is PAE: ``DSSEv1 <length> <type> <length> <payload>`` over the payload's raw bytes, so the payload is
never re-encoded before it is verified. ``keyid`` is a hint that nobody signed; it decides nothing.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.keys import Key, PrivateKey, check_public, sign
from glasslog_lab.formats.reading import Cursor, decode_base64, load_json, refusal

INTOTO_PAYLOAD = "application/vnd.in-toto+json"
ENVELOPE_MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
SIGNATURES_MAX = 64
_SIGNATURE_BYTES_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope as it was read. ``signatures`` are the raw signatures, in order."""

    file: str
    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return pae(self.payload_type, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def read_envelope(cursor: Cursor) -> Envelope:
    """Return the envelope that an object holds.

    Raises:
        ArtifactError: IMPORT-05 not an envelope, IMPORT-06 base64, IMPORT-08 no signature or one twice.
    """
    payload = cursor.need("payload")
    kind = cursor.need("payloadType").text()
    found = list[bytes]()
    for item in cursor.need("signatures").items():
        if len(found) >= SIGNATURES_MAX:
            raise item.refuse(f"is one signature more than {SIGNATURES_MAX}", "IMPORT-08")
        keyid = item.get("keyid")
        if keyid is not None:
            keyid.text()
        signature = decode_base64(item.need("sig").text(), item.where)
        if not 0 < len(signature) <= _SIGNATURE_BYTES_MAX:
            raise item.refuse(f"is a signature of {len(signature)} bytes", "IMPORT-08")
        if signature in found:
            raise item.refuse("is a signature that stands twice", "IMPORT-08")
        found.append(signature)
    if not found:
        raise cursor.refuse("is not signed: no signature in the envelope", "IMPORT-08")
    return Envelope(cursor.file, decode_base64(payload.text(), payload.where), kind, tuple(found))


def require_intoto(envelope: Envelope) -> None:
    """Check that the payload is an in-toto statement by its type, which is signed with it.

    Raises:
        ArtifactError: IMPORT-07.
    """
    if envelope.payload_type != INTOTO_PAYLOAD:
        fact = f"its payload is of type {envelope.payload_type[:80]!r}, not {INTOTO_PAYLOAD}"
        raise refusal("IMPORT-07", envelope.file, fact)


def verify_envelope(envelope: Envelope, keys: Sequence[Key], threshold: int = 1) -> tuple[str, ...]:
    """Return the fingerprints of the keys that signed: at least ``threshold`` distinct ones.

    Raises:
        ArtifactError: IMPORT-08, fewer of the keys than that verify a signature.
    """
    message = envelope.message()
    signers = {
        key.fingerprint for key in keys if any(key.verifies(signature, message) for signature in envelope.signatures)
    }
    if len(signers) < max(threshold, 1):
        fact = f"{len(signers)} of {len(keys)} given keys verify a signature over it, {max(threshold, 1)} needed"
        raise refusal("IMPORT-08", envelope.file, fact, "check that these are the signer's keys; trust nothing in it")
    return tuple(sorted(signers))


def make_envelope(payload: bytes, keys: Sequence[PrivateKey], payload_type: str = INTOTO_PAYLOAD) -> dict[str, object]:
    """Return an envelope's JSON value, signed by each key; ``keyid`` is the key's fingerprint.

    Raises:
        ArtifactError: EXPORT-04, no key.
    """
    if not keys:
        raise ArtifactError("EXPORT-04", "there is no key to sign with", "give --key FILE")
    message = pae(payload_type, payload)
    signatures = [
        {
            "sig": b64encode(sign(key, message)).decode(),
            "keyid": check_public(key.public_key(), "the key").fingerprint,
        }
        for key in keys
    ]
    return {"payload": b64encode(payload).decode(), "payloadType": payload_type, "signatures": signatures}


def read_payload(envelope: Envelope) -> Cursor:
    """Return the payload's JSON value. Raises ArtifactError IMPORT-02, IMPORT-03."""
    where = f"{envelope.file} payload"
    return Cursor(where, "", load_json(envelope.payload, where))


def dump_json(value: object) -> bytes:
    """Return JSON the same bytes every time: members in their order, two spaces, a line end."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
