"""What a predicate's members are, declared once: from it statements are made and read, and the grammars written.

A predicate is a frozen dataclass whose annotations say what each member is (``glasslog.predicates.values`` has the
kinds). Members are ``snake_case`` in Python and ``lowerCamelCase`` in a statement; one that is None is left out. A
member that is not declared is carried and ignored (in-toto attestation parsing rules), a declared one of the wrong
form is refused. The CDDL (RFC 8610) and JSON Schema of ``specs/statements/`` are written from the same declarations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from glasslog.codec import INT_MAX, Map, Value
from glasslog.errors import DecodeError

JsonSchema: TypeAlias = dict[str, Any]
T = TypeVar("T")
LIST_ITEMS_MAX = 4096  # of any list in a predicate; a statement's 60,000 bytes end most of them earlier


class Kind(Protocol):
    """What a value may be: how it is read from a statement, written into one, and described."""

    def load(self, value: Value, path: str) -> object:
        """Return the Python value; ``path`` says where it stands.

        Raises:
            DecodeError: PRED-03 of another type, PRED-04 outside what the member may say.
        """
        ...

    def dump(self, value: Any) -> Value:  # noqa: ANN401 - each kind knows its own
        """Return what stands in the statement."""
        ...

    def cddl(self) -> str:
        """Return the kind as a CDDL type; records are named."""
        ...

    def json_schema(self) -> JsonSchema:
        """Return the kind as JSON Schema 2020-12; records are references."""
        ...


def doc(text: str) -> dict[str, str]:
    """Return field metadata: one sentence on what the member says."""
    return {"doc": text}


# --- kinds ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextKind:
    """Text of 1 to ``most`` characters, matching ``pattern`` as a whole where one is given.

    ``accepts`` judges what a pattern cannot, such as check digits; the grammars leave that to the reader.
    """

    what: str = "text"
    most: int = 2000
    pattern: str | None = None
    accepts: Callable[[str], bool] | None = None

    def load(self, value: Value, path: str) -> str:
        """Return the text; errors as ``Kind.load``."""
        if not isinstance(value, str):
            raise DecodeError("PRED-03", f"{path} is not {self.what}")
        if not 1 <= len(value) <= self.most:
            raise DecodeError("PRED-04", f"{path} has {len(value)} characters, allowed are 1 to {self.most}")
        fits = self.pattern is None or re.fullmatch(self.pattern, value) is not None
        if not fits or (self.accepts is not None and not self.accepts(value)):
            raise DecodeError("PRED-04", f"{path} is not {self.what}: {value[:60]!r}")
        return value

    def dump(self, value: str) -> Value:
        """Return the text itself."""
        return value

    def cddl(self) -> str:
        """Return ``tstr`` with its length, or with its pattern, which bounds it."""
        if self.pattern is None:
            return f"(tstr .size (1..{4 * self.most}))"  # .size counts bytes, of which a character has up to four
        return f'(tstr .regexp "{_escape(self.pattern)}")'

    def json_schema(self) -> JsonSchema:
        """Return a string with length and pattern."""
        schema: JsonSchema = {"type": "string", "minLength": 1, "maxLength": self.most}
        return schema if self.pattern is None else {**schema, "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class UintKind:
    """An integer from ``least`` to ``most``; of a number that may be greater, a decimal as text is used instead."""

    least: int = 0
    most: int = INT_MAX

    def load(self, value: Value, path: str) -> int:
        """Return the integer; errors as ``Kind.load``."""
        if type(value) is not int:
            raise DecodeError("PRED-03", f"{path} is not an integer")
        if not self.least <= value <= self.most:
            raise DecodeError("PRED-04", f"{path} is {value}, allowed are {self.least} to {self.most}")
        return value

    def dump(self, value: int) -> Value:
        """Return the integer itself."""
        return value

    def cddl(self) -> str:
        """Return the range."""
        return f"{self.least}..{self.most}"

    def json_schema(self) -> JsonSchema:
        """Return an integer with its range."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class BoolKind:
    """True or false."""

    def load(self, value: Value, path: str) -> bool:
        """Return the truth; errors as ``Kind.load``."""
        if not isinstance(value, bool):
            raise DecodeError("PRED-03", f"{path} is neither true nor false")
        return value

    def dump(self, value: bool) -> Value:
        """Return the truth itself."""
        return value

    def cddl(self) -> str:
        """Return ``bool``."""
        return "bool"

    def json_schema(self) -> JsonSchema:
        """Return a boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class ChoiceKind:
    """One of a few words."""

    words: tuple[str, ...]

    def load(self, value: Value, path: str) -> str:
        """Return the word; errors as ``Kind.load``."""
        if not isinstance(value, str):
            raise DecodeError("PRED-03", f"{path} is not text")
        if value not in self.words:
            raise DecodeError("PRED-04", f"{path} is {value[:60]!r}, allowed are {', '.join(self.words)}")
        return value

    def dump(self, value: str) -> Value:
        """Return the word itself."""
        return value

    def cddl(self) -> str:
        """Return the alternatives."""
        return "(" + " / ".join(f'"{word}"' for word in self.words) + ")"

    def json_schema(self) -> JsonSchema:
        """Return an enumeration."""
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class DigestSetKind:
    """in-toto's DigestSet: algorithm to digest. Hexadecimal in JSON, bytes in memory and CBOR (specs/log.md, L4)."""

    def load(self, value: Value, path: str) -> dict[str, bytes | str]:
        """Return the digests; errors as ``Kind.load``."""
        if not isinstance(value, dict):
            raise DecodeError("PRED-03", f"{path} is not a set of digests")
        if not value:
            raise DecodeError("PRED-04", f"{path} has no digest")
        digests = dict[str, bytes | str]()
        for name, digest in value.items():
            if not isinstance(name, str) or not name or not isinstance(digest, bytes | str) or not digest:
                raise DecodeError("PRED-03", f"{path}.{name!s} is not a digest")
            digests[name] = digest
        return digests

    def dump(self, value: Mapping[str, bytes | str]) -> Value:
        """Return the digests as a map."""
        digests: Map = {}
        digests.update(value)
        return digests

    def cddl(self) -> str:
        """Return the rule's name."""
        return "digest-set"

    def json_schema(self) -> JsonSchema:
        """Return an object of strings."""
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"minLength": 1},
            "additionalProperties": {"type": "string", "minLength": 1},
        }


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """A JSON object whose members are somebody else's to define."""

    def load(self, value: Value, path: str) -> Map:
        """Return the object; errors as ``Kind.load``."""
        if not isinstance(value, dict):
            raise DecodeError("PRED-03", f"{path} is not an object")
        return value

    def dump(self, value: Map) -> Value:
        """Return the object itself."""
        return value

    def cddl(self) -> str:
        """Return any map with text keys."""
        return "{ * tstr => any }"

    def json_schema(self) -> JsonSchema:
        """Return any object."""
        return {"type": "object"}


