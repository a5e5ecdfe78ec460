"""What a pickle describes, without doing any of it: an interpreter of its opcodes that builds inert values.

A pickle is a program; ``pickle.load`` runs it, calls what it names and imports what it wants. Here a global is a pair
of names, a call is a note of what would have been called with what, and nothing is imported, called or compared. Long
strings stay in the file. Every opcode pays for the memory it takes, nothing recurses, and keys are made harmless, so
that a hostile pickle is refused after bounded work. Source: the opcode descriptions of ``pickletools``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeGuard

from glasslog_lab.weights.refusals import quote, refusal, refuse
from glasslog_lab.weights.windows import Cursor

MEMORY_MAX = 192 << 20  # bytes that the values of one pickle may take, by our own reckoning
OPCODES_MAX = 10_000_000
STRING_BYTES_MAX = 64 << 10  # longer ones are left where they are
_LINE_BYTES_MAX = 4_096
_KEY_MAX = 1 << 60  # below, no two integers have one hash
_MARK: Final = object()

Value: TypeAlias = Any  # None, bool, int, float, str, bytes, tuple, list, dict, Blob, Global, Made, Persistent


@dataclass(frozen=True, slots=True)
class Blob:
    """A string too long to be read: where it lies in the file."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle would have imported."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class Made:
    """What a call would have returned: what was to be called, with what, and what was then put into it."""

    maker: Value
    args: Value
    entries: dict[Value, Value] = field(default_factory=dict[Any, Any])
    items: list[Value] = field(default_factory=list[Any])
    states: list[Value] = field(default_factory=list[Any])

    def is_a(self, module: str, *names: str) -> bool:
        """Whether this would have been made by one of these."""
        return isinstance(self.maker, Global) and self.maker.module == module and self.maker.name in names


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """What a pickle leaves to its reader: PyTorch's storages."""

    pid: Value


@dataclass(frozen=True, slots=True, eq=False)
class OddKey:
    """A key of a dictionary that is neither text nor a plain number; ``number`` counts them."""

    number: int


# What a stranger's value is found to be: checkers know `isinstance` only to the point of what is in a container.


def is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Whether a value is a tuple."""
    return isinstance(value, tuple)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a value is a list."""
    return isinstance(value, list)


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """Whether a value is a dictionary."""
    return isinstance(value, dict)


def is_holder(value: object) -> TypeGuard[dict[Any, Any] | list[Any] | tuple[Any, ...] | Made]:
    """Whether a value holds others."""
    return isinstance(value, dict | list | tuple | Made)


def read_pickle(cursor: Cursor, persistent: list[Persistent] | None = None) -> Value:
    """Return the value of the one pickle at a cursor, which is left behind its STOP.

    ``persistent`` takes what the pickle leaves to its reader, wherever in the value it stands.

    Raises:
        ArtifactError: WEIGHTS-30 no pickle or cut short, WEIGHTS-31 it costs too much, WEIGHTS-32 an opcode that has no
            business in a file of weights.
    """
    machine = _Machine(cursor)
    try:
        value = machine.run()
    except (IndexError, ValueError, TypeError, struct.error, OverflowError) as error:
        raise refusal("WEIGHTS-30", f"is not a pickle from byte {cursor.offset} on: {type(error).__name__}") from error
    if persistent is not None:
        persistent += machine.persistent
    return value


