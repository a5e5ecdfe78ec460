"""What the oracle remembers of each member, and the few sums that every judgement needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from glasslog import codec
from glasslog.agreement.messages import Certificate, Kind, Proposal
from simulation.suite import public_key, verify

Signed = tuple[int, Kind, bytes]


@dataclass
class Witness:
    """All that one honest member ever did, over all its restarts. Never forgets, whatever its disk does."""

    name: str
    index: int | None
    votes: set[Signed] = field(default_factory=set[Signed])
    by_view: dict[int, dict[Kind, bytes]] = field(default_factory=dict[int, dict[Kind, bytes]])
    held: set[bytes] = field(default_factory=set[bytes])  # block hashes on its disk, ever
    proposals: set[bytes] = field(default_factory=set[bytes])  # digests on its disk, ever
    certificates: set[Signed] = field(default_factory=set[Signed])  # on its disk, ever
    left: set[int] = field(default_factory=set[int])  # views with a certificate on its disk, ever
    gapless: set[bytes] = field(default_factory=set[bytes])  # held blocks with all that lead up to them
    sizes: dict[int, bytes] = field(default_factory=dict[int, bytes])  # final size to root, ever
    final_view: int = 0  # of the highest finalize certificate on its disk, ever
    floor_view: int = 0
    floor_digest: bytes = b""
    height: int = 0
    published: int = 0
    intents: dict[int, tuple[bytes, int]] = field(default_factory=dict[int, tuple[bytes, int]])
    intent_size: int = 0
    intent_time: int = 0
    recovering_from: int | None = None  # highest view it may have signed in when it lost its state
    accused: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])  # (who, of what)

    def lose(self) -> None:
        """Its disk is gone or older: positions start again, what was signed stays signed."""
        self.recovering_from = max((view for view, _, _ in self.votes), default=0)
        self.floor_view = self.height = self.published = self.intent_size = self.intent_time = 0
        self.accused.clear()  # it may find and keep the same evidence again

    def keep(self, certificate: Certificate) -> None:
        """A certificate is on its disk."""
        self.certificates.add((certificate.view, certificate.kind, certificate.digest))
        self.left.add(certificate.view)
        if certificate.kind is Kind.FINALIZE:
            self.final_view = max(self.final_view, certificate.view)


def digest_of(proposal: Proposal) -> bytes:
    """A17, worked out anew."""
    refs: list[codec.Value] = [[ref.author, ref.seq, ref.hash] for ref in proposal.advance]
    fields: list[codec.Value] = [
        proposal.epoch, proposal.view, proposal.height, proposal.parent_view, proposal.parent_digest,
        proposal.time, refs, proposal.size, proposal.root,
    ]  # fmt: skip
    return sha256(b"glasslog/proposal/v1\0" + codec.encode(fields)).digest()


def is_signed(genesis_hash: bytes, name: str, signed: Signed, signature: bytes) -> bool:
    """A16: the signature is this validator's on this vote, in this network and in epoch 1."""
    view, kind, digest = signed
    message = codec.encode(["glasslog/vote/v1", genesis_hash, 1, view, kind.value, digest])
    return verify(public_key(name, "vote"), message, signature)
