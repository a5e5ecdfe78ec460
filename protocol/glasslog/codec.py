"""Deterministic CBOR, RFC 8949 section 4.2.1: one value, one byte string, both ways.

``decode`` is the judge of canonical form: one pass that checks every rule and builds the value. No other CBOR
library is asked, because one that is laxer in any corner would let two replicas read one leaf differently.

The data model is smaller than CBOR's: integers from -2**63 to 2**64 - 1, finite floats, byte and text strings,
arrays, maps with integer, text or byte-string keys, false, true, null, and a tag only where a caller names it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from glasslog.errors import DecodeError
from glasslog.limits import CBOR_DEPTH_MAX, NAME_BYTES_MAX

Key: TypeAlias = int | str | bytes
Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[Key, Value] | Tagged | None"
Map: TypeAlias = dict[Key, Value]
Bytes: TypeAlias = bytes  # for signatures inside ``ArrayReader``, where ``bytes`` is a method

INT_MIN = -(1 << 63)
INT_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag and its content (RFC 8949 section 3.4). Decoded only where the caller allows that tag."""

    tag: int
    value: Value


class _Rules(NamedTuple):
    text_keys_only: bool
    tags: tuple[int, ...]
    depth_max: int
    items_left: list[int]  # one number, counted down


# --- decoding -------------------------------------------------------------------------------------


def decode(
    data: bytes,
    *,
    size_max: int,
    text_keys_only: bool = False,
    tags: tuple[int, ...] = (),
    depth_max: int = CBOR_DEPTH_MAX,
    items_max: int | None = None,
) -> Value:
    """Return the value that ``data`` is the one canonical encoding of.

    ``size_max`` is in bytes and is looked at first; ``depth_max`` counts nested arrays, maps and tags; ``items_max``
    counts what they hold, keys too, so that a peer cannot make a million objects of a million bytes.

    Raises:
        DecodeError: CBOR-01 to CBOR-16, with the rule and the byte offset at which it is broken.
    """
    if len(data) > size_max:
        raise DecodeError("CBOR-01", f"{len(data)} bytes, at most {size_max} allowed")
    items_left = [len(data) if items_max is None else items_max]
    value, end = _read(data, 0, 0, _Rules(text_keys_only, tags, depth_max, items_left))
    if end != len(data):
        raise DecodeError("CBOR-05", f"{len(data) - end} bytes after the end of the item at byte {end}")
    return value


def check(
    data: bytes,
    *,
    size_max: int,
    text_keys_only: bool = False,
    tags: tuple[int, ...] = (),
    depth_max: int = CBOR_DEPTH_MAX,
) -> None:
    """Raise what ``decode`` would raise for the same arguments; return nothing."""
    decode(data, size_max=size_max, text_keys_only=text_keys_only, tags=tags, depth_max=depth_max)


def read_item(data: bytes, at: int) -> tuple[Value, int]:
    """Return the canonical item that begins at ``at``, and where it ends; what follows is not looked at.

    Raises:
        DecodeError: as ``decode``.
    """
    return _read(data, at, 0, _Rules(text_keys_only=False, tags=(), depth_max=CBOR_DEPTH_MAX, items_left=[len(data)]))


def _read(data: bytes, at: int, depth: int, rules: _Rules) -> tuple[Value, int]:
    if at >= len(data):
        raise _cut_short(at)
    initial = data[at]
    info = initial & 0x1F
    if initial >= 0xE0:
        return _read_simple(data, at, info)
    if info < 24:
        argument, after = info, at + 1
    else:
        argument, after = _read_argument(data, at, info)
    if initial < 0x20:
        return argument, after
    return _READERS[initial >> 5](data, at, after, argument, depth, rules)


def _cut_short(at: int) -> DecodeError:
    return DecodeError("CBOR-02", f"the data ends inside an item, at byte {at}")


def _read_argument(data: bytes, at: int, info: int) -> tuple[int, int]:
    """Read the argument that follows an initial byte, in its shortest form only (RFC 8949 4.2.1)."""
    if info == 31:
        raise DecodeError("CBOR-06", f"indefinite length at byte {at}")
    if info > 27:
        raise DecodeError("CBOR-07", f"reserved initial byte 0x{data[at]:02x} at byte {at}")
    after = at + 1 + (1 << (info - 24))
    if after > len(data):
        raise _cut_short(len(data))
    argument = int.from_bytes(data[at + 1 : after], "big")
    if argument < _SHORTEST[info - 24]:
        raise DecodeError("CBOR-08", f"integer or length not in its shortest form at byte {at}")
    return argument, after


