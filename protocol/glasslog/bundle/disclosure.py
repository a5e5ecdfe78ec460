"""Disclosures: a bundle and openings for one reader, and the statement of it (specs/secrecy.md, X8 and X9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from glasslog import codec
from glasslog.bundle.envelope import ENVELOPE_BYTES_MAX, Envelope
from glasslog.bundle.fields import Opened
from glasslog.bundle.form import BUNDLE_BYTES_MAX, Bundle
from glasslog.bundle.opening import OPENINGS_BYTES_MAX, check_openings, decode_openings, encode_openings
from glasslog.bundle.sealed import Opening, expect_domain
from glasslog.bundle.verifying import Verified, verify_bundle
from glasslog.codec import ArrayReader
from glasslog.errors import DecodeError
from glasslog.policy import Policy
from glasslog.predicates import disclosure as predicate
from glasslog.predicates.base import Subject
from glasslog.predicates.values import Commitment
from glasslog.statement import Statement

DISCLOSURE_DOMAIN = "glasslog/disclosed/v1"
DISCLOSURE_PURPOSE = "disclosure"


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What the reader finds inside: the bundle of a sealed entry, and openings of it."""

    bundle: bytes
    openings: tuple[Opening, ...]

    def encode(self) -> bytes:
        """Return what goes into the envelope."""
        return codec.encode([DISCLOSURE_DOMAIN, self.bundle, encode_openings(self.openings)])

    @classmethod
    def decode(cls, data: bytes) -> Disclosure:
        """Return what an opened envelope holds.

        Raises:
            DecodeError: SEAL-09, it is no disclosure; SEAL-04, its openings do not hold.
        """
        try:
            reader = ArrayReader.parse(data, "disclosure", size_max=ENVELOPE_BYTES_MAX)
            expect_domain(reader, DISCLOSURE_DOMAIN)
            bundle = reader.bytes("bundle", most=BUNDLE_BYTES_MAX)
            openings = reader.bytes("openings", most=OPENINGS_BYTES_MAX)
            reader.end()
        except DecodeError as error:
            raise DecodeError("SEAL-09", f"not a disclosure: {error.fact}") from error
        return cls(bundle, decode_openings(openings))

    def verify(self, policy: Policy) -> tuple[Verified, Opened]:
        """Verify the bundle against the policy, and every opening against the entry it proves.

        Raises:
            ProtocolError: as ``verify_bundle`` and ``check_openings``.
        """
        bare = replace(Bundle.decode(self.bundle), opening=None).encode()
        verified = verify_bundle(bare, policy)
        return verified, check_openings(bare, self.openings)


def disclosure_statement(
    file: bytes, *, author: str, number: int, entry: bytes, opened: Sequence[str], at: str
) -> Statement:
    """Return the statement that a disclosure was made: to whom, of which entry, when. It is meant to be sealed.

    ``entry`` is the disclosed entry's leaf, ``opened`` the fields that were opened (all of them where empty), ``at``
    an RFC 3339 time.

    Raises:
        DecodeError: SEAL-06, ``file`` is no envelope; PRED-nn or STMT-nn.
    """
    envelope = Envelope.decode(file)
    said = predicate.Disclosure(
        to=predicate.DisclosedTo(name=envelope.name, digest={"sha256": envelope.fingerprint}),
        at=at,
        fields=tuple(opened),
        file=Commitment(digest={"sha256": sha256(file).digest()}),
    )
    return said.statement(Subject(f"{author}/{number}", {"sha256": sha256(entry).digest()}))
