"""Bundles: one file with all that one entry needs to be verified offline (specs/log.md).

A bundle is one deterministic-CBOR array, and nothing in it is left to trust: every leaf stands under the published
checkpoint's root by a path whose length follows from its place, the checkpoint stands under a quorum of the policy's
keys, the author's signature under the key of its membership leaf. What follows from something else is not stated
again, so that no byte is without effect.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, TypeAlias

from glasslog import codec, merkle
from glasslog.block import Header, decode_header_leaf, verify_header
from glasslog.checkpoint import TIME_BYTES, Checkpoint
from glasslog.codec import ArrayReader, Value
from glasslog.entry import Genesis, LeafKind, Member, MembershipLeaf, check_entry, decode_leaf, leaf_kind
from glasslog.errors import DecodeError, ProofError, ProtocolError
from glasslog.identity import verify_ed25519
from glasslog.limits import HEADER_LEAF_BYTES_MAX, LEAF_BYTES_MAX, MEMBERS_MAX, STATEMENT_BYTES_MAX
from glasslog.merkle import HASH_BYTES, hash_leaf
from glasslog.note import NOTE_BYTES_MAX, Note
from glasslog.policy import Bft, Policy
from glasslog.proof import TlogProof
from glasslog.statement import Statement, decode_statement
from glasslog.tiles import HashReader

BUNDLE_DOMAIN = "glasslog/bundle/v1"
SEAL_DOMAIN = "glasslog/seal/v1"
BUNDLE_BYTES_MAX = NOTE_BYTES_MAX + (4 * LEAF_BYTES_MAX)
FIELDS_MAX = 4_096
_PATH_BYTES_MAX = 63 * HASH_BYTES
_FIRST_EPOCH = 1

TLOG_PROOF_NOTICE = (
    b"Exported from a glasslog bundle without its author signature: this shows what the log's quorum "
    b"holds, not that the author signed it. Only the bundle shows that."
)

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
"""What to do next, for each code of this module."""


# --- sealed entries ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatementOpening:
    """Opens a whole sealed statement: the 32-byte salt, and the statement's canonical CBOR."""

    salt: bytes
    statement: bytes


@dataclass(frozen=True, slots=True)
class FieldOpening:
    """Opens one field: ``field`` is ``[32-byte salt, name, value]``; ``path`` leads to ``root``, over ``count``."""

    salt: bytes
    count: int
    root: bytes
    place: int
    field: bytes
    path: bytes


Opening: TypeAlias = StatementOpening | FieldOpening


def compute_commitment(genesis_hash: bytes, author: str, number: int, salt: bytes, content_root: bytes) -> bytes:
    """Return what a sealed entry states about content that is kept outside the log."""
    return sha256(codec.encode([SEAL_DOMAIN, genesis_hash, author, number, salt, content_root])).digest()


def statement_root(statement: bytes) -> bytes:
    """Return the content root of a whole statement."""
    return hash_leaf(statement)


def field_root(count: int, root: bytes) -> bytes:
    """Return the content root of ``count`` fields under an RFC 9162 root.

    The count is hashed with it: an RFC 9162 path alone can hold for a neighbouring tree size.
    """
    return sha256(b"\x02" + count.to_bytes(8, "big") + root).digest()


