"""Honest ledgers of 200 seeds: the audit finds nothing wrong with them, and no custody rule fails.

Labs state honest histories, cut off wherever a seed's blocks end, through whatever the network suffers. Where a seed
has an author that forks, that is the one rule that fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from audit_ledger import MemorySource, rebuild_tiles
from claims_ledger import BAR, BUILD, Story, dataset, fixes, model, names, root, run, segment, subject
from glasslog.audit import Verdict, audit, engine, walk
from glasslog.audit.claims import Claims, Outcome, judge_claims
from glasslog.block import Block
from glasslog.entry import number_entry
from glasslog.predicates.base import Predicate, Subject, statement_id
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.release import Release
from glasslog.predicates.values import HEAD, ORDER, RECORDS, STATEMENT, TENSORS, Resource
from glasslog.statement import Statement, encode_statement
from simulation import authors, suite
from simulation.cluster import Cluster
from simulation.swarm import draw

SEEDS = 200
STORY = Story()
CHUNKS = 8


def say(made: object) -> Statement:
    assert isinstance(made, tuple)
    predicate, about = made
    assert isinstance(predicate, Predicate)
    return predicate.statement(about)


def honest_history(author: str, random: Random) -> Iterator[Statement]:
    """Trainings one after the other, each on from the last, with all that an honest lab states of them."""
    parent = f"{author} nothing"
    for number in range(1_000):
        data, tests, head, weights = (f"{author} {word} {number}" for word in ("data", "tests", "run", "weights"))
        yield say(dataset(data)(STORY))
        yield say(dataset(tests, license="CC0-1.0")(STORY))
        bar = replace(BAR, dataset=names(RECORDS, tests), due="2999-12-31").statement(
            Subject("bar", {"sha256": root(head)})
        )
        yield bar
        continued = names(TENSORS, parent) if number else None
        trained = {
            "datasets": (names(RECORDS, data),), "parent": continued, "data_order": fixes(ORDER, data, "order"),
            "build_definition": replace(BUILD, resolved_dependencies=(names(RECORDS, data),)),
        }  # fmt: skip
        yield say(run(head, parent, **trained)(STORY))
        before, steps = head, 0
        for part in range(1, random.randint(2, 5)):
            name, after = f"{head} {part}", steps + random.randint(1, 50)
            yield say(segment(name, head, part, (steps + 1, after), before, name)(STORY))
            before, steps = name, after
        last = segment(f"{head} end", head, part + 1, (steps + 1, steps + 9), before, weights, closed="finished")
        yield say(last(STORY))
        bases = {"base_model": (continued,), "base_model_relation": "finetune"} if continued else {}
        stated = say(model(weights, **bases)(STORY))
        yield stated
        result = Evaluation(
            metric="accuracy", value="0.95", comparator="gte", threshold="0.90", passed=True,
            dataset=names(RECORDS, tests), harness=Resource(digest={"sha256": root("harness")}),
            bar=Resource(digest={STATEMENT: statement_id(bar)}), assurance_level="self-reported",
        ).statement(subject(TENSORS, weights))  # fmt: skip
        yield result
        yield Release(
            purl="pkg:generic/weights@1", version="1", model=Resource(digest={STATEMENT: statement_id(stated)}),
            runs=(names(HEAD, head),), evaluations=(Resource(digest={STATEMENT: statement_id(result)}),),
            license="Apache-2.0", placed="2027-02-01", access="weights",
        ).statement(subject(TENSORS, weights))  # fmt: skip
        parent = weights


def run_seed(validators: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Run a seed whose honest authors state honest histories."""
    histories: dict[str, Iterator[Statement]] = {}

    def make_block(
        genesis_hash: bytes, author: str, seq: int, prev: bytes, first: int, count: int, *, salt: int = 0
    ) -> Block:
        if author == "forker":
            return suite.make_block(genesis_hash, author, seq, prev, first, count, salt=salt)
        history = histories.setdefault(author, honest_history(author, Random(f"{author} {seed}")))
        entries = [number_entry(author, first + at, encode_statement(next(history))) for at in range(count)]
        return suite.seal_block(genesis_hash, author, seq, prev, first, entries)

    monkeypatch.setattr(authors, "make_block", make_block)
    cluster = Cluster(draw(validators, seed))
    cluster.run()
    return cluster


def read_ledger(cluster: Cluster) -> MemorySource:
    source = MemorySource(list(cluster.oracle.leaves), {}, None, [256] * (len(cluster.oracle.leaves) // 256 + 1), None)
    rebuild_tiles(source)
    return source


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_honest_ledgers_of_seeds_fail_no_rule(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (walk, engine):
        monkeypatch.setattr(module, "verify_ed25519", suite.verify)  # the simulation's cheap signatures
    statements, outcomes = 0, Counter[str]()
    for seed in range(chunk * SEEDS // CHUNKS, (chunk + 1) * SEEDS // CHUNKS):
        cluster = run_seed(4 + seed % 4, seed, monkeypatch)
        claims = Claims()
        report = audit(read_ledger(cluster), listener=claims)
        assert [one.line for one in report.findings.kept] == [], seed
        assert report.verdict is Verdict.UNABLE  # no policy: whose log it is, nobody said
        judgement = judge_claims(claims, report)
        failed = {result.rule.name for result in judgement.results if result.outcome is Outcome.FAIL}
        forked = {"author-fork"} if any("author-fork" in kind for kind in cluster.evidence) else set[str]()
        assert failed == forked, (seed, [result.kept for result in judgement.results if result.rule.name in failed])
        statements += len(claims)
        outcomes.update(f"{result.rule.name} {result.outcome.value}" for result in judgement.results)
    assert statements >= 5 * SEEDS // CHUNKS
    assert {"step-gap pass", "data-committed-late pass", "parent-mismatch pass"} & outcomes.keys()
