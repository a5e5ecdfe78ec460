"""The fold of records: what a replica finds at boot is what it had made durable, and no more."""

from __future__ import annotations

from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import (
    CosignIntent,
    DroppedBlocks,
    EvidenceFound,
    FinalHeight,
    HeldBlock,
    OwnVote,
    PublishedNote,
    Record,
    SavedCertificate,
    SavedProposal,
    StateRecovered,
)
from glasslog.agreement.messages import Certificate, Kind, Proposal, SignedProposal, Vote
from glasslog.block import Ref
from glasslog.ledger import Tip
from simulation.suite import make_block, make_network

NETWORK = make_network(4)
GENESIS_HASH = NETWORK.membership.genesis_hash
BLOCK = make_block(GENESIS_HASH, "lab", 1, GENESIS_HASH, 0, 1)


def proposal(view: int) -> Proposal:
    return Proposal(1, view, 1, 0, GENESIS_HASH, 5, (BLOCK.ref,), 9, b"\1" * 32)


def vote(view: int, kind: Kind = Kind.NOTARIZE) -> Vote:
    return Vote(1, view, kind, b"\1" * 32, 0, b"\0" * 64)


def certificate(view: int, kind: Kind) -> Certificate:
    return Certificate(1, view, kind, b"\1" * 32, (), ())


def fold(*records: Record) -> Durable:
    durable = Durable.fresh(NETWORK.genesis)
    for record in records:
        durable.apply(record)
    return durable


def final(view: int) -> FinalHeight:
    edge = Durable.fresh(NETWORK.genesis).edge.extend(b"\7" * 96)[0]
    made = proposal(view)
    tips = (("lab", Tip(1, BLOCK.hash, 1)),)
    return FinalHeight(made, made.digest, 6, (BLOCK.ref,), (2,), b"seal", tips, (), edge)


def test_fresh_state_stands_on_the_genesis() -> None:
    durable = fold()
    assert (durable.floor.height, durable.floor.view, durable.floor.digest) == (0, 0, GENESIS_HASH)
    assert durable.edge.size == len(NETWORK.genesis)
    assert not durable.lost


def test_height_moves_everything_at_once_and_forgets_only_what_is_at_or_below_it() -> None:
    signed = [SignedProposal(proposal(view), b"") for view in (2, 3, 4)]
    durable = fold(
        HeldBlock(BLOCK.ref, BLOCK.leaf, BLOCK.entries),
        *[OwnVote(vote(view)) for view in (2, 3, 4)],
        *[SavedProposal(one) for one in signed],
        *[SavedCertificate(certificate(view, Kind.NOTARIZE)) for view in (2, 3, 4)],
        SavedCertificate(certificate(3, Kind.FINALIZE)),
        final(3),
    )
    assert (durable.floor.view, durable.floor.height) == (3, 1)
    assert durable.frontier == {"lab": Tip(1, BLOCK.hash, 1)}
    assert set(durable.votes) == {(4, Kind.NOTARIZE)}
    assert set(durable.certificates) == {(4, Kind.NOTARIZE)}
    assert set(durable.proposals) == {signed[2].proposal.digest}
    assert durable.blocks == {}
    assert durable.finalize_certificate == certificate(3, Kind.FINALIZE)


def test_highest_finalize_certificate_is_kept_whatever_the_order() -> None:
    durable = fold(*[SavedCertificate(certificate(view, Kind.FINALIZE)) for view in (2, 5, 3)])
    assert durable.finalize_certificate == certificate(5, Kind.FINALIZE)


def test_certificate_below_the_floor_is_not_kept_for_voting() -> None:
    assert fold(final(3), SavedCertificate(certificate(2, Kind.NULLIFY))).certificates == {}


def test_remaining_records_each_set_one_fact() -> None:
    other = Ref("lab", 1, b"\2" * 32)
    durable = fold(
        HeldBlock(BLOCK.ref, BLOCK.leaf, BLOCK.entries),
        HeldBlock(other, b"", b""),
        DroppedBlocks((other, Ref("lab", 9, b"")),),
        CosignIntent(9, b"\1" * 32, 5),
        CosignIntent(12, b"\1" * 32, 6),
        PublishedNote(9, b"note"),
        EvidenceFound(b"one"),
        EvidenceFound(b"two"),
    )  # fmt: skip
    assert set(durable.blocks) == {BLOCK.ref}
    assert durable.intent == CosignIntent(12, b"\1" * 32, 6)
    assert durable.published == PublishedNote(9, b"note")
    assert durable.evidence == [b"one", b"two"]


def test_lost_state_is_recovered_by_its_record_only() -> None:
    durable = fold()
    durable.lost = True
    durable.apply(final(3))
    assert durable.lost
    durable.apply(StateRecovered(3))
    assert not durable.lost
