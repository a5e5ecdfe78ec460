"""OpenSSF Model Signing bundles, v1.0: verified, imported, and made (M7 to M10).

A bundle is a sigstore bundle v0.3 around a DSSE envelope around a statement that lists files. Three methods: a key the
reader has; a certificate that leads to a root the reader gives; sigstore keyless, of which only the signature under the
enclosed certificate is verified here, and the result says so: neither Fulcio's root nor Rekor's log is consulted.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.certificates import CHAIN_MAX, describe_identity, read_certificate, verify_chain
from glasslog_lab.formats.dsse import (
    INTOTO_PAYLOAD,
    Envelope,
    dump_json,
    pae,
    read_envelope,
    read_payload,
    require_intoto,
)
from glasslog_lab.formats.facts import Checked, Evidence, FileFact, Imported, ModelFacts, declared
from glasslog_lab.formats.intoto import keep
from glasslog_lab.formats.keys import Key, PrivateKey, check_public, sign
from glasslog_lab.formats.oms_manifest import Digester, Manifest, Serialization, compare, measure_folder
from glasslog_lab.formats.oms_statement import OMS_TYPE_OLD, read_manifest, write_statement
from glasslog_lab.formats.reading import Cursor, decode_base64, load_json, refusal

BUNDLE_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_OLD_MEDIA_TYPES = {
    "application/vnd.dev.sigstore.bundle+json;version=0.1", "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.3", BUNDLE_MEDIA_TYPE,
}  # fmt: skip
SigningMethod = Literal["key", "certificate", "sigstore"]
_NO_REVOCATION = "whether a certificate was revoked"
_NO_TIME = "when it was signed: the chain was judged at the moment the leaf became valid"
_KEYLESS = (
    "that Fulcio issued the certificate",
    "that Rekor's log holds the signature, and that its time lies within the certificate's few minutes",
    "that the identity in the certificate is the one you expect",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom the reader trusts: keys, roots, and the time to judge certificates at."""

    keys: Sequence[Key] = ()
    roots: Sequence[x509.Certificate] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as it was read, nothing verified yet."""

    evidence: Evidence
    method: SigningMethod
    envelope: Envelope
    manifest: Manifest
    hint: str | None
    certificates: tuple[x509.Certificate, ...]
    is_old: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """What a bundle's signature showed: how far, who signed, and what nobody checked."""

    checked: Checked
    key: Key
    identity: str | None
    unchecked: tuple[str, ...]


def read_bundle(data: bytes, where: str) -> Bundle:
    """Return what a bundle holds.

    Raises:
        ArtifactError: IMPORT-02 to IMPORT-12.
    """
    top = Cursor(where, "", load_json(data, where))
    kind = top.need("mediaType")
    if kind.text() not in _OLD_MEDIA_TYPES:
        raise kind.refuse(f"is not {BUNDLE_MEDIA_TYPE}")
    material = top.need("verificationMaterial")
    envelope = read_envelope(top.need("dsseEnvelope"))
    if len(envelope.signatures) != 1:
        raise top.refuse(f"has {len(envelope.signatures)} signatures, one is allowed", "IMPORT-08")
    require_intoto(envelope)
    payload = read_payload(envelope)
    manifest = read_manifest(payload)
    method, hint, certificates = _read_material(material)
    evidence = Evidence.of(data, BUNDLE_MEDIA_TYPE, where)
    is_old = payload.need("predicateType").value == OMS_TYPE_OLD
    return Bundle(evidence, method, envelope, manifest, hint, certificates, is_old)


def verify_bundle(bundle: Bundle, trust: Trust) -> Verified:
    """Verify the signature of a bundle as far as what is trusted reaches.

    Raises:
        ArtifactError: IMPORT-08 it does not verify, IMPORT-09 no such key, IMPORT-10 no chain to a root.
    """
    where = bundle.envelope.file
    if bundle.method == "key":
        return _verify_key(bundle, trust)
    leaf = bundle.certificates[0]
    if bundle.method == "certificate":
        if not trust.roots:
            raise refusal("IMPORT-10", where, "is signed by certificate and no root is given", "give --root FILE")
        key = verify_chain(bundle.certificates, trust.roots, where, trust.at)
        _require_signature(bundle, key)
        unchecked = (_NO_REVOCATION, *((_NO_TIME,) if trust.at is None else ()))
        return Verified(Checked.SIGNED, key, describe_identity(leaf), unchecked)
    key = check_public(leaf.public_key(), where)
    _require_signature(bundle, key)
    claimed = f"{describe_identity(leaf)}, by its own claim"
    if trust.roots:
        verify_chain(bundle.certificates, trust.roots, where, trust.at)
        return Verified(Checked.SIGNED, key, claimed, (*_KEYLESS[1:], _NO_REVOCATION))
    return Verified(Checked.ENCLOSED, key, claimed, _KEYLESS)


