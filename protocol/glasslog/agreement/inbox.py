"""What each event and message does to a replica, before the rules are applied (specs/agreement.md, A7, A9, A10, A18).

Every handler verifies first and changes state after, so that a message that breaks a rule leaves nothing behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glasslog.agreement.catchup import check_run
from glasslog.agreement.effects import (
    Audience,
    AuthorRecovered,
    Cosigned,
    Event,
    Gossip,
    HeldBlock,
    PeerDown,
    PeerUp,
    Received,
    ServeBlocks,
    ServeRun,
    StateRecovered,
    Tick,
)
from glasslog.agreement.evidence import of_headers
from glasslog.agreement.messages import (
    Announcement,
    BlockBody,
    BlockRequest,
    Certificate,
    CertificateRequest,
    Cosignature,
    FinalizedRun,
    Have,
    Kind,
    Message,
    Published,
    RecoveryReply,
    RecoveryRequest,
    RunRequest,
    SignedProposal,
    Status,
    Vote,
)
from glasslog.block import Block, Ref, ref_of, verify_block, verify_header
from glasslog.errors import AdmissionError
from glasslog.limits import HAVES_MAX, REQUEST_BLOCKS_MAX

if TYPE_CHECKING:
    from glasslog.agreement.replica import Replica

PROPOSALS_PER_VIEW_MAX = 2  # a leader that signs more than one is evidence; two sides of it are enough


class Inbox:
    """Handlers for everything that can reach a replica, and what it says on its own initiative."""

    def __init__(self, replica: Replica) -> None:
        self._r = replica
        self._said: dict[str, Ref] = {}
        self._status_at = 0
        self._tip_told = False
        self._cosignature: Cosignature | None = None

    def start(self) -> None:
        """Say nothing yet: peers are told when they connect."""
        self._status_at = self._r.now.mono + self._r.config.timing.status
        self._note_haves()

    def take(self, event: Event) -> bool:
        """Take in one event; say whether anything changed that a rule goes by.

        Most of what arrives repeats what is known: certificates come from every validator, Haves and statuses on time.

        Raises:
            ProtocolError: the message in it breaks a rule; nothing of it was used.
        """
        match event:
            case Received(peer, message):
                index = self._r.membership.index_of(peer)
                if index is not None:
                    self._r.heard_at[index] = self._r.now.mono
                return self._message(peer, message)
            case PeerUp(peer):
                self._peer_up(peer)
            case PeerDown(peer):
                self._peer_down(peer)
            case Cosigned(cosignature):
                self._cosignature = cosignature
                self._r.publication.add(cosignature, made_here=True)
                self._r.broadcast(cosignature, Audience.MEMBERS)
            case Tick():
                pass
        return True

    def _message(self, peer: str, message: Message) -> bool:  # noqa: C901, PLR0911, PLR0912 - one arm for each message type
        match message:
            case SignedProposal():
                return self._proposal(message)
            case Vote():
                return self._vote(peer, message)
            case Certificate():
                return self._certificate(peer, message)
            case Have(refs):
                return self._have(peer, refs)
            case BlockBody():
                return self._block(message)
            case BlockRequest():
                self._block_request(peer, message)
            case CertificateRequest():
                self._certificate_request(peer, message)
            case RunRequest(height):
                if height <= self._r.branches.floor.height:
                    self._r.emit(ServeRun(peer, height))
            case FinalizedRun():
                return self._run(message)
            case Cosignature():
                return self._r.publication.add(message)
            case Status():
                return self._status(peer, message)
            case RecoveryRequest():
                self._recovery_request(peer, message)
            case RecoveryReply():
                return self._recovery_reply(peer, message)
            case Published(note):
                return self._published(note)
            case Announcement(headers):
                return self._announcement(peer, headers)
        return False

    # --- agreement ----------------------------------------------------------------------------------

    def _proposal(self, signed: SignedProposal) -> bool:
        r, proposal = self._r, signed.proposal
        digest = proposal.digest
        leader = r.membership.leader(proposal.view)
        vote = Vote(proposal.epoch, proposal.view, Kind.NOTARIZE, digest, leader, signed.signature)
        if not r.tally.is_relevant(vote, r.view) or r.signatures.get(digest) == signed.signature:
            return False
        r.tally.verify_vote(vote)
        round_ = r.tally.round(proposal.view)
        certified = any(certificate.digest == digest for certificate in round_.certificates.values())
        if digest not in r.signatures and (certified or len(round_.proposals) < PROPOSALS_PER_VIEW_MAX):
            r.learn_proposal(digest, signed)
        r.count_vote(vote)
        return True

    def _vote(self, peer: str, vote: Vote) -> bool:
        r = self._r
        if vote.epoch == r.membership.epoch and vote.view <= r.tally.floor_view:
            if r.finalize_certificate is not None and r.catchup.may_answer_stale(peer, r.now.mono):
                r.send(peer, r.finalize_certificate)
            return False
        if not r.tally.is_relevant(vote, r.view) or r.tally.is_known(vote):
            return False
        r.tally.verify_vote(vote)
        r.count_vote(vote)
        return True

    def _certificate(self, peer: str, certificate: Certificate) -> bool:
        r = self._r
        if certificate.epoch != r.membership.epoch or certificate.view <= r.tally.floor_view:
            return False
        round_ = r.tally.rounds.get(certificate.view)  # not made before the signatures are checked: views are free
        known = None if round_ is None else round_.certificates.get(certificate.kind)
        if known is not None and known.digest == certificate.digest:
            return False
        r.tally.verify_certificate(certificate)
        r.learn_certificate(certificate)
        is_missing = certificate.kind is Kind.FINALIZE and certificate.digest not in r.branches.proposals
        if is_missing:
            r.ask_run(peer)
        return True

    def _certificate_request(self, peer: str, request: CertificateRequest) -> None:
        r = self._r
        if request.epoch != r.membership.epoch:
            return
        if any(view <= r.tally.floor_view for view in request.views) and r.finalize_certificate is not None:
            r.send(peer, r.finalize_certificate)
        for view in request.views:
            round_ = r.tally.rounds.get(view)
            if round_ is None:
                continue
            for certificate in round_.certificates.values():
                r.send(peer, certificate)
            certified = {certificate.digest for certificate in round_.certificates.values()}
            for signed in round_.proposals:
                if signed.proposal.digest in certified:
                    r.send(peer, signed)

    def verified(self, header: bytes, entries: bytes) -> Block:
        """Return an admitted author's block, or raise ``ProtocolError``."""
        r = self._r
        return verify_block(
            header,
            entries,
            genesis_hash=r.membership.genesis_hash,
            author_key=r.membership.author_key,
            verify=r.config.verify,
        )

    # --- blocks -------------------------------------------------------------------------------------

    def _block(self, body: BlockBody) -> bool:
        r = self._r
        header = verify_header(
            body.header,
            genesis_hash=r.membership.genesis_hash,
            author_key=r.membership.author_key,
            verify=r.config.verify,
        )
        ref = ref_of(header, body.header)
        tip = r.branches.state.tip(ref.author, r.membership.genesis_hash)
        self._accuse_fork(ref, body.header)
        r.wants.fetcher.arrived(ref.author, ref.seq, r.now.mono)
        if not r.shelf.may_hold(ref, tip, named=r.wants.fetcher.is_named(ref.author)):
            return False
        block = self.verified(body.header, body.entries)
        member = r.membership.author(ref.author)
        if block.header.count > member.quota_entries or block.body_bytes > member.quota_bytes:
            raise AdmissionError("BLOCK-08", f"block {ref.seq} of {ref.author} is over its quota a height")
        r.persist(HeldBlock(block.ref, body.header, body.entries))
        r.hold(block)
        if block.ref.author == r.config.name:
            r.broadcast(body)
            r.emit(Gossip(Announcement((body.header,))))
        self._note_haves()
        return True

    def _accuse_fork(self, ref: Ref, header: bytes) -> None:
        for other in self._r.shelf.other_sides(ref):
            self._r.accuse(of_headers(self._r.membership.epoch, ref.author, other, header))

    def _note_haves(self) -> None:
        """Say how far every author's chain is now held without a gap, where that has grown (A9)."""
        r = self._r
        grown: list[Ref] = []
        for author in r.shelf.authors():
            chain = r.shelf.forward(author, r.branches.state.tip(author, r.membership.genesis_hash))
            if chain and self._said.get(author) != chain[-1].ref:
                self._said[author] = chain[-1].ref
                grown.append(chain[-1].ref)
                if r.index is not None:
                    r.shelf.have(r.index, chain[-1].ref)
        if grown:
            r.broadcast(Have(tuple(grown[:HAVES_MAX])))

    def _own_haves(self) -> tuple[Ref, ...]:
        frontier = self._r.branches.state.frontier
        said = (self._said[author] for author in sorted(self._said))
        return tuple(ref for ref in said if ref.author not in frontier or ref.seq > frontier[ref.author].seq)

    def _have(self, peer: str, refs: tuple[Ref, ...]) -> bool:
        r = self._r
        is_news = False
        index = r.membership.index_of(peer)
        for ref in refs:
            if r.membership.author_key(ref.author) is None:
                raise AdmissionError("HAVE-01", f"{ref.author} is not admitted as an author")
            if index is not None:
                is_news |= r.shelf.have(index, ref)
            if ref.author == peer:
                is_news |= r.wants.hint(ref, peer)
        return is_news

    def _announcement(self, peer: str, headers: tuple[bytes, ...]) -> bool:
        r = self._r
        is_news = False
        for leaf in headers:
            header = verify_header(
                leaf, genesis_hash=r.membership.genesis_hash, author_key=r.membership.author_key, verify=r.config.verify
            )
            ref = ref_of(header, leaf)
            self._accuse_fork(ref, leaf)
            is_news |= r.wants.hint(ref, peer)
        return is_news

    def _block_request(self, peer: str, request: BlockRequest) -> None:
        if 0 <= request.last_seq - request.first_seq < REQUEST_BLOCKS_MAX:
            self._r.emit(
                ServeBlocks(peer, request.author, request.first_seq, request.last_seq, request.last_hash)
            )  # fmt: skip

    # --- standing -----------------------------------------------------------------------------------

    def _run(self, run: FinalizedRun) -> bool:
        r = self._r
        digests = check_run(run)
        if run.certificate.epoch != r.membership.epoch or run.certificate.view <= r.branches.floor.view:
            return False
        r.tally.verify_certificate(run.certificate)
        r.learn_run(run, digests)
        return True

    def status(self) -> Status:
        """Return where this replica stands."""
        r = self._r
        floor, state = r.branches.floor, r.branches.state
        return Status(
            r.membership.epoch, r.view, floor.view, floor.height, state.size, r.publication.published_size
        )  # fmt: skip

    def _peer_up(self, peer: str) -> None:
        r = self._r
        r.connected.add(peer)
        index = r.membership.index_of(peer)
        if index is not None:
            r.heard_at[index] = r.now.mono
            r.shelf.forget_haves(index)
        r.send(peer, self.status())
        if self._cosignature is not None:
            r.send(peer, self._cosignature)
        if r.recovery is not None:
            r.send(peer, self._recovery_question())
        if index is not None:
            haves = self._own_haves()
            if haves:
                r.send(peer, Have(haves))
            if r.index is not None:
                for message in r.unfinished():
                    r.send(peer, message)

    def _peer_down(self, peer: str) -> None:
        r = self._r
        r.connected.discard(peer)
        r.catchup.lost(peer)
        index = r.membership.index_of(peer)
        if index is not None:
            r.heard_at[index] = r.now.mono - r.config.timing.inactive

    def _status(self, peer: str, status: Status) -> bool:
        r = self._r
        is_news = peer not in r.catchup.statuses or status.height > r.branches.floor.height
        r.catchup.heard(peer, status)
        if status.epoch != r.membership.epoch:
            return is_news
        if status.floor_view < r.branches.floor.view and r.finalize_certificate is not None:
            r.send(peer, r.finalize_certificate)
        published = r.publication.published
        if published is not None and status.published < published.size:
            r.send(peer, Published(published.note))
        if status.floor_view == r.branches.floor.view and status.view < r.view:
            for round_ in r.tally.rounds.values():
                for certificate in round_.certificates.values():
                    r.send(peer, certificate)
        return is_news

    def _published(self, note: bytes) -> bool:
        """A whole published note counts as its validators' cosignatures, each verified like any other."""
        r = self._r
        is_news = False
        for cosignature in r.config.cosigners.read_note(note):
            is_news |= r.publication.add(cosignature)
        return is_news

    # --- recovery (A10) -------------------------------------------------------------------------------

    def _recovery_question(self) -> RecoveryRequest:
        r = self._r
        return RecoveryRequest(r.config.boot_nonce, r.config.name if r.membership.author_key(r.config.name) else None)

    def _recovery_request(self, peer: str, request: RecoveryRequest) -> None:
        r = self._r
        if r.index is None or r.recovery is not None:
            return
        certificates = [c for round_ in r.tally.rounds.values() for c in round_.certificates.values()]
        if r.finalize_certificate is not None:
            certificates.append(r.finalize_certificate)
        highest = max(certificates, key=lambda certificate: certificate.view, default=None)
        tip = None if request.author != peer else self._tip_of(peer)
        published = r.publication.published_size
        r.send(peer, RecoveryReply(request.nonce, highest, r.finalize_certificate, published, tip))

    def _tip_of(self, author: str) -> bytes | None:
        """Return the header leaf of an author's last block that is held here and not final."""
        r = self._r
        chain = r.shelf.forward(author, r.branches.state.tip(author, r.membership.genesis_hash))
        return chain[-1].leaf if chain else None

    def _recovery_reply(self, peer: str, reply: RecoveryReply) -> bool:
        r = self._r
        index = r.membership.index_of(peer)
        if r.recovery is None or index is None:
            return False
        certificates = [each for each in (reply.certificate, reply.final) if each is not None]
        for certificate in certificates:
            if certificate.epoch != r.membership.epoch:
                raise AdmissionError("RECOVER-01", "the certificate is of another epoch")
            r.tally.verify_certificate(certificate)
        if reply.final is not None and reply.final.kind is not Kind.FINALIZE:
            raise AdmissionError("RECOVER-02", "the certificate of what is final is none")
        r.recovery.add(index, reply, None if reply.tip is None else self._own_tip(reply.tip))
        for certificate in certificates:
            r.learn_certificate(certificate)
        return True

    def _own_tip(self, leaf: bytes) -> Ref:
        """Return which own block a reply names: one that this member signed, or a liar could make it wait for ever."""
        r = self._r
        header = verify_header(
            leaf, genesis_hash=r.membership.genesis_hash, author_key=r.membership.author_key, verify=r.config.verify
        )
        if header.author != r.config.name:
            raise AdmissionError("RECOVER-03", f"a block of {header.author}, not of {r.config.name}")
        return ref_of(header, leaf)

    def finalized(self, view: int) -> None:
        """A height became final: A10 may be over."""
        r = self._r
        frontier = r.branches.state.frontier
        self._said = {
            author: ref
            for author, ref in self._said.items()
            if author not in frontier or ref.seq > frontier[author].seq
        }
        self._note_haves()
        closing = None if r.recovery is None else r.recovery.closing_view
        if r.recovery is not None and closing is not None and view >= closing and self._tell_tip():
            r.publication.least = r.recovery.published
            r.recovery = None
            r.persist(StateRecovered(view))

    def _tell_tip(self) -> bool:
        """Tell the author's side where its chain ends, once it is here; True when there is nothing to wait for."""
        r = self._r
        if self._tip_told or r.recovery is None or r.membership.author_key(r.config.name) is None:
            return True
        if not r.recovery.is_answered or r.branches.floor.view < r.recovery.final_view:
            return False
        tip = r.branches.state.tip(r.config.name, r.membership.genesis_hash)
        shown = r.recovery.tip
        if shown is not None and shown[1].seq > tip.seq:
            try:
                chain = r.shelf.chain_of(tip, shown[1])
            except AdmissionError:
                chain = []  # a fork of its own that lost: it goes on from what is final
            if chain is None:
                return False  # ``Wants`` asks for it
            tip = chain[-1].tip if chain else tip
        self._tip_told = True
        r.emit(AuthorRecovered(tip))
        return True

    # --- on its own initiative ------------------------------------------------------------------------

    def housekeeping(self) -> None:
        """Status, catch-up and proof of life, each at its time."""
        r, now, timing = self._r, self._r.now.mono, self._r.config.timing
        if now >= self._status_at:
            self._status_at = now + timing.status
            r.broadcast(self.status(), Audience.MEMBERS)
            haves = self._own_haves()
            if haves:
                r.broadcast(Have(haves))
            if r.recovery is not None and not r.recovery.is_answered:
                r.broadcast(self._recovery_question())
        r.wake_at(self._status_at)
        self._ask_parents()
        peer, wake = r.catchup.run_to_ask(r.branches.floor.height, r.progress_at, now)
        if peer is not None:
            r.ask_run(peer)
        r.wake_at(wake)
        self._proof_of_life(now)
        if r.recovery is not None:
            self._tell_tip()

    def _ask_parents(self) -> None:
        """Ask the signers of certificates for the proposals that are certified and missing here (P3)."""
        r = self._r
        lacking = {
            view: certificate
            for view, round_ in sorted(r.tally.rounds.items())
            if (certificate := round_.parent_certificate) is not None and certificate.digest not in r.branches.proposals
        }
        due, wake = r.catchup.views_to_ask(list(lacking), r.now.mono)
        for view in due:
            signers = [r.validator_name(index) for index in lacking[view].signers if index != r.index]
            peer = signers[(view + r.now.mono // r.config.timing.fetch_retry) % len(signers)]
            r.send(peer, CertificateRequest(r.membership.epoch, (view,)))
        r.wake_at(wake)

    def _proof_of_life(self, now: int) -> None:
        """An idle validator cosigns the same checkpoint again, so that a stalled quorum shows (specs/log.md, L9).

        So does one that has just started, at once: it may have crashed with its last height durable, or even the
        intent, and the cosignature never made.
        """
        r = self._r
        if not r.may_sign or not r.branches.floor.height:
            return
        if r.cosigned_at is None or now >= r.cosigned_at + r.config.timing.proof_of_life:
            r.cosigned_at = now
            r.cosign(r.branches.state, r.branches.floor.time)
        r.wake_at(r.cosigned_at + r.config.timing.proof_of_life)
