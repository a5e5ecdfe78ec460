"""What goes into ``Replica.step`` and what comes out (specs/agreement.md, section "The seam").

Contract for the shell: carry out the effects of all steps in the order in which they were returned, through
ONE queue. Nothing that comes after a ``Persist`` may become visible outside the process, by message, HTTP
answer or signature, before that ``Persist`` is on stable storage (A8). If persisting fails, stop: carry out
no later effect. Several ``Persist`` may be made durable by one sync. Losing any suffix of the queue in a
crash is safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from glasslog.agreement.messages import Certificate, Cosignature, Message, Proposal, SignedProposal, Vote
from glasslog.block import Ref
from glasslog.ledger import Tip
from glasslog.tiles import Edge, Tile

# --- time -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Now:
    """The shell's clocks at a step, in milliseconds: one that only goes forward, and the wall clock."""

    mono: int
    wall: int


# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A decoded message from an authenticated member; the replica's own name for its own author's blocks."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A connection to this member now works."""

    peer: str


@dataclass(frozen=True, slots=True)
class PeerDown:
    """The connection to this member is gone."""

    peer: str


@dataclass(frozen=True, slots=True)
class Tick:
    """``Replica.deadline`` has passed. Early or spurious ticks are harmless."""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The shell carried out a ``Cosign``."""

    cosignature: Cosignature


Event: TypeAlias = Received | PeerUp | PeerDown | Tick | Cosigned

# --- durable records (each is one fact; a Persist is all-or-nothing) --------------------------------


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """An author's block, admitted: header leaf and entry bundle, kept whole under ``ref``."""

    ref: Ref
    header: bytes
    entries: bytes


@dataclass(frozen=True, slots=True)
class DroppedBlocks:
    """Held blocks that can never be finalized any more: fork siblings of finalized ones."""

    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class OwnVote:
    """A vote of this validator's own. Kept until its view is at or below the floor, and never rewritten."""

    vote: Vote


@dataclass(frozen=True, slots=True)
class SavedProposal:
    """A proposal this replica voted for, made, or needs for a certificate."""

    signed: SignedProposal


@dataclass(frozen=True, slots=True)
class SavedCertificate:
    """A certificate formed or received. Archived for good: forensics need all of an epoch's."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class FinalHeight:
    """One height became final: everything that moves with it, in one transaction (A8).

    The log grows from ``first_index`` by the leaves of ``blocks`` in order (each its entries, then its
    header) and then ``seal``. ``tips`` are the frontier entries that changed. ``tiles`` are the full tiles
    this height completed; ``edge`` the partial ones after it. Own votes and proposals at views up to
    ``proposal.view`` are deleted with it.
    """

    proposal: Proposal
    digest: bytes
    first_index: int
    blocks: tuple[Ref, ...]
    block_leaves: tuple[int, ...]  # number of leaves of each block, header included
    seal: bytes
    tips: tuple[tuple[str, Tip], ...]
    tiles: tuple[Tile, ...]
    edge: Edge


@dataclass(frozen=True, slots=True)
class CosignIntent:
    """(size, root, time in seconds) that this validator is about to cosign: durable first, never smaller later."""

    size: int
    root: bytes
    time: int


@dataclass(frozen=True, slots=True)
class PublishedNote:
    """The published checkpoint: a signed note with q distinct validators' lines. Never replaced by a smaller one."""

    size: int
    note: bytes


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """Two signed statements that no honest key makes both (A14), as canonical evidence bytes."""

    evidence: bytes


@dataclass(frozen=True, slots=True)
class StateRecovered:
    """A member that had lost state may vote again: a finalization at ``view`` closed all it can have signed (A10)."""

    view: int


Record: TypeAlias = (
    HeldBlock
    | DroppedBlocks
    | OwnVote
    | SavedProposal
    | SavedCertificate
    | FinalHeight
    | CosignIntent
    | PublishedNote
    | EvidenceFound
    | StateRecovered
)

# --- effects --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Persist:
    """Make these records durable, atomically, before carrying out any later effect."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Send to one member; may be lost."""

    peer: str
    message: Message


class Audience(Enum):
    """Who a broadcast is for, always without the sender."""

    VALIDATORS = "validators"
    MEMBERS = "members"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send to every connected member of the audience; may be lost to any of them."""

    audience: Audience
    message: Message


@dataclass(frozen=True, slots=True)
class Gossip:
    """Announce to the whole network; best effort, for members not connected directly."""

    message: Message


@dataclass(frozen=True, slots=True)
class ServeBlocks:
    """Send ``peer`` the stored blocks ``first_seq..last_seq`` on the chain ending in ``last_hash``, oldest first."""

    peer: str
    author: str
    first_seq: int
    last_seq: int
    last_hash: bytes


@dataclass(frozen=True, slots=True)
class ServeRun:
    """Send ``peer`` a ``FinalizedRun`` of stored heights that starts at ``height``."""

    peer: str
    height: int


@dataclass(frozen=True, slots=True)
class Cosign:
    """Sign this checkpoint with the 0x01, 0x04 and 0x06 keys and step with ``Cosigned``."""

    size: int
    root: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Finalized:
    """Tell readers: this height is final and durable here. Indices below ``size`` may be shown from now on."""

    height: int
    size: int
    root: bytes
    time: int
    blocks: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class CheckpointPublished:
    """Tell readers: this checkpoint is published and durable here."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """Evidence against a member, durable by now, to be entered into the ledger (A14)."""

    evidence: bytes


@dataclass(frozen=True, slots=True)
class AuthorRecovered:
    """n-f validators have said where this author's chain ends: sealing may go on after ``tip`` (A10)."""

    tip: Tip


@dataclass(frozen=True, slots=True)
class Misbehaved:
    """A peer's message broke a rule. Nothing of it was used."""

    peer: str
    code: str
    fact: str


@dataclass(frozen=True, slots=True)
class Halt:
    """A contradiction that no correct network can produce. Stop voting, keep the state, tell a person."""

    code: str
    fact: str


Effect: TypeAlias = (
    Persist
    | Send
    | Broadcast
    | Gossip
    | ServeBlocks
    | ServeRun
    | Cosign
    | Finalized
    | CheckpointPublished
    | Report
    | AuthorRecovered
    | Misbehaved
    | Halt
)
