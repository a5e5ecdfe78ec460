"""The framing of member links, the send queue, the hello and the gossip batch: codecs, in whatever pieces."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.errors import AdmissionError, DecodeError
from glasslog.limits import MESSAGE_BYTES_MAX
from glasslog_node.errors import ConfigError
from glasslog_node.network.batch import join_payloads, split_payloads
from glasslog_node.network.frames import FRAME_BYTES_MAX, FrameReader, frame_header
from glasslog_node.network.hello import HELLO_BYTES_MIN, RUN_BYTES, Hello, decode_hello, hello_size
from glasslog_node.network.members import Endpoint, PeerAddress, parse_endpoint
from glasslog_node.network.send_queue import WRITE_BYTES, SendQueue
from glasslog_node.network.transport import Lane

messages = st.lists(
    st.tuples(st.sampled_from(Lane), st.sampled_from([1, 2, 300, WRITE_BYTES - 4, WRITE_BYTES, 3 * WRITE_BYTES + 7])),
    max_size=12,
)


@given(messages, st.lists(st.sampled_from([1, 3, 5000, 70_000]), min_size=1, max_size=9), st.lists(st.booleans()))
def test_messages_survive_queue_and_frames_in_any_pieces(
    sent: list[tuple[Lane, int]], cuts: list[int], writes: list[bool]
) -> None:
    queue, reader = SendQueue(), FrameReader()
    originals = [bytes([number, lane.value]) + b"!" * size for number, (lane, size) in enumerate(sent)]
    wire = b""
    for index, ((lane, _), message) in enumerate(zip(sent, originals, strict=True)):
        assert queue.push(message, lane)
        if writes[index : index + 1] == [True]:
            wire += queue.next_write()
    while queue:
        write = queue.next_write()
        assert 0 < len(write) <= 2 * WRITE_BYTES
        wire += write
    assert queue.next_write() == b""
    received: list[bytes] = []
    at = turn = 0
    while at < len(wire):
        size, turn = cuts[turn % len(cuts)], turn + 1
        size = size if turn < 3000 else 70_000
        received += reader.feed(wire[at : at + size])
        at += size
    for lane in Lane:
        expected = [m for (each, _), m in zip(sent, originals, strict=True) if each is lane]
        assert [m for m in received if m in expected] == expected
    assert sorted(received) == sorted(originals)


def test_frame_in_single_bytes_costs_no_more_than_its_size() -> None:
    reader = FrameReader()
    wire = frame_header(FRAME_BYTES_MAX, Lane.BULK, last=True) + bytes(FRAME_BYTES_MAX)
    messages_seen = [message for at in range(len(wire)) for message in reader.feed(wire[at : at + 1])]
    assert messages_seen == [bytes(FRAME_BYTES_MAX)]


@given(st.binary(max_size=2000))
def test_frame_reader_accepts_or_refuses_any_bytes(data: bytes) -> None:
    with contextlib.suppress(DecodeError):  # anything else is a failure
        for message in FrameReader().feed(data):
            assert message


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x04\x00\x00\x01x", "WIRE-20"),
        (b"\x80\x00\x00\x01x", "WIRE-20"),
        (b"\x01\x00\x00\x00", "WIRE-22"),
        (b"\x01" + (FRAME_BYTES_MAX + 1).to_bytes(3, "big"), "WIRE-21"),
        (b"\x01\xff\xff\xff", "WIRE-21"),
    ],
)
def test_frame_reader_refuses_bad_headers_before_their_data(wire: bytes, code: str) -> None:
    with pytest.raises(DecodeError, match=code):
        list(FrameReader().feed(wire))


@pytest.mark.parametrize("lane", Lane)
def test_frame_reader_refuses_a_message_that_grows_past_its_bound(lane: Lane) -> None:
    reader = FrameReader()
    piece = frame_header(FRAME_BYTES_MAX, lane, last=False) + bytes(FRAME_BYTES_MAX)
    for _ in range(MESSAGE_BYTES_MAX // FRAME_BYTES_MAX):
        assert list(reader.feed(piece)) == []
    with pytest.raises(DecodeError, match="WIRE-21"):
        list(reader.feed(piece[:4]))


def test_send_queue_full_by_bytes_or_count_refuses_and_keeps_the_rest() -> None:
    queue = SendQueue(bytes_max=10, messages_max=3)
    assert queue.push(bytes(8), Lane.BULK)
    assert not queue.push(bytes(3), Lane.CONTROL)
    assert queue.push(b"a", Lane.CONTROL)
    assert queue.push(b"b", Lane.CONTROL)
    assert not queue.push(b"c", Lane.CONTROL)
    assert list(FrameReader().feed(queue.next_write())) == [b"a", b"b", bytes(8)]
    assert queue.queued_bytes == 0


def test_waiting_control_messages_leave_in_one_write() -> None:
    queue = SendQueue()
    for number in range(500):
        queue.push(b"vote %d" % number, Lane.CONTROL)
    queue.push(bytes(1_000_000), Lane.BULK)
    assert len(list(FrameReader().feed(queue.next_write()))) == 500


hellos = st.builds(
    Hello,
    st.binary(min_size=32, max_size=32),
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", fullmatch=True),
    st.binary(min_size=RUN_BYTES, max_size=RUN_BYTES),
    st.integers(0, 65_535),
)


@given(hellos)
def test_hello_decodes_to_what_was_encoded(hello: Hello) -> None:
    data = hello.encode()
    assert hello_size(data[:HELLO_BYTES_MIN]) == len(data)
    assert decode_hello(data) == hello


@given(st.binary(max_size=200))
def test_decode_hello_refuses_anything_else(data: bytes) -> None:
    with pytest.raises(DecodeError, match="LINK-01"):
        decode_hello(data)


@given(hellos, st.integers(0, 100))
def test_decode_hello_refuses_wrong_length(hello: Hello, cut: int) -> None:
    data = hello.encode()
    for wrong in (data[: min(cut, len(data) - 1)], data + b"x"):
        with pytest.raises(DecodeError, match="LINK-01"):
            decode_hello(wrong)


def test_hello_check_says_what_differs() -> None:
    run = bytes(RUN_BYTES)
    good = Hello(b"g" * 32, "a", run)
    good.check(genesis_hash=b"g" * 32, name="a")
    for hello, code in (
        (Hello(b"g" * 32, "a", run, version=2), "LINK-02"),
        (Hello(b"h" * 32, "a", run), "LINK-03"),
        (Hello(b"g" * 32, "b", run), "LINK-04"),
    ):
        with pytest.raises(AdmissionError, match=code):
            hello.check(genesis_hash=b"g" * 32, name="a")


@given(st.lists(st.binary(min_size=1, max_size=300)))
def test_batch_splits_into_what_was_joined(payloads: list[bytes]) -> None:
    assert list(split_payloads(join_payloads(payloads))) == payloads


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1), st.integers(1, 33))
def test_split_payloads_refuses_a_torn_batch(payloads: list[bytes], cut: int) -> None:
    data = join_payloads(payloads)
    whole = {sum(len(p) + 4 for p in payloads[:count]) for count in range(len(payloads) + 1)}
    if len(data) - cut not in whole:
        with pytest.raises(DecodeError, match="GOSSIP-04"):
            list(split_payloads(data[: len(data) - cut] if cut < len(data) else b"\0"))


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:7001", Endpoint("127.0.0.1", 7001)),
        ("node.example:1", Endpoint("node.example", 1)),
        ("[::1]:7001", Endpoint("::1", 7001)),
        ("/ip4/127.0.0.1/tcp/7001", Endpoint("127.0.0.1", 7001)),
        ("/ip6/::1/tcp/7001", Endpoint("::1", 7001)),
        ("/dns/node.example/tcp/7001", Endpoint("node.example", 7001)),
    ],
)
def test_parse_endpoint_reads_every_form(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", ":1", "a", "a:65536", "a:-1", "a:1x", "::1:5", "[1.2.3.4]:5", "/ip4/x/tcp/1", "/ip4/::1/tcp/1",
     "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/tcp/1/ws", "/ip4/1.2.3.4/tcp", "http://a:1", "a:²"],
)  # fmt: skip
def test_parse_endpoint_refuses_what_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="NET-03"):
        parse_endpoint(text)


def test_peer_address_refuses_a_key_of_another_length() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        PeerAddress(bytes(31))
