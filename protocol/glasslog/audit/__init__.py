"""Audits: a replica, whatever it is kept in, derived again from its leaves and signatures (specs/auditing.md)."""

from glasslog.audit.comparison import Comparison, Relation, Side
from glasslog.audit.conflict import Culprit, Fork, check_fork, convict
from glasslog.audit.engine import Listener, audit, audit_against
from glasslog.audit.report import Finding, Report, Verdict
from glasslog.audit.rules import RULES, Rule
from glasslog.audit.source import Archive, Run, Source

__all__ = [
    "RULES",
    "Archive",
    "Comparison",
    "Culprit",
    "Finding",
    "Fork",
    "Listener",
    "Relation",
    "Report",
    "Rule",
    "Run",
    "Side",
    "Source",
    "Verdict",
    "audit",
    "audit_against",
    "check_fork",
    "convict",
]