def import_bundle(
    data: bytes,
    where: str,
    *,
    trust: Trust | None = None,
    folder: Path | None = None,
    excluded: Sequence[Path] = (),
    allow_extra: bool = False,
    digester: Digester | None = None,
) -> Imported:
    """Import a bundle: verified where keys or roots are given, compared with files where a folder is given.

    Raises:
        ArtifactError: IMPORT-nn; FILE-nn where the folder cannot be read.
    """
    bundle = read_bundle(data, where)
    verified = verify_bundle(bundle, trust) if trust is not None and (trust.keys or trust.roots) else None
    if verified is None and bundle.method != "key":
        verified = verify_bundle(bundle, Trust()) if bundle.method == "sigstore" else None
    checked = verified.checked if verified is not None else Checked.DECLARED
    unchecked = list(verified.unchecked) if verified is not None else ["the signature: neither key nor root was given"]
    compared = False
    if folder is not None:
        here = measure_folder(
            folder, bundle.manifest.serialization, name=bundle.manifest.name, excluded=excluded, digester=digester
        )
        compare(bundle.manifest, here, allow_extra=allow_extra)
        compared = True
        if checked is Checked.SIGNED:
            checked = Checked.REHASHED
        if allow_extra:
            unchecked.append("files that are in the folder and were not signed")
    else:
        unchecked.append("the files themselves: no folder was given")
    file_checked = Checked.REHASHED if compared else checked
    files = tuple(
        FileFact(name=name, size=size, digests={algorithm: digest.hex() for algorithm, digest in digests.items()})
        for name, (size, digests) in bundle.manifest.files().items()
    )
    places = {"name": "subject[0].name"}
    sources = declared(where, places, Checked.DECLARED if checked is Checked.DECLARED else verified_level(verified))
    sources |= declared(where, {"files": "predicate.resources"}, file_checked)
    model = ModelFacts(name=bundle.manifest.name, files=files, sources=sources)  # the subject's digest names nothing
    signers = (verified.key.fingerprint,) if verified is not None else ()
    identities = (verified.identity,) if verified is not None and verified.identity is not None else ()
    kept, notes = keep(bundle.envelope.payload) if checked in (Checked.SIGNED, Checked.REHASHED) else ((), ())
    return Imported(
        format="oms", checked=checked, evidence=(bundle.evidence,), models=(model,), statements=kept, signers=signers,
        identities=identities, unchecked=tuple(unchecked), notes=notes,
    )  # fmt: skip


def verified_level(verified: Verified | None) -> Checked:
    """Return how far a signature reaches for what is only stated under it."""
    return Checked.DECLARED if verified is None else verified.checked


def sign_folder(
    folder: Path,
    private: PrivateKey,
    *,
    serialization: Serialization | None = None,
    name: str | None = None,
    output: Path | None = None,
    certificates: Sequence[bytes] = (),
    digester: Digester | None = None,
) -> bytes:
    """Return a bundle over a folder or file that ``model_signing verify`` accepts.

    The statement inside is the same bytes every time; an ECDSA signature is not. ``output``, where it lies inside the
    folder, is left out and recorded as ignored. ``certificates`` (DER, leaf first) make it one of the certificate
    method.

    Raises:
        ArtifactError: EXPORT-04 a key that OMS does not have, FILE-nn, IMPORT-11, IMPORT-05 as ``measure_folder``.
    """
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ArtifactError(
            "EXPORT-04",
            "OMS has ECDSA keys on P-256, P-384 and P-521 only",
            "make one: glasslog export oms --new-key FILE",
        )
    options = serialization or Serialization()
    ignored = list(options.ignore_paths)
    if output is not None and folder.is_dir():
        inside, base = Path(output.absolute()), Path(folder.absolute())
        if inside.is_relative_to(base):
            ignored.append(inside.relative_to(base).as_posix())
    options = replace(options, ignore_paths=tuple(sorted(set(ignored))))
    excluded = [output] if output is not None else []
    manifest = measure_folder(folder, options, name=name, excluded=excluded, digester=digester)
    return make_bundle(manifest, private, certificates)


