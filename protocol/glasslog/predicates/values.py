"""The kinds of value that several predicates share.

Numbers that may not be whole or may pass 64 bits are decimals as text, so that no reader rounds them (V3). Parties are
organisations, never persons (V4). What a statement refers to is named by digest, as in-toto's ResourceDescriptor does
it (V5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

from glasslog.predicates.schema import BoolKind, DigestSetKind, ObjectKind, TextKind, UintKind, doc


def is_lei(text: str) -> bool:
    """Whether 18 characters and two check digits make a legal entity identifier (ISO 17442, ISO 7064 mod 97-10)."""
    return int("".join(str(int(character, 36)) for character in text)) % 97 == 1


def is_date(text: str) -> bool:
    """Whether ``YYYY-MM-DD`` is a day of the Gregorian calendar."""
    year, month, day = (int(part) for part in text.split("-"))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return 1 <= month <= 12 and 1 <= day <= days[month - 1]


Text: TypeAlias = Annotated[str, TextKind()]
Name: TypeAlias = Annotated[str, TextKind("a name", 255)]
Uri: TypeAlias = Annotated[str, TextKind("a URI (RFC 3986)", 2000, "[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")]
Decimal: TypeAlias = Annotated[
    str, TextKind("a decimal number without exponent", 80, r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,36})?")
]
Natural: TypeAlias = Annotated[str, TextKind("a whole number as text", 41, "0|[1-9][0-9]{0,40}")]
Count: TypeAlias = Annotated[int, UintKind()]
Date: TypeAlias = Annotated[
    str, TextKind("a date (RFC 3339 full-date)", 10, "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", is_date)
]
Time: TypeAlias = Annotated[
    str,
    TextKind(
        "a time in UTC to the second (RFC 3339)",
        20,
        "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z",
        lambda text: is_date(text[:10]),
    ),
]
Jurisdiction: TypeAlias = Annotated[
    str, TextKind("a jurisdiction: two to eight of A-Z, ISO 3166-1 alpha-2 where it has one", 8, "[A-Z]{2,8}")
]
Lei: TypeAlias = Annotated[
    str, TextKind("a legal entity identifier with its check digits (ISO 17442)", 20, "[0-9A-Z]{18}[0-9]{2}", is_lei)
]
Domain: TypeAlias = Annotated[
    str,
    TextKind(
        "a domain name in lower case", 253, r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
    ),
]
SpdxExpression: TypeAlias = Annotated[str, TextKind("an SPDX licence expression", 500, r"[A-Za-z0-9.+:() -]+")]
Purl: TypeAlias = Annotated[str, TextKind("a package URL", 1000, r"pkg:[a-z][a-z0-9.+-]*/[!-~]+")]
Language: TypeAlias = Annotated[str, TextKind("a language tag (BCP 47)", 35, "[a-z]{2,3}(-[A-Za-z0-9]{1,8})*")]
Base64: TypeAlias = Annotated[
    str, TextKind("base64 (RFC 4648 section 4)", 60_000, "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
]
Flag: TypeAlias = Annotated[bool, BoolKind()]
DigestSet: TypeAlias = Annotated[Mapping[str, bytes | str], DigestSetKind()]
Object: TypeAlias = Annotated[dict[str, Any], ObjectKind()]

# The digests of glasslog's own that stand in a DigestSet, beside sha256 and the like.
TENSORS = "glasslogTensorsV1"  # content root of tensors
RECORDS = "glasslogRecordsV1"  # root over a data set's records, by which one is shown to be in or out
ORDER = "glasslogOrderV1"  # root over a data set's records in the order they were given
STEPS = "glasslogStepsV1"  # root over a segment's step records
HEAD = "glasslogHeadV1"  # head of a run's step chain
STATEMENT = "glasslogStatementV1"  # SHA-256 of a statement's canonical CBOR: the statement's id
SEALED = "glasslogSealedV1"  # the commitment of a sealed entry (specs/log.md, L5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """in-toto's ResourceDescriptor: what is meant, by digest, name or address. A digest says most."""

    name: Name | None = field(default=None, metadata=doc("What it is called where it comes from."))
    uri: Uri | None = field(default=None, metadata=doc("Its identity as a URI, such as a package URL."))
    digest: DigestSet | None = field(default=None, metadata=doc("Its digests, each by its algorithm."))
    media_type: Name | None = field(default=None, metadata=doc("Its media type."))
    download_location: Uri | None = field(default=None, metadata=doc("Where it was to be had."))
    annotations: Object | None = field(default=None, metadata=doc("More, for who knows what it means."))

    def __post_init__(self) -> None:
        """Require what identifies it.

        Raises:
            ValueError: neither digest, URI nor name.
        """
        if self.digest is None and self.uri is None and self.name is None:
            raise ValueError("a resource has neither digest, uri nor name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """Digests alone: something is fixed by them, and need not be shown."""

    digest: DigestSet = field(metadata=doc("The digests."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """A legal entity. Persons are never named."""

    name: Name = field(metadata=doc("Legal name."))
    lei: Lei | None = field(default=None, metadata=doc("Legal entity identifier, ISO 17442, with its check digits."))
    jurisdiction: Jurisdiction | None = field(default=None, metadata=doc("Where it is established."))
    domain: Domain | None = field(default=None, metadata=doc("A domain name it controls."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From a date on, and to another where it has an end, both included."""

    start: Date = field(metadata=doc("First day."))
    end: Date | None = field(default=None, metadata=doc("Last day; left out where it goes on."))

    def __post_init__(self) -> None:
        """Require the days in order.

        Raises:
            ValueError: the end before the start.
        """
        if self.end is not None and self.end < self.start:
            raise ValueError(f"the period ends on {self.end}, before it starts on {self.start}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """How much of something."""

    unit: Name = field(metadata=doc("What is counted: requests, tokens, images, hours, bytes."))
    amount: Decimal = field(metadata=doc("How many."))


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file by content."""

    name: Annotated[str, TextKind("a path", 1000)] = field(metadata=doc("POSIX path below what is described."))
    bytes: Count = field(metadata=doc("Size in bytes."))
    digest: DigestSet = field(metadata=doc("sha256, blake3."))
