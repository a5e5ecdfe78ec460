"""The running node, asked about itself: where it stands, and why it is not finalizing, by name (``seams.NodeView``)."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from glasslog.agreement.messages import Kind
from glasslog.agreement.replica import Replica
from glasslog.entry import Member
from glasslog_node.errors import OperatingError
from glasslog_node.runtime import Runtime
from glasslog_node.seams import NodeStatus, PeerStatus

STALLED_MS = 3_000  # without progress while there is work: then people want to know why
LAGGING_HEIGHTS = 64


class RuntimeView:
    """``seams.NodeView`` over a runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def _replica(self) -> Replica:
        return self._runtime.replica

    def status(self) -> NodeStatus:
        """Return where the node stands: what is durable here, and what the replica knows of the others."""
        replica, runtime = self._replica, self._runtime
        member = replica.membership.member(runtime.name)
        assert member is not None, "only members run nodes"
        state = replica.branches.state
        return NodeStatus(
            name=runtime.name,
            role=member.role.name.lower(),
            jurisdiction=member.jurisdiction,
            network=replica.genesis.network,
            origin=replica.genesis.origin,
            state=self._state(),
            epoch=replica.membership.epoch,
            view=replica.view,
            height=state.height,
            size=state.size,
            root=state.root,
            published=replica.publication.published_size,
            spooled=runtime.store.spool_depth().unfinal if runtime.author is not None else 0,
            peers=tuple(self._peer(other) for other in replica.membership.members if other.name != runtime.name),
        )

    def _peer(self, member: Member) -> PeerStatus:
        connection = self._runtime.transport.peers().get(member.name)
        status = self._replica.catchup.statuses.get(member.name)
        return PeerStatus(
            name=member.name,
            role=member.role.name.lower(),
            jurisdiction=member.jurisdiction,
            connected=connection is not None and connection.connected,
            height=None if status is None else status.height,
            round_trip_ms=None if connection is None else connection.round_trip_ms,
            last_error=None if connection is None else connection.last_error,
        )

    def _state(self) -> str:
        replica = self._replica
        if replica.halted is not None:
            return "halted"
        if self._runtime.store.failure is not None:
            return "failed"
        if replica.recovery is not None:
            return "recovering"
        if self._lag() > LAGGING_HEIGHTS:
            return "catching-up"
        if replica.has_work():
            return "waiting" if self._is_stalled() else "finalizing"
        if self._runtime.author is not None and self._runtime.store.spool_depth().unfinal:
            # An author's work is at first known to it alone.
            return "waiting" if self._why_no_quorum() else "finalizing"
        return "idle"

    def _is_stalled(self) -> bool:
        return trio.current_time() * 1000 - self._replica.progress_at > STALLED_MS

    def _lag(self) -> int:
        """Return how many heights are missing here, by the word of f + 1 validators: one of them is honest."""
        replica = self._replica
        statuses = replica.catchup.statuses
        told = [statuses[member.name].height for member in replica.membership.validators if member.name in statuses]
        honest = sorted(told, reverse=True)[replica.membership.faults :]
        return max(honest, default=0) - replica.branches.state.height

    def unready(self) -> str | None:
        """Return why this node should get no traffic now, or None."""
        state = self._state()
        if state in ("halted", "failed", "catching-up"):
            return f"the node is {state}"
        return None

    def why(self) -> Sequence[str]:
        """Return why nothing is being finalized, one line for each reason; empty when all is well."""
        replica = self._replica
        reasons: list[str] = []
        if replica.halted is not None:
            reasons.append(f"{replica.halted.code} {replica.halted.fact}. Next: glasslog audit, then call the others")
        failure: OperatingError | None = self._runtime.store.failure
        if failure is not None:
            reasons.append(str(failure))
        reasons += self._why_recovering()
        reasons += self._why_no_quorum()
        return reasons

    def _why_recovering(self) -> list[str]:
        recovery = self._replica.recovery
        if recovery is None:
            return []
        view = self._replica.branches.floor.view
        if recovery.closing_view is None:
            missing = recovery.needed - len(recovery.replies)
            return [f"VOTE-11 state was lost: {missing} more validators must answer. Next: wait, or start them"]
        closing = recovery.closing_view
        return [f"VOTE-10 restored at view {view}; not voting before view {closing} is final. Next: wait"]

    def _why_no_quorum(self) -> list[str]:
        """Name the validators that are missing, when there is work and nothing moves."""
        replica = self._replica
        reachable = replica.connected | {self._runtime.name}
        missing = [member for member in replica.membership.validators if member.name not in reachable]
        need = replica.membership.quorum
        live = len(replica.membership.validators) - len(missing)
        names = ", ".join(f"{member.name} ({member.jurisdiction})" for member in missing)
        if live < need:
            return [f"QUORUM-01 {live} of {need} validators needed are reachable; missing: {names}. Next: start them"]
        if not replica.has_work() or not self._is_stalled():
            return []
        voted = {
            voter
            for round_ in replica.tally.rounds.values()
            if round_.view >= replica.view
            for kind in Kind
            for voter in round_.votes[kind]
        }
        silent = [
            member.name for index, member in enumerate(replica.membership.validators) if index not in voted
        ]  # fmt: skip
        fact = f"view {replica.view} waits for votes of {', '.join(silent) or 'nobody'}"
        return [f"QUORUM-02 {fact}. Next: glasslog status on their nodes"]
