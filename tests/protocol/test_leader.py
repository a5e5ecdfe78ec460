"""What a leader builds on and whom it lets in (A9, A12)."""

from __future__ import annotations

from glasslog.agreement.leader import Penalties, parent_of, select
from glasslog.agreement.messages import Certificate, Kind
from glasslog.agreement.shelf import Shelf, Support
from glasslog.agreement.view import Round
from glasslog.block import Block
from glasslog.ledger import Admitted, genesis_state
from simulation.suite import QUOTA_ENTRIES, make_block, make_network

NETWORK = make_network(4, ("ann", "bob", "cy"))
MEMBERSHIP = NETWORK.membership
STATE, _ = genesis_state(NETWORK.genesis, 1_000)


def rounds(**kinds: str) -> dict[int, Round]:
    """``v1="NZ"``: view 1 has a notarize and a nullify certificate."""
    names = {"N": Kind.NOTARIZE, "Z": Kind.NULLIFY, "F": Kind.FINALIZE}
    made = dict[int, Round]()
    for name, letters in kinds.items():
        view = int(name[1:])
        certificates = {names[x]: Certificate(1, view, names[x], bytes([view]) * 32, (), ()) for x in letters}
        made[view] = Round(view, certificates=certificates)
    return made


def test_parent_is_the_highest_certified_view_below_nullified_ones() -> None:
    chosen = parent_of(5, rounds(v1="N", v2="N", v3="Z", v4="Z"), 0)
    assert isinstance(chosen, Certificate)
    assert chosen.view == 2


def test_parent_is_the_floor_when_everything_above_is_nullified() -> None:
    assert parent_of(5, rounds(v3="Z", v4="Z"), 2) == 2


def test_notarized_view_is_built_on_even_where_it_is_nullified_too() -> None:
    chosen = parent_of(3, rounds(v1="N", v2="NZ"), 0)
    assert isinstance(chosen, Certificate)
    assert chosen.view == 2


def test_view_in_doubt_leaves_no_parent() -> None:
    assert parent_of(4, rounds(v1="N", v3="Z"), 0) is None
    assert parent_of(4, rounds(v1="N", v2="", v3="Z"), 0) is None


def shelf_with(*blocks: Block) -> Shelf:
    shelf = Shelf(Support(3, 2, 200))
    for block in blocks:
        shelf.hold(Admitted.of(block))
        for voter in range(3):
            shelf.have(voter, block.ref)
    return shelf


def first_block(author: str, count: int = 1) -> Block:
    return make_block(MEMBERSHIP.genesis_hash, author, 1, MEMBERSHIP.genesis_hash, 0, count)


def test_every_author_with_nameable_blocks_is_named_once_in_order() -> None:
    ann = first_block("ann")
    more = make_block(MEMBERSHIP.genesis_hash, "ann", 2, ann.hash, 1, 1)
    bob = first_block("bob")
    shelf = shelf_with(bob, ann, more)
    chosen = select(shelf, MEMBERSHIP, STATE, Penalties(), 1, 0)
    assert chosen.advance == (more.ref, bob.ref)


def test_author_is_advanced_to_its_quota_and_no_further() -> None:
    ann = first_block("ann", QUOTA_ENTRIES)
    more = make_block(MEMBERSHIP.genesis_hash, "ann", 2, ann.hash, QUOTA_ENTRIES, 1)
    assert select(shelf_with(ann, more), MEMBERSHIP, STATE, Penalties(), 1, 0).advance == (ann.ref,)


def test_block_of_nobody_admitted_is_never_named() -> None:
    shelf = shelf_with(first_block("ann"))
    stranger = make_network(4, ("bob", "cy")).membership
    assert select(shelf, stranger, STATE, Penalties(), 1, 0).advance == ()


def test_penalty_doubles_and_is_forgiven() -> None:
    penalties = Penalties()
    penalties.blame("ann", 10)
    assert [penalties.is_back("ann", view) for view in (11, 12)] == [True, False]
    penalties.blame("ann", 12)
    assert [penalties.is_back("ann", view) for view in (15, 16)] == [True, False]
    penalties.forgive("ann")
    penalties.blame("ann", 20)
    assert not penalties.is_back("ann", 22)
