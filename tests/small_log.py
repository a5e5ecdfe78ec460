"""A small log with its validators: leaves, tiles at the paths of tlog-tiles, signed checkpoints, the policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256

from glasslog import merkle, tiles
from glasslog.checkpoint import Checkpoint, Cosigner, CosignerKeys, cosignature_lines, format_checkpoint
from glasslog.identity import Ed25519Key, MlDsa44Key
from glasslog.note import NoteLine
from glasslog.policy import Policy, PolicyMember
from glasslog.tiles import Edge, HashReader, tile_path

ORIGIN = "ledger.example/small"
NETWORK = "small"
TIME = 1_800_000_000
JURISDICTIONS = ("DE", "FR", "JP", "BR", "IN", "KE", "CA")


def seed(*words: object) -> bytes:
    return sha256(repr(words).encode()).digest()


@dataclass(frozen=True)
class Validator:
    name: str
    jurisdiction: str
    keys: CosignerKeys
    cosigner: Cosigner
    member: PolicyMember


@cache
def make_validator(number: int) -> Validator:
    name = f"institute-{number}"
    keys = CosignerKeys(
        f"{name}/{NETWORK}",
        Ed25519Key(seed("log", number)),
        Ed25519Key(seed("ed", number)),
        MlDsa44Key(seed("pq", number)),
    )
    raw = keys.log.public, keys.ed25519.public, keys.mldsa44.public
    cosigner = Cosigner.build(ORIGIN, keys.name, log=raw[0], ed25519=raw[1], mldsa44=raw[2])
    jurisdiction = JURISDICTIONS[number % len(JURISDICTIONS)]
    return Validator(name, jurisdiction, keys, cosigner, PolicyMember(name, jurisdiction, *raw))


def make_validators(count: int) -> list[Validator]:
    return [make_validator(number) for number in range(count)]


def make_policy(count: int) -> Policy:
    return Policy.build(ORIGIN, NETWORK, [validator.member for validator in make_validators(count)])


def make_checkpoint(checkpoint: Checkpoint, validators: list[Validator], time: int = TIME) -> bytes:
    lines = list[tuple[NoteLine, ...]]()
    for validator in validators:
        log, ed25519, mldsa44 = validator.keys.sign(checkpoint, time)
        lines.append(cosignature_lines(validator.cosigner, time=time, log=log, ed25519=ed25519, mldsa44=mldsa44))
    return format_checkpoint(checkpoint, lines)


@dataclass
class SmallLog:
    """Appends entries and keeps every full tile, and at each stop every partial one and the entry bundles."""

    entries: list[bytes] = field(default_factory=list)
    edge: Edge = field(default_factory=Edge.empty)
    files: dict[str, bytes] = field(default_factory=dict)

    def append(self, entries: list[bytes]) -> None:
        self.entries += entries
        self.edge, full = self.edge.extend(merkle.hash_leaves(entries))
        for tile in full:
            self.files[tile_path(tile.level, tile.index)] = tile.hashes
        for level, partial in enumerate(self.edge.partials):
            if partial:
                index = self.edge.size >> 8 * (level + 1)
                self.files[tile_path(level, index, len(partial) // 32)] = partial
        for start in range(0, len(self.entries), 256):
            bundle = self.entries[start : start + 256]
            self.files[tiles.entries_path(start // 256, len(bundle))] = tiles.join_entries(bundle)

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(ORIGIN, self.edge.size, self.edge.root())

    @property
    def reader(self) -> HashReader:
        return HashReader(self.edge.size, lambda level, index, width: self.files[tile_path(level, index, width)])
