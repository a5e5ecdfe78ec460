"""A model is placed somewhere for others to use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Date, Jurisdiction, Name, Organisation, Purl, Resource, SpdxExpression


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Predicate):
    """From which day, where, under which licence, and on the strength of which evaluations."""

    NAME: ClassVar[str] = "release"
    SUBJECTS: ClassVar[str] = "The model, by content root, and its files by sha256, as many as fit."
    SHOWS: ClassVar[str] = "That the author releases these exact weights, and what it says they come from."
    DOES_NOT_SHOW: ClassVar[str] = "That the same weights are what is served behind an interface of that name."

    purl: Purl = field(metadata=doc("Package URL, such as pkg:huggingface/org/name@commit."))
    version: Name = field(metadata=doc("Version."))
    provider: Organisation | None = field(
        default=None, metadata=doc("Provider in the sense of Regulation (EU) 2024/1689.")
    )
    model: Resource = field(metadata=doc("The model's statement, by its id."))
    runs: tuple[Resource, ...] = field(default=(), metadata=doc("The runs it comes from, by their heads."))
    evaluations: tuple[Resource, ...] = field(
        default=(), metadata=doc("Evaluations it stands on, by their statements' ids.")
    )
    content_summary: Resource | None = field(
        default=None, metadata=doc("The summary of training content, by its statement's id.")
    )
    license: SpdxExpression = field(metadata=doc("Licence."))
    placed: Date = field(metadata=doc("Day of placing on the market."))
    territories: tuple[Jurisdiction, ...] = field(default=(), metadata=doc("Where; left out where everywhere."))
    access: Literal["weights", "interface", "product"] = field(metadata=doc("What others get."))
