"""Planted faults: a rule of the core removed together with its assertion, so that the simulation has to find it.

Each is a small subclass of, or a patch to, the production objects; nothing under ``protocol/`` knows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

from glasslog.agreement.config import ReplicaConfig
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import OwnVote, Record
from glasslog.agreement.messages import NO_DIGEST, Certificate, Kind, Proposal, Vote, vote_bytes
from glasslog.agreement.replica import Replica
from glasslog.agreement.tally import Tally
from glasslog.agreement.view import Round
from glasslog.ledger import LedgerState
from glasslog.membership import Membership
from simulation.swarm import Swarm, draw

COSIGN_EVERY = 900


class Unasserted(Replica):
    """Signs whatever it is told to: the rules are no longer asserted at the pen."""

    def _sign(self, kind: Kind, view: int, digest: bytes) -> Vote:
        assert self.index is not None
        assert self.config.sign_vote is not None
        message = vote_bytes(self.membership.genesis_hash, self.membership.epoch, view, kind, digest)
        vote = Vote(self.membership.epoch, view, kind, digest, self.index, self.config.sign_vote(message))
        self.tally.round(view).own[kind] = vote
        return vote


class NotarizesTwice(Unasserted):
    """A1 removed: notarizes the second proposal of a view too, if that is right."""

    _twice_in = 0

    def _sign_notarize(self) -> bool:
        round_ = self.tally.round(self.view)
        mine = round_.own.get(Kind.NOTARIZE)
        others = [signed for signed in round_.proposals if mine is not None and signed.proposal.digest != mine.digest]
        if mine is None or not others or self._twice_in == self.view:
            return super()._sign_notarize()
        kept, round_.proposals = round_.proposals, others
        del round_.own[Kind.NOTARIZE]
        done = super()._sign_notarize()
        round_.own.setdefault(Kind.NOTARIZE, mine)
        round_.proposals = kept
        self._twice_in = self.view if done else self._twice_in
        return done


class FinalizesAfterNullify(Unasserted):
    """A3 weakened: an own nullify is no obstacle (with ``Round.may_finalize`` patched)."""


class NullifiesAfterFinalize(Unasserted):
    """A4 removed: gives up the view it has just left when that view's timer ends, finalized by itself or not."""

    def _sign_nullify(self) -> bool:
        before = self.view - 1
        if self.may_sign and before > self.tally.floor_view:
            round_ = self.tally.round(before)
            late = self.now.mono >= self.progress_at + self.config.timing.timeout // 2
            if late and Kind.FINALIZE in round_.own and Kind.NULLIFY not in round_.own:
                self._cast(self._sign(Kind.NULLIFY, before, NO_DIGEST))
                return True
        return super()._sign_nullify()


class ForgetsOwnVotes(Replica):
    """A8 weakened: own votes are read back and resent, but not counted (P2)."""

    def _restore(self, durable: Durable) -> None:
        with patch.object(Tally, "add_vote", _count_nothing):
            super()._restore(durable)


class SendsBeforePersisting(Replica):
    """A8 turned round: the vote leaves first."""

    def _cast(self, vote: Vote, *records: Record) -> None:
        self.broadcast(vote)
        self.persist(*records, OwnVote(vote))
        self.count_vote(vote)


class SkipsUnproven(Replica):
    """A2 weakened: the parent must be certified, but the views skipped need no certificate."""

    def _is_justified(self, proposal: Proposal) -> bool:
        floor, parent = self.branches.floor, proposal.parent_view
        if parent <= floor.view:
            return parent == floor.view and proposal.parent_digest == floor.digest
        certificate = self.tally.round(parent).parent_certificate
        return certificate is not None and certificate.digest == proposal.parent_digest


class CosignsNotarized(Replica):
    """L9 weakened: cosigns a height as soon as it is notarized and worked out."""

    def learn_certificate(self, certificate: Certificate) -> None:
        super().learn_certificate(certificate)
        if certificate.kind is Kind.NOTARIZE and certificate.digest in self.branches.proposals:
            plan = self.branches.evaluate(certificate.digest)
            if plan is not None:
                self.cosign(plan.state, plan.state.time)


class CosignsOnTimer(Replica):
    """L9 broken: every validator cosigns at moments of its own, not at every height."""

    _cosign_at = 0

    def cosign(self, state: LedgerState, time: int) -> None:
        if self.now.mono >= self._cosign_at:
            self._cosign_at = self.now.mono + COSIGN_EVERY + 130 * (self.index or 0)
            super().cosign(state, time)


def _count_nothing(tally: Tally, vote: Vote) -> tuple[None, None]:
    return None, None


def _own_may_finalize(round_: Round) -> bool:
    return Kind.NOTARIZE in round_.certificates


def _two_thirds(membership: Membership) -> int:
    return 2 * ((len(membership.validators) - 1) // 3) + 1


@dataclass(frozen=True)
class PlantedFault:
    """A fault's name, how a replica has it, and where the simulation looks for it."""

    name: str
    finding: str | tuple[str, ...]  # how the violation begins that it must lead to
    make_replica: Callable[[ReplicaConfig, Durable], Replica] = Replica
    validators: int = 4
    patches: tuple[tuple[type, str, object], ...] = ()
    adapt: Callable[[Swarm], Swarm] = lambda swarm: swarm

    def swarm(self, seed: int) -> Swarm:
        """The seed's own configuration, with what the fault needs to show at all."""
        return self.adapt(draw(self.validators, seed))

    @contextmanager
    def planted(self) -> Generator[None]:
        """Patch what a subclass does not reach."""
        patches = [patch.object(owner, name, value) for owner, name, value in self.patches]
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in patches:
                one.stop()


def _steady_load(swarm: Swarm) -> Swarm:
    return replace(swarm, behaviours=("silent",), tail=30, tail_gap=250)


def _stale_forks(swarm: Swarm) -> Swarm:
    return replace(swarm, behaviours=("stale-fork",))


def _storms(swarm: Swarm) -> Swarm:
    return replace(swarm, behaviours=("silent",), crash_at_boundary=0.1, storm=1.0, loss=0.25)


FAULTS = (
    PlantedFault(
        "quorum 2f+1 at n = 5",
        "A15",
        validators=5,
        patches=((Membership, "quorum", property(_two_thirds)),),
        adapt=lambda swarm: replace(swarm, quorum_judged=3, partition=0.5),  # only the damage is to count
    ),
    PlantedFault("notarize twice", "A1 ", NotarizesTwice),
    PlantedFault(
        "finalize after nullify", "A3 ", FinalizesAfterNullify, patches=((Round, "may_finalize", _own_may_finalize),)
    ),
    PlantedFault("nullify after finalize", "A4 ", NullifiesAfterFinalize),
    PlantedFault("own votes not recounted after restart", "LIVENESS", ForgetsOwnVotes, adapt=_storms),
    PlantedFault("send before persist", "A8 ", SendsBeforePersisting),
    PlantedFault(
        # A8's oracle may see it first: what justifies a notarize is not on the disk, since it is nowhere.
        "skipped-view certificate not required",
        ("A2 ", "A8 "),
        SkipsUnproven,
        adapt=_stale_forks,
    ),
    PlantedFault("cosign before finalize", "L9 ", CosignsNotarized),
    PlantedFault("cosign on a timer of its own", "LIVENESS", CosignsOnTimer, adapt=_steady_load),
)
