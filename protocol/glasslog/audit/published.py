"""Final by checkpoint: the published note against the leaves, the log's own members, and the policy (L10)."""

from __future__ import annotations

from glasslog.audit.report import Report
from glasslog.audit.tree import Tree
from glasslog.audit.walk import ClosedHeight
from glasslog.bundle import read_finalizers
from glasslog.checkpoint import Checkpoint
from glasslog.entry import Genesis
from glasslog.errors import ProtocolError
from glasslog.membership import Membership
from glasslog.note import Note
from glasslog.policy import Policy, PolicyMember


class Published:
    """The published checkpoint of a replica; ``policy`` is the auditor's, or None."""

    def __init__(self, data: bytes | None, policy: Policy | None, tree: Tree, report: Report) -> None:
        self._policy = policy
        self._tree = tree
        self._report = report
        self._findings = report.findings
        self._note: Note | None = None
        self.checkpoint: Checkpoint | None = None
        self._reached = False
        self._counts = False  # a quorum of the policy, or of the members, cosigned it
        if data is not None:
            self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            self._note = Note.parse(data)
            self.checkpoint = Checkpoint.parse(self._note.text)
        except ProtocolError as error:
            self._add("AUDIT-13", str(error))

    def _add(self, rule: str, fact: str) -> None:
        leaf = None if self.checkpoint is None else self.checkpoint.size - 1
        self._findings.add(rule, "checkpoint", fact, leaf)

    def founded(self, genesis: Genesis, membership: Membership) -> None:
        """Check the note's signatures, now that the log's members are known."""
        if self._note is None or self.checkpoint is None:
            return
        if self.checkpoint.size == self._tree.edge.size:
            self._compare(0)
        if self.checkpoint.origin != genesis.origin:
            self._add("AUDIT-13", f"it is of {self.checkpoint.origin}, the log founded here is {genesis.origin}")
        own = policy_of(genesis, membership)
        self._judge_lines(own, "AUDIT-15")
        if self._policy is not None:
            self._counts = self._judge_lines(self._policy, "AUDIT-16")
            if self._policy.bft().keys != own.bft().keys:
                self._report.notices.append("the policy's validators are not those that the log was founded with")

    def height(self, closed: ClosedHeight) -> None:
        """Compare the root at the checkpoint's size."""
        if self.checkpoint is not None and closed.size == self.checkpoint.size:
            self._compare(closed.height)

    def finish(self, size: int) -> None:
        """Say whether the checkpoint confirmed anything, once all leaves are in."""
        if self._note is None or self.checkpoint is None:
            return
        stated = self.checkpoint.size
        if not self._reached:
            why = "which is the end of no height" if stated < size else f"the log ends at {size}"
            self._add("AUDIT-14", f"it is of size {stated}, {why}")
        self._report.policy_confirms = self._counts and self._reached and not self._findings.count

    def _compare(self, height: int) -> None:
        assert self.checkpoint is not None
        self._reached = True
        size, root = self._tree.edge.size, self._tree.edge.root()
        if root != self.checkpoint.root:
            self._add("AUDIT-14", f"it states a root at size {size} that the leaves do not make")
            return
        self._report.published, self._report.published_root = size, root
        self._report.published_height = height

    def _judge_lines(self, policy: Policy, quorum_rule: str) -> bool:
        assert self._note is not None
        try:
            policy.check(self._note, strict=True)
        except ProtocolError as error:
            self._add(quorum_rule if error.code.startswith("POLICY") else "AUDIT-13", str(error))
            return False
        self._report.finalized_by = read_finalizers(self._note, policy.bft())
        return True


def policy_of(genesis: Genesis, membership: Membership) -> Policy:
    """Return the policy that a log's own members make."""
    members: list[PolicyMember] = []
    for each in membership.validators:
        assert each.log_key is not None
        assert each.cosign_ed25519 is not None
        assert each.cosign_mldsa44 is not None
        keys = (each.log_key, each.cosign_ed25519, each.cosign_mldsa44)
        members.append(PolicyMember(each.name, each.jurisdiction, *keys))
    return Policy.build(genesis.origin, genesis.network, members)
