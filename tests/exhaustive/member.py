"""One instance as an automaton: real replicas, run once for every pair of a local state and an event.

A *local state* is everything that decides what an instance will ever do or has sent: floor and chain, view, own votes,
certificates, proposals, and the set of items it has sent or may send again. Left out, because no vote can depend on it:

- *time*. The clock of an instance moves only with its own ``Tick``, to the moment its proposal is due or its view's
  timer ends, and either may happen at any time. Timers of what only repeats (status, standstill, requests) never end.
- *single votes* short of a quorum. They are delivered together when they complete one: until then they change nothing
  that is sent, and delivering them later is one of the schedules. The replica's own count decides when that is. The
  leader's is the last of them: its Z alone would end the timer, which may end at any time anyway.
- *cosignatures and publication*, which follow finality and nothing follows from them; *evidence*, for the same reason.
  As a certificate stands for all of its kind, view and digest whoever signed it, evidence could not be judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias
from unittest.mock import patch

from exhaustive.clone import clone
from exhaustive.items import Item, Items, bits, item_of
from exhaustive.script import VALIDATORS
from glasslog.agreement import replica as replica_module
from glasslog.agreement.config import ReplicaConfig, Timing
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import (
    Broadcast,
    Effect,
    Event,
    FinalHeight,
    Halt,
    HeldBlock,
    Misbehaved,
    Now,
    OwnVote,
    Persist,
    Received,
    Send,
    Tick,
)
from glasslog.agreement.messages import Certificate, Have, Kind, SignedProposal, Vote
from glasslog.agreement.replica import Replica
from glasslog.block import Block
from simulation.cluster import MakeReplica
from simulation.node import copy_durable, read_genesis_once
from simulation.suite import CheapNotes, make_block, make_network, signer, verify

NEVER = 10**12
TIMING = Timing(
    pace=1, pace_light=1, have_wait=0, fetch_retry=NEVER, standstill=NEVER, inactive=NEVER, status=NEVER,
    proof_of_life=NEVER,
)  # fmt: skip
ENTRIES = 33  # more than half of the author's quota a height: every height takes one block
WALL_OF_TWIN = 1_500  # genesis is at 1000 and every height takes 1 ms: what a twin proposes differs by its time

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class Move:
    """An event of an instance: a number of items delivered together, or a timer."""

    items: tuple[int, ...] = ()
    timer: str = ""


PROPOSE, EXPIRE = Move(timer="its proposal is due"), Move(timer="its timer ends")


class Fault(AssertionError):  # noqa: N818 - what was found, not an error of ours
    """One instance by itself broke a rule; the text begins with it."""


@dataclass
class Local:
    """A local state, and one real replica in it."""

    replica: Replica
    offers: int  # a set of items: all that it has ever sent
    finals: tuple[tuple[int, bytes], ...]  # (view, digest) of its chain, oldest first
    durable: frozenset[tuple[int, Kind, bytes]]  # own votes ever made durable
    before: tuple[int, Move] | None  # how it was first reached
    fault: str | None = None


def make_chain(network_hash: bytes, count: int) -> list[Block]:
    """Blocks of one author, one for each height."""
    blocks = list[Block]()
    prev = network_hash
    for seq in range(1, count + 1):
        blocks.append(make_block(network_hash, "lab", seq, prev, (seq - 1) * ENTRIES, ENTRIES))
        prev = blocks[-1].hash
    return blocks


class Member:
    """All local states of one instance that were reached, and the moves between them."""

    def __init__(
        self, key: int, items: Items, views: int, make_replica: MakeReplica = Replica, *, is_twin: bool = False
    ) -> None:
        self.key = key
        self.items = items
        self.views = views
        self.locals = list[Local]()
        self.steps = 0
        self._ids: dict[Key, int] = {}
        self._moves: dict[tuple[int, Move], int | None] = {}
        self._classes: dict[tuple[int, int, frozenset[bytes]], int] = {}
        self._class_ids: dict[Key, int] = {}
        self._wall = WALL_OF_TWIN if is_twin else 0
        self._boot(make_replica)

    def _boot(self, make_replica: MakeReplica) -> None:
        network = make_network(VALIDATORS)
        durable = copy_durable(Durable.fresh(network.genesis))
        chain = make_chain(network.membership.genesis_hash, self.views + 1)
        for block in chain:
            durable.apply(HeldBlock(block.ref, block.leaf, block.entries))
        name = network.validators[self.key]
        nonce = sha256(name.encode()).digest()[:16]
        config = ReplicaConfig(name, verify, CheapNotes(network.validators), signer(name, "vote"), nonce, TIMING)
        with patch.object(replica_module, "read_genesis", read_genesis_once):
            replica = make_replica(config, durable)
        effects = replica.start(Now(0, self._wall))
        for peer in network.validators:
            if peer != name:
                effects += replica.step(Now(0, self._wall), Received(peer, Have((chain[-1].ref,))))
        self._intern(replica, Local(replica, 0, (), frozenset(), None), effects, None)

    # --- moves ------------------------------------------------------------------------------------

    def move(self, at: int, move: Move) -> int | None:
        """Return the local state after a move, or None when it changes nothing. Run once, then remembered."""
        known = self._moves.get((at, move), -1)
        if known != -1:
            return known
        self.steps += 1
        local = self.locals[at]
        replica = clone(local.replica)
        effects = list[Effect]()
        for now, event in self.events(replica, move):
            effects += replica.step(now, event)
        if self._is_short(move, effects):
            self._moves[at, move] = None
            return None
        after = self._intern(replica, local, effects, (at, move))
        changed = self._moves[at, move] = None if after == at else after
        return changed

    def _is_short(self, move: Move, effects: Sequence[Effect]) -> bool:
        """Votes that complete no certificate are left in flight: no replica that has counted them may stay."""
        if not move.items or self.items.items[move.items[0]].voter is None:
            return False
        whole = self.items.items[move.items[0]]._replace(voter=None)
        sent = (effect.message for effect in effects if isinstance(effect, Broadcast))
        return not any(isinstance(message, Certificate) and item_of(message) == whole for message in sent)

    def events(self, replica: Replica, move: Move) -> Sequence[tuple[Now, Event]]:
        """What a replica is stepped with for a move."""
        mono = replica.now.mono
        if move is PROPOSE:
            return [(Now(max(mono, replica._entered_at + TIMING.pace), self._wall), Tick())]
        if move is EXPIRE:
            assert replica._timer is not None, "there is always work"
            return [(Now(max(mono, replica._timer), self._wall), Tick())]
        now = Now(mono, self._wall)
        return [(now, Received(self._sender(item), self.items.contents[item])) for item in move.items]

    def _sender(self, item: int) -> str:
        """Somebody else: who passed it on makes no difference."""
        found = self.items.items[item]
        voter = found.view % VALIDATORS if found.voter is None else found.voter
        return f"v{voter if voter != self.key else (voter + 1) % VALIDATORS}"

    def _intern(self, replica: Replica, before: Local, effects: Sequence[Effect], how: tuple[int, Move] | None) -> int:
        after = Local(replica, before.offers, before.finals, before.durable, how)
        try:
            for effect in effects:
                self._take(after, effect)
            for view, kind, digest in after.durable - before.durable:
                self._justified(after, view, kind, digest)
        except Fault as fault:
            after.fault = str(fault)
        for message in replica.unfinished():
            assert isinstance(message, SignedProposal | Vote | Certificate)
            after.offers |= 1 << self.items.number(message)
        key = (after.offers, after.finals, after.durable, after.fault, *protocol_state(replica))
        known = self._ids.setdefault(key, len(self.locals))
        if known == len(self.locals):
            self.locals.append(after)
        return known

    def class_of(self, at: int, first_view: int, certified: frozenset[bytes]) -> int:
        """Return a number that local states share which differ only in what no later view can depend on.

        *certified* are the proposals that any certificate in the world is for: of closed views, only these matter.
        """
        known = self._classes.get((at, first_view, certified))
        if known is None:
            local, items = self.locals[at], self.items
            past = items.votes_before[first_view] & ~items.finalizes
            for view in range(1, first_view):
                for number in bits(local.offers & items.of_view.get(view, 0)):
                    item = items.items[number]
                    past |= (item.is_proposal and item.digest not in certified) << number
            state = protocol_state(local.replica, first_view, certified)
            key = (first_view, local.offers & ~past, local.finals, local.fault, *state)
            known = self._class_ids.setdefault(key, len(self._class_ids))
            self._classes[at, first_view, certified] = known
        return known

    # --- what one instance must never do, whatever the others do --------------------------------------

    def _take(self, local: Local, effect: Effect) -> None:
        match effect:
            case Persist(records):
                for record in records:
                    match record:
                        case OwnVote(vote):
                            self._own_vote(local, vote)
                        case FinalHeight():
                            local.finals += ((record.proposal.view, record.digest),)
                        case _:
                            pass
            case Send(_, message) | Broadcast(_, message):
                if isinstance(message, SignedProposal | Vote | Certificate):
                    self._sent(local, message)
            case Halt(code, fact):
                raise Fault(f"{code} it halts: {fact}")
            case Misbehaved(peer, code, fact):
                raise Fault(f"{code} it takes {peer} for faulty: {fact}")
            case _:
                pass

    def _own_vote(self, local: Local, vote: Vote) -> None:
        """A1 to A5, with arithmetic of its own over all it ever signed."""
        view, kind, digest = vote.view, vote.kind, vote.digest
        others = {signed for at, signed, _ in local.durable if at == view}
        if kind in others:
            raise Fault(f"A1 it signs two {kind.name} in view {view}")
        if {kind, *others} >= {Kind.FINALIZE, Kind.NULLIFY}:
            raise Fault(f"A3 A4 it signs FINALIZE and NULLIFY in view {view}")
        if kind is Kind.NOTARIZE and Kind.NULLIFY in others:
            raise Fault(f"A2 it notarizes view {view} after it nullified it")
        if local.finals and view <= local.finals[-1][0]:
            raise Fault(f"A5 it signs in view {view}, its floor is {local.finals[-1][0]}")
        local.durable |= {(view, kind, digest)}

    def _justified(self, local: Local, view: int, kind: Kind, digest: bytes) -> None:
        """A2 and A3 again, over the certificates it ever held."""
        held = {self.items.items[number][:3] for number in bits(local.offers & self.items.certificates)}
        if kind is Kind.FINALIZE and (view, Kind.NOTARIZE, digest) not in held:
            raise Fault(f"A3 it finalizes view {view} without a certificate")
        if kind is not Kind.NOTARIZE:
            return
        proposal = self.items.proposals[digest]
        parent = proposal.parent_view, proposal.parent_digest
        certified = {(parent[0], Kind.NOTARIZE, parent[1]), (parent[0], Kind.FINALIZE, parent[1])}
        if parent[0] and parent not in local.finals and not certified & held:
            raise Fault(f"A2 it notarizes view {view} on the uncertified view {parent[0]}")
        for skipped in range(parent[0] + 1, view):
            if (skipped, Kind.NULLIFY, b"") not in held:
                raise Fault(f"A2 it notarizes view {view}, but view {skipped} is not nullified")

    def _sent(self, local: Local, message: SignedProposal | Vote | Certificate) -> None:
        number = self.items.number(message)
        local.offers |= 1 << number
        item = self.items.items[number]
        if isinstance(message, Vote) and item.voter == self.key and item[:3] not in local.durable:
            raise Fault(f"A8 it sends its {message.kind.name} of view {item.view} before it is durable")
        own = isinstance(message, SignedProposal) and item.view % VALIDATORS == self.key
        if own and (item.view, Kind.NOTARIZE, item.digest) not in local.durable:
            raise Fault(f"A8 it sends its proposal of view {item.view} before its vote is durable")

    # --- what may happen next -----------------------------------------------------------------------

    def list_moves(self, at: int, heard: int, views: range) -> list[tuple[Move, int]]:
        """Return the moves that change something when the items of *heard* can be delivered, and where they lead.

        Views before *views* are closed, and those after them not yet open: in both an instance only listens.
        """
        local = self.locals[at]
        replica = local.replica
        if local.fault is not None:
            return []
        candidates = list[Move]()
        votes: dict[Item, list[int]] = {}
        for number in bits(heard):
            item = self.items.items[number]
            if item.is_proposal:
                if self._wants_proposal(replica, item) and (item.view < replica.view or item.view in views):
                    candidates.append(Move((number,)))
            elif self._wants_certificate(replica, item, views.start):
                if item.is_certificate:
                    candidates.append(Move((number,)))
                else:
                    votes.setdefault(item._replace(voter=None), []).append(number)
        for item, numbers in votes.items():
            whole = self.items.find(item)
            if whole is None or not heard >> whole & 1:
                numbers.sort(key=lambda number: self.items.items[number].voter == item.view % VALIDATORS)
                candidates.append(Move(tuple(numbers)))
        if replica.view in views:
            candidates += self._timers(replica)
        found = ((move, self.move(at, move)) for move in candidates)
        return [(move, after) for move, after in found if after is not None]

    def _timers(self, replica: Replica) -> list[Move]:
        own = replica.tally.round(replica.view).own
        found = list[Move]()
        leads = replica.view % VALIDATORS == self.key
        if leads and Kind.NOTARIZE not in own and Kind.NULLIFY not in own:
            found.append(PROPOSE)
        if Kind.NULLIFY not in own:
            found.append(EXPIRE)
        return found

    def _wants_proposal(self, replica: Replica, item: Item) -> bool:
        """A proposal of the current view, or a certified one: any other waits in flight until it is one of these."""
        if item.view <= replica.branches.floor.view or item.digest in replica.branches.proposals:
            return False
        if item.view == replica.view:
            return True
        round_ = replica.tally.rounds.get(item.view)
        return round_ is not None and any(each.digest == item.digest for each in round_.certificates.values())

    def _wants_certificate(self, replica: Replica, item: Item, first_view: int) -> bool:
        """A certificate that moves something; of views that were left, what a proposal needs or what asks for F.

        Who was left behind catches up view by view, or jumps into the open views at once: any other way signs fewer
        late F votes than the first, and has no other choices than the second.
        """
        assert item.kind is not None
        if item.view <= replica.branches.floor.view:
            return False
        round_ = replica.tally.rounds.get(item.view)
        known = None if round_ is None else round_.certificates.get(item.kind)
        if known is not None:
            return known.digest != item.digest
        if item.view >= replica.view:
            return item.view >= first_view or item.view == replica.view
        if item.kind is Kind.FINALIZE:
            return self._is_about_to_lead(replica)
        own = {} if round_ is None else round_.own
        closed = round_ is not None and Kind.NULLIFY in round_.certificates
        if item.kind is Kind.NOTARIZE and Kind.NULLIFY not in own and not closed and item.view >= first_view:
            return True  # it makes the instance sign finalize
        return self._is_needed(replica, item.view)

    def _is_needed(self, replica: Replica, view: int) -> bool:
        """Whether a proposal of the current view cannot be judged, or made, without certificates of *view*."""
        now = replica.tally.round(replica.view)
        if Kind.NULLIFY in now.own or Kind.NOTARIZE in now.own:
            return False
        waiting = any(signed.proposal.parent_view <= view for signed in now.proposals)
        return waiting or self._is_about_to_lead(replica)

    def _is_about_to_lead(self, replica: Replica) -> bool:
        own = replica.tally.round(replica.view).own
        return replica.view % VALIDATORS == self.key and Kind.NULLIFY not in own and Kind.NOTARIZE not in own


def protocol_state(replica: Replica, first_view: int = 1, certified: frozenset[bytes] = frozenset()) -> Key:
    """The canonical form of what decides a replica's votes; times, requests, publication and evidence left out.

    Views before *first_view* are closed: nobody signs N or Z in them or hears single votes of them any more. What is
    left of them is the certificates, what they are for, own F votes, and own Z votes where a late N certificate would
    ask for F (A3).
    """
    rounds = list[Key]()
    for view, round_ in sorted(replica.tally.rounds.items()):
        certificates = tuple(sorted((kind, each.digest) for kind, each in round_.certificates.items()))
        own = {kind: vote.digest for kind, vote in round_.own.items()}
        opened: Key = ()
        if view >= first_view:
            seen = tuple(signed.proposal.digest for signed in round_.proposals)
            opened = seen, tuple(sorted(round_.refused)), round_.expired
        else:
            own.pop(Kind.NOTARIZE, None)
            if Kind.NOTARIZE in round_.certificates:
                own.pop(Kind.NULLIFY, None)
        if own or certificates or (opened and opened[0]):
            rounds.append((view, tuple(sorted(own.items())), certificates, opened))
    final, floor = replica.finalize_certificate, replica.branches.floor
    proposals = [
        digest
        for digest, proposal in sorted(replica.branches.proposals.items())
        if proposal.view >= first_view or digest in certified
    ]
    return (
        replica.view,
        (floor.view, floor.height, floor.digest),
        None if final is None else (final.view, final.digest),
        tuple((digest, digest in replica.signatures) for digest in proposals),
        None if replica.halted is None else replica.halted.code,
        tuple(rounds),
    )
