"""Whether what a ledger's authors stated fits together: custody rules over an audited ledger (specs/claims.md)."""

from glasslog.audit.claims.assessing import Assessment, assess
from glasslog.audit.claims.judging import judge_claims
from glasslog.audit.claims.ledger import Claim, Claims
from glasslog.audit.claims.lineage import Lineage, trace
from glasslog.audit.claims.profiles import PROFILES, Requirement
from glasslog.audit.claims.rule import CUSTODY_RULES, RULE_SET, Outcome, Question, Result, Rule, Severity
from glasslog.audit.claims.search import Hit, Search
from glasslog.audit.claims.verdicts import ClaimsVerdict, Judgement, SignerVerdict, standing_sentence

__all__ = [
    "CUSTODY_RULES",
    "PROFILES",
    "RULE_SET",
    "Assessment",
    "Claim",
    "Claims",
    "ClaimsVerdict",
    "Hit",
    "Judgement",
    "Lineage",
    "Outcome",
    "Question",
    "Requirement",
    "Result",
    "Rule",
    "Search",
    "Severity",
    "SignerVerdict",
    "assess",
    "judge_claims",
    "standing_sentence",
    "trace",
]
