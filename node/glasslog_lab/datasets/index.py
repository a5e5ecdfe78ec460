"""The index file of a measured data set: its keys in order and sorted, so that a proof takes no second pass (D12).

    magic · keys in the order given, 32 bytes each · sorted entries, 40 bytes each · for every 4,096 keys in order the
    RFC 9162 hash over them · for each of 2^bits beginnings of a key: where its entries end, 8 bytes, and the hash of
    their subtree, 32 bytes (zeros where there is none) · a CBOR array that says the counts · its length, 4 bytes

It holds no content of any record; without blinding, guesses can be tested against it. It can always be rebuilt. What
is read from it is held in memory in pieces only, whatever it says its sizes are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from struct import iter_unpack
from types import TracebackType
from typing import BinaryIO, Self, overload

from glasslog import codec, merkle
from glasslog.codec import ArrayReader
from glasslog.errors import DecodeError, ProtocolError
from glasslog.records import (
    Blinding,
    Branch,
    Exclusion,
    Inclusion,
    Placement,
    RecordProof,
    Subtree,
    fold,
    hash_entry,
    order_root,
    records_root,
    verify_proof,
    walk,
)
from glasslog_lab.datasets.refusals import refusal, refuse
from glasslog_lab.datasets.sorting import ENTRY_BYTES
from glasslog_lab.errors import ArtifactError

MAGIC = b"glasslog-records-index/v1\n"
_DOMAIN = "glasslog/records-index/v1"
_KEY = 32
_TILE = 4_096
_TOP_BYTES = 40
_FOOTER_BYTES_MAX = 512
_BITS_MAX = 16
_ENTRIES_PER_TOP = 128
_WRITE_BYTES = 1 << 20
_READ_ENTRIES = 4_096


@dataclass(frozen=True, slots=True)
class Roots:
    """What a measured data set is known by. ``keys_root`` None: not blinded; ``order_tree`` None: without its order."""

    keys_root: bytes | None
    distinct: int
    total: int
    bits: int
    tree: bytes
    order_tree: bytes | None

    @property
    def records(self) -> bytes:
        """The records root."""
        return records_root(self.keys_root, self.distinct, self.total, self.tree)

    @property
    def order(self) -> bytes | None:
        """The order root."""
        return None if self.order_tree is None else order_root(self.keys_root, self.total, self.order_tree)


class IndexWriter:
    """Writes an index: first every key in order, then the sorted entries. Nothing has its name until it is complete."""

    def __init__(self, path: Path, *, order: bool = True) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._order = order
        self.total = 0
        self._tile: list[bytes] = []
        self._tiles = bytearray()
        if path.exists() and not path.is_file():
            refuse("DATA-29", f"{path} is no file, and an index would take its place")
        try:
            self._file: BinaryIO = self._partial.open("wb", buffering=_WRITE_BYTES)
            self._file.write(MAGIC)
        except OSError as error:
            raise refusal("DATA-29", f"{self._partial} cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with suppress(OSError):  # a full disk says so here again
            self._file.close()
        with suppress(FileNotFoundError):
            self._partial.unlink()
        if isinstance(error, OSError):
            raise refusal("DATA-29", f"{self._partial} cannot be written: {error.strerror}") from error

    def add(self, keys: Sequence[bytes]) -> None:
        """Take the next keys in the order of the records.

        Raises:
            ArtifactError: DATA-29 no room.
        """
        self.total += len(keys)
        if not self._order:
            return
        try:
            self._file.write(b"".join(keys))
        except OSError as error:
            raise refusal("DATA-29", f"{self._partial} cannot be written: {error.strerror}") from error
        self._tile += keys
        whole = len(self._tile) - len(self._tile) % _TILE
        for at in range(0, whole, _TILE):
            self._tiles += merkle.root(merkle.hash_leaves(self._tile[at : at + _TILE]))
        del self._tile[:whole]

    def finish(self, keys_root: bytes | None, entries: Iterator[list[bytes]]) -> Roots:
        """Take the sorted entries, complete the file and give it its name."""
        bits = min(_BITS_MAX, max(0, (self.total // _ENTRIES_PER_TOP).bit_length()))
        leaves = _Leaves(self._file, entries)
        tops = [
            (beginning, fold(leaves.count(group)), leaves.seen)
            for beginning, group in groupby(leaves, key=lambda leaf: _beginning(leaf[0], bits))
        ]
        if self._tile:
            self._tiles += merkle.root(merkle.hash_leaves(self._tile))
        tiles = bytes(self._tiles)
        order_tree = merkle.root(tiles) if self._order else None
        self._file.write(tiles)
        end = next_place = 0
        for place, subtree, own_end in tops:
            self._file.write((end.to_bytes(8, "big") + bytes(32)) * (place - next_place))
            self._file.write(own_end.to_bytes(8, "big") + subtree)
            end, next_place = own_end, place + 1
        self._file.write((end.to_bytes(8, "big") + bytes(32)) * ((1 << bits) - next_place))
        tree = fold((_first_key(place, bits), subtree) for place, subtree, _ in tops)
        roots = Roots(keys_root, end, self.total, bits, tree, order_tree)
        footer = codec.encode([_DOMAIN, keys_root, end, self.total, bits, tree, order_tree])
        self._file.write(footer + len(footer).to_bytes(4, "big"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._partial.replace(self._path)
        return roots


class _Leaves:
    """The leaves of sorted entries, each written as it comes; ``seen`` counts those that ``count`` let pass."""

    def __init__(self, file: BinaryIO, batches: Iterator[list[bytes]]) -> None:
        self._file = file
        self._batches = batches
        self.seen = 0

    def __iter__(self) -> Iterator[Subtree]:
        for batch in self._batches:
            self._file.write(b"".join(batch))
            for entry in batch:
                yield _as_leaf(entry)

    def count(self, leaves: Iterator[Subtree]) -> Iterator[Subtree]:
        for leaf in leaves:
            self.seen += 1
            yield leaf


class Index:
    """A measured data set's keys, for proofs. Every proof is verified before it is returned."""

    def __init__(self, path: Path) -> None:
        """Open an index.

        Raises:
            ArtifactError: DATA-10 not readable, DATA-26 not an index, or of another size than it says.
        """
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise refusal("DATA-10", f"{path} cannot be read: {error.strerror}") from error
        try:
            self._read_layout()
        except OSError as error:
            self._file.close()
            raise refusal("DATA-10", f"{path} cannot be read: {error.strerror}") from error
        except DecodeError as error:
            self._file.close()
            raise refusal("DATA-26", f"{path} is not an index of records: {error.fact}") from error
        except ArtifactError:
            self._file.close()
            raise

    def _read_layout(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        length = int.from_bytes(self._at(max(0, size - 4), 4), "big")
        if length > min(_FOOTER_BYTES_MAX, size - 4) or self._at(0, len(MAGIC)) != MAGIC:
            refuse("DATA-26", f"{self._path} is not an index of records")
        self.roots = _read_footer(self._at(size - 4 - length, length))
        ordered = self.roots.total if self.roots.order_tree is not None else 0
        self._entries_at = len(MAGIC) + ordered * _KEY
        self._tiles_at = self._entries_at + self.roots.distinct * ENTRY_BYTES
        self._tops_at = self._tiles_at + -(-ordered // _TILE) * 32
        if self._tops_at + (_TOP_BYTES << self.roots.bits) + length + 4 != size:
            refuse("DATA-26", f"{self._path} has another size than its counts say: it is damaged")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def prove(self, digest: bytes, blinding: Blinding | None) -> Inclusion | Exclusion:
        """Return the proof that a record is in the data set, or that it is not.

        Raises:
            ArtifactError: DATA-26 the index is damaged, DATA-30 not the secret it was measured with.
        """
        key = self._key_of(digest, blinding)
        opening = None if blinding is None else blinding.open_bucket(digest)
        sizes = self.roots.distinct, self.roots.total
        proof: Inclusion | Exclusion
        if not self.roots.distinct:
            proof = Exclusion(opening, *sizes, None, ())
        else:
            found, count, branches = self._find(key)
            proof = (
                Inclusion(opening, *sizes, count, branches)
                if found == key
                else Exclusion(opening, *sizes, (found, count), branches)
            )
        self._check(proof, digest, self.roots.records)
        return proof

    def prove_place(self, place: int, digest: bytes, blinding: Blinding | None) -> Placement:
        """Return the proof that a record is the one at ``place``, from 0, in the order given.

        Raises:
            ArtifactError: as ``prove``; DATA-26 also where another record, or none, is there, or no order was kept.
        """
        if self.roots.order_tree is None or self.roots.order is None:
            raise refusal("DATA-26", f"{self._path} was made without the order of the records")
        if not 0 <= place < self.roots.total:
            refuse("DATA-26", f"{self._path} has no record {place}: it has {self.roots.total}")
        if self._at(len(MAGIC) + place * _KEY, _KEY) != self._key_of(digest, blinding):
            refuse("DATA-26", f"record {place} of {self._path} is another")
        path = merkle.inclusion_proof(place, self.roots.total, self._subtree)
        opening = None if blinding is None else blinding.open_bucket(digest)
        proof = Placement(opening, self.roots.total, place, self.roots.order_tree, b"".join(path))
        self._check(proof, digest, self.roots.order)
        return proof

    def keys(self, place: int, count: int) -> list[bytes]:
        """Return the keys of ``count`` records from ``place`` on, in the order given; fewer at the end."""
        count = max(0, min(count, self.roots.total - place)) if self.roots.order_tree is not None else 0
        data = self._at(len(MAGIC) + place * _KEY, count * _KEY)
        return [data[at : at + _KEY] for at in range(0, len(data), _KEY)]

    def _key_of(self, digest: bytes, blinding: Blinding | None) -> bytes:
        if (None if blinding is None else blinding.keys_root()) != self.roots.keys_root:
            needed = "without a secret" if self.roots.keys_root is None else "with another secret"
            refuse("DATA-30", f"{self._path} was measured {needed}")
        return digest if blinding is None else blinding.blind(digest)

    def _check(self, proof: RecordProof, digest: bytes, root: bytes) -> None:
        try:
            verify_proof(proof, digest, root)
        except ProtocolError as error:
            raise refusal("DATA-26", f"{self._path} is damaged: {error.fact}") from error

    def _find(self, key: bytes) -> tuple[bytes, int, tuple[Branch, ...]]:
        """Return the leaf that the way of ``key`` ends at, its count, and the branches passed."""
        tops, ends = self._read_tops()
        top, above = walk(tops, key)
        start = ends[top - 1] if top else 0
        try:
            place, below = walk(_Entries(self, start, ends[top]), key)
        except ValueError as error:
            raise refusal("DATA-26", f"{self._path} is damaged: {error}") from error
        entry = self.entries(start + place, 1)[0]
        return entry[:_KEY], int.from_bytes(entry[_KEY:], "big"), (*above, *below)

    def entries(self, place: int, count: int) -> list[bytes]:
        """Return ``count`` entries from ``place`` on, in ascending order of their keys."""
        data = self._at(self._entries_at + place * ENTRY_BYTES, count * ENTRY_BYTES)
        return [entry for (entry,) in iter_unpack("40s", data)]

    def _read_tops(self) -> tuple[list[Subtree], list[int]]:
        """Return the subtrees that are not empty, each by the beginning of its keys, and where their entries end."""
        bits = self.roots.bits
        table = self._at(self._tops_at, _TOP_BYTES << bits)
        tops, ends, last = list[Subtree](), list[int](), 0
        for place, (end, subtree) in enumerate(iter_unpack(">Q32s", table)):
            if end > last:
                tops.append((_first_key(place, bits), subtree))
                ends.append(end)
                last = end
        if last != self.roots.distinct:
            refuse("DATA-26", f"{self._path} is damaged: its table does not end with its entries")
        return tops, ends

    def _subtree(self, low: int, high: int) -> bytes:
        if low % _TILE == 0 and (high % _TILE == 0 or high == self.roots.total):
            first, last = low // _TILE, -(-high // _TILE)
            return merkle.root(self._at(self._tiles_at + first * 32, (last - first) * 32))
        return merkle.root(merkle.hash_leaves(self.keys(low, high - low)))

    def _at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            refuse("DATA-26", f"{self._path} is cut short")
        return data


class _Entries(Sequence[Subtree]):
    """A range of an index's entries as leaves, read as they are asked for."""

    def __init__(self, index: Index, low: int, high: int) -> None:
        self._index = index
        self._low = low
        self._high = high

    def __len__(self) -> int:
        return self._high - self._low

    @overload
    def __getitem__(self, at: int) -> Subtree: ...
    @overload
    def __getitem__(self, at: slice) -> _Entries: ...
    def __getitem__(self, at: int | slice) -> Subtree | _Entries:
        if isinstance(at, slice):
            low, high, _ = at.indices(len(self))
            return _Entries(self._index, self._low + low, self._low + high)
        if not 0 <= at < len(self):
            raise IndexError(at)
        return _as_leaf(self._index.entries(self._low + at, 1)[0])

    def __iter__(self) -> Iterator[Subtree]:
        for low in range(self._low, self._high, _READ_ENTRIES):
            yield from map(_as_leaf, self._index.entries(low, min(_READ_ENTRIES, self._high - low)))


def _as_leaf(entry: bytes) -> Subtree:
    key = entry[:_KEY]
    return key, hash_entry(key, int.from_bytes(entry[_KEY:], "big"))


def _beginning(key: bytes, bits: int) -> int:
    return int.from_bytes(key[:2], "big") >> (_BITS_MAX - bits)


def _first_key(beginning: int, bits: int) -> bytes:
    return (beginning << (8 * _KEY - bits)).to_bytes(_KEY, "big")


def _read_footer(data: bytes) -> Roots:
    r = ArrayReader.parse(data, "index", size_max=_FOOTER_BYTES_MAX)
    if r.text("domain", most=64) != _DOMAIN:
        raise DecodeError("WIRE-01", "another version")
    keys_root = None if r.skip_null() else r.bytes("keys root", exactly=32)
    distinct, total, bits = r.uint("distinct"), r.uint("total"), r.uint("bits")
    tree = r.bytes("tree", exactly=32)
    order_tree = None if r.skip_null() else r.bytes("order", exactly=32)
    r.end()
    if not distinct <= total < 1 << 48 or bits > _BITS_MAX:
        raise DecodeError("WIRE-01", "impossible counts")
    return Roots(keys_root, distinct, total, bits, tree, order_tree)
