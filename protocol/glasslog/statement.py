"""Statements: the in-toto Statement v1 model as canonical CBOR, lossless to and from its JSON (specs/log.md, L4).

In memory a statement is a map with the members ``_type``, ``subject``, ``predicateType`` and, if given, ``predicate``.
One thing differs from the JSON: where a member named ``digest`` is a map, its values that are non-empty, even-length,
lowercase hexadecimal are byte strings. Every other string is text, and bytes stand nowhere else, so either form
determines the other.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias, cast

from glasslog import codec
from glasslog.codec import Key, Map, Value
from glasslog.errors import DecodeError
from glasslog.limits import CBOR_DEPTH_MAX, STATEMENT_BYTES_MAX, SUBJECTS_MAX

Statement: TypeAlias = Map

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
# A statement is one array deep inside its entry, and the whole leaf keeps CBOR_DEPTH_MAX.
STATEMENT_DEPTH_MAX = CBOR_DEPTH_MAX - 1
# Hexadecimal doubles a digest and "\u0001" takes six bytes: no statement within its limit needs more JSON than this.
JSON_BYTES_MAX = 8 * STATEMENT_BYTES_MAX

_MEMBERS = {"_type", "subject", "predicateType", "predicate"}
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")  # RFC 3986: a scheme, then no space and nothing beyond ASCII
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER_DIGITS_MAX = 20  # of 2**64 - 1; longer ones need not be converted to be refused
_FLOAT_DIGITS_MAX = 17  # what any double needs to be told from its neighbours (RFC 8259 section 6)

# --- CBOR -----------------------------------------------------------------------------------------


def encode_statement(statement: Statement) -> bytes:
    """Return the canonical CBOR of a statement.

    Raises:
        DecodeError: STMT-nn, it is not a statement or over a limit.
    """
    check_statement(statement)
    try:
        data = codec.encode(statement)
    except ValueError as error:
        raise DecodeError("STMT-04", f"the statement holds a value that has no encoding: {error}") from error
    if len(data) > STATEMENT_BYTES_MAX:
        raise DecodeError("STMT-01", f"the statement has {len(data)} bytes, at most {STATEMENT_BYTES_MAX} allowed")
    return data


def decode_statement(data: bytes) -> Statement:
    """Return the statement these canonical bytes encode.

    Raises:
        DecodeError: CBOR-nn not canonical, STMT-nn not a statement.
    """
    value = codec.decode(data, size_max=STATEMENT_BYTES_MAX, text_keys_only=True, depth_max=STATEMENT_DEPTH_MAX)
    check_statement(value)
    return cast("Statement", value)


def check_statement(value: Value) -> None:
    """Check the rules on a decoded value; that it is canonical and within its size is ``codec``'s business.

    Only these rules look at content: the shapes of ``glasslog.shapes`` rest on that.

    Raises:
        DecodeError: STMT-05 to STMT-13.
    """
    if not isinstance(value, dict):
        raise DecodeError("STMT-07", "a statement is an object")
    if value.get("_type") != STATEMENT_TYPE:
        raise DecodeError("STMT-08", f"_type is not {STATEMENT_TYPE}")
    unknown = value.keys() - _MEMBERS
    if unknown:
        raise DecodeError("STMT-07", f"unknown member {min(map(repr, unknown))}: put it into the predicate")
    predicate_type = value.get("predicateType")
    if not isinstance(predicate_type, str) or not _URI.fullmatch(predicate_type):
        raise DecodeError("STMT-12", "predicateType is missing or not a URI such as https://slsa.dev/provenance/v1")
    if not isinstance(value.get("predicate", {}), dict):
        raise DecodeError("STMT-07", "predicate is not an object")
    _check_subjects(value.get("subject"))
    for name in ("subject", "predicate"):
        if name in value:
            _check_strings(value[name], (None, name), 2)


def _check_subjects(subjects: Value) -> None:
    if not isinstance(subjects, list) or not subjects:
        raise DecodeError("STMT-09", "subject is missing or not a list with at least one subject")
    if len(subjects) > SUBJECTS_MAX:
        raise DecodeError("STMT-09", f"{len(subjects)} subjects, at most {SUBJECTS_MAX}: split the statement")
    for index, subject in enumerate(subjects):
        if not isinstance(subject, dict):
            raise DecodeError("STMT-10", f"subject[{index}] is not an object")
        name = subject.get("name")
        if not isinstance(name, str) or not name:
            raise DecodeError("STMT-10", f"subject[{index}].name is missing or empty")
        digest = subject.get("digest")
        if not isinstance(digest, dict) or not digest:
            raise DecodeError("STMT-11", f"subject[{index}].digest is missing or has no digest, such as sha256")
        if not all(algorithm and one and isinstance(one, str | bytes) for algorithm, one in digest.items()):
            raise DecodeError("STMT-11", f"subject[{index}].digest has an empty name or a value that is no digest")


_Path: TypeAlias = "tuple[_Path | None, Key]"


def _check_strings(value: Value, path: _Path, depth: int) -> None:
    """Require bytes exactly where a digest is hexadecimal in JSON (STMT-13), and JSON's types everywhere else."""
    if isinstance(value, dict):
        _check_depth(path, depth)
        in_digest = path[1] == "digest"
        for key, item in value.items():
            if not isinstance(key, str):
                raise DecodeError("STMT-07", f"{_show(path)} has a member whose name is not text")
            if in_digest and isinstance(item, bytes | str):
                _check_digest(item, (path, key))
            else:
                _check_strings(item, (path, key), depth + 1)
    elif isinstance(value, list):
        _check_depth(path, depth)
        for index, item in enumerate(value):
            _check_strings(item, (path, index), depth + 1)
    elif isinstance(value, bytes | codec.Tagged):
        raise DecodeError("STMT-13", f"{_show(path)} holds bytes outside a digest")


