"""What a peer says that is not true, or not its business, leaves nothing behind in a replica."""

from __future__ import annotations

from glasslog.agreement.config import ReplicaConfig
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import Effect, Misbehaved, Now, PeerUp, Received, Send
from glasslog.agreement.messages import BlockRequest, Certificate, Cosignature, Have, Kind, Message
from glasslog.agreement.replica import Replica
from glasslog.block import Ref
from simulation.suite import CheapNotes, make_network, signer, verify

NETWORK = make_network(4, ("honest", "mallory"))
START = 1_800_000_000_000


def started(name: str = "v0") -> Replica:
    config = ReplicaConfig(name, verify, CheapNotes(NETWORK.validators), signer(name, "vote"), bytes(16))
    replica = Replica(config, Durable.fresh(NETWORK.genesis))
    replica.start(Now(0, START))
    for peer in NETWORK.names:
        if peer != name:
            replica.step(Now(0, START), PeerUp(peer))
    return replica


def hear(replica: Replica, message: Message, *, peer: str = "mallory", at: int = 1) -> list[Effect]:
    return replica.step(Now(at, START + at), Received(peer, message))


def codes(effects: list[Effect]) -> list[str]:
    return [effect.code for effect in effects if isinstance(effect, Misbehaved)]


def test_forged_certificates_of_far_views_take_no_memory() -> None:
    replica = started()
    rounds = len(replica.tally.rounds)
    for view in range(1_000, 1_100):
        forged = Certificate(1, view, Kind.NULLIFY, b"", (0, 1, 2), (bytes(64),) * 3)
        assert codes(hear(replica, forged)) == ["VOTE-02"]
    assert len(replica.tally.rounds) == rounds


def test_cosignature_that_a_peer_forged_in_this_validators_own_name_is_refused() -> None:
    replica = started("v0")
    size, root = replica.branches.state.size, replica.branches.state.root
    forged = Cosignature(size, root, START // 1000, bytes(64), bytes(64), bytes(2420), 0)
    assert codes(hear(replica, forged)) == ["COSIGN-02"]
    assert not replica.publication.pool.get(size)


def test_author_that_promises_endless_blocks_does_not_crowd_out_the_others() -> None:
    replica = started()
    for number in range(1, 600):
        hear(replica, Have((Ref("mallory", number, number.to_bytes(32, "big")),)))
    hear(replica, Have((Ref("honest", 1, b"\7" * 32),)), peer="honest", at=2)
    asked = hear(replica, Have(()), peer="v1", at=5_000)
    requests = [effect.message for effect in asked if isinstance(effect, Send)]
    assert [r.author for r in requests if isinstance(r, BlockRequest) and r.author == "honest"] == ["honest"]
    assert len([r for r in requests if isinstance(r, BlockRequest) and r.author == "mallory"]) <= 64
