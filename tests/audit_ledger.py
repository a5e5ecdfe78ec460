"""A small real ledger: members with real keys, blocks, heights, proposals, certificates, cosigned checkpoints.

Every height is kept as the records that a replica persists, so that a store can be filled with it, and as plain
leaves, tiles and archive, so that a test can change one byte of any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path

from glasslog.agreement.cosigning import Cosigners
from glasslog.agreement.effects import FinalHeight, HeldBlock, PublishedNote, Record, SavedCertificate
from glasslog.agreement.messages import (
    NO_DIGEST,
    Certificate,
    Cosignature,
    Kind,
    Proposal,
    encode_certificate,
    vote_bytes,
)
from glasslog.audit import Archive, Run
from glasslog.block import Block, Ref, build_block, decode_header_leaf
from glasslog.checkpoint import Checkpoint, CosignerKeys
from glasslog.entry import Genesis, HeightSeal, Member, MembershipLeaf, Role, SealedEntry, encode_leaf, number_entry
from glasslog.identity import Ed25519Key, MlDsa44Key
from glasslog.ledger import Admitted, LedgerState, Place, Tip, extend, genesis_state
from glasslog.membership import read_genesis
from glasslog.merkle import hash_leaf, root
from glasslog.policy import Policy, PolicyMember
from glasslog.statement import encode_statement, from_json
from glasslog.tiles import Edge, entries_path, join_entries, split_entries, tile_path

ORIGIN = "ledger.example/audited"
NETWORK = "audited"
START = 1_800_000_000_000
JURISDICTIONS = ("DE", "FR", "JP", "BR", "IN", "KE", "CA")
LAB, OTHER_LAB = "lab-1.example", "lab-2.example"


def seed(*words: object) -> bytes:
    return sha256(repr(words).encode()).digest()


@dataclass(frozen=True)
class Keys:
    network: Ed25519Key
    vote: Ed25519Key
    cosign: CosignerKeys
    author: Ed25519Key


@cache
def make_keys(name: str) -> Keys:
    ed = {use: Ed25519Key(seed(name, use)) for use in ("network", "vote", "log", "cosign", "author")}
    cosign = CosignerKeys(f"{name}/{NETWORK}", ed["log"], ed["cosign"], MlDsa44Key(seed(name, "pq")))
    return Keys(ed["network"], ed["vote"], cosign, ed["author"])


def make_validator(number: int) -> Member:
    name = f"institute-{number}.example"
    keys = make_keys(name)
    cosign = keys.cosign
    return Member(
        name, Role.VALIDATOR, JURISDICTIONS[number % len(JURISDICTIONS)], keys.network.public, keys.vote.public,
        cosign.log.public, cosign.ed25519.public, cosign.mldsa44.public, None, None, 1_000, 1 << 20,
    )  # fmt: skip


def make_author(name: str, quota_entries: int = 65_536, quota_bytes: int = 16 << 20) -> Member:
    keys = make_keys(name)
    nothing = (None, None, None, None)
    return Member(
        name, Role.AUTHOR, "US", keys.network.public, *nothing, keys.author.public, None, quota_entries, quota_bytes
    )


def make_statement(number: int, *, size: int = 0) -> bytes:
    digest = sha256(f"subject {number}".encode()).hexdigest()
    predicate = f'{{"step":{100_000 + number},"note":"{"x" * size}"}}'
    text = (
        f'{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"step-{number:06d}","digest":'
        f'{{"sha256":"{digest}"}}}}],"predicateType":"urn:glasslog:test:step:v1","predicate":{predicate}}}'
    )
    return encode_statement(from_json(text))


def make_genesis(members: Sequence[Member]) -> tuple[bytes, ...]:
    ordered = sorted(members, key=lambda member: member.name.encode())
    leaves = [encode_leaf(MembershipLeaf(1, member)) for member in ordered]
    committed = root(b"".join(map(hash_leaf, leaves)))
    return (encode_leaf(Genesis(NETWORK, ORIGIN, START, committed)), *leaves)


class World:
    """Grows a ledger height by height. ``records`` of each height are what a replica of it persists."""

    def __init__(self, validators: int = 4, authors: Sequence[Member] | None = None) -> None:
        authors = [make_author(LAB), make_author(OTHER_LAB)] if authors is None else authors
        self.genesis = make_genesis([*[make_validator(number) for number in range(validators)], *authors])
        self.founded, self.membership = read_genesis(self.genesis)
        self.state, tiles = genesis_state(self.genesis, self.founded.time)
        self.leaves = list(self.genesis)
        self.tiles = {(tile.level, tile.index): tile.hashes for tile in tiles}
        self.records: list[tuple[Record, ...]] = []
        self.proposals: dict[int, tuple[bytes, bytes]] = {}
        self.certificates: dict[int, list[bytes]] = {}
        self.parent = (0, self.membership.genesis_hash)
        self.view = 0
        self.tips: dict[str, Tip] = {}
        self.note: bytes | None = None
        self.spans: list[int] = [len(self.genesis)]  # leaves in each run as a replica stores them

    # --- blocks -----------------------------------------------------------------------------------

    def make_block(self, entries: Sequence[bytes], *, author: str = LAB, tip: Tip | None = None) -> Block:
        tip = tip or self.state.tip(author, self.membership.genesis_hash)
        return build_block(
            entries,
            genesis_hash=self.membership.genesis_hash,
            author=author,
            seq=tip.seq + 1,
            prev=tip.hash,
            first=tip.next_entry,
            time=START + 5,
            sign=make_keys(author).author.sign,
        )

    def make_blocks(self, author: str, counts: Sequence[int], *, size: int = 0) -> list[Block]:
        blocks: list[Block] = []
        tip = self.state.tip(author, self.membership.genesis_hash)
        for count in counts:
            numbers = range(tip.next_entry, tip.next_entry + count)
            entries = [number_entry(author, number, make_statement(number, size=size)) for number in numbers]
            block = self.make_block(entries, author=author, tip=tip)
            blocks.append(block)
            tip = Tip(block.header.seq, block.hash, block.next_entry)
        return blocks

    # --- heights ----------------------------------------------------------------------------------

    def add_height(self, blocks: Sequence[Block], *, skip_views: int = 0, time: int | None = None) -> None:
        """Append a height with honest proposal, certificates and records."""
        self.view += 1 + skip_views
        time = self.state.time + 100 if time is None else time
        chains: dict[str, list[Admitted]] = {}
        for block in blocks:
            chains.setdefault(block.header.author, []).append(Admitted.of(block))
        advance = tuple(chain[-1].ref for _, chain in sorted(chains.items()))
        place = Place(self.state.height + 1, self.view, 1, time)
        plan = extend(self.state, self.membership, place, advance, lambda _tip, ref: chains[ref.author])
        assert plan is not None
        first = self.state.size
        proposal = Proposal(1, self.view, place.height, *self.parent, time, advance, plan.state.size, plan.state.root)
        digest = proposal.digest
        certificates = [
            self.certify(view, Kind.NULLIFY, NO_DIGEST) for view in range(self.view - skip_views, self.view)
        ]
        certificates += [self.certify(self.view, kind, digest) for kind in (Kind.NOTARIZE, Kind.FINALIZE)]
        for certificate in certificates:
            self.certificates.setdefault(certificate.view, []).append(encode_certificate(certificate))
        by_ref = {block.ref: block for block in blocks}
        held = [HeldBlock(block.ref, block.leaf, block.entries) for block in blocks]
        final = FinalHeight(
            proposal, digest, first, tuple(block.ref for block in plan.blocks),
            tuple(block.count + 1 for block in plan.blocks), plan.seal, plan.tips, plan.tiles, plan.state.edge,
        )  # fmt: skip
        self.records.append((*held, *[SavedCertificate(certificate) for certificate in certificates], final))
        for admitted in plan.blocks:
            self.leaves += [*split_entries(by_ref[admitted.ref].entries), admitted.leaf]
            self.spans.append(admitted.count + 1)
        self.leaves.append(plan.seal)
        self.spans.append(1)
        self._take(plan.state, digest, proposal, {(tile.level, tile.index): tile.hashes for tile in plan.tiles})
        self.tips.update(dict(plan.tips))

    def forge_height(
        self,
        leaves: Sequence[Sequence[bytes]],
        advance: Sequence[Ref] = (),
        change: Callable[[HeightSeal], HeightSeal] = lambda seal: seal,
    ) -> None:
        """Append what no honest validator would: any leaves, in runs, under whatever seal a corrupt quorum signs."""
        self.view += 1
        height = max(self.proposals, default=0) + 1
        blocks = sum(leaf[:2] == b"\x82\x03" for run in leaves for leaf in run)
        honest = HeightSeal(height, self.view, 1, self.state.time + 100, self.membership.membership_hash, blocks)
        seal = change(honest)
        added = [*[leaf for run in leaves for leaf in run], encode_leaf(seal)]
        edge, tiles = self.state.edge.extend(b"".join(map(hash_leaf, added)))
        self.leaves += added
        self.spans += [*[len(run) for run in leaves], 1]
        proposal = Proposal(1, seal.view, height, *self.parent, seal.time, tuple(advance), edge.size, edge.root())
        for kind in (Kind.NOTARIZE, Kind.FINALIZE):
            certificate = self.certify(seal.view, kind, proposal.digest)
            self.certificates.setdefault(seal.view, []).append(encode_certificate(certificate))
        self.view = seal.view
        state = LedgerState(height, seal.time, edge, self.state.frontier)
        self._take(state, proposal.digest, proposal, {(tile.level, tile.index): tile.hashes for tile in tiles})
        self.tips.update({ref.author: self.tip_at(ref) for ref in advance})

    def tip_at(self, ref: Ref) -> Tip:
        header = next(
            header
            for leaf in self.leaves
            if leaf[:2] == b"\x82\x03" and sha256(leaf).digest() == ref.hash
            for header in [decode_header_leaf(leaf)[0]]
        )
        return Tip(header.seq, ref.hash, header.first + header.count)

    def _take(
        self, state: LedgerState, digest: bytes, proposal: Proposal, tiles: Mapping[tuple[int, int], bytes]
    ) -> None:
        self.state = state
        self.tiles.update(tiles)
        self.proposals[proposal.height] = digest, proposal.encode()
        self.parent = (self.view, digest)

    def certify(self, view: int, kind: Kind, digest: bytes, *, signers: Sequence[int] | None = None) -> Certificate:
        signers = range(self.membership.quorum) if signers is None else signers
        message = vote_bytes(self.membership.genesis_hash, 1, view, kind, digest)
        names = [self.membership.validators[index].name for index in signers]
        signatures = tuple(make_keys(name).vote.sign(message) for name in names)
        return Certificate(1, view, kind, digest, tuple(signers), signatures)

    def publish(self, *, signers: Sequence[int] | None = None, size: int | None = None) -> None:
        """Publish the current size, or another one with a made-up root."""
        size, checkpoint_root = self.state.size if size is None else size, self.state.root
        self.note = self.sign_note(Checkpoint(ORIGIN, size, checkpoint_root), signers)
        self.records.append((PublishedNote(size, self.note),))

    def sign_note(self, checkpoint: Checkpoint, signers: Sequence[int] | None = None) -> bytes:
        signers = range(len(self.membership.validators)) if signers is None else signers
        lines: list[Cosignature] = []
        for index in signers:
            time = START // 1_000 + 10 + index
            signed = make_keys(self.membership.validators[index].name).cosign.sign(checkpoint, time)
            lines.append(Cosignature(checkpoint.size, checkpoint.root, time, *signed, index))
        cosigners = Cosigners(checkpoint.origin, NETWORK, self.membership.validators)
        return cosigners.make_note(checkpoint.size, checkpoint.root, lines)

    @cached_property
    def policy(self) -> Policy:
        members: list[PolicyMember] = []
        for each in self.membership.validators:
            keys = make_keys(each.name).cosign
            raw = keys.log.public, keys.ed25519.public, keys.mldsa44.public
            members.append(PolicyMember(each.name, each.jurisdiction, *raw))
        return Policy.build(ORIGIN, NETWORK, members)

    # --- what an audit reads ------------------------------------------------------------------------

    def source(self, *, runs: str = "spans") -> MemorySource:
        edge = self.state.edge
        tiles = dict(self.tiles)
        for level, partial in enumerate(edge.partials):
            if partial:
                tiles[level, edge.size >> 8 * (level + 1)] = partial
        spans = self.spans if runs == "spans" else [256] * (len(self.leaves) // 256 + 1)
        archive = MemoryArchive(dict(self.proposals), deepcopy(self.certificates), dict(self.tips))
        return MemorySource(list(self.leaves), tiles, self.note, list(spans), archive)

    def reader(self) -> WorldReader:
        return WorldReader(self)


@dataclass(frozen=True)
class WorldPlace:
    first_index: int
    leaves: int


@dataclass
class WorldReader:
    """The world as what bundles are made from."""

    world: World

    def entry(self, index: int) -> bytes | None:
        return self.world.leaves[index] if index < len(self.world.leaves) else None

    def locate(self, index: int) -> WorldPlace | None:
        first = 0
        for leaves in self.world.spans:
            if index < first + leaves:
                return WorldPlace(first, leaves)
            first += leaves
        return None

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        found = self.world.source().tiles.get((level, index))
        return None if found is None else found[: width * 32]

    def published(self) -> PublishedNote | None:
        return None if self.world.note is None else PublishedNote(0, self.world.note)


@dataclass
class MemoryArchive:
    proposals: dict[int, tuple[bytes, bytes]]
    by_view: dict[int, list[bytes]]
    chain_tips: dict[str, Tip]
    found: list[bytes] = field(default_factory=list[bytes])

    def proposal(self, height: int) -> tuple[bytes, bytes] | None:
        return self.proposals.get(height)

    def certificates(self, epoch: int, after_view: int, up_to_view: int | None) -> list[bytes]:
        wanted = [view for view in sorted(self.by_view) if after_view < view <= (up_to_view or 1 << 64)]
        return [certificate for view in wanted for certificate in self.by_view[view]]

    def tips(self) -> Mapping[str, Tip]:
        return self.chain_tips

    def evidence(self) -> Sequence[bytes]:
        return self.found


@dataclass
class MemorySource:
    """A replica in memory, every part of which a test may change."""

    leaves: list[bytes]
    tiles: dict[tuple[int, int], bytes]
    note: bytes | None
    spans: list[int]
    kept: MemoryArchive | None
    stated_size: int | None = None
    label: str = "memory"

    @property
    def size(self) -> int:
        return len(self.leaves) if self.stated_size is None else self.stated_size

    def checkpoint(self) -> bytes | None:
        return self.note

    def runs(self) -> Iterator[Run]:
        at = 0
        for count in [*self.spans, len(self.leaves)]:
            if at < len(self.leaves):
                yield Run(at, join_entries(self.leaves[at : at + count]))
            at += count

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        found = self.tiles.get((level, index))
        return found if found is None or len(found) <= width * 32 else found[: width * 32]

    def archive(self) -> Archive | None:
        return self.kept


def make_world(*, heights: int = 3, published: bool = True, counts: Sequence[int] = (3, 2)) -> World:
    """Two labs in each height, skipped views in between, the last height published."""
    world = World()
    for height in range(heights):
        blocks = [*world.make_blocks(LAB, counts), *world.make_blocks(OTHER_LAB, (1,))]
        world.add_height(blocks, skip_views=height % 2)
    if published:
        world.publish()
    return world


def make_sealed_entry(world: World, number: int, commitment: bytes, author: str = LAB) -> bytes:
    return encode_leaf(SealedEntry(author, number, commitment))


def flip(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


def write_tiles_folder(world: World, folder: Path) -> None:
    """Write the world as a static tlog-tiles mirror of its published checkpoint."""
    assert world.note is not None
    source = world.source()
    (folder / "checkpoint").write_bytes(world.note)
    for (level, index), hashes in source.tiles.items():
        _write(folder / tile_path(level, index, len(hashes) // 32), hashes)
    for start in range(0, len(world.leaves), 256):
        entries = world.leaves[start : start + 256]
        _write(folder / entries_path(start // 256, len(entries)), join_entries(entries))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def leaves_of(block: Block) -> list[bytes]:
    return [*split_entries(block.entries), block.leaf]


def rebuild_tiles(source: MemorySource) -> None:
    """Make the tiles anew from the leaves: what a forger does who knows that tiles are compared."""
    edge, tiles = Edge.empty().extend(b"".join(map(hash_leaf, source.leaves)))
    source.tiles = {(tile.level, tile.index): tile.hashes for tile in tiles}
    for level, partial in enumerate(edge.partials):
        if partial:
            source.tiles[level, edge.size >> 8 * (level + 1)] = partial
