"""The report as data: one tree, from which JSON, pages and print are made and to which none adds (G1).

Digests are lower-case hexadecimal and times RFC 3339 in UTC, as in every face of it. Lists that a ledger's authors can
make long are cut (G3); the count beside each says how many there were.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from typing import cast

FORMAT = "glasslog-report/1"


@dataclass(frozen=True, slots=True)
class Software:
    """What the report was made with: ``digest`` is SHA-256 over the installed files (G6)."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key that the examiner signs the report with."""

    algorithm: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Examiner:
    """Who examined, and when they were done by their own clock."""

    names: tuple[str, ...]
    finished: str
    keys: tuple[SigningKey, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """The question in the examiner's words; ``model`` is the content root that it is about."""

    question: str
    scope: str
    model: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The report in plain sentences, for who reads one page of it."""

    outcome: tuple[str, ...]
    does_not_show: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finalizer:
    """A validator whose signature stands under the log at this size, and when by its own clock."""

    name: str
    jurisdiction: str
    time: str


@dataclass(frozen=True, slots=True)
class Log:
    """Which log, and how much of it."""

    origin: str | None
    network: str | None
    genesis: str | None
    size: int
    root: str
    heights: int
    entries: int
    blocks: int
    statements: int
    sealed: int
    finalized_size: int
    finalized_by: tuple[Finalizer, ...]


@dataclass(frozen=True, slots=True)
class Trusted:
    """The policy: ``digest`` is SHA-256 of its file, ``source`` how the examiner says it was obtained."""

    digest: str
    source: str
    validators: int
    quorum: int
    confirms: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """A statement in the ledger that a key is, or may be, in other hands."""

    index: int
    by: str
    since: str
    cause: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key whose signatures were relied on, and what the ledger says against it."""

    owner: str
    jurisdiction: str
    use: str
    fingerprint: str
    known_from: str
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Four answers to four questions, never merged (Q2)."""

    ledger: str
    signer: str
    claims: str
    world: str


@dataclass(frozen=True, slots=True)
class Stated:
    """One statement about the asked model, with the standing sentence (Q4); None where the ledger does not bear it."""

    index: int
    author: str
    predicate: str
    no_later_than: str
    sentence: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the log shows at best. ``general`` speaks of all authors, ``stated`` of the asked model."""

    general: str
    stated: tuple[Stated, ...]
    stated_count: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A place at which a rule of the ledger does not hold."""

    where: str
    leaf: int | None
    fact: str


@dataclass(frozen=True, slots=True)
class LedgerRule:
    """One rule of the ledger's audit: *pass*, *fail*, or *unable* where it was not looked at or cannot be said."""

    rule: str
    result: str
    must_hold: str
    cites: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """One place that did not pass a custody rule, with the log indices that it rests on."""

    result: str
    indices: tuple[int, ...]
    fact: str


@dataclass(frozen=True, slots=True)
class CustodyRule:
    """One custody rule, what it gave, and what a failure shows and does not show."""

    rule: str
    severity: str
    verdict: str
    result: str
    must_hold: str
    cites: str
    shows: str
    does_not_show: str
    passed: int
    failed: int
    unable: int
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class NotChecked:
    """What was not looked at, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Seals:
    """An author's sealed entries that nothing in the log opens; ``first`` is the log index of the first."""

    author: str
    jurisdiction: str
    unopened: int
    first: int


@dataclass(frozen=True, slots=True)
class Clock:
    """A kind of time in this report, and whose clock it is by."""

    time: str
    by: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the other side says to it: its own words, whole."""

    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """A model, training run or data set in a lineage; ``author`` is empty where the log has no statement of it."""

    kind: str
    digest: str
    name: str
    author: str
    depth: int


@dataclass(frozen=True, slots=True)
class Link:
    """``source`` went into ``target``, as the statement at ``index`` says."""

    source: str
    target: str
    relation: str
    index: int


@dataclass(frozen=True, slots=True)
class Missing:
    """What a lineage names and the log has no statement of; ``index`` is of who names it, None for what was asked."""

    fact: str
    index: int | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """What went into the asked model, as far as authors stated it."""

    model: str
    parts: tuple[Part, ...]
    parts_count: int
    links: tuple[Link, ...]
    links_count: int
    missing: tuple[Missing, ...]
    missing_count: int


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A whole report."""

    format: str
    asked: Asked
    examiner: Examiner
    summary: Summary
    verdicts: Verdicts
    standing: Standing
    log: Log
    policy: Trusted
    keys: tuple[Key, ...]
    key_validity: tuple[str, ...]
    ledger_rules: tuple[LedgerRule, ...]
    findings_count: int
    notices: tuple[str, ...]
    rule_set: str
    custody_rules: tuple[CustodyRule, ...]
    lineage: Lineage | None
    seals: tuple[Seals, ...]
    not_checked: tuple[NotChecked, ...]
    clocks: tuple[Clock, ...]
    software: Software
    reply: Reply | None

    def to_value(self) -> dict[str, object]:
        """Return the JSON object, members in the order in which they are declared."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}

    def to_json(self) -> bytes:
        """Return the report's one spelling as JSON: indented, ASCII alone, so that no letter hides another (G1)."""
        return (json.dumps(self.to_value(), indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the JSON: what is signed, and by what a statement names the report."""
        return sha256(self.to_json()).digest()


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in cast("tuple[object, ...]", value)]
    return value
