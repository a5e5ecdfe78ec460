"""A small network's ledger to fill stores with: real leaves, blocks and heights; signatures nobody checks here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256, sha512

from glasslog.agreement.effects import FinalHeight, HeldBlock, Record, SavedCertificate
from glasslog.agreement.messages import Certificate, Kind, Proposal, SignedProposal, Vote
from glasslog.block import Block, Ref, build_block
from glasslog.entry import Genesis, Member, MembershipLeaf, Role, encode_leaf, number_entry
from glasslog.ledger import Admitted, LedgerState, Place, Tip, extend, genesis_state
from glasslog.membership import Membership
from glasslog.merkle import hash_leaf, root
from glasslog.statement import encode_statement

AUTHORS = ("lab-a", "lab-b")


def key(*words: object, length: int = 32) -> bytes:
    """Return bytes that stand for a key: distinct for distinct words."""
    seed = sha512(repr(words).encode()).digest()
    return (seed * (length // 64 + 1))[:length]


def _member(name: str, role: Role, jurisdiction: str) -> Member:
    votes = role is Role.VALIDATOR
    return Member(
        name, role, jurisdiction, key(name, "network"),
        key(name, "vote") if votes else None, key(name, "log") if votes else None,
        key(name, "ed") if votes else None, key(name, "pq", length=1312) if votes else None,
        key(name, "author") if role is Role.AUTHOR else None, None, 65_536, 16 << 20,
    )  # fmt: skip


def genesis_leaves(network: str = "testnet") -> tuple[bytes, ...]:
    """Return the first leaves of a network of four validators and two labs."""
    members = [_member(name, Role.AUTHOR, "DE") for name in AUTHORS]
    members += [_member(f"v{i}", Role.VALIDATOR, code) for i, code in enumerate(("CH", "JP", "KE", "BR"))]
    leaves = tuple(encode_leaf(MembershipLeaf(1, member)) for member in members)
    genesis = Genesis(network, f"log.example/{network}", 1_000, root(b"".join(map(hash_leaf, leaves))))
    return (encode_leaf(genesis), *leaves)


def statement(number: int, size: int = 0) -> bytes:
    """Return a statement's CBOR; its one subject's digest is ``subject_digest(number)``."""
    return encode_statement(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": f"m{number}", "digest": {"sha256": subject_digest(number)}}],
            "predicateType": f"https://example.org/p{number % 3}",
            "predicate": {"pad": "x" * size},
        }
    )


def subject_digest(number: int) -> bytes:
    """Return the digest that ``statement(number)`` is about."""
    return sha256(b"subject %d" % number).digest()


@dataclass
class World:
    """The ledger as it grows; ``records`` of a height are what a replica would persist for it."""

    network: str = "testnet"
    genesis: tuple[bytes, ...] = ()
    blocks: dict[Ref, Block] = field(default_factory=dict[Ref, Block])
    leaves: list[bytes] = field(default_factory=list[bytes])
    digest: bytes = b""

    def __post_init__(self) -> None:
        self.genesis = genesis_leaves(self.network)
        self.genesis_hash = sha256(self.genesis[0]).digest()
        members = genesis_members(self.genesis)
        self.membership = Membership(1, self.genesis_hash, members)
        self.state: LedgerState = genesis_state(self.genesis, 1_000)[0]
        self.tips: dict[str, Tip] = {}
        self.view = 0
        self.digest = self.genesis_hash
        self.leaves += self.genesis

    def tip(self, author: str) -> Tip:
        return self.tips.get(author) or Tip(0, self.genesis_hash, 0)

    def block(self, author: str = "lab-a", count: int = 3, *, size: int = 0, prev: Tip | None = None) -> Block:
        """Make the author's next block (or another one after ``prev``), not final yet."""
        tip = prev or self.tip(author)
        first = tip.next_entry
        entries = [number_entry(author, number, statement(number, size)) for number in range(first, first + count)]
        block = build_block(
            entries, genesis_hash=self.genesis_hash, author=author, seq=tip.seq + 1, prev=tip.hash,
            first=first, time=2_000, sign=lambda message: sha512(message).digest(),
        )  # fmt: skip
        self.blocks[block.ref] = block
        if prev is None:
            self.tips[author] = Tip(block.header.seq, block.hash, block.next_entry)
        return block

    def final(self, blocks: Sequence[Block]) -> FinalHeight:
        """Finalize these blocks as the next height."""
        self.view += 1
        height, parent = self.state.height + 1, self.state
        last = {block.header.author: block for block in blocks}
        advance = tuple(last[author].ref for author in sorted(last))
        place = Place(height, self.view, 1, 10_000 + height)
        chains = {name: [Admitted.of(b) for b in blocks if b.header.author == name] for name in last}
        plan = extend(parent, self.membership, place, advance, lambda _, ref: chains[ref.author])
        assert plan is not None
        proposal = Proposal(
            1, self.view, height, self.view - 1, self.digest, place.time, advance, plan.state.size, plan.state.root
        )
        self.state, self.digest = plan.state, proposal.digest
        for admitted in plan.blocks:
            self.leaves += split(self.blocks[admitted.ref])
        self.leaves.append(plan.seal)
        return FinalHeight(
            proposal, proposal.digest, parent.size, tuple(b.ref for b in plan.blocks),
            tuple(b.count + 1 for b in plan.blocks), plan.seal, plan.tips, plan.tiles, plan.state.edge,
        )  # fmt: skip

    def height(self, *blocks: Block, certified: bool = True) -> list[Record]:
        """Return all records of the next height: its blocks held, its certificate, itself."""
        records: list[Record] = [held(block) for block in blocks]
        final = self.final(blocks)
        if certified:
            records.append(SavedCertificate(certificate(final.proposal.view, Kind.FINALIZE, final.digest)))
        return [*records, final]


def genesis_members(leaves: Sequence[bytes]) -> tuple[Member, ...]:
    """Return the members that the genesis leaves state."""
    from glasslog.membership import read_genesis

    return read_genesis(leaves)[1].members


def split(block: Block) -> list[bytes]:
    """Return a block's leaves in log order."""
    from glasslog.tiles import split_entries

    return [*split_entries(block.entries), block.leaf]


def held(block: Block) -> HeldBlock:
    """Return the record that keeps a block."""
    return HeldBlock(block.ref, block.leaf, block.entries)


def certificate(view: int, kind: Kind, digest: bytes, *, signers: tuple[int, ...] = (0, 1, 2)) -> Certificate:
    """Return a certificate as it is shaped; its signatures are nobody's."""
    digest = b"" if kind is Kind.NULLIFY else digest
    return Certificate(1, view, kind, digest, signers, tuple(key("sig", view, i, length=64) for i in signers))


def vote(view: int, kind: Kind, digest: bytes) -> Vote:
    """Return a vote of validator 0."""
    return Vote(1, view, kind, b"" if kind is Kind.NULLIFY else digest, 0, key("vote", view, kind, length=64))


def signed(view: int, height: int, salt: int = 0) -> SignedProposal:
    """Return a proposal that leads nowhere, for views that were not finalized."""
    proposal = Proposal(1, view, height, max(0, view - 1), key("parent", salt), 5_000 + salt, (), 7, key("root", salt))
    return SignedProposal(proposal, key("leader", view, salt, length=64))
