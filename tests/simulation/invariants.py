"""What must hold after every event, restated with arithmetic of its own: no production predicate judges here.

Only ``codec.encode``, ``Member`` fields and the records themselves are production code; quorums, digests, chains,
roots and signing discipline are worked out again from specs/agreement.md and specs/log.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from glasslog import codec
from glasslog.agreement.effects import (
    Cosign,
    CosignIntent,
    Effect,
    EvidenceFound,
    FinalHeight,
    HeldBlock,
    Misbehaved,
    OwnVote,
    PublishedNote,
    Record,
    SavedCertificate,
    SavedProposal,
    StateRecovered,
)
from glasslog.agreement.effects import Halt as HaltEffect
from glasslog.agreement.messages import (
    Certificate,
    Cosignature,
    FinalizedRun,
    Kind,
    Message,
    Proposal,
    SignedProposal,
    Vote,
)
from glasslog.block import Block
from simulation.suite import Network
from simulation.swarm import Swarm


class Violation(AssertionError):  # noqa: N818 - what was found, not an error of ours
    """An invariant does not hold; the text begins with its rule or with LIVENESS."""


Signed = tuple[int, Kind, bytes]


@dataclass
class Witness:
    """All that one honest member ever did, over all its restarts. Never forgets, whatever its disk does."""

    name: str
    index: int | None
    votes: set[Signed] = field(default_factory=set[Signed])
    by_view: dict[int, dict[Kind, bytes]] = field(default_factory=dict[int, dict[Kind, bytes]])
    held: set[bytes] = field(default_factory=set[bytes])  # block hashes on its disk, ever
    sizes: dict[int, bytes] = field(default_factory=dict[int, bytes])  # final size to root, ever
    floor_view: int = 0
    height: int = 0
    published: int = 0
    intents: dict[int, tuple[bytes, int]] = field(default_factory=dict[int, tuple[bytes, int]])
    intent_size: int = 0
    recovering_from: int | None = None  # highest view it may have signed in when it lost its state
    accused: set[bytes] = field(default_factory=set[bytes])

    def lose(self) -> None:
        """Its disk is gone or older: positions start again, what was signed stays signed."""
        self.recovering_from = max((view for view, _, _ in self.votes), default=0)
        self.floor_view = self.height = self.published = self.intent_size = 0
        self.accused.clear()  # it may find and keep the same evidence again


@dataclass(frozen=True)
class Height:
    """One height of the one chain there may be."""

    proposal: Proposal
    digest: bytes
    size: int
    root: bytes


def digest_of(proposal: Proposal) -> bytes:
    refs: list[codec.Value] = [[ref.author, ref.seq, ref.hash] for ref in proposal.advance]
    fields: list[codec.Value] = [
        proposal.epoch, proposal.view, proposal.height, proposal.parent_view, proposal.parent_digest,
        proposal.time, refs, proposal.size, proposal.root,
    ]  # fmt: skip
    return sha256(b"glasslog/proposal/v1\0" + codec.encode(fields)).digest()


def tree_root(hashes: list[bytes]) -> bytes:
    """RFC 9162 2.1.1, as it is written there."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1" + tree_root(hashes[:split]) + tree_root(hashes[split:])).digest()


