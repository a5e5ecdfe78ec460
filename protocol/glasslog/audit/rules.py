"""The rules an audit checks, by the code its findings carry (specs/auditing.md lists them)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold, and the rules of the specifications that say so."""

    holds: str
    sources: str


RULES: dict[str, Rule] = {
    "AUDIT-01": Rule("the leaves are all there, without gap, and are framed as they should be", "L2"),
    "AUDIT-02": Rule("the log begins with its genesis leaf and the members it commits to", "L1"),
    "AUDIT-03": Rule("every leaf stands where the order of leaves puts its kind", "L7"),
    "AUDIT-04": Rule("every entry is canonical and carries its author's next number", "L2, L6"),
    "AUDIT-05": Rule("every block's entries are those that its author signed", "L6"),
    "AUDIT-06": Rule("every block header is canonical and signed by an admitted author for this network", "L6"),
    "AUDIT-07": Rule("every author's blocks are a chain: number, prev and first entry follow", "L6"),
    "AUDIT-08": Rule("authors stand in order in a height, and each once", "L7"),
    "AUDIT-09": Rule("blocks and heights keep their limits, and authors their quotas", "L6, L8"),
    "AUDIT-10": Rule("seals follow one another: height, view, time, and the number of blocks", "L7"),
    "AUDIT-11": Rule("seals state the epoch and the hash of its membership", "L1, L7"),
    "AUDIT-12": Rule("stored tiles are those that the leaves make, full and partial, on every level", "L3"),
    "AUDIT-13": Rule("the published checkpoint is a checkpoint of this log, with no line that does not count", "L10"),
    "AUDIT-14": Rule("the published checkpoint ends at a height and states the root that the leaves make", "L9, L10"),
    "AUDIT-15": Rule("a quorum of the log's own validators cosigned the published checkpoint", "L10"),
    "AUDIT-16": Rule("a quorum of the policy's validators cosigned the published checkpoint", "L10"),
    "AUDIT-17": Rule("archived proposals are what the leaves say, each the child of the one before", "A2, A17"),
    "AUDIT-18": Rule("archived certificates are signed by a quorum", "A15, A16"),
    "AUDIT-19": Rule("archived certificates do not contradict one another or what is final", "A4, A16"),
    "AUDIT-20": Rule("archived evidence convicts whom it accuses", "A14"),
    "AUDIT-21": Rule("the tips that the replica states are where the authors' chains end", "L6"),
    "AUDIT-22": Rule("two checkpoints that quorums cosigned are of one history", "L9, L10, T1"),
    "AUDIT-23": Rule("certificates of quorums do not exclude one another from one replica to another", "A4, A14, A16"),
}
