"""Entry shapes: how a block's thousands of entries are checked without parsing each (specs/log.md, L6).

Entries of one author mostly differ in content, not in form. A *shape* is learnt from an entry that passed the full
check, ``entry.check_entry``, and describes a set of byte strings of one length that all pass it:

- bytes that are form (heads, keys, ``_type``, ``predicateType``, texts in digests, simple values) are exact;
- digests and commitments are free; text is free within ASCII, byte by byte, and exact beyond it, so that it stays
  UTF-8; no rule of ``statement`` looks at such text;
- an integer keeps its length and its range: at least the least that is not encoded shorter;
- a float keeps its length, and stays finite and in its shortest form.

All of that is arithmetic on the entry as one integer. Exact bits: ``entry & mask == pattern``. Ranges: a field of
bits plus a constant carries into the bit above it, or does not, which ``carries`` and ``carry_pattern`` state.
What the cache holds changes how fast an entry is judged and never how, as the tests show byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from glasslog import codec
from glasslog.entry import LeafKind, check_entry, entry_prefix, leaf_kind
from glasslog.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPES_MAX = 512  # in each of two generations
SHAPE_BYTES_MAX = 2_048  # larger entries are few to a block, and their shapes would be large
SHAPES_PER_LENGTH_MAX = 16
# Learning costs as much again as the full check; an author who varies the form of every entry must not double the work.
LEARNT_PER_CALL_MAX = 64

_NUMBER_WIDTHS = (24, 1 << 8, 1 << 16, 1 << 32, 1 << 64)  # where the number in the prefix grows


class Shape(NamedTuple):
    """The form of everything after an entry's prefix, as integers over its bits."""

    mask: int
    pattern: int
    range_mask: int
    addend: int
    carries: int
    carry_pattern: int


class _Placed(NamedTuple):
    """A shape behind one author's prefix: entry number ``seq`` must match ``pattern + seq * unit`` under ``mask``."""

    mask: int
    pattern: int
    unit: int
    range_mask: int
    addend: int
    carries: int
    carry_pattern: int


class Shapes:
    """A bounded cache of shapes. Two generations: what is used moves to the young one, the old one is dropped."""

    def __init__(self) -> None:
        self._young: dict[tuple[LeafKind, int], tuple[Shape, ...]] = {}
        self._old: dict[tuple[LeafKind, int], tuple[Shape, ...]] = {}
        self._count = 0

    def check_entries(self, entries: Sequence[bytes], author: str, first: int) -> None:
        """Check that ``entries`` are valid entries of ``author``, numbered from ``first`` on.

        Raises:
            DecodeError: as ``entry.check_entry``, with the number of the entry.
        """
        start, last = 0, first + len(entries)
        for bound in _NUMBER_WIDTHS:
            stop = min(bound, last) - first
            if stop > start:
                self._check_run(entries[start:stop] if stop - start < len(entries) else entries, author, first + start)
                start = stop

    def check_entry(self, entry: bytes, author: str, seq: int) -> None:
        """Check one entry, as ``check_entries`` does."""
        self._check_run((entry,), author, seq)

    def _check_run(self, entries: Sequence[bytes], author: str, first: int) -> None:
        """Check entries whose numbers are all encoded in the same length."""
        placed: dict[int, tuple[_Placed, ...]] = {}
        learn = LEARNT_PER_CALL_MAX
        length = -1  # of the entries that the locals below, those of the shape seen last, apply to
        mask = expected = unit = range_mask = addend = carries = carry_pattern = 0
        from_bytes = int.from_bytes
        for seq, entry in enumerate(entries, first):
            expected += unit
            if len(entry) > SHAPE_BYTES_MAX:
                _check_in_full(entry, author, seq)
                continue
            value = from_bytes(entry, "big")
            if (
                len(entry) == length
                and value & mask == expected
                and (not carries or (value & range_mask) + addend & carries == carry_pattern)
            ):
                continue
            known = placed.get(len(entry), ())
            current = next((one for one in known if _matches(one, value, seq)), None)
            if current is None:
                kind, prefix = _begin(entry, author, seq)
                current = self._find(kind, prefix, len(entry), value, seq)
                if current is None:
                    _check_in_full(entry, author, seq)
                    if kind is None or learn == 0:
                        continue
                    learn -= 1
                    current = self._learn(kind, prefix, entry, seq)
                placed[len(entry)] = (current, *known[: SHAPES_PER_LENGTH_MAX - 1])
            length = len(entry)
            mask, pattern, unit, range_mask, addend, carries, carry_pattern = current
            expected = pattern + seq * unit

    def _find(self, kind: LeafKind | None, prefix: bytes, length: int, value: int, seq: int) -> _Placed | None:
        """Return a known shape that the entry has, placed behind the author's prefix."""
        if kind is None:
            return None
        key = kind, length - len(prefix)
        for shape in self._young.get(key) or self._old.get(key) or ():
            placed = _place(shape, prefix, length, seq)
            if _matches(placed, value, seq):
                if key not in self._young:
                    self._remember(key, shape)
                return placed
        return None

    def _learn(self, kind: LeafKind, prefix: bytes, entry: bytes, seq: int) -> _Placed:
        """Remember the shape of an entry that has passed the full check."""
        shape = learn_shape(kind, entry[len(prefix) :])
        self._remember((kind, len(entry) - len(prefix)), shape)
        return _place(shape, prefix, len(entry), seq)

    def _remember(self, key: tuple[LeafKind, int], shape: Shape) -> None:
        if self._count >= SHAPES_MAX:
            self._old, self._young, self._count = self._young, {}, 0
        known = self._young.get(key, ())
        if shape not in known:
            self._young[key] = (shape, *known[: SHAPES_PER_LENGTH_MAX - 1])
            self._count += 1


