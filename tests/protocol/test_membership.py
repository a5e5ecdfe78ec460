"""Members of an epoch: quorums for every size, the rule on jurisdictions, keys, and the genesis leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasslog.entry import Genesis, MembershipLeaf, Role, decode_leaf, encode_leaf
from glasslog.errors import AdmissionError, ProtocolError
from glasslog.membership import Membership, faults_tolerated, quorum_size, read_genesis
from simulation.suite import make_member, make_network

COUNTS = range(4, 65)


def make_membership(jurisdictions: list[str]) -> Membership:
    members = [
        make_member(f"v{number:02}", Role.VALIDATOR, jurisdiction, author=False)
        for number, jurisdiction in enumerate(jurisdictions)
    ]
    return Membership(1, b"\0" * 32, tuple(members))


@pytest.mark.parametrize("count", COUNTS)
def test_two_quorums_always_share_an_honest_validator(count: int) -> None:
    """A15, for every size there may be: intersection above f, and a quorum without the f faulty."""
    f, q = faults_tolerated(count), quorum_size(count)
    assert 3 * f < count <= 3 * f + 3
    assert 2 * q - count >= f + 1
    assert q <= count - f


@pytest.mark.parametrize("count", [5, 6, 8, 9, 62])
def test_two_thirds_plus_one_would_not_do(count: int) -> None:
    """Why q is n - f: where n is not 3f + 1, two sets of 2f + 1 may share nobody honest."""
    f = faults_tolerated(count)
    assert 2 * (2 * f + 1) - count < f + 1


@given(st.lists(st.sampled_from(["DE", "FR", "JP", "BR", "IN", "KE", "US"]), min_size=4, max_size=20))
def test_no_jurisdiction_may_hold_more_than_f(jurisdictions: list[str]) -> None:
    """A11: so none can halt or forge, and every quorum spans at least three."""
    f = (len(jurisdictions) - 1) // 3
    if any(jurisdictions.count(name) > f for name in jurisdictions):
        with pytest.raises(AdmissionError) as caught:
            make_membership(jurisdictions)
        assert caught.value.code == "MEMBER-05"
        return
    membership = make_membership(jurisdictions)
    by_size = sorted((jurisdictions.count(name) for name in set(jurisdictions)), reverse=True)
    reached, spanned = 0, 0
    while reached < membership.quorum:
        reached += by_size[spanned]
        spanned += 1
    assert spanned >= 3


def test_refusal_names_the_jurisdiction() -> None:
    with pytest.raises(AdmissionError, match=r"^MEMBER-05 DE holds 2 of 4 validators"):
        make_membership(["DE", "DE", "FR", "JP"])


@pytest.mark.parametrize("count", [0, 3, 65])
def test_number_of_validators_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(AdmissionError, match="MEMBER-03"):
        make_membership([chr(65 + number // 26) + chr(65 + number % 26) for number in range(count)])


def test_unsorted_or_doubled_names_are_refused() -> None:
    members = make_network(4).membership.members
    for bad in (members[::-1], (*members[:1], *members)):
        with pytest.raises(AdmissionError, match="MEMBER-01"):
            Membership(1, b"", bad)


def test_key_of_two_members_or_two_uses_is_refused() -> None:
    members = list(make_network(4).membership.members)
    shared = replace(members[1], vote_key=members[2].vote_key)
    twice = replace(members[1], vote_key=members[1].log_key)
    for bad in (shared, twice):
        with pytest.raises(AdmissionError, match="MEMBER-04"):
            Membership(1, b"", (members[0], bad, *members[2:]))


def test_leaders_take_turns() -> None:
    membership = make_network(5).membership
    assert [membership.leader(view) for view in range(1, 7)] == [1, 2, 3, 4, 0, 1]


def test_only_validators_have_an_index_and_only_authors_a_block_key() -> None:
    membership = make_network(4, observers=("watch",)).membership
    assert [membership.index_of(name) for name in ("v0", "v3", "lab", "watch", "who")] == [0, 3, None, None, None]
    assert membership.author_key("watch") is None
    assert membership.author_key("lab") == membership.author("lab").author_key
    with pytest.raises(AdmissionError, match="MEMBER-06"):
        membership.author("watch")


def test_genesis_leaves_found_the_membership_they_commit_to() -> None:
    network = make_network(4)
    genesis, membership = read_genesis(network.genesis)
    assert (genesis.network, membership.epoch) == ("sim", 1)
    assert membership.leaves() == network.genesis[1:]


def test_genesis_with_a_member_changed_left_out_or_of_another_epoch_is_refused() -> None:
    leaves = list(make_network(4).genesis)
    member = decode_leaf(leaves[1])
    assert isinstance(member, MembershipLeaf)
    changed = encode_leaf(MembershipLeaf(1, replace(member.member, quota_entries=7)))
    later = encode_leaf(MembershipLeaf(2, member.member))
    for bad, code in (
        ([leaves[0], changed, *leaves[2:]], "GENESIS-03"),
        ([leaves[0], *leaves[2:]], "GENESIS-03"),
        ([leaves[0], later, *leaves[2:]], "GENESIS-02"),
        (leaves[1:], "GENESIS-01"),
    ):
        with pytest.raises(ProtocolError, match=code):
            read_genesis(bad)
    assert isinstance(decode_leaf(leaves[0]), Genesis)
