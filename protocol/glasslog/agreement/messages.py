"""What replicas say to one another, and the bytes it is said in (specs/wire.md, W4; specs/wire.cddl).

Every message is one deterministic-CBOR array whose first element is its type. ``encode_message`` and
``decode_message`` are each other's inverse; ``decode_message`` refuses everything else with
``DecodeError``. Signatures are *not* checked here: ``Replica.step`` does that, against an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import TypeAlias

from glasslog import codec
from glasslog.block import Ref
from glasslog.codec import ArrayReader
from glasslog.errors import DecodeError
from glasslog.limits import (
    ANNOUNCED_MAX,
    BLOCK_BYTES_MAX,
    HAVES_MAX,
    HEADER_LEAF_BYTES_MAX,
    MEMBERS_MAX,
    MESSAGE_BYTES_MAX,
    REQUEST_VIEWS_MAX,
    RUN_HEIGHTS_MAX,
    VALIDATORS_MAX,
)

VOTE_DOMAIN = "glasslog/vote/v1"
PROPOSAL_DOMAIN = b"glasslog/proposal/v1\x00"
SIGNATURE_BYTES = 64
NO_DIGEST = b""


class Kind(IntEnum):
    """The three kinds of vote and certificate (specs/agreement.md, A16)."""

    NOTARIZE = 1
    NULLIFY = 2
    FINALIZE = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a leader asks a view to agree on: where every author's chain now ends, and the tree after it.

    ``time`` is in milliseconds since 1970; ``size`` and ``root`` are the log's after this height.
    """

    epoch: int
    view: int
    height: int
    parent_view: int
    parent_digest: bytes
    time: int
    advance: tuple[Ref, ...]
    size: int
    root: bytes

    def encode(self) -> bytes:
        """Return the canonical bytes that ``digest`` covers."""
        return codec.encode(self.to_value())

    def to_value(self) -> codec.Value:
        """Return the nine fields as they are encoded."""
        return [
            self.epoch,
            self.view,
            self.height,
            self.parent_view,
            self.parent_digest,
            self.time,
            [[ref.author, ref.seq, ref.hash] for ref in self.advance],
            self.size,
            self.root,
        ]

    @property
    def digest(self) -> bytes:
        """SHA-256 over the domain and the canonical proposal (specs/agreement.md, A17)."""
        return _digest_of(self)


@lru_cache(1024)  # asked for at every step, encoded once
def _digest_of(proposal: Proposal) -> bytes:
    return sha256(PROPOSAL_DOMAIN + proposal.encode()).digest()


@dataclass(frozen=True, slots=True)
class SignedProposal:
    """A proposal under its leader's signature, which is the leader's notarize vote."""

    proposal: Proposal
    signature: bytes


@dataclass(frozen=True, slots=True)
class Vote:
    """One validator's word on one view. ``digest`` is empty for ``Kind.NULLIFY``."""

    epoch: int
    view: int
    kind: Kind
    digest: bytes
    voter: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """A quorum of votes: distinct signers, ascending, each with its own signature (attributable)."""

    epoch: int
    view: int
    kind: Kind
    digest: bytes
    signers: tuple[int, ...]
    signatures: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Have:
    """The sender's word that it durably holds these authors' chains, without a gap, up to here (A9)."""

    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class BlockBody:
    """A whole attestation block: its entries as an entry bundle, and its header leaf."""

    header: bytes
    entries: bytes


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """Asks for an author's blocks ``first_seq..last_seq``, on the chain that ends in ``last_hash``."""

    author: str
    first_seq: int
    last_seq: int
    last_hash: bytes


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """Asks for every certificate, and the notarized proposal, of these views (pitfall P3)."""

    epoch: int
    views: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Asks for the finalized heights from ``height`` on."""

    height: int


@dataclass(frozen=True, slots=True)
class FinalizedRun:
    """Consecutive heights' proposals, each the next one's parent, and the finalize certificate of the last."""

    proposals: tuple[Proposal, ...]
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One validator's lines on one checkpoint (specs/log.md, L9). ``time`` is in seconds."""

    size: int
    root: bytes
    time: int
    log: bytes  # 0x01: Ed25519 over the note text
    ed25519: bytes  # 0x04: cosignature/v1
    mldsa44: bytes  # 0x06: subtree/v1
    voter: int


@dataclass(frozen=True, slots=True)
class Status:
    """Where a replica stands. Sent on connecting, every few seconds, and never trusted: it only prompts."""

    epoch: int
    view: int
    floor_view: int
    height: int
    size: int
    published: int


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """A member that may have lost state asks what it must not contradict (A10). ``nonce``: this boot's."""

    nonce: bytes
    author: str | None