SHAPES = Shapes()  # one cache for a process: it is a function of nothing but the entries it has seen


def _check_in_full(entry: bytes, author: str, seq: int) -> None:
    try:
        check_entry(entry, author, seq)
    except ProtocolError as error:
        raise type(error)(error.code, f"entry {seq} of {author}: {error.fact}") from error


def _begin(entry: bytes, author: str, seq: int) -> tuple[LeafKind | None, bytes]:
    """Return the entry's kind and the prefix it must have; no kind where it can be no entry."""
    try:
        kind = leaf_kind(entry)
    except ProtocolError:
        return None, b""
    if kind is LeafKind.SIGNED:
        return kind, b""
    if kind not in (LeafKind.STATEMENT, LeafKind.SEALED):
        return None, b""
    return kind, entry_prefix(kind, author, seq)


def _place(shape: Shape, prefix: bytes, length: int, seq: int) -> _Placed:
    """Put ``shape`` behind ``prefix``, which ends in number ``seq``, in entries of ``length`` bytes."""
    bits = 8 * (length - len(prefix))
    mask = shape.mask | ((1 << 8 * len(prefix)) - 1) << bits
    unit = 1 << bits if prefix else 0
    pattern = shape.pattern | int.from_bytes(prefix, "big") << bits
    return _Placed(mask, pattern - seq * unit, unit, *shape[2:])


def _matches(one: _Placed, value: int, seq: int) -> bool:
    in_ranges = (value & one.range_mask) + one.addend & one.carries == one.carry_pattern
    return in_ranges and value & one.mask == one.pattern + seq * one.unit