class _Machine:
    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.stack = list[Value]()
        self.memo = dict[int, Value]()
        self.spent = 0
        self.odd = 0
        self.persistent = list[Persistent]()

    def run(self) -> Value:
        read, stop = self.cursor.read, b"."
        for _ in range(OPCODES_MAX):
            code = read(1)
            if code == stop:
                value = self.stack.pop()
                if value is _MARK:
                    raise ValueError
                return value
            opcode = _OPCODES.get(code)
            if opcode is None:
                refuse("WEIGHTS-32", f"the pickle has the opcode {code!r} before byte {self.cursor.offset}")
            opcode(self)
        raise refusal("WEIGHTS-31", f"the pickle has more than {OPCODES_MAX} opcodes")

    # --- the stack ----------------------------------------------------------------------------------

    def pay(self, cost: int) -> None:
        self.spent += cost
        if self.spent > MEMORY_MAX:
            refuse("WEIGHTS-31", f"the pickle's values take more than {MEMORY_MAX >> 20} MiB")

    def push(self, value: Value, cost: int = 40) -> None:
        self.pay(cost)
        self.stack.append(value)

    def pop(self) -> Value:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError
        return value

    def pop_mark(self) -> list[Value]:
        stack = self.stack
        at = len(stack) - 1
        while stack[at] is not _MARK:  # an IndexError below the bottom
            at -= 1
            if at < 0:
                raise IndexError
        found = stack[at + 1 :]
        del stack[at:]
        return found

    # --- strings and numbers ------------------------------------------------------------------------

    def number(self, form: str) -> Any:  # noqa: ANN401 - whatever the format says
        return struct.unpack(form, self.cursor.read(struct.calcsize(form)))[0]

    def string(self, form: str, *, text: bool) -> None:
        length = self.number(form)
        if length < 0:
            raise ValueError
        if length > STRING_BYTES_MAX:
            begin = self.cursor.offset
            self.cursor.skip(length)
            self.push(Blob(begin, begin + length), 120)
            return
        data = self.cursor.read(length)
        self.push(data.decode("utf-8", "surrogatepass") if text else data, 64 + 4 * length)

    def old_string(self, form: str) -> None:
        # Python 2 wrote names and binary data with the same opcode.
        self.string(form, text=False)
        value = self.stack[-1]
        if isinstance(value, bytes):
            with suppress(UnicodeDecodeError):
                self.stack[-1] = value.decode("utf-8")

    def line(self) -> str:
        return self.cursor.read_line(_LINE_BYTES_MAX).decode("utf-8")

    def long(self, form: str) -> None:
        length = self.number(form)
        if not 0 <= length <= 64:
            refuse("WEIGHTS-32", f"the pickle has an integer of {length} bytes")
        self.push(int.from_bytes(self.cursor.read(length), "little", signed=True), 100)

    # --- containers ---------------------------------------------------------------------------------

    def key(self, value: Value) -> Value:
        if isinstance(value, str) or (isinstance(value, int) and -_KEY_MAX < value < _KEY_MAX):
            return value
        self.odd += 1
        self.pay(64)
        return OddKey(self.odd)

    def set_items(self, pairs: list[Value]) -> None:
        target = self.stack[-1]
        entries = target.entries if isinstance(target, Made) else target
        if not isinstance(entries, dict) or len(pairs) % 2:
            raise ValueError
        self.pay(60 * len(pairs))
        for at in range(0, len(pairs), 2):
            entries[self.key(pairs[at])] = pairs[at + 1]

    def append(self, values: list[Value]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Made) else target
        if not is_list(items):
            raise TypeError
        self.pay(16 * len(values))
        items.extend(values)

    def make(self, maker: Value, args: Value) -> None:
        self.push(Made(maker, args), 300)

    def reduce(self) -> None:
        args = self.pop()
        self.make(self.pop(), args)

    def build(self) -> None:
        state = self.pop()
        target = self.stack[-1]
        if not isinstance(target, Made):
            raise TypeError
        self.pay(16)
        target.states.append(state)

    def build_dict(self) -> None:
        pairs = self.pop_mark()
        self.push({}, 80)
        self.set_items(pairs)

    def build_set(self, name: str) -> None:
        self.push(Made(Global("builtins", name), ()), 300)

    def frozen_set(self) -> None:
        values = self.pop_mark()
        self.build_set("frozenset")
        self.append(values)

    def tuple(self, values: list[Value]) -> None:
        self.push(tuple(values), 64 + 8 * len(values))

    def pop_last(self, count: int) -> list[Value]:
        return [self.pop() for _ in range(count)][::-1]

    def stack_global(self) -> None:
        module, name = self.pop_last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError
        self.push(Global(module, name), 80)

    def discard(self) -> None:
        self.stack.pop()

    def instance(self) -> None:
        maker = Global(self.line(), self.line())
        self.make(maker, tuple(self.pop_mark()))

    def object(self) -> None:
        maker, *args = self.pop_mark()
        self.make(maker, tuple(args))

    def new_with_keywords(self) -> None:
        maker, args, _keywords = self.pop_last(3)
        self.make(maker, args)

    def persist(self) -> None:
        value = Persistent(self.pop())
        self.push(value, 80)
        self.persistent.append(value)

    # --- the memo -----------------------------------------------------------------------------------

    def put(self, index: int) -> None:
        if index < 0:
            raise ValueError
        self.pay(80)
        value = self.pop()
        self.stack.append(value)
        self.memo[index] = value

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise IndexError
        self.push(self.memo[index], 8)


