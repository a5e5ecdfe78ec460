"""One replica, one situation each: faults found before, and rules that a whole network rarely shows."""

from __future__ import annotations

from collections.abc import Iterable

from glasslog.agreement.config import ReplicaConfig, Timing
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import (
    AuthorRecovered,
    Broadcast,
    Cosign,
    CosignIntent,
    Effect,
    Event,
    FinalHeight,
    Halt,
    Misbehaved,
    Now,
    OwnVote,
    PeerUp,
    Persist,
    Received,
    Record,
    SavedProposal,
    Send,
    StateRecovered,
    Tick,
)
from glasslog.agreement.messages import (
    BlockBody,
    BlockRequest,
    Certificate,
    CertificateRequest,
    Have,
    Kind,
    Message,
    Proposal,
    RecoveryReply,
    SignedProposal,
    Vote,
    vote_bytes,
)
from glasslog.agreement.replica import Replica
from glasslog.block import Block, Ref
from glasslog.ledger import Admitted, ChainOf, Place, Tip, extend
from simulation.node import copy_durable
from simulation.suite import CheapNotes, make_block, make_network, public_key, sign, signer, verify

NETWORK = make_network(4)
GENESIS_HASH = NETWORK.membership.genesis_hash
TIMING = Timing()
WALL = 10_000_000


class Bench:
    """A replica on a bench: every effect is recorded, records go to its disk at once."""

    def __init__(self, name: str = "v0", *, lost: bool = False) -> None:
        self.name = name
        self.clock = 0
        self.durable = Durable.fresh(NETWORK.genesis)
        self.durable.lost = lost
        self.boot()

    def boot(self) -> list[Effect]:
        voting = self.name in NETWORK.validators
        notes = CheapNotes(NETWORK.validators)
        config = ReplicaConfig(self.name, verify, notes, signer(self.name, "vote") if voting else None, b"n" * 16)
        self.replica = Replica(config, copy_durable(self.durable))
        effects = self.apply(self.replica.start(self.now))
        for peer in NETWORK.names:
            if peer != self.name:
                effects += self.step(PeerUp(peer))
        return effects

    @property
    def now(self) -> Now:
        return Now(self.clock, WALL + self.clock)

    def apply(self, effects: list[Effect]) -> list[Effect]:
        for record in records(effects):
            self.durable.apply(record)
        return effects

    def step(self, event: Event) -> list[Effect]:
        return self.apply(self.replica.step(self.now, event))

    def hear(self, peer: str, *messages: Message) -> list[Effect]:
        return [effect for message in messages for effect in self.step(Received(peer, message))]

    def wait(self, milliseconds: int) -> list[Effect]:
        effects = list[Effect]()
        end = self.clock + milliseconds
        while (deadline := self.replica.deadline) is not None and deadline <= end:
            assert deadline >= self.clock, "a deadline in the past would spin"
            self.clock = max(deadline, self.clock)
            effects += self.step(Tick())
        self.clock = end
        return effects

    def proposal(self, view: int, *blocks: Block, time: int | None = None) -> SignedProposal:
        """A right proposal of that view's leader on the replica's floor."""
        r = self.replica
        floor = r.branches.floor
        time = max(WALL + self.clock, floor.time + 1) if time is None else time
        advance = tuple(block.ref for block in blocks)
        plan = extend(r.branches.state, r.membership, Place(floor.height + 1, view, 1, time), advance, chain_of(blocks))
        assert plan is not None
        made = Proposal(
            1, view, floor.height + 1, floor.view, floor.digest, time, advance, plan.state.size, plan.state.root
        )  # fmt: skip
        return SignedProposal(made, vote(view % 4, view, Kind.NOTARIZE, made.digest).signature)

    def finalize(self, view: int, *blocks: Block) -> list[Effect]:
        """Let a height become final in that view."""
        signed = self.proposal(view, *blocks)
        certificate = certify(view, Kind.FINALIZE, signed.proposal.digest)
        return self.hear("v1", *map(body, blocks), signed, certificate)


