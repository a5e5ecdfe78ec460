"""Final by certificate: the archived proposals and certificates of a node's replica against its leaves."""

from __future__ import annotations

from glasslog.agreement.evidence import decode_evidence, verify_evidence
from glasslog.agreement.messages import Certificate, Kind, Proposal, decode_certificate, decode_proposal
from glasslog.agreement.tally import Tally
from glasslog.audit.report import Report
from glasslog.audit.source import Archive
from glasslog.audit.walk import ClosedHeight
from glasslog.entry import Genesis
from glasslog.errors import ProtocolError
from glasslog.identity import verify_ed25519
from glasslog.membership import Membership


class Finality:
    """Follows the heights and checks what the archive says about each."""

    def __init__(self, archive: Archive, report: Report) -> None:
        self._archive = archive
        self._report = report
        self._findings = report.findings
        self._membership: Membership | None = None
        self._tally: Tally | None = None
        self._view = 0
        self._parent = (0, b"")  # view and digest of the height before; empty where they are not known
        self._root_differs = False

    def founded(self, _genesis: Genesis, membership: Membership) -> None:
        """Take the members who vote. The genesis hash stands for the digest of height 0 (A17)."""
        self._membership = membership
        self._tally = Tally(membership, verify_ed25519, -1)
        self._parent = (0, membership.genesis_hash)

    def height(self, closed: ClosedHeight) -> None:
        """Check the proposal of a height, and the certificates of the views that led to it."""
        assert self._membership is not None
        proposal = self._judge_proposal(closed)
        view = closed.seal.view if closed.seal is not None else 0 if proposal is None else proposal.view
        if view <= self._view:
            return  # the seal is broken, which is said; the views go on with the next one
        digest = b"" if proposal is None else proposal.digest
        stored = self._archive.certificates(self._membership.epoch, self._view, view)
        kinds: set[Kind] = set()
        for encoded in stored:
            certificate = self._judge_certificate(encoded, f"height {closed.height}")
            if certificate is None:
                continue
            self._judge_place(certificate, closed, view, digest)
            if certificate.view == view:
                kinds.add(certificate.kind)
        if {Kind.FINALIZE, Kind.NULLIFY} <= kinds:
            fact = f"view {view} has a finalize and a nullify certificate"
            self._findings.add("AUDIT-19", f"height {closed.height}", fact, closed.index)
        self._view = view
        self._parent = (view, digest)

    def finish(self) -> None:
        """Check the certificates above the last height, and the evidence."""
        if self._membership is None:
            return
        for encoded in self._archive.certificates(self._membership.epoch, self._view, None):
            self._judge_certificate(encoded, "above the last height")
        for number, encoded in enumerate(self._archive.evidence()):
            try:
                verify_evidence(decode_evidence(encoded), self._membership, verify_ed25519)
            except ProtocolError as error:
                self._findings.add("AUDIT-20", f"evidence {number}", str(error))

    def _judge_proposal(self, closed: ClosedHeight) -> Proposal | None:
        where = f"height {closed.height}"
        stored = self._archive.proposal(closed.height)
        if stored is None:
            self._findings.add("AUDIT-17", where, "its proposal is missing", closed.index)
            return None
        digest, encoded = stored
        try:
            proposal = decode_proposal(encoded)
        except ProtocolError as error:
            self._findings.add("AUDIT-17", where, f"its proposal cannot be read: {error}", closed.index)
            return None
        for fact in self._differences(proposal, digest, closed):
            self._findings.add("AUDIT-17", where, fact, closed.index)
        return proposal

    def _differences(self, proposal: Proposal, digest: bytes, closed: ClosedHeight) -> list[str]:
        found: list[str] = []
        if proposal.digest != digest:
            found.append("its proposal does not hash to the digest beside it")
        said = (proposal.height, proposal.size, proposal.advance)
        if said != (closed.height, closed.size, closed.advance):
            found.append("its proposal names another height, size or blocks than its leaves make")
        seal = closed.seal
        if seal is not None and (proposal.epoch, proposal.view, proposal.time) != (seal.epoch, seal.view, seal.time):
            found.append("its proposal and its seal differ in epoch, view or time")
        if proposal.root != closed.root and not self._root_differs:
            self._root_differs = True  # and at every later height, which would not be news
            found.append("its proposal states another root than its leaves make")
        if self._parent[1] and (proposal.parent_view, proposal.parent_digest) != self._parent:
            found.append("its proposal is not the child of the height before")
        return found

    def _judge_certificate(self, encoded: bytes, where: str) -> Certificate | None:
        assert self._tally is not None
        assert self._membership is not None
        try:
            certificate = decode_certificate(encoded)
            if certificate.epoch != self._membership.epoch:
                self._findings.add("AUDIT-19", where, f"a certificate of epoch {certificate.epoch}")
                return None
            self._tally.verify_certificate(certificate)
        except ProtocolError as error:
            self._findings.add("AUDIT-18", where, f"a certificate does not hold: {error}")
            return None
        self._report.certificates += 1
        return certificate

    def _judge_place(self, certificate: Certificate, closed: ClosedHeight, view: int, digest: bytes) -> None:
        """Check a verified certificate against what is final in its view."""
        where, kind = f"height {closed.height}", certificate.kind
        if certificate.view == view and kind is not Kind.NULLIFY:
            if certificate.digest != digest:
                fact = f"the {kind.name.lower()} certificate of view {view} is of another proposal"
                self._findings.add("AUDIT-19", where, fact, closed.index)
            elif kind is Kind.FINALIZE:
                self._report.certified, self._report.certified_height = closed.size, closed.height
        elif certificate.view != view and kind is Kind.FINALIZE:
            fact = f"view {certificate.view} was made final and no height is of that view"
            self._findings.add("AUDIT-19", where, fact, closed.index)
