"""Reports that others can read, check and make again: a pure document out of an audit (specs/report.md)."""

from glasslog.audit.reporting.building import Order, build_report
from glasslog.audit.reporting.document import FORMAT, ReportDocument, SigningKey, Software
from glasslog.audit.reporting.statement import make_statement

__all__ = ["FORMAT", "Order", "ReportDocument", "SigningKey", "Software", "build_report", "make_statement"]