class Oracle:
    """Watches every record that honest members make durable and every message that leaves them."""

    def __init__(self, swarm: Swarm, network: Network, honest: set[str], blocks: Mapping[bytes, Block]) -> None:
        self._swarm = swarm
        self._network = network
        self._honest = honest
        self._blocks = blocks  # every block any author ever sealed, by hash
        self.witnesses = {
            name: Witness(name, network.validators.index(name) if name in network.validators else None)
            for name in network.names
        }
        self._by_index = [self.witnesses[name] for name in network.validators]
        self.chain: list[Height] = []
        self.proposals: dict[bytes, Proposal] = {}
        self._certified: dict[tuple[int, Kind], bytes] = {}
        self._seen_certificates = set[int]()
        self._kept_certificates = list[Certificate]()  # keeps their ids from being reused
        self._leaf_hashes = [sha256(b"\0" + leaf).digest() for leaf in network.genesis]
        self._genesis_size = len(self._leaf_hashes)
        self._genesis_hash = sha256(network.genesis[0]).digest()
        self._membership_hash = tree_root(self._leaf_hashes[1:])
        self.tips: dict[str, tuple[int, bytes, int]] = {}
        self._final_blocks = set[bytes]()

    @property
    def size(self) -> int:
        """Size of the log at the last final height."""
        return self.chain[-1].size if self.chain else self._genesis_size

    def is_final(self, block_hash: bytes) -> bool:
        """Whether some honest member has this block in a final height."""
        return block_hash in self._final_blocks

    def expect_faulty(self, name: str) -> None:
        """From now on this member may be accused."""
        self._honest.discard(name)

    # --- records ----------------------------------------------------------------------------------

    def on_record(self, name: str, record: Record) -> None:
        """Judge one record of an honest member at the moment it becomes durable."""
        witness = self.witnesses[name]
        match record:
            case OwnVote(vote):
                self._own_vote(witness, vote)
            case SavedProposal(signed):
                self.proposals[digest_of(signed.proposal)] = signed.proposal
            case SavedCertificate(certificate):
                self._certificate(certificate)
            case HeldBlock():
                witness.held.add(record.ref.hash)
            case FinalHeight():
                self._final_height(witness, record)
            case CosignIntent():
                self._intent(witness, record)
            case PublishedNote():
                self._published(witness, record)
            case EvidenceFound(evidence):
                self._evidence(witness, evidence)
            case StateRecovered(view):
                self._recovered(witness, view)
            case _:
                pass

    def _own_vote(self, witness: Witness, vote: Vote) -> None:
        """A1 to A5 and A10, over the key's whole life."""
        view, kind, digest = vote.view, vote.kind, vote.digest
        name = witness.name
        if witness.recovering_from is not None:
            raise Violation(f"A10 {name} signs in view {view} before it has recovered its state")
        if (view, kind, digest) in witness.votes:
            raise Violation(f"A8 {name} signed anew what it had signed in view {view}")
        if view <= witness.floor_view:
            raise Violation(f"A5 {name} signs in view {view}, its floor is {witness.floor_view}")
        others = witness.by_view.setdefault(view, {})
        if kind in others:
            raise Violation(f"A1 {name} signs two {kind.name} in view {view}")
        if kind is Kind.FINALIZE and Kind.NULLIFY in others:
            raise Violation(f"A3 {name} finalizes view {view} after it nullified it")
        if kind is Kind.NULLIFY and Kind.FINALIZE in others:
            raise Violation(f"A4 {name} nullifies view {view} after it finalized it")
        if kind is Kind.NOTARIZE:
            if Kind.NULLIFY in others:
                raise Violation(f"A2 {name} notarizes in view {view} after it nullified it")
            self._justified(witness, view, digest)
        if kind is Kind.FINALIZE and self._certified.get((view, Kind.NOTARIZE)) != digest:
            raise Violation(f"A3 {name} finalizes view {view} without a certificate")
        witness.votes.add((view, kind, digest))
        others[kind] = digest

    def _justified(self, witness: Witness, view: int, digest: bytes) -> None:
        """A2 and A8: parent certified, skipped views nullified, every block durable, all before this vote."""
        proposal = self.proposals.get(digest)
        if proposal is None or proposal.view != view:
            raise Violation(f"A8 {witness.name} notarizes view {view} without its proposal durable")
        parent = proposal.parent_view
        certified = {self._certified.get((parent, Kind.NOTARIZE)), self._certified.get((parent, Kind.FINALIZE))}
        if parent and proposal.parent_digest not in certified:
            raise Violation(f"A2 {witness.name} notarizes view {view} on the uncertified view {parent}")
        if not parent and proposal.parent_digest != self._genesis_hash:
            raise Violation(f"A2 {witness.name} notarizes view {view} on no parent")
        for skipped in range(parent + 1, view):
            if (skipped, Kind.NULLIFY) not in self._certified:
                raise Violation(f"A2 {witness.name} notarizes view {view}, but view {skipped} is not nullified")
        for ref in proposal.advance:
            if ref.hash not in witness.held:
                raise Violation(f"A8 {witness.name} notarizes view {view} without {ref.author} block {ref.seq}")

    def _certificate(self, certificate: Certificate) -> None:
        """A15: q distinct validators, each honest one having durably signed; no two that exclude each other."""
        if id(certificate) in self._seen_certificates:
            return
        view, kind, digest = certificate.view, certificate.kind, certificate.digest
        if len(set(certificate.signers)) < self._swarm.quorum:
            raise Violation(f"A15 {kind.name} certificate of view {view} by {certificate.signers}")
        for signer in certificate.signers:
            witness = self._by_index[signer]
            if witness.name in self._honest and (view, kind, digest) not in witness.votes:
                raise Violation(f"A8 {witness.name} is in the {kind.name} certificate of view {view}: never durable")
        if self._certified.setdefault((view, kind), digest) != digest:
            raise Violation(f"A15 two {kind.name} certificates in view {view}")
        final, noted = self._certified.get((view, Kind.FINALIZE)), self._certified.get((view, Kind.NOTARIZE))
        if final is not None and (view, Kind.NULLIFY) in self._certified:
            raise Violation(f"A15 view {view} is both nullified and finalized")
        if final is not None and noted is not None and final != noted:
            raise Violation(f"A15 view {view}: notarized and finalized proposals differ")
        self._seen_certificates.add(id(certificate))
        self._kept_certificates.append(certificate)

    # --- the ledger -------------------------------------------------------------------------------

    def _final_height(self, witness: Witness, record: FinalHeight) -> None:
        proposal = record.proposal
        if proposal.height != witness.height + 1 or proposal.height > len(self.chain) + 1:
            raise Violation(f"A8 {witness.name} finalizes height {proposal.height} after {witness.height}")
        if proposal.height == len(self.chain) + 1:
            self._grow(record)
        known = self.chain[proposal.height - 1]
        if (record.digest, record.proposal) != (known.digest, known.proposal):
            raise Violation(f"A3 {witness.name} finalizes another height {proposal.height} than was final before")
        before = self.chain[proposal.height - 2].size if proposal.height > 1 else self._genesis_size
        if (record.first_index, record.edge.size, record.edge.root()) != (before, known.size, known.root):
            raise Violation(f"L8 {witness.name}: size or root of height {proposal.height} do not recompute")
        for ref in record.blocks:
            if ref.hash not in witness.held:
                raise Violation(f"A8 {witness.name} finalizes {ref.author} block {ref.seq} without holding it")
        if proposal.view <= witness.floor_view:
            raise Violation(f"A5 {witness.name}: the floor goes from {witness.floor_view} to {proposal.view}")
        witness.height, witness.floor_view = proposal.height, proposal.view
        witness.sizes[known.size] = known.root

    def _grow(self, record: FinalHeight) -> None:
        """The first to finalize a height: work its leaves out again from what authors sealed (L7, L8)."""
        proposal = record.proposal
        parent = self.chain[-1] if self.chain else None
        view, digest, time = (
            (parent.proposal.view, parent.digest, parent.proposal.time) if parent else (0, self._genesis_hash, 1_000)
        )
        if digest_of(proposal) != record.digest:
            raise Violation(f"A17 the digest of height {proposal.height} does not recompute")
        if (proposal.parent_view, proposal.parent_digest) != (view, digest) or proposal.time <= time:
            raise Violation(f"A2 height {proposal.height} does not stand on height {proposal.height - 1}")
        reached = dict[str, tuple[int, bytes]]()
        for ref in record.blocks:
            self._append(self._blocks[ref.hash])
            reached[ref.author] = ref.seq, ref.hash
        if list(reached) != sorted(reached) or [(ref.author, (ref.seq, ref.hash)) for ref in proposal.advance] != list(
            reached.items()
        ):
            raise Violation(f"L7 height {proposal.height} does not append what its proposal names")
        seal = codec.encode(
            [2, proposal.height, proposal.view, 1, proposal.time, self._membership_hash, len(record.blocks)]
        )
        if seal != record.seal:
            raise Violation(f"L7 the seal of height {proposal.height} does not recompute")
        self._leaf_hashes.append(sha256(b"\0" + seal).digest())
        size, root = len(self._leaf_hashes), tree_root(self._leaf_hashes)
        if (proposal.size, proposal.root) != (size, root):
            raise Violation(f"L8 size or root of height {proposal.height} do not recompute")
        self.chain.append(Height(proposal, record.digest, size, root))

    def _append(self, block: Block) -> None:
        """L6: every author's chain without gap, every block exactly once."""
        header = block.header
        seq, prev, first = self.tips.get(header.author, (0, self._genesis_hash, 0))
        if (header.seq, header.prev, header.first) != (seq + 1, prev, first):
            raise Violation(f"L6 {header.author} block {header.seq} is appended after block {seq}")
        self.tips[header.author] = header.seq, block.hash, header.first + header.count
        self._final_blocks.add(block.hash)
        entries, at = block.entries, 0
        for _ in range(header.count):
            end = at + 2 + int.from_bytes(entries[at : at + 2], "big")
            self._leaf_hashes.append(sha256(b"\0" + entries[at + 2 : end]).digest())
            at = end
        self._leaf_hashes.append(sha256(b"\0" + block.leaf).digest())

    # --- publication and evidence -----------------------------------------------------------------

    def _intent(self, witness: Witness, intent: CosignIntent) -> None:
        """L9: only what is final here, never smaller, never another root, never an earlier time."""
        name, size = witness.name, intent.size
        if witness.recovering_from is not None:
            raise Violation(f"A10 {name} cosigns size {size} before it has recovered its state")
        if witness.sizes.get(size) != intent.root:
            raise Violation(f"L9 {name} cosigns size {size}, which is not final there")
        if size < witness.intent_size:
            raise Violation(f"L9 {name} cosigns size {size} after {witness.intent_size}")
        root, time = witness.intents.get(size, (intent.root, 0))
        if root != intent.root or intent.time < time:
            raise Violation(f"L9 {name} cosigns size {size} with another root or an earlier time")
        witness.intents[size] = intent.root, intent.time
        witness.intent_size = size

    def _published(self, witness: Witness, record: PublishedNote) -> None:
        """L10: q distinct validators under one final size and root; published sizes never shrink."""
        note = codec.decode(record.note, size_max=1 << 20)
        match note:
            case [int(size), bytes(root), list(lines)]:
                voters = [line[0] for line in lines if isinstance(line, list)]
            case _:
                raise Violation(f"L10 {witness.name} publishes what is no note")
        final = {height.size: height.root for height in self.chain}
        if size != record.size or final.get(size) != root:
            raise Violation(f"L10 {witness.name} publishes size {size}, which is not final")
        if len(set(voters)) < self._swarm.quorum or len(set(voters)) != len(voters):
            raise Violation(f"L10 {witness.name} publishes size {size} with {voters}")
        for voter in voters:
            cosigner = self._by_index[voter] if isinstance(voter, int) else witness
            if cosigner.name in self._honest and size not in cosigner.intents:
                raise Violation(f"L9 {cosigner.name} is under size {size} and never meant to cosign it")
        if size < witness.published:
            raise Violation(f"L10 {witness.name} publishes size {size} after {witness.published}")
        witness.published = size

    def _evidence(self, witness: Witness, evidence: bytes) -> None:
        """A14: an honest key is never accused."""
        match codec.decode(evidence, size_max=1 << 16):
            case [str(), str(fault), int(), str(accused), bytes(first), bytes(second)] if first < second:
                if accused in self._honest:
                    raise Violation(f"A14 {witness.name} accuses the honest {accused} of {fault}")
            case _:
                raise Violation(f"A14 {witness.name} keeps evidence that is none")
        if evidence in witness.accused:
            raise Violation(f"A14 {witness.name} keeps the same evidence twice")
        witness.accused.add(evidence)

    def _recovered(self, witness: Witness, view: int) -> None:
        """A10: a finalization must have closed every view it can have signed in."""
        lost = witness.recovering_from
        if lost is None or witness.floor_view < view or witness.floor_view < lost:
            raise Violation(f"A10 {witness.name} recovers at view {view}, but had signed in view {lost}")
        witness.recovering_from = None

    # --- effects ----------------------------------------------------------------------------------

    def on_send(self, name: str, message: Message) -> None:
        """A8: whatever leaves an honest member with its own signature in it was durable before."""
        witness = self.witnesses[name]
        match message:
            case Vote():
                self._durable(witness, message.voter, message.view, message.kind, message.digest)
            case SignedProposal(proposal, _):
                leader = proposal.view % self._swarm.validators
                if leader == witness.index:
                    self._durable(witness, leader, proposal.view, Kind.NOTARIZE, digest_of(proposal))
            case Certificate():
                self._certificate(message)
            case FinalizedRun(_, certificate):
                self._certificate(certificate)
            case Cosignature():
                if message.voter == witness.index and witness.intents.get(message.size, (b"",))[0] != message.root:
                    raise Violation(f"L9 {name} sends a cosignature of size {message.size}: its intent is not durable")
            case _:
                pass

    def _durable(self, witness: Witness, voter: int, view: int, kind: Kind, digest: bytes) -> None:
        if voter == witness.index and (view, kind, digest) not in witness.votes:
            raise Violation(f"A8 {witness.name} sends its {kind.name} of view {view} before it is durable")

    def on_effect(self, name: str, effect: Effect) -> None:
        """An honest member never halts, and never takes another honest one for faulty."""
        match effect:
            case HaltEffect(code, fact):
                raise Violation(f"{code} {name} halts: {fact}")
            case Misbehaved(peer, code, fact):
                if peer in self._honest and peer in self._network.names:
                    raise Violation(f"{code} {name} takes the honest {peer} for faulty: {fact}")
            case Cosign(size):
                if size not in self.witnesses[name].intents:
                    raise Violation(f"L9 {name} cosigns size {size} before the intent is durable")
            case _:
                pass
