"""The report as a document: what it says of honest, dishonest and broken ledgers (specs/report.md)."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from audit_ledger import LAB, OTHER_LAB, flip
from claims_ledger import Step, Story, dataset, names, root
from glasslog.audit.claims import CUSTODY_RULES
from glasslog.audit.reporting import lineage, make_statement
from glasslog.audit.reporting.summary import show_time
from glasslog.audit.rules import RULES
from glasslog.predicates.audit_report import AuditReport
from glasslog.predicates.base import Subject, list_subjects
from glasslog.predicates.compromise_notice import CompromiseNotice
from glasslog.predicates.values import RECORDS, TENSORS, Commitment
from glasslog.statement import from_json, to_json
from reported import make_order, report_on, report_story


def dishonest() -> Story:
    return Story().drop("opening").change("summary", compute="1500").change("tune-2", closed="continues")


def test_honest_story_is_reported_with_its_four_verdicts_apart() -> None:
    document = report_story(Story())
    verdicts = document.to_value()["verdicts"]
    assert verdicts == {"ledger": "intact", "signer": "known", "claims": "consistent", "world": "not assessed"}
    assert {rule.rule for rule in document.custody_rules} == CUSTODY_RULES.keys()
    assert {rule.rule for rule in document.ledger_rules} == RULES.keys()
    results = {rule.rule: rule.result for rule in document.ledger_rules}
    assert (results["AUDIT-01"], results["AUDIT-16"], results["AUDIT-17"], results["AUDIT-22"]) == (
        "pass", "pass", "unable", "unable",
    )  # fmt: skip
    assert document.findings_count == 0
    assert document.log.root == Story().grow().state.root.hex()


def test_dishonest_claims_are_named_in_words_and_with_indices() -> None:
    story = dishonest()
    document = report_story(story)
    rules = {rule.rule: rule for rule in document.custody_rules}
    assert document.verdicts.claims == "inconsistent"
    assert rules["compute-mismatch"].result == "fail"
    assert story.indices["summary"] in rules["compute-mismatch"].instances[0].indices
    assert any(CUSTODY_RULES["compute-mismatch"].shows in sentence for sentence in document.summary.outcome)
    assert [seal.author for seal in document.seals] == [LAB]


def test_every_statement_about_the_model_has_the_standing_sentence() -> None:
    story = Story()
    document = report_story(story)
    by_index = {one.index: one for one in document.standing.stated}
    said = by_index[story.indices["release"]]
    assert said.sentence == (
        f"At size {document.log.size}, finalized by institute-0.example (DE), institute-1.example (FR),"
        f" institute-2.example (JP), institute-3.example (BR), author {LAB} had stated the release at log index"
        f" {said.index} no later than {said.no_later_than}. This does not show that it is true."
    )
    assert said.no_later_than == "2027-01-29T23:00:00Z"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_800_000_000_999, "2027-01-15T08:00:00Z"),
        (951_868_799_000, "2000-02-29T23:59:59Z"),
    ],
)
def test_times_are_as_people_read_them(milliseconds: int, text: str) -> None:
    assert show_time(milliseconds) == text


def test_nothing_is_said_to_be_stated_where_the_record_is_broken() -> None:
    story = Story()
    world = story.grow()
    source = world.source()
    source.leaves[story.indices["release"]] = flip(source.leaves[story.indices["release"]], -1)
    document = report_on(source, make_order(world.policy.format()))
    assert (document.verdicts.ledger, document.verdicts.claims) == ("broken", "unable")
    assert "broken" in document.summary.outcome[0]
    assert document.findings_count > 0
    assert {one.sentence for one in document.standing.stated} == {None}
    assert document.standing.general.startswith("No such sentence")
    assert {rule.result for rule in document.ledger_rules} == {"fail", "unable"}


def test_stranger_policy_confirms_nothing() -> None:
    world = Story().grow()
    members = [replace(one, name=f"x-{one.name}") for one in world.policy.bft().members]
    stranger = world.policy.build("ledger.example/other", "other", members)
    document = report_on(world.source(), make_order(stranger.format()))
    assert document.verdicts.ledger == "broken"
    assert document.verdicts.signer == "unknown"
    assert not document.policy.confirms


def test_unpublished_log_can_not_be_said_to_be_anybodys() -> None:
    world = Story().grow()
    source = world.source()
    source.note = None
    document = report_on(source, make_order(world.policy.format()))
    assert (document.verdicts.ledger, document.verdicts.signer) == ("unable", "unknown")
    assert {one.sentence for one in document.standing.stated} == {None}
    results = {rule.rule: rule.result for rule in document.ledger_rules}
    assert results["AUDIT-16"] == "unable"


def test_what_is_not_published_is_not_reported() -> None:
    story = Story()
    world = story.grow()
    published = report_on(world.source(), make_order(world.policy.format()))
    for _ in range(3):
        world.add_height(world.make_blocks(LAB, (200,)))
    assert world.state.size > 256
    assert report_on(world.source(), make_order(world.policy.format())) == published


def test_notice_about_a_validators_key_stands_beside_the_key() -> None:
    story = Story()
    key = story.world.policy.bft().members[1].ed25519
    digest = {"sha256": sha256(key).digest()}
    said = CompromiseNotice(
        key=Commitment(digest=digest), use="cosignatures", since="2027-03-01T00:00:00Z", cause="leak"
    )
    story.add("warning", Step(OTHER_LAB, lambda _: (said, Subject("a key", digest))))
    document = report_story(story)
    noted = [one for one in document.keys if one.notices and one.owner == "institute-1.example"]
    assert [(one.fingerprint, one.notices[0].index) for one in noted] == [
        (sha256(key).hexdigest(), story.indices["warning"])
    ]
    assert len([one for one in document.keys if one.known_from == "the policy"]) == 12


def test_lineage_is_told_and_what_is_missing_of_it() -> None:
    document = report_story(Story().drop("corpus"))
    assert document.lineage is not None
    assert [part.name for part in document.lineage.parts if part.depth == 0] == ["tuned"]
    assert [one.fact for one in document.lineage.missing] == [f"data set {root('corpus').hex()[:16]} has no statement"]
    assert report_story(Story(), model=None).lineage is None
    unknown = report_story(Story(), model=bytes(32))
    assert (unknown.standing.stated, unknown.standing.stated_count) == ((), 0)


def test_long_lists_are_cut_and_counted() -> None:
    story = Story()
    sources = tuple(Step(LAB, dataset(f"part-{number}")) for number in range(4))
    for number, step in enumerate(sources):
        story.add(f"part-{number}", step, after="corpus")

    story.change("corpus", derived_from=tuple(_parts(260)))
    document = report_story(story)
    assert document.lineage is not None
    assert len(document.lineage.parts) == lineage.PARTS_MAX
    assert document.lineage.parts_count == 265
    assert len(document.lineage.missing) == lineage.MISSING_MAX
    assert document.lineage.missing_count == 256


def _parts(count: int) -> list[object]:

    return [names(RECORDS, f"part-{number}") for number in range(count)]


def test_reply_is_enclosed_whole() -> None:
    words = "We contest this.\n<b>\u202e".encode()
    document = report_story(Story(), reply=words)
    assert document.reply is not None
    assert (document.reply.text.encode(), document.reply.digest) == (words, sha256(words).hexdigest())


def test_json_has_one_spelling_in_ascii() -> None:
    document = report_story(Story(), question="Ist es wahr? \u202e\u0000 漢字")
    data = document.to_json()
    assert data.isascii()
    assert b"\0" not in data
    assert data == (json.dumps(json.loads(data), indent=2) + "\n").encode()
    assert json.loads(data) == document.to_value()
    assert document.digest == sha256(data).digest()


def test_statement_is_read_by_its_predicate_and_names_the_report() -> None:
    document = report_story(dishonest(), examiners=("Authority " * 40,), question="?" * 5_000)
    statement = from_json(to_json(make_statement(document)))
    said = AuditReport.read(statement)
    assert said.report.digest == {"sha256": document.digest}
    assert said.root.digest == {"sha256": bytes.fromhex(document.log.root)}
    assert (said.ledger, said.signer, said.claims) == ("intact", "known", "inconsistent")
    assert {one.rule for one in said.rules if one.result == "fail"} >= {"compute-mismatch", "file-drawer"}
    assert {name for one in list_subjects(statement) for name in one.digest} == {"sha256", TENSORS}


def test_no_statement_without_an_examiner() -> None:
    with pytest.raises(ValueError, match="named examiner"):
        make_statement(report_story(Story(), examiners=()))
