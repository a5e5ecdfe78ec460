"""Whether what a ledger's authors stated fits together: custody rules over an audited ledger (specs/claims.md)."""

from glasslog.audit.claims.judging import judge_claims
from glasslog.audit.claims.ledger import Claim, Claims
from glasslog.audit.claims.rule import CUSTODY_RULES, RULE_SET, Outcome, Question, Result, Rule, Severity
from glasslog.audit.claims.verdicts import ClaimsVerdict, Judgement, SignerVerdict

__all__ = [
    "CUSTODY_RULES",
    "RULE_SET",
    "Claim",
    "Claims",
    "ClaimsVerdict",
    "Judgement",
    "Outcome",
    "Question",
    "Result",
    "Rule",
    "Severity",
    "SignerVerdict",
    "judge_claims",
]
