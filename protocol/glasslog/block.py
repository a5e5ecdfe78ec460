"""Attestation blocks: an author's entries in order, and the signed header that closes them (specs/log.md).

``verify_block`` decides whether bytes from outside are a block; it is the hot path of every node. What it does not
know is the ledger: whether the block follows the author's last one, and whether quotas hold, is ``ledger``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from glasslog import codec, cose, merkle
from glasslog.codec import ArrayReader
from glasslog.errors import AdmissionError, DecodeError, SignatureError
from glasslog.limits import BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, HEADER_LEAF_BYTES_MAX, LEAF_BYTES_MAX
from glasslog.shapes import SHAPES, Shapes

Verify = Callable[[bytes, bytes, bytes], bool]  # public key, message, signature

HEADER_LEAF_KIND = 3
_HEADER_PREFIX = codec.encode_head(4, 2) + codec.encode(HEADER_LEAF_KIND)


@dataclass(frozen=True, slots=True)
class Ref:
    """Names one block of one author: its number, from 1, and the SHA-256 of its header leaf."""

    author: str
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What an author signs about a block. ``first`` is the number of its first entry; ``time`` is in milliseconds."""

    genesis_hash: bytes
    author: str
    seq: int
    prev: bytes
    first: int
    count: int
    entries_root: bytes
    time: int

    def encode(self) -> bytes:
        """Return the payload of the header's COSE_Sign1."""
        return codec.encode(
            [
                self.genesis_hash,
                self.author,
                self.seq,
                self.prev,
                self.first,
                self.count,
                self.entries_root,
                self.time,
            ]
        )


@dataclass(frozen=True, slots=True)
class Block:
    """A whole block. ``entries`` is an entry bundle; ``leaf_hashes`` are 32 bytes for each entry, then the header."""

    header: Header
    leaf: bytes
    hash: bytes
    entries: bytes
    leaf_hashes: bytes

    @property
    def ref(self) -> Ref:
        """The block's name."""
        return Ref(self.header.author, self.header.seq, self.hash)

    @property
    def next_entry(self) -> int:
        """The number of the first entry of the author's next block."""
        return self.header.first + self.header.count

    @property
    def body_bytes(self) -> int:
        """The block's size in a height: every entry and the header, each behind its uint16 length."""
        return len(self.entries) + 2 + len(self.leaf)


def ref_of(header: Header, leaf: bytes) -> Ref:
    """Return the name of the block whose header leaf this is."""
    return Ref(header.author, header.seq, sha256(leaf).digest())


# --- headers --------------------------------------------------------------------------------------


def encode_header_leaf(sign1: bytes) -> bytes:
    """Return the leaf of a header's COSE_Sign1."""
    return _HEADER_PREFIX + codec.encode(sign1)


def decode_header_leaf(leaf: bytes) -> tuple[Header, bytes, bytes]:
    """Return the header, its payload bytes and its signature. The signature is not checked here.

    Raises:
        DecodeError: BLOCK-01 or BLOCK-02, not the leaf of a block header.
    """
    if len(leaf) > HEADER_LEAF_BYTES_MAX:
        raise DecodeError("BLOCK-01", f"a header of {len(leaf)} bytes, at most {HEADER_LEAF_BYTES_MAX} allowed")
    if not leaf.startswith(_HEADER_PREFIX):
        raise DecodeError("BLOCK-02", "not a block header: another kind of leaf")
    try:
        sign1 = codec.decode(leaf[len(_HEADER_PREFIX) :], size_max=HEADER_LEAF_BYTES_MAX)
        payload, signature = cose.parse_sign1(sign1 if isinstance(sign1, bytes) else b"")
        header = _read_header(payload)
    except DecodeError as error:
        raise DecodeError("BLOCK-02", f"not a block header: {error}") from error
    _check_header(header)
    return header, payload, signature


def _read_header(payload: bytes) -> Header:
    r = ArrayReader.parse(payload, "block header", size_max=HEADER_LEAF_BYTES_MAX)
    header = Header(
        r.bytes("genesis-hash", exactly=32), r.name("author"), r.uint("seq"), r.bytes("prev", exactly=32),
        r.uint("first"), r.uint("count"), r.bytes("entries-root", exactly=32), r.uint("time"),
    )  # fmt: skip
    r.end()
    return header


def _check_header(header: Header) -> None:
    if header.seq == 0 or not 1 <= header.count <= BLOCK_ENTRIES_MAX or header.first + header.count > codec.INT_MAX:
        raise DecodeError("BLOCK-02", f"block {header.seq} with {header.count} entries from number {header.first}")
    if header.seq == 1 and (header.prev != header.genesis_hash or header.first != 0):
        raise DecodeError("BLOCK-02", "an author's block 1 begins at entry 0 and names the genesis as its prev")


