"""What must hold after every event, restated with arithmetic of its own: no production predicate judges here.

Only ``codec.encode``, ``Member`` fields and the records themselves are production code; quorums, digests, chains,
roots and signing discipline are worked out again from specs/agreement.md and specs/log.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from glasslog.agreement.effects import (
    CheckpointPublished,
    Cosign,
    CosignIntent,
    Effect,
    EvidenceFound,
    FinalHeight,
    Finalized,
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
    Have,
    Kind,
    Message,
    Proposal,
    SignedProposal,
    Vote,
)
from glasslog.block import Block
from simulation.oracles.certificates import Certificates
from simulation.oracles.evidence import convicts, read_accusations, read_members
from simulation.oracles.heights import Heights, Tip, tree_root
from simulation.oracles.publication import Publication, judge_intent
from simulation.oracles.violation import Violation
from simulation.oracles.witness import Witness, digest_of, is_signed
from simulation.suite import Network, verify
from simulation.swarm import Swarm

FALSE = "none: a false accusation"

__all__ = ["Height", "Oracle", "Violation", "Witness", "digest_of", "tree_root"]


@dataclass(frozen=True)
class Height:
    """One height of the one chain there may be."""

    proposal: Proposal
    digest: bytes
    size: int
    root: bytes


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
        self._genesis_hash = sha256(network.genesis[0]).digest()
        self._genesis_size = len(network.genesis)
        self._members = read_members(network.genesis)
        self._heights = Heights(network.genesis, blocks)
        self._certificates = Certificates(self._genesis_hash, swarm.quorum, self._by_index, honest)
        self.leaves = list(network.genesis)  # of every final height
        self.tips: Mapping[str, Tip] = {}
        self._final_blocks = set[bytes]()
        self._roots = dict[int, bytes]()  # of the final sizes
        self._publication = Publication(swarm.quorum, self._by_index, honest, self._roots)
        self._judged_runs = dict[int, FinalizedRun]()

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
                self._proposal(witness, signed)
            case SavedCertificate(certificate):
                self._certificates.judge(certificate)
                witness.keep(certificate)
            case HeldBlock():
                witness.held.add(record.ref.hash)
            case FinalHeight():
                self._final_height(witness, record)
            case CosignIntent():
                judge_intent(witness, record)
            case PublishedNote():
                self._publication.judge(witness, record)
            case EvidenceFound(evidence):
                self._evidence(witness, evidence)
            case StateRecovered(view):
                self._recovered(witness, view)
            case _:
                pass

    def _proposal(self, witness: Witness, signed: SignedProposal) -> None:
        """A17: what is kept as a leader's proposal carries that leader's own notarize vote."""
        digest = digest_of(signed.proposal)
        witness.proposals.add(digest)
        if digest in self.proposals:
            return
        view = signed.proposal.view
        leader = self._network.validators[view % self._swarm.validators]
        if not is_signed(self._genesis_hash, leader, (view, Kind.NOTARIZE, digest), signed.signature):
            raise Violation(f"A17 {witness.name} keeps a proposal of view {view} that {leader} did not sign")
        self.proposals[digest] = signed.proposal

    def _own_vote(self, witness: Witness, vote: Vote) -> None:
        """A1 to A6 and A10, over the key's whole life."""
        view, kind, digest = vote.view, vote.kind, vote.digest
        name = witness.name
        if witness.recovering_from is not None:
            raise Violation(f"A10 {name} signs in view {view} before it has recovered its state")
        if (view, kind, digest) in witness.votes:
            raise Violation(f"A8 {name} signed anew what it had signed in view {view}")
        if view <= witness.floor_view or vote.epoch != 1:
            raise Violation(f"A5 {name} signs in view {view} of epoch {vote.epoch}, its floor is {witness.floor_view}")
        if not is_signed(self._genesis_hash, name, (view, kind, digest), vote.signature):
            raise Violation(f"A16 what {name} signs in view {view} is not the vote with its place")
        others = witness.by_view.setdefault(view, {})
        if kind in others:
            raise Violation(f"A1 {name} signs two {kind.name} in view {view}")
        if kind is Kind.FINALIZE and Kind.NULLIFY in others:
            raise Violation(f"A3 {name} finalizes view {view} after it nullified it")
        if kind is Kind.NULLIFY and Kind.FINALIZE in others:
            raise Violation(f"A4 {name} nullifies view {view} after it finalized it")
        if kind is Kind.FINALIZE and (view, Kind.NOTARIZE, digest) not in witness.certificates:
            raise Violation(f"A3 {name} finalizes view {view} without a certificate")
        if kind is Kind.NOTARIZE:
            if Kind.NULLIFY in others:
                raise Violation(f"A2 {name} notarizes in view {view} after it nullified it")
            self._justified(witness, view, digest)
        if kind is not Kind.FINALIZE and view > 1 and view - 1 not in witness.left | {witness.floor_view}:
            raise Violation(f"A6 {name} votes in view {view} without having left view {view - 1}")
        witness.votes.add((view, kind, digest))
        others[kind] = digest

    def _justified(self, witness: Witness, view: int, digest: bytes) -> None:
        """A2 and A8: parent certified, skipped views nullified, every block durable, all before this vote."""
        name, proposal = witness.name, self.proposals.get(digest)
        if proposal is None or proposal.view != view or digest not in witness.proposals:
            raise Violation(f"A8 {name} notarizes view {view} without its proposal durable")
        parent = proposal.parent_view
        certified = {self._certificates.digest(parent, kind) for kind in (Kind.NOTARIZE, Kind.FINALIZE)}
        if parent and proposal.parent_digest not in certified:
            raise Violation(f"A2 {name} notarizes view {view} on the uncertified view {parent}")
        if not parent and proposal.parent_digest != self._genesis_hash:
            raise Violation(f"A2 {name} notarizes view {view} on no parent")
        for skipped in range(parent + 1, view):
            if self._certificates.digest(skipped, Kind.NULLIFY) is None:
                raise Violation(f"A2 {name} notarizes view {view}, but view {skipped} is not nullified")
        self._justified_durably(witness, proposal)
        for block in self._heights.work_out(digest, proposal).blocks:
            if block.hash not in witness.held:
                raise Violation(f"A8 {name} notarizes view {view} without {block.header.author} {block.header.seq}")

    def _justified_durably(self, witness: Witness, proposal: Proposal) -> None:
        """A8: the certificates that justify a vote are on the voter's own disk before it, or its floor is there."""
        view, parent = proposal.view, proposal.parent_view
        kept = {(parent, kind, proposal.parent_digest) for kind in (Kind.NOTARIZE, Kind.FINALIZE)}
        is_floor = not parent or (parent == witness.floor_view and proposal.parent_digest == witness.floor_digest)
        if not is_floor and not kept & witness.certificates:
            raise Violation(f"A8 {witness.name} notarizes view {view}, the certificate of view {parent} is not durable")
        for skipped in range(max(parent, witness.floor_view) + 1, view):
            if (skipped, Kind.NULLIFY, b"") not in witness.certificates:
                raise Violation(f"A8 {witness.name} notarizes view {view}: nullified {skipped} is not durable")

    # --- the ledger -------------------------------------------------------------------------------

    def _final_height(self, witness: Witness, record: FinalHeight) -> None:
        proposal = record.proposal
        if proposal.height != witness.height + 1 or proposal.height > len(self.chain) + 1:
            raise Violation(f"A8 {witness.name} finalizes height {proposal.height} after {witness.height}")
        if witness.final_view < proposal.view:
            raise Violation(f"A8 {witness.name} finalizes view {proposal.view}: no such certificate is durable")
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
        witness.height, witness.floor_view, witness.floor_digest = proposal.height, proposal.view, record.digest
        witness.sizes[known.size] = known.root

    def _grow(self, record: FinalHeight) -> None:
        """The first to finalize a height: work its leaves out again from what authors sealed (L6 to L8, I5)."""
        proposal, height = record.proposal, record.proposal.height
        if digest_of(proposal) != record.digest:
            raise Violation(f"A17 the digest of height {height} does not recompute")
        if proposal.parent_digest != (self.chain[-1].digest if self.chain else self._genesis_hash):
            raise Violation(f"A2 height {height} does not stand on height {height - 1}")
        worked = self._heights.work_out(record.digest, proposal)
        if [ref.hash for ref in record.blocks] != [block.hash for block in worked.blocks]:
            raise Violation(f"L7 height {height} does not append what its proposal names")
        if record.seal != worked.leaves[-1]:
            raise Violation(f"L7 the seal of height {height} does not recompute")
        for block in worked.blocks:
            holders = sum(block.hash in voter.held for voter in self._by_index if voter.name in self._honest)
            if block.hash in self._final_blocks:
                raise Violation(f"I5 {block.header.author} block {block.header.seq} is final twice")
            if holders <= self._swarm.faults:
                raise Violation(f"I5 {block.header.author} block {block.header.seq} is final and held by {holders}")
            self._final_blocks.add(block.hash)
        self.tips = worked.tips
        self.leaves += worked.leaves
        self._roots[proposal.size] = proposal.root
        self.chain.append(Height(proposal, record.digest, proposal.size, proposal.root))

    # --- evidence, lost state, the end ----------------------------------------------------------------

    def _evidence(self, witness: Witness, evidence: bytes) -> None:
        """A14: it convicts, never an honest key, and never the same key of the same fault again."""
        found = convicts(self._members, evidence, verify)
        if found is None:
            raise Violation(f"A14 {witness.name} keeps evidence that convicts nobody")
        accused, fault = found
        if accused in self._honest:
            raise Violation(f"A14 {witness.name} accuses the honest {accused} of {fault}")
        if found in witness.accused:
            raise Violation(f"A14 {witness.name} keeps the same evidence twice")
        witness.accused.add(found)

    def _recovered(self, witness: Witness, view: int) -> None:
        """A10: a finalization must have closed every view it can have signed in."""
        lost = witness.recovering_from
        if lost is None or witness.floor_view < view or witness.floor_view < lost:
            raise Violation(f"A10 {witness.name} recovers at view {view}, but had signed in view {lost}")
        witness.recovering_from = None

    def judge_end(self) -> Counter[str]:
        """When the run is over: all that was certified is one chain, and what the leaves alone convict."""
        final = {height.proposal.view: height.digest for height in self.chain}
        last = max(final, default=0)
        for view, digest in self._certificates.finals():
            if view <= last and final.get(view) != digest:
                raise Violation(f"A15 a finalize certificate of view {view} is not on the chain")
        found: Counter[str] = Counter()
        for accusation in read_accusations(self.leaves, verify):
            if accusation.convicts and accusation.accused in self._honest:
                raise Violation(f"A14 leaf {accusation.index} convicts the honest {accusation.accused}")
            if not accusation.convicts and accusation.by in self._honest:
                raise Violation(f"A14 leaf {accusation.index} by the honest {accusation.by} convicts nobody")
            found[accusation.fault if accusation.convicts else FALSE] += 1
        return found

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
                self._certificates.judge(message)
            case FinalizedRun():
                self._run(name, message)
            case Have(refs):
                for ref in refs:
                    self._held_without_gap(witness, ref.author, ref.hash)
            case Cosignature():
                if message.voter == witness.index and witness.intents.get(message.size, (b"",))[0] != message.root:
                    raise Violation(f"L9 {name} sends a cosignature of size {message.size}: its intent is not durable")
            case _:
                pass

    def _run(self, name: str, run: FinalizedRun) -> None:
        """A18: a run served is a piece of the one chain, with the certificate of its end."""
        if id(run) in self._judged_runs:
            return
        self._judged_runs[id(run)] = run
        self._certificates.judge(run.certificate)
        first = run.proposals[0].height - 1
        served = [(height.digest, height.proposal) for height in self.chain[first : first + len(run.proposals)]]
        if [proposal for _, proposal in served] != list(run.proposals) or served[-1][0] != run.certificate.digest:
            raise Violation(f"A18 {name} serves a run from height {first + 1} that is not final so")

    def _held_without_gap(self, witness: Witness, author: str, block_hash: bytes) -> None:
        """A9: a Have is for what is durable here, and for everything that leads up to it."""
        path = list[bytes]()
        while block_hash != self._genesis_hash and block_hash not in witness.gapless:
            if block_hash not in witness.held:
                raise Violation(f"A9 {witness.name} says it holds what {author} sealed, and does not")
            path.append(block_hash)
            block_hash = self._blocks[block_hash].header.prev
        witness.gapless.update(path)

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
            case Finalized(height):
                if height > self.witnesses[name].height:
                    raise Violation(f"A8 {name} shows height {height} before it is durable")
            case CheckpointPublished(size):
                if size > self.witnesses[name].published:
                    raise Violation(f"L10 {name} shows checkpoint {size} before it is durable")
            case Cosign(size):
                if size not in self.witnesses[name].intents:
                    raise Violation(f"L9 {name} cosigns size {size} before the intent is durable")
            case _:
                pass
