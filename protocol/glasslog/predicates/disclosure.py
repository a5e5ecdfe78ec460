"""What was sealed has been shown to somebody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Commitment, DigestSet, Name, Text, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosedTo:
    """The reader, by the key that alone opens the file."""

    name: Name = field(metadata=doc("What the reader's key calls it: an organisation."))
    digest: DigestSet = field(metadata=doc("sha256: the fingerprint of its key."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure(Predicate):
    """By the entry's author. It is itself submitted sealed (specs/secrecy.md, X9)."""

    NAME: ClassVar[str] = "disclosure"
    SUBJECTS: ClassVar[str] = "The sealed entry, as author/number, by the sha256 of its leaf."
    SHOWS: ClassVar[str] = "That the author had made this file for this reader no later than the checkpoint."
    DOES_NOT_SHOW: ClassVar[str] = "That the reader got it, or that nobody else was shown the same by another way."

    to: DisclosedTo = field(metadata=doc("To whom."))
    at: Time = field(metadata=doc("When, by the author's clock."))
    fields: tuple[Text, ...] = field(default=(), metadata=doc("The fields that were opened; all of them where empty."))
    file: Commitment = field(metadata=doc("sha256 of the file that was handed over."))
