"""From a final height to a published checkpoint (specs/log.md, L9 and L10).

A vote is never a cosignature: a finalize vote can end on an abandoned view, a cosignature is irrevocable. So this
starts only when a height is final and executed here, and every final height is cosigned, on no timer of its own:
cosigners that each chose their own moments would miss one another and nothing would be published.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from glasslog.agreement.config import NoteScheme
from glasslog.agreement.effects import CosignIntent, PublishedNote
from glasslog.agreement.messages import Cosignature
from glasslog.errors import SignatureError
from glasslog.membership import Membership

HELD_SIZES_MAX = 4_096  # sizes whose root is remembered: what cosignatures of slower or faster peers are about
AHEAD_MAX = 64  # cosignatures kept per validator for sizes not executed here yet


@dataclass(slots=True)
class Publication:
    """Cosignatures by size and validator, and the largest checkpoint published."""

    membership: Membership
    index: int | None
    cosigners: NoteScheme
    intent: CosignIntent | None
    published: PublishedNote | None
    least: int = 0  # never cosign below this size: the network has published it (A10)
    roots: dict[int, bytes] = field(default_factory=dict[int, bytes])
    pool: dict[int, dict[int, Cosignature]] = field(default_factory=dict[int, dict[int, Cosignature]])
    contradictions: list[Cosignature] = field(default_factory=list[Cosignature])
    _noted: dict[int, int] = field(default_factory=dict[int, int])  # the published lines' times, by validator

    @property
    def published_size(self) -> int:
        """Size of the largest published checkpoint known here."""
        return 0 if self.published is None else self.published.size

    def executed(self, size: int, root: bytes) -> None:
        """Note that this replica holds the log through *size* with this root."""
        self.roots[size] = root
        if len(self.roots) > HELD_SIZES_MAX:
            del self.roots[next(iter(self.roots))]
        for cosignature in list(self.pool.get(size, {}).values()):
            if cosignature.root != root:
                self.contradictions.append(cosignature)
                del self.pool[size][cosignature.voter]

    def intend(self, size: int, root: bytes, block_time_ms: int, wall_ms: int) -> CosignIntent | None:
        """Return what to make durable and then cosign, or None: never smaller, another root, or an earlier time."""
        if self.index is None or size < max(self.least, self.published_size):
            return None
        last = self.intent
        if last is not None and (size < last.size or (size == last.size and root != last.root)):
            return None
        time = max(wall_ms // 1000, -(-block_time_ms // 1000), 0 if last is None else last.time)
        self.intent = CosignIntent(size, root, time)
        return self.intent

    def add(self, cosignature: Cosignature, *, made_here: bool = False) -> bool:
        """Count a cosignature once its three lines verify; one that a peer says is our own, too. False: nothing new.

        Raises:
            SignatureError: it is not by the validator it names.
        """
        size, voter = cosignature.size, cosignature.voter
        if voter >= len(self.membership.validators):
            raise SignatureError("COSIGN-01", f"no validator {voter}")
        if not self._is_news(cosignature):
            return False
        if not made_here and not self.cosigners.verify(cosignature):
            raise SignatureError("COSIGN-02", f"{self.membership.validators[voter].name} did not make this cosignature")
        if self.roots.get(size, cosignature.root) != cosignature.root:
            self.contradictions.append(cosignature)
        else:
            self.pool.setdefault(size, {})[voter] = cosignature
        return True

    def _is_news(self, cosignature: Cosignature) -> bool:
        size, voter = cosignature.size, cosignature.voter
        if size < self.published_size:
            return False
        known = self.pool.get(size, {}).get(voter)
        if known is not None and known.time >= cosignature.time and known.root == cosignature.root:
            return False
        ahead = sum(voter in by_voter for at, by_voter in self.pool.items() if at not in self.roots)
        return size in self.roots or ahead < AHEAD_MAX

    def publish(self) -> PublishedNote | None:
        """Return the note to publish now: of the largest size held here that q distinct validators cosigned."""
        quorum = self.membership.quorum
        for size in sorted(self.pool, reverse=True):
            lines = self.pool[size]
            if len(lines) < quorum or size not in self.roots or not self._is_better(size, lines):
                continue
            note = self.cosigners.make_note(size, self.roots[size], [lines[voter] for voter in sorted(lines)])
            self.published = PublishedNote(size, note)
            self._noted = {voter: lines[voter].time for voter in lines}
            self.pool = {at: by_voter for at, by_voter in self.pool.items() if at >= size}
            return self.published
        return None

    def _is_better(self, size: int, lines: dict[int, Cosignature]) -> bool:
        """A larger size always; the same size when a whole quorum has signed anew: proof of life."""
        if size > self.published_size:
            return True
        renewed = sum(lines[voter].time > self._noted.get(voter, 0) for voter in lines)
        return size == self.published_size and renewed >= self.membership.quorum