def verify_header(
    leaf: bytes,
    *,
    genesis_hash: bytes,
    author_key: Callable[[str], bytes | None],
    verify: Verify,
) -> Header:
    """Check a header leaf that came from outside, without its entries, and return the header.

    ``author_key`` returns an admitted author's Ed25519 key, or None.

    Raises:
        DecodeError: BLOCK-01 or BLOCK-02, not the leaf of a block header.
        AdmissionError: BLOCK-03 another network's; BLOCK-04 nobody admitted wrote it.
        SignatureError: BLOCK-05 the author did not sign it.
    """
    header, payload, signature = decode_header_leaf(leaf)
    if header.genesis_hash != genesis_hash:
        raise AdmissionError("BLOCK-03", f"block {header.seq} of {header.author} is for another network")
    key = author_key(header.author)
    if key is None:
        raise AdmissionError("BLOCK-04", f"{header.author} is not admitted as an author")
    if not verify(key, cose.to_be_signed(payload), signature):
        raise SignatureError("BLOCK-05", f"block {header.seq} of {header.author} is not signed by its key")
    return header


# --- bodies ---------------------------------------------------------------------------------------


def split(entries: bytes) -> list[bytes]:
    """Return the entries of an entry bundle: (uint16 big-endian length, entry) each (C2SP tlog-tiles).

    Raises:
        DecodeError: BLOCK-06, the bundle ends inside an entry.
    """
    out = _split_even(entries)
    if out is not None:
        return out
    out = list[bytes]()
    at, end = 0, len(entries)
    while at + 1 < end:
        start = at + 2
        at = start + (entries[at] << 8 | entries[at + 1])
        out.append(entries[start:at])
    if at != end:
        raise DecodeError("BLOCK-06", "the entries end inside an entry")
    return out


def _split_even(entries: bytes) -> list[bytes] | None:
    """Return the entries if all have one length, which two slices over the whole bundle tell; else None."""
    step = 2 + int.from_bytes(entries[:2], "big")
    count, rest = divmod(len(entries), step)
    if rest or entries[::step] != entries[:1] * count or entries[1::step] != entries[1:2] * count:
        return None
    return [entries[at : at + step - 2] for at in range(2, len(entries) + 1, step)]


def join(entries: Sequence[bytes]) -> bytes:
    """Return the entry bundle of ``entries``: the inverse of ``split``.

    Raises:
        ValueError: an entry is larger than a leaf may be.
    """
    if any(len(entry) > LEAF_BYTES_MAX for entry in entries):
        raise ValueError(f"an entry of more than {LEAF_BYTES_MAX} bytes")
    return b"".join([part for entry in entries for part in (len(entry).to_bytes(2, "big"), entry)])


# --- blocks ---------------------------------------------------------------------------------------


def build_block(
    entries: Sequence[bytes],
    *,
    genesis_hash: bytes,
    author: str,
    seq: int,
    prev: bytes,
    first: int,
    time: int,
    sign: Callable[[bytes], bytes],
) -> Block:
    """Return the block of ``entries``, which must be the author's, valid, and numbered from ``first`` on.

    ``time`` is in milliseconds since 1970; ``sign`` returns the author's Ed25519 signature over a message. Entries
    are not validated again here: whoever spooled them has done that, and every validator will.

    Raises:
        ValueError: no entries or more than a block holds, in number or in bytes.
    """
    body = join(entries)
    hashes = merkle.hash_leaves(entries)
    header = Header(genesis_hash, author, seq, prev, first, len(entries), merkle.root(hashes), time)
    payload = header.encode()
    leaf = encode_header_leaf(cose.sign1(payload, sign(cose.to_be_signed(payload))))
    if not 1 <= len(entries) <= BLOCK_ENTRIES_MAX or len(body) + 2 + len(leaf) > BLOCK_BYTES_MAX:
        raise ValueError(f"{len(entries)} entries of {len(body)} bytes do not make a block")
    return Block(header, leaf, sha256(leaf).digest(), body, hashes + merkle.hash_leaf(leaf))


def verify_block(
    header_leaf: bytes,
    entries: bytes,
    *,
    genesis_hash: bytes,
    author_key: Callable[[str], bytes | None],
    verify: Verify,
    shapes: Shapes = SHAPES,
) -> Block:
    """Check a block that came from outside, cheapest checks first, and return it.

    ``author_key`` returns an admitted author's Ed25519 key, or None. ``shapes`` only makes it faster.

    Raises:
        DecodeError: BLOCK-01, -02, -06, -07 or an entry's own code: the bytes are not a block.
        AdmissionError: BLOCK-03 another network's; BLOCK-04 nobody admitted wrote it.
        SignatureError: BLOCK-05 the author did not sign it.
    """
    if len(entries) + 2 + len(header_leaf) > BLOCK_BYTES_MAX:
        raise DecodeError("BLOCK-01", f"a block of over {BLOCK_BYTES_MAX} bytes")
    header = verify_header(header_leaf, genesis_hash=genesis_hash, author_key=author_key, verify=verify)
    leaves = split(entries)
    if len(leaves) != header.count:
        raise DecodeError("BLOCK-06", f"{len(leaves)} entries where the header states {header.count}")
    hashes = merkle.hash_leaves(leaves)
    if merkle.root(hashes) != header.entries_root:
        raise DecodeError("BLOCK-07", f"the entries are not those that block {header.seq} of {header.author} signs")
    shapes.check_entries(leaves, header.author, header.first)
    return Block(header, header_leaf, sha256(header_leaf).digest(), entries, hashes + merkle.hash_leaf(header_leaf))
