"""What a replica finds on its disk at boot: the pure fold of every record it ever persisted.

``Durable.apply`` is the meaning of a record. The simulator uses it as its disk; the LMDB store must load
exactly what it gives (tests/node/test_store_fold.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from glasslog.agreement.effects import (
    CosignIntent,
    DroppedBlocks,
    EvidenceFound,
    FinalHeight,
    HeldBlock,
    OwnVote,
    PublishedNote,
    Record,
    SavedCertificate,
    SavedProposal,
    StateRecovered,
)
from glasslog.agreement.messages import Certificate, Kind, SignedProposal, Vote
from glasslog.block import Ref
from glasslog.ledger import Tip, genesis_state
from glasslog.membership import Membership, read_genesis
from glasslog.tiles import Edge


@dataclass(frozen=True, slots=True)
class Floor:
    """The last finalized height: nothing is ever signed at or below its view (A5). ``time`` in ms."""

    epoch: int
    view: int
    height: int
    digest: bytes
    time: int


@dataclass(slots=True)
class Durable:
    """All that outlives a crash, as a replica needs it; the leaves themselves stay in the store.

    ``lost`` says that votes may have been signed which are not here (A10).
    """

    genesis: tuple[bytes, ...]
    floor: Floor
    edge: Edge
    frontier: dict[str, Tip]
    votes: dict[tuple[int, Kind], Vote] = field(default_factory=dict[tuple[int, Kind], Vote])
    proposals: dict[bytes, SignedProposal] = field(default_factory=dict[bytes, SignedProposal])
    certificates: dict[tuple[int, Kind], Certificate] = field(default_factory=dict[tuple[int, Kind], Certificate])
    finalize_certificate: Certificate | None = None
    blocks: dict[Ref, HeldBlock] = field(default_factory=dict[Ref, HeldBlock])
    intent: CosignIntent | None = None
    published: PublishedNote | None = None
    evidence: list[bytes] = field(default_factory=list[bytes])
    lost: bool = False

    @classmethod
    def fresh(cls, genesis: Sequence[bytes]) -> Durable:
        """Return the state of a replica that has seen nothing but the genesis leaves."""
        founded, membership = read_genesis(genesis)
        state, _ = genesis_state(genesis, founded.time)
        return cls(tuple(genesis), genesis_floor(membership, founded.time), state.edge, {})

    def apply(self, record: Record) -> None:
        """Fold one record in."""
        match record:
            case HeldBlock():
                self.blocks[record.ref] = record
            case DroppedBlocks(refs):
                for ref in refs:
                    self.blocks.pop(ref, None)
            case OwnVote(vote):
                self.votes[vote.view, vote.kind] = vote
            case SavedProposal(signed):
                self.proposals[signed.proposal.digest] = signed
            case SavedCertificate(certificate):
                self._save_certificate(certificate)
            case FinalHeight():
                self._finalize(record)
            case CosignIntent():
                self.intent = record
            case PublishedNote():
                self.published = record
            case EvidenceFound(evidence):
                self.evidence.append(evidence)
            case StateRecovered():
                self.lost = False

    def _save_certificate(self, certificate: Certificate) -> None:
        if certificate.view > self.floor.view:
            self.certificates[certificate.view, certificate.kind] = certificate
        best = self.finalize_certificate
        if certificate.kind is Kind.FINALIZE and (best is None or certificate.view > best.view):
            self.finalize_certificate = certificate

    def _finalize(self, record: FinalHeight) -> None:
        proposal = record.proposal
        view = proposal.view
        self.floor = Floor(proposal.epoch, view, proposal.height, record.digest, proposal.time)
        self.edge = record.edge
        self.frontier.update(dict(record.tips))
        self.votes = {key: vote for key, vote in self.votes.items() if key[0] > view}
        self.certificates = {key: certificate for key, certificate in self.certificates.items() if key[0] > view}
        self.proposals = {digest: signed for digest, signed in self.proposals.items() if signed.proposal.view > view}
        for ref in record.blocks:
            self.blocks.pop(ref, None)


def genesis_floor(membership: Membership, time: int) -> Floor:
    """Return the floor before the first view of epoch 1: the genesis hash is its digest (A17)."""
    return Floor(1, 0, 0, membership.genesis_hash, time)