_SHORTEST = (24, 1 << 8, 1 << 16, 1 << 32)  # what 1, 2, 4 and 8 bytes must not be used below


def _read_negative(_data: bytes, at: int, after: int, argument: int, _depth: int, _rules: _Rules) -> tuple[Value, int]:
    if argument >> 63:
        raise DecodeError("CBOR-09", f"integer below -2^63 at byte {at}")
    return -1 - argument, after


def _read_bytes(data: bytes, _at: int, after: int, argument: int, _depth: int, _rules: _Rules) -> tuple[Value, int]:
    end = after + argument
    if end > len(data):
        raise _cut_short(len(data))
    return data[after:end], end


def _read_text(data: bytes, _at: int, after: int, argument: int, _depth: int, _rules: _Rules) -> tuple[Value, int]:
    end = after + argument
    if end > len(data):
        raise _cut_short(len(data))
    try:
        return data[after:end].decode(), end
    except UnicodeDecodeError as error:
        raise DecodeError("CBOR-10", f"text is not UTF-8 at byte {after + error.start}") from None


def _read_array(data: bytes, at: int, after: int, argument: int, depth: int, rules: _Rules) -> tuple[Value, int]:
    _check_container(data, at, after, argument, depth, rules)
    items: list[Value] = []
    for _ in range(argument):
        item, after = _read(data, after, depth + 1, rules)
        items.append(item)
    return items, after


def _read_map(data: bytes, at: int, after: int, argument: int, depth: int, rules: _Rules) -> tuple[Value, int]:
    _check_container(data, at, after, argument * 2, depth, rules)
    members: Map = {}
    last = b""
    for _ in range(argument):
        start = after
        key, after = _read(data, start, depth + 1, rules)
        if not isinstance(key, str) and (rules.text_keys_only or type(key) not in (int, bytes)):
            wanted = "text" if rules.text_keys_only else "an integer, text or bytes"
            raise DecodeError("CBOR-04", f"map key is not {wanted} at byte {start}")
        encoded = data[start:after]
        if encoded <= last:
            fact = "duplicate map key" if encoded == last else "map keys out of order"
            raise DecodeError("CBOR-03", f"{fact} at byte {start}")
        last = encoded
        members[key], after = _read(data, after, depth + 1, rules)  # type: ignore[index] # narrowed by the check above
    return members, after


def _read_tag(data: bytes, at: int, after: int, argument: int, depth: int, rules: _Rules) -> tuple[Value, int]:
    if argument not in rules.tags:
        raise DecodeError("CBOR-11", f"tag {argument} is not allowed at byte {at}")
    _check_container(data, at, after, 1, depth, rules)
    value, end = _read(data, after, depth + 1, rules)
    return Tagged(argument, value), end


def _check_container(data: bytes, at: int, after: int, items: int, depth: int, rules: _Rules) -> None:
    if depth >= rules.depth_max:
        raise DecodeError("CBOR-12", f"nested deeper than {rules.depth_max} at byte {at}")
    if items > len(data) - after:  # every item takes a byte: refuse a huge count before looping over it
        raise _cut_short(len(data))
    rules.items_left[0] -= items
    if rules.items_left[0] < 0:
        raise DecodeError("CBOR-16", f"more items than such data may hold at byte {at}")


_Reader: TypeAlias = Callable[[bytes, int, int, int, int, _Rules], tuple[Value, int]]
_READERS: tuple[_Reader, ...] = (
    _read_negative,  # unsigned integers never get here: ``_read`` returns them
    _read_negative,
    _read_bytes,
    _read_text,
    _read_array,
    _read_map,
    _read_tag,
)