def make_bundle(manifest: Manifest, private: ec.EllipticCurvePrivateKey, certificates: Sequence[bytes] = ()) -> bytes:
    """Return the bundle of a manifest.

    Raises:
        ArtifactError: EXPORT-04, IMPORT-10, a curve OMS does not have or a certificate of another key.
    """
    key = check_public(private.public_key(), "the signing key")
    payload = write_statement(manifest)
    signature = sign(private, pae(INTOTO_PAYLOAD, payload))
    envelope = {
        "payload": b64encode(payload).decode(),
        "payloadType": INTOTO_PAYLOAD,
        "signatures": [{"sig": b64encode(signature).decode(), "keyid": ""}],  # the key is named in the material
    }
    material: dict[str, object] = {"publicKey": {"hint": key.pem_fingerprint}}
    if certificates:
        leaf = read_certificate(certificates[0], "the signing certificate")
        if check_public(leaf.public_key(), "the signing certificate").fingerprint != key.fingerprint:
            raise ArtifactError("EXPORT-04", "the certificate is of another key", "give the certificate of this key")
        chain = [{"rawBytes": b64encode(one).decode()} for one in certificates]
        material = {"x509CertificateChain": {"certificates": chain}}
    return dump_json(
        {
            "mediaType": BUNDLE_MEDIA_TYPE,
            "verificationMaterial": {**material, "tlogEntries": []},
            "dsseEnvelope": envelope,
        }
    )


def _read_material(material: Cursor) -> tuple[SigningMethod, str | None, tuple[x509.Certificate, ...]]:
    kinds = [name for name in ("publicKey", "x509CertificateChain", "certificate") if material.get(name) is not None]
    if len(kinds) != 1:
        raise material.refuse("has not exactly one of publicKey, x509CertificateChain and certificate")
    entries = list(material.list("tlogEntries"))
    if kinds[0] == "publicKey":
        public = material.need("publicKey")
        hint = public.text_of("hint")
        if hint is None and public.get("rawBytes") is not None:
            decode_base64(public.need("rawBytes").text(), public.where)
        return "key", hint, ()
    if kinds[0] == "certificate":
        if not entries:
            raise material.refuse("is keyless and has no entry of a transparency log")
        return "sigstore", None, (_read_one(material.need("certificate")),)
    chain = list(material.need("x509CertificateChain").need("certificates").items())
    if not 0 < len(chain) <= CHAIN_MAX:
        raise material.refuse(f"has a chain of {len(chain)} certificates, 1 to {CHAIN_MAX} are allowed", "IMPORT-10")
    certificates = tuple(_read_one(one) for one in chain)
    return ("sigstore" if entries else "certificate"), None, certificates


def _read_one(cursor: Cursor) -> x509.Certificate:
    return read_certificate(decode_base64(cursor.need("rawBytes").text(), cursor.where), cursor.where)


def _verify_key(bundle: Bundle, trust: Trust) -> Verified:
    where = bundle.envelope.file
    if not trust.keys:
        raise refusal("IMPORT-09", where, "is signed by key and no key is given", "give --key FILE")
    fits = [key for key in trust.keys if bundle.hint in (None, key.pem_fingerprint, key.fingerprint)]
    if not fits:
        raise refusal("IMPORT-09", where, "names another key than those given", "give the signer's public key")
    for key in fits:
        if isinstance(key.public, ec.EllipticCurvePublicKey) and _verifies(bundle, key):
            return Verified(Checked.SIGNED, key, None, ())
    raise refusal("IMPORT-08", where, "its signature does not verify under the given keys", "trust nothing in it")


def _require_signature(bundle: Bundle, key: Key) -> None:
    if not isinstance(key.public, ec.EllipticCurvePublicKey):
        raise refusal(
            "IMPORT-09", bundle.envelope.file, "its certificate is not of an ECDSA key", "trust nothing in it"
        )
    if not _verifies(bundle, key):
        fact = "its signature does not verify under its certificate"
        raise refusal("IMPORT-08", bundle.envelope.file, fact, "trust nothing in it")


def _verifies(bundle: Bundle, key: Key) -> bool:
    signature = bundle.envelope.signatures[0]
    if key.verifies(signature, bundle.envelope.message()):
        return True
    if not bundle.is_old or not isinstance(key.public, ec.EllipticCurvePublicKey):
        return False
    # Release 0.2 signed the text that Python prints of the payload, and by certificate always with SHA-256.
    payload = bundle.envelope.payload
    message = f"DSSEV1 {len(bundle.envelope.payload_type)} {bundle.envelope.payload_type} {len(payload)} {payload!r}"
    for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        try:
            key.public.verify(signature, message.encode(), ec.ECDSA(algorithm))
        except InvalidSignature:
            continue
        return True
    return False
