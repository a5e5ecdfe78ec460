"""The bundle as a file: one deterministic-CBOR array, in one encoding (specs/log.md, L11)."""

from __future__ import annotations

from dataclasses import dataclass

from glasslog import codec
from glasslog.bundle.sealed import FieldOpening, Opening, StatementOpening
from glasslog.codec import ArrayReader, Value
from glasslog.errors import DecodeError
from glasslog.limits import HEADER_LEAF_BYTES_MAX, LEAF_BYTES_MAX, STATEMENT_BYTES_MAX
from glasslog.merkle import HASH_BYTES
from glasslog.note import NOTE_BYTES_MAX

BUNDLE_DOMAIN = "glasslog/bundle/v1"
BUNDLE_BYTES_MAX = NOTE_BYTES_MAX + 4 * LEAF_BYTES_MAX
_PATH_BYTES_MAX = 63 * HASH_BYTES


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
                opening_value(self.opening),
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
        opening=None if r.skip_null() else read_opening(r.array("opening")),
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


def opening_value(opening: Opening | None) -> Value:
    """Return an opening as it stands in a bundle."""
    match opening:
        case None:
            return None
        case StatementOpening(salt, statement):
            return [0, salt, statement]
        case FieldOpening():
            return [1, opening.salt, opening.count, opening.root, opening.place, opening.field, opening.path]


def read_opening(r: ArrayReader) -> Opening:
    """Return the opening that an array holds.

    Raises:
        DecodeError: WIRE-01 or BUNDLE-01.
    """
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