def _read_simple(data: bytes, at: int, info: int) -> tuple[Value, int]:
    """Read major type 7: false, true, null, and finite floats in their shortest form."""
    if info in (20, 21, 22):
        return (False, True, None)[info - 20], at + 1
    if info not in (25, 26, 27):
        if info == 31:
            raise DecodeError("CBOR-06", f"break without an indefinite length at byte {at}")
        raise DecodeError("CBOR-13", f"simple value other than false, true and null at byte {at}")
    end = at + 1 + (1 << (info - 24))
    if end > len(data):
        raise _cut_short(len(data))
    value: float = struct.unpack_from(_FLOAT_FORMATS[info - 25], data, at + 1)[0]
    if value - value != 0:  # NaN and the infinities, without a call
        raise DecodeError("CBOR-14", f"NaN or infinity at byte {at}")
    if info != 25 and len(_encode_float(value)) != end - at:
        raise DecodeError("CBOR-15", f"float not in its shortest form at byte {at}")
    return value, end


_FLOAT_FORMATS = (">e", ">f", ">d")

# --- encoding -------------------------------------------------------------------------------------


def encode(value: Value) -> bytes:
    """Return the one canonical encoding of ``value``: the exact inverse of ``decode``.

    Raises:
        ValueError: the value is outside the data model (NaN, an integer over 64 bits, a lone surrogate).
        TypeError: a type that the data model does not have.
    """
    out = bytearray()
    _write(out, value)
    return bytes(out)


def _write(out: bytearray, value: Value) -> None:
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise TypeError(f"{type(value).__name__} has no place in the data model")
    writer(out, value)


def _write_integer(out: bytearray, value: int) -> None:
    if value < INT_MIN:
        raise ValueError("integer below -2^63")
    out += encode_head(0, value) if value >= 0 else encode_head(1, -1 - value)


def _write_bytes(out: bytearray, value: bytes) -> None:
    out += encode_head(2, len(value))
    out += value


def _write_text(out: bytearray, value: str) -> None:
    raw = value.encode()
    out += encode_head(3, len(raw))
    out += raw


def _write_array(out: bytearray, value: list[Value]) -> None:
    out += encode_head(4, len(value))
    for item in value:
        _write(out, item)


def _write_map(out: bytearray, value: Map) -> None:
    out += encode_head(5, len(value))
    for key, item in sorted([(_encode_key(key), item) for key, item in value.items()], key=_first):
        out += key
        _write(out, item)


@lru_cache(1024, typed=True)  # a network's statements share few keys
def _encode_key(key: object) -> bytes:
    if not isinstance(key, int | str | bytes) or isinstance(key, bool):
        raise TypeError(f"{type(key).__name__} is no map key in the data model")
    return encode(key)


def _first(pair: tuple[bytes, Value]) -> bytes:
    return pair[0]


def _write_tag(out: bytearray, value: Tagged) -> None:
    out += encode_head(6, value.tag)
    _write(out, value.value)


def _write_float(out: bytearray, value: float) -> None:
    out += _encode_float(value)


def _write_simple(out: bytearray, value: bool | None) -> None:
    out.append(0xF6 if value is None else 0xF5 if value else 0xF4)


_WRITERS: dict[type, Callable[[bytearray, Any], None]] = {  # each takes the type it is filed under
    int: _write_integer,
    bytes: _write_bytes,
    str: _write_text,
    list: _write_array,
    dict: _write_map,
    Tagged: _write_tag,
    float: _write_float,
    bool: _write_simple,
    type(None): _write_simple,
}


def encode_head(major: int, argument: int) -> bytes:
    """Return the initial byte of major type ``major`` and its argument, in the shortest form.

    Raises:
        ValueError: the argument is negative or does not fit 64 bits.
    """
    if 0 <= argument < 24:
        return _BYTES[major << 5 | argument]
    if 0 <= argument < 0x100:
        return _BYTES[major << 5 | 24] + _BYTES[argument]
    if 0 <= argument < 0x1_0000:
        return _HEAD_16.pack(major << 5 | 25, argument)
    if 0 <= argument < 0x1_0000_0000:
        return _HEAD_32.pack(major << 5 | 26, argument)
    if 0 <= argument <= INT_MAX:
        return _HEAD_64.pack(major << 5 | 27, argument)
    raise ValueError("integer outside 64 bits")


_BYTES = tuple(bytes((byte,)) for byte in range(256))
_HEAD_16, _HEAD_32, _HEAD_64 = struct.Struct(">BH"), struct.Struct(">BI"), struct.Struct(">BQ")


