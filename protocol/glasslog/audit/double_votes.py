"""Certificates of two replicas that contradict one another, and who voted for both (specs/auditing.md, AUDIT-23; A14).

Votes are signed by keys that a log's own founding leaves name, so those leaves need someone to vouch for them: a
member is named only where its own cosignature, by a key of the auditor's policy, stands under a root over these leaves.
Otherwise whoever controls a quorum could found a log with invented vote keys under honest names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from glasslog import merkle
from glasslog.agreement.evidence import Evidence, fault_of, of_votes, verify_evidence
from glasslog.agreement.messages import (
    Certificate,
    Kind,
    Proposal,
    decode_certificate,
    decode_proposal,
)
from glasslog.agreement.tally import Tally, votes_of
from glasslog.audit.conflict import Culprit, SignedCheckpoint
from glasslog.audit.prefix import prove_prefix
from glasslog.audit.source import Archive, Source
from glasslog.entry import LeafKind, leaf_kind
from glasslog.errors import DecodeError, ProtocolError
from glasslog.identity import verify_ed25519
from glasslog.limits import MEMBERS_MAX
from glasslog.membership import Membership, read_genesis
from glasslog.merkle import hash_leaves
from glasslog.tiles import split_entries


@dataclass(frozen=True, slots=True)
class Voters:
    """A replica's archive, the members its leaves found, and which of them cosigned a root over these leaves."""

    label: str
    archive: Archive
    membership: Membership
    vouched: frozenset[str]


@dataclass(slots=True)
class VoteConflict:
    """What two archives come to: who voted for both sides, and which certificates of a quorum cannot both be."""

    culprits: list[Culprit] = field(default_factory=list[Culprit])
    unvouched: set[str] = field(default_factory=set[str])
    contradictions: list[str] = field(default_factory=list[str])


def read_voters(source: Source, signed: SignedCheckpoint | None) -> Voters | None:
    """Return who votes in a replica's log; None where it has no archive, or its founding leaves cannot be read.

    ``signed`` is its checkpoint, which vouches for the founding leaves where they are proven to be below it.
    """
    archive = source.archive()
    if archive is None:
        return None
    try:
        leaves = _read_founding(source)
        _, membership = read_genesis(leaves)
    except ProtocolError:
        return None  # the audit of that replica says why
    vouched: frozenset[str] = frozenset()
    if signed is not None and _begins_with(source, signed, leaves):
        vouched = frozenset(signed.signers)
    return Voters(source.label, archive, membership, vouched)


def _read_founding(source: Source) -> list[bytes]:
    founding: list[bytes] = []
    for run in source.runs():
        for leaf in split_entries(run.bundle):
            if leaf_kind(leaf) not in (LeafKind.GENESIS, LeafKind.MEMBERSHIP) or len(founding) > MEMBERS_MAX:
                return founding
            founding.append(leaf)
    if not founding:
        raise DecodeError("CONFLICT-03", f"{source.label} has no founding leaves")
    return founding


def _begins_with(source: Source, signed: SignedCheckpoint, leaves: Sequence[bytes]) -> bool:
    checkpoint = signed.checkpoint
    if checkpoint.size < len(leaves):
        return False
    try:
        prefix, _ = prove_prefix(source, len(leaves), checkpoint.size, checkpoint.root)
    except ProtocolError:
        return False
    return prefix == merkle.root(hash_leaves(leaves))


def compare_votes(one: Voters, other: Voters) -> VoteConflict:
    """Compare what two archives keep from the view of the last height on that both have."""
    found = VoteConflict()
    membership = one.membership
    if membership.leaves() != other.membership.leaves() or membership.genesis_hash != other.membership.genesis_hash:
        return found  # two networks: no vote of one says anything in the other (A16)
    vouched = one.vouched | other.vouched
    height = _last_common(one.archive, other.archive)
    start = 0 if height == 0 else _read_proposal(one.archive, height).view
    views: dict[int, list[tuple[str, Certificate]]] = {}
    for side in (one, other):
        for certificate in _certificates(side, start):
            kept = views.setdefault(certificate.view, [])
            if all(certificate != known for _, known in kept):
                kept.append((side.label, certificate))
    tally = Tally(membership, verify_ed25519, -1)
    convicted: dict[tuple[str, str], Culprit] = {}
    for _, kept in sorted(views.items()):
        said = False
        kept.sort(key=lambda each: -each[1].kind)  # of what a view contradicts, finalize certificates weigh most
        for (label, first), (second_label, second) in combinations(kept, 2):
            for evidence in _find_evidence(membership, first, second):
                if evidence.accused in vouched:
                    culprit = _accuse(evidence, first.view, membership)
                    convicted.setdefault((culprit.name, culprit.offence), culprit)
                else:
                    found.unvouched.add(evidence.accused)
            if not said and _contradict(first, second) and _hold(tally, first, second):
                said = True
                found.contradictions.append(
                    f"view {first.view} has a {first.kind.name.lower()} certificate in {label} "
                    f"and a {second.kind.name.lower()} certificate in {second_label} that exclude one another"
                )
    found.culprits += convicted.values()
    if all(_is_final_above(side, height, tally) for side in (one, other)):
        found.contradictions.append(f"two heights {height + 1} are final by certificate")
    if len(vouched) < membership.quorum:
        found.contradictions.clear()  # whoever made up these vote keys made up the certificates
    return found


