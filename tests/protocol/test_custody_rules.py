"""Custody rules: an honest history passes all, and every dishonest one fails the rule that is made for it.

A history is real statements in a real ledger that the audit finds intact: nothing but the rules can tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import claims_ledger as told
from audit_ledger import LAB, OTHER_LAB, START, leaves_of, make_keys, make_statement
from claims_ledger import DAY, LAB_ORG, OTHER_ORG, Step, Story, fixes, names, root, subject
from glasslog.audit import Report, Verdict, audit, audit_against
from glasslog.audit.claims import (
    CUSTODY_RULES,
    Claims,
    ClaimsVerdict,
    Judgement,
    Outcome,
    Question,
    Result,
    Severity,
    SignerVerdict,
    judge_claims,
)
from glasslog.audit.claims.ledger import day_of
from glasslog.audit.claims.rule import failed, unable
from glasslog.audit.comparison import Side
from glasslog.block import build_block
from glasslog.entry import number_entry
from glasslog.predicates.base import Predicate, Subject, statement_id
from glasslog.predicates.content_summary import Source
from glasslog.predicates.dataset import Reservation
from glasslog.predicates.replay import ReplayedSegment
from glasslog.predicates.rights import Constraint
from glasslog.predicates.rights import Rule as Term
from glasslog.predicates.training_run import BuildDefinition
from glasslog.predicates.training_segment import Seam
from glasslog.predicates.values import (
    HEAD,
    ORDER,
    RECORDS,
    STATEMENT,
    TENSORS,
    Organisation,
    Period,
    Quantity,
    Resource,
)
from glasslog.predicates.vocabulary import PREDICATES
from glasslog.statement import Statement, decode_statement
from predicate_values import predicates, subjects

Edit = Callable[[Story], object]


@dataclass(frozen=True)
class Dishonest:
    """A history, the rule that has to fail in it, and the step whose leaf has to be named."""

    name: str
    rule: str
    edit: Edit
    at: str | None

    def __str__(self) -> str:
        return f"{self.rule}: {self.name}"


def result_of(judgement: Judgement, rule: str) -> Result:
    return next(one for one in judgement.results if one.rule.name == rule)


def other_terms(story: Story, *, by: str = LAB, action: str = "train", **members: object) -> Story:
    """Lab terms that prohibit something with the corpus, logged before the runs."""
    term = Term(action=action)  # type: ignore[arg-type]  # one of its words
    story.add("no", replace(story.steps["corpus-terms"], author=by), after="corpus-terms")
    return story.change("no", permissions=(), prohibitions=(term,), **members)


def mining_reserved(story: Story) -> Story:
    other_terms(story, by=OTHER_LAB, action="mine", target=(Resource(uri="https://news.example"),))
    state = Reservation(reserved="none-found")
    return story.change("corpus", reservation=state, sources=(Resource(uri="https://news.example"),))


def second_bar(story: Story) -> Story:
    story.about("bar", subject(TENSORS, "tuned"))
    return story.add("again", replace(story.steps["bar"], members={"threshold": "0.80"}), after="bar")


def foreign_base(story: Story, licence: str, made: str) -> Story:
    return story.change("base", license=licence).change("tuned", license=made).change("release", license=made)


def undated(*kinds: object) -> Resource:
    return Resource(name="something", digest={"sha256": root(*kinds)})


def exact(outcome: str) -> ReplayedSegment:
    return ReplayedSegment(segment=fixes(HEAD, "tune-2"), outcome=outcome, diverged_at=7)  # type: ignore[arg-type]  # one of its words


def make_source(category: str) -> Source:
    return Source(category=category, datasets=(names(RECORDS, "corpus"),))  # type: ignore[arg-type]  # one of its words


SEAM_GAP = Seam(kind="gap", step=6, lost=3)
OTHER_BUILD = BuildDefinition(
    build_type="urn:glasslog:buildtype:training:v1",
    external_parameters={},
    resolved_dependencies=(names(RECORDS, "holdout"),),
)
MEMBER = "institute-1.example"

DISHONEST = [
    # --- critical
    Dishonest("two blocks of one number", "author-fork", lambda s: s.add("fork", Step(LAB, told.fork)), "fork"),
    Dishonest("first weights of another model", "parent-mismatch",
              lambda s: s.change("tune-run", initial_weights=fixes(TENSORS, "another")), "tune-run"),
    Dishonest("parent named later", "parent-mismatch",
              lambda s: s.change("tune-run", parent=names(TENSORS, "another")), "tune-run"),
    Dishonest("a segment left out", "step-gap", lambda s: s.drop("tune-1"), "tune-run"),
    Dishonest("head that does not follow", "step-gap",
              lambda s: s.change("tune-2", previous_head=fixes(HEAD, "other")), "tune-2"),
    Dishonest("steps left out", "step-gap", lambda s: s.change("tune-2", first_step=8), "tune-2"),
    Dishonest("a declared gap", "step-gap", lambda s: s.change("tune-2", seams=(SEAM_GAP,)), "tune-2"),
    Dishonest("two segments of one number", "step-gap", lambda s: s.copy("again", "tune-2", flop="7"), "again"),
    Dishonest("steps taken again in silence", "step-gap", lambda s: s.change("tune-2", first_step=3), "tune-2"),
    Dishonest("release of other tensors", "output-mismatch",
              lambda s: s.about("release", subject(TENSORS, "better")), "release"),
    Dishonest("release names another's run", "output-mismatch",
              lambda s: s.change("release", runs=(names(HEAD, "base-run"),)).change("tuned", base_model=()), "release"),
    Dishonest("data set among the dependencies alone", "undeclared-data",
              lambda s: s.change("tune-run", build_definition=OTHER_BUILD), "tune-run"),
    Dishonest("order of another data set", "undeclared-data",
              lambda s: s.change("tune-run", data_order=fixes(ORDER, "holdout", "order")), "holdout"),
    Dishonest("replay came out otherwise", "replay-diverged",
              lambda s: s.change("replay", outcome="diverged", sampled=(exact("diverged"),)), "replay"),
    Dishonest("diverged sample, exact summary", "replay-diverged",
              lambda s: s.change("replay", sampled=(exact("diverged"),)), "replay"),
    Dishonest("bar logged after its result", "bar-after-result",
              lambda s: s.move("bar", after="secret-result").change(
                  "evaluation", bar=Resource(digest={STATEMENT: bar_id()})), "bar"),
    Dishonest("measured before the bar stood", "bar-after-result",
              lambda s: s.change("evaluation", measured="2027-01-01T00:00:00Z"), "evaluation"),
    Dishonest("threshold of the result lowered", "bar-changed",
              lambda s: s.change("evaluation", threshold="0.80"), "evaluation"),
    Dishonest("another metric", "bar-changed", lambda s: s.change("evaluation", metric="recall"), "evaluation"),
    Dishonest("another data set", "bar-changed",
              lambda s: s.change("evaluation", dataset=names(RECORDS, "easy")), "evaluation"),
    Dishonest("another harness", "bar-changed",
              lambda s: s.change("evaluation", harness=undated("other")), "evaluation"),
    Dishonest("fewer samples", "bar-changed", lambda s: s.change("evaluation", sample_size="5"), "evaluation"),
    Dishonest("bar set again, lower", "bar-changed", second_bar, "again"),
    Dishonest("announced, never sealed", "seal-mismatch", lambda s: s.drop("seal", "opening"), "announcement"),
    Dishonest("opened as another bar", "seal-mismatch",
              lambda s: s.add("opening", Step(LAB, lambda t: told.reveal(t, threshold="0.5")), after="announcement"),
              "opening"),
    # --- major
    Dishonest("signed after the owner's notice", "signed-after-compromise",
              lambda s: s.change("notice", last_trusted_entry=1), "finding"),
    Dishonest("signed after the day of the notice", "signed-after-compromise",
              lambda s: s.change("notice", last_trusted_entry=None, since="2027-02-02T00:00:00Z"), "finding"),
    Dishonest("f + 1 members doubt a key", "signed-after-compromise",
              lambda s: s.by("notice", LAB).change("notice", last_trusted_entry=1)
              .copy("second", "notice").by("second", OTHER_LAB).change("second", key=told.key_of(LAB))
              .change("notice", key=told.key_of(LAB)), "release"),
    Dishonest("result that was never logged", "dangling-reference",
              lambda s: s.drop("evaluation"), "release"),
    Dishonest("run that was never logged", "dangling-reference",
              lambda s: s.change("replay", run=fixes(HEAD, "no run")), "replay"),
    Dishonest("weights from nowhere", "orphan-weights",
              lambda s: s.about("release", subject(TENSORS, "found")).change("release", runs=()), "release"),
    Dishonest("examiner links what nobody declared", "undeclared-derivation",
              lambda s: s.add("foreign", Step(OTHER_LAB, told.model("foreign")), after="tuned").change(
                  "finding", reference=names(TENSORS, "foreign")), "finding"),
    Dishonest("corpus stated after the run", "data-committed-late",
              lambda s: s.move("corpus", after="tuned"), "corpus"),
    Dishonest("training prohibited by a policy", "licence-forbids", other_terms, "no"),
    Dishonest("fine-tuning prohibited to this lab", "licence-forbids",
              lambda s: other_terms(s, action="finetune", target=(names(TENSORS, "base"),),
                                    assignee=LAB_ORG).about("no", subject(TENSORS, "base")), "tune-run"),
    Dishonest("distilled from what may not be", "licence-forbids",
              lambda s: other_terms(s, action="distil", target=(names(TENSORS, "base"),)).about(
                  "no", subject(TENSORS, "base")).change("tuned", base_model_relation="distilled"), "tuned"),
    Dishonest("made from what allows no derivatives", "licence-forbids",
              lambda s: foreign_base(s, "CC-BY-ND-4.0", "CC-BY-ND-4.0"), "tuned"),
    Dishonest("non-commercial no more", "licence-widened",
              lambda s: foreign_base(s, "CC-BY-NC-4.0", "Apache-2.0"), "tuned"),
    Dishonest("share-alike no more", "licence-widened", lambda s: foreign_base(s, "GPL-3.0-only", "MIT"), "tuned"),
    Dishonest("release under wider terms", "licence-widened",
              lambda s: foreign_base(s, "CC-BY-NC-SA-4.0", "CC-BY-NC-SA-4.0").change("release", license="MIT"),
              "release"),
    Dishonest("data set made from share-alike data", "licence-widened",
              lambda s: s.change("corpus", license="CC-BY-SA-4.0").change(
                  "holdout", derived_from=(names(RECORDS, "corpus"),)), "holdout"),
    Dishonest("more requests than agreed", "terms-breached",
              lambda s: s.change("agreement", permissions=(
                  Term(action="infer", constraints=(Constraint(left="requests", operator="lt", right="500"),)),)),
              "usage"),
    Dishonest("used after the agreement ended", "terms-breached",
              lambda s: s.change("agreement", valid=Period(start="2027-01-01", end="2027-02-03")), "usage"),
    Dishonest("the two accounts differ", "terms-breached",
              lambda s: s.change("usage-there", volumes=(Quantity(unit="requests", amount="400"),)), "usage-there"),
    Dishonest("nobody looked for reservations", "reservation-ignored",
              lambda s: s.change("corpus", reservation=Reservation(reserved="not-checked")), "corpus"),
    Dishonest("a source had reserved mining", "reservation-ignored", mining_reserved, "no"),
    Dishonest("corpus withdrawn before the run", "withdrawn-used",
              lambda s: s.add("gone", Step(LAB, told.withdrawal("corpus")), after="base"), "gone"),
    Dishonest("parent withdrawn before the run", "withdrawn-used",
              lambda s: s.add("gone", Step(LAB, told.withdrawal("base", TENSORS)), after="base"), "tune-run"),
    Dishonest("evaluated on the training data", "contamination",
              lambda s: s.change("bar", dataset=names(RECORDS, "corpus")).change(
                  "evaluation", dataset=names(RECORDS, "corpus")), "evaluation"),
    Dishonest("evaluated on the source of the training data", "contamination",
              lambda s: s.move("holdout", after="corpus").change(
                  "corpus", derived_from=(names(RECORDS, "holdout"),), license="CC0-1.0"), "evaluation"),
    Dishonest("evaluated on the base model's data", "contamination",
              lambda s: s.change("base-run", datasets=(names(RECORDS, "corpus"), names(RECORDS, "holdout"))),
              "evaluation"),
    Dishonest("released with a result below its bar", "released-below-bar",
              lambda s: s.change("evaluation", value="0.85"), "release"),
    Dishonest("released with a result stated as failed", "released-below-bar",
              lambda s: s.change("evaluation", passed=False), "evaluation"),
    Dishonest("a due result is not there", "file-drawer", lambda s: s.drop("secret-result"), "opening"),
    Dishonest("a sealed bar is never opened", "file-drawer", lambda s: s.drop("opening"), "announcement"),
    Dishonest("a sealed bar is opened late", "file-drawer",
              lambda s: s.add("opening", Step(LAB, opened_late, DAY * 40), after="withdrawal"), "announcement"),
    Dishonest("released without evaluation", "release-unevaluated",
              lambda s: s.change("release", evaluations=()), "release"),
    Dishonest("released on a result of other tensors", "release-unevaluated",
              lambda s: s.about("evaluation", subject(TENSORS, "base")), "evaluation"),
    Dishonest("less compute declared", "compute-mismatch", lambda s: s.change("summary", compute="1500"), "summary"),
    Dishonest("more compute declared", "compute-mismatch", lambda s: s.change("summary", compute="9000"), "summary"),
    Dishonest("threshold crossed and nothing declared", "compute-mismatch",
              lambda s: s.change("tune-1", flop=str(10**23)).change("summary", compute=None), "summary"),
    Dishonest("just below a threshold", "compute-mismatch",
              lambda s: s.change("tune-1", flop=str(10**25)).change("summary", compute=str(10**25 - 1)), "summary"),
    Dishonest("crawled data listed as licensed", "summary-mismatch",
              lambda s: s.change("summary", sources=(make_source("licensed-private"),)), "corpus"),
    Dishonest("a language left out", "summary-mismatch",
              lambda s: s.change("corpus", languages=("en", "de")), "corpus"),
    Dishonest("newer data than declared", "summary-mismatch",
              lambda s: s.change("corpus", collected=Period(start="2026-01-01", end="2026-12-31")), "summary"),
    Dishonest("beacon before the last segment", "beacon-early",
              lambda s: s.change("replay", beacon=early_beacon), "replay"),
    # --- minor and notes
    Dishonest("model without licence", "licence-unknown", lambda s: s.change("tuned", license=None), "tuned"),
    Dishonest("another lab has the same tensors", "same-tensors-elsewhere",
              lambda s: s.copy("taken", "tuned").by("taken", OTHER_LAB), "taken"),
    Dishonest("statement that is not as declared", "unreadable-statement",
              lambda s: s.add("odd", Step(LAB, lambda _: odd_statement())), "odd"),
]  # fmt: skip
"""Not here: ``split-view`` and ``author-unadmitted`` take another ledger, and ``unopened-seals`` never fails."""


def bar_id() -> bytes:
    return statement_id(told.BAR.statement(Subject("bar of tuned", {"sha256": root("bar")})))


def opened_late(story: Story) -> told.Said:
    order = [name for name, step in story.steps.items() if step.author == LAB]
    return told.reveal(story, later=order.index("opening") - order.index("seal"))


def early_beacon(story: Story) -> Resource:
    return Resource(digest={"sha256": story.roots["tune-1"]})


def odd_statement() -> Statement:
    statement = decode_statement(make_statement(1))
    return {**statement, "predicateType": "urn:glasslog:predicate:model:v1"}


@pytest.fixture(scope="module")
def honest() -> Judgement:
    return Story().tell()


def test_honest_history_passes_every_rule(honest: Judgement) -> None:
    outcomes = {one.rule.name: one.outcome for one in honest.results if one.outcome is not Outcome.PASS}
    assert outcomes == {"split-view": Outcome.UNABLE}
    assert honest.ledger is Verdict.INTACT
    assert honest.signer is SignerVerdict.KNOWN
    assert honest.consistency is ClaimsVerdict.CONSISTENT


def test_every_rule_applies_to_the_honest_history_and_fails_in_some_other(honest: Judgement) -> None:
    assert {one.rule.name for one in honest.results} == set(CUSTODY_RULES)
    elsewhere = {"split-view", "author-unadmitted", "unopened-seals"}
    assert {case.rule for case in DISHONEST} == set(CUSTODY_RULES) - elsewhere


@pytest.mark.parametrize("case", DISHONEST, ids=str)
def test_dishonest_history_fails_its_rule_at_its_leaf(case: Dishonest) -> None:
    story = Story()
    case.edit(story)
    judgement = story.tell()
    result = result_of(judgement, case.rule)
    assert result.outcome is Outcome.FAIL
    named = {index for one in result.kept if one.outcome is Outcome.FAIL for index in one.indices}
    assert case.at is None or story.indices[case.at] in named, result.kept
    if result.rule.severity.weighs and result.rule.question is Question.CLAIMS:
        assert judgement.consistency is ClaimsVerdict.INCONSISTENT
    if result.rule.question is Question.SIGNER:
        assert judgement.signer is SignerVerdict.UNKNOWN
    assert judgement.ledger is Verdict.INTACT


# --- what cannot be said ----------------------------------------------------------------------------

UNDECIDED = [
    Dishonest("a run that is not closed", "step-gap", lambda s: s.change("tune-2", closed="continues"), "tune-run"),
    Dishonest("a run without segments", "step-gap", lambda s: s.drop("tune-1", "tune-2"), "tune-run"),
    Dishonest("parent without content root", "parent-mismatch",
              lambda s: s.change("tune-run", parent=undated("base")), "tune-run"),
    Dishonest("initial weights not committed to", "parent-mismatch",
              lambda s: s.change("tune-run", initial_weights=None), "tune-run"),
    Dishonest("order is a sampler's digest", "undeclared-data",
              lambda s: s.change("tune-run", data_order=fixes("sha256", "sampler")), "tune-run"),
    Dishonest("run not closed at the release", "output-mismatch",
              lambda s: s.change("tune-2", closed="checkpoint").about("release", subject(TENSORS, "later")), "release"),
    Dishonest("run outside the log", "output-mismatch",
              lambda s: s.change("release", runs=(names(HEAD, "elsewhere"),)), "release"),
    Dishonest("segment could not be carried out", "replay-diverged",
              lambda s: s.change("replay", outcome="unable", sampled=(exact("unable"),)), "replay"),
    Dishonest("bar outside the log", "bar-after-result",
              lambda s: s.change("evaluation", bar=Resource(digest={STATEMENT: root("no bar")})), "evaluation"),
    Dishonest("notice of one stranger", "signed-after-compromise",
              lambda s: s.by("notice", LAB).change("notice", last_trusted_entry=1), "finding"),
    Dishonest("notice about nobody's key", "signed-after-compromise",
              lambda s: s.change("notice", key=fixes("sha256", "a key")), "notice"),
    Dishonest("parent model without statement", "dangling-reference",
              lambda s: s.change("tune-run", parent=names(TENSORS, "wild")), "tune-run"),
    Dishonest("finding about nobody's model", "undeclared-derivation",
              lambda s: s.change("finding", suspect=names(TENSORS, "wild")).about("finding", subject(TENSORS, "wild")),
              "finding"),
    Dishonest("finding without content root", "undeclared-derivation",
              lambda s: s.change("finding", reference=undated("base")), "finding"),
    Dishonest("prohibition by who did not state it", "licence-forbids",
              lambda s: other_terms(s, by=OTHER_LAB, assigner=OTHER_ORG), "no"),
    Dishonest("prohibition under bounds", "licence-forbids",
              lambda s: other_terms(s).change("no", prohibitions=(
                  Term(action="train", constraints=(Constraint(left="users", operator="gt", right="1"),)),)), "no"),
    Dishonest("prohibition logged later, dated back", "licence-forbids",
              lambda s: other_terms(s, valid=Period(start="2026-01-01")).move("no", after="tuned"), "no"),
    Dishonest("licence of one's own", "licence-widened",
              lambda s: foreign_base(s, "LicenseRef-lab", "Apache-2.0"), "tuned"),
    Dishonest("licence in parentheses", "licence-widened",
              lambda s: foreign_base(s, "(MIT OR Apache-2.0)", "Apache-2.0"), "tuned"),
    Dishonest("agreement outside the log", "terms-breached", lambda s: s.drop("agreement"), "usage"),
    Dishonest("account of a third", "terms-breached",
              lambda s: s.drop("usage-there").change("agreement", assignee=LAB_ORG).by("usage", OTHER_LAB), "usage"),
    Dishonest("bound that nobody counts", "terms-breached",
              lambda s: s.change("agreement", permissions=(
                  Term(action="infer", constraints=(Constraint(left="users", operator="lt", right="5"),)),)), "usage"),
    Dishonest("nothing said of reservations", "reservation-ignored",
              lambda s: s.change("corpus", reservation=None), "corpus"),
    Dishonest("evaluated model of no run", "contamination",
              lambda s: s.about("evaluation", subject(TENSORS, "wild")), "evaluation"),
    Dishonest("result held against nothing", "released-below-bar",
              lambda s: s.change("evaluation", comparator=None, threshold=None, passed=None), "release"),
    Dishonest("segment without operations", "compute-mismatch", lambda s: s.change("tune-1", flop=None), "summary"),
    Dishonest("no compute declared, lineage incomplete", "compute-mismatch",
              lambda s: s.change("summary", compute=None).change("tune-1", flop=None), "summary"),
    Dishonest("summary names data outside the log", "summary-mismatch",
              lambda s: s.change("summary", sources=(
                  make_source("crawled"), Source(category="synthetic", datasets=(names(RECORDS, "wild"),)),
              )), "summary"),
    Dishonest("beacon that is no height's root", "beacon-early",
              lambda s: s.change("replay", beacon=Resource(digest={"sha256": root("never")})), "replay"),
    Dishonest("a seal that stays shut", "unopened-seals", lambda s: s.drop("opening"), "seal"),
]  # fmt: skip


@pytest.mark.parametrize("case", UNDECIDED, ids=str)
def test_what_is_sealed_missing_or_elsewhere_is_unable_and_no_failure(case: Dishonest) -> None:
    story = Story()
    case.edit(story)
    judgement = story.tell()
    result = result_of(judgement, case.rule)
    assert result.outcome is Outcome.UNABLE, result.kept
    assert case.at is None or story.indices[case.at] in {index for one in result.kept for index in one.indices}
    assert judgement.signer is SignerVerdict.KNOWN


# --- strangers cannot spoil another's history -------------------------------------------------------


STRANGERS: list[tuple[str, Edit]] = [
    ("step-gap", lambda s: s.copy("false", "tune-2", flop="7").by("false", OTHER_LAB)),
    ("file-drawer", lambda s: s.copy("false", "bar", due="2027-12-31").by("false", OTHER_LAB)),
    ("withdrawn-used", lambda s: s.add("false", Step(OTHER_LAB, told.withdrawal("corpus")), after="corpus-terms")),
    ("bar-changed", lambda s: s.about("bar", subject(TENSORS, "tuned")).copy(
        "false", "bar", threshold="0.10", due="2028-01-01").by("false", OTHER_LAB)),
    ("licence-forbids", lambda s: other_terms(s, assignee=Organisation(name="somebody else"))),
    ("licence-forbids", lambda s: other_terms(s, valid=Period(start="2020-01-01", end="2020-12-31"))),
    ("licence-forbids", lambda s: other_terms(s, by=OTHER_LAB).move("no", after="tuned")),
    ("output-mismatch", lambda s: s.copy("false", "tune-2", number=3).by("false", OTHER_LAB)),
    ("seal-mismatch", lambda s: s.add("false", Step(OTHER_LAB, told.seal_of_lab_1), after="announcement")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "edit"), STRANGERS)
def test_what_others_say_does_not_fail_a_history(rule: str, edit: Edit) -> None:
    story = Story()
    edit(story)
    assert result_of(story.tell(), rule).outcome is Outcome.PASS


def test_agreement_lifts_its_assigner_s_policy() -> None:
    story = other_terms(Story())
    assert result_of(story.tell(), "licence-forbids").outcome is Outcome.FAIL
    story = other_terms(Story())
    allowed = {"kind": "agreement", "assignee": LAB_ORG, "permissions": (Term(action="train"),)}
    story.add("yes", story.steps["corpus-terms"], after="no").change("yes", **allowed)
    assert result_of(story.tell(), "licence-forbids").outcome is Outcome.PASS


def test_quantized_release_of_a_run_s_output_passes() -> None:
    story = Story().about("release", subject(TENSORS, "small")).change("summary", compute="3000")
    small = told.model("small", base_model=(names(TENSORS, "tuned"),), base_model_relation="quantized")
    story.add("small", Step(LAB, small), after="tuned")
    assert result_of(story.tell(), "output-mismatch").outcome is Outcome.PASS


# --- rules about signers and histories ----------------------------------------------------------------


def test_split_view_fails_only_where_another_history_is_shown() -> None:
    one, other = Story(), Story().change("release", version="2")
    judgement = one.tell()
    fork = other.grow()
    report, source = judgement.report, one.world.source()
    audit_against(report, source, [Side("other", fork.note, fork.source())], one.world.policy)
    again = judge_claims(judgement.claims, report)
    result = result_of(again, "split-view")
    assert result.outcome is Outcome.FAIL
    assert one.indices["release"] in {index for each in result.kept for index in each.indices}
    assert again.ledger is Verdict.BROKEN
    assert again.consistency is ClaimsVerdict.UNABLE
    same = judge_claims(judgement.claims, audited(one, [Side("same", one.world.note, one.world.source())]))
    assert result_of(same, "split-view").outcome is Outcome.PASS


def audited(story: Story, others: list[Side]) -> Report:
    report = audit(story.world.source(), story.world.policy)
    audit_against(report, story.world.source(), others, story.world.policy)
    return report


def test_block_of_nobody_makes_the_signer_unknown() -> None:
    story = Story()
    world = story.grow()
    entry = number_entry(LAB, story.next_number(LAB), make_statement(1))
    tip = world.state.tip(LAB, world.membership.genesis_hash)
    forged = build_block(
        [entry], genesis_hash=world.membership.genesis_hash, author=LAB, seq=tip.seq + 1, prev=tip.hash,
        first=tip.next_entry, time=START, sign=make_keys("stranger.example").author.sign,
    )  # fmt: skip
    world.forge_height([leaves_of(forged)], [forged.ref])
    claims = Claims()
    judgement = judge_claims(claims, audit(world.source(), world.policy, listener=claims))
    result = result_of(judgement, "author-unadmitted")
    assert result.outcome is Outcome.FAIL
    assert len(world.leaves) - 2 in {index for one in result.kept for index in one.indices}
    assert judgement.signer is SignerVerdict.UNKNOWN
    assert judgement.ledger is Verdict.BROKEN
    assert judgement.consistency is ClaimsVerdict.UNABLE


def test_without_a_policy_the_signer_is_unknown_and_claims_are_judged_all_the_same() -> None:
    world = Story().grow()
    claims = Claims()
    judgement = judge_claims(claims, audit(world.source(), listener=claims))
    assert (judgement.ledger, judgement.signer) == (Verdict.UNABLE, SignerVerdict.UNKNOWN)
    assert judgement.consistency is ClaimsVerdict.CONSISTENT


# --- results ------------------------------------------------------------------------------------------


def test_result_keeps_a_hundred_instances_and_prefers_failures() -> None:
    result = Result(CUSTODY_RULES["step-gap"])
    for index in range(150):
        result.add(unable("cannot be said", index))
    for index in range(20):
        result.add(failed("is wrong", index))
    assert result.outcome is Outcome.FAIL
    assert len(result.kept) == 100
    assert sum(one.outcome is Outcome.FAIL for one in result.kept) == 20
    assert result.counts == {Outcome.PASS: 0, Outcome.FAIL: 20, Outcome.UNABLE: 150, Outcome.NOT_APPLICABLE: 0}


def test_only_critical_and_major_failures_weigh() -> None:
    story = Story().change("tuned", license=None).copy("taken", "base").by("taken", OTHER_LAB)
    assert story.tell().consistency is ClaimsVerdict.CONSISTENT


def test_rules_come_by_severity_and_say_what_they_show(honest: Judgement) -> None:
    order = list(Severity)
    places = [order.index(one.rule.severity) for one in honest.results]
    assert places == sorted(places)
    value = honest.to_value()
    json.dumps(value)
    for one in honest.results:
        said = (one.rule.holds, one.rule.cites, one.rule.shows, one.rule.does_not_show)
        assert all(said), one.rule.name
        assert one.rule.shows.endswith(".")
        assert one.rule.does_not_show.endswith((".", "?"))


def test_specification_lists_the_rules() -> None:
    text = (Path(__file__).parents[2] / "specs" / "claims.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    rules = sorted(CUSTODY_RULES.values(), key=lambda rule: list(Severity).index(rule.severity))
    said = [(r.name, r.severity.value, r.question.value, r.holds, r.cites, r.shows, r.does_not_show) for r in rules]
    assert rows == [f"| `{name}` | {' | '.join(rest)} |" for name, *rest in said]


@given(st.integers(0, 253_402_300_799_999))
def test_day_of_a_time_is_the_calendar_s(time: int) -> None:
    assert day_of(time) == datetime.fromtimestamp(time // 1000, UTC).strftime("%Y-%m-%d").zfill(10)


# --- any history at all -------------------------------------------------------------------------------


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_history_in_any_order_and_part_is_judged(data: st.DataObject) -> None:
    """Statements left out and in any order: every rule comes to something, and the same twice."""
    story = Story()
    order = data.draw(st.permutations(list(story.steps)))
    kept = order[: data.draw(st.integers(0, len(order)))]
    sealed = ("seal", "announcement", "opening")
    story.steps = {name: story.steps[name] for name in kept if name not in sealed}
    first = story.tell()
    again = judge_claims(first.claims, first.report)
    assert first.to_value() == again.to_value()


def say(statement: Statement, _: Story) -> Statement:
    return statement


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(predicates(PREDICATES), subjects, st.sampled_from((LAB, OTHER_LAB))), max_size=12))
def test_any_statements_are_judged(said: list[tuple[Predicate, list[Subject], str]]) -> None:
    story = Story()
    statements = [(author, one.statement(*about)) for one, about, author in said]
    story.steps = {str(at): Step(author, partial(say, statement)) for at, (author, statement) in enumerate(statements)}
    judgement = story.tell()
    assert len(judgement.claims) == len(said)
    json.dumps(judgement.to_value())
