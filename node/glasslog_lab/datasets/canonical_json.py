"""JSON in its one canonical form: RFC 8785, with integers of 64 bits kept exact (specs/datasets.md, D3).

Two serialisations of one value are one record. Where RFC 8785 would lose digits of an integer, they are kept: two
records that differ in a long identifier must not become one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from operator import itemgetter
from typing import TypeAlias

DEPTH_MAX = 128
ITEMS_MAX = 1_000_000
_LARGE_BYTES = 1 << 20  # below, there cannot be too many items

Json: TypeAlias = "bool | int | float | str | Literal | list[Json] | dict[str, Json] | None"


class JsonError(ValueError):
    """Why a text is no JSON of ours; ``code`` is the DATA code it is refused with."""

    def __init__(self, code: str, fact: str) -> None:
        super().__init__(fact)
        self.code = code
        self.fact = fact


class _Rare(Exception):  # noqa: N818  no error: the fast writer cannot write this value, the slow one can
    pass


@dataclass(frozen=True, slots=True)
class Literal:
    """A number as it is written, where Python writes it otherwise."""

    text: str


def canonicalize(data: bytes) -> bytes:
    """Return the canonical bytes of one JSON text.

    Raises:
        JsonError: DATA-14 not JSON, a member twice, half a surrogate pair; DATA-15 a number that would change;
            DATA-16 too deep or too many items; DATA-17 not UTF-8.
    """
    return write(parse(data))


def parse(data: bytes) -> Json:
    """Return the value of one JSON text, its odd numbers as ``write`` takes them; raises as ``canonicalize``."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise JsonError("DATA-17", f"is not UTF-8 at byte {error.start}") from None
    if len(data) > _LARGE_BYTES and data.count(b",") + data.count(b"[") + data.count(b"{") > ITEMS_MAX:
        raise JsonError("DATA-16", f"holds more than {ITEMS_MAX} items")
    try:
        try:
            value: Json = _FAST.decode(text)
        except _Rare:
            value = _SLOW.decode(text)
    except json.JSONDecodeError as error:
        raise JsonError("DATA-14", f"is not JSON: {error.msg.lower()} at character {error.pos}") from None
    except RecursionError:
        raise JsonError("DATA-16", f"is nested deeper than {DEPTH_MAX}") from None
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX:
        _check_depth(value, 0)
    return value


def write(value: Json) -> bytes:
    """Return the canonical bytes of a value whose objects ``parse`` or ``order_members`` made.

    Raises:
        JsonError: DATA-14 half a surrogate pair; DATA-15 a number that JSON has not.
    """
    try:
        try:
            return _encode(value).encode()
        except _Rare:
            parts = list[str]()
            _write(value, parts)
            return "".join(parts).encode()
    except UnicodeEncodeError:
        raise JsonError("DATA-14", "holds half of a surrogate pair") from None


def plain_float(number: float) -> int | float | Literal:
    """Return a finite float as something that is written as RFC 8785 says."""
    text = repr(number)
    if "e" not in text:
        return int(text[:-2]) if text.endswith(".0") else number
    return Literal(_format(text))


def plain_integer(number: int) -> int:
    """Return an integer that keeps its value.

    Raises:
        JsonError: DATA-15 more than 64 bits.
    """
    if not -(1 << 63) <= number < 1 << 64:
        raise JsonError("DATA-15", f"holds the integer {str(number)[:24]}, which 64 bits do not hold")
    return number


def _format(text: str) -> str:
    """Return a float's shortest digits as ECMAScript writes them (ECMA-262, Number::toString)."""
    sign, digits_of, exponent = Decimal(text).as_tuple()
    digits = "".join(map(str, digits_of)).rstrip("0")
    point = len(digits_of) + int(exponent)  # the value is 0.digits times ten to this
    minus = "-" if sign else ""
    if len(digits) <= point <= 21:
        return minus + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{minus}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{minus}{digits[0]}{fraction}e{point - 1:+d}"


def _check_depth(value: Json, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth >= DEPTH_MAX:
            raise JsonError("DATA-16", f"is nested deeper than {DEPTH_MAX}")
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, dict | list):
                _check_depth(item, depth + 1)


_BEYOND = re.compile("[\U00010000-\U0010ffff]")  # with one of these, UTF-16 may sort otherwise than code points


def order_members(pairs: Iterable[tuple[str, Json]]) -> dict[str, Json]:
    """Return an object whose members stand as RFC 8785 sorts them: by the UTF-16 code units of their names.

    Raises:
        JsonError: DATA-14 a member stands twice.
    """
    listed = list(pairs)
    members = dict(sorted(listed, key=itemgetter(0)))
    if len(members) != len(listed):
        seen = set[str]()
        for name, _ in listed:
            if name in seen:
                raise JsonError("DATA-14", f"has the member {ascii(name)[:60]} twice")
            seen.add(name)
    if any(not name.isascii() and _BEYOND.search(name) for name in members):
        return dict(sorted(listed, key=lambda pair: pair[0].encode("utf-16-be", "surrogatepass")))
    return members


def _read_integer(text: str) -> int | Literal:
    if len(text) < 16:
        return int(text)
    number = int(text) if len(text) < 40 else 1 << 100
    if not -(1 << 63) <= number < 1 << 64:
        if abs(number) < 1 << 70 and _format(repr(float(number))) == text:
            return Literal(text)  # a double that is written just so: what this writes, it reads
        raise JsonError("DATA-15", f"holds the integer {text[:24]}, which 64 bits do not hold")
    return number


def _read_integer_fast(text: str) -> int:
    number = _read_integer(text)
    if isinstance(number, Literal):
        raise _Rare
    return number


def _read_float(text: str) -> int | float | Literal:
    number = float(text)
    if number in (float("inf"), float("-inf")) or (not number and text.lower().partition("e")[0].strip("-0.")):
        raise JsonError("DATA-15", f"holds the number {text[:24]}, which no double comes near")
    return plain_float(number)


def _read_float_fast(text: str) -> int | float:
    number = _read_float(text)
    if isinstance(number, Literal):
        raise _Rare
    return number


def _refuse_constant(word: str) -> Json:
    raise JsonError("DATA-15", f"holds {word}, which JSON has not")


_FAST = json.JSONDecoder(
    object_pairs_hook=order_members,
    parse_float=_read_float_fast,
    parse_int=_read_integer_fast,
    parse_constant=_refuse_constant,
)
_SLOW = json.JSONDecoder(
    object_pairs_hook=order_members, parse_float=_read_float, parse_int=_read_integer, parse_constant=_refuse_constant
)


def _give_up(_value: object) -> object:
    raise _Rare


_encode = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False, default=_give_up
).encode


def _write(value: Json, parts: list[str]) -> None:
    if isinstance(value, Literal):
        parts.append(value.text)
    elif isinstance(value, dict):
        separator = "{"
        for name, item in value.items():
            parts += (separator, _encode(name), ":")
            _write(item, parts)
            separator = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        separator = "["
        for item in value:
            parts.append(separator)
            _write(item, parts)
            separator = ","
        parts.append("]" if value else "[]")
    else:
        parts.append(_encode(value))
