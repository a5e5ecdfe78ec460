"""Summary of the content used for training, after the template of July 2025 for Article 53(1)(d) of (EU) 2024/1689."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from glasslog.predicates.base import Predicate
from glasslog.predicates.dataset import SizeBand, SourceCategory
from glasslog.predicates.schema import doc
from glasslog.predicates.values import Date, Domain, Flag, Language, Name, Natural, Organisation, Period, Resource, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One entry of the template's second section: a list of data sources of one category."""

    category: SourceCategory = field(metadata=doc("Which of the template's categories."))
    datasets: tuple[Resource, ...] = field(default=(), metadata=doc("Data sets that are named, by records root."))
    size: tuple[SizeBand, ...] = field(default=(), metadata=doc("How much of which modality."))
    description: Text | None = field(default=None, metadata=doc("In words: content, origin, how it was obtained."))
    crawlers: tuple[Name, ...] = field(default=(), metadata=doc("Crawlers, as they identify themselves."))
    collected: Period | None = field(default=None, metadata=doc("When."))
    domains: tuple[Domain, ...] = field(
        default=(), metadata=doc("The most used domains, as many as the template asks for.")
    )
    domains_listed: Resource | None = field(
        default=None, metadata=doc("The list of domains by digest, where it is too long.")
    )
    services: tuple[Name, ...] = field(default=(), metadata=doc("Of user data: the provider's services it comes from."))
    models: tuple[Resource, ...] = field(default=(), metadata=doc("Of synthetic data: the models that generated it."))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentSummary(Predicate):
    """General information, data sources, and what was done about rights and illegal content."""

    NAME: ClassVar[str] = "content-summary"
    SUBJECTS: ClassVar[str] = "The model or models, by content root."
    SHOWS: ClassVar[str] = (
        "What the provider declared, no later than the checkpoint, and whether it fits its own data-set statements."
    )
    DOES_NOT_SHOW: ClassVar[str] = "That the declaration is complete."

    version: Name = field(metadata=doc("Version of the summary."))
    provider: Organisation = field(metadata=doc("Provider."))
    representative: Organisation | None = field(default=None, metadata=doc("Authorised representative in the Union."))
    models: tuple[Name, ...] = field(metadata=doc("Versioned names of the models it is about."))
    base_models: tuple[Resource, ...] = field(default=(), metadata=doc("General-purpose models they were made from."))
    placed: Date | None = field(default=None, metadata=doc("Day of placing on the Union market."))
    size: tuple[SizeBand, ...] = field(metadata=doc("Training data in all, by modality."))
    latest_data: Date | None = field(default=None, metadata=doc("Latest day of acquisition of training data."))
    continuous: Flag | None = field(default=None, metadata=doc("Whether training goes on with new data."))
    languages: tuple[Language, ...] = field(default=(), metadata=doc("Languages in the training data."))
    characteristics: Text | None = field(default=None, metadata=doc("Other characteristics of the training data."))
    sources: tuple[Source, ...] = field(metadata=doc("Data sources."))
    reservation_measures: Text = field(
        metadata=doc("Measures to respect reservations of rights from text and data mining.")
    )
    illegal_content_measures: Text = field(metadata=doc("Measures to remove illegal content."))
    other: Text | None = field(default=None, metadata=doc("Other information."))
    compute: Natural | None = field(
        default=None, metadata=doc("Cumulative training compute in FLOP, over the whole lineage.")
    )
