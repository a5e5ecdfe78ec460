"""Faulty validators that each tell one lie, as cleverly as a mutated core lets them: else its rule is never tried.

A liar is a replica that signs with its own key only. Where a lie has to be consistent (a height with the wrong
blocks still needs the right root), it works it out with the core it runs on, fault included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from glasslog import codec
from glasslog.agreement.effects import Audience
from glasslog.agreement.messages import (
    Certificate,
    Cosignature,
    FinalizedRun,
    Kind,
    Message,
    Proposal,
    RecoveryReply,
    SignedProposal,
    Vote,
    vote_bytes,
)
from glasslog.agreement.replica import Replica
from glasslog.block import Ref
from glasslog.errors import AdmissionError
from glasslog.ledger import LedgerState, Place, extend
from simulation.suite import public_key, sign

NOBODYS = b"\5" * 64  # a signature that nobody made
HOUR = 3_600_000


class Liar(Replica):
    """Tells ``lies`` instead of what an honest replica would broadcast."""

    lie: ClassVar[str] = ""
    carrier: ClassVar[str] = (
        "double-voting"  # the behaviour of the simulation that lets it speak, among what it does itself
    )

    def broadcast(self, message: Message, audience: Audience = Audience.VALIDATORS) -> None:
        for lie in self.lies(message):
            super().broadcast(lie, audience)

    def lies(self, message: Message) -> Iterator[Message]:
        """Yield what is said instead."""
        yield message

    def own(self, message: Message) -> Proposal | None:
        """Return the proposal in a message when it is this validator's to make."""
        if not isinstance(message, SignedProposal) or self.membership.leader(message.proposal.view) != self.index:
            return None
        return message.proposal

    def signed(self, proposal: Proposal) -> SignedProposal:
        """Sign a proposal as its leader."""
        return SignedProposal(proposal, self.vote(proposal.view, Kind.NOTARIZE, proposal.digest).signature)

    def vote(self, view: int, kind: Kind, digest: bytes) -> Vote:
        """Sign any vote, whatever was signed before."""
        assert self.index is not None
        assert self.config.sign_vote is not None
        message = vote_bytes(self.membership.genesis_hash, 1, view, kind, digest)
        return Vote(1, view, kind, digest, self.index, self.config.sign_vote(message))

    def parent_state(self, proposal: Proposal) -> LedgerState | None:
        """Return the ledger that a proposal stands on."""
        try:
            parent = self.branches.parent(proposal.parent_view, proposal.parent_digest)
        except AdmissionError:
            return None
        return None if parent is None else parent.state

    def worked_out(self, proposal: Proposal) -> Proposal | None:
        """Return the proposal with the size and root that its claims give on this core, where it admits them."""
        state = self.parent_state(proposal)
        if state is None:
            return None
        place = Place(proposal.height, proposal.view, proposal.epoch, proposal.time)
        try:
            plan = extend(state, self.membership, place, proposal.advance, self.shelf.chain_of)
        except AdmissionError:
            return None
        return None if plan is None else replace(proposal, size=plan.state.size, root=plan.state.root)


class ProposalLiar(Liar):
    """Changes its own proposals."""

    def lies(self, message: Message) -> Iterator[Message]:
        proposal = self.own(message)
        changed = None if proposal is None else self.changed(proposal)
        yield message if changed is None else self.signed(changed)

    def changed(self, proposal: Proposal) -> Proposal | None:
        """Return the lie, or None where there is none to tell."""
        return None


class WrongSize(ProposalLiar):
    lie = "a size that does not recompute"

    def changed(self, proposal: Proposal) -> Proposal | None:
        return replace(proposal, size=proposal.size + 1)


class WrongRoot(ProposalLiar):
    lie = "a root that does not recompute"

    def changed(self, proposal: Proposal) -> Proposal | None:
        return replace(proposal, root=b"\6" * 32)


class WrongHeight(ProposalLiar):
    lie = "a height left out"

    def changed(self, proposal: Proposal) -> Proposal | None:
        return self.worked_out(replace(proposal, height=proposal.height + 1))


class OldTime(ProposalLiar):
    lie = "the parent's time again"

    def changed(self, proposal: Proposal) -> Proposal | None:
        state = self.parent_state(proposal)
        return None if state is None else self.worked_out(replace(proposal, time=state.time))


class FarTime(ProposalLiar):
    lie = "a time an hour ahead"

    def changed(self, proposal: Proposal) -> Proposal | None:
        return self.worked_out(replace(proposal, time=proposal.time + HOUR))


