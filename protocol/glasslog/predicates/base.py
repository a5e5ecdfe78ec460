"""What every predicate has: a type (V1), evidence (V7), and a way to and from statements (specs/statements.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Self, cast

from glasslog.codec import Map, Value
from glasslog.errors import DecodeError
from glasslog.predicates.schema import doc, dump_record, load_record
from glasslog.predicates.values import DigestSet, Resource
from glasslog.statement import STATEMENT_TYPE, Statement, check_statement, encode_statement

_PREFIX = "urn:glasslog:predicate:"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about: a name for people, and the digests by which it is found."""

    name: str
    digest: DigestSet

    def to_value(self) -> Map:
        """Return the subject as it stands in a statement."""
        digests: Map = {}
        digests.update(self.digest)
        return {"name": self.name, "digest": digests}


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """A predicate of ours. A class states its ``NAME`` and, for people, what it shows and what it does not (V9)."""

    NAME: ClassVar[str]
    VERSION: ClassVar[int] = 1
    SUBJECTS: ClassVar[str]
    SHOWS: ClassVar[str]
    DOES_NOT_SHOW: ClassVar[str]

    evidence: tuple[Resource, ...] = field(
        default=(), metadata=doc("Originals kept outside the log, each by its digest (specs/log.md, evidence store).")
    )

    @classmethod
    def type_uri(cls) -> str:
        """Return the predicate's type, ``urn:glasslog:predicate:<name>:v<n>``."""
        return f"{_PREFIX}{cls.NAME}:v{cls.VERSION}"

    def statement(self, *subjects: Subject) -> Statement:
        """Return the statement that says this about the subjects.

        Raises:
            DecodeError: PRED-nn a member is not what it may be; STMT-nn it is no statement or too long for one.
        """
        listed: list[Value] = [one.to_value() for one in subjects]
        statement: Statement = {
            "_type": STATEMENT_TYPE,
            "subject": listed,
            "predicateType": self.type_uri(),
            "predicate": dump_record(self),
        }
        encode_statement(statement)
        return statement

    @classmethod
    def read(cls, statement: Statement) -> Self:
        """Return what a statement of this predicate says; members that are not declared are passed over (V2).

        Raises:
            DecodeError: STMT-nn no statement; PRED-01 of another type; PRED-02 to PRED-05 not as declared.
        """
        check_statement(statement)
        if statement["predicateType"] != cls.type_uri():
            fact = f"the statement is of type {statement['predicateType']!s}, not {cls.type_uri()}"
            raise DecodeError("PRED-01", fact)
        return load_record(cls, statement.get("predicate", {}), "predicate")


def statement_id(statement: Statement) -> bytes:
    """Return a statement's id: SHA-256 of its canonical CBOR, known before any node has seen it (V6).

    Raises:
        DecodeError: STMT-nn, it is not a statement.
    """
    return sha256(encode_statement(statement)).digest()


def list_subjects(statement: Statement) -> Sequence[Subject]:
    """Return a statement's subjects.

    Raises:
        DecodeError: STMT-nn, it is not a statement.
    """
    check_statement(statement)
    return [_read_subject(cast("Map", one)) for one in cast("list[Value]", statement["subject"])]


def _read_subject(subject: Map) -> Subject:
    digest = cast("dict[str, bytes | str]", subject["digest"])
    return Subject(cast("str", subject["name"]), dict(digest))