def _encode_float(value: float) -> bytes:
    if value - value != 0:
        raise ValueError("NaN and infinities have no place in the data model")
    for initial, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == value:
            return initial + packed
    return b"\xfb" + struct.pack(">d", value)


# --- names ----------------------------------------------------------------------------------------

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


def is_name(text: str) -> bool:
    """Tell whether ``text`` is a member's or network's name: 1 to 63 of ``a-z 0-9 . -``, none of ``. -`` at an end."""
    return len(text) <= NAME_BYTES_MAX and _NAME.fullmatch(text) is not None


# --- reading fields in order ------------------------------------------------------------------------


_ITEMS_MIN, _BYTES_PER_ITEM = 1_024, 8  # every message of specs/wire.cddl stays well within; ``test_messages`` tries


class ArrayReader:
    """Reads the items of one array in order, each as the type its field has.

    Every method raises DecodeError WIRE-01 where the next item is missing or is of another type or size.
    """

    __slots__ = ("_at", "_items", "_what")

    def __init__(self, items: list[Value], what: str) -> None:
        self._items = items
        self._what = what
        self._at = 0

    @classmethod
    def parse(cls, data: Bytes, what: str, *, size_max: int) -> ArrayReader:
        """Return a reader of the array that ``data`` canonically encodes; ``what`` names it in errors.

        Raises:
            DecodeError: as ``decode``; WIRE-01 where the data is not an array.
        """
        value = decode(data, size_max=size_max, items_max=_ITEMS_MIN + len(data) // _BYTES_PER_ITEM)
        if not isinstance(value, list):
            raise DecodeError("WIRE-01", f"{what} is not an array")
        return cls(value, what)

    @property
    def left(self) -> int:
        """How many items have not been read yet."""
        return len(self._items) - self._at

    def value(self, name: str) -> Value:
        """Return the next item, whatever it is."""
        if self._at == len(self._items):
            raise DecodeError("WIRE-01", f"{self._what} ends before its {name}")
        self._at += 1
        return self._items[self._at - 1]

    def uint(self, name: str) -> int:
        """Return the next item, an integer from 0 to 2**64 - 1."""
        value = self.value(name)
        if type(value) is not int or value < 0:
            raise self._wrong(name, "an unsigned integer")
        return value

    def bytes(self, name: str, *, exactly: int | None = None, most: int | None = None) -> Bytes:
        """Return the next item, a byte string of ``exactly`` or at ``most`` so many bytes."""
        value = self.value(name)
        if not isinstance(value, bytes):
            raise self._wrong(name, "a byte string")
        if exactly is not None and len(value) != exactly:
            raise self._wrong(name, f"{exactly} bytes but {len(value)}")
        if most is not None and len(value) > most:
            raise self._wrong(name, f"at most {most} bytes but {len(value)}")
        return value

    def text(self, name: str, *, most: int) -> str:
        """Return the next item, a text string of at ``most`` so many bytes of UTF-8."""
        value = self.value(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a text string")
        if len(value.encode()) > most:
            raise self._wrong(name, f"at most {most} bytes of text")
        return value

    def name(self, name: str) -> str:
        """Return the next item, a text string for which ``is_name`` holds."""
        value = self.value(name)
        if not isinstance(value, str) or not is_name(value):
            raise self._wrong(name, "a name of 1 to 63 of a-z 0-9 . -")
        return value

    def array(self, name: str, *, most: int | None = None) -> ArrayReader:
        """Return a reader of the next item, an array of at ``most`` so many items."""
        value = self.value(name)
        if not isinstance(value, list):
            raise self._wrong(name, "an array")
        if most is not None and len(value) > most:
            raise self._wrong(name, f"at most {most} items but {len(value)}")
        return ArrayReader(value, name)

    def skip_null(self) -> bool:
        """Consume the next item and return True if it is null; else consume nothing and return False."""
        if self._at < len(self._items) and self._items[self._at] is None:
            self._at += 1
            return True
        return False

    def end(self) -> None:
        """Require that every item has been read."""
        if self.left:
            raise DecodeError("WIRE-01", f"{self._what} has {self.left} items too many")

    def _wrong(self, name: str, wanted: str) -> DecodeError:
        return DecodeError("WIRE-01", f"{name} of {self._what} (item {self._at - 1}) is not {wanted}")
