"""Whom a replica asks for a missing block, and when it asks the next one (specs/agreement.md, A9)."""

from __future__ import annotations

from glasslog.agreement.config import Timing
from glasslog.agreement.fetcher import Fetcher
from glasslog.agreement.messages import BlockRequest

TIMING = Timing()
PEERS = ("a.example", "b.example", "c.example")
LAB = "lab.example"
REQUEST = BlockRequest(LAB, 3, 5, bytes(32))


def ask(fetcher: Fetcher, now: int) -> list[tuple[str, BlockRequest]]:
    fetcher.begin()
    fetcher.want(REQUEST, PEERS, now, grace=0, named=True)
    return fetcher.due(now, PEERS)[0]


def test_unanswered_request_goes_to_the_next_source_though_newer_blocks_of_the_author_keep_coming() -> None:
    """A peer that was cut off, or lies, must not keep a lagging replica behind for as long as the author writes."""
    fetcher = Fetcher(TIMING)
    asked = [peer for peer, _ in ask(fetcher, 0)]
    for now in range(0, 10 * TIMING.fetch_retry, 50):
        fetcher.arrived(LAB, 1_000 + now, now)
        asked += [peer for peer, _ in ask(fetcher, now)]
    assert asked[:3] == list(PEERS)


def test_request_whose_answer_is_coming_in_is_not_repeated() -> None:
    fetcher = Fetcher(TIMING)
    assert ask(fetcher, 0)
    for now in range(TIMING.fetch_retry // 2, 10 * TIMING.fetch_retry, TIMING.fetch_retry // 2):
        fetcher.arrived(LAB, 4, now)
        assert not ask(fetcher, now)
    assert ask(fetcher, 20 * TIMING.fetch_retry)


def test_old_block_is_asked_for_at_once_and_one_that_follows_the_latest_a_little_later() -> None:
    """Waiting for what an author's newest blocks do not bring would keep a lagging replica behind them for good."""
    for latest, patient in ((1_000, False), (2, True)):
        fetcher = Fetcher(TIMING)
        fetcher.arrived(LAB, latest, 0)
        assert bool(ask(fetcher, 1)) is not patient
        assert not ask(fetcher, TIMING.flow - 1)
        assert bool(ask(fetcher, TIMING.flow)) is patient
