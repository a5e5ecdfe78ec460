"""Cosignatures and published checkpoints (specs/log.md, L9 and L10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from glasslog import codec
from glasslog.agreement.effects import CosignIntent, PublishedNote
from simulation.oracles.violation import Violation
from simulation.oracles.witness import Witness
from simulation.suite import public_key, verify


def judge_intent(witness: Witness, intent: CosignIntent) -> None:
    """L9: only what is final here, never smaller, never another root, never an earlier time."""
    name, size = witness.name, intent.size
    if witness.recovering_from is not None:
        raise Violation(f"A10 {name} cosigns size {size} before it has recovered its state")
    if witness.sizes.get(size) != intent.root:
        raise Violation(f"L9 {name} cosigns size {size}, which is not final there")
    if size < witness.intent_size:
        raise Violation(f"L9 {name} cosigns size {size} after {witness.intent_size}")
    root, time = witness.intents.get(size, (intent.root, 0))
    if root != intent.root or intent.time < time:
        raise Violation(f"L9 {name} cosigns size {size} with another root or an earlier time")
    if intent.time < witness.intent_time:
        raise Violation(f"L9 {name} cosigns size {size} at {intent.time}, after {witness.intent_time}")
    witness.intents[size] = intent.root, intent.time
    witness.intent_size, witness.intent_time = size, intent.time


class Publication:
    """Judges what honest members take for published."""

    def __init__(self, quorum: int, voters: Sequence[Witness], honest: set[str], final: Mapping[int, bytes]) -> None:
        self._quorum = quorum
        self._voters = voters
        self._honest = honest
        self._final = final  # root of each final size

    def judge(self, witness: Witness, record: PublishedNote) -> None:
        """L10: q distinct validators under one final size and root; published sizes never shrink."""
        name = witness.name
        match codec.decode(record.note, size_max=1 << 20):
            case [int(size), bytes(root), list(lines)]:
                pass
            case _:
                raise Violation(f"L10 {name} publishes what is no note")
        if size != record.size or self._final.get(size) != root:
            raise Violation(f"L10 {name} publishes size {size}, which is not final")
        voters = {self._judge_line(name, size, root, line) for line in lines}
        if len(voters) < self._quorum or len(voters) != len(lines):
            raise Violation(f"L10 {name} publishes size {size} with {sorted(voters)}")
        if size < witness.published:
            raise Violation(f"L10 {name} publishes size {size} after {witness.published}")
        witness.published = size

    def _judge_line(self, name: str, size: int, root: bytes, line: codec.Value) -> int:
        match line:
            case [int(voter), int(time), bytes(made)] if voter < len(self._voters):
                cosigner = self._voters[voter]
            case _:
                raise Violation(f"L10 {name} publishes what is no note")
        if not verify(public_key(cosigner.name, "log"), codec.encode([size, root, time]), made):
            raise Violation(f"L10 {name} publishes size {size} with a line {cosigner.name} did not make")
        if cosigner.name in self._honest and size not in cosigner.intents:
            raise Violation(f"L9 {cosigner.name} is under size {size} and never meant to cosign it")
        return voter