def chain_of(blocks: Iterable[Block]) -> ChainOf:
    """All of the blocks, whatever is asked."""

    def find(_tip: Tip, _ref: Ref) -> list[Admitted]:
        return [Admitted.of(block) for block in blocks]

    return find


def vote(voter: int, view: int, kind: Kind, digest: bytes = b"") -> Vote:
    signature = sign(public_key(f"v{voter}", "vote"), vote_bytes(GENESIS_HASH, 1, view, kind, digest))
    return Vote(1, view, kind, digest, voter, signature)


def certify(view: int, kind: Kind, digest: bytes = b"", signers: tuple[int, ...] = (1, 2, 3)) -> Certificate:
    signatures = tuple(vote(signer_, view, kind, digest).signature for signer_ in signers)
    return Certificate(1, view, kind, digest, signers, signatures)


def body(block: Block) -> BlockBody:
    return BlockBody(block.leaf, block.entries)


def records(effects: list[Effect]) -> list[Record]:
    return [record for effect in effects if isinstance(effect, Persist) for record in effect.records]


def sent(effects: list[Effect]) -> list[Message]:
    return [effect.message for effect in effects if isinstance(effect, Send | Broadcast)]


def own_kinds(effects: list[Effect]) -> list[Kind]:
    return [record.vote.kind for record in records(effects) if isinstance(record, OwnVote)]


ONE = make_block(GENESIS_HASH, "lab", 1, GENESIS_HASH, 0, 1)
TWO = make_block(GENESIS_HASH, "lab", 2, ONE.hash, 1, 1)
THREE = make_block(GENESIS_HASH, "lab", 3, TWO.hash, 2, 1)


# --- blocks -----------------------------------------------------------------------------------------


def test_gap_in_a_chain_is_fetched_though_its_end_is_held() -> None:
    """Found by simulation: block 1 was lost on the way, block 2 arrived, and nobody asked for 1 again."""
    bench = Bench()
    effects = bench.hear("lab", body(TWO), Have((TWO.ref,))) + bench.wait(TIMING.have_patience)
    assert BlockRequest("lab", 1, 1, ONE.hash) in sent(effects)


def test_gap_is_fetched_for_what_f_plus_one_validators_hold() -> None:
    bench = Bench()
    effects = bench.hear("v1", body(THREE), Have((THREE.ref,))) + bench.hear("v2", Have((THREE.ref,)))
    effects += bench.wait(TIMING.have_patience)
    assert BlockRequest("lab", 1, 2, TWO.hash) in sent(effects)


def test_validator_that_is_an_author_is_believed_about_its_own_block() -> None:
    """Found by simulation: its Have counted as a validator's only, one short of what makes others fetch."""
    bench = Bench()
    own = make_block(GENESIS_HASH, "v2", 1, GENESIS_HASH, 0, 1)
    effects = bench.hear("v2", Have((own.ref,))) + bench.wait(TIMING.have_wait + 1)
    assert BlockRequest("v2", 1, 1, own.hash) in sent(effects)


def test_named_block_is_fetched_from_the_leader_and_then_notarized() -> None:
    bench = Bench()
    signed = bench.proposal(1, ONE)
    effects = bench.hear("v1", signed) + bench.wait(TIMING.fetch_grace)
    assert own_kinds(effects) == []
    assert [
        effect.peer for effect in effects if isinstance(effect, Send) and isinstance(effect.message, BlockRequest)
    ] == ["v1"]
    assert own_kinds(bench.hear("v1", body(ONE))) == [Kind.NOTARIZE]


# --- proposals ----------------------------------------------------------------------------------------


def test_clock_ahead_costs_the_view_and_nobody_is_called_faulty() -> None:
    bench = Bench()
    ahead = bench.proposal(1, ONE, time=WALL + 10_001)
    effects = bench.hear("v1", body(ONE), ahead)
    assert own_kinds(effects) == []
    assert not [effect for effect in effects if isinstance(effect, Misbehaved)]
    assert own_kinds(Bench().hear("v1", body(ONE), bench.proposal(1, ONE, time=WALL + 10_000))) == [Kind.NOTARIZE]


