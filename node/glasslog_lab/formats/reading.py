"""Strict reading of other people's JSON, base64 and digests: one line where something is wrong, nothing guessed.

JSON is RFC 8259 in UTF-8 with each key once, bounded in size, depth and numbers. A ``Cursor`` walks it and knows where
it stands, so that every refusal names the file and the place (specs/formats.md, M2).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeAlias, cast

from glasslog_lab.errors import ArtifactError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DOCUMENT_BYTES_MAX = 64 << 20
DEPTH_MAX = 64
_DIGITS_MAX = 40
_EXACT_MAX = 2**53  # above, a double is not one integer alone
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,36})?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_URL_SAFE = str.maketrans("-_", "+/")
_FETCH = "fetch it again from where it came; if it comes out the same, ask whoever wrote it"

# Hexadecimal digits of each digest that in-toto, SPDX, CycloneDX or OMS name.
DIGEST_HEX = {
    "md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128, "sha3_224": 56, "sha3_256": 64,
    "sha3_384": 96, "sha3_512": 128, "blake2b": 128, "blake2s": 64, "blake2b_256": 64, "blake2b_384": 96, "blake3": 64,
    "gitCommit": 40,
}  # fmt: skip
WEAK_DIGESTS = frozenset({"md5", "sha1", "gitCommit"})  # collisions are made on purpose: a claim, no identity


def refusal(code: str, where: str, fact: str, next_step: str = _FETCH) -> ArtifactError:
    """Return the refusal of something that was read: ``CODE where: fact. Next: step``."""
    return ArtifactError(code, f"{printable(where)}: {printable(fact)}", next_step)


def printable(text: str) -> str:
    """Return a text as one line of at most 400 characters, whatever a stranger's bytes put into it."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)[:400]


def read_document(path: Path, size_max: int = DOCUMENT_BYTES_MAX) -> bytes:
    """Return a file's bytes.

    Raises:
        ArtifactError: IMPORT-01 not readable, IMPORT-03 longer than ``size_max`` bytes.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(size_max + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise refusal("IMPORT-01", str(path), f"cannot be read: {reason}", "check the path and its mode") from error
    if len(data) > size_max:
        raise refusal("IMPORT-03", str(path), f"has over {size_max} bytes", "give the document, not what it describes")
    return data


def load_json(data: bytes, where: str) -> Json:
    """Return a JSON text's value.

    Raises:
        ArtifactError: IMPORT-02 not JSON, a key twice, half a surrogate pair, a number no reader keeps;
            IMPORT-03 deeper than 64 or too long.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise refusal("IMPORT-03", where, f"has over {DOCUMENT_BYTES_MAX} bytes")
    if data.startswith(BYTE_ORDER_MARK):
        raise refusal(
            "IMPORT-02", where, "begins with a byte order mark, which RFC 8259 forbids", "save it without one"
        )
    try:
        value = cast(
            "Json",
            json.loads(
                data.decode("utf-8"),
                object_pairs_hook=_read_members,
                parse_int=read_number,
                parse_float=read_number,
                parse_constant=_refuse_constant,
            ),
        )
    except UnicodeDecodeError as error:
        raise refusal("IMPORT-02", where, f"is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise refusal("IMPORT-02", where, f"is not JSON: {error.msg.lower()} at line {error.lineno}") from error
    except RecursionError as error:
        raise refusal("IMPORT-03", where, f"is nested deeper than {DEPTH_MAX}") from error
    except ValueError as error:
        raise refusal("IMPORT-02", where, f"is not JSON that every reader reads alike: {error}") from error
    check_tree(value, where)
    return value


def read_number(digits: str) -> int | float:
    """Return the number that digits of JSON or YAML write.

    Raises:
        ValueError: an integer of over 40 digits, or beyond any double.
    """
    if digits.lstrip("+-").isdecimal():
        if len(digits) > _DIGITS_MAX:
            raise ValueError(f"the number {digits[:24]} has over {_DIGITS_MAX} digits")
        return int(digits)
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:24]} is beyond any double")
    return value