@dataclass(frozen=True, slots=True)
class RecoveryReply:
    """The answer, of things that can be checked: the asker must not have to believe anybody (A10).

    ``certificate`` is the highest held, ``final`` the highest finalize certificate, ``tip`` the header leaf of the
    asking author's last block that is held and not final here.
    """

    nonce: bytes
    certificate: Certificate | None
    final: Certificate | None
    published: int
    tip: bytes | None


@dataclass(frozen=True, slots=True)
class Published:
    """A published checkpoint, the whole signed note: q distinct validators' lines."""

    note: bytes


@dataclass(frozen=True, slots=True)
class Announcement:
    """Gossip: header leaves of new blocks, so that whoever was not told directly may ask for the bodies."""

    headers: tuple[bytes, ...]


Message: TypeAlias = (
    SignedProposal
    | Vote
    | Certificate
    | Have
    | BlockBody
    | BlockRequest
    | CertificateRequest
    | RunRequest
    | FinalizedRun
    | Cosignature
    | Status
    | RecoveryRequest
    | RecoveryReply
    | Published
    | Announcement
)


def vote_bytes(genesis_hash: bytes, epoch: int, view: int, kind: Kind, digest: bytes) -> bytes:
    """Return the bytes a vote signs: domain, network, epoch, view, kind, digest (specs/agreement.md, A16)."""
    return codec.encode([VOTE_DOMAIN, genesis_hash, epoch, view, int(kind), digest])


def _certificate_value(certificate: Certificate) -> codec.Value:
    return [
        certificate.epoch,
        certificate.view,
        int(certificate.kind),
        certificate.digest,
        list(certificate.signers),
        list(certificate.signatures),
    ]


def _refs_value(refs: tuple[Ref, ...]) -> codec.Value:
    return [[ref.author, ref.seq, ref.hash] for ref in refs]


def encode_message(message: Message) -> bytes:
    """Return the message's one canonical encoding."""
    return codec.encode(_message_value(message))


def _message_value(message: Message) -> codec.Value:  # noqa: C901, PLR0911, PLR0912 - one arm for each message type
    match message:
        case SignedProposal(proposal, signature):
            return [1, proposal.to_value(), signature]
        case Vote():
            return [2, message.epoch, message.view, int(message.kind), message.digest, message.voter, message.signature]
        case Certificate():
            return [3, _certificate_value(message)]
        case Have(refs):
            return [4, _refs_value(refs)]
        case BlockBody(header, entries):
            return [5, header, entries]
        case BlockRequest(author, first_seq, last_seq, last_hash):
            return [6, author, first_seq, last_seq, last_hash]
        case CertificateRequest(epoch, views):
            return [7, epoch, list(views)]
        case RunRequest(height):
            return [8, height]
        case FinalizedRun(proposals, certificate):
            return [9, [proposal.to_value() for proposal in proposals], _certificate_value(certificate)]
        case Cosignature():
            return [
                10, message.size, message.root, message.time,
                message.log, message.ed25519, message.mldsa44, message.voter,
            ]  # fmt: skip
        case Status():
            return [
                11, message.epoch, message.view, message.floor_view,
                message.height, message.size, message.published,
            ]  # fmt: skip
        case RecoveryRequest(nonce, author):
            return [12, nonce, author]
        case RecoveryReply(nonce, certificate, final, published, tip):
            values = [None if each is None else _certificate_value(each) for each in (certificate, final)]
            return [13, nonce, *values, published, tip]
        case Published(note):
            return [14, note]
        case Announcement(headers):
            return [15, list(headers)]


def decode_message(data: bytes) -> Message:
    """Return the message these bytes are the canonical encoding of.

    Raises:
        DecodeError: over MESSAGE_BYTES_MAX, not canonical CBOR, or not one of the messages.
    """
    reader = ArrayReader.parse(data, "message", size_max=MESSAGE_BYTES_MAX)
    message = _read_message(reader.uint("type"), reader)
    reader.end()
    return message


