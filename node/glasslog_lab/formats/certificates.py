"""Certificate chains of signed models, up to roots that the reader gives (M8).

pyca/cryptography builds and validates the path (RFC 5280): signatures, dates, basic constraints, path lengths, name
constraints, algorithms, critical extensions. What a leaf may be used for is the one rule of ours. Revocation is not
looked up, and without a trusted time the chain is judged at the moment the leaf became valid, as model-signing does;
both are said in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from glasslog_lab.formats.keys import Key, check_public
from glasslog_lab.formats.reading import printable, refusal

CHAIN_MAX = 10
_ISSUERS = ("1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.1")  # Fulcio: who vouched for the identity, new form first
_CA_NEXT = "give the roots that you trust, or ask the signer for the missing certificate"


def read_certificate(data: bytes, where: str) -> x509.Certificate:
    """Return a DER certificate whose parts can be read.

    Raises:
        ArtifactError: IMPORT-10.
    """
    try:
        certificate = x509.load_der_x509_certificate(data)
        _ = (certificate.extensions, certificate.issuer, certificate.subject, certificate.not_valid_before_utc)
        certificate.public_key()
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise refusal("IMPORT-10", where, "is no certificate that can be read") from error
    return certificate


def read_roots(data: bytes, where: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM file.

    Raises:
        ArtifactError: IMPORT-10, there is none or one cannot be read.
    """
    try:
        return x509.load_pem_x509_certificates(data)
    except (ValueError, TypeError) as error:
        raise refusal("IMPORT-10", where, "holds no certificate in PEM", "give the roots as PEM") from error


def verify_chain(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], where: str, at: datetime | None = None
) -> Key:
    """Verify that the first certificate leads to a root, and may sign; return its key.

    Args:
        chain: the leaf, then any certificates that may issue it.
        roots: the certificates that are trusted.
        where: what the chain is of, for refusals.
        at: the time at which all have to be valid; the leaf's first moment where none is given.

    Raises:
        ArtifactError: IMPORT-10.
    """
    if not chain or len(chain) > CHAIN_MAX:
        raise refusal("IMPORT-10", where, f"has a chain of {len(chain)} certificates, 1 to {CHAIN_MAX} are allowed")
    leaf = chain[0]
    try:
        builder = PolicyBuilder().store(Store(list(roots))).time(at or leaf.not_valid_before_utc)
        verifier = builder.extension_policies(ca_policy=_authorities(), ee_policy=_leaves()).build_client_verifier()
        verifier.verify(leaf, list(chain[1:]))
    except (VerificationError, ValueError) as error:
        fact = f"no chain from {_name(leaf)} to a given root: {str(error).removeprefix('validation failed: ')[:200]}"
        raise refusal("IMPORT-10", where, fact, _CA_NEXT) from error
    return check_public(leaf.public_key(), where)


def describe_identity(leaf: x509.Certificate) -> str:
    """Return whom a certificate names: its alternative names, or its subject, and who vouched, as claimed."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        said = ", ".join(str(name.value) for name in names)
    except x509.ExtensionNotFound:
        said = _name(leaf)
    for oid in _ISSUERS:
        for extension in leaf.extensions:
            if extension.oid.dotted_string == oid and isinstance(extension.value, x509.UnrecognizedExtension):
                raw = extension.value.value
                text = raw[2:] if raw[:2] == bytes((0x0C, max(len(raw) - 2, 0) & 0xFF)) else raw  # a DER UTF8String
                said = f"{said} (according to {text.decode('utf-8', 'replace')})"
                return printable(said)
    return printable(said)


def _leaves() -> ExtensionPolicy:
    policy = ExtensionPolicy.permit_all()
    policy = policy.may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_no_authority)
    policy = policy.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_usage)
    return policy.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_code_signing)


def _authorities() -> ExtensionPolicy:
    policy = ExtensionPolicy.permit_all()
    policy = policy.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_authority)
    return policy.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_issuing)


def _check_no_authority(_: Policy, __: x509.Certificate, basic: x509.BasicConstraints | None) -> None:
    if basic is not None and basic.ca:
        raise ValueError("the leaf is an authority")


def _check_usage(_: Policy, leaf: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.digital_signature:
        raise ValueError("the leaf may not sign")
    if usage is None and not any(isinstance(one.value, x509.ExtendedKeyUsage) for one in leaf.extensions):
        raise ValueError("the leaf does not say that it may sign")


def _check_code_signing(_: Policy, __: x509.Certificate, extended: x509.ExtendedKeyUsage | None) -> None:
    if extended is not None and ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise ValueError("the leaf may not sign code")


def _check_authority(_: Policy, __: x509.Certificate, basic: x509.BasicConstraints) -> None:
    if not basic.ca:
        raise ValueError("an issuer is no authority")


def _check_issuing(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an issuer may not issue")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a subject"
