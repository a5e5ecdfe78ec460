"""Several ranks under one root, and which segments of a run are replayed (C8, C10)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from math import comb

from glasslog import codec, merkle

RANK_DOMAIN = b"glasslog/rank/v1\x00"
BEACON_DOMAIN = b"glasslog/replay/v1\x00"


@dataclass(frozen=True, slots=True)
class Shard:
    """A rank's piece of a tensor: ``offset`` in elements, ``content`` the BLAKE3 of its bytes."""

    rank: int
    name: str
    offset: int
    content: bytes


def shards_root(shards: Iterable[Shard]) -> bytes:
    """Return the RFC 9162 root over shards sorted by rank, name and offset (C8).

    Raises:
        ValueError: one place has two shards.
    """
    ordered = sorted(shards, key=lambda shard: (shard.rank, shard.name.encode(), shard.offset))
    if len({(shard.rank, shard.name, shard.offset) for shard in ordered}) != len(ordered):
        raise ValueError("one place has two shards")
    leaves = [RANK_DOMAIN + codec.encode([one.rank, one.name, one.offset]) + one.content for one in ordered]
    return merkle.root(merkle.hash_leaves(leaves))


def merge_ranks(roots: Sequence[bytes]) -> bytes:
    """Return the one root over the 32-byte roots (or heads) of ranks 0, 1, ... (C8)."""
    return shards_root([Shard(rank, "", 0, root) for rank, root in enumerate(roots)])


def choose_segments(beacon: bytes, run: bytes, segments: int, count: int) -> tuple[int, ...]:
    """Return ``count`` of ``segments`` indices, ascending: a function of a beacon that came after the run (C10).

    Each choice is equally likely for a uniform beacon: a partial Fisher-Yates shuffle over rejection-sampled numbers.

    Raises:
        ValueError: more segments asked for than there are.
    """
    if not 0 <= count <= segments:
        raise ValueError(f"{count} of {segments} segments")
    order, counter = list(range(segments)), 0
    for place in range(count):
        left = segments - place
        limit = (1 << 64) - (1 << 64) % left
        while True:
            seed = sha256(BEACON_DOMAIN + codec.encode([beacon, run, segments, count, counter])).digest()
            counter += 1
            if (drawn := int.from_bytes(seed[:8], "big")) < limit:
                break
        other = place + drawn % left
        order[place], order[other] = order[other], order[place]
    return tuple(sorted(order[:count]))


def detection_probability(segments: int, bad: int, sampled: int) -> Fraction:
    """Return the chance that ``sampled`` of ``segments`` include one of ``bad``: 1 - C(S-k, s) / C(S, s) (C10).

    Raises:
        ValueError: more bad or sampled segments than there are.
    """
    if not (0 <= bad <= segments and 0 <= sampled <= segments):
        raise ValueError("more segments than there are")
    return 1 - Fraction(comb(segments - bad, sampled), comb(segments, sampled))
