"""Every predicate of ours by its type, and what a statement of unknown type is: carried, and not judged."""

from __future__ import annotations

from typing import TypeAlias

from glasslog.predicates.api_usage import ApiUsage
from glasslog.predicates.audit_report import AuditReport
from glasslog.predicates.author import Author
from glasslog.predicates.base import Predicate
from glasslog.predicates.compromise_notice import CompromiseNotice
from glasslog.predicates.content_summary import ContentSummary
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.disclosure import Disclosure
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.evaluation_bar import EvaluationBar
from glasslog.predicates.finding import Finding
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.replay import Replay
from glasslog.predicates.rights import Rights
from glasslog.predicates.schema import list_unknown
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.withdrawal import Withdrawal
from glasslog.statement import Statement, check_statement

PredicateType: TypeAlias = type[Predicate]

PREDICATES: tuple[PredicateType, ...] = (
    Author, Model, Dataset, Rights, ApiUsage, TrainingRun, TrainingSegment, EvaluationBar, Evaluation, Release,
    ContentSummary, Replay, Finding, Withdrawal, AuditReport, CompromiseNotice,
    Disclosure,
)  # fmt: skip
BY_TYPE = {predicate.type_uri(): predicate for predicate in PREDICATES}


def read_statement(statement: Statement) -> Predicate | None:
    """Return what a statement says, or None where its predicate is none of ours.

    Raises:
        DecodeError: STMT-nn no statement; PRED-nn its predicate is ours and not as declared.
    """
    check_statement(statement)
    predicate = BY_TYPE.get(str(statement["predicateType"]))
    return None if predicate is None else predicate.read(statement)


def list_misspelt(statement: Statement) -> list[str]:
    """Return the members of a predicate of ours that it does not declare, which readers pass over.

    Raises:
        DecodeError: STMT-nn, it is not a statement.
    """
    check_statement(statement)
    predicate, value = BY_TYPE.get(str(statement["predicateType"])), statement.get("predicate")
    return list_unknown(predicate, value) if predicate is not None and isinstance(value, dict) else []
