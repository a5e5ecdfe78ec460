"""Two replicas, or checkpoints, of one log: one history or two, and who signed both (specs/auditing.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from glasslog.audit.conflict import Culprit, Fork, SignedCheckpoint, convict, read_signed
from glasslog.audit.double_votes import VoteConflict, Voters, compare_votes, read_voters
from glasslog.audit.prefix import first_difference, prove_prefix, read_tiles
from glasslog.audit.source import Source
from glasslog.errors import ProtocolError
from glasslog.policy import Bft


class Relation(Enum):
    """What two published checkpoints are to one another."""

    SAME = "same"
    PREFIX = "prefix"
    FORK = "fork"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Side:
    """A signed note, and the replica it was published by; ``source`` is None for a note that came alone."""

    label: str
    note: bytes | None
    source: Source | None = None


@dataclass(slots=True)
class Comparison:
    """What comparing ``first`` and ``second`` came to; ``fact`` says it in a clause.

    ``undecided`` says why nothing can be said, and is empty where it can. ``differing_leaf`` is the first leaf whose
    hashes differ in the two replicas, published or not. ``signers`` are the policy's members under each checkpoint, by
    name; ``least`` is f + 1.
    """

    first: Side
    second: Side
    least: int
    relation: Relation = Relation.UNDECIDED
    fact: str = ""
    undecided: str = ""
    signers: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    fork: Fork | None = None
    differing_leaf: int | None = None
    culprits: list[Culprit] = field(default_factory=list[Culprit])
    votes: VoteConflict = field(default_factory=VoteConflict)

    @property
    def is_fork(self) -> bool:
        """Whether a quorum stands under each of two checkpoints that no one log has both."""
        return self.relation is Relation.FORK and not self.undecided

    @property
    def contradicts(self) -> bool:
        """Whether quorums signed what excludes one another: checkpoints or certificates."""
        return self.is_fork or bool(self.votes.contradictions)

    def to_value(self) -> dict[str, object]:
        """Return the JSON object of a report, with what anybody needs to check it."""
        fork = None
        if self.fork is not None:
            fork = {
                "smaller": self.fork.smaller.decode("utf-8", "replace"),
                "larger": self.fork.larger.decode("utf-8", "replace"),
                "prefix_root": self.fork.prefix_root.hex(),
                "proof": [value.hex() for value in self.fork.proof],
            }
        return {
            "first": self.first.label,
            "second": self.second.label,
            "relation": self.relation.value,
            "first_signers": list(self.signers[0]),
            "second_signers": list(self.signers[1]),
            "contradicts": self.contradicts,
            "fact": self.fact,
            "undecided": self.undecided or None,
            "differing_leaf": self.differing_leaf,
            "contradictions": self.votes.contradictions,
            "unvouched": sorted(self.votes.unvouched),
            "culprits": [culprit.to_value() for culprit in self.culprits],
            "culprits_least": self.least,
            "fork": fork,
        }


def collect_culprits(comparisons: Sequence[Comparison]) -> list[Culprit]:
    """Return the culprits of all comparisons, each offence once, by name."""
    found: dict[tuple[str, str], Culprit] = {}
    for comparison in comparisons:
        for culprit in comparison.culprits:
            found.setdefault((culprit.name, culprit.offence), culprit)
    return [found[key] for key in sorted(found)]


def compare(first: Side, second: Side, bft: Bft, others: Sequence[Source] = ()) -> Comparison:
    """Compare two sides under an auditor's policy. What a side states wrongly is said, never raised.

    ``others`` are logs of third sides, which may have what leads from one note to the other; none is believed.
    """
    comparison = Comparison(first, second, len(bft.members) - bft.quorum + 1)
    signed = [_read(side, bft, comparison) for side in (first, second)]
    comparison.signers = (_names(signed[0]), _names(signed[1]))
    if signed[0] is not None and signed[1] is not None:
        _relate(comparison, signed[0], signed[1], others)
        if comparison.fork is not None:
            comparison.culprits += convict(comparison.fork, bft)
        _require_quorums(comparison, signed[0], signed[1])
    if first.source is not None and second.source is not None:
        comparison.differing_leaf = _find_difference(first.source, second.source)
        voters = [read_voters(source, one) for source, one in zip((first.source, second.source), signed, strict=True)]
        _add_votes(comparison, voters)
    return comparison


def _read(side: Side, bft: Bft, comparison: Comparison) -> SignedCheckpoint | None:
    if side.note is None:
        comparison.undecided = comparison.undecided or f"{side.label} has no published checkpoint"
        return None
    try:
        return read_signed(side.note, bft)
    except ProtocolError as error:
        comparison.undecided = comparison.undecided or f"the checkpoint of {side.label}: {error}"
        return None


def _names(signed: SignedCheckpoint | None) -> tuple[str, ...]:
    return () if signed is None else tuple(sorted(signed.signers))


def _relate(comparison: Comparison, one: SignedCheckpoint, other: SignedCheckpoint, others: Sequence[Source]) -> None:
    """Find out whether one log has both checkpoints; where it has not, keep what shows it."""
    sides = [(comparison.first, one), (comparison.second, other)]
    (low_side, low), (high_side, high) = sorted(
        sides, key=lambda each: (each[1].checkpoint.size, each[1].checkpoint.root)
    )
    size, whole = low.checkpoint.size, high.checkpoint.size
    notes = (low_side.note or b"", high_side.note or b"")
    if size == whole:
        if low.checkpoint.root == high.checkpoint.root:
            comparison.relation, comparison.fact = Relation.SAME, f"both state one root at size {size}"
        else:
            comparison.relation = Relation.FORK
            comparison.fork = Fork(*notes, high.checkpoint.root)
            comparison.fact = f"they state different roots at size {size}"
        return
    if size == 0:
        comparison.relation, comparison.fact = Relation.PREFIX, "an empty log begins every other"
        return
    for source in (high_side.source, low_side.source, *others):
        if source is None or source.size < whole:
            continue
        try:
            prefix, proof = prove_prefix(source, size, whole, high.checkpoint.root)
        except ProtocolError:
            continue
        if prefix == low.checkpoint.root:
            comparison.relation = Relation.PREFIX
            comparison.fact = f"the log at size {whole} begins with the one at size {size}"
        else:
            comparison.relation = Relation.FORK
            comparison.fork = Fork(*notes, prefix, proof)
            comparison.fact = f"the log that {high_side.label} states at size {whole} has another root at size {size}"
        return
    comparison.undecided = f"nobody here has the log that {high_side.label} states at size {whole}"


def _require_quorums(comparison: Comparison, one: SignedCheckpoint, other: SignedCheckpoint) -> None:
    for side, signed in ((comparison.first, one), (comparison.second, other)):
        if not signed.has_quorum and not comparison.undecided:
            count = f"{len(signed.signers)} of the policy's validators cosigned it, {signed.quorum} needed"
            comparison.undecided = f"no quorum stands under the checkpoint of {side.label}: {count}"


def _find_difference(one: Source, other: Source) -> int | None:
    """Return the first leaf at which the two trees part, by their tiles; None where they do not, or cannot say."""
    try:
        readers = read_tiles(one).subtree_hash, read_tiles(other).subtree_hash
        return first_difference(*readers, min(one.size, other.size))
    except (ProtocolError, ValueError):  # the audit of that replica says what is wrong with its tiles
        return None


def _add_votes(comparison: Comparison, voters: Sequence[Voters | None]) -> None:
    one, other = voters
    if one is not None and other is not None:
        comparison.votes = compare_votes(one, other)
        comparison.culprits += comparison.votes.culprits
