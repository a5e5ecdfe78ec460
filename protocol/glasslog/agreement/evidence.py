"""Evidence: two signed statements that no honest key makes both (specs/agreement.md, A14).

It holds signed bytes only, nothing that one node saw and another did not, so everybody judges it alike. It never
expires, and it never acts: what follows from it is governance's decision, entered like any other statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from glasslog import codec
from glasslog.agreement.messages import Kind, Vote, decode_message, encode_message, vote_bytes
from glasslog.block import decode_header_leaf, verify_header
from glasslog.codec import ArrayReader
from glasslog.errors import AdmissionError, DecodeError
from glasslog.identity import Verify
from glasslog.limits import HEADER_LEAF_BYTES_MAX, LEAF_BYTES_MAX
from glasslog.membership import Membership

EVIDENCE_DOMAIN = "glasslog/evidence/v1"


class Fault(Enum):
    """What the accused key did."""

    DOUBLE_NOTARIZE = "double-notarize"
    DOUBLE_FINALIZE = "double-finalize"
    NULLIFY_AND_FINALIZE = "nullify-and-finalize"
    AUTHOR_FORK = "author-fork"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The two statements, as canonical bytes in bytewise order: vote messages, or block header leaves."""

    fault: Fault
    epoch: int
    accused: str
    first: bytes
    second: bytes

    def encode(self) -> bytes:
        """Return the canonical bytes that enter the ledger."""
        return codec.encode([EVIDENCE_DOMAIN, self.fault.value, self.epoch, self.accused, self.first, self.second])


def decode_evidence(data: bytes) -> Evidence:
    """Return the evidence these bytes encode; whether it convicts is ``verify_evidence``'s business."""
    reader = ArrayReader.parse(data, "evidence", size_max=LEAF_BYTES_MAX)
    if reader.text("domain", most=64) != EVIDENCE_DOMAIN:
        raise DecodeError("EVIDENCE-01", "not glasslog evidence")
    fault = reader.text("fault", most=32)
    if fault not in {known.value for known in Fault}:
        raise DecodeError("EVIDENCE-02", f"unknown fault {fault!r}")
    epoch, accused = reader.uint("epoch"), reader.name("accused")
    first = reader.bytes("first", most=HEADER_LEAF_BYTES_MAX)
    second = reader.bytes("second", most=HEADER_LEAF_BYTES_MAX)
    reader.end()
    if first >= second:
        raise DecodeError("EVIDENCE-03", "the two statements are the same, or not in bytewise order")
    return Evidence(Fault(fault), epoch, accused, first, second)


def of_votes(fault: Fault, accused: str, one: Vote, other: Vote) -> Evidence:
    """Return the evidence that two votes of one validator make."""
    first, second = sorted((encode_message(one), encode_message(other)))
    return Evidence(fault, one.epoch, accused, first, second)


def of_headers(epoch: int, author: str, one: bytes, other: bytes) -> Evidence:
    """Return the evidence that two header leaves of one author at one number make."""
    first, second = sorted((one, other))
    return Evidence(Fault.AUTHOR_FORK, epoch, author, first, second)


def verify_evidence(evidence: Evidence, membership: Membership, verify: Verify) -> None:
    """Convict or raise: anyone can repeat this from the ledger's leaves alone.

    Raises:
        DecodeError: a statement is not what the fault is about.
        SignatureError: a statement is not by the accused.
        AdmissionError: an honest key could have signed both.
    """
    if evidence.epoch != membership.epoch:  # also of a fork, or one fork would be evidence under any epoch
        raise AdmissionError("EVIDENCE-04", "evidence of another epoch")
    if evidence.fault is Fault.AUTHOR_FORK:
        _verify_fork(evidence, membership, verify)
        return
    votes = [_read_vote(data) for data in (evidence.first, evidence.second)]
    for vote in votes:
        if vote.epoch != evidence.epoch:
            raise AdmissionError("EVIDENCE-04", "a vote of another epoch")
        if vote.voter >= len(membership.validators) or membership.validators[vote.voter].name != evidence.accused:
            raise AdmissionError("EVIDENCE-05", "a vote of another validator")
        message = vote_bytes(membership.genesis_hash, vote.epoch, vote.view, vote.kind, vote.digest)
        if not verify(membership.vote_key(vote.voter), message, vote.signature):
            raise AdmissionError("EVIDENCE-06", "a vote that the accused did not sign")
    one, other = votes
    if one.view != other.view or fault_of(one, other) is not evidence.fault:
        raise AdmissionError("EVIDENCE-07", f"an honest validator may sign both: no {evidence.fault.value}")


def fault_of(one: Vote, other: Vote) -> Fault | None:
    """Return the fault that two votes of one validator in one view are, or None."""
    kinds = {one.kind, other.kind}
    if kinds == {Kind.NULLIFY, Kind.FINALIZE}:
        return Fault.NULLIFY_AND_FINALIZE
    if len(kinds) == 1 and one.digest != other.digest:
        return {Kind.NOTARIZE: Fault.DOUBLE_NOTARIZE, Kind.FINALIZE: Fault.DOUBLE_FINALIZE}.get(one.kind)
    return None


def _read_vote(data: bytes) -> Vote:
    message = decode_message(data)
    if not isinstance(message, Vote):
        raise DecodeError("EVIDENCE-08", "the statement is not a vote")
    return message


def _verify_fork(evidence: Evidence, membership: Membership, verify: Verify) -> None:
    places: set[tuple[str, int]] = set()
    for leaf in (evidence.first, evidence.second):
        header = decode_header_leaf(leaf)[0]
        verify_header(leaf, genesis_hash=membership.genesis_hash, author_key=membership.author_key, verify=verify)
        places.add((header.author, header.seq))
    if len(places) != 1 or next(iter(places))[0] != evidence.accused:
        raise AdmissionError("EVIDENCE-09", "the headers are not two of the accused at one number")
