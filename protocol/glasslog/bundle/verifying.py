"""Verifying a bundle offline: every part against another, the checkpoint against the policy (specs/log.md, L11)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from glasslog import merkle
from glasslog.block import Header, verify_header
from glasslog.bundle.form import Bundle
from glasslog.bundle.sealed import StatementOpening, compute_commitment, open_field, split_path, statement_root
from glasslog.checkpoint import TIME_BYTES, Checkpoint
from glasslog.codec import Value
from glasslog.entry import Genesis, LeafKind, Member, MembershipLeaf, check_entry, decode_leaf, leaf_kind
from glasslog.errors import ProofError, ProtocolError
from glasslog.identity import verify_ed25519
from glasslog.merkle import HASH_BYTES, hash_leaf
from glasslog.note import Note
from glasslog.policy import Bft, Policy
from glasslog.statement import Statement, decode_statement

_FIRST_EPOCH = 1

NEXT_STEPS = {
    "BUNDLE-01": "fetch the bundle again: glasslog prove",
    "BUNDLE-02": "check that the bundle is of the network you mean, and fetch it again: glasslog prove",
    "BUNDLE-03": "fetch the bundle again: glasslog prove; if it fails again, report it to the node's institute",
    "BUNDLE-04": "fetch the bundle again: glasslog prove; if it fails again, report it to the node's institute",
    "BUNDLE-05": "fetch the bundle again: glasslog prove; if it fails again, report it to the node's institute",
    "BUNDLE-06": "fetch the bundle again: glasslog prove; if it fails again, report it to the node's institute",
    "BUNDLE-07": "install a glasslog that knows later epochs",
    "BUNDLE-08": "ask the author for the opening of this very entry",
    "BUNDLE-09": "name a statement, sealed entry or signed statement that is published",
}
"""What to do next, for each code of this package."""


@dataclass(frozen=True, slots=True)
class Finalizer:
    """A validator whose cosignature counted, and the time it states, in seconds since 1970."""

    name: str
    jurisdiction: str
    time: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verified bundle shows.

    ``author_time`` (ms) is the author's own word. ``no_later_than`` (seconds) is a validator's: of the f+1 earliest
    cosignatures, at least one is an honest validator's, so the latest of them is no earlier than an honest clock.
    """

    origin: str
    network: str
    genesis_hash: bytes
    size: int
    root: bytes
    index: int
    kind: LeafKind
    leaf: bytes
    author: str
    author_jurisdiction: str
    number: int
    block: int
    block_hash: bytes
    author_time: int
    no_later_than: int
    finalized_by: tuple[Finalizer, ...]
    quorum: int
    validators: int
    statement: Statement | None
    field: tuple[str, Value] | None

    def sentence(self, no_later_than: str) -> str:
        """Return what is shown, and what is not, in words; ``no_later_than`` is that time as people read it."""
        names = ", ".join(f"{each.name} ({each.jurisdiction})" for each in self.finalized_by)
        return (
            f"At size {self.size}, finalized by {names}, author {self.author} had stated {self._what()} no later than "
            f"{no_later_than}. This does not show that {'it' if self.statement is None else 'the statement'} is true."
        )

    def _what(self) -> str:
        what = f"entry {self.number}"
        if self.field is not None:
            return f"the field {self.field[0]!r} of the sealed {what}"
        if self.statement is None:
            return f"the sealed {what}" if self.kind is LeafKind.SEALED else f"{what}, a third party's signed statement"
        subjects = self.statement["subject"]
        first = subjects[0] if isinstance(subjects, list) else None
        name = first.get("name") if isinstance(first, dict) else None
        return f"the statement {self.statement['predicateType']!s} about {name!s} ({what})"


def read_policy(data: bytes) -> Policy:
    """Return the policy of a file, which but for comments and blank lines is as glasslog writes it.

    Raises:
        DecodeError: POLICY-nn.
        ProofError: POLICY-10 or POLICY-11.
    """
    policy = Policy.parse(data)
    policy.bft()
    lines = [line for line in data.split(b"\n") if line.strip(b" \t") and not line.lstrip(b" \t").startswith(b"#")]
    if b"".join(line + b"\n" for line in lines) != policy.format():
        raise ProofError("POLICY-10", "a line is not spelt as glasslog writes it: one space between words")
    return policy


def verify_bundle(data: bytes, policy: Policy) -> Verified:
    """Verify a bundle against a policy, offline, and return what it shows.

    Raises:
        ProtocolError: NOTE-nn, CHECKPOINT-nn or POLICY-nn about the checkpoint; BUNDLE-01 to BUNDLE-08 about the
            rest, each with what is wrong.
    """
    bundle = Bundle.decode(data)
    bft = policy.bft()
    checkpoint, finalizers = _check_checkpoint(bundle.checkpoint, policy, bft)
    genesis = _check_genesis(bundle, checkpoint)
    genesis_hash = sha256(bundle.genesis).digest()
    member = _check_member(bundle, checkpoint)
    header = _check_header(bundle, member, genesis_hash)
    kind = _check_entry(bundle, header)
    _check_places(bundle, header, checkpoint)
    number = header.first + bundle.position
    statement, field = _check_content(bundle, kind, header, number)
    faults = len(bft.members) - bft.quorum
    return Verified(
        origin=genesis.origin,
        network=genesis.network,
        genesis_hash=genesis_hash,
        size=checkpoint.size,
        root=checkpoint.root,
        index=bundle.index,
        kind=kind,
        leaf=bundle.entry,
        author=header.author,
        author_jurisdiction=member.jurisdiction,
        number=number,
        block=header.seq,
        block_hash=sha256(bundle.header).digest(),
        author_time=header.time,
        no_later_than=sorted(each.time for each in finalizers)[faults],
        finalized_by=finalizers,
        quorum=bft.quorum,
        validators=len(bft.members),
        statement=statement,
        field=field,
    )


