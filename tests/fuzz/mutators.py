"""Structure-aware mutations: change one field of something valid, so that what is checked first still passes."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

from fuzz.target import Mutator
from glasslog import codec
from glasslog.errors import DecodeError

INTEGERS = (0, 1, 23, 24, 255, 256, 65_535, 65_536, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, codec.INT_MAX)
LENGTHS = (0, 1, 16, 31, 32, 33, 63, 64, 65, 1312, 2420)
STRINGS = ("", "a", "lab", "\x00", "ü", "\U0010ffff", "a" * 64, ".", "-", "sha256", "_type", "digest")
_DEPTH_MAX = 14


# --- bytes ----------------------------------------------------------------------------------------


def mutate_bytes(data: bytes, rng: Random, tokens: Sequence[bytes] = ()) -> bytes:
    """Flip, replace, insert, remove, repeat or cut, at one place; or put a token there."""
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 1, 1, 2, 4, 8, 32)))
    other = rng.randrange(len(data) + 1)
    if tokens and rng.random() < 0.12:
        token = rng.choice(tokens)
        return data[:at] + token + data[at + (len(token) if rng.random() < 0.5 else 0) :]
    match rng.randrange(7):
        case 0:
            return data[:at] + bytes(byte ^ (1 << rng.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 :]
        case 1:
            drawn = rng.randbytes(end - at) if other % 2 else bytes((rng.choice((0, 1, 0x7F, 0x80, 0xFF)),))
            return data[:at] + drawn + data[end:]
        case 2:
            return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 8))) + data[at:]
        case 3:
            return data[:at] + data[end:]
        case 4:
            return data[:end] + data[at:end] * rng.choice((1, 2, 7)) + data[end:]
        case 5:
            return data[:at]
        case _:
            return data[:at] + data[other : other + end - at] + data[end:]


# --- trees ----------------------------------------------------------------------------------------


def _mutate_scalar(value: Any, rng: Random) -> Any:
    match value:
        case bool() | None:
            return rng.choice((False, True, None, 0))
        case int():
            return rng.choice((value + 1, value - 1, rng.choice(INTEGERS), -value, value ^ (1 << rng.randrange(64))))
        case float():
            return rng.choice((0.0, -0.0, 0.5, 65_504.0, 1e300, -value, value / 3))
        case str():
            at = rng.randrange(len(value) + 1)
            letter = chr(rng.choice((32, 43, 46, 47, 48, 64, 65, 97, 127, 255, 0x2028, 0x10FFFF)))
            choices = (rng.choice(STRINGS), value[:at], value + value[at:], value[:at] + letter + value[at + 1 :])
            return rng.choice(choices)
        case _:
            return value


def _mutate_string(value: bytes, rng: Random, depth: int) -> bytes:
    if rng.random() < 0.6 and len(value) > 1:
        inner = mutate_cbor(value, rng, depth=depth + 1)
        if inner != value:
            return inner
    if rng.random() < 0.4:
        return mutate_bytes(value, rng)
    return value.ljust(wanted := rng.choice(LENGTHS), b"\x01")[:wanted]


def mutate_tree(value: Any, rng: Random, depth: int = 0) -> Any:
    """Return the value with one change somewhere: to a scalar, or to which items a container has."""
    if isinstance(value, codec.Tagged):
        if rng.random() < 0.05:
            return codec.Tagged(rng.choice((17, 18, 24, 55799)), value.value)
        return codec.Tagged(value.tag, mutate_tree(value.value, rng, depth + 1))
    if isinstance(value, bytes):
        return _mutate_string(value, rng, depth)
    if not isinstance(value, list | dict) or depth > _DEPTH_MAX:
        return _mutate_scalar(value, rng)
    if not value or rng.random() < 0.25:
        return _mutate_items(value, rng)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        return [*value[:at], mutate_tree(value[at], rng, depth + 1), *value[at + 1 :]]
    key = rng.choice(list(value))
    return {**value, key: mutate_tree(value[key], rng, depth + 1)}


def _mutate_items(value: Any, rng: Random) -> Any:
    extra: Any = rng.choice((0, None, b"", "", [], {}, b"\x00" * 32, [0], 1 << 63))
    if isinstance(value, dict):
        pairs = list(value.items())
        name = rng.choice((*STRINGS, *[key for key, _ in pairs]))
        choices: list[Any] = [pairs[1:], pairs[:-1], [*pairs, (name, extra)]]
        if pairs:
            at = rng.randrange(len(pairs))
            choices += [[*pairs[:at], (name, pairs[at][1]), *pairs[at + 1 :]], [*pairs[:at], *pairs[at + 1 :]]]
        return dict(rng.choice(choices))
    at = rng.randrange(len(value) + 1)
    other = rng.randrange(len(value) + 1)
    choices = [
        [*value[:at], *value[at + 1 :]],
        [*value[:at], extra, *value[at:]],
        [*value[:at], *value[at : at + 1] * rng.choice((2, 5, 70)), *value[at + 1 :]],
        [*value[:at], *value[other : other + 1], *value[at + 1 :]],
        value[::-1],
        [value],
    ]
    return rng.choice(choices)


def list_heads(data: bytes) -> list[tuple[int, int]]:
    """Where the heads of canonical CBOR stand, as ``(start, end)``, those within strings not among them."""
    heads: list[tuple[int, int]] = []
    at = 0
    while at < len(data):
        info = data[at] & 0x1F
        after = at + 1 + (1 << info - 24 if 24 <= info < 28 else 0)
        heads.append((at, after))
        is_string = data[at] >> 5 in (2, 3)
        at = after + (int.from_bytes(data[at + 1 : after], "big") if info > 23 else info) * is_string
    return heads


def spell_otherwise(data: bytes, rng: Random) -> bytes:
    """Write one head in a longer form, or its container without a length: the same value, not the same bytes."""
    at, after = rng.choice(list_heads(data))
    major, info = data[at] & 0xE0, data[at] & 0x1F
    if major == 0x80 and rng.random() < 0.2:
        return data[:at] + bytes((major | 31,)) + data[after:] + b"\xff"
    argument = int.from_bytes(data[at + 1 : after], "big") if info > 23 else info
    longer = [size for size in (1, 2, 4, 8) if size > after - at - 1]
    if major == 0xE0 or not longer:
        return mutate_bytes(data, rng)
    size = rng.choice(longer)
    head = bytes((major | 23 + size.bit_length(),)) + argument.to_bytes(size, "big")
    return data[:at] + head + data[after:]


def mutate_cbor(data: bytes, rng: Random, depth: int = 0) -> bytes:
    """Change one value in CBOR, also inside byte strings that hold CBOR; what is none is changed as bytes."""
    try:
        if data and rng.random() < 0.06:
            codec.check(data, size_max=1 << 22, tags=(18,), depth_max=32)
            return spell_otherwise(data, rng)
        value = codec.decode(data, size_max=1 << 22, tags=(18,), depth_max=32)
        return codec.encode(mutate_tree(value, rng, depth))
    except (DecodeError, ValueError, TypeError, RecursionError, OverflowError):
        return mutate_bytes(data, rng)


def mutate_json(data: bytes, rng: Random) -> bytes:
    """Change one value in JSON, or how a value is spelt."""
    try:
        text = json.dumps(mutate_tree(json.loads(data), rng), ensure_ascii=rng.random() < 0.5)
    except (ValueError, RecursionError, TypeError):
        return mutate_bytes(data, rng)
    if rng.random() < 0.4:
        numbers = ("1e400", "-0", "1E-9", "0.1000000000000000055511151231257827", "1" * 30, "1" * 5_000, "NaN", "01")
        spots = [*re.finditer(r"-?\d+", text)]
        if spots:
            spot = rng.choice(spots)
            text = text[: spot.start()] + rng.choice(numbers) + text[spot.end() :]
    if rng.random() < 0.2:
        spots = [*re.finditer(r'"[^"]*":', text)]
        if spots:
            member = rng.choice(spots)[0]
            text = text.replace(member, f"{member}0,{member}", 1)
    return text.encode("utf-8", "surrogatepass")


# --- lines ----------------------------------------------------------------------------------------


def make_line_mutator(words: Sequence[str] = ()) -> Mutator:
    """A mutator for text of lines of words, some of which are base64 or numbers."""

    def mutate(data: bytes, rng: Random) -> bytes:
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                del lines[at]
            case 1:
                lines.insert(other, lines[at])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = "".join((lines[at], rng.choice((" ", "\t", "\r", "#", "\x00", "\u2028", "=", "+"))))
            case _:
                lines[at] = _mutate_words(lines[at], rng, words)
        return "\n".join(lines).encode("utf-8", "surrogateescape")

    return mutate


def _mutate_words(line: str, rng: Random, words: Sequence[str]) -> str:
    found = line.split(" ")
    at = rng.randrange(len(found))
    word = found[at]
    match rng.randrange(6):
        case 0:
            del found[at]
        case 1:
            found.insert(at, rng.choice(found))
        case 2 if words:
            found[at] = rng.choice(words)
        case 3 if word.isascii() and word.isdigit() and len(word) < 4_000:
            numbers = (str(int(word) + 1), "0" + word, str(1 << 63), "9" * 20, "-1", "1" * 5_000, "", "1_0", "0x1")
            found[at] = rng.choice(numbers)
        case 4:
            prefix, plus, encoded = word.rpartition("+")
            try:
                inner = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                return mutate_bytes(line.encode("utf-8", "replace"), rng).decode("utf-8", "replace")
            found[at] = prefix + plus + base64.b64encode(mutate_cbor(inner, rng)).decode()
        case _:
            found[at] = mutate_bytes(word.encode("utf-8", "replace"), rng).decode("utf-8", "replace")
    return " ".join(found)


# --- pieces behind their length -------------------------------------------------------------------


def make_frame_mutator(length_bytes: int, inner: Mutator) -> Mutator:
    """A mutator for ``(length || piece)*``: change, drop, repeat or swap whole pieces."""

    def mutate(data: bytes, rng: Random) -> bytes:
        pieces: list[bytes] = []
        at = 0
        while at + length_bytes <= len(data):
            end = at + length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
            pieces.append(data[at + length_bytes : end])
            at = end
        if not pieces:
            return mutate_bytes(data, rng)
        place = rng.randrange(len(pieces))
        match rng.randrange(4):
            case 0:
                del pieces[place]
            case 1:
                pieces.insert(rng.randrange(len(pieces) + 1), pieces[place])
            case 2:
                pieces[place] = b""
            case _:
                pieces[place] = inner(pieces[place], rng)
        most = (1 << 8 * length_bytes) - 1
        return b"".join(min(len(piece), most).to_bytes(length_bytes, "big") + piece for piece in pieces)

    return mutate
