"""Searches, lineages and assessments: what a log says of one digest or model, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import claims_ledger as told
from audit_ledger import LAB, OTHER_LAB, make_statement
from claims_ledger import Step, Story, names, root, subject
from glasslog.audit import Report, audit
from glasslog.audit.claims import (
    PROFILES,
    Assessment,
    Claims,
    ClaimsVerdict,
    Lineage,
    Outcome,
    Search,
    assess,
    standing_sentence,
    trace,
)
from glasslog.audit.claims.licences import Trait, read_traits
from glasslog.audit.claims.lineage import Kind
from glasslog.audit.claims.search import HITS_MAX
from glasslog.predicates.values import RECORDS, TENSORS, Resource
from glasslog.statement import decode_statement

Edit = Callable[[Story], Story]


def searched(story: Story, *digests: bytes, runs: str = "spans") -> tuple[Search, Report]:
    search = Search(digests)
    world = story.grow()
    return search, audit(world.source(runs=runs), world.policy, listener=search)


# --- searches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", ["spans", "bundles of 256"])
def test_search_finds_all_that_names_a_model_with_its_height_s_time(runs: str) -> None:
    story = Story()
    search, report = searched(story, root("tuned"), runs=runs)
    found = {name for name, index in story.indices.items() if index in {hit.index for hit in search.hits}}
    assert found == {
        "tune-2", "tuned", "evaluation", "secret-result", "summary", "release", "agreement", "usage", "usage-there",
        "finding",
    }  # fmt: skip
    assert report.size == len(story.world.leaves)
    times = [hit.time for hit in search.hits]
    assert times == sorted(times)
    assert times[0] > 0
    assert [hit.subject for hit in search.hits if hit.index == story.indices["tuned"]] == ["tuned"]
    assert search.sealed == 1


def test_search_finds_digests_as_text_in_statements_of_others() -> None:
    story = Story()
    foreign = decode_statement(make_statement(1))
    foreign = {**foreign, "predicate": {"mirror": f"sha256-{root('tuned').hex()}"}}
    story.steps = {"foreign": Step(OTHER_LAB, lambda _: foreign), "tuned": story.steps["tuned"]}
    search, _ = searched(story, root("tuned"))
    assert [(hit.index, hit.subject) for hit in search.hits] == [
        (story.indices["foreign"], None),
        (story.indices["tuned"], "tuned"),
    ]


def test_search_for_what_is_not_there_finds_nothing() -> None:
    search, _ = searched(Story(), root("not here"), root("nor this"))
    assert (search.hits, search.count) == ([], 0)


def test_search_keeps_a_bounded_number_and_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasslog.audit.claims.search.HITS_MAX", 3)
    search, _ = searched(Story(), root("tuned"))
    assert (len(search.hits), search.count) == (3, 10)
    assert HITS_MAX > 3


# --- lineages -----------------------------------------------------------------------------------------


def lineage_of(story: Story, *name: object) -> Lineage:
    return trace(story.tell().claims, root(*name))


def test_lineage_of_the_released_model() -> None:
    lineage = lineage_of(Story(), "tuned")
    names_of = {digest: node.name for digest, node in lineage.nodes.items()}
    assert {(names_of[edge.source], names_of[edge.target], edge.relation) for edge in lineage.edges} == {
        ("base", "tuned", "finetune"), ("tune-run", "tuned", "trained by"), ("base", "tune-run", "continued from"),
        ("corpus", "tune-run", "trained on"), ("base-run", "base", "trained by"), ("corpus", "base-run", "trained on"),
    }  # fmt: skip
    assert lineage.missing == []


def test_lineage_says_what_is_missing_and_who_names_it() -> None:
    story = Story().drop("corpus", "base").change("tuned", base_model=(Resource(name="foreign"),))
    lineage = lineage_of(story, "tuned")
    facts = dict(lineage.missing)
    assert facts == {
        f"data set {root('corpus').hex()[:16]} has no statement": story.indices["tune-run"],
        f"model {root('base').hex()[:16]} has no statement": story.indices["tune-run"],
        f"model foreign is named without its {TENSORS}": story.indices["tuned"],
    }


def test_circles_end() -> None:
    story = Story().change("base", base_model=(names(TENSORS, "tuned"),), base_model_relation="merge")
    story.change("corpus", derived_from=(names(RECORDS, "corpus"),), generated_by=(names(TENSORS, "tuned"),))
    lineage = lineage_of(story, "tuned")
    assert len(lineage.nodes) == 5
    assert {node.kind for node in lineage.nodes.values()} == set(Kind)


@settings(max_examples=30)
@given(st.data())
def test_every_edge_of_any_history_rests_on_a_leaf_that_names_both_ends(data: st.DataObject) -> None:
    story = Story()
    drop = data.draw(st.sets(st.sampled_from(["corpus", "base", "base-1", "tune-1", "tune-2", "tuned", "release"])))
    story.drop(*drop)
    judgement = story.tell()
    lineage = trace(judgement.claims, root("tuned"))
    for edge in lineage.edges:
        leaf = story.world.leaves[edge.index]
        assert edge.source in leaf or lineage.nodes[edge.source].kind is Kind.RUN
        assert edge.target in leaf
    assert {edge.source for edge in lineage.edges} <= lineage.nodes.keys()


# --- assessments --------------------------------------------------------------------------------------


def assessed(story: Story, *name: object, at: str | None = None, profile: str = "eu-gpai") -> Assessment:
    world = story.grow()
    size = None if at is None else story.indices[at] + 3  # its header and its seal follow
    claims = Claims(size)
    report = audit(world.source(), world.policy, listener=claims)
    return assess(claims, report, root(*name), PROFILES[profile])


def test_assessment_asks_what_the_law_asks() -> None:
    story = Story().change("tuned", architecture="BertModel", description="A small model.")
    assessment = assessed(story, "tuned")
    missing = [requirement.name for requirement, answer in assessment.answers if answer.stated is False]
    assert missing == ["energy"]
    assert [requirement.name for requirement, answer in assessment.answers if answer.stated is None] == [
        "systemic-risk"
    ]
    assert assessment.status == 3
    rows = {requirement.name: answer.indices for requirement, answer in assessment.answers}
    assert rows["release"] == (story.indices["release"],)


@pytest.mark.parametrize(
    ("edit", "missing"),
    [
        (lambda s: s.drop("release"), {"release"}),
        (lambda s: s.drop("summary"), {"compute", "content-summary", "copyright"}),
        (lambda s: s.change("tune-2", closed="checkpoint"), {"training"}),
        (lambda s: s.drop("corpus"), {"data"}),
        (lambda s: s.change("corpus", reservation=None), {"copyright"}),
        (lambda s: s.change("summary", compute=str(10**25)).about("evaluation", subject(TENSORS, "base")).about(
            "secret-result", subject(TENSORS, "base")), {"systemic-risk"}),
    ],
)  # fmt: skip
def test_assessment_names_what_is_missing(edit: Edit, missing: set[str]) -> None:
    story = Story().change("tuned", architecture="BertModel", description="A small model.")
    edit(story)
    answers = assessed(story, "tuned").answers
    assert {requirement.name for requirement, answer in answers if answer.stated is False} == missing | {"energy"}


def test_assessment_counts_only_what_concerns_the_model() -> None:
    """Another's faults in the same ledger leave a model's verdict alone, and its own do not."""
    story = Story().add("foreign", Step(OTHER_LAB, told.run("foreign-run", "noise", parent=names(TENSORS, "base-x"))))
    assert story.tell().consistency is ClaimsVerdict.INCONSISTENT
    story = Story().add("foreign", Step(OTHER_LAB, told.run("foreign-run", "noise", parent=names(TENSORS, "base-x"))))
    assert assessed(story, "tuned").judgement.consistency is not ClaimsVerdict.INCONSISTENT
    assert assessed(Story().change("summary", compute="1"), "tuned").judgement.consistency is ClaimsVerdict.INCONSISTENT


def test_assessment_as_of_an_earlier_size_knows_nothing_later() -> None:
    assessment = assessed(Story(), "tuned", at="tuned")
    assert assessment.size == assessment.judgement.claims.size < assessment.judgement.report.size
    stated = {requirement.name: answer.stated for requirement, answer in assessment.answers}
    assert (stated["training"], stated["release"], stated["content-summary"]) == (True, False, False)
    later = {result.rule.name: result.outcome for result in assessment.judgement.results}
    assert later["output-mismatch"] is Outcome.NOT_APPLICABLE
    assert later["file-drawer"] is not Outcome.FAIL


def test_model_that_the_log_does_not_know() -> None:
    assessment = assessed(Story(), "unknown")
    assert (assessment.known, assessment.status) == (False, 3)


def test_standing_sentence_is_the_specification_s() -> None:
    report = Story().tell().report
    sentence = standing_sentence(report, size=7, author=LAB, said="S", time="T")
    assert sentence.startswith("At size 7, finalized by institute-0.example (DE), ")
    assert sentence.endswith(f"author {LAB} had stated S no later than T. This does not show that S is true.")


# --- licences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "traits"),
    [
        ("MIT", set()),
        ("Apache-2.0 WITH LLVM-exception", set()),
        ("GPL-2.0+", {Trait.SHARE_ALIKE}),
        ("AGPL-3.0-or-later", {Trait.SHARE_ALIKE}),
        ("CC-BY-4.0", set()),
        ("CC-BY-NC-4.0", {Trait.NON_COMMERCIAL}),
        ("CC-BY-NC-SA-3.0-IGO", {Trait.NON_COMMERCIAL, Trait.SHARE_ALIKE}),
        ("CC-BY-ND-4.0", {Trait.NO_DERIVATIVES}),
        ("MIT OR GPL-3.0-only", set()),
        ("CC-BY-NC-4.0 AND GPL-3.0-only", {Trait.NON_COMMERCIAL, Trait.SHARE_ALIKE}),
        ("GPL-3.0-only OR CC-BY-SA-4.0", {Trait.SHARE_ALIKE}),
        ("LicenseRef-own", None),
        ("MIT AND LicenseRef-own", None),
        ("(MIT OR ISC)", None),
        ("mit", None),
        ("", None),
        (None, None),
    ],
)
def test_conditions_of_licences(expression: str | None, traits: set[Trait] | None) -> None:
    assert read_traits(expression) == (None if traits is None else frozenset(traits))