def _protocol(machine: _Machine) -> None:
    if machine.number("<B") > 5:
        refuse("WEIGHTS-32", "the pickle is of a protocol above 5")


def _integer_line(machine: _Machine) -> None:
    text = machine.line()
    machine.push(text == "01" if text in ("00", "01") else int(text.removesuffix("L")), 100)


def _text_line(machine: _Machine) -> None:
    line = machine.line().encode()
    machine.push(line.decode("raw_unicode_escape"), 64 + 4 * len(line))


def _quoted_line(machine: _Machine) -> None:
    text = machine.line()
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "\"'" or "\\" in text:
        refuse("WEIGHTS-32", f"the pickle has the old string {quote(text)}")
    machine.push(text[1:-1], 64 + 4 * len(text))


_OPCODES: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": _protocol,
    b"\x95": lambda m: m.cursor.read(8),  # FRAME: where reading ahead may stop
    b"(": lambda m: m.push(_MARK, 8),
    b"0": _Machine.discard,
    b"1": lambda m: m.pop_mark(),
    b"2": lambda m: m.push(m.stack[-1], 8),
    b"N": lambda m: m.push(None, 8),
    b"\x88": lambda m: m.push(True, 8),
    b"\x89": lambda m: m.push(False, 8),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B"), 8),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": lambda m: m.long("<B"),
    b"\x8b": lambda m: m.long("<i"),
    b"I": _integer_line,
    b"L": _integer_line,
    b"G": lambda m: m.push(m.number(">d")),
    b"F": lambda m: m.push(float(m.line())),
    b"S": _quoted_line,
    b"V": _text_line,
    b"X": lambda m: m.string("<I", text=True),
    b"\x8c": lambda m: m.string("<B", text=True),
    b"\x8d": lambda m: m.string("<Q", text=True),
    b"B": lambda m: m.string("<I", text=False),
    b"C": lambda m: m.string("<B", text=False),
    b"\x8e": lambda m: m.string("<Q", text=False),
    b"\x96": lambda m: m.string("<Q", text=False),
    b"T": lambda m: m.old_string("<i"),
    b"U": lambda m: m.old_string("<B"),
    b")": lambda m: m.push((), 8),
    b"]": lambda m: m.push([], 80),
    b"}": lambda m: m.push({}, 80),
    b"\x8f": lambda m: m.build_set("set"),
    b"\x90": lambda m: m.append(m.pop_mark()),
    b"\x91": _Machine.frozen_set,
    b"t": lambda m: m.tuple(m.pop_mark()),
    b"\x85": lambda m: m.tuple(m.pop_last(1)),
    b"\x86": lambda m: m.tuple(m.pop_last(2)),
    b"\x87": lambda m: m.tuple(m.pop_last(3)),
    b"l": lambda m: m.push(m.pop_mark(), 80),
    b"d": _Machine.build_dict,
    b"a": lambda m: m.append(m.pop_last(1)),
    b"e": lambda m: m.append(m.pop_mark()),
    b"s": lambda m: m.set_items(m.pop_last(2)),
    b"u": lambda m: m.set_items(m.pop_mark()),
    b"c": lambda m: m.push(Global(m.line(), m.line()), 200),
    b"\x93": _Machine.stack_global,
    b"R": _Machine.reduce,
    b"\x81": _Machine.reduce,
    b"\x92": _Machine.new_with_keywords,
    b"b": _Machine.build,
    b"i": _Machine.instance,
    b"o": _Machine.object,
    b"Q": _Machine.persist,
    b"p": lambda m: m.put(int(m.line())),
    b"q": lambda m: m.put(m.number("<B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"g": lambda m: m.get(int(m.line())),
    b"h": lambda m: m.get(m.number("<B")),
    b"j": lambda m: m.get(m.number("<I")),
}