@dataclass(frozen=True, slots=True)
class ListKind:
    """At most ``most`` values of one kind, in order; an empty list is left out of a statement."""

    item: Kind
    most: int = LIST_ITEMS_MAX

    def load(self, value: Value, path: str) -> tuple[object, ...]:
        """Return the values; errors as ``Kind.load``."""
        if not isinstance(value, list):
            raise DecodeError("PRED-03", f"{path} is not a list")
        if len(value) > self.most:
            raise DecodeError("PRED-04", f"{path} has {len(value)} elements, at most {self.most} allowed")
        return tuple(self.item.load(item, f"{path}[{index}]") for index, item in enumerate(value))

    def dump(self, value: tuple[object, ...]) -> Value:
        """Return the values as a list."""
        return [self.item.dump(item) for item in value]

    def cddl(self) -> str:
        """Return an array."""
        return f"[0*{self.most} {self.item.cddl()}]"

    def json_schema(self) -> JsonSchema:
        """Return an array."""
        return {"type": "array", "maxItems": self.most, "items": self.item.json_schema()}


@dataclass(frozen=True, slots=True)
class RecordKind:
    """An object whose members are the fields of a dataclass."""

    record: type[Any]

    def load(self, value: Value, path: str) -> object:
        """Return an instance of the dataclass; errors as ``Kind.load``, and PRED-02 for a missing member."""
        return load_record(self.record, value, path)

    def dump(self, value: object) -> Value:
        """Return the members that are not None."""
        return dump_record(value)

    def cddl(self) -> str:
        """Return the rule's name."""
        return rule_name(self.record)

    def json_schema(self) -> JsonSchema:
        """Return a reference to the definition."""
        return {"$ref": f"#/$defs/{self.record.__name__}"}


