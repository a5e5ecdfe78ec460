"""Catching up: who is ahead, what to ask of whom, and what to tell those behind (specs/agreement.md, A7, A18).

A lagging validator and a replica that never votes do the same: ask a peer that says it is ahead for a run of
finalized heights, believe the run's one finalize certificate, fetch the blocks it names, execute, ask for more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from glasslog.agreement.config import Timing
from glasslog.agreement.messages import FinalizedRun, Status
from glasslog.errors import AdmissionError

FAR_BEHIND = 8  # heights; less is usually already on its way


@dataclass(slots=True)
class Catchup:
    """What peers said of themselves, and what was asked when (ms, monotonic)."""

    timing: Timing
    statuses: dict[str, Status] = field(default_factory=dict[str, Status])
    _ask_at: int = 0
    _answered_stale: dict[str, int] = field(default_factory=dict[str, int])
    _asked_views: dict[int, int] = field(default_factory=dict[int, int])
    _turn: int = 0

    def heard(self, peer: str, status: Status) -> None:
        """Note a peer's status."""
        self.statuses[peer] = status

    def lost(self, peer: str) -> None:
        """The peer is not reachable any more."""
        self.statuses.pop(peer, None)

    def run_to_ask(self, height: int, progress_at: int, now: int) -> tuple[str | None, int | None]:
        """Return the peer to ask for the run after *height*, if now is the time, and when to look again."""
        ahead = sorted(peer for peer, status in self.statuses.items() if status.height > height)
        if not ahead:
            return None, None
        best = max(self.statuses[peer].height for peer in ahead)
        due = self._ask_at if best - height > FAR_BEHIND else max(self._ask_at, progress_at + self.timing.fetch)
        if now < due:
            return None, due
        self._ask_at = now + self.timing.fetch_retry
        self._turn += 1
        return ahead[self._turn % len(ahead)], self._ask_at

    def ask_again_soon(self) -> None:
        """A run was executed: the next may be asked for at once."""
        self._ask_at = 0

    def views_to_ask(self, views: list[int], now: int) -> tuple[tuple[int, ...], int | None]:
        """Return those of the views with missing certificates that are due to be asked for, and when to look again."""
        due = tuple(view for view in views if now >= self._asked_views.get(view, now))
        for view in due:
            self._asked_views[view] = now + self.timing.fetch_retry
        return due, min((self._asked_views[view] for view in views), default=None)

    def forget_views(self, floor_view: int) -> None:
        """Views up to the floor need nothing any more."""
        self._asked_views = {view: at for view, at in self._asked_views.items() if view > floor_view}

    def may_answer_stale(self, peer: str, now: int) -> bool:
        """Say whether to answer an old view's vote with the latest finalize certificate: not each one (P5)."""
        if now < self._answered_stale.get(peer, 0):
            return False
        self._answered_stale[peer] = now + self.timing.fetch
        return True


def check_run(run: FinalizedRun) -> list[bytes]:
    """Return the digests of a run's proposals, oldest first.

    Raises:
        AdmissionError: it is empty, its proposals do not follow one another, or the certificate is for another.
    """
    digests = [proposal.digest for proposal in run.proposals]
    for (digest, proposal), child in pairwise(zip(digests, run.proposals, strict=True)):
        if (child[1].parent_digest, child[1].parent_view, child[1].height) != (
            digest,
            proposal.view,
            proposal.height + 1,
        ):
            raise AdmissionError("RUN-01", f"height {child[1].height} does not stand on height {proposal.height}")
    last = run.certificate
    if not digests or last.digest != digests[-1] or last.view != run.proposals[-1].view:
        raise AdmissionError("RUN-02", "the certificate is not for the last height")
    return digests