def test_time_of_the_future_that_was_notarized_does_not_stop_the_network() -> None:
    """Found by simulation (n = 4, seed 517): f+1 clocks an hour ahead, then none: no child was ever notarized."""
    bench = Bench()
    future = WALL + 3_600_000
    bench.hear("v1", body(ONE), bench.proposal(1, ONE, time=future))
    bench.hear("v1", certify(1, Kind.FINALIZE, bench.proposal(1, ONE, time=future).proposal.digest))
    assert bench.replica.branches.floor.time == future
    assert own_kinds(bench.hear("v2", body(TWO), bench.proposal(2, TWO, time=future + 2))) == []
    assert own_kinds(bench.hear("v2", bench.proposal(2, TWO, time=future + 1))) == [Kind.NOTARIZE]


def test_wrong_root_is_called_by_name_and_the_view_given_up() -> None:
    bench = Bench()
    right = bench.proposal(1, ONE).proposal
    wrong = Proposal(1, 1, 1, 0, GENESIS_HASH, right.time, right.advance, right.size, b"\7" * 32)
    signed = SignedProposal(wrong, vote(1, 1, Kind.NOTARIZE, wrong.digest).signature)
    effects = bench.hear("v1", body(ONE), signed) + bench.hear("v2", Have((ONE.ref,)))
    assert [(effect.peer, effect.code) for effect in effects if isinstance(effect, Misbehaved)] == [
        ("v1", "PROPOSAL-05")
    ]
    assert own_kinds(effects) == [Kind.NULLIFY]


def test_leader_saves_its_proposal_once_and_proposes_once_across_a_restart() -> None:
    """A1, A8: what a crash may have let out is resent, never made anew."""
    bench = Bench("v1")
    effects = bench.hear("lab", body(ONE)) + bench.hear("v2", Have((ONE.ref,))) + bench.hear("v3", Have((ONE.ref,)))
    effects += bench.wait(TIMING.pace)
    first = [record.signed for record in records(effects) if isinstance(record, SavedProposal)]
    assert len(first) == 1
    again = bench.boot() + bench.wait(TIMING.standstill + 1)
    assert Kind.NOTARIZE not in own_kinds(again)
    proposals = [message for message in sent(again) if isinstance(message, SignedProposal)]
    assert proposals
    assert set(proposals) == set(first)


def test_certified_proposal_that_was_never_seen_is_asked_for() -> None:
    """P3: a leader or voter without its parent can do nothing but wait."""
    bench = Bench()
    digest = bench.proposal(1, ONE).proposal.digest
    effects = bench.hear("v2", certify(1, Kind.NOTARIZE, digest)) + bench.wait(TIMING.fetch_retry)
    assert CertificateRequest(1, (1,)) in sent(effects)


def test_leader_on_a_parent_that_only_a_corrupt_quorum_can_have_notarized_halts() -> None:
    """Found by the state machine: the error used to leave ``step``. More than f faulty validators made this."""
    bench = Bench("v2")
    bad = bench.proposal(1, ONE, time=WALL).proposal
    bad = Proposal(1, 1, 1, 0, GENESIS_HASH, bad.time, bad.advance, bad.size, b"\7" * 32)
    signed = SignedProposal(bad, vote(1, 1, Kind.NOTARIZE, bad.digest).signature)
    effects = bench.hear("v1", body(ONE), signed, certify(1, Kind.NOTARIZE, bad.digest, (0, 1, 3)))
    assert [effect.code for effect in effects if isinstance(effect, Halt)] == ["AGREE-03"]


# --- votes --------------------------------------------------------------------------------------------