# --- archives -----------------------------------------------------------------------------------------


def _certificates(side: Voters, start: int) -> Iterator[Certificate]:
    for encoded in side.archive.certificates(side.membership.epoch, start - 1, None):
        try:
            certificate = decode_certificate(encoded)
        except ProtocolError:
            continue  # the audit of that replica says so
        if certificate.epoch == side.membership.epoch and certificate.view >= start:
            yield certificate


def _read_proposal(archive: Archive, height: int) -> Proposal:
    """Return the proposal of a height, whose digest is the one beside it.

    Raises:
        DecodeError: there is none, or it cannot be read.
    """
    stored = archive.proposal(height)
    if stored is None:
        raise DecodeError("CONFLICT-04", f"no proposal of height {height}")
    proposal = decode_proposal(stored[1])
    if proposal.digest != stored[0] or proposal.height != height:
        raise DecodeError("CONFLICT-04", f"the proposal of height {height} is not the one that is stated")
    return proposal


def _last_common(one: Archive, other: Archive) -> int:
    """Return the last height at which both archives have one proposal, 0 for none: digests chain (A17)."""
    low, high = 0, 1
    while _is_common(one, other, high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_common(one, other, middle) else (low, middle)
    return low


def _is_common(one: Archive, other: Archive, height: int) -> bool:
    try:
        return _read_proposal(one, height).digest == _read_proposal(other, height).digest
    except ProtocolError:
        return False


def _is_final_above(side: Voters, height: int, tally: Tally) -> bool:
    """Tell whether the height after a common one is final: by its own certificate, or a descendant's (A18)."""
    parent = b"" if height == 0 else _read_proposal(side.archive, height).digest
    parent = parent or side.membership.genesis_hash
    while True:
        height += 1
        try:
            proposal = _read_proposal(side.archive, height)
        except ProtocolError:
            return False
        if proposal.parent_digest != parent:
            return False
        parent = proposal.digest
        for encoded in side.archive.certificates(proposal.epoch, proposal.view - 1, proposal.view):
            if _makes_final(encoded, proposal, tally):
                return True


def _makes_final(encoded: bytes, proposal: Proposal, tally: Tally) -> bool:
    try:
        certificate = decode_certificate(encoded)
        if (certificate.kind, certificate.digest) != (Kind.FINALIZE, proposal.digest):
            return False
        tally.verify_certificate(certificate)
    except ProtocolError:
        return False
    return (certificate.epoch, certificate.view) == (proposal.epoch, proposal.view)


# --- votes --------------------------------------------------------------------------------------------


def _contradict(one: Certificate, other: Certificate) -> bool:
    """Tell whether no two honest quorums make both (I2, I3). N and Z of one view may coexist (A7)."""
    kinds = {one.kind, other.kind}
    if Kind.NULLIFY in kinds:
        return Kind.FINALIZE in kinds
    return one.digest != other.digest


def _hold(tally: Tally, *certificates: Certificate) -> bool:
    try:
        for certificate in certificates:
            tally.verify_certificate(certificate)
    except ProtocolError:
        return False
    return True


def _find_evidence(membership: Membership, one: Certificate, other: Certificate) -> Iterator[Evidence]:
    """Yield what convicts (A14): both votes verified, so that a forged signature in a certificate names nobody."""
    votes = {vote.voter: vote for vote in votes_of(one)}
    for second in votes_of(other):
        first = votes.get(second.voter)
        if first is None or second.voter >= len(membership.validators):
            continue
        fault = fault_of(first, second)
        if fault is None:
            continue
        evidence = of_votes(fault, membership.validators[second.voter].name, first, second)
        try:
            verify_evidence(evidence, membership, verify_ed25519)
        except ProtocolError:
            continue
        yield evidence


def _accuse(evidence: Evidence, view: int, membership: Membership) -> Culprit:
    member = membership.member(evidence.accused)
    index = membership.index_of(evidence.accused)
    if member is None or index is None:
        raise RuntimeError("evidence that was verified against this membership accuses one of it")
    first, second = {"vote": evidence.first.hex()}, {"vote": evidence.second.hex()}
    key = membership.vote_key(index).hex()
    return Culprit(
        member.name, member.jurisdiction, evidence.fault.value, f"view {view}", key, first, second, evidence.encode()
    )