def _check_depth(path: _Path, depth: int) -> None:
    if depth > STATEMENT_DEPTH_MAX:
        raise DecodeError("STMT-05", f"nested deeper than {STATEMENT_DEPTH_MAX} at {_show(path)}")


def _check_digest(item: bytes | str, path: _Path) -> None:
    if not item and isinstance(item, bytes):
        raise DecodeError("STMT-13", f"{_show(path)} is empty bytes where JSON can only have empty text")
    if isinstance(item, str) and _HEX.fullmatch(item):
        raise DecodeError("STMT-13", f"{_show(path)} is text where its hexadecimal must be bytes")


def _show(path: _Path | None) -> str:
    names: list[str] = []
    while path is not None:
        path, key = path
        names.append(f"[{key}]" if isinstance(key, int) else f".{key!s}")
    return "".join(reversed(names)).lstrip(".")


# --- JSON -----------------------------------------------------------------------------------------


def from_json(text: str | bytes) -> Statement:
    """Return the statement that in-toto JSON holds.

    Strict: UTF-8, no member twice, no NaN, no lone surrogate, numbers that 64 bits hold without loss.

    Raises:
        DecodeError: STMT-01 to STMT-13, with what to change.
    """
    if len(text) > JSON_BYTES_MAX:
        raise DecodeError("STMT-01", f"{len(text)} bytes of JSON, at most {JSON_BYTES_MAX} allowed")
    try:
        source = text.decode() if isinstance(text, bytes) else text
        raw = json.loads(
            source,
            object_pairs_hook=_read_members,
            parse_int=_read_integer,
            parse_float=_read_float,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise DecodeError("STMT-02", f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise DecodeError("STMT-02", f"not JSON: {error.msg.lower()} at line {error.lineno}") from None
    except RecursionError:
        raise DecodeError("STMT-05", f"nested deeper than {STATEMENT_DEPTH_MAX}") from None
    statement = _map_strings(raw, "", _read_string, 0)
    check_statement(statement)
    return cast("Statement", statement)


def to_json(statement: Statement) -> str:
    """Return the statement as in-toto JSON on one line, members in the map's order; ``from_json`` undoes it.

    Raises:
        DecodeError: STMT-nn, it is not a statement.
    """
    check_statement(statement)
    plain = _map_strings(statement, "", lambda item, _in_digest: item.hex() if isinstance(item, bytes) else item, 0)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _read_members(pairs: list[tuple[str, Value]]) -> Map:
    members: Map = dict(pairs)
    if len(members) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise DecodeError("STMT-03", f"member {twice!r} stands twice in one object")
    return members


def _read_integer(digits: str) -> int | float:
    if digits == "-0":
        return -0.0  # the only float that JSON can write as an integer
    value = int(digits) if len(digits) <= _INTEGER_DIGITS_MAX else None
    if value is None or not codec.INT_MIN <= value <= codec.INT_MAX:
        raise DecodeError("STMT-04", f"the integer {digits[:24]} does not fit 64 bits: write it as a string")
    return value


def _read_float(digits: str) -> float:
    value = float(digits)
    mantissa = re.sub(r"[eE].*|[-.]", "", digits).strip("0")
    if value - value != 0 or len(mantissa) > _FLOAT_DIGITS_MAX or (value == 0 and mantissa):
        raise DecodeError("STMT-04", f"the number {digits[:24]} does not fit a double without loss: write a string")
    return value


def _refuse_constant(word: str) -> Value:
    raise DecodeError("STMT-04", f"{word} is not a JSON number: write null or a string")


def _read_string(item: bytes | str, in_digest: bool) -> Value:
    if isinstance(item, bytes):
        raise TypeError("JSON has no byte strings")
    if not item.isascii() and _SURROGATE.search(item):
        raise DecodeError("STMT-06", "a string holds half of a surrogate pair")
    return bytes.fromhex(item) if in_digest and _HEX.fullmatch(item) else item


_Change: TypeAlias = Callable[[bytes | str, bool], Value]


def _map_strings(value: Value, name: Key, change: _Change, depth: int) -> Value:
    """Return ``value`` with every string changed; ``change`` is told whether it is a digest."""
    if depth > CBOR_DEPTH_MAX:
        raise DecodeError("STMT-05", f"nested deeper than {STATEMENT_DEPTH_MAX}")
    if isinstance(value, dict):
        in_digest = name == "digest"
        members: Map = {}
        for key, item in value.items():
            change(str(key), False)
            if isinstance(item, bytes | str):
                members[key] = change(item, in_digest)
            else:
                members[key] = _map_strings(item, key, change, depth + 1)
        return members
    if isinstance(value, list):
        return [
            change(item, False) if isinstance(item, bytes | str) else _map_strings(item, "", change, depth + 1)
            for item in value
        ]
    return value
