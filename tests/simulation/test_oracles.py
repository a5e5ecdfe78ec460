"""The oracle finds what it is for: each of its judgements, shown the wrong thing, raises and names the rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import pytest

from glasslog.agreement.effects import (
    EvidenceFound,
    FinalHeight,
    HeldBlock,
    OwnVote,
    Record,
    SavedCertificate,
    SavedProposal,
)
from glasslog.agreement.evidence import Fault, of_votes
from glasslog.agreement.messages import Certificate, FinalizedRun, Kind, Proposal, SignedProposal, Vote, vote_bytes
from glasslog.block import Block
from glasslog.ledger import Admitted, HeightPlan, Place, extend, genesis_state
from simulation.invariants import Oracle, Violation, digest_of
from simulation.oracles.heights import Subtrees, append_leaf, root_of, tree_root
from simulation.suite import GENESIS_TIME, make_block, make_network, public_key, sign
from simulation.swarm import Swarm

NETWORK = make_network(4)
MEMBERSHIP = NETWORK.membership
GENESIS_HASH = MEMBERSHIP.genesis_hash
BLOCK = make_block(GENESIS_HASH, "lab", 1, GENESIS_HASH, 0, 2)
HONEST = {"v0", "v1", "v2", "lab"}  # v3 is faulty


def vote(voter: int, view: int, kind: Kind, digest: bytes, *, epoch: int = 1) -> Vote:
    digest = b"" if kind is Kind.NULLIFY else digest
    signature = sign(public_key(f"v{voter}", "vote"), vote_bytes(GENESIS_HASH, epoch, view, kind, digest))
    return Vote(epoch, view, kind, digest, voter, signature)


def certificate(view: int, kind: Kind, digest: bytes, signers: tuple[int, ...] = (0, 1, 2)) -> Certificate:
    lines = tuple(vote(voter, view, kind, digest).signature for voter in signers)
    return Certificate(1, view, kind, b"" if kind is Kind.NULLIFY else digest, signers, lines)


def plan_first(view: int = 1, time: int = GENESIS_TIME + 1) -> tuple[HeightPlan, Proposal]:
    """Height 1 with the block, as a leader plans it."""
    state, _ = genesis_state(NETWORK.genesis, GENESIS_TIME)
    plan = extend(state, MEMBERSHIP, Place(1, view, 1, time), (BLOCK.ref,), lambda _tip, _ref: [Admitted.of(BLOCK)])
    assert plan is not None
    return plan, Proposal(1, view, 1, 0, GENESIS_HASH, time, (BLOCK.ref,), plan.state.size, plan.state.root)


PLAN, FIRST = plan_first()
DIGEST = FIRST.digest
FINAL = FinalHeight(
    FIRST, DIGEST, len(NETWORK.genesis), (BLOCK.ref,), (3,), PLAN.seal, PLAN.tips, PLAN.tiles, PLAN.state.edge
)  # fmt: skip


def make_oracle() -> Oracle:
    return Oracle(Swarm(4, 0), NETWORK, set(HONEST), {BLOCK.hash: BLOCK})


def saved(proposal: Proposal, leader: int | None = None) -> SavedProposal:
    leader = proposal.view % 4 if leader is None else leader
    return SavedProposal(
        SignedProposal(proposal, vote(leader, proposal.view, Kind.NOTARIZE, digest_of(proposal)).signature)
    )


def held(block: Block = BLOCK) -> HeldBlock:
    return HeldBlock(block.ref, block.leaf, block.entries)


def notarized(oracle: Oracle, proposal: Proposal = FIRST) -> None:
    """Three validators hold, keep and notarize, and have the certificate."""
    for voter in range(3):
        name = f"v{voter}"
        oracle.on_record(name, held())
        oracle.on_record(name, saved(proposal))
        oracle.on_record(name, OwnVote(vote(voter, proposal.view, Kind.NOTARIZE, digest_of(proposal))))
    for voter in range(3):
        oracle.on_record(f"v{voter}", SavedCertificate(certificate(proposal.view, Kind.NOTARIZE, digest_of(proposal))))


def finalized(oracle: Oracle) -> None:
    notarized(oracle)
    for voter in range(3):
        oracle.on_record(f"v{voter}", OwnVote(vote(voter, 1, Kind.FINALIZE, DIGEST)))
    oracle.on_record("v0", SavedCertificate(certificate(1, Kind.FINALIZE, DIGEST)))
    oracle.on_record("v0", FINAL)


def judge(*records: Record, prepare: Callable[[Oracle], None] = lambda _oracle: None) -> str:
    oracle = make_oracle()
    prepare(oracle)
    with pytest.raises(Violation) as caught:
        feed(oracle, records)
    return str(caught.value)


def feed(oracle: Oracle, records: Sequence[Record]) -> None:
    for record in records:
        oracle.on_record("v0", record)


def test_right_height_passes_every_judgement() -> None:
    oracle = make_oracle()
    finalized(oracle)
    run = FinalizedRun((FIRST,), certificate(1, Kind.FINALIZE, DIGEST))
    oracle.on_send("v0", run)
    assert oracle.leaves == [*NETWORK.genesis, *oracle.leaves[-4:]]
    assert tree_root([sha256(b"\0" + leaf).digest() for leaf in oracle.leaves]) == FIRST.root
    assert not oracle.judge_end()


def test_full_subtrees_give_the_root_that_the_definition_gives() -> None:
    subtrees, leaves = Subtrees(), list[bytes]()
    for number in range(70):
        leaf = b"%d" % number
        leaves.append(sha256(b"\0" + leaf).digest())
        subtrees = append_leaf(subtrees, leaf)
        assert root_of(subtrees) == tree_root(leaves)


BAD_CERTIFICATES = {
    "A15 NOTARIZE certificate of view 1 by (0, 1)": certificate(1, Kind.NOTARIZE, DIGEST, (0, 1)),
    "A15 NOTARIZE certificate of view 1 by (0, 1, 1)": certificate(1, Kind.NOTARIZE, DIGEST, (0, 1, 1)),
    "A15 NOTARIZE certificate of view 1 by (0, 1, 7)": certificate(1, Kind.NOTARIZE, DIGEST, (0, 1, 7)),
    "A16": replace(certificate(1, Kind.NOTARIZE, DIGEST), epoch=2),
    "A8 v0 is in the FINALIZE certificate of view 1: never durable": certificate(1, Kind.FINALIZE, DIGEST),
    "A15 v3 is in the NOTARIZE certificate of view 1, which it did not sign": replace(
        certificate(1, Kind.NOTARIZE, DIGEST, (0, 1, 3)),
        signatures=(*certificate(1, Kind.NOTARIZE, DIGEST).signatures[:2], bytes(64)),
    ),
}


@pytest.mark.parametrize("finding", BAD_CERTIFICATES)
def test_certificate_that_is_none_is_found(finding: str) -> None:
    assert judge(SavedCertificate(BAD_CERTIFICATES[finding]), prepare=notarized).startswith(finding)


def test_quorums_that_exclude_one_another_are_found() -> None:
    def all_faulty(oracle: Oracle) -> None:
        for name in ("v0", "v1", "v2"):
            oracle.expect_faulty(name)

    other = sha256(b"another proposal").digest()
    pairs = {
        "A15 two NOTARIZE": (certificate(1, Kind.NOTARIZE, DIGEST), certificate(1, Kind.NOTARIZE, other)),
        "A15 two FINALIZE": (certificate(1, Kind.FINALIZE, DIGEST), certificate(1, Kind.FINALIZE, other)),
        "A15 view 1 is both": (certificate(1, Kind.FINALIZE, DIGEST), certificate(1, Kind.NULLIFY, b"")),
        "A15 view 1: notarized and": (certificate(1, Kind.NOTARIZE, DIGEST), certificate(1, Kind.FINALIZE, other)),
    }
    for finding, pair in pairs.items():
        assert judge(*map(SavedCertificate, pair), prepare=all_faulty).startswith(finding)


def test_wrong_proposals_are_found_when_they_are_notarized() -> None:
    later = replace(FIRST, view=5)
    wrong = {
        "A2 the proposal of view 1 has epoch 2": replace(FIRST, epoch=2),
        "A2 the proposal of view 1 has epoch 1 and height 2": replace(FIRST, height=2),
        "A2 the proposal of view 1 is not after its parent": plan_first(time=GENESIS_TIME)[1],
        "A2 size or root": replace(FIRST, root=bytes(32)),
        "A2 a proposal names lab block 2": replace(FIRST, advance=(replace(BLOCK.ref, seq=2),)),
        "A17 the proposal of view 1 does not name": replace(FIRST, advance=(BLOCK.ref, BLOCK.ref)),
        "A2 v0 notarizes view 5, but view 1 is not nullified": later,
        "A2 v0 notarizes view 1 on no parent": replace(FIRST, parent_digest=bytes(32)),
    }
    for finding, proposal in wrong.items():
        voted = OwnVote(vote(0, proposal.view, Kind.NOTARIZE, digest_of(proposal)))
        assert judge(held(), saved(proposal), voted).startswith(finding)


def test_votes_without_what_they_need_are_found() -> None:
    right = OwnVote(vote(0, 1, Kind.NOTARIZE, DIGEST))
    nullify = OwnVote(vote(0, 2, Kind.NULLIFY, b""))
    assert judge(held(), right).startswith("A8 v0 notarizes view 1 without its proposal")
    assert judge(saved(FIRST), right).startswith("A8 v0 notarizes view 1 without lab")
    assert judge(saved(FIRST, leader=3)).startswith("A17 v0 keeps a proposal of view 1 that v1 did not sign")
    assert judge(nullify).startswith("A6 v0 votes in view 2 without having left view 1")
    assert judge(OwnVote(vote(0, 1, Kind.FINALIZE, DIGEST))).startswith("A3 v0 finalizes view 1 without")
    assert judge(OwnVote(vote(0, 1, Kind.NULLIFY, b"", epoch=2))).startswith("A5")
    assert judge(OwnVote(replace(vote(0, 1, Kind.NULLIFY, b""), signature=bytes(64)))).startswith("A16")


def test_heights_that_are_not_final_or_not_held_are_found() -> None:
    def two_certified(oracle: Oracle) -> None:
        notarized(oracle)
        for voter in range(3):
            oracle.on_record(f"v{voter}", OwnVote(vote(voter, 1, Kind.FINALIZE, DIGEST)))

    final = SavedCertificate(certificate(1, Kind.FINALIZE, DIGEST))
    assert judge(FINAL, prepare=two_certified).startswith("A8 v0 finalizes view 1: no such certificate")
    assert judge(final, replace(FINAL, seal=b"\0"), prepare=two_certified).startswith("L7 the seal")
    assert judge(final, replace(FINAL, blocks=()), prepare=two_certified).startswith("L7 height 1 does not append")
    assert judge(final, replace(FINAL, digest=bytes(32)), prepare=two_certified).startswith("A17 the digest")
    assert judge(final, replace(FINAL, first_index=1), prepare=two_certified).startswith("L8")

    def hardly_held(oracle: Oracle) -> None:
        two_certified(oracle)
        for name in ("v1", "v2"):
            oracle.witnesses[name].held.clear()

    assert judge(final, FINAL, prepare=hardly_held).startswith("I5 lab block 1 is final and held by 1")


def test_run_that_is_not_the_chain_is_found() -> None:
    oracle = make_oracle()
    finalized(oracle)
    other = replace(FIRST, root=bytes(32))
    with pytest.raises(Violation, match="A18 v0 serves a run from height 1"):
        oracle.on_send("v0", FinalizedRun((other,), certificate(1, Kind.FINALIZE, DIGEST)))


def test_finalize_certificate_beside_the_chain_is_found_at_the_end() -> None:
    oracle = make_oracle()
    finalized(oracle)
    oracle.chain[0] = replace(oracle.chain[0], digest=bytes(32))
    with pytest.raises(Violation, match="A15 a finalize certificate of view 1 is not on the chain"):
        oracle.judge_end()


def test_evidence_against_the_honest_for_nothing_or_again_is_found() -> None:
    other = sha256(b"other").digest()
    pair = {voter: (vote(voter, 1, Kind.NOTARIZE, DIGEST), vote(voter, 1, Kind.NOTARIZE, other)) for voter in (2, 3)}
    right = EvidenceFound(of_votes(Fault.DOUBLE_NOTARIZE, "v3", *pair[3]).encode())
    honest = EvidenceFound(of_votes(Fault.DOUBLE_NOTARIZE, "v2", *pair[2]).encode())
    nothing = EvidenceFound(of_votes(Fault.DOUBLE_FINALIZE, "v3", *pair[3]).encode())
    make_oracle().on_record("v0", right)
    assert judge(honest).startswith("A14 v0 accuses the honest v2 of double-notarize")
    assert judge(nothing).startswith("A14 v0 keeps evidence that convicts nobody")
    assert judge(right, right).startswith("A14 v0 keeps the same evidence twice")
