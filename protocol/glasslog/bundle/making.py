"""Making bundles out of a replica's ledger, and tlog-proofs out of bundles (specs/log.md, L11 and L12)."""

from __future__ import annotations

from typing import Protocol

from glasslog import merkle
from glasslog.block import decode_header_leaf
from glasslog.bundle.form import Bundle
from glasslog.bundle.sealed import Opening, split_path
from glasslog.checkpoint import Checkpoint
from glasslog.entry import LeafKind, MembershipLeaf, decode_leaf, leaf_kind
from glasslog.errors import ProofError
from glasslog.limits import MEMBERS_MAX
from glasslog.note import Note
from glasslog.proof import TlogProof
from glasslog.tiles import HashReader

TLOG_PROOF_NOTICE = (
    b"Exported from a glasslog bundle without its author signature: this shows what the log's quorum "
    b"holds, not that the author signed it. Only the bundle shows that."
)


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
