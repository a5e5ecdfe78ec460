"""All mutants, by area."""

from __future__ import annotations

from mutants.catalogue import blocks, durability, evidence, publication, recovery, votes
from mutants.mutant import Mutant

AREAS: dict[str, tuple[Mutant, ...]] = {
    "votes": votes.MUTANTS,
    "durability": durability.MUTANTS,
    "blocks": blocks.MUTANTS,
    "recovery": recovery.MUTANTS,
    "evidence": evidence.MUTANTS,
    "publication": publication.MUTANTS,
}
MUTANTS = tuple(mutant for mutants in AREAS.values() for mutant in mutants)
