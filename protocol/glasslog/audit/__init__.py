"""Audits: a replica, whatever it is kept in, derived again from its leaves and signatures (specs/auditing.md)."""

from glasslog.audit.engine import audit
from glasslog.audit.report import Finding, Report, Verdict
from glasslog.audit.rules import RULES, Rule
from glasslog.audit.source import Archive, Run, Source

__all__ = ["RULES", "Archive", "Finding", "Report", "Rule", "Run", "Source", "Verdict", "audit"]
