"""Four verdicts, never merged: the ledger, the signer, the claims, the world (specs/claims.md, Q2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from glasslog.audit.claims.ledger import Claims
from glasslog.audit.claims.rule import RULE_SET, Outcome, Question, Result
from glasslog.audit.report import Report, Verdict

WORLD = "not assessed"


class SignerVerdict(Enum):
    """Whether the keys are those of who they should be, by the policy's word."""

    KNOWN = "known"
    UNKNOWN = "unknown"


class ClaimsVerdict(Enum):
    """Whether statements fit one another. *unable*: something that would decide it is sealed or missing."""

    CONSISTENT = "consistent"
    INCONSISTENT = "inconsistent"
    UNABLE = "unable"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all custody rules gave over one ledger."""

    report: Report
    claims: Claims
    results: tuple[Result, ...]

    @property
    def ledger(self) -> Verdict:
        """First verdict, by the audit alone: leaves, tree, signatures, chains."""
        return self.report.verdict

    @property
    def signer(self) -> SignerVerdict:
        """Second: known only where a policy confirms the members, and no rule about signers fails."""
        doubtful = self._worst(Question.SIGNER) is Outcome.FAIL
        return SignerVerdict.KNOWN if self.report.policy_confirms and not doubtful else SignerVerdict.UNKNOWN

    @property
    def consistency(self) -> ClaimsVerdict:
        """Third. Of a broken ledger nothing is said: what its authors stated is not known."""
        if self.ledger is Verdict.BROKEN:
            return ClaimsVerdict.UNABLE
        match self._worst(Question.CLAIMS):
            case Outcome.FAIL:
                return ClaimsVerdict.INCONSISTENT
            case Outcome.UNABLE:
                return ClaimsVerdict.UNABLE
            case _:
                return ClaimsVerdict.CONSISTENT

    def _worst(self, question: Question) -> Outcome:
        mine = [one for one in self.results if one.rule.question is question and one.rule.severity.weighs]
        outcomes = {one.outcome for one in mine}
        return next((one for one in (Outcome.FAIL, Outcome.UNABLE) if one in outcomes), Outcome.PASS)

    def to_value(self) -> dict[str, object]:
        """Return the JSON object of a report."""
        return {
            "rule_set": RULE_SET,
            "verdicts": {
                "ledger": self.ledger.value,
                "signer": self.signer.value,
                "claims": self.consistency.value,
                "world": WORLD,
            },
            "statements": len(self.claims),
            "sealed_entries": len(self.claims.sealed),
            "rules": [result.to_value() for result in self.results],
        }


def standing_sentence(report: Report, *, size: int, author: str, said: str, time: str) -> str:
    """Return what an audited ledger shows of one statement, in the words of Q4.

    ``time`` is that of the height the statement stands in, as text; ``size`` no more than what is final.
    """
    names = ", ".join(f"{one.name} ({one.jurisdiction})" for one in report.finalized_by) or "nobody known"
    shown = f"At size {size}, finalized by {names}, author {author} had stated {said} no later than {time}."
    return f"{shown} This does not show that {said} is true."
