"""One replica of the agreement, as a pure state machine: ``step(now, event) -> effects``.

The protocol is Simplex (Chan & Pass 2023) by the rules A1 to A18 of specs/agreement.md. In each view one leader
proposes the next height on top of a notarized parent. Upon the proposal, validators that hold its blocks and can
recompute its root sign *notarize*. Upon q notarize votes, everybody enters the next view and signs *finalize*. Upon
q finalize votes the height and all its ancestors are final. A validator whose timer ends first signs *nullify*;
upon q of those, everybody enters the next view and a later parent may skip this one.

Every step does the same two things: take in one event, then ``_drive``: apply the rules, in a fixed order, until none
applies. So what a replica does depends on what it knows, not on the order in which it came to know it. Validators
vote; any other member runs the same code without a vote key and only follows.
"""

from __future__ import annotations

from glasslog.agreement.branches import Branches
from glasslog.agreement.catchup import Catchup
from glasslog.agreement.config import ReplicaConfig
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import (
    Audience,
    Broadcast,
    CheckpointPublished,
    Cosign,
    DroppedBlocks,
    Effect,
    Event,
    EvidenceFound,
    FinalHeight,
    Finalized,
    Halt,
    Misbehaved,
    Now,
    OwnVote,
    Persist,
    Received,
    Record,
    Report,
    SavedCertificate,
    SavedProposal,
    Send,
)
from glasslog.agreement.evidence import Evidence, decode_evidence
from glasslog.agreement.inbox import Inbox
from glasslog.agreement.leader import Penalties, parent_of, select
from glasslog.agreement.messages import (
    NO_DIGEST,
    Certificate,
    CertificateRequest,
    FinalizedRun,
    Kind,
    Message,
    Proposal,
    RunRequest,
    SignedProposal,
    Vote,
    vote_bytes,
)
from glasslog.agreement.publication import Publication
from glasslog.agreement.recovery import Recovery
from glasslog.agreement.shelf import Shelf, Support
from glasslog.agreement.tally import Tally
from glasslog.agreement.view import Round
from glasslog.agreement.wants import Wants
from glasslog.block import Block, Ref
from glasslog.errors import AdmissionError, ProtocolError
from glasslog.ledger import Admitted, HeightPlan, LedgerState, Place, extend
from glasslog.membership import read_genesis


