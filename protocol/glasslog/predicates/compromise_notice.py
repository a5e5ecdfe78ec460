"""A key is in other hands, or may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Commitment, Count, Resource, Text, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class CompromiseNotice(Predicate):
    """By the key's owner or, where that can no longer be believed, by a member of the network."""

    NAME: ClassVar[str] = "compromise-notice"
    SUBJECTS: ClassVar[str] = "The key's owner by name, by the sha256 of the key."
    SHOWS: ClassVar[str] = (
        "From which entry on what the key signed is not to be relied on. What was final before stays what it was."
    )
    DOES_NOT_SHOW: ClassVar[str] = "That what it signed after that is false, or that what it signed before is true."

    key: Commitment = field(metadata=doc("sha256 of the public key's bytes."))
    use: Literal["blocks", "votes", "cosignatures", "signed-statements", "network", "governance", "disclosure"] = field(
        metadata=doc("What it signs.")
    )
    since: Time = field(metadata=doc("The earliest time at which it may have been in other hands."))
    last_trusted_entry: Count | None = field(
        default=None, metadata=doc("The author's last entry number that its owner stands by.")
    )
    cause: Literal["theft", "leak", "loss", "insider", "algorithm", "unknown"] = field(metadata=doc("How."))
    successor: Commitment | None = field(default=None, metadata=doc("sha256 of the key that takes its place."))
    incident: Resource | None = field(default=None, metadata=doc("The report of the incident, by digest."))
    description: Text | None = field(default=None, metadata=doc("In words."))
