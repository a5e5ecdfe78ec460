"""Words that pages and print share, for readers who never saw a log: headings, verdicts, what results mean."""

from __future__ import annotations

from collections.abc import Sequence

from glasslog.audit.reporting.document import CustodyRule

WORDS = {
    "ledger": "The record",
    "signer": "The signers",
    "claims": "The statements",
    "world": "The world",
    "ask_ledger": "Is this copy of the log what its authors signed and the institutes finalized?",
    "ask_signer": "Are the keys those of who they should be?",
    "ask_claims": "Do the statements fit one another?",
    "ask_world": "Is what is stated true?",
    "about": (
        "glasslog is a public log in which laboratories state, under their signatures, how AI models came about. "
        "Institutes in several countries fix the order of these statements together. Nobody can alter, remove or "
        "back-date an entry afterwards without it being seen. What is written there is the laboratories' own word."
    ),
    "never_merged": "Four questions are answered apart, and no answer makes up for another.",
    "good": "intact known consistent",
}
_RESULTS = {"fail": "fails", "unable": "cannot be said", "pass": "holds", "not-applicable": "nothing to judge"}
_ORDER = {"fail": 0, "unable": 1, "pass": 2, "not-applicable": 3}
_WEIGHT = {"critical": 0, "major": 1, "minor": 2, "note": 3}


def describe_result(result: str) -> str:
    """Return a rule's result in words."""
    return _RESULTS[result]


def order_rules(rules: Sequence[CustodyRule]) -> list[CustodyRule]:
    """Return what failed first, then what cannot be said, and the weightier before the lighter."""
    return sorted(rules, key=lambda rule: (_ORDER[rule.result], _WEIGHT[rule.severity], rule.rule))