class OffChain(ProposalLiar):
    lie = "a block that does not follow"

    def changed(self, proposal: Proposal) -> Proposal | None:
        """Name, of some author, a held block that no honest leader would name now."""
        state = self.parent_state(proposal)
        if state is None:
            return None
        for author in self.shelf.authors():
            tip = state.tip(author, self.membership.genesis_hash)
            right = {block.ref for block in self.shelf.forward(author, tip)}
            held = self.shelf._authors[author].blocks.values()
            for ref in [block.ref for block in held if block.ref not in right and block.ref.seq > tip.seq]:
                others = [other for other in proposal.advance if other.author != author]
                advance: tuple[Ref, ...] = tuple(sorted([*others, ref], key=lambda ref: ref.author))
                changed = self.worked_out(replace(proposal, advance=advance))
                if changed is not None:
                    return changed
        return None


class TwinParent(Liar):
    lie = "two proposals, and a child of the wrong one"

    def lies(self, message: Message) -> Iterator[Message]:
        proposal = self.own(message)
        if proposal is None:
            yield message
            return
        round_ = self.tally.rounds.get(proposal.parent_view)
        for other in () if round_ is None else round_.proposals:
            if other.proposal.digest != proposal.parent_digest:
                yield other  # so that whoever shall judge the child knows its parent
                changed = self.worked_out(replace(proposal, parent_digest=other.proposal.digest))
                yield message if changed is None else self.signed(changed)
                return
        yield message
        twin = self.worked_out(replace(proposal, time=proposal.time + 1))
        if twin is not None:
            yield self.signed(twin)


class ForgedVotes(Liar):
    lie = "votes that others never signed"

    def lies(self, message: Message) -> Iterator[Message]:
        yield message
        if isinstance(message, Vote):
            for voter in range(len(self.membership.validators)):
                if voter != self.index:
                    yield replace(message, voter=voter, signature=NOBODYS)


class ForgedProposals(Liar):
    lie = "proposals that their leader never signed"

    def lies(self, message: Message) -> Iterator[Message]:
        yield message
        if isinstance(message, SignedProposal):
            other = replace(message.proposal, view=message.proposal.view + 1)
            yield SignedProposal(self.worked_out(other) or other, NOBODYS)


class ForgedCertificates(Liar):
    lie = "certificates that nobody signed"

    def lies(self, message: Message) -> Iterator[Message]:
        yield message
        if isinstance(message, Vote):
            signers = tuple(range(self.membership.quorum))
            signatures = (NOBODYS,) * len(signers)
            yield Certificate(1, message.view, Kind.NULLIFY, b"", signers, signatures)


class ThinCertificates(Liar):
    lie = "certificates signed by one"

    def lies(self, message: Message) -> Iterator[Message]:
        yield message
        if isinstance(message, Vote):
            yield Certificate(1, message.view, message.kind, message.digest, (message.voter,), (message.signature,))


class ForgedRuns(Liar):
    lie = "final heights that nobody finalized"

    def lies(self, message: Message) -> Iterator[Message]:
        yield message
        proposal = self.own(message)
        if proposal is not None and proposal.parent_digest == self.branches.floor.digest:
            signers = tuple(range(self.membership.quorum))
            signatures = (NOBODYS,) * len(signers)
            forged = Certificate(1, proposal.view, Kind.FINALIZE, proposal.digest, signers, signatures)
            yield FinalizedRun((proposal,), forged)


class ForgedCosignatures(Liar):
    lie = "cosignatures that others never made"

    def lies(self, message: Message) -> Iterator[Message]:
        if isinstance(message, Cosignature):
            for voter in range(len(self.membership.validators)):
                if voter != self.index:
                    yield replace(message, voter=voter, time=message.time + 5, log=NOBODYS, ed25519=NOBODYS)
        yield message


class OtherRoots(Liar):
    lie = "cosignatures of another root"

    def lies(self, message: Message) -> Iterator[Message]:
        if isinstance(message, Cosignature) and message.voter == self.index:
            root = b"\7" * 32
            line = sign(public_key(self.config.name, "log"), codec.encode([message.size, root, message.time]))
            yield replace(message, root=root, log=line, ed25519=line)
        else:
            yield message


class HiddenCertificates(Liar):
    lie = "a parent whose certificate it shows to nobody"
    carrier = "withholding"

    def lies(self, message: Message) -> Iterator[Message]:
        """Keep its own notarize votes, so that views it has a certificate of are nullified elsewhere."""
        if not isinstance(message, Vote) or message.kind is not Kind.NOTARIZE:
            yield message


class OldAnswers(Liar):
    lie = "the first certificate it ever had as its highest"
    _first: Certificate | None = None

    def learn_certificate(self, certificate: Certificate) -> None:
        self._first = self._first or certificate
        super().learn_certificate(certificate)

    def send(self, peer: str, message: Message) -> None:
        """Answer whoever lost its state as if nothing had happened since."""
        if isinstance(message, RecoveryReply):
            message = replace(message, certificate=self._first, final=None)
        super().send(peer, message)


class OnlyToOne(Liar):
    lie = "a proposal that one alone is told"

    def broadcast(self, message: Message, audience: Audience = Audience.VALIDATORS) -> None:
        if self.own(message) is None:
            super().broadcast(message, audience)
        else:
            self.send("v0", message)
