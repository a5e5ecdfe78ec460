"""C2SP signed-note: a text and the signature lines under it, byte for byte.

``Note.parse`` accepts the one spelling that ``format`` writes. ``verify_note`` has two tempers: C2SP's own, which
ignores lines by unknown keys, and the strict one of bundles, where every line is by a known key, verifies
and stands in canonical order, so that no byte is without effect. What a signature covers depends on
the key's type; type 0x01 covers the text itself, the others are ``glasslog.checkpoint``'s.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from glasslog.errors import DecodeError, SignatureError
from glasslog.identity import TYPE_ED25519, VerifierKey, decode_base64, is_key_name, verify_ed25519

NOTE_BYTES_MAX = 1_000_000  # the bounds of the Go and Rust clients
NOTE_LINES_MAX = 100
_DASH = "\N{EM DASH} "
_KEY_ID_BYTES = 4
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")

SignatureCheck: TypeAlias = Callable[[VerifierKey, str, bytes], bool]
"""``(key, text, signature)`` to whether the signature, without its key id, holds for the note's text."""


@dataclass(frozen=True, slots=True)
class NoteLine:
    """One signature line: the key's name, its 4-byte id, and the signature (behind its time, where it has one)."""

    name: str
    key_id: bytes
    signature: bytes

    def format(self) -> str:
        """Return the line with its final newline."""
        return f"{_DASH}{self.name} {b64encode(self.key_id + self.signature).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> NoteLine:
        """Return what a line (without its newline) says; raises ``DecodeError`` ``NOTE-03``."""
        if not line.startswith(_DASH):
            raise DecodeError("NOTE-03", "a signature line does not begin with an em dash and a space")
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not is_key_name(name):
            raise DecodeError("NOTE-03", "a signature line without a key name")
        blob = decode_base64(encoded)
        if blob is None or len(blob) <= _KEY_ID_BYTES:
            raise DecodeError(
                "NOTE-03", f"the signature line of {name} is not canonical base64 of a key id and a signature"
            )
        return cls(name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text, ending in a newline, and at least one signature line."""

    text: str
    lines: tuple[NoteLine, ...]

    def format(self) -> bytes:
        """Return the note's bytes (C2SP signed-note, "Format")."""
        return (self.text + "\n" + "".join([line.format() for line in self.lines])).encode()

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Return the note; nothing verified yet.

        Raises ``DecodeError``: ``NOTE-01`` size or characters, ``NOTE-02`` no text or no lines, ``NOTE-03`` a line.
        """
        if len(data) > NOTE_BYTES_MAX:
            raise DecodeError("NOTE-01", f"a note of {len(data)} bytes where {NOTE_BYTES_MAX} are the most")
        try:
            whole = data.decode()
        except UnicodeDecodeError as error:
            raise DecodeError("NOTE-01", f"not UTF-8 at byte {error.start}") from error
        if _CONTROL.search(whole):
            raise DecodeError("NOTE-01", "a control character in the note")
        # The last blank line divides: the text may have blank lines of its own.
        text, blank, block = whole.rpartition("\n\n")
        if not blank or not block.endswith("\n"):
            raise DecodeError("NOTE-02", "no blank line, or no whole signature line after it")
        # Only newline ends a line: str.splitlines would cut at characters that names may not, but texts may, hold.
        lines = block[:-1].split("\n")
        if len(lines) > NOTE_LINES_MAX:
            raise DecodeError("NOTE-02", f"{len(lines)} signature lines where {NOTE_LINES_MAX} are the most")
        return cls(text + "\n", tuple([NoteLine.parse(line) for line in lines]))


def check_ed25519(key: VerifierKey, text: str, signature: bytes) -> bool:
    """Tell whether a type 0x01 signature over the text holds; False for every other type."""
    return key.type == TYPE_ED25519 and verify_ed25519(key.key, text.encode(), signature)


def verify_note(
    note: Note, keys: Sequence[VerifierKey], *, check: SignatureCheck = check_ed25519, strict: bool = False
) -> tuple[VerifierKey, ...]:
    """Return the known keys whose lines verify, each once, in the order of the lines; none is not an error here.

    ``keys`` hold each ``(name, key_id)`` once. Raises ``SignatureError``: ``NOTE-05`` where a line by a known key
    does not verify; and if ``strict``, ``NOTE-04`` for an unknown key, ``NOTE-06`` where lines repeat or do not follow
    the order of ``keys``.
    """
    known = {(key.name, key.key_id): place for place, key in enumerate(keys)}
    if len(known) != len(keys):
        raise ValueError("two keys of one name and key id")
    verified: dict[VerifierKey, None] = {}
    last = -1
    for line in note.lines:
        place = known.get((line.name, line.key_id))
        if place is None:
            if strict:
                raise SignatureError("NOTE-04", f"a line by {line.name}, key {line.key_id.hex()}, which is not known")
            continue
        if strict and place <= last:
            raise SignatureError(
                "NOTE-06", f"the line of {line.name}, key {line.key_id.hex()}, is repeated or out of order"
            )
        last = place
        if not check(keys[place], note.text, line.signature):
            raise SignatureError("NOTE-05", f"the signature of {line.name}, key {line.key_id.hex()}, does not verify")
        verified[keys[place]] = None
    return tuple(verified)
