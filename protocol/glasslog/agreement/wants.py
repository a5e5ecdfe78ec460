"""What a replica lacks and whom it asks (specs/agreement.md, A9): blocks that proposals, certificates or Haves name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glasslog.agreement.fetcher import Fetcher
from glasslog.agreement.messages import Kind, Proposal
from glasslog.block import Ref
from glasslog.errors import AdmissionError
from glasslog.limits import PENDING_BLOCKS_PER_AUTHOR_MAX

if TYPE_CHECKING:
    from glasslog.agreement.replica import Replica

LOOKAHEAD = 4  # heights whose blocks are fetched while the first of them is executed
HINTS_PER_AUTHOR_MAX = 8  # the newest: what leads up to them is fetched with them


class Wants:
    """The blocks wanted, from which sources."""

    def __init__(self, replica: Replica) -> None:
        self._r = replica
        self._hints: dict[str, dict[Ref, str]] = {}  # by author: nobody's promises crowd out another's
        self.fetcher = Fetcher(replica.config.timing)

    def hint(self, ref: Ref, peer: str) -> bool:
        """Note that *peer*, the author or a gossiped header says there is a block. False: not news, or not followed.

        Only validators go by it.
        """
        r = self._r
        tip = r.branches.state.tip(ref.author, r.membership.genesis_hash)
        if r.index is None or not tip.seq < ref.seq <= tip.seq + PENDING_BLOCKS_PER_AUTHOR_MAX:
            return False
        hints = self._hints.setdefault(ref.author, {})
        if hints.get(ref) == peer:
            return False
        hints[ref] = peer
        if len(hints) > HINTS_PER_AUTHOR_MAX:
            del hints[next(iter(hints))]
        return True

    def collect(self) -> None:
        """Want every block that is named and missing, and send the requests that are due."""
        r = self._r
        timing = r.config.timing
        self.fetcher.begin()
        for digest in self._interesting():
            self._want_proposal(r.branches.proposals[digest])
        for author in r.shelf.authors():
            tip = r.branches.state.tip(author, r.membership.genesis_hash)
            ref = r.shelf.wanted(author, tip)
            if ref is not None:
                self.want(ref, timing.have_wait, named=False)
        for hints in self._hints.values():
            for ref, peer in list(hints.items()):
                if not self.want(ref, timing.have_wait, named=False, first=peer):
                    del hints[ref]
        shown = None if r.recovery is None else r.recovery.tip
        if shown is not None:  # an author that lost state goes on only after it (A10)
            self.want(shown[1], 0, named=True, first=r.validator_name(shown[0]))
        requests, wake = self.fetcher.due(r.now.mono, r.connected)
        for peer, request in requests:
            r.send(peer, request)
        r.wake_at(wake)

    def _interesting(self) -> list[bytes]:
        """Return the proposals whose blocks are needed: certified, on the way to finality, or of this view."""
        r = self._r
        digests = r.final_path()[:LOOKAHEAD]
        for view, round_ in sorted(r.tally.rounds.items()):
            certificate = round_.parent_certificate
            if certificate is not None and certificate.kind is not Kind.FINALIZE:
                digests.append(certificate.digest)
            elif view == r.view:
                digests += [signed.proposal.digest for signed in round_.proposals]
        return [digest for digest in dict.fromkeys(digests) if digest in r.branches.proposals]

    def _want_proposal(self, proposal: Proposal) -> None:
        r = self._r
        leader = r.validator_name(r.membership.leader(proposal.view))
        for ref in proposal.advance:
            self.want(ref, r.config.timing.fetch_grace, named=True, first=leader)

    def want(self, ref: Ref, grace: int, *, named: bool, first: str | None = None) -> bool:
        """Want what is missing on the way to *ref*, from *first*, whoever said Have, the author, or anybody.

        Holding *ref* is not enough: a block before it may be missing. False when nothing is.
        """
        r = self._r
        tip = r.branches.state.tip(ref.author, r.membership.genesis_hash)
        if not tip.seq < ref.seq <= tip.seq + PENDING_BLOCKS_PER_AUTHOR_MAX:
            return False  # final already, or so far ahead that it could not be held yet
        try:
            request = r.shelf.missing(tip, ref)
        except AdmissionError:
            return False  # never linkable: judged where it is used
        if request is None:
            return False
        holders = [r.validator_name(index) for index in r.shelf.holders(ref.author, request.last_seq - 1)]
        sources = [*([first] if first else []), *holders, ref.author, *sorted(r.catchup.statuses)]
        others = [source for source in dict.fromkeys(sources) if source != r.config.name]
        self.fetcher.want(request, others, r.now.mono, grace=grace, named=named)
        return True
