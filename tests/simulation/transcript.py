"""What happened, in words that a person can follow: names instead of digests, one line for each thing."""

from __future__ import annotations

from dataclasses import dataclass, field

from glasslog.agreement.effects import (
    Broadcast,
    Cosign,
    Cosigned,
    CosignIntent,
    DroppedBlocks,
    Effect,
    Event,
    EvidenceFound,
    FinalHeight,
    Finalized,
    Gossip,
    Halt,
    HeldBlock,
    Misbehaved,
    OwnVote,
    PeerDown,
    PeerUp,
    Persist,
    PublishedNote,
    Received,
    Record,
    SavedCertificate,
    SavedProposal,
    Send,
    ServeBlocks,
    ServeRun,
    StateRecovered,
    Tick,
)
from glasslog.agreement.messages import (
    Announcement,
    BlockBody,
    BlockRequest,
    Certificate,
    CertificateRequest,
    Cosignature,
    FinalizedRun,
    Have,
    Message,
    Proposal,
    Published,
    RecoveryReply,
    RecoveryRequest,
    RunRequest,
    SignedProposal,
    Status,
    Vote,
)
from glasslog.block import Ref, decode_header_leaf, ref_of


@dataclass
class Transcript:
    """Lines of a run. Digests become ``P1``, ``P2`` ... in the order in which they are first seen."""

    lines: list[str] = field(default_factory=list[str])
    _names: dict[bytes, str] = field(default_factory=dict[bytes, str])
    _blocks: dict[bytes, str] = field(default_factory=dict[bytes, str])

    def note(self, now: int, name: str, text: str) -> None:
        self.lines.append(f"{now:>6} {name:<7} ** {text}")

    def event(self, now: int, name: str, event: Event) -> None:
        self.lines.append(f"{now:>6} {name:<7} <- {self.say_event(event)}")

    def effect(self, now: int, name: str, effect: Effect) -> None:
        self.lines.append(f"{now:>6} {name:<7} -> {self.say_effect(effect)}")

    # --- words ------------------------------------------------------------------------------------

    def digest(self, digest: bytes) -> str:
        return self._names.setdefault(digest, f"P{len(self._names) + 1}") if digest else ""

    def ref(self, ref: Ref) -> str:
        """A block's author and number, with primes for the second and later sides of a fork."""
        if ref.hash not in self._blocks:
            plain = f"{ref.author}#{ref.seq}"
            self._blocks[ref.hash] = plain + "'" * sum(name.rstrip("'") == plain for name in self._blocks.values())
        return self._blocks[ref.hash]

    def refs(self, refs: tuple[Ref, ...]) -> str:
        return " ".join(map(self.ref, refs)) or "nothing"

    def proposal(self, proposal: Proposal) -> str:
        on = f"view {proposal.parent_view}"
        name = self.digest(proposal.digest)
        return f"{name} (view {proposal.view}, height {proposal.height} on {on}: {self.refs(proposal.advance)})"

    def say_event(self, event: Event) -> str:
        match event:
            case Received(peer, message):
                return f"{peer}: {self.say(message)}"
            case PeerUp(peer):
                return f"{peer} is connected"
            case PeerDown(peer):
                return f"{peer} is gone"
            case Cosigned(line):
                return f"cosigned size {line.size}"
            case Tick():
                return "tick"

    def say(self, message: Message) -> str:  # noqa: C901, PLR0911, PLR0912 - one arm for each message type
        match message:
            case SignedProposal(proposal):
                return f"proposal {self.proposal(proposal)}"
            case Vote():
                return f"{message.kind.name.lower()} view {message.view} {self.digest(message.digest)}".rstrip()
            case Certificate():
                who = ",".join(f"v{signer}" for signer in message.signers)
                kind = message.kind.name.lower()
                return f"certificate {kind} view {message.view} {self.digest(message.digest)} by {who}".replace(
                    "  ", " "
                )
            case Have(refs):
                return f"have {self.refs(refs)}"
            case BlockBody(header, _):
                return f"block {self.ref(ref_of(decode_header_leaf(header)[0], header))}"
            case BlockRequest():
                return f"wants {message.author}#{message.first_seq}..{message.last_seq}"
            case CertificateRequest(_, views):
                return f"wants certificates of views {', '.join(map(str, views))}"
            case RunRequest(height):
                return f"wants heights from {height}"
            case FinalizedRun(proposals, certificate):
                run = " ".join(self.digest(proposal.digest) for proposal in proposals)
                return f"run {run}, finalized in view {certificate.view}"
            case Cosignature():
                return f"v{message.voter} cosigns size {message.size}"
            case Status():
                at = f"view {message.view}, height {message.height}, size {message.size}"
                return f"status {at}, published {message.published}"
            case RecoveryRequest():
                return "asks what it may have forgotten"
            case RecoveryReply(_, certificate, _, published, _):
                view = 0 if certificate is None else certificate.view
                return f"answers: view {view} is certified, size {published} published"
            case Published():
                return "published checkpoint"
            case Announcement(headers):
                refs = tuple(ref_of(decode_header_leaf(header)[0], header) for header in headers)
                return f"announces {self.refs(refs)}"

    def say_record(self, record: Record) -> str:  # noqa: PLR0911 - one arm for each record
        match record:
            case HeldBlock(ref):
                return f"block {self.ref(ref)}"
            case DroppedBlocks(refs):
                return f"drop {self.refs(refs)}"
            case OwnVote(vote):
                return f"own {self.say(vote)}"
            case SavedProposal(signed):
                return f"proposal {self.digest(signed.proposal.digest)}"
            case SavedCertificate(certificate):
                return self.say(certificate)
            case FinalHeight():
                return f"height {record.proposal.height} = {self.digest(record.digest)}: {self.refs(record.blocks)}"
            case CosignIntent(size):
                return f"about to cosign size {size}"
            case PublishedNote(size):
                return f"note of size {size}"
            case EvidenceFound():
                return "evidence"
            case StateRecovered(view):
                return f"state recovered at view {view}"

    def say_effect(self, effect: Effect) -> str:  # noqa: PLR0911 - one arm for each effect
        match effect:
            case Persist(records):
                return "persist " + "; ".join(map(self.say_record, records))
            case Send(peer, message):
                return f"to {peer}: {self.say(message)}"
            case Broadcast(audience, message):
                return f"to all {audience.value}: {self.say(message)}"
            case Gossip(message):
                return f"gossip: {self.say(message)}"
            case ServeBlocks():
                return f"to {effect.peer}: stored {effect.author}#{effect.first_seq}..{effect.last_seq}"
            case ServeRun(peer, height):
                return f"to {peer}: stored heights from {height}"
            case Cosign(size):
                return f"cosign size {size}"
            case Finalized():
                return f"final: height {effect.height}, size {effect.size}"
            case Misbehaved(peer, code, fact):
                return f"{peer} misbehaved: {code} {fact}"
            case Halt(code, fact):
                return f"HALT {code} {fact}"
            case _:
                return type(effect).__name__
