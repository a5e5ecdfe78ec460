"""An epoch's members: quorums, leaders, keys, and the rule on jurisdictions (specs/agreement.md, A11, A15)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from glasslog.entry import Genesis, Member, MembershipLeaf, Role, decode_leaf, encode_leaf
from glasslog.errors import AdmissionError
from glasslog.limits import MEMBERS_MAX, VALIDATORS_MAX, VALIDATORS_MIN
from glasslog.merkle import hash_leaf, root


def faults_tolerated(validators: int) -> int:
    """Return f, the most faulty validators among *validators* that agreement survives (specs/threat-model.md, T1)."""
    return (validators - 1) // 3


def quorum_size(validators: int) -> int:
    """Return q = n - f. Never 2f+1: at n = 5 or 6 two quorums of that size can share no honest member (A15)."""
    return validators - faults_tolerated(validators)


@dataclass(frozen=True)
class Membership:
    """One epoch's members, sorted by name. Validators are indexed by their position among the validators."""

    epoch: int
    genesis_hash: bytes
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise AdmissionError("MEMBER-01", "members are not sorted by name, or one name stands twice")
        if len(names) > MEMBERS_MAX:
            raise AdmissionError("MEMBER-02", f"{len(names)} members, at most {MEMBERS_MAX}")
        if not VALIDATORS_MIN <= len(self.validators) <= VALIDATORS_MAX:
            raise AdmissionError(
                "MEMBER-03", f"{len(self.validators)} validators, not {VALIDATORS_MIN} to {VALIDATORS_MAX}"
            )
        self._check_keys()
        self._check_jurisdictions()

    def _check_keys(self) -> None:
        """One raw key, one use: a key that served two members or two purposes would be counted twice."""
        seen: dict[bytes, str] = {}
        for member in self.members:
            for key in member.keys():  # noqa: SIM118 - a Member is no mapping
                if key in seen:
                    raise AdmissionError("MEMBER-04", f"{member.name} and {seen[key]} share a key")
                seen[key] = member.name

    def _check_jurisdictions(self) -> None:
        """A11: no jurisdiction holds more validators than the network tolerates as faulty, for it acts as one (T2)."""
        count = Counter(member.jurisdiction for member in self.validators)
        jurisdiction, most = max(count.items(), key=lambda item: (item[1], item[0]))
        if most > self.faults:
            raise AdmissionError(
                "MEMBER-05",
                f"{jurisdiction} holds {most} of {len(self.validators)} validators and could halt the network: "
                f"at most {self.faults} of {len(self.validators)} may share a jurisdiction",
            )

    @cached_property
    def validators(self) -> tuple[Member, ...]:
        """The voting members, in the order of their indices."""
        return tuple(member for member in self.members if member.role is Role.VALIDATOR)

    @cached_property
    def faults(self) -> int:
        """Return f."""
        return faults_tolerated(len(self.validators))

    @cached_property
    def quorum(self) -> int:
        """Return q = n - f."""
        return quorum_size(len(self.validators))

    @cached_property
    def membership_hash(self) -> bytes:
        """RFC 9162 root over the epoch's membership leaves, in order."""
        return root(b"".join(hash_leaf(leaf) for leaf in self.leaves()))

    @cached_property
    def _by_name(self) -> dict[str, Member]:
        return {member.name: member for member in self.members}

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {member.name: index for index, member in enumerate(self.validators)}

    def leaves(self) -> tuple[bytes, ...]:
        """Return the epoch's membership leaves, in order."""
        return tuple(encode_leaf(MembershipLeaf(self.epoch, member)) for member in self.members)

    def leader(self, view: int) -> int:
        """Return the index of the validator that leads *view*: round robin (A15)."""
        return view % len(self.validators)

    def member(self, name: str) -> Member | None:
        """Return the member of this name, if there is one."""
        return self._by_name.get(name)

    def index_of(self, name: str) -> int | None:
        """Return the validator index of *name*, or None when it is no validator."""
        return self._indices.get(name)

    def vote_key(self, index: int) -> bytes:
        """Return the Ed25519 key under which validator *index* votes."""
        key = self.validators[index].vote_key
        assert key is not None, "a validator without a vote key was admitted"
        return key

    def author(self, name: str) -> Member:
        """Return the member that may author blocks under *name*.

        Raises:
            AdmissionError: nobody of that name is admitted, or not as an author.
        """
        member = self._by_name.get(name)
        if member is None or member.author_key is None:
            raise AdmissionError("MEMBER-06", f"{name} is not admitted as an author")
        return member

    def author_key(self, name: str) -> bytes | None:
        """Return the Ed25519 key under which *name* signs blocks, or None."""
        member = self._by_name.get(name)
        return None if member is None else member.author_key


def read_genesis(leaves: Sequence[bytes]) -> tuple[Genesis, Membership]:
    """Return what the first leaves of a log found: the genesis and the membership of epoch 1.

    Raises:
        DecodeError: a leaf is not what its place requires.
        AdmissionError: the members break a rule, or are not those the genesis leaf commits to.
    """
    genesis = decode_leaf(leaves[0])
    if not isinstance(genesis, Genesis):
        raise AdmissionError("GENESIS-01", "the first leaf is not a genesis leaf")
    members: list[Member] = []
    for leaf in leaves[1:]:
        decoded = decode_leaf(leaf)
        if not isinstance(decoded, MembershipLeaf) or decoded.epoch != 1:
            raise AdmissionError("GENESIS-02", "a leaf after the genesis leaf is not a membership leaf of epoch 1")
        members.append(decoded.member)
    membership = Membership(1, sha256(leaves[0]).digest(), tuple(members))
    if membership.membership_hash != genesis.membership_hash:
        raise AdmissionError("GENESIS-03", "the members are not those that the genesis leaf commits to")
    return genesis, membership