class Replica:
    """A member's view of the agreement. Not thread-safe; never raises for what a peer sent."""

    def __init__(self, config: ReplicaConfig, durable: Durable) -> None:
        self.config = config
        self.genesis, self.membership = read_genesis(durable.genesis)
        self.index = None if config.sign_vote is None else self.membership.index_of(config.name)
        quorum, some = self.membership.quorum, self.membership.faults + 1
        self.shelf = Shelf(Support(quorum, some, config.timing.have_wait))
        state = LedgerState(durable.floor.height, durable.floor.time, durable.edge, dict(durable.frontier))
        self.branches = Branches(self.membership, self.shelf, durable.floor, state)
        self.tally = Tally(self.membership, config.verify, durable.floor.view)
        self.signatures: dict[bytes, bytes] = {}
        self._saved: set[bytes] = set(durable.proposals)
        self.finalize_certificate = durable.finalize_certificate
        self.publication = Publication(
            self.membership,
            self.index,
            config.cosigners,
            durable.intent,
            durable.published,
        )
        self.publication.executed(state.size, state.root)
        self.catchup = Catchup(config.timing)
        self.penalties = Penalties()
        self.recovery = Recovery(config.boot_nonce, quorum, self.membership.faults) if durable.lost else None
        self.halted: Halt | None = None
        self.connected: set[str] = set()
        self.heard_at: dict[int, int] = {}
        self.accused: set[tuple[str, str, int]] = set()
        self.view = 0
        self.now = Now(0, 0)
        self._entered_at = 0
        self.progress_at = 0
        self.cosigned_at: int | None = None
        self._resent_at = 0
        self._timer: int | None = None
        self._deadline: int | None = None
        self._out: list[Effect] = []
        self.inbox = Inbox(self)
        self.wants = Wants(self)
        self._restore(durable)

    def _restore(self, durable: Durable) -> None:
        """Rebuild what is volatile from what is durable; own votes go back into the own pool (A8, P2)."""
        for held in durable.blocks.values():
            self.hold(self.inbox.verified(held.header, held.entries))
        for digest, signed in durable.proposals.items():
            self.signatures[digest] = signed.signature
            self.branches.add(digest, signed.proposal)
            self.tally.round(signed.proposal.view).proposals.append(signed)
        for certificate in durable.certificates.values():
            self.tally.add_certificate(certificate)
        for vote in durable.votes.values():
            self.tally.round(vote.view).own[vote.kind] = vote
            completed, _ = self.tally.add_vote(vote)
            assert completed is None, "a quorum of one"
        for data in durable.evidence:
            known = decode_evidence(data)
            self.accused.add((known.accused, known.fault.value, known.epoch))
            self.emit(Report(data))  # the crash may have come before it was entered

    # --- the seam ---------------------------------------------------------------------------------

    def start(self, now: Now) -> list[Effect]:
        """Return what to do first after a boot. Call once, before any ``step``."""
        self.now = now
        self._entered_at = self.progress_at = self._resent_at = now.mono
        self.inbox.start()
        self._drive()
        return self._take()

    def step(self, now: Now, event: Event) -> list[Effect]:
        """Take in one event and return what the caller must now do, in order (effects.py has the contract)."""
        self.now = now
        try:
            is_news = self.inbox.take(event)
        except ProtocolError as error:
            peer = event.peer if isinstance(event, Received) else self.config.name
            self.emit(Misbehaved(peer, error.code, error.fact))
            is_news = True
        if is_news or (self._deadline is not None and now.mono >= self._deadline):
            self._drive()
        return self._take()

    @property
    def deadline(self) -> int | None:
        """When to step with ``Tick`` at the latest, in monotonic milliseconds; None: only on an event."""
        return self._deadline

    @property
    def may_sign(self) -> bool:
        """Whether this replica votes at all now: a validator, not halted, not recovering (A10)."""
        return self.index is not None and self.halted is None and self.recovery is None

    def _take(self) -> list[Effect]:
        out, self._out = self._out, []
        return out

    # --- for the parts ----------------------------------------------------------------------------

    def emit(self, effect: Effect) -> None:
        """Append an effect to this step's."""
        self._out.append(effect)

    def persist(self, *records: Record) -> None:
        """Append records that must be durable before any later effect."""
        self.emit(Persist(records))

    def send(self, peer: str, message: Message) -> None:
        """Send to one member."""
        self.emit(Send(peer, message))

    def broadcast(self, message: Message, audience: Audience = Audience.VALIDATORS) -> None:
        """Send to all of an audience."""
        self.emit(Broadcast(audience, message))

    def wake_at(self, mono: int | None) -> None:
        """Be stepped again by then."""
        if mono is not None and (self._deadline is None or mono < self._deadline):
            self._deadline = mono

    def validator_name(self, index: int) -> str:
        """Return a validator's member name."""
        return self.membership.validators[index].name

    def halt(self, code: str, fact: str) -> None:
        """Stop signing for good: a contradiction that more than f faulty validators made, or our own bug."""
        if self.halted is None:
            self.halted = Halt(code, fact)
            self.emit(self.halted)

    def hold(self, block: Block) -> None:
        """Put a durable block on the shelf."""
        self.shelf.hold(Admitted.of(block))

    def accuse(self, evidence: Evidence) -> None:
        """Keep and report evidence, once for each accused, fault and epoch: more would only fill the ledger (A14)."""
        key = (evidence.accused, evidence.fault.value, evidence.epoch)
        if key in self.accused:
            return
        self.accused.add(key)
        data = evidence.encode()
        self.persist(EvidenceFound(data))
        self.emit(Report(data))

    # --- facts ------------------------------------------------------------------------------------

    def count_vote(self, vote: Vote) -> None:
        """Count a verified or own vote and learn what it completes."""
        certificate, evidence = self.tally.add_vote(vote)
        if evidence is not None:
            self.accuse(evidence)
        if certificate is not None:
            self.learn_certificate(certificate)

    def learn_certificate(self, certificate: Certificate) -> None:
        """Keep a verified certificate; the first time, make it durable and pass it on (A7)."""
        is_final = certificate.kind is Kind.FINALIZE
        if certificate.view <= self.tally.floor_view:
            return
        for evidence in self.tally.evidence_in(certificate):
            self.accuse(evidence)
        is_new, contradiction = self.tally.add_certificate(certificate)
        if contradiction is not None:
            self.halt("AGREE-01", f"view {certificate.view} has {contradiction}: more than f validators are faulty")
        if not is_new:
            return
        best = self.finalize_certificate
        if is_final and (best is None or certificate.view > best.view):
            self.finalize_certificate = certificate
        if certificate.kind is Kind.NULLIFY:
            self._blame_authors(certificate.view)
        self._save_proposal(certificate.digest)
        self.persist(SavedCertificate(certificate))
        self.broadcast(certificate, Audience.MEMBERS if is_final else Audience.VALIDATORS)

    def learn_proposal(self, digest: bytes, signed: SignedProposal) -> None:
        """Keep a proposal with its leader's verified signature."""
        self.signatures[digest] = signed.signature
        self.branches.add(digest, signed.proposal)
        self.tally.round(signed.proposal.view).proposals.append(signed)
        round_ = self.tally.round(signed.proposal.view)
        if any(certificate.digest == digest for certificate in round_.certificates.values()):
            self._save_proposal(digest)

    def _save_proposal(self, digest: bytes) -> None:
        """A certified proposal outlives a crash of everybody: without it the next leader could not build on it."""
        proposal = self.branches.proposals.get(digest)
        if proposal is not None and digest in self.signatures and digest not in self._saved:
            self._saved.add(digest)
            self.persist(SavedProposal(SignedProposal(proposal, self.signatures[digest])))

    def _blame_authors(self, view: int) -> None:
        """The view is lost; authors whose blocks were named and missing here go to the back (A9)."""
        for signed in self.tally.round(view).proposals:
            for ref in signed.proposal.advance:
                tip = self.branches.state.tip(ref.author, self.membership.genesis_hash)
                if ref.seq > tip.seq and ref not in self.shelf:
                    self.penalties.blame(ref.author, view)

    # --- the rules, in order ----------------------------------------------------------------------

    def _drive(self) -> None:
        self._deadline = None
        if self.halted is None:
            while (
                self._enter_view()
                or self._execute()
                or self._sign_finalize()
                or self._propose()
                or self._sign_notarize()
                or self._sign_nullify()
            ):
                pass
            self._publish()
        if self.halted is None:
            self.wants.collect()
            self._resend()
            self.inbox.housekeeping()

    def _enter_view(self) -> bool:
        """A6: enter the view after the highest one with a certificate."""
        view = self.tally.highest_left + 1
        if view <= self.view:
            return False
        self.view = view
        self._entered_at = self.progress_at = self.now.mono
        self._timer = None
        return True

    def _sign(self, kind: Kind, view: int, digest: bytes) -> Vote:
        """Sign one vote: the only place that does. The rules were judged; here they are asserted (A1-A5, A10)."""
        assert self.may_sign
        assert self.index is not None
        assert self.config.sign_vote is not None
        round_ = self.tally.round(view)  # asserts A5
        assert kind not in round_.own, "signed already: resend, never sign anew (P1)"
        assert kind is not Kind.NOTARIZE or round_.may_notarize(digest)
        assert kind is not Kind.FINALIZE or round_.may_finalize()
        assert kind is not Kind.NULLIFY or round_.may_nullify()
        epoch = self.membership.epoch
        message = vote_bytes(self.membership.genesis_hash, epoch, view, kind, digest)
        vote = Vote(epoch, view, kind, digest, self.index, self.config.sign_vote(message))
        round_.own[kind] = vote
        return vote

    def _cast(self, vote: Vote, *records: Record) -> None:
        """Make a vote durable, then send and count it (A8)."""
        self.persist(*records, OwnVote(vote))
        self.broadcast(vote)
        self.count_vote(vote)

    def _sign_finalize(self) -> bool:
        """A3: finalize with the notarize certificate in hand and no own nullify. An own notarize is not required."""
        if not self.may_sign:
            return False
        for view, round_ in sorted(self.tally.rounds.items()):
            if Kind.FINALIZE in round_.own or Kind.NULLIFY in round_.certificates or not round_.may_finalize():
                continue
            self._cast(self._sign(Kind.FINALIZE, view, round_.certificates[Kind.NOTARIZE].digest))
            return True
        return False

    def _sign_notarize(self) -> bool:
        """A2: notarize the first proposal of the current view that is right in everything it claims."""
        round_ = self.tally.round(self.view)
        if not self.may_sign or Kind.NOTARIZE in round_.own:
            return False
        for signed in round_.proposals:
            digest = signed.proposal.digest
            if digest in round_.refused or not round_.may_notarize(digest):
                continue
            try:
                plan = self._judge(digest, signed.proposal)
            except AdmissionError as error:
                self._refuse(round_, digest, error)
                continue
            if plan is not None:
                self._saved.add(digest)
                self._cast(self._sign(Kind.NOTARIZE, self.view, digest), SavedProposal(signed))
                return True
        return False

    def _refuse(self, round_: Round, digest: bytes, error: AdmissionError) -> None:
        """A proposal that nobody may accept: name its leader and do not wait for the timer."""
        round_.refused.add(digest)
        round_.expired = True
        leader = self.validator_name(self.membership.leader(round_.view))
        self.emit(Misbehaved(leader, error.code, error.fact))

    def _judge(self, digest: bytes, proposal: Proposal) -> HeightPlan | None:
        """Return what the proposal appends if it may be notarized, or None while something is missing (A2).

        Raises:
            AdmissionError: it breaks a rule whatever else arrives.
        """
        if not self._is_justified(proposal):
            return None
        if self.branches.is_ahead(proposal, self.now.wall):
            return None  # a wrong clock, theirs or ours, costs a view, never more
        return self.branches.evaluate(digest)

    def _is_justified(self, proposal: Proposal) -> bool:
        """Whether the parent has a certificate with that very digest and every skipped view is nullified (A2)."""
        floor = self.branches.floor
        parent = proposal.parent_view
        if parent < floor.view:
            raise AdmissionError("PROPOSAL-06", f"the parent is below the final view {floor.view}")
        if parent == floor.view and proposal.parent_digest != floor.digest:
            raise AdmissionError("PROPOSAL-07", "the parent is not what is final in its view")
        lacking: list[int] = []
        if parent > floor.view:
            certificate = self.tally.round(parent).parent_certificate
            if certificate is None:
                lacking.append(parent)
            elif certificate.digest != proposal.parent_digest:
                raise AdmissionError("PROPOSAL-07", "the parent is not what is certified in its view")
        skipped = range(parent + 1, proposal.view)
        lacking += [view for view in skipped if Kind.NULLIFY not in self.tally.round(view).certificates]
        self._ask_views(lacking, self.validator_name(self.membership.leader(proposal.view)))
        return not lacking

    def _ask_views(self, views: list[int], peer: str) -> None:
        """Ask for the certificates and proposals of views that cannot be judged without them (P3)."""
        due, wake = self.catchup.views_to_ask(views, self.now.mono)
        if due and peer != self.config.name:
            self.send(peer, CertificateRequest(self.membership.epoch, due[:128]))
        self.wake_at(wake)

    # --- leading ----------------------------------------------------------------------------------

    def _propose(self) -> bool:
        """The leader's proposal, whose signature is its notarize vote (A17). Empty only to finish a notarized tail."""
        round_ = self.tally.round(self.view)
        if not self.may_sign or self.membership.leader(self.view) != self.index:
            return False
        if Kind.NOTARIZE in round_.own or Kind.NULLIFY in round_.own:
            return False
        chosen = parent_of(self.view, self.tally.rounds, self.branches.floor.view)
        if chosen is None:
            return False
        floor = self.branches.floor
        view, digest = (floor.view, floor.digest) if isinstance(chosen, int) else (chosen.view, chosen.digest)
        try:
            parent = self.branches.parent(view, digest)
        except AdmissionError as error:
            self.halt("AGREE-03", f"what a quorum notarized in view {view} is not admissible: {error}")
            return False
        if parent is None:
            return False
        timing, now = self.config.timing, self.now.mono
        selection = select(self.shelf, self.membership, parent.state, self.penalties, self.view, now)
        earliest = self._entered_at + (timing.pace_light if selection.entries < timing.light else timing.pace)
        if not selection.advance:
            self.wake_at(selection.wake)
            if view == floor.view:
                return False  # no work, no height
            earliest = self._entered_at + 2 * timing.delay  # the tail's finalize votes are usually under way (A12)
        if now < earliest:
            self.wake_at(earliest)
            return False
        self._make_proposal(
            Place(parent.height + 1, self.view, self.membership.epoch, max(parent.time + 1, self.now.wall)),
            view,
            digest,
            parent.state,
            selection.advance,
        )
        return True

    def _make_proposal(
        self, place: Place, parent_view: int, parent_digest: bytes, state: LedgerState, advance: tuple[Ref, ...]
    ) -> None:
        plan = extend(state, self.membership, place, advance, self.shelf.chain_of)
        assert plan is not None, "a leader names only what it holds (A9)"
        proposal = Proposal(
            place.epoch, place.view, place.height, parent_view, parent_digest,
            place.time, advance, plan.state.size, plan.state.root,
        )  # fmt: skip
        digest = proposal.digest
        vote = self._sign(Kind.NOTARIZE, place.view, digest)
        signed = SignedProposal(proposal, vote.signature)
        self.learn_proposal(digest, signed)
        self.branches.put_plan(digest, plan)
        self._saved.add(digest)
        self.persist(SavedProposal(signed), OwnVote(vote))
        self.broadcast(signed, Audience.MEMBERS)
        self.count_vote(vote)

    # --- timers -----------------------------------------------------------------------------------

    def has_work(self) -> bool:
        """A12: blocks that f+1 hold, an unfinalized notarization, or f+1 nullify votes in this view."""
        if self.shelf.has_work(self.branches.state.frontier):
            return True
        if any(round_.is_unfinished for round_ in self.tally.rounds.values()):
            return True
        nullify = self.tally.round(self.view).votes[Kind.NULLIFY]
        return len(nullify) > self.membership.faults

    def _sign_nullify(self) -> bool:
        """A4, A6: give the view up when its timer ends, its leader gives up, or its leader is not there."""
        round_ = self.tally.round(self.view)
        if not self.may_sign or Kind.NULLIFY in round_.own or not round_.may_nullify():
            return False
        if not self.has_work():
            self._timer = None
            return False
        now = self.now.mono
        if self._timer is None:
            self._timer = now + self.config.timing.timeout_at(self.view - self.branches.floor.view - 1)
        leader = self.membership.leader(self.view)
        given_up = round_.expired or leader in round_.votes[Kind.NULLIFY] or not self._is_active(leader)
        if now < self._timer and not given_up:
            self.wake_at(self._timer)
            return False
        self._cast(self._sign(Kind.NULLIFY, self.view, NO_DIGEST))
        return True

    def _is_active(self, index: int) -> bool:
        """Whether a validator was heard lately. One that was never heard gets its first timer."""
        if index == self.index:
            return True
        heard = self.heard_at.get(index)
        return heard is None or self.now.mono < heard + self.config.timing.inactive

    # --- finality ---------------------------------------------------------------------------------

    def _execute(self) -> bool:
        """Append every height that is final and leads on from the floor, as far as its blocks are here."""
        try:
            path = self.final_path()
            moved = False
            for digest in path:
                plan = self.branches.evaluate(digest)
                if plan is None:
                    return moved
                self._finalize(digest)
                moved = True
        except AdmissionError as error:
            self.halt("AGREE-02", f"what a quorum made final is not admissible: {error}")
            return False
        if moved:
            self.catchup.ask_again_soon()
        return moved

    def final_path(self) -> list[bytes]:
        """Return the digests above the floor, up to the highest final one whose whole chain is here (A18)."""
        return self.branches.first_path(self.tally.finals())

    def _finalize(self, digest: bytes) -> None:
        """One height: everything that moves with it, in one record (A8)."""
        proposal, first = self.branches.proposals[digest], self.branches.state.size
        plan = self.branches.move_floor(digest)
        blocks = tuple(block.ref for block in plan.blocks)
        leaves = tuple(block.count + 1 for block in plan.blocks)
        record = FinalHeight(
            proposal, digest, first, blocks, leaves, plan.seal, plan.tips, plan.tiles, plan.state.edge
        )  # fmt: skip
        lost: list[Ref] = []
        for author, tip in plan.tips:
            lost += self.shelf.finalize(author, tip)
            self.penalties.forgive(author)
        self.persist(record, *([DroppedBlocks(tuple(lost))] if lost else []))
        self.tally.prune(proposal.view)
        self.catchup.forget_views(proposal.view)
        self.signatures = {d: s for d, s in self.signatures.items() if d in self.branches.proposals}
        self._saved &= self.branches.proposals.keys()
        self.progress_at = self.now.mono
        state = plan.state
        self.emit(Finalized(state.height, state.size, state.root, proposal.time, blocks))
        self.publication.executed(state.size, state.root)
        self.inbox.finalized(proposal.view)
        self.cosign(state, proposal.time)

    def cosign(self, state: LedgerState, time: int) -> None:
        """Cosign a final height, its intent durable first (specs/log.md, L9)."""
        if not self.may_sign:
            return
        self.cosigned_at = self.now.mono
        intent = self.publication.intend(state.size, state.root, time, self.now.wall)
        if intent is not None:
            self.persist(intent)
            self.emit(Cosign(intent.size, intent.root, intent.time))

    def _publish(self) -> None:
        note = self.publication.publish()
        if note is not None:
            self.persist(note)
            self.emit(CheckpointPublished(note.size, self.publication.roots[note.size]))
        for cosignature in self.publication.contradictions:
            name = self.validator_name(cosignature.voter)
            self.emit(Misbehaved(name, "COSIGN-03", f"cosigned another root than ours at size {cosignature.size}"))
        self.publication.contradictions.clear()

    # --- catching up and resending ----------------------------------------------------------------------------------

    def ask_run(self, peer: str) -> None:
        """Ask a peer for the finalized heights that follow this replica's."""
        self.send(peer, RunRequest(self.branches.floor.height + 1))

    def learn_run(self, run: FinalizedRun, digests: list[bytes]) -> None:
        """Keep a run's proposals: its verified certificate makes them final, whoever sent them."""
        for digest, proposal in zip(digests, run.proposals, strict=True):
            self.branches.add(digest, proposal)
        self.learn_certificate(run.certificate)

    def _resend(self) -> None:
        """A7: on standstill, everything unfinished again, to everybody."""
        if self.index is None or not self.has_work():
            self._resent_at = self.now.mono
            return
        timing = self.config.timing
        due = max(self.progress_at, self._resent_at) + timing.standstill
        if self.now.mono < due:
            self.wake_at(due)
            return
        self._resent_at = self.now.mono
        for message in self.unfinished():
            self.broadcast(message)
        self.wake_at(self.now.mono + timing.standstill)

    def unfinished(self) -> list[Message]:
        """Return the latest finalize certificate and every proposal, certificate and own vote above the floor."""
        latest: list[Message] = [] if self.finalize_certificate is None else [self.finalize_certificate]
        return latest + [message for _, round_ in sorted(self.tally.rounds.items()) for message in round_.to_resend()]