# --- learning -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Form:
    """A shape in the making. Bytes of ``mask`` start exact, and fields are freed."""

    data: bytes
    mask: bytearray
    range_mask: int = 0
    addend: int = 0
    carries: int = 0
    carry_pattern: int = 0

    def free(self, start: int, end: int) -> None:
        """Let the bytes in ``[start, end)`` be anything."""
        self.mask[start:end] = bytes(end - start)

    def free_ascii(self, start: int, end: int) -> None:
        """Let every ASCII byte in ``[start, end)`` be any ASCII byte."""
        self.mask[start:end] = bytes([0x80 if byte < 0x80 else 0xFF for byte in self.data[start:end]])

    def free_range(self, end: int, low: int, width: int, *, least: int = 0, most: int | None = None) -> None:
        """Let a field take any value of a range: ``width`` bits from bit ``low`` of the bytes that end at ``end``.

        The range has one bound: ``least``, or ``most``. The bit above the field serves for the carry, so no two
        fields, with the bit above each, may overlap.
        """
        shift = 8 * (len(self.data) - end) + low
        for bit in range(low, low + width):
            self.mask[end - 1 - bit // 8] &= ~(1 << bit % 8)
        self.range_mask |= ((1 << width) - 1) << shift
        self.carries |= 1 << width + shift
        if most is None:
            self.addend += ((1 << width) - least) << shift
            self.carry_pattern |= 1 << width + shift
        else:
            self.addend += ((1 << width) - 1 - most) << shift

    def finish(self) -> Shape:
        mask = int.from_bytes(self.mask, "big")
        pattern = int.from_bytes(self.data, "big") & mask
        return Shape(mask, pattern, self.range_mask, self.addend, self.carries, self.carry_pattern)


def learn_shape(kind: LeafKind, rest: bytes) -> Shape:
    """Return the shape of a valid entry; ``rest`` is what follows the prefix, all of it for a signed statement."""
    form = _Form(rest, bytearray(b"\xff" * len(rest)))
    if kind is LeafKind.STATEMENT:
        _learn_map(form, 0, exact=("_type", "predicateType"), in_digest=False)
    elif kind is LeafKind.SEALED:
        form.free(2, len(rest))
    else:
        _learn_signed(form)
    return form.finish()


def _learn_signed(form: _Form) -> None:
    """Free payload and signature; the protected header is looked at by a rule (``cose``) and stays exact."""
    _, unprotected = codec.read_item(form.data, 2)
    at = unprotected + 1
    while at < len(form.data):
        value, end = codec.read_item(form.data, at)
        if isinstance(value, bytes):
            form.free(end - len(value), end)
        at = end


def _learn_item(form: _Form, at: int, *, in_digest: bool, is_digest: bool) -> int:
    """Free what may vary in the item at ``at`` and return its end.

    ``in_digest``: it is a member of a digest map. ``is_digest``: it is itself one if it is a map.
    """
    major, argument, after = _head(form.data, at)
    if major <= 1:
        _free_integer(form, at, after, negative=major == 1)
    elif major == 2:
        after += argument
        form.free(after - argument, after)
    elif major == 3:
        after += argument
        if not in_digest:  # there, text must not turn into hexadecimal
            form.free_ascii(after - argument, after)
    elif major == 4:
        for _ in range(argument):
            after = _learn_item(form, after, in_digest=False, is_digest=False)
    elif major == 5:
        after = _learn_map(form, at, exact=(), in_digest=is_digest)
    elif after > at + 1:
        _free_float(form, after, after - at - 1)
    return after


def _learn_map(form: _Form, at: int, *, exact: tuple[str, ...], in_digest: bool) -> int:
    _, count, after = _head(form.data, at)
    for _ in range(count):
        key, after = codec.read_item(form.data, after)
        if key in exact:
            _, after = codec.read_item(form.data, after)
        else:
            after = _learn_item(form, after, in_digest=in_digest, is_digest=key == "digest")
    return after


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Return major type, argument and end of the head at ``at``, of data known to be canonical."""
    initial = data[at]
    info = initial & 0x1F
    if info < 24:
        return initial >> 5, info, at + 1
    end = at + 1 + (1 << info - 24)
    return initial >> 5, int.from_bytes(data[at + 1 : end], "big"), end


def _free_integer(form: _Form, at: int, end: int, *, negative: bool) -> None:
    size = end - at - 1
    if size == 0:
        form.free_range(end, 0, 5, most=23)
    elif size == 8 and negative:  # the codec's least integer is -2**63: the highest bit stays exact
        form.free_range(end, 0, 63, least=1 << 32)
    else:
        form.free_range(end, 0, 8 * size, least=24 if size == 1 else 1 << 4 * size)


_FLOAT_FIELDS = {  # bytes: (bits of mantissa that a shorter form lacks, all bits of mantissa, bits of exponent)
    2: (0, 10, 5),
    4: (13, 23, 8),
    8: (29, 52, 11),
}


def _free_float(form: _Form, end: int, size: int) -> None:
    lacking, mantissa, exponent = _FLOAT_FIELDS[size]
    bits = int.from_bytes(form.data[end - size : end], "big")
    if lacking and not bits & ((1 << lacking) - 1):
        return  # not shorter for its exponent's sake, a case too rare for a range of its own
    form.free(end - size, end)
    if lacking:
        form.free_range(end, 0, lacking, least=1)
    form.free_range(end, mantissa, exponent, most=(1 << exponent) - 2)
