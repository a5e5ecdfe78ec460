"""A small honest history of two labs, told as statements in a real ledger, of which a test can change any one.

Lab 1 trains a base model on a corpus, sets bars, fine-tunes, evaluates, summarises and releases. Lab 2 uses it under an
agreement, carries a segment out again and examines it. Each statement stands in a height of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeAlias

from audit_ledger import LAB, OTHER_LAB, START, World, make_keys, make_statement, seed
from glasslog.agreement.evidence import Fault, of_headers
from glasslog.audit import audit
from glasslog.audit.claims import Claims, Judgement, judge_claims
from glasslog.block import build_block
from glasslog.bundle.bars import announce_bar, open_bar
from glasslog.bundle.fields import seal_statement
from glasslog.bundle.sealed import decode_item, seal_item
from glasslog.entry import SealedEntry, encode_leaf, number_entry
from glasslog.predicates.api_usage import ApiUsage
from glasslog.predicates.base import Predicate, Subject, statement_id
from glasslog.predicates.compromise_notice import CompromiseNotice
from glasslog.predicates.content_summary import ContentSummary, Source
from glasslog.predicates.dataset import Dataset, Reservation, SizeBand
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.evaluation_bar import EvaluationBar
from glasslog.predicates.evidence import evidence_statement
from glasslog.predicates.finding import Finding, Method, NullCalibration
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.replay import Replay, ReplayedSegment
from glasslog.predicates.rights import Constraint, Rights
from glasslog.predicates.rights import Rule as Term
from glasslog.predicates.training_run import BuildDefinition, TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.values import (
    HEAD,
    ORDER,
    RECORDS,
    STATEMENT,
    STEPS,
    TENSORS,
    Commitment,
    Organisation,
    Period,
    Quantity,
    Resource,
)
from glasslog.predicates.withdrawal import Withdrawal
from glasslog.statement import Statement, encode_statement

HOUR = 3_600_000
DAY = 24
SECRET = b"\x21" * 32

LAB_ORG = Organisation(name="Lab One", domain=LAB, jurisdiction="US")
OTHER_ORG = Organisation(name="Lab Two", domain=OTHER_LAB, jurisdiction="US")


def root(*words: object) -> bytes:
    """A digest that nothing else has."""
    return seed("claims", *words)


def names(algorithm: str, *words: object) -> Resource:
    return Resource(name=str(words[0]), digest={algorithm: root(*words)})


def fixes(algorithm: str, *words: object) -> Commitment:
    return Commitment(digest={algorithm: root(*words)})


def subject(algorithm: str, *words: object) -> Subject:
    return Subject(str(words[0]), {algorithm: root(*words)})


Said: TypeAlias = "tuple[Predicate, Subject] | Statement | SealedEntry"


@dataclass(frozen=True)
class Step:
    """One statement: who, what, and how many hours after the one before."""

    author: str
    make: Callable[[Story], Said]
    hours: int = 1
    members: Mapping[str, object] | None = None  # changed in what ``make`` returns
    about: Subject | None = None


class Story:
    """Steps by name, in order. ``tell`` makes the ledger and judges it."""

    def __init__(self) -> None:
        self.steps = dict(HONEST)
        self.ids: dict[str, bytes] = {}
        self.indices: dict[str, int] = {}
        self.roots: dict[str, bytes] = {}
        self.world = World()

    # --- changing ---------------------------------------------------------------------------------

    def change(self, name: str, **members: object) -> Story:
        """Change members of what one step says; callables are given the story when it is told."""
        step = self.steps[name]
        self.steps[name] = replace(step, members={**(step.members or {}), **members})
        return self

    def about(self, name: str, what: Subject) -> Story:
        self.steps[name] = replace(self.steps[name], about=what)
        return self

    def by(self, name: str, author: str) -> Story:
        self.steps[name] = replace(self.steps[name], author=author)
        return self

    def drop(self, *gone: str) -> Story:
        for name in gone:
            del self.steps[name]
        return self

    def move(self, name: str, *, after: str) -> Story:
        return self.add(name, self.steps.pop(name), after=after)

    def add(self, name: str, step: Step, *, after: str | None = None) -> Story:
        """Put a step behind another, or at the end."""
        items = [(key, value) for key, value in self.steps.items() if key != name]
        place = len(items) if after is None else 1 + [one for one, _ in items].index(after)
        self.steps = dict([*items[:place], (name, step), *items[place:]])
        return self

    def copy(self, name: str, of: str, **members: object) -> Story:
        """Add a step like another, changed, at the end."""
        return self.add(name, self.steps[of]).change(name, **members)

    # --- telling ----------------------------------------------------------------------------------

    def id(self, name: str) -> bytes:
        """The id of a statement that was made before, or of none."""
        return self.ids.get(name, root("never stated", name))

    def ref(self, name: str) -> Resource:
        return Resource(digest={STATEMENT: self.id(name)})

    def next_number(self, author: str) -> int:
        return self.world.state.tip(author, self.world.membership.genesis_hash).next_entry

    def grow(self) -> World:
        """Make the ledger and publish it."""
        time = START
        for name, step in self.steps.items():
            time += step.hours * HOUR
            said = self._say(step)
            number = self.next_number(step.author)
            if isinstance(said, SealedEntry):
                entry = encode_leaf(said)
            else:
                self.ids[name] = statement_id(said)
                entry = number_entry(step.author, number, encode_statement(said))
            self.indices[name] = len(self.world.leaves)
            self.world.add_height([self.world.make_block([entry], author=step.author)], time=time)
            self.roots[name] = self.world.state.root
        self.world.publish()
        return self.world

    def _say(self, step: Step) -> Statement | SealedEntry:
        said = step.make(self)
        if isinstance(said, SealedEntry | dict):
            return said
        predicate, about = said
        changed: dict[str, Any] = {
            key: value(self) if callable(value) else value for key, value in (step.members or {}).items()
        }
        return replace(predicate, **changed).statement(step.about or about)

    def tell(self) -> Judgement:
        """Make the ledger, audit it, and judge its claims."""
        world = self.grow()
        claims = Claims()
        report = audit(world.source(), world.policy, listener=claims)
        assert report.findings.kept == []
        return judge_claims(claims, report)


# --- what is said ---------------------------------------------------------------------------------


def dataset(name: str, **members: object) -> Callable[[Story], Said]:
    said = Dataset(
        name=name,
        records_root=fixes(RECORDS, name),
        order_root=fixes(ORDER, name, "order"),
        records=1_000,
        source_category=("crawled",),
        license="CC-BY-4.0",
        languages=("en",),
        collected=Period(start="2026-01-01", end="2026-06-30"),
        reservation=Reservation(reserved="honoured", protocols=("robots.txt",), checked="2026-01-01"),
    )
    return lambda _: (replace(said, **members), subject(RECORDS, name))  # type: ignore[arg-type]  # any members


BUILD = BuildDefinition(
    build_type="urn:glasslog:buildtype:training:v1",
    external_parameters={"lr": "0.001"},
    resolved_dependencies=(names(RECORDS, "corpus"),),
)


def run(name: str, initial: str, **members: object) -> Callable[[Story], Said]:
    said = TrainingRun(
        name=name,
        build_definition=BUILD,
        level="L2",
        initial_weights=fixes(TENSORS, initial),
        datasets=(names(RECORDS, "corpus"),),
        data_order=fixes(ORDER, "corpus", "order"),
        world_size=1,
        started="2027-01-15T00:00:00Z",
    )
    return lambda _: (replace(said, **members), subject(HEAD, name))  # type: ignore[arg-type]  # any members


def segment(
    name: str, of: str, number: int, steps: tuple[int, int], before: str, weights: str, **members: object
) -> Callable[[Story], Said]:
    said = TrainingSegment(
        run=fixes(HEAD, of),
        number=number,
        first_step=steps[0],
        last_step=steps[1],
        previous_head=fixes(HEAD, before),
        head=fixes(HEAD, name),
        steps_root=fixes(STEPS, name),
        params_root=fixes(TENSORS, weights),
        records=steps[1] - steps[0] + 1,
        skipped=0,
        flop="1000",
        closed="continues",
        ended="2027-01-16T00:00:00Z",
    )
    said = replace(said, **members)  # type: ignore[arg-type]  # any members
    digests = {HEAD: root(name)} | ({} if said.closed == "continues" else {TENSORS: root(weights)})
    return lambda _: (said, Subject(name, digests))


def model(name: str, **members: object) -> Callable[[Story], Said]:
    said = Model(
        name=name, format="safetensors", content_root=fixes(TENSORS, name), tensors=2, parameters=1_000,
        license="Apache-2.0",
    )  # fmt: skip
    return lambda _: (replace(said, **members), subject(TENSORS, name))  # type: ignore[arg-type]  # any members


BAR = EvaluationBar(
    metric="accuracy", comparator="gte", threshold="0.90", dataset=names(RECORDS, "holdout"),
    harness=Resource(digest={"sha256": root("harness")}), sample_size="500", due="2027-02-10",
)  # fmt: skip


def bar(_: Story) -> Said:
    return BAR, Subject("bar of tuned", {"sha256": root("bar")})


def sealed_bar(story: Story, number: int) -> tuple[bytes, bytes, Statement]:
    plain = BAR.statement(Subject("a secret bar", {"sha256": root("secret bar")}))
    item = seal_statement(plain, SECRET, whole=True).item
    return seal_item(item, story.world.membership.genesis_hash, LAB, number), decode_item(item)[0], plain


def seal(story: Story) -> Said:
    number = story.next_number(LAB)
    return SealedEntry(LAB, number, sealed_bar(story, number)[0])


def seal_of_lab_1(story: Story) -> Said:
    """Lab 2 seals what it saw that lab 1 had sealed in its last entry but one."""
    return SealedEntry(OTHER_LAB, story.next_number(OTHER_LAB), sealed_bar(story, story.next_number(LAB) - 2)[0])


def announce(story: Story, open_by: str = "2027-02-10") -> Said:
    commitment, _, _ = sealed_bar(story, story.next_number(LAB) - 1)
    return announce_bar(commitment, name="a secret bar", open_by=open_by)


def reveal(story: Story, *, later: int = 2, threshold: str | None = None) -> Said:
    number = story.next_number(LAB) - later
    _, salt, plain = sealed_bar(story, number)
    if threshold is not None:
        plain = replace(BAR, threshold=threshold).statement(Subject("a secret bar", {"sha256": root("secret bar")}))
    return open_bar(plain, genesis_hash=story.world.membership.genesis_hash, author=LAB, number=number, salt=salt)


def evaluation(story: Story) -> tuple[Evaluation, Subject]:
    said = Evaluation(
        metric="accuracy", value="0.95", comparator="gte", threshold="0.90", passed=True, sample_size="500",
        dataset=names(RECORDS, "holdout"), harness=Resource(digest={"sha256": root("harness")}), bar=story.ref("bar"),
        assurance_level="self-reported", measured="2027-01-20T00:00:00Z",
    )  # fmt: skip
    return said, subject(TENSORS, "tuned")


def secret_result(story: Story) -> Said:
    said, about = evaluation(story)
    return replace(said, bar=story.ref("opening")), about


def summary(_: Story) -> Said:
    band = SizeBand(modality="text", band="less than 1 billion tokens")
    said = ContentSummary(
        version="1", provider=LAB_ORG, models=("tuned-1",), size=(band,), latest_data="2026-06-30", languages=("en",),
        sources=(Source(category="crawled", datasets=(names(RECORDS, "corpus"),), size=(band,)),),
        reservation_measures="robots.txt is kept", illegal_content_measures="lists of known files", compute="3000",
    )  # fmt: skip
    return said, subject(TENSORS, "tuned")


def release(story: Story) -> Said:
    said = Release(
        purl="pkg:huggingface/lab/tuned@1", version="1", provider=LAB_ORG, model=story.ref("tuned"),
        runs=(names(HEAD, "tune-run"),), evaluations=(story.ref("evaluation"),), content_summary=story.ref("summary"),
        license="Apache-2.0", placed="2027-02-01", access="weights",
    )  # fmt: skip
    return said, subject(TENSORS, "tuned")


def replay(story: Story) -> Said:
    sampled = ReplayedSegment(segment=fixes(HEAD, "tune-2"), outcome="exact")
    beacon = Resource(digest={"sha256": story.roots.get("tune-2", root("no height"))})
    said = Replay(
        run=fixes(HEAD, "tune-run"), beacon=beacon, segments=2, sampled=(sampled,), detection_probability="0.5",
        outcome="exact", same_environment="same",
    )  # fmt: skip
    return said, subject(HEAD, "tune-run")


def corpus_terms(_: Story) -> Said:
    said = Rights(
        kind="policy", assigner=LAB_ORG, target=(names(RECORDS, "corpus"),), permissions=(Term(action="train"),),
        prohibitions=(Term(action="distribute"),),
    )  # fmt: skip
    return said, subject(RECORDS, "corpus")


def agreement(_: Story) -> Said:
    bound = Constraint(left="requests", operator="lteq", right="1000")
    said = Rights(
        kind="agreement", assigner=LAB_ORG, assignee=OTHER_ORG, target=(names(TENSORS, "tuned"),),
        permissions=(Term(action="infer", constraints=(bound,)),), valid=Period(start="2027-01-01", end="2027-12-31"),
    )  # fmt: skip
    return said, subject(TENSORS, "tuned")


def usage(side: str) -> Callable[[Story], Said]:
    def say(story: Story) -> Said:
        said = ApiUsage(
            agreement=story.ref("agreement"), side=side, period=Period(start="2027-02-01", end="2027-02-07"),
            volumes=(Quantity(unit="requests", amount="800"),),
        )  # fmt: skip
        return said, subject(TENSORS, "tuned")

    return say


def finding(_: Story) -> Said:
    said = Finding(
        suspect=names(TENSORS, "tuned"), reference=names(TENSORS, "base"), access="weights",
        method=Method(name="cosine of differences, version 1"), statistic="0.99", threshold="0.50",
        null_calibration=NullCalibration(pairs="1000", described="unrelated models", false_positive_rate="0.003"),
        outcome="linked", examiner=OTHER_ORG, limitations="says nothing of who was first",
    )  # fmt: skip
    return said, subject(TENSORS, "tuned")


def key_of(author: str) -> Commitment:
    return Commitment(digest={"sha256": sha256(make_keys(author).author.public).digest()})


def notice(_: Story) -> Said:
    said = CompromiseNotice(
        key=key_of(OTHER_LAB), use="blocks", since="2027-03-20T00:00:00Z", last_trusted_entry=1_000, cause="theft"
    )
    return said, Subject(OTHER_LAB, dict(key_of(OTHER_LAB).digest))


def withdrawal(what: str, algorithm: str = RECORDS) -> Callable[[Story], Said]:
    said = Withdrawal(target=names(algorithm, what), reason="superseded", since="2027-03-01")
    return lambda _: (said, subject(algorithm, what))


def fork(story: Story) -> Said:
    """Evidence that lab 2 signed two first blocks."""
    here, keys = story.world.membership.genesis_hash, make_keys(OTHER_LAB)
    one, other = (
        build_block(
            [number_entry(OTHER_LAB, 0, make_statement(salt))], genesis_hash=here, author=OTHER_LAB, seq=1, prev=here,
            first=0, time=START + salt, sign=keys.author.sign,
        ).leaf
        for salt in (1, 2)
    )  # fmt: skip
    evidence = of_headers(1, OTHER_LAB, one, other)
    assert evidence.fault is Fault.AUTHOR_FORK
    return evidence_statement(evidence.encode(), fault=evidence.fault.value, accused=evidence.accused)


HONEST: dict[str, Step] = {
    "corpus": Step(LAB, dataset("corpus")),
    "holdout": Step(LAB, dataset("holdout", source_category=("other-private",), license="CC0-1.0")),
    "corpus-terms": Step(LAB, corpus_terms),
    "base-run": Step(LAB, run("base-run", "noise")),
    "base-1": Step(LAB, segment("base-1", "base-run", 1, (1, 10), "base-run", "base", closed="finished")),
    "base": Step(LAB, model("base")),
    "bar": Step(LAB, bar),
    "seal": Step(LAB, seal),
    "announcement": Step(LAB, announce),
    "opening": Step(LAB, reveal),
    "tune-run": Step(LAB, run("tune-run", "base", parent=names(TENSORS, "base")), DAY),
    "tune-1": Step(LAB, segment("tune-1", "tune-run", 1, (1, 5), "tune-run", "halfway")),
    "tune-2": Step(LAB, segment("tune-2", "tune-run", 2, (6, 10), "tune-1", "tuned", closed="finished")),
    "tuned": Step(LAB, model("tuned", base_model=(names(TENSORS, "base"),), base_model_relation="finetune")),
    "evaluation": Step(LAB, evaluation, 6 * DAY),
    "secret-result": Step(LAB, secret_result),
    "summary": Step(LAB, summary),
    "release": Step(LAB, release, 7 * DAY),
    "replay": Step(OTHER_LAB, replay),
    "agreement": Step(LAB, agreement),
    "usage": Step(LAB, usage("provider"), 10 * DAY),
    "usage-there": Step(OTHER_LAB, usage("user")),
    "finding": Step(OTHER_LAB, finding),
    "notice": Step(OTHER_LAB, notice),
    "withdrawal": Step(LAB, withdrawal("holdout"), 20 * DAY),
}
"""The honest history. It begins on 2027-01-15, 08:00 UTC, and ends in the first days of March."""
