"""Two checkpoints of one log that no one history holds, and who signed both (specs/auditing.md, AUDIT-22; T1, L10).

A cosignature says that the signer holds every leaf below a size, under this root, and it never takes one back (L9). So
whoever signed two roots that cannot be of one growing log broke the rules, or its key did. Names come from an
auditor's policy alone: a genesis that a stranger made up could name anybody. Only cosignatures (0x04 and 0x06) count,
as they do for a quorum; a log line (0x01) accuses nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from glasslog import merkle
from glasslog.checkpoint import Checkpoint, check_line, cosignature_time
from glasslog.errors import ProofError
from glasslog.identity import VerifierKey
from glasslog.note import Note, NoteLine
from glasslog.policy import Bft, PolicyMember


@dataclass(frozen=True, slots=True)
class SignedLine:
    """A cosignature that holds: the key, and the line as it stands in the note."""

    key: VerifierKey
    line: NoteLine

    def to_value(self) -> dict[str, object]:
        """Return the JSON object of a report; ``time`` is in seconds since 1970."""
        time = cosignature_time(self.key, self.line)
        return {"key": self.key.format(), "line": self.line.format().rstrip("\n"), "time": time}


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and, by the name of each policy member that cosigned it, the lines that hold."""

    note: Note
    checkpoint: Checkpoint
    signers: Mapping[str, tuple[SignedLine, ...]]
    quorum: int

    @property
    def has_quorum(self) -> bool:
        """Whether as many members cosigned as the policy asks for."""
        return len(self.signers) >= self.quorum


@dataclass(frozen=True, slots=True)
class Fork:
    """What convicts: two notes, and the proof that the log of ``larger`` does not begin with that of ``smaller``.

    ``prefix_root`` is the root of the larger log at the smaller size, and ``proof`` the RFC 9162 consistency proof from
    it to the larger root; empty where both are of one size.
    """

    smaller: bytes
    larger: bytes
    prefix_root: bytes
    proof: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Culprit:
    """A member whose key stands under two statements that no honest key makes both.

    ``offence`` is ``two-roots``, with ``first`` and ``second`` the lines under the two notes, or the name of a fault
    (A14) with the two votes, in hexadecimal. ``place`` says where: a size or a view.
    """

    name: str
    jurisdiction: str
    offence: str
    place: str
    key: str
    first: Mapping[str, object]
    second: Mapping[str, object]
    evidence: bytes = b""

    def to_value(self) -> dict[str, object]:
        """Return the JSON object of a report."""
        value: dict[str, object] = {"name": self.name, "jurisdiction": self.jurisdiction, "offence": self.offence}
        value |= {"place": self.place, "key": self.key, "first": dict(self.first), "second": dict(self.second)}
        return value | ({"evidence": self.evidence.hex()} if self.evidence else {})


def read_signed(data: bytes, bft: Bft) -> SignedCheckpoint:
    """Return a note's checkpoint and who cosigned it. Lines that do not hold, or by nobody known, count for nothing.

    Raises:
        DecodeError: NOTE-nn or CHECKPOINT-nn.
        ProofError: CONFLICT-01, it is of another log than the policy.
    """
    note = Note.parse(data)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != bft.origin:
        raise ProofError("CONFLICT-01", f"a checkpoint of {checkpoint.origin}, the policy is of {bft.origin}")
    owners = {(key.name, key.key_id): (member.name, key) for member, key in _cosigning_keys(bft)}
    signers: dict[str, dict[VerifierKey, SignedLine]] = {}
    for line in note.lines:
        name, key = owners.get((line.name, line.key_id), (None, None))
        if name is None or key is None or key in signers.get(name, {}):
            continue
        if check_line(key, note.text, line.signature):
            signers.setdefault(name, {})[key] = SignedLine(key, line)
    held = {name: tuple(lines.values()) for name, lines in signers.items()}
    return SignedCheckpoint(note, checkpoint, held, bft.quorum)


def _cosigning_keys(bft: Bft) -> list[tuple[PolicyMember, VerifierKey]]:
    pairs = zip(bft.members, bft.cosigners, strict=True)
    return [(member, key) for member, cosigner in pairs for key in (cosigner.ed25519, cosigner.mldsa44)]


def check_fork(fork: Fork, bft: Bft) -> tuple[SignedCheckpoint, SignedCheckpoint]:
    """Return the smaller and the larger of two checkpoints that no one log has both, or raise.

    Raises:
        ProtocolError: NOTE-nn, CHECKPOINT-nn; CONFLICT-01 another log; CONFLICT-02 one log may have both;
            PROOF-01 to PROOF-03, the proof does not lead from ``prefix_root`` to the larger root.
    """
    smaller, larger = read_signed(fork.smaller, bft), read_signed(fork.larger, bft)
    low, high = smaller.checkpoint, larger.checkpoint
    if low.size == 0 or fork.prefix_root == low.root:
        raise ProofError("CONFLICT-02", f"one log may have both: they agree at size {low.size}")
    merkle.verify_consistency(low.size, high.size, fork.proof, fork.prefix_root, high.root)
    return smaller, larger


def convict(fork: Fork, bft: Bft) -> tuple[Culprit, ...]:
    """Return every member that cosigned both checkpoints, in the policy's order: anyone can repeat this offline.

    Where a quorum stands under each, they are at least 2q - n >= f + 1 (A15). Raises what ``check_fork`` raises.
    """
    smaller, larger = check_fork(fork, bft)
    culprits: list[Culprit] = []
    for member in bft.members:
        one, other = smaller.signers.get(member.name), larger.signers.get(member.name)
        if one and other:
            first, second = _best_pair(one, other)
            sizes = {smaller.checkpoint.size, larger.checkpoint.size}
            place = "size " + " and ".join(map(str, sorted(sizes)))
            lines = (first.to_value(), second.to_value())
            culprits.append(
                Culprit(member.name, member.jurisdiction, "two-roots", place, first.key.format(), *lines),
            )
    return tuple(culprits)


def _best_pair(one: Sequence[SignedLine], other: Sequence[SignedLine]) -> tuple[SignedLine, SignedLine]:
    """Two lines by one key say more than lines by two keys of one member."""
    same = [(first, second) for first in one for second in other if first.key == second.key]
    return same[0] if same else (one[0], other[0])
