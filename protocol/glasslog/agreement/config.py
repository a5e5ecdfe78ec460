"""What a replica is told once: who it is, how it signs and verifies, and how patient it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from glasslog.agreement.messages import Cosignature
from glasslog.identity import Verify


class NoteScheme(Protocol):
    """How cosignatures are verified and become a note: ``Cosigners`` (cosigning.py), or a simulator's cheap one."""

    def verify(self, cosignature: Cosignature) -> bool:
        """Tell whether all three signatures are the named validator's on the named checkpoint."""
        ...

    def make_note(self, size: int, root: bytes, cosignatures: Sequence[Cosignature]) -> bytes:
        """Return the signed note with these validators' lines."""
        ...

    def read_note(self, data: bytes) -> list[Cosignature]:
        """Return a note's cosignatures, unverified, or raise ``ProtocolError``."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Delays in milliseconds. They decide how fast the network goes on, never whether it stays safe."""

    delay: int = 200  # what one message between two live validators takes at most, usually
    fetch: int = 600  # what fetching the named blocks takes at most, usually (A6)
    timeout_max: int = 15_000  # a view's timer never grows beyond this (A6)
    timeout_growth: float = 1.5  # per unfinalized view (A6)
    pace: int = 120  # between two heights under load: at most about 8 heights a second
    pace_light: int = 40  # between two heights of few entries: their latency matters more than their cost
    light: int = 512  # entries; fewer are few
    have_wait: int = 200  # f+1 Haves this old are enough to name a block (A9)
    fetch_grace: int = 60  # a named block may still be on its way from its author
    flow: int = 250  # a named block is taken to be on its way while blocks of its author came this lately
    have_flow: int = 1_000  # the same for a block that others only said they have
    have_patience: int = 3_000  # but it is asked for after this; a named one after ``fetch``
    fetch_retry: int = 700  # then the next holder is asked
    standstill: int = 2_000  # without progress while there is work, everything unfinished is resent (A7)
    inactive: int = 5_000  # a validator not heard for this long is skipped as leader (A6)
    status: int = 2_000  # between two status messages
    proof_of_life: int = 10_000  # an idle validator cosigns the same checkpoint again (specs/log.md, L9)

    @property
    def timeout(self) -> int:
        """The first timer of a view: the fetch budget and three delays (A6)."""
        return self.fetch + 3 * self.delay

    def timeout_at(self, depth: int) -> int:
        """A6: the timer after *depth* unfinalized views: it grows with them, never past its cap; no doubling timers."""
        return min(self.timeout_max, int(self.timeout * self.timeout_growth ** min(depth, 40)))


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """A replica's identity and tools. ``sign_vote`` is None on a replica that does not vote."""

    name: str
    verify: Verify
    cosigners: NoteScheme
    sign_vote: Callable[[bytes], bytes] | None
    boot_nonce: bytes  # 16 bytes, new at every start: replies to an earlier life are not replies to this one
    timing: Timing = Timing()