@contextmanager
def _about(code: str, what: str) -> Generator[None]:
    """Say of which part of the bundle an error speaks."""
    try:
        yield
    except ProtocolError as error:
        raise ProofError(code, f"{what}: {error.fact} ({error.code})") from error


def _check_checkpoint(data: bytes, policy: Policy, bft: Bft) -> tuple[Checkpoint, tuple[Finalizer, ...]]:
    note = Note.parse(data)
    policy.check(note, strict=True)
    return Checkpoint.parse(note.text), read_finalizers(note, bft)


def read_finalizers(note: Note, bft: Bft) -> tuple[Finalizer, ...]:
    """Return who cosigned a note that was verified before, in validator order."""
    times = {(line.name, line.key_id): int.from_bytes(line.signature[:TIME_BYTES], "big") for line in note.lines}
    finalizers: list[Finalizer] = []
    for member, cosigner in zip(bft.members, bft.cosigners, strict=True):
        keys = (cosigner.ed25519, cosigner.mldsa44)
        found = [times[key.name, key.key_id] for key in keys if (key.name, key.key_id) in times]
        if found:
            finalizers.append(Finalizer(member.name, member.jurisdiction, max(found)))
    return tuple(finalizers)


def _check_genesis(bundle: Bundle, checkpoint: Checkpoint) -> Genesis:
    with _about("BUNDLE-02", "the genesis leaf"):
        leaf = decode_leaf(bundle.genesis)
        merkle.verify_inclusion(
            0, checkpoint.size, hash_leaf(bundle.genesis), split_path(bundle.genesis_path), checkpoint.root
        )
    if not isinstance(leaf, Genesis) or leaf.origin != checkpoint.origin:
        raise ProofError("BUNDLE-02", f"leaf 0 does not found the log {checkpoint.origin}")
    return leaf


def _check_member(bundle: Bundle, checkpoint: Checkpoint) -> Member:
    with _about("BUNDLE-03", f"the author's membership, leaf {bundle.member_index}"):
        leaf = decode_leaf(bundle.member)
        path = split_path(bundle.member_path)
        merkle.verify_inclusion(bundle.member_index, checkpoint.size, hash_leaf(bundle.member), path, checkpoint.root)
    if not isinstance(leaf, MembershipLeaf) or leaf.epoch != _FIRST_EPOCH or leaf.member.author_key is None:
        raise ProofError("BUNDLE-03", f"leaf {bundle.member_index} admits no author in epoch {_FIRST_EPOCH}")
    return leaf.member


def _check_header(bundle: Bundle, member: Member, genesis_hash: bytes) -> Header:
    def author_key(name: str) -> bytes | None:
        return member.author_key if name == member.name else None

    with _about("BUNDLE-04", "the block header"):
        return verify_header(bundle.header, genesis_hash=genesis_hash, author_key=author_key, verify=verify_ed25519)


def _check_entry(bundle: Bundle, header: Header) -> LeafKind:
    """Check that the entry is the author's: in its form, number and place under the signed entries-root."""
    what = f"entry {bundle.position} of block {header.seq} of {header.author}"
    if bundle.position >= header.count:
        raise ProofError("BUNDLE-05", f"{what}: the block has {header.count} entries")
    with _about("BUNDLE-05", what):
        check_entry(bundle.entry, header.author, header.first + bundle.position)
        path = split_path(bundle.block_path)
        merkle.verify_inclusion(bundle.position, header.count, hash_leaf(bundle.entry), path, header.entries_root)
        return leaf_kind(bundle.entry)


def _check_places(bundle: Bundle, header: Header, checkpoint: Checkpoint) -> None:
    """Check that the log holds entry and header, the header where the entry's position puts it (L7)."""
    if bundle.index < bundle.position:
        raise ProofError("BUNDLE-06", f"leaf {bundle.index} cannot be entry {bundle.position} of a block")
    at = bundle.index - bundle.position + header.count
    for what, index, leaf, path in (
        ("the entry", bundle.index, bundle.entry, bundle.entry_path),
        ("the block header", at, bundle.header, bundle.header_path),
    ):
        with _about("BUNDLE-06", f"{what} as leaf {index} of the log"):
            merkle.verify_inclusion(index, checkpoint.size, hash_leaf(leaf), split_path(path), checkpoint.root)


def _check_content(
    bundle: Bundle, kind: LeafKind, header: Header, number: int
) -> tuple[Statement | None, tuple[str, Value] | None]:
    """Return the statement, or the field of one, that the entry is or that its opening opens."""
    opening = bundle.opening
    if opening is None:
        return _statement_of(bundle.entry) if kind is LeafKind.STATEMENT else None, None
    if kind is not LeafKind.SEALED:
        raise ProofError("BUNDLE-08", "an opening beside an entry that is not sealed")
    statement: Statement | None = None
    field: tuple[str, Value] | None = None
    with _about("BUNDLE-08", "the opening"):
        if isinstance(opening, StatementOpening):
            content, statement = statement_root(opening.statement), decode_statement(opening.statement)
        else:
            content, field = open_field(opening)
    committed = compute_commitment(header.genesis_hash, header.author, number, opening.salt, content)
    if committed != bundle.entry[-HASH_BYTES:]:
        raise ProofError("BUNDLE-08", "the opening is not of what the entry commits to")
    return statement, field


def _statement_of(entry: bytes) -> Statement:
    leaf = decode_leaf(entry)
    return decode_statement(getattr(leaf, "statement"))  # noqa: B009 - its kind was checked
