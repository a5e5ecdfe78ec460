"""Whom a lagging replica asks, how often, and what it believes (A7, A18)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.agreement.catchup import FAR_BEHIND, Catchup, check_run
from glasslog.agreement.config import Timing
from glasslog.agreement.messages import Certificate, FinalizedRun, Kind, Proposal, Status
from glasslog.errors import AdmissionError

TIMING = Timing()


def make_run(length: int) -> FinalizedRun:
    proposals = list[Proposal]()
    view, digest = 0, b"\0" * 32
    for height in range(1, length + 1):
        proposals.append(Proposal(1, 2 * height, height, view, digest, height, (), 6 + height, b"\1" * 32))
        view, digest = 2 * height, proposals[-1].digest
    return FinalizedRun(tuple(proposals), Certificate(1, view, Kind.FINALIZE, digest, (), ()))


def test_run_gives_its_digests_oldest_first() -> None:
    run = make_run(3)
    assert check_run(run) == [proposal.digest for proposal in run.proposals]


@given(st.integers(2, 6), st.integers(0, 5))
def test_run_with_a_height_left_out_or_changed_is_refused(length: int, pick: int) -> None:
    run = make_run(length)
    at = pick % length
    shorter = run.proposals[:at] + run.proposals[at + 1 :]
    if at:
        with pytest.raises(AdmissionError, match="RUN-0"):
            check_run(FinalizedRun(shorter, run.certificate))
    changed = (*run.proposals[:at], make_run(9).proposals[8], *run.proposals[at + 1 :])
    with pytest.raises(AdmissionError, match="RUN-0"):
        check_run(FinalizedRun(changed, run.certificate))


def test_empty_run_or_one_that_ends_before_its_certificate_is_refused() -> None:
    run = make_run(3)
    for bad in ((), run.proposals[:2]):
        with pytest.raises(AdmissionError, match="RUN-02"):
            check_run(FinalizedRun(bad, run.certificate))


def status(height: int) -> Status:
    return Status(1, height, height, height, 6 + height, 0)


def test_far_behind_asks_at_once_near_waits_for_what_is_under_way() -> None:
    catchup = Catchup(TIMING)
    catchup.heard("v1", status(3))
    assert catchup.run_to_ask(3, 0, 10) == (None, None)
    assert catchup.run_to_ask(2, 0, 10) == (None, TIMING.fetch)
    catchup.heard("v2", status(4 + FAR_BEHIND))
    assert catchup.run_to_ask(3, 0, 10)[0] == "v2"


def test_peers_ahead_are_asked_in_turn_and_not_more_often_than_the_retry() -> None:
    catchup = Catchup(TIMING)
    for name in ("v1", "v2"):
        catchup.heard(name, status(50))
    asked, now = list[str](), 0
    for _ in range(4):
        peer, wake = catchup.run_to_ask(0, 0, now)
        assert peer is not None
        assert catchup.run_to_ask(0, 0, now + TIMING.fetch_retry - 1)[0] is None
        asked.append(peer)
        now = wake or 0
    assert set(asked) == {"v1", "v2"}
    catchup.lost("v1")
    catchup.ask_again_soon()
    assert catchup.run_to_ask(0, 0, now)[0] == "v2"


def test_stale_votes_are_answered_now_and_then() -> None:
    """P5, but not an answer for each: a flood of old votes would be amplified."""
    catchup = Catchup(TIMING)
    answers = [catchup.may_answer_stale("v1", now) for now in range(0, 3 * TIMING.fetch, 100)]
    assert sum(answers) == 3
    assert catchup.may_answer_stale("v2", 0)


def test_certificates_of_a_view_are_asked_for_again_after_a_while() -> None:
    catchup = Catchup(TIMING)
    retry = TIMING.fetch_retry
    assert catchup.views_to_ask([4, 5], 0) == ((4, 5), retry)
    assert catchup.views_to_ask([4, 5, 6], 1) == ((6,), retry)
    assert catchup.views_to_ask([6], 2) == ((), retry + 1)
    assert catchup.views_to_ask([4], retry) == ((4,), 2 * retry)
    assert catchup.views_to_ask([], retry) == ((), None)
