"""What custody rules gave, for people: four verdicts, then the rules that did not pass."""

from __future__ import annotations

from collections.abc import Sequence

from glasslog.audit.claims import Judgement, Outcome, Result

_SHOWN = 3  # instances of one rule that a terminal shows; JSON and reports have up to a hundred


def describe_judgement(judgement: Judgement) -> list[str]:
    """Return the four verdicts, one a line, and every rule that failed or could not be decided."""
    passed = sum(result.outcome is Outcome.PASS for result in judgement.results)
    asked = sum(result.outcome is not Outcome.NOT_APPLICABLE for result in judgement.results)
    held = f"{len(judgement.claims)} statements, {passed} of the {asked} rules that apply hold"
    lines = [
        "verdicts",
        f"  ledger       {judgement.ledger.value}",
        f"  signer       {judgement.signer.value}",
        f"  claims       {judgement.consistency.value}: {held}",
        "  world        not assessed: nothing here shows that a statement is true",
    ]
    for outcome in (Outcome.FAIL, Outcome.UNABLE):
        for result in judgement.results:
            if result.outcome is outcome:
                lines += _describe_result(result)
    return lines


def _describe_result(result: Result) -> list[str]:
    rule, outcome = result.rule, result.outcome
    of_it = [judged for judged in result.kept if judged.outcome is outcome]
    lines = [f"  {outcome.value:<6} {rule.name} ({rule.severity.value}): {rule.holds}"]
    lines += [f"         {judged.fact}{show_leaves(judged.indices)}" for judged in of_it[:_SHOWN]]
    more = result.counts[outcome] - min(len(of_it), _SHOWN)
    return [*lines, f"         and {more} more"] if more else lines


def show_leaves(indices: Sequence[int]) -> str:
    """Return log indices as they stand behind a fact, nothing where there are none."""
    word = "leaf" if len(indices) == 1 else "leaves"
    return f" ({word} {', '.join(map(str, indices))})" if indices else ""
