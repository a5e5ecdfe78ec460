"""Rules that no seed can see broken, for the network makes up for it: each tried on one replica."""

from __future__ import annotations

from glasslog.agreement.config import ReplicaConfig, Timing
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import Broadcast, Effect, Now, Received, Send
from glasslog.agreement.messages import Certificate, Kind, Message, RecoveryReply, RecoveryRequest, vote_bytes
from glasslog.agreement.replica import Replica
from simulation.suite import CheapNotes, make_network, public_key, sign, signer, verify

NETWORK = make_network(4)


def boot(*, lost: bool = False) -> Replica:
    durable = Durable.fresh(NETWORK.genesis)
    durable.lost = lost
    config = ReplicaConfig("v0", verify, CheapNotes(NETWORK.validators), signer("v0", "vote"), b"n" * 16)
    replica = Replica(config, durable)
    replica.start(Now(0, 10_000_000))
    return replica


def hear(replica: Replica, message: Message) -> list[Effect]:
    return replica.step(Now(1, 10_000_001), Received("v1", message))


def certify(view: int, kind: Kind) -> Certificate:
    message = vote_bytes(NETWORK.membership.genesis_hash, 1, view, kind, b"")
    signatures = tuple(sign(public_key(f"v{voter}", "vote"), message) for voter in (1, 2, 3))
    return Certificate(1, view, kind, b"", (1, 2, 3), signatures)


def test_timer_is_capped() -> None:
    """A6: however many views were lost, the next timer ends."""
    timing = Timing()
    timers = [timing.timeout_at(depth) for depth in range(100)]
    assert timers == sorted(timers)
    assert timers[-1] == timing.timeout_max < 2 * timers[6]


def test_certificate_is_passed_on_when_it_is_first_received() -> None:
    """A7: once, and not again."""
    replica, certificate = boot(), certify(1, Kind.NULLIFY)
    first, second = hear(replica, certificate), hear(replica, certificate)
    assert [effect.message for effect in first if isinstance(effect, Broadcast)].count(certificate) == 1
    assert second == []


def test_who_lost_its_state_answers_nobody_who_asks() -> None:
    """A10: else more than f that lost theirs would help one another to forget, instead of halting."""
    question = RecoveryRequest(b"q" * 16, None)
    answers = [
        [effect for effect in hear(boot(lost=lost), question) if isinstance(effect, Send)] for lost in (False, True)
    ]
    assert [isinstance(answer.message, RecoveryReply) for answer in answers[0]] == [True]
    assert answers[1] == []
