"""What a data set is, where it comes from, and under which terms.

Its members cover the 22 of the Data Provenance Standards 1.0.0 (D&TA, now OASIS), Croissant's, and the source
categories of the European template for training content (Regulation (EU) 2024/1689, Article 53(1)(d)).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import (
    Commitment,
    Count,
    Date,
    File,
    Flag,
    Jurisdiction,
    Language,
    Name,
    Organisation,
    Period,
    Quantity,
    Resource,
    SpdxExpression,
    Text,
    Uri,
)

SourceCategory: TypeAlias = Literal[
    "public-dataset", "licensed-private", "other-private", "crawled", "user-data", "synthetic", "other"
]
Modality: TypeAlias = Literal["text", "image", "audio", "video", "tabular", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeBand:
    """How much of one modality, as exactly as its owner wants to say."""

    modality: Modality = field(metadata=doc("What kind of data."))
    band: Name = field(metadata=doc("The template's band, such as `1 billion to 10 trillion tokens`."))
    exact: Quantity | None = field(default=None, metadata=doc("The number, where it is not a secret."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Whether rightsholders reserved text and data mining (Directive (EU) 2019/790, Article 4(3)), and who looked."""

    reserved: Literal["none-found", "honoured", "licensed", "not-checked"] = field(
        metadata=doc("What was found, and what was done about it.")
    )
    protocols: tuple[Name, ...] = field(
        default=(), metadata=doc("Where it was looked for: robots.txt, TDMRep, C2PA, ai.txt.")
    )
    checked: Date | None = field(default=None, metadata=doc("When."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """On what ground data of people or owners is in it."""

    basis: Literal[
        "consent", "contract", "legal-obligation", "legitimate-interest", "public-domain", "not-applicable"
    ] = field(metadata=doc("The ground."))
    documentation: Resource | None = field(default=None, metadata=doc("Where that is written down."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(Predicate):
    """Records are known by a root by which each can be shown to be in it, or not to be."""

    NAME: ClassVar[str] = "dataset"
    SUBJECTS: ClassVar[str] = (
        "First the data set, by its records root (glasslogRecordsV1); then its files by sha256, as many as fit."
    )
    SHOWS: ClassVar[str] = (
        "That the author had fixed exactly these records no later than the checkpoint, so that any one can later be "
        "shown to be among them or not to be; and what was declared about them by then."
    )
    DOES_NOT_SHOW: ClassVar[str] = (
        "That a licence, a consent or a source is what it is said to be, that a record was not put in a slightly other "
        "form, or that nothing else was trained on."
    )

    name: Name = field(metadata=doc("Title."))
    version: Name | None = field(default=None, metadata=doc("Version."))
    identifier: Uri | None = field(default=None, metadata=doc("DOI or other lasting address."))
    issuer: Organisation | None = field(default=None, metadata=doc("Who publishes it."))
    description: Text | None = field(default=None, metadata=doc("One paragraph."))
    metadata: Resource | None = field(default=None, metadata=doc("Its Croissant file or card, by digest."))
    records_root: Commitment | None = field(
        default=None, metadata=doc("glasslogRecordsV1: left out where no records could be told apart.")
    )
    order_root: Commitment | None = field(
        default=None, metadata=doc("glasslogOrderV1: the same records, in their order.")
    )
    blinded: Flag | None = field(
        default=None, metadata=doc("True where the roots are keyed, so that a stranger cannot try out guesses.")
    )
    record_form: Name | None = field(default=None, metadata=doc("What a record is and how it becomes bytes."))
    records: Count | None = field(default=None, metadata=doc("How many records."))
    bytes: Count | None = field(default=None, metadata=doc("Size of the files."))
    files: tuple[File, ...] = field(default=(), metadata=doc("Every file, in the bytewise order of names."))
    manifest: Resource | None = field(default=None, metadata=doc("The list of files by digest, where it is too long."))
    size: tuple[SizeBand, ...] = field(default=(), metadata=doc("How much of which modality."))
    source_category: tuple[SourceCategory, ...] = field(
        metadata=doc("Where it comes from, in the template's categories.")
    )
    sources: tuple[Resource, ...] = field(default=(), metadata=doc("Domains, archives or data sets it was taken from."))
    collected: Period | None = field(default=None, metadata=doc("When it was collected."))
    issued: Date | None = field(default=None, metadata=doc("When this version was made."))
    previously_issued: Date | None = field(default=None, metadata=doc("When the version before was."))
    generation_method: Text | None = field(
        default=None, metadata=doc("How it was made: crawled, mined, generated, measured.")
    )
    generated_by: tuple[Resource, ...] = field(default=(), metadata=doc("Models that generated synthetic records."))
    derived_from: tuple[Resource, ...] = field(default=(), metadata=doc("Data sets it was made from, by records root."))
    languages: tuple[Language, ...] = field(default=(), metadata=doc("Languages in it."))
    origin_geography: tuple[Jurisdiction, ...] = field(default=(), metadata=doc("Where its data comes from."))
    storage_geography: tuple[Jurisdiction, ...] = field(default=(), metadata=doc("Where it may be kept."))
    processing_allowed: tuple[Jurisdiction, ...] = field(default=(), metadata=doc("Where it may be processed."))
    processing_excluded: tuple[Jurisdiction, ...] = field(default=(), metadata=doc("Where it may not be."))
    license: SpdxExpression | None = field(default=None, metadata=doc("Licence, as an SPDX expression."))
    rights: tuple[Resource, ...] = field(
        default=(), metadata=doc("Statements of rights (predicate rights) that cover it.")
    )
    reservation: Reservation | None = field(default=None, metadata=doc("Reservations of rights."))
    consent: Consent | None = field(default=None, metadata=doc("Consent, or another ground."))
    personal_data: Literal["none", "pseudonymised", "present", "unknown"] | None = field(
        default=None, metadata=doc("Whether it holds data about people.")
    )
    privacy_measures: tuple[Name, ...] = field(
        default=(), metadata=doc("Privacy-enhancing techniques that were applied.")
    )
    confidentiality: Name | None = field(default=None, metadata=doc("Classification."))
    proprietary: tuple[Literal["copyright", "patent", "trademark"], ...] = field(
        default=(), metadata=doc("Rights that stand on it.")
    )
    intended_use: Text | None = field(default=None, metadata=doc("What it is meant for, and what not."))
    declared_unverified: tuple[Name, ...] = field(
        default=(), metadata=doc("Members that were imported as declared elsewhere and not checked against bytes.")
    )
