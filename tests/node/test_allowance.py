"""What one member may cost a node: an honest one never meets the bound, a flooding one never passes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.agreement.effects import Send
from glasslog.agreement.messages import (
    NO_DIGEST,
    BlockBody,
    BlockRequest,
    Certificate,
    CertificateRequest,
    Cosignature,
    Have,
    Kind,
    Message,
    Proposal,
    RunRequest,
    SignedProposal,
    Status,
    Vote,
    encode_message,
)
from glasslog.block import Ref
from glasslog.limits import REQUEST_BLOCKS_MAX
from glasslog_node.allowance import ASKED_MAX, BURST_UNITS, UNITS_PER_SECOND, Allowances, cost_of

MEMBERS = 40
QUORUM = 27
HEIGHTS_A_SECOND = 8
VOTE = Vote(1, 9, Kind.FINALIZE, bytes(32), 39, bytes(64))
STATUS = Status(1, 9, 8, 8, 1 << 20, 1 << 20)
ADVANCE = tuple(Ref(f"lab-{number:02}.example", 1 << 20, bytes(32)) for number in range(MEMBERS))
PROPOSAL = SignedProposal(Proposal(1, 9, 9, 8, bytes(32), 1 << 40, ADVANCE, 1 << 20, bytes(32)), bytes(64))
CERTIFICATE = Certificate(1, 9, Kind.FINALIZE, bytes(32), tuple(range(QUORUM)), (bytes(64),) * QUORUM)
COSIGNATURE = Cosignature(1 << 20, bytes(32), 1 << 31, bytes(64), bytes(64), bytes(2420), 39)
# What one validator of forty says in one view in which it is the leader and everything happens.
VIEW: list[Message] = [PROPOSAL, VOTE, VOTE, VOTE, *[CERTIFICATE] * 3, COSIGNATURE, *[Have(ADVANCE)] * 4]


def say(allowances: Allowances, messages: list[Message], now: float) -> int:
    """How many were dropped."""
    encoded = {id(message): encode_message(message) for message in messages}
    return sum(not allowances.take("peer", encoded[id(message)], now) for message in messages)


def test_validator_of_forty_at_full_speed_for_minutes_loses_nothing() -> None:
    allowances = Allowances()
    for step in range(300 * HEIGHTS_A_SECOND):
        now = step / HEIGHTS_A_SECOND
        messages = [*VIEW, *([STATUS] if step % 16 == 0 else [])]
        assert say(allowances, messages, now) == 0, now


def test_standstill_resends_lose_nothing() -> None:
    """Fifty unfinalized views, everything above the floor again every two seconds."""
    allowances = Allowances()
    for now in range(0, 600, 2):
        assert say(allowances, [PROPOSAL, VOTE, VOTE, CERTIFICATE, CERTIFICATE] * 50, float(now)) == 0, now


def test_replica_that_catches_up_may_ask_fast() -> None:
    """A thousand heights of a block each a second, for a minute, and certificates besides."""
    allowances = Allowances()
    asks: list[Message] = [RunRequest(1)] * 4
    asks += [BlockRequest("lab.example", 1, REQUEST_BLOCKS_MAX, bytes(32))] * 16
    asks += [CertificateRequest(1, tuple(range(100, 110)))]
    for now in range(60):
        assert say(allowances, asks, float(now)) == 0, now


def test_answers_that_were_asked_for_are_never_dropped_and_others_are() -> None:
    allowances = Allowances()
    body = BlockBody(bytes(300), bytes(1 << 16))
    for _ in range(1_000):
        allowances.note_asked(Send("peer", BlockRequest("lab.example", 1, 64, bytes(32))))
        assert say(allowances, [body] * 64, 0.0) == 0
    allowances.note_asked(Send("other", RunRequest(1)))
    allowances.note_asked(Send("peer", STATUS))
    unasked = BURST_UNITS // cost_of(encode_message(body))
    assert say(allowances, [body] * (unasked + 5), 0.0) == 5
    allowances.note_asked(Send("peer", BlockRequest("lab.example", 1, 64, bytes(32))))
    allowances.forget_asked("peer")
    assert say(allowances, [body], 0.0) == 1


def test_peer_that_answers_nothing_saves_up_no_right_to_flood() -> None:
    """It is asked again and again for an hour, then sends whatever it likes."""
    allowances = Allowances()
    body = BlockBody(bytes(300), bytes(1 << 16))
    for _ in range(3_600):
        allowances.note_asked(Send("peer", BlockRequest("lab.example", 1, REQUEST_BLOCKS_MAX, bytes(32))))
        allowances.note_asked(Send("peer", RunRequest(1)))
    paid = BURST_UNITS // cost_of(encode_message(body))
    assert say(allowances, [body] * (ASKED_MAX + paid + 9), 0.0) == 9


FLOODS: list[Message] = [
    RunRequest(1),
    BlockRequest("lab.example", 1, 64, bytes(32)),
    CertificateRequest(1, tuple(range(1, 129))),
    STATUS,
    VOTE,
    CERTIFICATE,
    COSIGNATURE,
    Vote(1, 9, Kind.NULLIFY, NO_DIGEST, 0, bytes(64)),
]


@pytest.mark.parametrize("message", FLOODS, ids=lambda message: type(message).__name__)
def test_flood_is_held_to_the_allowance(message: Message) -> None:
    allowances = Allowances()
    data = encode_message(message)
    taken = sum(allowances.take("peer", data, step / 10_000) for step in range(100_000))
    spent = BURST_UNITS + 10 * UNITS_PER_SECOND
    assert spent - cost_of(data) - 1 <= taken * cost_of(data) <= spent or taken == 100_000
    assert allowances.take("other", data, 10.0), "one member's flood is another's loss"
    assert allowances.take_dropped() == ({"peer": 100_000 - taken} if taken < 100_000 else {})
    assert allowances.take_dropped() == {}
    assert allowances.take("peer", data, 10.0 + cost_of(data) / UNITS_PER_SECOND), "it does not recover"


def test_silence_saves_up_no_more_than_the_burst() -> None:
    allowances = Allowances()
    assert say(allowances, [VOTE], 0.0) == 0
    most = BURST_UNITS // cost_of(encode_message(VOTE))
    assert say(allowances, [VOTE] * (most + 7), 86_400.0) == 7


@given(st.lists(st.tuples(st.binary(max_size=200), st.floats(0, 0.01)), max_size=50))
def test_any_bytes_have_a_price(messages: list[tuple[bytes, float]]) -> None:
    """Rubbish is paid for too, and time never runs up more than the burst."""
    allowances, now, spent = Allowances(), 0.0, 0
    for data, pause in messages:
        now += pause
        assert cost_of(data) >= 2
        spent += cost_of(data) if allowances.take("peer", data, now) else 0
    assert spent <= BURST_UNITS + now * UNITS_PER_SECOND
