"""One replica against peers that say anything: Hypothesis holds the keys of everybody else and tries every order.

Three of four validators are under the machine's control, more than the protocol tolerates. So heights may
contradict one another and the replica may halt; what it signs must still keep the rules, and it must never raise.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from glasslog.agreement.config import ReplicaConfig
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import (
    Broadcast,
    Cosign,
    Cosigned,
    CosignIntent,
    Effect,
    Event,
    Now,
    OwnVote,
    PeerDown,
    PeerUp,
    Persist,
    Received,
    Send,
    Tick,
)
from glasslog.agreement.messages import (
    BlockBody,
    BlockRequest,
    Certificate,
    CertificateRequest,
    FinalizedRun,
    Have,
    Kind,
    Message,
    Proposal,
    Published,
    RecoveryReply,
    RecoveryRequest,
    RunRequest,
    SignedProposal,
    Status,
    Vote,
    decode_message,
    encode_message,
    vote_bytes,
)
from glasslog.agreement.replica import Replica
from glasslog.block import Block
from glasslog.errors import AdmissionError
from glasslog.ledger import Place, extend
from simulation.node import Disk, copy_durable
from simulation.planted_faults import FAULTS
from simulation.suite import CheapNotes, make_block, make_network, public_key, sign, signer, verify

NETWORK = make_network(4)
NOTES = CheapNotes(NETWORK.validators)
GENESIS_HASH = NETWORK.membership.genesis_hash
WALL = 10_000_000

views = st.sampled_from([-1, 0, 0, 0, 1, 2])  # from the view the replica is in
kinds = st.sampled_from(list(Kind))
peers = st.sampled_from(["v1", "v2", "v3", "lab"])
voters = st.integers(1, 3)
picks = st.integers(0, 1_000)


class ReplicaMachine(RuleBasedStateMachine):
    """v0 is the replica under test."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk(Durable.fresh(NETWORK.genesis))
        self.life = 0
        self.clock = 0
        self.digests = [b"\7" * 32]
        self.proposals = list[SignedProposal]()
        self.blocks = list[Block]()
        self.signed = set[tuple[int, Kind, bytes]]()  # v0's votes on its disk, ever
        self.own_votes = list[Vote]()
        self.intents = set[tuple[int, bytes]]()
        self.to_cosign = list[Cosign]()
        self.connected = set[str]()
        self.lawless = False
        self.certified: dict[tuple[int, Kind], bytes] = {}

    @initialize(lawless=st.sampled_from([False, False, False, True]))
    def start(self, lawless: bool) -> None:
        """Lawless quorums contradict themselves; then the replica halts, and little more is learnt."""
        self.lawless = lawless
        self.boot()

    # --- the shell under test's feet ----------------------------------------------------------------

    kind: type[Replica] = Replica

    def make_replica(self) -> Replica:
        nonce = bytes([self.life % 256]) * 16
        config = ReplicaConfig("v0", verify, NOTES, signer("v0", "vote"), nonce)
        return self.kind(config, copy_durable(self.disk.durable))

    def boot(self) -> None:
        self.life += 1
        self.connected.clear()
        self.to_cosign.clear()
        self.replica = self.make_replica()
        self.carry_out(self.replica.start(self.now))

    @property
    def now(self) -> Now:
        return Now(self.clock, WALL + self.clock)

    def step(self, event: Event, *, crash_after: int | None = None) -> None:
        """Step; with *crash_after*, only so many effects are carried out, and the replica starts again."""
        effects = self.replica.step(self.now, event)
        if crash_after is None:
            self.carry_out(effects)
            return
        self.carry_out(effects[: crash_after % (len(effects) + 1)])
        self.boot()

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Persist(records):
                    for record in records:
                        if isinstance(record, OwnVote):
                            self.judge_vote(record.vote)
                        elif isinstance(record, CosignIntent):
                            self.intents.add((record.size, record.root))
                            assert len({root for size, root in self.intents if size == record.size}) == 1
                        self.disk.apply(record)
                case Send(_, message) | Broadcast(_, message):
                    self.judge_sent(message)
                case Cosign():
                    assert (effect.size, effect.root) in self.intents
                    self.to_cosign.append(effect)
                case _:
                    pass

    def judge_vote(self, vote: Vote) -> None:
        """A1, A3, A4, A5 and the refusal of A2, over the key's whole life."""
        floor = self.disk.durable.floor.view
        same_view = {kind: digest for view, kind, digest in self.signed if view == vote.view}
        assert vote.view > floor
        assert vote.kind not in same_view
        forbidden = {
            Kind.NOTARIZE: {Kind.NULLIFY},
            Kind.FINALIZE: {Kind.NULLIFY},
            Kind.NULLIFY: {Kind.FINALIZE},
        }[vote.kind]
        assert not forbidden & same_view.keys()
        if vote.kind is Kind.FINALIZE:
            certificate = self.disk.durable.certificates[vote.view, Kind.NOTARIZE]
            assert certificate.digest == vote.digest
        if vote.kind is Kind.NOTARIZE:
            assert vote.digest in self.digests or vote.view % 4 == 0
        self.signed.add((vote.view, vote.kind, vote.digest))
        self.own_votes.append(vote)

    def judge_sent(self, message: Message) -> None:
        """A8: nothing with v0's signature in it leaves before it is durable. What leaves can be read."""
        assert decode_message(encode_message(message)) == message
        match message:
            case Vote(voter=0):
                assert (message.view, message.kind, message.digest) in self.signed
            case SignedProposal(proposal) if proposal.view % 4 == 0:
                assert (proposal.view, Kind.NOTARIZE, proposal.digest) in self.signed
            case Certificate() if 0 in message.signers:
                assert (message.view, message.kind, message.digest) in self.signed
            case _:
                pass

    # --- what peers can make ------------------------------------------------------------------------

    def vote(self, view: int, kind: Kind, digest: bytes, voter: int) -> Vote:
        digest = b"" if kind is Kind.NULLIFY else digest
        signature = sign(public_key(f"v{voter}", "vote"), vote_bytes(GENESIS_HASH, 1, view, kind, digest))
        return Vote(1, view, kind, digest, voter, signature)

    def certificate(self, view: int, kind: Kind, digest: bytes) -> Certificate:
        votes = [self.vote(view, kind, digest, voter) for voter in (1, 2, 3)]
        return Certificate(1, view, kind, votes[0].digest, (1, 2, 3), tuple(vote.signature for vote in votes))

    def may_certify(self, view: int, kind: Kind, digest: bytes) -> bool:
        """Whether a quorum with honest members in it could have signed this too."""
        if self.lawless:
            return True
        other = {Kind.NULLIFY: Kind.FINALIZE, Kind.FINALIZE: Kind.NULLIFY}.get(kind)
        if other is not None and (view, other) in self.certified:
            return False
        if kind is not Kind.NULLIFY:
            for same in (Kind.NOTARIZE, Kind.FINALIZE):
                if self.certified.get((view, same), digest) != digest:
                    return False
        try:
            final = kind is Kind.FINALIZE and self.replica.branches.path_from_floor(digest) is None
        except AdmissionError:
            return False
        if final:
            return False
        self.certified[view, kind] = digest
        return True

    def digest(self, pick: int) -> bytes:
        return self.digests[-1 - pick % min(len(self.digests), 3)]

    def proposal(self, pick: int) -> Proposal:
        return self.proposals[-1 - pick % min(len(self.proposals), 3)].proposal

    def near(self, offset: int) -> int:
        return max(1, self.replica.view + offset)

    # --- rules --------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 2), parent=picks, salt=st.integers(0, 1), misnumbered=st.booleans())
    def author_seals(self, count: int, parent: int, salt: int, misnumbered: bool) -> None:
        tips = [(0, GENESIS_HASH, 0)] + [(b.header.seq, b.hash, b.next_entry) for b in self.blocks]
        seq, prev, first = tips[-1 - parent % min(len(tips), 3)]
        first += int(misnumbered and seq > 0)
        self.blocks.append(make_block(GENESIS_HASH, "lab", seq + 1, prev, first, count, salt=salt))

    @rule(pick=picks, peer=peers, crash=st.none() | st.integers(0, 6), spoilt=st.sampled_from([False, False, True]))
    def block_arrives(self, pick: int, peer: str, crash: int | None, spoilt: bool) -> None:
        if self.blocks:
            block = self.blocks[-1 - pick % min(len(self.blocks), 3)]
            leaf = block.leaf[:-1] + b"\0" if spoilt else block.leaf
            self.step(Received(peer, BlockBody(leaf, block.entries)), crash_after=crash)

    @rule(pick=picks, peer=peers)
    def have_arrives(self, pick: int, peer: str) -> None:
        if self.blocks:
            ref = self.blocks[-1 - pick % min(len(self.blocks), 3)].ref
            for name in ("v1", "v2") if pick % 2 else (peer,):
                self.step(Received(name, Have((ref,))))

    @rule(
        view=views, parent=picks, blocks=picks, delay=st.sampled_from([1, 5, 20_000]),
        wrong_root=st.sampled_from([False, False, False, True]), crash=st.none() | st.integers(0, 6),
    )  # fmt: skip
    def leader_proposes(
        self, view: int, parent: int, blocks: int, delay: int, wrong_root: bool, crash: int | None
    ) -> None:
        """A proposal of another leader's, right or wrong, on the floor or on any proposal that exists."""
        view = self.near(view)
        if view % 4 == 0:
            return
        r = self.replica
        floor = r.branches.floor
        bases = [(floor.view, floor.digest)] + [(p.proposal.view, p.proposal.digest) for p in self.proposals]
        parent_view, parent_digest = bases[-1 - parent % min(len(bases), 3)]
        try:
            base = r.branches.parent(parent_view, parent_digest)
        except AdmissionError:
            base = None
        if base is None:
            return
        held = [block for block in self.blocks if block.ref in r.shelf]
        advance = (held[blocks % len(held)].ref,) if held and blocks % 3 else ()
        time = base.time + delay if blocks % 2 else self.now.wall
        try:
            place = Place(base.height + 1, view, 1, time)
            plan = extend(base.state, r.membership, place, advance, r.shelf.chain_of)
        except AdmissionError:
            return
        if plan is None:
            return
        root = b"\1" * 32 if wrong_root else plan.state.root
        proposal = Proposal(
            1, view, base.height + 1, parent_view, parent_digest, time, advance, plan.state.size, root
        )  # fmt: skip
        signature = self.vote(view, Kind.NOTARIZE, proposal.digest, view % 4).signature
        signed = SignedProposal(proposal, signature)
        self.digests.append(proposal.digest)
        if not wrong_root:
            self.proposals.append(signed)
        self.step(Received("v1", signed), crash_after=crash)

    @rule(view=views, kind=kinds, pick=picks, voter=voters, peer=peers, forged=st.booleans())
    def vote_arrives(self, view: int, kind: Kind, pick: int, voter: int, peer: str, forged: bool) -> None:
        view = self.near(view)
        vote = self.vote(view, kind, self.digest(pick), voter)
        if forged:
            vote = Vote(1, view, kind, vote.digest, voter, b"\0" * 64)
        self.step(Received(peer, vote))

    @rule(pick=picks, kind=kinds, crash=st.none() | st.integers(0, 8))
    def certificate_arrives(self, pick: int, kind: Kind, crash: int | None) -> None:
        """For a proposal that exists: this is how views go on and heights become final."""
        if self.proposals:
            proposal = self.proposal(pick)
            if self.may_certify(proposal.view, kind, proposal.digest):
                certificate = self.certificate(proposal.view, kind, proposal.digest)
                self.step(Received("v2", certificate), crash_after=crash)

    @rule(view=views, crash=st.none() | st.integers(0, 8))
    def nullification_arrives(self, view: int, crash: int | None) -> None:
        if self.may_certify(self.near(view), Kind.NULLIFY, b""):
            self.step(Received("v3", self.certificate(self.near(view), Kind.NULLIFY, b"")), crash_after=crash)

    @rule(view=views, kind=kinds, pick=picks, few=st.booleans())
    def bad_certificate_arrives(self, view: int, kind: Kind, pick: int, few: bool) -> None:
        view = self.near(view)
        good = self.certificate(view, kind, self.digest(pick))
        signers = good.signers[:2] if few else good.signers
        signatures = good.signatures[:2] if few else (*good.signatures[:2], b"\0" * 64)
        self.step(Received("v2", Certificate(1, view, kind, good.digest, signers, signatures)))

    @rule(pick=picks, peer=peers)
    def run_arrives(self, pick: int, peer: str) -> None:
        if self.proposals:
            proposal = self.proposal(pick)
            if self.may_certify(proposal.view, Kind.FINALIZE, proposal.digest):
                certificate = self.certificate(proposal.view, Kind.FINALIZE, proposal.digest)
                self.step(Received(peer, FinalizedRun((proposal,), certificate)))

    @rule(pick=picks, voter=st.integers(1, 4), time=st.integers(0, 20_000), forged=st.booleans())
    def cosignature_arrives(self, pick: int, voter: int, time: int, forged: bool) -> None:
        sizes = list(self.replica.publication.roots.items())
        size, root = sizes[pick % len(sizes)]
        line = NOTES.cosign(min(voter, 3), size, root if pick % 3 else b"\5" * 32, time)
        if forged or voter > 3:
            line = type(line)(size, line.root, time, b"\0" * 64, b"\0" * 64, line.mldsa44, voter)
        self.step(Received("v1", line))

    @rule(pick=picks, lines=st.lists(voters, max_size=3), time=st.integers(0, 20_000))
    def note_arrives(self, pick: int, lines: list[int], time: int) -> None:
        sizes = list(self.replica.publication.roots.items())
        size, root = sizes[pick % len(sizes)]
        note = NOTES.make_note(size, root, [NOTES.cosign(voter, size, root, time) for voter in lines])
        self.step(Received("lab", Published(note)))

    @rule(peer=peers, view=views, height=st.integers(0, 5), pick=picks)
    def question_arrives(self, peer: str, view: int, height: int, pick: int) -> None:
        view = self.near(view)
        questions: list[Message] = [
            Status(1, view, max(view - 1, 0), height, 6 + height, 0),
            RunRequest(height),
            CertificateRequest(1, (view, view + 1)),
            RecoveryRequest(bytes(16), None if pick % 2 else peer),
            RecoveryReply(bytes(16), None, None, 9, None),
            BlockRequest("lab", height, height + pick % 80, self.digest(pick)),
        ]
        self.step(Received(peer, questions[pick % len(questions)]))

    @rule(milliseconds=st.sampled_from([1, 60, 200, 1_300, 3_000, 16_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.clock += milliseconds
        self.step(Tick())

    @rule(peer=peers)
    def peer_comes_or_goes(self, peer: str) -> None:
        self.connected ^= {peer}
        self.step(PeerUp(peer) if peer in self.connected else PeerDown(peer))

    @rule()
    def shell_cosigns(self) -> None:
        if self.to_cosign:
            order = self.to_cosign.pop(0)
            self.step(Cosigned(NOTES.cosign(0, order.size, order.root, order.time)))

    @rule()
    def restarts(self) -> None:
        self.boot()

    @rule()
    def a_boot_would_know_the_same(self) -> None:
        """The fold of all records is, for every rule's purposes, the state that went on without a restart."""
        going_on, booted = self.replica, self.make_replica()
        if going_on.halted is not None:
            return
        assert booted.branches.floor == going_on.branches.floor
        assert booted.branches.state.root == going_on.branches.state.root
        assert booted.branches.state.frontier == going_on.branches.state.frontier
        assert booted.publication.published == going_on.publication.published
        assert booted.publication.intent == going_on.publication.intent
        assert booted.finalize_certificate == going_on.finalize_certificate
        assert booted.tally.highest_left == going_on.tally.highest_left
        assert booted.accused == going_on.accused
        for view, round_ in going_on.tally.rounds.items():
            known = booted.tally.round(view)
            assert known.own == round_.own
            assert known.certificates == round_.certificates
            for kind, vote in round_.own.items():
                assert known.votes[kind][0] == vote

    @invariant()
    def deadline_is_ahead(self) -> None:
        if hasattr(self, "replica") and self.replica.deadline is not None:
            assert self.replica.deadline >= self.clock or self.replica.halted is not None


@pytest.mark.parametrize("name", ["nullify after finalize", "send before persist"])
def test_machine_finds_a_planted_fault(name: str) -> None:
    """A machine that stays green under these explores nothing."""
    fault = next(fault for fault in FAULTS if fault.name == name)
    assert isinstance(fault.make_replica, type)
    machine = type("FaultyMachine", (ReplicaMachine,), {"kind": fault.make_replica})
    phases = [Phase.generate]
    quiet = settings(max_examples=4_000, stateful_step_count=50, database=None, derandomize=True, phases=phases)
    with fault.planted(), pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=quiet)


TestReplicaMachine = ReplicaMachine.TestCase
TestReplicaMachine.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
