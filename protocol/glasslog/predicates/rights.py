"""Who allows whom to do what with what: ODRL 2.2 in the few members that are needed. A usage agreement is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import doc
from glasslog.predicates.values import (
    Decimal,
    Flag,
    Jurisdiction,
    Name,
    Organisation,
    Period,
    Resource,
    SpdxExpression,
    Text,
)

Action: TypeAlias = Literal[
    "train",
    "finetune",
    "distil",
    "evaluate",
    "infer",
    "reproduce",
    "distribute",
    "derive",
    "mine",
    "index",
    "commercial-use",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A bound on an action (ODRL Constraint)."""

    left: Name = field(metadata=doc("What is bounded: volume in tokens a month, number of users, compute in FLOP."))
    operator: Literal["eq", "neq", "lt", "lteq", "gt", "gteq"] = field(metadata=doc("How."))
    right: Decimal = field(metadata=doc("By what."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What has to be done for a permission to hold (ODRL Duty)."""

    action: Literal["attribute", "compensate", "inform", "delete", "share-alike", "report-usage", "watermark"] = field(
        metadata=doc("What has to be done.")
    )
    description: Text | None = field(default=None, metadata=doc("How, in words."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One permission or prohibition (ODRL Rule)."""

    action: Action = field(metadata=doc("What is allowed, or is not."))
    constraints: tuple[Constraint, ...] = field(default=(), metadata=doc("Under which bounds; all hold together."))
    duties: tuple[Duty, ...] = field(default=(), metadata=doc("What has to be done for it."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights(Predicate):
    """What is not permitted is not allowed by this; what is prohibited is not, whatever else permits it."""

    NAME: ClassVar[str] = "rights"
    SUBJECTS: ClassVar[str] = (
        "What the rights are in: a data set by records root, a model by content root, or an interface by name."
    )
    SHOWS: ClassVar[str] = "That the author stated these terms no later than the checkpoint."
    DOES_NOT_SHOW: ClassVar[str] = (
        "That the assigner holds the rights or that the assignee agreed: an agreement is shown by a statement of each "
        "of them, of the same agreement."
    )

    kind: Literal["offer", "agreement", "policy"] = field(metadata=doc("ODRL's three kinds; a usage agreement is one."))
    assigner: Organisation = field(metadata=doc("Who grants."))
    assignee: Organisation | None = field(default=None, metadata=doc("To whom; left out where to everybody."))
    target: tuple[Resource, ...] = field(metadata=doc("In what."))
    permissions: tuple[Rule, ...] = field(default=(), metadata=doc("What is allowed."))
    prohibitions: tuple[Rule, ...] = field(default=(), metadata=doc("What is not."))
    duties: tuple[Duty, ...] = field(default=(), metadata=doc("What has to be done in any case."))
    territory: tuple[Jurisdiction, ...] = field(default=(), metadata=doc("Where; left out where everywhere."))
    valid: Period | None = field(default=None, metadata=doc("When."))
    license: SpdxExpression | None = field(
        default=None, metadata=doc("The same as an SPDX expression, where there is one.")
    )
    exclusive: Flag | None = field(default=None, metadata=doc("Whether nobody else gets the same."))
    agreement: Resource | None = field(default=None, metadata=doc("The contract itself, by digest."))