# --- the file ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the file holds. A path is its hashes, concatenated, the leaf's sibling first.

    ``index`` is the entry's place in the log, ``position`` its place in its block; where the header stands follows.
    """

    genesis: bytes
    genesis_path: bytes
    member_index: int
    member: bytes
    member_path: bytes
    index: int
    position: int
    entry: bytes
    block_path: bytes
    entry_path: bytes
    header: bytes
    header_path: bytes
    opening: Opening | None
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return the bundle's canonical bytes; the hand-overs of the first epoch are none (A13)."""
        return codec.encode(
            [
                BUNDLE_DOMAIN,
                [self.genesis, self.genesis_path],
                [],
                [self.member_index, self.member, self.member_path],
                [self.index, self.position, self.entry, self.block_path, self.entry_path],
                [self.header, self.header_path],
                _opening_value(self.opening),
                self.checkpoint,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Bundle:
        """Return what the bytes hold; nothing is verified but their form.

        Raises:
            DecodeError: BUNDLE-01 not a bundle in its one encoding; BUNDLE-07 of a later epoch.
        """
        try:
            return _read_bundle(ArrayReader.parse(data, "bundle", size_max=BUNDLE_BYTES_MAX))
        except DecodeError as error:
            if error.code.startswith("BUNDLE"):
                raise
            raise DecodeError("BUNDLE-01", f"not a bundle: {error}") from error


def _read_bundle(r: ArrayReader) -> Bundle:
    if r.text("domain", most=64) != BUNDLE_DOMAIN:
        raise DecodeError("BUNDLE-01", f"not a bundle: it does not begin with {BUNDLE_DOMAIN}")
    genesis, handovers = r.array("genesis"), r.array("hand-overs")
    if handovers.left:
        raise DecodeError("BUNDLE-07", "the bundle has hand-overs between epochs, which this software cannot follow")
    member, entry, header = r.array("member"), r.array("entry"), r.array("header")
    bundle = Bundle(
        genesis=genesis.bytes("leaf", most=LEAF_BYTES_MAX),
        genesis_path=_read_path(genesis),
        member_index=member.uint("index"),
        member=member.bytes("leaf", most=LEAF_BYTES_MAX),
        member_path=_read_path(member),
        index=entry.uint("index"),
        position=entry.uint("position"),
        entry=entry.bytes("leaf", most=LEAF_BYTES_MAX),
        block_path=_read_path(entry),
        entry_path=_read_path(entry),
        header=header.bytes("leaf", most=HEADER_LEAF_BYTES_MAX),
        header_path=_read_path(header),
        opening=None if r.skip_null() else _read_opening(r.array("opening")),
        checkpoint=r.bytes("checkpoint", most=NOTE_BYTES_MAX),
    )
    for reader in (r, genesis, member, entry, header):
        reader.end()
    return bundle


def _read_path(r: ArrayReader) -> bytes:
    path = r.bytes("path", most=_PATH_BYTES_MAX)
    if len(path) % HASH_BYTES:
        raise DecodeError("BUNDLE-01", "not a bundle: a path that is not whole 32-byte hashes")
    return path


def _opening_value(opening: Opening | None) -> Value:
    match opening:
        case None:
            return None
        case StatementOpening(salt, statement):
            return [0, salt, statement]
        case FieldOpening():
            return [1, opening.salt, opening.count, opening.root, opening.place, opening.field, opening.path]


def _read_opening(r: ArrayReader) -> Opening:
    kind, salt = r.uint("kind"), r.bytes("salt", exactly=32)
    opening: Opening
    if kind == 0:
        opening = StatementOpening(salt, r.bytes("statement", most=STATEMENT_BYTES_MAX))
    elif kind == 1:
        count, root, place = r.uint("count"), r.bytes("root", exactly=32), r.uint("place")
        opening = FieldOpening(salt, count, root, place, r.bytes("field", most=STATEMENT_BYTES_MAX), _read_path(r))
    else:
        raise DecodeError("BUNDLE-01", f"not a bundle: an opening of unknown kind {kind}")
    r.end()
    return opening


def split_path(path: bytes) -> list[bytes]:
    """Return the hashes of a concatenated path."""
    return [path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES)]


# --- verifying ----------------------------------------------------------------------------------------


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
            content, field = _open_field(opening)
    committed = compute_commitment(header.genesis_hash, header.author, number, opening.salt, content)
    if committed != bundle.entry[-HASH_BYTES:]:
        raise ProofError("BUNDLE-08", "the opening is not of what the entry commits to")
    return statement, field


def _statement_of(entry: bytes) -> Statement:
    leaf = decode_leaf(entry)
    return decode_statement(getattr(leaf, "statement"))  # noqa: B009 - its kind was checked


def _open_field(opening: FieldOpening) -> tuple[bytes, tuple[str, Value]]:
    reader = ArrayReader.parse(opening.field, "field", size_max=STATEMENT_BYTES_MAX)
    reader.bytes("salt", exactly=32)
    name, value = reader.text("name", most=1_024), reader.value("value")
    reader.end()
    if not opening.place < opening.count <= FIELDS_MAX:
        raise DecodeError("BUNDLE-08", f"field {opening.place} of {opening.count}")
    leaf, path = hash_leaf(opening.field), split_path(opening.path)
    merkle.verify_inclusion(opening.place, opening.count, leaf, path, opening.root)
    return field_root(opening.count, opening.root), (name, value)


# --- making -------------------------------------------------------------------------------------------


class Place(Protocol):
    """Where a leaf lies: the log index of its block's first leaf, and how many leaves the block has."""

    @property
    def first_index(self) -> int: ...  # noqa: D102 - as the class says

    @property
    def leaves(self) -> int: ...  # noqa: D102 - as the class says


class SignedNote(Protocol):
    """A published checkpoint."""

    @property
    def note(self) -> bytes: ...  # noqa: D102 - the signed note's bytes


class LedgerReader(Protocol):
    """What making a bundle reads: a replica's final ledger. The store's ``Ledger`` is one."""

    def entry(self, index: int) -> bytes | None:
        """Return the leaf at ``index``."""
        ...

    def locate(self, index: int) -> Place | None:
        """Return where the leaf at ``index`` lies."""
        ...

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        """Return the first ``width`` hashes of a tile."""
        ...

    def published(self) -> SignedNote | None:
        """Return the published checkpoint."""
        ...


def make_bundle(reader: LedgerReader, index: int, opening: Opening | None = None) -> bytes:
    """Return the bundle of the entry at log ``index``; ``opening`` goes with a sealed entry.

    Raises:
        ProofError: BUNDLE-09, the leaf is not published yet, or is no entry of an author.
    """
    published = reader.published()
    checkpoint = None if published is None else Checkpoint.parse(Note.parse(published.note).text)
    if published is None or checkpoint is None or index >= checkpoint.size:
        size = 0 if checkpoint is None else checkpoint.size
        raise ProofError("BUNDLE-09", f"leaf {index} is not published yet; the published size is {size}")
    place = reader.locate(index)
    entry = _leaf(reader, index)
    if place is None or leaf_kind(entry) not in (LeafKind.STATEMENT, LeafKind.SEALED, LeafKind.SIGNED):
        raise ProofError("BUNDLE-09", f"leaf {index} is not an author's entry")
    count, position = place.leaves - 1, index - place.first_index
    header_index = place.first_index + count
    header_leaf = _leaf(reader, header_index)
    hashes = HashReader(checkpoint.size, lambda level, at, width: reader.tile(level, at, width) or b"")
    in_block = merkle.inclusion_proof(
        position, count, lambda start, end: _block_hash(hashes, place.first_index + start, place.first_index + end)
    )
    member_index, member = _find_member(reader, decode_header_leaf(header_leaf)[0].author, checkpoint.size)

    def path(at: int) -> bytes:
        return b"".join(hashes.inclusion_proof(at))

    return Bundle(
        _leaf(reader, 0), path(0), member_index, member, path(member_index), index, position, entry,
        b"".join(in_block), path(index), header_leaf, path(header_index), opening, published.note,
    ).encode()  # fmt: skip


def _block_hash(hashes: HashReader, start: int, end: int) -> bytes:
    """A block's own tree starts at its first entry, so its inner nodes are not the log's."""
    return merkle.root(b"".join([hashes.leaf_hash(index) for index in range(start, end)]))


def _leaf(reader: LedgerReader, index: int) -> bytes:
    leaf = reader.entry(index)
    if leaf is None:
        raise ProofError("BUNDLE-09", f"leaf {index} is not held here")
    return leaf


def _find_member(reader: LedgerReader, author: str, size: int) -> tuple[int, bytes]:
    """Return index and bytes of the author's membership leaf: those of the first epoch follow the genesis leaf."""
    for index in range(1, min(size, MEMBERS_MAX + 1)):
        leaf = _leaf(reader, index)
        if leaf_kind(leaf) is not LeafKind.MEMBERSHIP:
            break
        decoded = decode_leaf(leaf)
        if isinstance(decoded, MembershipLeaf) and decoded.member.name == author:
            return index, leaf
    raise ProofError("BUNDLE-09", f"no membership leaf of {author}")


def export_tlog_proof(data: bytes) -> bytes:
    """Return a bundle's entry as a bare C2SP tlog-proof, which says that it carries no author signature.

    Raises:
        DecodeError: BUNDLE-01 or BUNDLE-07.
    """
    bundle = Bundle.decode(data)
    path = tuple(split_path(bundle.entry_path))
    return TlogProof(bundle.index, path, bundle.checkpoint, TLOG_PROOF_NOTICE).format()
