"""Which evidence a replica keeps: enough to convict, never more than a faulty key could fill a ledger with (A14)."""

from __future__ import annotations

from hashlib import sha256

from glasslog.agreement.config import ReplicaConfig
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import Effect, EvidenceFound, Now, Persist, Received
from glasslog.agreement.evidence import Evidence, Fault, decode_evidence, verify_evidence
from glasslog.agreement.messages import Announcement, BlockBody, Kind, Message, Vote, vote_bytes
from glasslog.agreement.replica import Replica
from simulation.stage import Stage
from simulation.suite import CheapNotes, make_block, make_network, public_key, sign, signer, verify

NETWORK = make_network(4)
GENESIS_HASH = NETWORK.membership.genesis_hash
START = 1_800_000_000_000


def started(durable: Durable) -> Replica:
    config = ReplicaConfig("v0", verify, CheapNotes(NETWORK.validators), signer("v0", "vote"), bytes(16))
    replica = Replica(config, durable)
    replica.start(Now(0, START))
    return replica


def hear(replica: Replica, durable: Durable, message: Message) -> list[Evidence]:
    """Make durable what the replica persists, and return the evidence in it."""
    effects: list[Effect] = replica.step(Now(1, START), Received("v3", message))
    records = [record for effect in effects if isinstance(effect, Persist) for record in effect.records]
    for record in records:
        durable.apply(record)
    return [decode_evidence(record.evidence) for record in records if isinstance(record, EvidenceFound)]


def make_vote(voter: int, view: int, kind: Kind, word: str) -> Vote:
    digest = b"" if kind is Kind.NULLIFY else sha256(word.encode()).digest()
    message = vote_bytes(GENESIS_HASH, 1, view, kind, digest)
    return Vote(1, view, kind, digest, voter, sign(public_key(f"v{voter}", "vote"), message))


def misvote(replica: Replica, durable: Durable, voter: int, views: range) -> list[Evidence]:
    """Everything that one key can do wrong with votes, view after view."""
    votes = [
        make_vote(voter, view, kind, word)
        for view in views
        for kind, word in (
            (Kind.NOTARIZE, "one"), (Kind.NOTARIZE, "other"), (Kind.FINALIZE, "one"), (Kind.FINALIZE, "other"),
            (Kind.NULLIFY, ""),
        )
    ]  # fmt: skip
    return [evidence for vote in votes for evidence in hear(replica, durable, vote)]


def test_persistent_equivocator_gives_one_piece_of_evidence_of_each_fault() -> None:
    """One proof is enough for governance; one for each view would let one key fill the ledger."""
    durable = Durable.fresh(NETWORK.genesis)
    replica = started(durable)
    found = misvote(replica, durable, 3, range(2, 40))
    assert [evidence.fault for evidence in found] == [
        Fault.DOUBLE_NOTARIZE, Fault.DOUBLE_FINALIZE, Fault.NULLIFY_AND_FINALIZE,
    ]  # fmt: skip
    for evidence in found:
        verify_evidence(evidence, NETWORK.membership, verify)
    assert misvote(started(durable), durable, 3, range(40, 60)) == []  # nor after a restart
    others = misvote(replica, durable, 2, range(2, 40))
    assert {evidence.accused for evidence in others} == {"v2"}
    assert len(others) == 3


def test_persistent_forker_gives_one_piece_of_evidence() -> None:
    durable = Durable.fresh(NETWORK.genesis)
    replica = started(durable)
    found = list[Evidence]()
    for seq in range(1, 8):
        prev = GENESIS_HASH if seq == 1 else sha256(b"%d" % seq).digest()
        for salt in range(3):
            block = make_block(GENESIS_HASH, "lab", seq, prev, seq - 1, 1, salt=salt)
            found += hear(replica, durable, BlockBody(block.leaf, block.entries))
    assert [(evidence.fault, evidence.accused) for evidence in found] == [(Fault.AUTHOR_FORK, "lab")]


def test_fork_of_a_final_block_is_evidence_by_body_and_by_announcement() -> None:
    for announced in (False, True):
        stage = Stage(4, faulty=None, observer=False)
        stage.do("run", ["100"])
        stage.do("seal", ["lab"])
        stage.do("run", ["3000"])
        final = stage.labs[0].sealed[0]
        assert stage.oracle.is_final(final.hash)
        stage.oracle.expect_faulty("lab")
        fork = make_block(GENESIS_HASH, "lab", 1, GENESIS_HASH, 0, 1, salt=7)
        stage.blocks[fork.hash] = fork
        same, other = (
            Announcement((block.leaf,)) if announced else BlockBody(block.leaf, block.entries)
            for block in (final, fork)
        )
        durable = stage.nodes["v1"].disk.durable
        stage.step("v1", Received("lab", same))
        assert not durable.evidence
        stage.step("v1", Received("lab", other))
        (evidence,) = map(decode_evidence, durable.evidence)
        assert {evidence.first, evidence.second} == {final.leaf, fork.leaf}
        verify_evidence(evidence, stage.network.membership, verify)
