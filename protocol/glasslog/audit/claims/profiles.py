"""What a body of law asks to be documented of a model, and which statements answer it (Q10).

A requirement that is *stated* is one that somebody answered for in the log. Whether the answer is enough, or true, is
for whoever the law appoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from glasslog.audit.claims.ledger import Claim, Claims
from glasslog.audit.claims.lineage import Lineage, list_segments
from glasslog.predicates.content_summary import ContentSummary
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.values import TENSORS

SYSTEMIC_RISK = 10**25  # FLOP: Regulation (EU) 2024/1689 Article 51(2)


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether it is stated, by the leaves at ``indices``; None where the law does not ask it of this model."""

    stated: bool | None
    indices: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that the law asks for."""

    name: str
    asks: str
    cites: str
    judge: Callable[[Claims, Lineage], Answer]


Requirements: TypeAlias = Sequence[Requirement]


def _releases(claims: Claims, lineage: Lineage) -> list[Claim[Release]]:
    return claims.of(Release, TENSORS, lineage.root)


def _summaries(claims: Claims, lineage: Lineage) -> list[Claim[ContentSummary]]:
    return claims.of(ContentSummary, TENSORS, lineage.root)


def _model(claims: Claims, lineage: Lineage) -> Answer:
    found = claims.of(Model, TENSORS, lineage.root)
    whole = [one for one in found if one.said.architecture and one.said.license]
    note = "" if whole or not found else "architecture or licence is left out"
    return Answer(bool(whole), tuple(one.index for one in found), note)


def _release(claims: Claims, lineage: Lineage) -> Answer:
    found = _releases(claims, lineage)
    return Answer(bool(found), tuple(one.index for one in found))


def _training(claims: Claims, lineage: Lineage) -> Answer:
    open_runs = [
        run.said.name
        for run in lineage.runs.values()
        if not (segments := list_segments(claims, run)) or segments[-1].said.closed not in ("finished", "aborted")
    ]
    note = f"not closed: {', '.join(sorted(open_runs))}" if open_runs else ""
    return Answer(bool(lineage.runs) and not open_runs, tuple(sorted(run.index for run in lineage.runs.values())), note)


def _data(_: Claims, lineage: Lineage) -> Answer:
    stated = sorted(one.index for found in lineage.datasets.values() for one in found)
    gaps = [root.hex()[:16] for root, found in lineage.datasets.items() if not found]
    note = f"without statement: {', '.join(gaps)}" if gaps else ""
    return Answer(bool(lineage.datasets) and not gaps, tuple(stated), note)


def _compute(claims: Claims, lineage: Lineage) -> Answer:
    found = [one for one in _summaries(claims, lineage) if one.said.compute is not None]
    return Answer(bool(found), tuple(one.index for one in found))


def _energy(_claims: Claims, _lineage: Lineage) -> Answer:
    return Answer(False, (), "no statement of glasslog's has a member for it")


def _summary(claims: Claims, lineage: Lineage) -> Answer:
    found = _summaries(claims, lineage)
    return Answer(bool(found), tuple(one.index for one in found))


def _copyright(claims: Claims, lineage: Lineage) -> Answer:
    found = _summaries(claims, lineage)
    silent = [
        one.said.name
        for stated in lineage.datasets.values()
        for one in stated
        if "crawled" in one.said.source_category
        and (one.said.reservation is None or one.said.reservation.reserved == "not-checked")
    ]
    note = f"reservations not looked for: {', '.join(sorted(set(silent)))}" if silent else ""
    return Answer(bool(found) and not silent, tuple(one.index for one in found), note)


def _downstream(claims: Claims, lineage: Lineage) -> Answer:
    found = [one for one in claims.of(Model, TENSORS, lineage.root) if one.said.description and one.said.license]
    return Answer(bool(found), tuple(one.index for one in found), "" if found else "a description and a licence")


def _risk(claims: Claims, lineage: Lineage) -> Answer:
    declared = max((int(one.said.compute or 0) for one in _summaries(claims, lineage)), default=0)
    if declared < SYSTEMIC_RISK:
        return Answer(None, (), "no training compute of 10^25 FLOP is declared")
    found = claims.of(Evaluation, TENSORS, lineage.root)
    return Answer(bool(found), tuple(one.index for one in found))


_ACT = "Regulation (EU) 2024/1689"
PROFILES: dict[str, Requirements] = {
    "eu-gpai": (
        Requirement("model", "its architecture, parameters and licence", f"{_ACT} Annex XI 1(1)(d) to (f)", _model),
        Requirement("release", "when and how it is distributed", f"{_ACT} Annex XI 1(1)(c)", _release),
        Requirement("training", "how it was trained, run by run", f"{_ACT} Annex XI 1(2)(b)", _training),
        Requirement("data", "what it was trained on, and where that is from", f"{_ACT} Annex XI 1(2)(c)", _data),
        Requirement("compute", "the computational resources of its training", f"{_ACT} Annex XI 1(2)(d)", _compute),
        Requirement("energy", "its known or estimated energy consumption", f"{_ACT} Annex XI 1(2)(e)", _energy),
        Requirement("content-summary", "a summary of training content", f"{_ACT} Article 53(1)(d)", _summary),
        Requirement("copyright", "a policy that keeps reservations of rights", f"{_ACT} Article 53(1)(c)", _copyright),
        Requirement(
            "downstream", "information for who builds on it", f"{_ACT} Article 53(1)(b), Annex XII", _downstream
        ),
        Requirement("systemic-risk", "evaluations, of a model with systemic risk", f"{_ACT} Article 55(1)(a)", _risk),
    ),
}
"""Requirements by the profile's name. ``eu-gpai``: general-purpose models in the European Union."""
