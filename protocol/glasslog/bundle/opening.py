"""Openings as a file, and a bundle with one of them put in (specs/secrecy.md, X6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from glasslog import codec
from glasslog.block import decode_header_leaf
from glasslog.bundle.fields import Opened, read_openings
from glasslog.bundle.form import Bundle, opening_value, read_opening
from glasslog.bundle.sealed import FieldOpening, Opening, compute_commitment, expect_domain, open_field
from glasslog.codec import ArrayReader
from glasslog.entry import LeafKind, SealedEntry, decode_leaf, leaf_kind
from glasslog.errors import DecodeError, ProofError, ProtocolError

OPENINGS_DOMAIN = "glasslog/openings/v1"
OPENINGS_BYTES_MAX = 8 << 20


def encode_openings(openings: Sequence[Opening]) -> bytes:
    """Return openings of one entry as a file."""
    return codec.encode([OPENINGS_DOMAIN, *[opening_value(opening) for opening in openings]])


def decode_openings(data: bytes) -> tuple[Opening, ...]:
    """Return the openings of a file; at least one, all of one entry.

    Raises:
        DecodeError: SEAL-04, it is no file of openings, or one in it does not hold.
    """
    try:
        reader = ArrayReader.parse(data, "openings", size_max=OPENINGS_BYTES_MAX)
        expect_domain(reader, OPENINGS_DOMAIN)
        openings = tuple(read_opening(reader.array("opening")) for _ in range(reader.left))
        read_openings(openings)
    except ProtocolError as error:
        raise DecodeError("SEAL-04", f"not a file of openings: {error.fact}") from error
    return openings


def select_opening(openings: Sequence[Opening], field: str | None) -> Opening:
    """Return the one opening that a bundle can carry: the only one, or that of the named field.

    Raises:
        ProtocolError: SEAL-25, several and none named, or none of that name.
    """
    if field is None and len(openings) == 1:
        return openings[0]
    for opening in openings:
        if field is not None and isinstance(opening, FieldOpening) and open_field(opening)[1][0] == field:
            return opening
    fact = (
        f"{len(openings)} fields are open, and a bundle carries one" if field is None else f"{field[:80]!r} is not open"
    )
    raise DecodeError("SEAL-25", fact)


def check_openings(bundle: bytes, openings: Sequence[Opening]) -> Opened:
    """Return what the openings show of the sealed entry that a bundle proves; the bundle is not verified here.

    Raises:
        ProtocolError: BUNDLE-nn no bundle; BUNDLE-08, the entry is not sealed or is another; SEAL-05.
    """
    decoded = Bundle.decode(bundle)
    try:
        if leaf_kind(decoded.entry) is not LeafKind.SEALED:
            raise ProofError("BUNDLE-08", "an opening beside an entry that is not sealed")
        entry, header = decode_leaf(decoded.entry), decode_header_leaf(decoded.header)[0]
    except DecodeError as error:
        raise DecodeError("BUNDLE-01", f"not a bundle: {error.fact}") from error
    opened = read_openings(openings)
    if not isinstance(entry, SealedEntry) or entry.commitment != compute_commitment(
        header.genesis_hash, entry.author, entry.seq, opened.salt, opened.content_root
    ):
        raise ProofError("BUNDLE-08", "the opening is not of what the entry commits to")
    return opened


def open_bundle(bundle: bytes, opening: Opening) -> bytes:
    """Return the bundle with the opening in it.

    Raises:
        ProtocolError: as ``check_openings``.
    """
    check_openings(bundle, [opening])
    return replace(Bundle.decode(bundle), opening=opening).encode()