def test_own_nullify_is_counted_again_after_a_restart() -> None:
    """P2: with exactly q validators left, a vote that is only resent to others never makes a certificate."""
    bench = Bench()
    bench.hear("v2", Have((ONE.ref,)))
    bench.hear("v3", Have((ONE.ref,)))
    assert own_kinds(bench.wait(TIMING.timeout + 1)) == [Kind.NULLIFY]
    bench.boot()
    effects = bench.hear("v2", vote(2, 1, Kind.NULLIFY)) + bench.hear("v3", vote(3, 1, Kind.NULLIFY))
    assert any(isinstance(message, Certificate) and message.kind is Kind.NULLIFY for message in sent(effects))
    assert bench.replica.view == 2


def test_late_notarization_after_an_own_nullify_is_kept_and_not_finalized() -> None:
    bench = Bench()
    bench.hear("v2", Have((ONE.ref,)))
    bench.hear("v3", Have((ONE.ref,)))
    bench.wait(TIMING.timeout + 1)
    signed = bench.proposal(1, ONE)
    certificate = certify(1, Kind.NOTARIZE, signed.proposal.digest)
    effects = bench.hear("v1", body(ONE), signed, certificate)
    assert own_kinds(effects) == []
    assert certificate in sent(effects)


def test_own_notarize_in_a_nullified_view_is_no_work() -> None:
    """A12: an empty proposal of a faulty leader must not keep the timers running for ever."""
    bench = Bench()
    empty = bench.proposal(1)
    assert own_kinds(bench.hear("v1", empty)) == [Kind.NOTARIZE]
    assert bench.replica.has_work()
    bench.hear("v2", certify(1, Kind.NULLIFY))
    assert not bench.replica.has_work()
    assert own_kinds(bench.wait(60_000)) == []


def test_idle_replica_signs_nothing_and_its_view_rests() -> None:
    bench = Bench()
    assert own_kinds(bench.wait(60_000)) == []
    assert bench.replica.view == 1


def test_who_has_no_vote_key_signs_nothing_and_follows() -> None:
    bench = Bench("lab")
    effects = bench.finalize(1, ONE)
    assert own_kinds(effects) == []
    assert not [effect for effect in effects if isinstance(effect, Cosign)]
    assert [record.proposal.height for record in records(effects) if isinstance(record, FinalHeight)] == [1]


# --- finality and cosignatures ----------------------------------------------------------------------


def test_every_height_is_cosigned_once_when_it_becomes_final() -> None:
    bench = Bench()
    for view, block in ((1, ONE), (2, TWO)):
        effects = bench.finalize(view, block)
        assert len([effect for effect in effects if isinstance(effect, Cosign)]) == 1


def test_crash_between_height_and_intent_is_made_good_at_the_next_start() -> None:
    """Else the last height before a crash of everybody is never published."""
    bench = Bench()
    before = copy_durable(bench.durable)
    effects = bench.finalize(1, ONE)
    cut = next(at for at, effect in enumerate(effects) if isinstance(effect, Persist) and is_intent(effect))
    bench.durable = before
    bench.apply(effects[:cut])
    assert bench.durable.intent is None
    assert bench.durable.floor.height == 1
    again = bench.boot()
    assert [effect.size for effect in again if isinstance(effect, Cosign)] == [bench.replica.branches.state.size]


def is_intent(effect: Persist) -> bool:
    return any(isinstance(record, CosignIntent) for record in effect.records)


def test_idle_validator_cosigns_again_as_proof_of_life() -> None:
    bench = Bench()
    bench.finalize(1, ONE)
    effects = bench.wait(3 * TIMING.proof_of_life + 1)
    assert len([effect for effect in effects if isinstance(effect, Cosign)]) == 3


# --- lost state -----------------------------------------------------------------------------------------


def answer(bench: Bench, voter: int, view: int, published: int = 0) -> list[Effect]:
    certificate = certify(view, Kind.NULLIFY) if view else None
    return bench.hear(f"v{voter}", RecoveryReply(b"n" * 16, certificate, None, published, None))