def show_decimal(value: Json) -> str | None:
    """Return a number as a decimal without exponent (V3), None where it is none or too long for one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
        if not number.is_finite() or abs(number.adjusted()) > 80:
            return None
        text = format(number, "f")
    except InvalidOperation:
        return None
    return text if _DECIMAL.fullmatch(text) else None


def check_tree(value: Json, where: str) -> None:
    """Check depth and strings of what some parser made.

    Raises:
        ArtifactError: IMPORT-02 half a surrogate pair, IMPORT-03 nested deeper than 64.
    """
    level: list[Json] = [value]
    for _ in range(DEPTH_MAX + 1):
        below: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
                below += item.keys()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and _SURROGATE.search(item):
                raise refusal("IMPORT-02", where, "holds half of a surrogate pair")
        if not below:
            return
        level = below
    raise refusal("IMPORT-03", where, f"is nested deeper than {DEPTH_MAX}")


def decode_base64(text: str, where: str) -> bytes:
    """Return the bytes of base64, in the standard or the URL-safe alphabet, with or without padding (DSSE 1.0.2).

    One text per byte string and alphabet: spaces, both alphabets mixed and stray last bits are refused.

    Raises:
        ArtifactError: IMPORT-06.
    """
    mixed = ("-" in text or "_" in text) and ("+" in text or "/" in text)
    plain = text.translate(_URL_SAFE)
    bare = plain.rstrip("=")
    try:
        data = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise refusal("IMPORT-06", where, "is not base64") from error
    again = base64.b64encode(data).decode()
    if mixed or plain not in (again, again.rstrip("=")):
        raise refusal("IMPORT-06", where, "is not base64 as anybody writes it: mixed alphabets, padding or stray bits")
    return data


def is_digest(algorithm: str, text: object) -> bool:
    """Whether a value is a digest of the algorithm as lowercase hexadecimal; addresses and short strings are not."""
    length = DIGEST_HEX.get(algorithm)
    return isinstance(text, str) and len(text) == length and re.fullmatch("[0-9a-f]+", text) is not None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A value in a document: ``file`` and ``path`` say where, for refusals and for the provenance of facts."""

    file: str
    path: str
    value: Json

    @property
    def where(self) -> str:
        """Where this is, for people."""
        return f"{self.file} at {self.path}" if self.path else self.file

    def refuse(self, fact: str, code: str = "IMPORT-05") -> ArtifactError:
        """Return the refusal of this value."""
        return refusal(code, self.where, fact)

    def members(self) -> Mapping[str, Json]:
        """Return the object this is. Raises ArtifactError IMPORT-05 where it is none."""
        if not isinstance(self.value, dict):
            raise self.refuse("is not an object")
        return self.value

    def items(self) -> Iterator[Cursor]:
        """Yield the elements of the list this is. Raises ArtifactError IMPORT-05 where it is none."""
        if not isinstance(self.value, list):
            raise self.refuse("is not a list")
        for index, item in enumerate(self.value):
            yield Cursor(self.file, f"{self.path}[{index}]", item)

    def get(self, name: str) -> Cursor | None:
        """Return a member, None where it is missing or null."""
        value = self.members().get(name)
        return None if value is None else Cursor(self.file, f"{self.path}.{name}".lstrip("."), value)

    def need(self, name: str) -> Cursor:
        """Return a member. Raises ArtifactError IMPORT-05 where it is missing or null."""
        member = self.get(name)
        if member is None:
            raise self.refuse(f"has no {name}")
        return member

    def list(self, name: str) -> Iterator[Cursor]:
        """Yield a member's elements; none where it is missing."""
        member = self.get(name)
        return iter(()) if member is None else member.items()

    def each(self, name: str) -> Iterator[Cursor]:
        """Yield a member's elements, or the member itself where it is not a list, as JSON-LD and YAML cards have it."""
        member = self.get(name)
        if member is None:
            return iter(())
        return member.items() if isinstance(member.value, list) else iter((member,))

    def text(self) -> str:
        """Return the text this is. Raises ArtifactError IMPORT-05 where it is none."""
        if not isinstance(self.value, str):
            raise self.refuse("is not text")
        return self.value

    def text_of(self, name: str) -> str | None:
        """Return a member's text, None where it is missing or empty."""
        member = self.get(name)
        return None if member is None else member.text() or None

    def whole(self) -> int:
        """Return the integer from 0 on that this is. Raises ArtifactError IMPORT-05 where it is none.

        ``100.0`` is 100: protobuf's JSON has no integers, and model-signing writes what protobuf writes.
        """
        value = self.value
        if isinstance(value, float) and value.is_integer() and value < _EXACT_MAX:
            value = int(value)
        if type(value) is not int or value < 0:
            raise self.refuse("is not a whole number")
        return value


def _read_members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"member {twice[:60]!r} stands twice in one object")
    return members


def _refuse_constant(word: str) -> Json:
    raise ValueError(f"{word} is not a number")
