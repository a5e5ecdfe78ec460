"""A cheap deterministic signature suite, and the network that every simulation starts from.

A "signature" is a keyed hash under the public key: nobody but this suite makes any, so it stands for Ed25519 at a
hundredth of its cost. Whoever needs a forgery in a test makes one deliberately.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b, sha256

from glasslog import codec
from glasslog.agreement.messages import Cosignature
from glasslog.block import Block, build_block
from glasslog.entry import Genesis, LeafKind, Member, MembershipLeaf, Role, encode_leaf, entry_prefix, number_entry
from glasslog.errors import DecodeError
from glasslog.membership import Membership, read_genesis
from glasslog.predicates.evidence import evidence_statement
from glasslog.statement import encode_statement

GENESIS_TIME = 1_000
QUOTA_ENTRIES = 64
QUOTA_BYTES = 64 << 10
PQ_BYTES = 2420


def public_key(name: str, purpose: str) -> bytes:
    return sha256(f"{name} {purpose}".encode()).digest()


def sign(public: bytes, message: bytes) -> bytes:
    return blake2b(message, key=public, digest_size=64).digest()


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    return sign(public, message) == signature


def signer(name: str, purpose: str) -> Callable[[bytes], bytes]:
    public = public_key(name, purpose)
    return lambda message: sign(public, message)


def make_member(name: str, role: Role, jurisdiction: str, *, author: bool) -> Member:
    voting = role is Role.VALIDATOR
    vote, log, ed, governance = (
        public_key(name, use) if voting else None for use in ("vote", "log", "ed", "governance")
    )
    pq = sha256(name.encode()).digest() * 41 if voting else None
    author_key = public_key(name, "author") if author else None
    network = public_key(name, "network")
    return Member(
        name, role, jurisdiction, network, vote, log, ed, pq, author_key, governance, QUOTA_ENTRIES, QUOTA_BYTES
    )  # fmt: skip


@dataclass(frozen=True)
class Network:
    """The genesis leaves and membership of a network of this many validators."""

    genesis: tuple[bytes, ...]
    membership: Membership
    validators: tuple[str, ...]
    authors: tuple[str, ...]
    observers: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.validators, *self.authors, *self.observers)


@cache
def make_network(validators: int, authors: tuple[str, ...] = ("lab",), observers: tuple[str, ...] = ()) -> Network:
    width = len(str(validators - 1))  # sorted by name as by number, also beyond ten
    names = tuple(f"v{number:0{width}}" for number in range(validators))
    members = [
        make_member(name, Role.VALIDATOR, chr(65 + number // 26) + chr(65 + number % 26), author=True)
        for number, name in enumerate(names)
    ]
    members += [make_member(name, Role.AUTHOR, "US", author=True) for name in authors]
    members += [make_member(name, Role.OBSERVER, "US", author=False) for name in observers]
    leaves = [encode_leaf(MembershipLeaf(1, member)) for member in sorted(members, key=lambda member: member.name)]
    draft = Membership(1, b"", tuple(sorted(members, key=lambda member: member.name)))
    founded = encode_leaf(Genesis("sim", "log.example/sim", GENESIS_TIME, draft.membership_hash))
    genesis = (founded, *leaves)
    return Network(genesis, read_genesis(genesis)[1], names, authors, observers)


class CheapNotes:
    """A note scheme without text: the note is the canonical bytes of its cosignatures."""

    def __init__(self, validators: Sequence[str]) -> None:
        self._keys = [public_key(name, "log") for name in validators]

    def cosign(self, voter: int, size: int, root: bytes, time: int) -> Cosignature:
        line = sign(self._keys[voter], codec.encode([size, root, time]))
        return Cosignature(size, root, time, line, line, b"\0" * PQ_BYTES, voter)

    def verify(self, cosignature: Cosignature) -> bool:
        message = codec.encode([cosignature.size, cosignature.root, cosignature.time])
        return verify(self._keys[cosignature.voter], message, cosignature.log)

    def make_note(self, size: int, root: bytes, cosignatures: Sequence[Cosignature]) -> bytes:
        return codec.encode([size, root, [[line.voter, line.time, line.log] for line in cosignatures]])

    def read_note(self, data: bytes) -> list[Cosignature]:
        match codec.decode(data, size_max=1 << 20):
            case [int(size), bytes(root), list(lines)]:
                found = list[Cosignature]()
                for line in lines:
                    match line:
                        case [int(voter), int(time), bytes(log)] if voter < len(self._keys):
                            found.append(Cosignature(size, root, time, log, log, b"\0" * PQ_BYTES, voter))
                        case _:
                            raise DecodeError("NOTE-01", "not a line")
                return found
            case _:
                raise DecodeError("NOTE-01", "not a note")


def make_entries(author: str, first: int, count: int, salt: int = 0) -> list[bytes]:
    """Sealed entries: the cheapest that admission takes."""
    return [
        entry_prefix(LeafKind.SEALED, author, number)
        + codec.encode(sha256(f"{author} {number} {salt}".encode()).digest())
        for number in range(first, first + count)
    ]


def make_block(
    genesis_hash: bytes, author: str, seq: int, prev: bytes, first: int, count: int, *, time: int = 5, salt: int = 0
) -> Block:
    return seal_block(genesis_hash, author, seq, prev, first, make_entries(author, first, count, salt), time=time)


def make_statement_entry(author: str, number: int, evidence: bytes, fault: str, accused: str) -> bytes:
    """The entry that enters evidence (A14)."""
    return number_entry(author, number, encode_statement(evidence_statement(evidence, fault=fault, accused=accused)))


def seal_block(
    genesis_hash: bytes, author: str, seq: int, prev: bytes, first: int, entries: Sequence[bytes], *, time: int = 5
) -> Block:
    return build_block(
        entries,
        genesis_hash=genesis_hash,
        author=author,
        seq=seq,
        prev=prev,
        first=first,
        time=time,
        sign=signer(author, "author"),
    )