def test_lost_state_keeps_silent_until_a_view_two_above_all_answers_is_final() -> None:
    """A10: W = 3, so a finalization in view 4 is not enough, one in view 5 is."""
    bench = Bench(lost=True)
    for voter, view in ((1, 2), (2, 3), (3, 0)):
        answer(bench, voter, view)
    assert own_kinds(bench.finalize(4, ONE)) == []
    assert bench.replica.recovery is not None
    effects = bench.finalize(5, TWO)
    assert [record.view for record in records(effects) if isinstance(record, StateRecovered)] == [5]
    assert [effect for effect in effects if isinstance(effect, Cosign)]
    assert not bench.durable.lost


def test_lost_state_keeps_silent_until_all_of_n_minus_f_have_answered() -> None:
    """A10: two of four are no quorum, however low what they certified."""
    bench = Bench(lost=True)
    for voter in (1, 2):
        answer(bench, voter, 0)
    assert own_kinds(bench.finalize(4, ONE)) == []
    assert bench.replica.recovery is not None


def test_author_that_lost_state_goes_on_after_the_last_block_that_anybody_shows() -> None:
    """A10: not before what was proved final is final here, and the blocks above it are here."""
    bench = Bench("lab", lost=True)
    signed = bench.proposal(1, ONE)
    final = certify(1, Kind.FINALIZE, signed.proposal.digest)
    for voter in (1, 2, 3):
        tip = TWO.leaf if voter == 3 else None
        bench.hear(f"v{voter}", RecoveryReply(b"n" * 16, final, final, 0, tip))
    assert not [effect for effect in bench.wait(TIMING.status) if isinstance(effect, AuthorRecovered)]
    effects = bench.hear("v1", body(ONE), signed) + bench.wait(TIMING.status)
    assert BlockRequest("lab", 2, 2, TWO.hash) in sent(effects)
    effects = bench.hear("v3", body(TWO)) + bench.wait(TIMING.status)
    assert [effect.tip for effect in effects if isinstance(effect, AuthorRecovered)] == [Tip(2, TWO.hash, 2)]


def test_no_liar_can_make_an_author_wait_for_a_block_it_never_signed() -> None:
    bench = Bench("lab", lost=True)
    other = make_block(GENESIS_HASH, "v2", 1, GENESIS_HASH, 0, 1)
    forged = TWO.leaf[:-1] + bytes([TWO.leaf[-1] ^ 1])
    refused = bench.hear(
        "v1", RecoveryReply(b"n" * 16, None, None, 0, forged), RecoveryReply(b"n" * 16, None, None, 0, other.leaf)
    )
    assert [effect.code for effect in refused if isinstance(effect, Misbehaved)] == ["BLOCK-05", "RECOVER-03"]
    nullify = certify(1, Kind.NULLIFY)
    refused = bench.hear("v1", RecoveryReply(b"n" * 16, None, nullify, 0, None))
    assert [effect.code for effect in refused if isinstance(effect, Misbehaved)] == ["RECOVER-02"]
    effects: list[Effect] = []
    for voter in (1, 2, 3):
        effects += bench.hear(f"v{voter}", RecoveryReply(b"n" * 16, None, None, 0, None))
    assert [effect.tip for effect in effects if isinstance(effect, AuthorRecovered)] == [Tip(0, GENESIS_HASH, 0)]


def test_answers_to_an_earlier_boot_count_for_nothing() -> None:
    bench = Bench(lost=True)
    for voter in (1, 2, 3):
        bench.hear(f"v{voter}", RecoveryReply(b"o" * 16, None, None, 0, None))
    bench.finalize(5, ONE)
    assert bench.replica.recovery is not None


def test_liar_about_the_published_size_does_not_silence_whoever_recovered() -> None:
    """A10: one answer of an absurd size used to keep the member from ever cosigning again."""
    bench = Bench(lost=True)
    for voter, published in ((1, 1 << 60), (2, 0), (3, 0)):
        answer(bench, voter, 1, published)
    effects = bench.finalize(3, ONE)
    assert [effect for effect in effects if isinstance(effect, Cosign)]