# --- records --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a record: its Python ``field``, its ``name`` in the statement, and what it may be."""

    field: str
    name: str
    kind: Kind
    required: bool
    doc: str


_MEMBERS: dict[type[Any], tuple[Member, ...]] = {}  # mypy holds that no dataclass can be a key of lru_cache


def list_members(record: type[Any]) -> tuple[Member, ...]:
    """Return a dataclass's members in the order of its fields, what every predicate has at the end.

    Raises:
        TypeError: a field's annotation is of no kind, or it has no ``doc``: our own mistake.
    """
    if record not in _MEMBERS:
        hints = get_type_hints(record, include_extras=True)
        inherited = {name for base in record.__mro__[1:] for name in getattr(base, "__annotations__", {})}
        ordered = sorted(fields(record), key=lambda field: field.name in inherited)
        _MEMBERS[record] = tuple(_read_member(field, hints[field.name]) for field in ordered)
    return _MEMBERS[record]


def load_record(record: type[T], value: Value, path: str) -> T:
    """Return an instance of ``record`` from an object; members that are not declared are passed over.

    Raises:
        DecodeError: PRED-02 a member is missing, PRED-03, PRED-04 as ``Kind.load``.
    """
    if not isinstance(value, dict):
        raise DecodeError("PRED-03", f"{path} is not an object")
    arguments = dict[str, object]()
    for member in list_members(record):
        if member.name in value:
            arguments[member.field] = member.kind.load(value[member.name], f"{path}.{member.name}")
        elif member.required:
            raise DecodeError("PRED-02", f"{path}.{member.name} is missing")
    try:
        return record(**arguments)
    except ValueError as error:  # what a record's __post_init__ says about its members together
        raise DecodeError("PRED-05", f"{path}: {error}") from None


def dump_record(value: object) -> Map:
    """Return a record as an object; None and empty lists are left out.

    Raises:
        DecodeError: as ``load_record``: what was put together here must be readable there.
    """
    record = type(value)
    members: Map = {}
    for member in list_members(record):
        content = getattr(value, member.field)
        if content is None or (content == () and not member.required):
            continue
        members[member.name] = member.kind.dump(content)
    load_record(record, members, record.__name__)
    return members


def list_unknown(record: type[Any], value: Map) -> list[str]:
    """Return the names of members that a record does not declare, at any depth of records, sorted."""
    known = {member.name: member.kind for member in list_members(record)}
    found = [str(name) for name in value if name not in known]
    for name, kind in known.items():
        items = value.get(name)
        inner = kind.item if isinstance(kind, ListKind) else kind
        if isinstance(inner, RecordKind):
            for item in items if isinstance(items, list) else [items]:
                if isinstance(item, dict):
                    found += [f"{name}.{below}" for below in list_unknown(inner.record, item)]
    return sorted(set(found))


def rule_name(record: type[Any]) -> str:
    """Return a class's name as CDDL writes names: ``SizeBand`` is ``size-band``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", record.__name__).lower()


def _read_member(field: Field[Any], hint: object) -> Member:
    head, *rest = field.name.split("_")
    kind, optional = _read_kind(hint)
    if "doc" not in field.metadata:
        raise TypeError(f"the field {field.name} has no doc")
    defaulted = field.default is not MISSING or field.default_factory is not MISSING
    if optional and not defaulted:
        raise TypeError(f"the field {field.name} may be None and has no default")
    name = head + "".join(word.capitalize() for word in rest)
    return Member(field.name, name, kind, required=not defaulted, doc=str(field.metadata["doc"]))


def _read_kind(hint: Any) -> tuple[Kind, bool]:  # noqa: ANN401 - an annotation may be anything
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        inner = [argument for argument in arguments if argument is not NoneType]
        if len(inner) == 1:
            return _read_kind(inner[0])[0], True
    elif origin is Annotated:
        return cast("Kind", arguments[1]), False
    elif origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return ListKind(_read_kind(arguments[0])[0]), False
    elif origin is Literal:
        return ChoiceKind(cast("tuple[str, ...]", arguments)), False
    elif hint is bool:
        return BoolKind(), False
    elif hint is int:
        return UintKind(), False
    elif is_dataclass(hint):
        return RecordKind(cast("type[Any]", hint)), False
    raise TypeError(f"no kind of member is annotated as {hint!r}")


def _escape(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace('"', '\\"')