def _read_message(type_: int, r: ArrayReader) -> Message:  # noqa: C901, PLR0911, PLR0912 - one arm for each message type
    match type_:
        case 1:
            return SignedProposal(read_proposal(r.array("proposal")), r.bytes("signature", exactly=SIGNATURE_BYTES))
        case 2:
            epoch, view, kind = r.uint("epoch"), r.uint("view"), _read_kind(r)
            return Vote(epoch, view, kind, _read_digest(r, kind), r.uint("voter"), r.bytes("signature", exactly=64))
        case 3:
            return read_certificate(r.array("certificate"))
        case 4:
            return Have(_read_refs(r.array("refs"), HAVES_MAX))
        case 5:
            header = r.bytes("header", most=HEADER_LEAF_BYTES_MAX)
            return BlockBody(header, r.bytes("entries", most=BLOCK_BYTES_MAX))
        case 6:
            return BlockRequest(r.name("author"), r.uint("first"), r.uint("last"), r.bytes("hash", exactly=32))
        case 7:
            epoch, views = r.uint("epoch"), r.array("views", most=REQUEST_VIEWS_MAX)
            return CertificateRequest(epoch, tuple(views.uint("view") for _ in range(views.left)))
        case 8:
            return RunRequest(r.uint("height"))
        case 9:
            proposals = r.array("proposals", most=RUN_HEIGHTS_MAX)
            run = tuple(read_proposal(proposals.array("proposal")) for _ in range(proposals.left))
            return FinalizedRun(run, read_certificate(r.array("certificate")))
        case 10:
            return Cosignature(
                r.uint("size"), r.bytes("root", exactly=32), r.uint("time"), r.bytes("log", exactly=64),
                r.bytes("ed25519", exactly=64), r.bytes("mldsa44", exactly=2420), r.uint("voter"),
            )  # fmt: skip
        case 11:
            return Status(*(r.uint(name) for name in ("epoch", "view", "floor", "height", "size", "published")))
        case 12:
            return RecoveryRequest(r.bytes("nonce", exactly=16), None if r.skip_null() else r.name("author"))
        case 13:
            nonce = r.bytes("nonce", exactly=16)
            certificate = None if r.skip_null() else read_certificate(r.array("certificate"))
            final = None if r.skip_null() else read_certificate(r.array("final"))
            published = r.uint("published")
            tip = None if r.skip_null() else r.bytes("tip", most=HEADER_LEAF_BYTES_MAX)
            return RecoveryReply(nonce, certificate, final, published, tip)
        case 14:
            return Published(r.bytes("note", most=MESSAGE_BYTES_MAX))
        case 15:
            headers = r.array("headers", most=ANNOUNCED_MAX)
            return Announcement(tuple(headers.bytes("header", most=HEADER_LEAF_BYTES_MAX) for _ in range(headers.left)))
        case _:
            raise DecodeError("WIRE-02", f"unknown message type {type_}")


def read_proposal(r: ArrayReader) -> Proposal:
    """Read the nine fields of a proposal; ``advance`` must ascend strictly by author (A17)."""
    proposal = Proposal(
        r.uint("epoch"), r.uint("view"), r.uint("height"), r.uint("parent view"),
        r.bytes("parent digest", exactly=32), r.uint("time"),
        _read_refs(r.array("advance"), MEMBERS_MAX), r.uint("size"), r.bytes("root", exactly=32),
    )  # fmt: skip
    r.end()
    return proposal


def read_certificate(r: ArrayReader) -> Certificate:
    """Read a certificate; signers must ascend strictly and match the signatures one to one."""
    epoch, view, kind = r.uint("epoch"), r.uint("view"), _read_kind(r)
    digest = _read_digest(r, kind)
    signers = r.array("signers", most=VALIDATORS_MAX)
    indices = tuple(signers.uint("signer") for _ in range(signers.left))
    signatures = r.array("signatures", most=VALIDATORS_MAX)
    sigs = tuple(signatures.bytes("signature", exactly=SIGNATURE_BYTES) for _ in range(signatures.left))
    r.end()
    if len(indices) != len(sigs) or any(a >= b for a, b in pairwise(indices)):
        raise DecodeError("WIRE-03", "certificate signers not ascending, or not one signature each")
    return Certificate(epoch, view, kind, digest, indices, sigs)


def decode_proposal(data: bytes) -> Proposal:
    """Return the proposal these canonical bytes encode (stores keep proposals this way)."""
    return read_proposal(ArrayReader.parse(data, "proposal", size_max=MESSAGE_BYTES_MAX))


def encode_certificate(certificate: Certificate) -> bytes:
    """Return the certificate's canonical bytes (stores keep certificates this way)."""
    return codec.encode(_certificate_value(certificate))


def decode_certificate(data: bytes) -> Certificate:
    """Return the certificate these canonical bytes encode."""
    return read_certificate(ArrayReader.parse(data, "certificate", size_max=MESSAGE_BYTES_MAX))


def _read_kind(r: ArrayReader) -> Kind:
    value = r.uint("kind")
    if value not in (1, 2, 3):
        raise DecodeError("WIRE-04", f"unknown vote kind {value}")
    return Kind(value)


def _read_digest(r: ArrayReader, kind: Kind) -> bytes:
    return r.bytes("digest", exactly=0 if kind is Kind.NULLIFY else 32)


def _read_ref(r: ArrayReader) -> Ref:
    ref = Ref(r.name("author"), r.uint("seq"), r.bytes("hash", exactly=32))
    r.end()
    return ref


def _read_refs(r: ArrayReader, most: int) -> tuple[Ref, ...]:
    if r.left > most:
        raise DecodeError("WIRE-05", f"{r.left} references, at most {most}")
    refs = tuple(_read_ref(r.array("reference")) for _ in range(r.left))
    if any(a.author.encode() >= b.author.encode() for a, b in pairwise(refs)):
        raise DecodeError("WIRE-06", "references not strictly ascending by author")
    return refs
