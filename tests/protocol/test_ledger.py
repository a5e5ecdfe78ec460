"""What a height appends: checked against leaves, roots and chains worked out by hand."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.agreement.shelf import Shelf, Support
from glasslog.block import Block, Ref, build_block, split
from glasslog.entry import HeightSeal, encode_leaf
from glasslog.errors import AdmissionError
from glasslog.ledger import Admitted, HeightPlan, LedgerState, Place, Tip, extend, genesis_state
from simulation.invariants import tree_root
from simulation.suite import QUOTA_ENTRIES, make_block, make_entries, make_network, signer

NETWORK = make_network(4, ("ann", "bob"))
MEMBERSHIP = NETWORK.membership
GENESIS_HASH = MEMBERSHIP.genesis_hash
START, _ = genesis_state(NETWORK.genesis, 1_000)
PLACE = Place(1, 3, 1, 2_000)


def make_chain(author: str, counts: list[int], salt: int = 0) -> list[Block]:
    chain = list[Block]()
    prev, first = GENESIS_HASH, 0
    for seq, count in enumerate(counts, 1):
        chain.append(make_block(GENESIS_HASH, author, seq, prev, first, count, salt=salt))
        prev, first = chain[-1].hash, chain[-1].next_entry
    return chain


def shelf_of(*chains: list[Block]) -> Shelf:
    shelf = Shelf(Support(3, 2, 200))
    for chain in chains:
        for block in chain:
            shelf.hold(Admitted.of(block))
    return shelf


def leaf_hashes(*chains: list[Block]) -> list[bytes]:
    leaves = [leaf for chain in chains for block in chain for leaf in [*split(block.entries), block.leaf]]
    return [sha256(b"\0" + leaf).digest() for leaf in leaves]


def plan(state: LedgerState, refs: list[Ref], shelf: Shelf, place: Place = PLACE) -> HeightPlan | None:
    return extend(state, MEMBERSHIP, place, refs, shelf.chain_of)


def test_genesis_state_is_the_tree_of_the_genesis_leaves() -> None:
    hashes = [sha256(b"\0" + leaf).digest() for leaf in NETWORK.genesis]
    assert (START.size, START.root) == (len(hashes), tree_root(hashes))
    assert START.tip("ann", GENESIS_HASH) == Tip(0, GENESIS_HASH, 0)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.lists(st.integers(1, 5), max_size=4))
def test_height_appends_authors_in_order_each_block_as_entries_then_header_then_seal(
    ann_counts: list[int], bob_counts: list[int]
) -> None:
    ann, bob = make_chain("ann", ann_counts), make_chain("bob", bob_counts)
    height = plan(START, [chain[-1].ref for chain in (ann, bob) if chain], shelf_of(bob, ann))
    assert height is not None
    seal = encode_leaf(HeightSeal(1, 3, 1, 2_000, MEMBERSHIP.membership_hash, len(ann) + len(bob)))
    assert height.seal == seal
    genesis = [sha256(b"\0" + leaf).digest() for leaf in NETWORK.genesis]
    hashes = [*genesis, *leaf_hashes(ann, bob), sha256(b"\0" + seal).digest()]
    assert (height.state.size, height.state.root) == (len(hashes), tree_root(hashes))
    assert [block.ref for block in height.blocks] == [block.ref for block in ann + bob]
    assert dict(height.tips) == {
        chain[-1].header.author: Tip(len(chain), chain[-1].hash, chain[-1].next_entry) for chain in (ann, bob) if chain
    }


def test_two_branches_on_one_state_do_not_touch_each_other() -> None:
    ann, bob = make_chain("ann", [1]), make_chain("bob", [2])
    shelf = shelf_of(ann, bob)
    one, other = plan(START, [ann[0].ref], shelf), plan(START, [bob[0].ref], shelf)
    assert one is not None
    assert other is not None
    assert dict(START.frontier) == {}
    assert set(one.state.frontier) == {"ann"}
    assert set(other.state.frontier) == {"bob"}
    assert one.state.root != other.state.root


def test_heights_in_two_steps_or_one_hold_the_same_blocks() -> None:
    ann = make_chain("ann", [1, 2, 3])
    shelf = shelf_of(ann)
    first = plan(START, [ann[0].ref], shelf)
    assert first is not None
    second = plan(first.state, [ann[2].ref], shelf, Place(2, 4, 1, 3_000))
    assert second is not None
    assert [block.ref.seq for block in first.blocks + second.blocks] == [1, 2, 3]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_missing_block_is_waited_for_not_refused(missing: int) -> None:
    ann = make_chain("ann", [1, 1, 1])
    assert plan(START, [ann[2].ref], shelf_of(ann[:missing] + ann[missing + 1 :])) is None


def refused(refs: list[Ref], *chains: list[Block], state: LedgerState = START) -> str:
    with pytest.raises(AdmissionError) as caught:
        plan(state, refs, shelf_of(*chains))
    return caught.value.code


def test_heights_no_replica_may_accept_are_refused_by_code() -> None:
    """L8: each of these is a property of the proposal and of hashes, the same on every replica."""
    ann, bob = make_chain("ann", [1, 1]), make_chain("bob", [1])
    after = plan(START, [ann[0].ref], shelf_of(ann))
    assert after is not None
    assert refused([bob[0].ref, ann[0].ref], ann, bob) == "HEIGHT-01"
    assert refused([ann[0].ref, ann[1].ref], ann) == "HEIGHT-01"
    assert refused([ann[0].ref], ann, state=after.state) == "HEIGHT-04"
    assert refused([Ref("who", 1, ann[0].hash)], ann) == "MEMBER-06"
    fork = make_chain("ann", [1, 1], salt=9)
    assert refused([fork[1].ref], fork, state=after.state) == "HEIGHT-08"
    assert refused([Ref("ann", 2, ann[0].hash)], ann) == "HEIGHT-09"
    gap = make_block(GENESIS_HASH, "ann", 2, ann[0].hash, 5, 1)
    assert refused([gap.ref], [ann[0], gap]) == "HEIGHT-05"
    assert refused([make_chain("ann", [40, 40])[1].ref], make_chain("ann", [40, 40])) == "HEIGHT-06"


def test_author_may_fill_its_quota_and_not_one_entry_more() -> None:
    full = make_chain("ann", [QUOTA_ENTRIES - 1, 1])
    assert plan(START, [full[1].ref], shelf_of(full)) is not None
    over = make_chain("ann", [QUOTA_ENTRIES, 1])
    assert refused([over[1].ref], over) == "HEIGHT-06"


def test_bytes_over_the_quota_are_refused() -> None:
    entries = [b"\xd2" + b"x" * 60_000 for _ in range(2)]
    block = build_block(
        entries, genesis_hash=GENESIS_HASH, author="ann", seq=1, prev=GENESIS_HASH, first=0, time=1,
        sign=signer("ann", "author"),
    )  # fmt: skip
    assert refused([block.ref], [block]) == "HEIGHT-07"
    assert make_entries("ann", 0, 1)
