"""The tree of proposals above the finalized floor, each with its own ledger overlay (specs/agreement.md, A2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from glasslog.agreement.durable import Floor
from glasslog.agreement.messages import Proposal
from glasslog.agreement.shelf import Shelf
from glasslog.errors import AdmissionError
from glasslog.ledger import HeightPlan, LedgerState, Place, extend
from glasslog.limits import CLOCK_SKEW_MS_MAX
from glasslog.membership import Membership


@dataclass(frozen=True, slots=True)
class Parent:
    """What a proposal stands on: the floor, or another proposal's plan."""

    view: int
    height: int
    time: int
    digest: bytes
    state: LedgerState


class Branches:
    """Proposals by digest, and what each would append."""

    def __init__(self, membership: Membership, shelf: Shelf, floor: Floor, state: LedgerState) -> None:
        self._membership = membership
        self._shelf = shelf
        self.floor = floor
        self.state = state
        self.proposals: dict[bytes, Proposal] = {}
        self._plans: dict[bytes, HeightPlan] = {}

    def add(self, digest: bytes, proposal: Proposal) -> None:
        """Keep a proposal; one at or below the floor is of no use to anybody."""
        if proposal.view > self.floor.view:
            self.proposals.setdefault(digest, proposal)

    def parent(self, view: int, digest: bytes) -> Parent | None:
        """Return the floor or the worked-out proposal that this view and digest name, or None while it is not."""
        if digest == self.floor.digest:
            floor = self.floor
            if view != floor.view:
                raise AdmissionError("PROPOSAL-01", f"the parent is of view {floor.view}, not {view}")
            return Parent(floor.view, floor.height, floor.time, digest, self.state)
        proposal = self.proposals.get(digest)
        if proposal is None:
            return None
        if proposal.view != view:
            raise AdmissionError("PROPOSAL-01", f"the parent is of view {proposal.view}, not {view}")
        plan = self.evaluate(digest)
        return None if plan is None else Parent(view, proposal.height, proposal.time, digest, plan.state)

    def is_ahead(self, proposal: Proposal, wall: int) -> bool:
        """Say whether a proposal's time is more than 10 s ahead of *wall*, and not the least step its parent allows.

        The step of 1 ms is always right (A2): else, once f+1 wrong clocks have let a time of the future through, no
        child of that height could be notarized until that time has come.
        """
        digest = proposal.parent_digest
        parent = self.proposals.get(digest)
        before = self.floor.time if digest == self.floor.digest else parent.time if parent is not None else None
        least = None if before is None else before + 1
        return proposal.time > wall + CLOCK_SKEW_MS_MAX and proposal.time != least

    def evaluate(self, digest: bytes) -> HeightPlan | None:
        """Return what the proposal appends, or None while an ancestor or a block is missing.

        Raises:
            AdmissionError: it breaks a rule whatever else arrives, or its size or root do not recompute (A2).
        """
        for ancestor in self._unplanned(digest):
            plan = self._plan(ancestor)
            if plan is None:
                return None
            self._plans[ancestor] = plan
        return self._plans.get(digest)

    def _unplanned(self, digest: bytes) -> list[bytes]:
        """Return the digests from the oldest ancestor without a plan up to *digest*."""
        path: list[bytes] = []
        while digest not in self._plans and digest != self.floor.digest:
            path.append(digest)
            proposal = self.proposals.get(digest)
            if proposal is None:
                break
            digest = proposal.parent_digest
        return path[::-1]

    def _plan(self, digest: bytes) -> HeightPlan | None:
        proposal = self.proposals.get(digest)
        if proposal is None:
            return None
        if proposal.parent_view >= proposal.view:
            raise AdmissionError("PROPOSAL-02", "the parent is not of an earlier view")
        parent = self.parent(proposal.parent_view, proposal.parent_digest)
        if parent is None:
            return None
        if proposal.height != parent.height + 1:
            raise AdmissionError("PROPOSAL-03", f"height {proposal.height} on top of height {parent.height}")
        if proposal.time <= parent.time:
            raise AdmissionError("PROPOSAL-04", "time does not go forward")
        place = Place(proposal.height, proposal.view, proposal.epoch, proposal.time)
        plan = extend(parent.state, self._membership, place, proposal.advance, self._shelf.chain_of)
        if plan is not None and (plan.state.size, plan.state.root) != (proposal.size, proposal.root):
            raise AdmissionError("PROPOSAL-05", "size and root do not recompute")
        return plan

    def put_plan(self, digest: bytes, plan: HeightPlan) -> None:
        """Keep the plan a leader made its proposal from."""
        self._plans[digest] = plan

    def path_from_floor(self, digest: bytes) -> list[bytes] | None:
        """Return the digests above the floor up to *digest*, oldest first, or None while a proposal is missing.

        Raises:
            AdmissionError: the chain misses the floor: it contradicts what is final.
        """
        path: list[bytes] = []
        while digest != self.floor.digest:
            proposal = self.proposals.get(digest)
            if proposal is None:
                return None
            path.append(digest)
            if proposal.parent_view < self.floor.view or proposal.height <= self.floor.height:
                raise AdmissionError("PROPOSAL-06", f"the chain passes below the final view {self.floor.view}")
            digest = proposal.parent_digest
        return path[::-1]

    def first_path(self, digests: Iterable[bytes]) -> list[bytes]:
        """Return the path to the first of these whose whole chain is here; empty when there is none.

        Raises:
            AdmissionError: a chain misses the floor: it contradicts what is final.
        """
        for digest in digests:
            if path := self.path_from_floor(digest):
                return path
        return []

    def move_floor(self, digest: bytes) -> HeightPlan:
        """Make the worked-out proposal *digest*, a child of the floor, the new floor; forget what is below."""
        proposal, plan = self.proposals[digest], self._plans[digest]
        self.floor = Floor(proposal.epoch, proposal.view, proposal.height, digest, proposal.time)
        self.state = plan.state
        self.proposals = {d: p for d, p in self.proposals.items() if p.view > proposal.view}
        self._plans = {d: plan for d, plan in self._plans.items() if d in self.proposals}
        return plan
