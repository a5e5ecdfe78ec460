"""The first page: what came out and what that does not show, in plain sentences, and the standing sentence (Q4)."""

from __future__ import annotations

from glasslog.audit.claims import ClaimsVerdict, Judgement, Outcome, Question, SignerVerdict
from glasslog.audit.claims.ledger import Claim, day_of
from glasslog.audit.report import Verdict
from glasslog.audit.reporting.document import Standing, Stated, Summary
from glasslog.predicates.base import Predicate
from glasslog.predicates.values import TENSORS

STATED_MAX = 100
FAILED_MAX = 8  # on the first page; the table has all
DOES_NOT_SHOW = (
    "It does not show that any statement in the log is true.",
    "A false statement, signed and on time, passes every check of the record.",
    "It does not show that whoever wrote the log wrote down everything.",
    "It does not show who held a key when it signed.",
    "It is of the log at this size: what was added later is not in it.",
)
KNOWN = (
    "The signers: known. The keys are those that the policy names, and no notice in the log speaks against what they"
    " signed."
)
UNDER_THE_RULES = "The rules weigh statements against one another, and never against the world."


def show_time(milliseconds: int) -> str:
    """Return a time since 1970 as RFC 3339 in UTC, to the second."""
    seconds = milliseconds // 1000 % 86_400
    return f"{day_of(milliseconds)}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}Z"


def list_stated(judgement: Judgement, model: bytes | None) -> tuple[tuple[Stated, ...], int]:
    """Return what is stated about the model, each with its sentence, and how many statements there are."""
    if model is None:
        return (), 0
    found = judgement.claims.about(TENSORS, model)
    return tuple([_stated(judgement, claim) for claim in found[:STATED_MAX]]), len(found)


def _stated(judgement: Judgement, claim: Claim[Predicate]) -> Stated:
    what, time = claim.said.NAME, show_time(claim.time)
    sentence = None
    if judgement.ledger is Verdict.INTACT and claim.index < judgement.report.published:
        said = f"author {claim.author} had stated the {what} at log index {claim.index} no later than {time}"
        sentence = f"{_finalized(judgement)}, {said}. This does not show that it is true."
    return Stated(claim.index, claim.author, what, time, sentence)


def _finalized(judgement: Judgement) -> str:
    report = judgement.report
    names = ", ".join(f"{one.name} ({one.jurisdiction})" for one in report.finalized_by)
    return f"At size {report.published}, finalized by {names}"


def summarize(
    judgement: Judgement, model: bytes | None, stated: tuple[Stated, ...], stated_count: int
) -> tuple[Summary, Standing]:
    """Return the first page, and the standing sentences."""
    intact = judgement.ledger is Verdict.INTACT
    general = (
        f"{_finalized(judgement)}, each author named in this log had stated what stands there under its name, no later"
        " than the time of the height that it stands in. This does not show that any of it is true."
        if intact
        else "No such sentence can be given: the record does not bear it."
    )
    outcome = [_ledger_words(judgement), _signer_words(judgement), *_claims_words(judgement)]
    if model is not None:
        outcome.append(_model_words(judgement, model, stated_count))
    outcome.append("The world: not assessed. No log can show that what is written in it is true.")
    return Summary(tuple(outcome), DOES_NOT_SHOW), Standing(general, stated, stated_count)


def _ledger_words(judgement: Judgement) -> str:
    report = judgement.report
    match judgement.ledger:
        case Verdict.INTACT:
            names = ", ".join(f"{one.name} ({one.jurisdiction})" for one in report.finalized_by)
            return (
                f"The record: intact. All {report.size} entries are there, are what their authors signed, and are the"
                f" ones that {names} put their signatures under."
            )
        case Verdict.BROKEN:
            first = report.findings.kept[0]
            more = "" if report.findings.count == 1 else f", and {report.findings.count - 1} faults more"
            return (
                "The record: broken. This copy is not what its authors and validators signed; nothing in it should be"
                f" relied on. The first fault is at {first.where}: {first.fact}{more}."
            )
        case Verdict.UNABLE:
            return (
                "The record: cannot be said. It agrees with itself, and nothing that the policy trusts confirms whose"
                " record it is: anybody could have made it."
            )


def _signer_words(judgement: Judgement) -> str:
    if judgement.signer is SignerVerdict.KNOWN:
        return KNOWN
    failed = [
        one.rule.name
        for one in judgement.results
        if one.rule.question is Question.SIGNER and one.outcome is Outcome.FAIL
    ]
    if failed and judgement.report.policy_confirms:
        return f"The signers: unknown. These rules about keys fail: {', '.join(failed)}."
    return "The signers: unknown. The policy does not confirm the keys that signed this record."


def _claims_words(judgement: Judgement) -> list[str]:
    about = [one for one in judgement.results if one.rule.question is Question.CLAIMS and one.rule.severity.weighs]
    failed = [one for one in about if one.outcome is Outcome.FAIL]
    unable = [one.rule.name for one in about if one.outcome is Outcome.UNABLE]
    asked = sum(one.outcome is not Outcome.NOT_APPLICABLE for one in about)
    rules = "rule" if len(unable) == 1 else "rules"
    left = [f"Of {len(unable)} {rules} it cannot be said here, as something is sealed or missing: {', '.join(unable)}."]
    match judgement.consistency:
        case ClaimsVerdict.CONSISTENT:
            return [f"The statements: consistent. All {asked} weighty rules that apply hold. {UNDER_THE_RULES}"]
        case ClaimsVerdict.INCONSISTENT:
            fail = "fails" if len(failed) == 1 else "fail"
            words = f"The statements: inconsistent. Of {asked} weighty rules that apply, {len(failed)} {fail}"
            shown = [f"{one.rule.shows} ({one.rule.name})" for one in failed[:FAILED_MAX]]
            more = [f"And {len(failed) - FAILED_MAX} more."] if len(failed) > FAILED_MAX else []
            return [f"{words}. {UNDER_THE_RULES}", *shown, *more, *(left if unable else [])]
        case ClaimsVerdict.UNABLE if judgement.ledger is Verdict.BROKEN:
            return ["The statements: cannot be said. What the authors of a broken record stated is not known."]
        case ClaimsVerdict.UNABLE:
            return [f"The statements: cannot be said. Nothing contradicts them. {UNDER_THE_RULES}", *left]


def _model_words(judgement: Judgement, model: bytes, count: int) -> str:
    if not count:
        return f"The model {model.hex()[:16]}…: the log has no statement about these tensors."
    authors = sorted({claim.author for claim in judgement.claims.about(TENSORS, model)[:STATED_MAX]})
    statements = "1 statement is" if count == 1 else f"{count} statements are"
    return f"The model {model.hex()[:16]}…: {statements} about exactly these tensors, by {', '.join(authors)}."
