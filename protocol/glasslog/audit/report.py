"""What an audit says: findings, facts and figures, one verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from glasslog.audit.comparison import Comparison, collect_culprits
from glasslog.audit.conflict import Culprit
from glasslog.audit.rules import RULES
from glasslog.bundle import Finalizer

_HISTORIES = {"AUDIT-22", "AUDIT-23"}  # broken by no replica alone, but by two beside one another
FINDINGS_MAX = 100  # one flipped byte makes few; a forged replica would make millions


class Verdict(Enum):
    """*intact*: all that was checked holds, and the policy confirms whose log it is. *unable*: cannot be said."""

    INTACT = "intact"
    BROKEN = "broken"
    UNABLE = "unable"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold, and where: ``leaf`` is a log index, or None where it is about no one leaf."""

    rule: str
    where: str
    fact: str
    leaf: int | None = None

    @property
    def line(self) -> str:
        """The finding in one line."""
        return f"{self.rule} {self.where}: {self.fact}"

    def to_value(self) -> dict[str, object]:
        """Return the JSON object of a report."""
        rule = RULES[self.rule]
        value: dict[str, object] = {"rule": self.rule, "where": self.where, "leaf": self.leaf, "fact": self.fact}
        return value | {"must_hold": rule.holds, "specified_by": rule.sources.split(", ")}


@dataclass(slots=True)
class Findings:
    """The first findings, and how many there were in all."""

    kept: list[Finding] = field(default_factory=list[Finding])
    count: int = 0

    def add(self, rule: str, where: str, fact: str, leaf: int | None = None) -> None:
        """Note that a rule does not hold."""
        assert rule in RULES, "an audit cites the rules it lists"
        self.count += 1
        if len(self.kept) < FINDINGS_MAX:
            self.kept.append(Finding(rule, where, fact, leaf))

    def at_leaf(self, rule: str, index: int, fact: str) -> None:
        """Note that a rule does not hold at one leaf."""
        self.add(rule, f"leaf {index}", fact, index)


@dataclass(frozen=True, slots=True)
class Conviction:
    """Evidence that was entered into the log at ``index``, and holds: ``fault`` is a name of A14."""

    index: int
    accused: str
    fault: str


@dataclass(slots=True)
class Report:
    """The outcome of an audit. ``published`` and ``certified`` are sizes: what is final by either, 0 for nothing."""

    label: str
    findings: Findings = field(default_factory=Findings)
    network: str | None = None
    origin: str | None = None
    genesis_hash: bytes | None = None
    size: int = 0
    root: bytes = b""
    height: int = 0
    members: int = 0
    blocks: int = 0
    entries: int = 0
    published: int = 0
    published_root: bytes | None = None
    published_height: int | None = None
    certified: int = 0
    certified_height: int = 0
    certificates: int = 0
    finalized_by: tuple[Finalizer, ...] = ()
    policy_confirms: bool = False
    notices: list[str] = field(default_factory=list[str])
    unchecked: list[str] = field(default_factory=list[str])
    comparisons: list[Comparison] = field(default_factory=list[Comparison])
    convicted: list[Conviction] = field(default_factory=list[Conviction])

    @property
    def culprits(self) -> list[Culprit]:
        """Whose keys stand under two statements that no honest key makes both, each offence once, by name."""
        return collect_culprits(self.comparisons)

    @property
    def undecided(self) -> list[Comparison]:
        """The comparisons that came to nothing."""
        return [comparison for comparison in self.comparisons if comparison.undecided and not comparison.contradicts]

    @property
    def verdict(self) -> Verdict:
        """Intact only where a policy confirms the origin: anyone can make up a log that is consistent in itself."""
        if self.findings.count:
            return Verdict.BROKEN
        return Verdict.INTACT if self.policy_confirms and not self.undecided else Verdict.UNABLE

    @property
    def status(self) -> int:
        """Exit status: 0 intact, 1 broken, 3 self-consistent, but origin or comparison is not confirmed."""
        return {Verdict.INTACT: 0, Verdict.BROKEN: 1, Verdict.UNABLE: 3}[self.verdict]

    @property
    def sentence(self) -> str:
        """What this audit shows, and what it does not, in words."""
        names = ", ".join(f"{each.name} ({each.jurisdiction})" for each in self.finalized_by)
        match self.verdict:
            case Verdict.INTACT:
                shown = f"The log {self.origin} up to size {self.published} is what {names} finalized, leaf by leaf."
            case Verdict.BROKEN if {finding.rule for finding in self.findings.kept} <= _HISTORIES:
                shown = (
                    f"Two histories of {self.origin} were finalized: rely on neither until it is known which stands."
                )
            case Verdict.BROKEN:
                shown = "This replica is not what its authors and validators signed: do not rely on it."
            case Verdict.UNABLE if self.policy_confirms:
                shown = f"The log {self.origin} agrees with itself. Whether it is the only one cannot be said here."
            case Verdict.UNABLE:
                shown = "This replica agrees with itself. Without a policy that confirms it, anybody may have made it."
        return f"{shown} No audit shows that a statement is true."

    def to_value(self) -> dict[str, object]:
        """Return the report as a JSON object."""
        return {
            "verdict": self.verdict.value,
            "status": self.status,
            "path": self.label,
            "network": self.network,
            "origin": self.origin,
            "genesis_hash": _hex(self.genesis_hash),
            "size": self.size,
            "root": self.root.hex(),
            "height": self.height,
            "members": self.members,
            "blocks": self.blocks,
            "entries": self.entries,
            "published": self.published,
            "published_root": _hex(self.published_root),
            "published_height": self.published_height,
            "unpublished": self.size - self.published,
            "certified": self.certified,
            "certified_height": self.certified_height,
            "certificates": self.certificates,
            "finalized_by": [
                {"name": each.name, "jurisdiction": each.jurisdiction, "time": each.time} for each in self.finalized_by
            ],
            "origin_confirmed": self.policy_confirms,
            "findings": [finding.to_value() for finding in self.findings.kept],
            "findings_count": self.findings.count,
            "notices": self.notices,
            "not_checked": self.unchecked,
            "comparisons": [comparison.to_value() for comparison in self.comparisons],
            "culprits": [culprit.to_value() for culprit in self.culprits],
            "sentence": self.sentence,
        }


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()
