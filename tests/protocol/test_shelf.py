"""Held blocks: chains, forks, what is missing, and how many Haves let a leader name a block (A9, A12)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glasslog.agreement.messages import BlockRequest
from glasslog.agreement.shelf import Shelf, Support
from glasslog.block import Block, Ref
from glasslog.ledger import Admitted, Tip
from glasslog.limits import PENDING_BLOCKS_PER_AUTHOR_MAX
from simulation.suite import make_block, make_network

GENESIS_HASH = make_network(4).membership.genesis_hash
ROOT = Tip(0, GENESIS_HASH, 0)


def make_chain(length: int, *, salt: int = 0, after: Block | None = None) -> list[Block]:
    chain = [] if after is None else [after]
    while len(chain) < length + (after is not None):
        last = chain[-1] if chain else None
        seq, prev, first = (last.header.seq, last.hash, last.next_entry) if last else (0, GENESIS_HASH, 0)
        chain.append(make_block(GENESIS_HASH, "lab", seq + 1, prev, first, 1, salt=salt))
    return chain[after is not None :]


CHAIN = make_chain(5)
FORK = make_chain(3, salt=1)


def shelf_of(*blocks: Block) -> Shelf:
    shelf = Shelf(Support(3, 2, 200))
    for block in blocks:
        shelf.hold(Admitted.of(block))
    return shelf


def refs(blocks: list[Admitted]) -> list[Ref]:
    return [block.ref for block in blocks]


@given(st.permutations(CHAIN), st.sets(st.integers(0, 4)))
def test_forward_is_the_gapless_start_of_the_chain(order: list[Block], left_out: set[int]) -> None:
    shelf = shelf_of(*[block for block in order if CHAIN.index(block) not in left_out])
    reach = min(left_out, default=5)
    assert refs(shelf.forward("lab", ROOT)) == [block.ref for block in CHAIN[:reach]]


@given(st.sets(st.integers(0, 4), min_size=1))
def test_missing_asks_for_the_last_gap_only(left_out: set[int]) -> None:
    shelf = shelf_of(*[block for number, block in enumerate(CHAIN) if number not in left_out])
    last = max(left_out)
    assert shelf.missing(ROOT, CHAIN[-1].ref) == BlockRequest("lab", 1, last + 1, CHAIN[last].hash)
    assert shelf.chain_of(ROOT, CHAIN[-1].ref) is None


def test_nothing_is_missing_where_the_chain_reaches_the_tip() -> None:
    shelf = shelf_of(*CHAIN)
    assert shelf.missing(ROOT, CHAIN[-1].ref) is None
    assert shelf.missing(Admitted.of(CHAIN[1]).tip, CHAIN[-1].ref) is None


def test_misnumbered_block_ends_the_chain() -> None:
    """It can never be final; counting it as held would be work without end."""
    bad = make_block(GENESIS_HASH, "lab", 2, CHAIN[0].hash, 7, 1)
    assert refs(shelf_of(CHAIN[0], bad).forward("lab", ROOT)) == [CHAIN[0].ref]


def test_window_and_fork_limits_hold_but_not_for_what_is_named() -> None:
    third = make_chain(1, salt=2)[0]
    fourth = make_chain(1, salt=3)[0]
    shelf = shelf_of(CHAIN[0], FORK[0])
    assert shelf.may_hold(third.ref, ROOT, named=True)
    shelf.hold(Admitted.of(third))
    assert not shelf.may_hold(fourth.ref, ROOT, named=False)
    assert not shelf.may_hold(CHAIN[0].ref, ROOT, named=True)
    assert not shelf.may_hold(Ref("lab", PENDING_BLOCKS_PER_AUTHOR_MAX + 1, b""), ROOT, named=True)
    assert shelf.may_hold(Ref("lab", PENDING_BLOCKS_PER_AUTHOR_MAX, b""), ROOT, named=False)


def test_finalizing_drops_every_block_that_lost_and_keeps_what_follows() -> None:
    """Also the fork's blocks far below the new tip: else they stay on the disk for ever."""
    shelf = shelf_of(*CHAIN, *FORK)
    lost = shelf.finalize("lab", Admitted.of(CHAIN[2]).tip)
    assert set(lost) == {block.ref for block in FORK}
    assert refs(shelf.forward("lab", Admitted.of(CHAIN[2]).tip)) == [CHAIN[3].ref, CHAIN[4].ref]
    assert shelf.finalize("lab", Admitted.of(CHAIN[4]).tip) == ()


def test_fork_child_of_a_block_that_lost_is_dropped_when_its_turn_comes() -> None:
    shelf = shelf_of(*CHAIN[:2], *FORK)
    assert set(shelf.finalize("lab", Admitted.of(CHAIN[0]).tip)) == {FORK[0].ref, FORK[1].ref}
    assert set(shelf.finalize("lab", Admitted.of(CHAIN[1]).tip)) == {FORK[2].ref}


def test_block_is_nameable_at_once_with_q_haves_and_later_with_some() -> None:
    shelf = shelf_of(*CHAIN[:3])
    tell = [(0, CHAIN[2]), (1, CHAIN[1]), (2, CHAIN[0])]
    for voter, block in tell:
        shelf.have(voter, block.ref)
    now, wake = shelf.nameable("lab", ROOT, 1_000)
    assert (refs(now), wake) == ([CHAIN[0].ref], 1_200)
    later, wake = shelf.nameable("lab", ROOT, 1_200)
    assert (refs(later), wake) == ([CHAIN[0].ref, CHAIN[1].ref], None)


def test_single_have_or_haves_of_another_fork_name_nothing() -> None:
    shelf = shelf_of(CHAIN[0])
    shelf.have(0, CHAIN[0].ref)
    for voter in (1, 2, 3):
        shelf.have(voter, FORK[0].ref)
    assert shelf.nameable("lab", ROOT, 10_000) == ([], None)


def test_work_needs_f_plus_one_haves_above_the_frontier() -> None:
    shelf = shelf_of()
    shelf.have(0, CHAIN[1].ref)
    assert not shelf.has_work({})
    shelf.have(1, CHAIN[1].ref)
    assert shelf.has_work({})
    assert not shelf.has_work({"lab": Admitted.of(CHAIN[1]).tip})
    shelf.forget_haves(1)
    assert not shelf.has_work({})


def test_wanted_is_what_f_plus_one_hold_even_where_the_end_is_here_and_a_part_is_not() -> None:
    shelf = shelf_of(CHAIN[4])
    shelf.have(1, CHAIN[4].ref)
    assert shelf.wanted("lab", ROOT) is None
    shelf.have(2, CHAIN[4].ref)
    assert shelf.wanted("lab", ROOT) == CHAIN[4].ref
    assert shelf.missing(ROOT, CHAIN[4].ref) == BlockRequest("lab", 1, 4, CHAIN[3].hash)
