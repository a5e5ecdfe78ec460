"""One model: what it comes from, which rules hold where it is concerned, and what is missing (Q5, Q10)."""

from __future__ import annotations

from dataclasses import dataclass

from glasslog.audit.claims.judging import judge_claims
from glasslog.audit.claims.ledger import Claims, day_of, list_mentions
from glasslog.audit.claims.lineage import Lineage, list_segments, trace
from glasslog.audit.claims.profiles import Answer, Requirement, Requirements
from glasslog.audit.claims.verdicts import ClaimsVerdict, Judgement
from glasslog.audit.report import Report, Verdict
from glasslog.predicates.replay import Replay
from glasslog.predicates.rights import Rights
from glasslog.predicates.values import STATEMENT


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the log says of one model as of ``size``, the end of the height with time ``now`` (milliseconds)."""

    root: bytes
    size: int
    now: int
    lineage: Lineage
    judgement: Judgement
    answers: tuple[tuple[Requirement, Answer], ...]

    @property
    def known(self) -> bool:
        """Whether anything in the log is about these tensors."""
        return bool(self.lineage.indices)

    @property
    def status(self) -> int:
        """Exit status: 1 something contradicts, 3 something is missing or cannot be said, 0 neither."""
        judgement = self.judgement
        if judgement.ledger is Verdict.BROKEN or judgement.consistency is ClaimsVerdict.INCONSISTENT:
            return 1
        whole = self.known and not self.lineage.missing and all(one.stated is not False for _, one in self.answers)
        sound = judgement.ledger is Verdict.INTACT and judgement.consistency is ClaimsVerdict.CONSISTENT
        return 0 if whole and sound else 3

    def to_value(self) -> dict[str, object]:
        """Return the JSON object of a report."""
        return {
            "content_root": self.root.hex(),
            "size": self.size,
            "as_of": day_of(self.now),
            "known": self.known,
            "status": self.status,
            "lineage": self.lineage.to_value(),
            "requirements": [
                {
                    "requirement": requirement.name,
                    "asks": requirement.asks,
                    "cites": requirement.cites,
                    "stated": answer.stated,
                    "indices": list(answer.indices),
                    "note": answer.note or None,
                }
                for requirement, answer in self.answers
            ],
            **self.judgement.to_value(),
        }


def assess(claims: Claims, report: Report, root: bytes, profile: Requirements = ()) -> Assessment:
    """Follow a model upwards, run every rule where it or its lineage is concerned, and ask a profile's questions."""
    lineage = trace(claims, root)
    judgement = judge_claims(claims, report, within=_concerned(claims, lineage))
    answers = tuple((requirement, requirement.judge(claims, lineage)) for requirement in profile)
    return Assessment(root, claims.size, claims.now, lineage, judgement, answers)


def _concerned(claims: Claims, lineage: Lineage) -> frozenset[int]:
    """Return the indices of what is about the lineage, of its terms and replays, and of what those go with by id.

    Who else trains on the same data, or goes on from the same model, does not concern it.
    """
    found = set(lineage.indices)
    for digest, node in lineage.nodes.items():
        algorithm = node.kind.algorithm
        near = claims.about(algorithm, digest)
        near += [one for one in claims.naming(algorithm, digest) if isinstance(one.said, Rights | Replay)]
        for claim in near:
            found.add(claim.index)
            found.update(one.index for one in claims.naming(STATEMENT, claim.id))
            named = [claims.by_id(one.digest) for one in list_mentions(claim.said) if one.algorithm == STATEMENT]
            found.update(one.index for one in named if one is not None)
    for run in lineage.runs.values():
        found.update(segment.index for segment in list_segments(claims, run))
    return frozenset(found)
