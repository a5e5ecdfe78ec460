"""The protobuf wire format, as far as ONNX needs it: fields of a message by number, contents left where they are.

Source: the encoding guide of Protocol Buffers. Groups, which ONNX has none of, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from glasslog_lab.weights.refusals import refusal, refuse
from glasslog_lab.weights.windows import Cursor, Window

CODE = "WEIGHTS-50"
FIELDS_MAX = 5_000_000
_TEXT_BYTES_MAX = 65_536
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field: its ``value`` where it is a varint, else its content's place ``[begin, end)`` in the file."""

    number: int
    kind: int
    value: int
    begin: int
    end: int


class Message:
    """A message that lies at ``[begin, end)`` of a file. ``budget`` counts down over all messages of that file."""

    def __init__(self, window: Window, begin: int, end: int, budget: list[int]) -> None:
        self.window = window
        self.begin = begin
        self.end = end
        self.budget = budget

    def fields(self) -> Iterator[Field]:
        """Yield the fields in their order.

        Raises:
            ArtifactError: WEIGHTS-50 this is no message, WEIGHTS-15 too many fields.
        """
        cursor = Cursor(self.window, self.begin, self.end, CODE)
        while cursor.offset < self.end:
            self.budget[0] -= 1
            if self.budget[0] < 0:
                refuse("WEIGHTS-15", f"has more than {FIELDS_MAX} fields")
            tag = read_varint(cursor)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                refuse(CODE, f"has a field of number 0 before byte {cursor.offset}")
            value, begin = 0, cursor.offset
            if kind == VARINT:
                value = read_varint(cursor)
            elif kind == BYTES:
                length = read_varint(cursor)
                begin = cursor.offset
                cursor.skip(length)
            elif kind in (FIXED64, FIXED32):
                cursor.skip(8 if kind == FIXED64 else 4)
            else:
                refuse(CODE, f"has a field of the odd kind {kind} before byte {cursor.offset}")
            yield Field(number, kind, value, begin, cursor.offset)

    def inner(self, field: Field) -> Message:
        """Return the message that a field holds.

        Raises:
            ArtifactError: WEIGHTS-50, it holds none.
        """
        if field.kind != BYTES:
            refuse(CODE, f"field {field.number} at byte {field.begin} is no message")
        return Message(self.window, field.begin, field.end, self.budget)

    def text(self, field: Field) -> str:
        """Return the text that a field holds.

        Raises:
            ArtifactError: WEIGHTS-50, it holds none, or a very long one.
        """
        if field.kind != BYTES or field.end - field.begin > _TEXT_BYTES_MAX:
            refuse(CODE, f"field {field.number} at byte {field.begin} is no text, or a very long one")
        try:
            return self.window.read_at(field.begin, field.end - field.begin).decode("utf-8")
        except UnicodeDecodeError as error:
            raise refusal(CODE, f"the text at byte {field.begin} is not UTF-8") from error

    def integers(self, field: Field, most: int) -> list[int]:
        """Return the signed integers of a field, packed or single.

        Raises:
            ArtifactError: WEIGHTS-50, it holds none, or more than ``most``.
        """
        if field.kind == VARINT:
            return [_sign(field.value)]
        if field.kind != BYTES:
            refuse(CODE, f"field {field.number} at byte {field.begin} is no list of integers")
        cursor, found = Cursor(self.window, field.begin, field.end, CODE), list[int]()
        while cursor.offset < field.end:
            found.append(_sign(read_varint(cursor)))
            if len(found) > most:
                refuse(CODE, f"the list at byte {field.begin} has more than {most} integers")
        return found


def read_varint(cursor: Cursor) -> int:
    """Return the next varint, 0 to 2**64 - 1.

    Raises:
        ArtifactError: WEIGHTS-50, there is none.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte = cursor.read(1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value
    raise refusal(CODE, f"has a varint of more than 64 bits before byte {cursor.offset}")


def _sign(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
