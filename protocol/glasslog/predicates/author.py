"""Who an author is: the organisation behind a name of the network, its roles, and its keys over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Base64, DigestSet, Name, Organisation, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One public key, and when what it signs is the author's."""

    algorithm: Name = field(metadata=doc("Ed25519, ECDSA-P256, ML-DSA-44, X25519, ML-KEM-768."))
    public_key: Base64 = field(metadata=doc("Raw public key; of ECDSA the SubjectPublicKeyInfo in DER."))
    digest: DigestSet = field(metadata=doc("sha256 of the key's bytes: its fingerprint."))
    use: Literal["blocks", "signed-statements", "models", "disclosure", "governance"] = field(
        metadata=doc("What it signs, or that it receives disclosures.")
    )
    valid_from: Time = field(metadata=doc("From when on."))
    valid_until: Time | None = field(default=None, metadata=doc("Until when, where that is known."))
    compromised_since: Time | None = field(
        default=None, metadata=doc("From when on what it signs is not to be trusted, at the earliest.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Author(Predicate):
    """An author says who it is. The latest such statement of an author counts; earlier ones say what was said then."""

    NAME: ClassVar[str] = "author"
    SUBJECTS: ClassVar[str] = "The author's name in the network, by the sha256 of each of its keys."
    SHOWS: ClassVar[str] = "That the holder of the key that signed the block claims this identity and these keys."
    DOES_NOT_SHOW: ClassVar[str] = (
        "That the organisation exists or knows of it: whoever admitted the author checked that."
    )

    organisation: Organisation = field(metadata=doc("The organisation."))
    roles: tuple[
        Literal["provider", "deployer", "distributor", "data-provider", "evaluator", "auditor", "regulator"], ...
    ] = field(metadata=doc("What it does, in the words of Regulation (EU) 2024/1689 where it has them."))
    keys: tuple[Key, ...] = field(metadata=doc("Every key it has had, not only those valid now."))
