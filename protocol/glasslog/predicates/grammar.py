"""The declarations of a predicate as CDDL, as JSON Schema and as a table: what ``specs/statements/`` holds.

A grammar cannot say all that a reader checks: a date's place in the calendar, check digits, members that go
together. Whatever it refuses, a reader refuses too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import (
    ChoiceKind,
    DigestSetKind,
    JsonSchema,
    Kind,
    ListKind,
    Member,
    ObjectKind,
    RecordKind,
    TextKind,
    list_members,
    rule_name,
)
from glasslog.statement import STATEMENT_TYPE

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def list_records(record: type[Any]) -> list[type[Any]]:
    """Return the record itself and every record below it, each once, in the order they are met."""
    found = [record]
    for one in found:  # grows while it is walked
        for kind in _inner_kinds(one):
            if isinstance(kind, RecordKind) and kind.record not in found:
                found.append(kind.record)
    return found


def to_cddl(predicate: type[Predicate]) -> str:
    """Return the CDDL of a statement of this predicate, as canonical CBOR has it: digests are byte strings."""
    lines = [
        f"; {predicate.type_uri()}. Written from protocol/glasslog/predicates/{predicate.NAME.replace('-', '_')}.py.",
        "statement = {",
        f'  "_type" => "{STATEMENT_TYPE}",',
        '  "subject" => [1*64 { "name" => tstr, "digest" => digest-set, * tstr => any }],',
        f'  "predicateType" => "{predicate.type_uri()}",',
        f'  "predicate" => {rule_name(predicate)},',
        "}",
        "digest-set = { + tstr => bstr / tstr }",
    ]
    for record in list_records(predicate):
        # The colon is a cut (RFC 8610 section 3.5.4): a declared member of the wrong form is not taken for another.
        members = [f'  {"" if one.required else "? "}"{one.name}": {one.kind.cddl()},' for one in list_members(record)]
        lines += [f"{rule_name(record)} = {{", *members, "  * tstr => any,", "}"]
    return "\n".join(lines) + "\n"


def to_json_schema(predicate: type[Predicate]) -> JsonSchema:
    """Return the JSON Schema (2020-12) of a statement of this predicate, as in-toto JSON has it."""
    definitions = {record.__name__: _record_schema(record) for record in list_records(predicate)}
    subject = {
        "type": "object",
        "required": ["name", "digest"],
        "properties": {"name": {"type": "string", "minLength": 1}, "digest": DigestSetKind().json_schema()},
    }
    return {
        "$schema": _DIALECT,
        "$id": predicate.type_uri(),
        "title": predicate.NAME,
        "description": f"Subjects: {predicate.SUBJECTS} Shows: {predicate.SHOWS}",
        "type": "object",
        "required": ["_type", "subject", "predicateType", "predicate"],
        "properties": {
            "_type": {"const": STATEMENT_TYPE},
            "subject": {"type": "array", "minItems": 1, "maxItems": 64, "items": subject},
            "predicateType": {"const": predicate.type_uri()},
            "predicate": {"$ref": f"#/$defs/{predicate.__name__}"},
        },
        "additionalProperties": False,
        "$defs": definitions,
    }


def to_table(predicate: type[Predicate]) -> str:
    """Return what the predicate is, in words and as a table of its members, in Markdown."""
    lines = [
        f"## {predicate.NAME}",
        "",
        f"`{predicate.type_uri()}` · [CDDL]({predicate.NAME}.cddl) · [JSON Schema]({predicate.NAME}.schema.json)",
        "",
        " ".join((predicate.__doc__ or "").split()),
        "",
        f"- **Subjects**: {predicate.SUBJECTS}",
        f"- **Shows**: {predicate.SHOWS}",
        f"- **Does not show**: {predicate.DOES_NOT_SHOW}",
        "",
        *_table(predicate),
    ]
    for record in list_records(predicate)[1:]:
        if record.__module__ == predicate.__module__:
            lines += ["", f"*{rule_name(record)}*: {' '.join((record.__doc__ or '').split())}", "", *_table(record)]
    return "\n".join(lines) + "\n"


def to_record_table(record: type[Any]) -> str:
    """Return a shared record as a table of its members, in Markdown."""
    head = [f"## {rule_name(record)}", "", " ".join((record.__doc__ or "").split()), ""]
    return "\n".join([*head, *_table(record)]) + "\n"


def _record_schema(record: type[Any]) -> JsonSchema:
    members = list_members(record)
    schema: JsonSchema = {
        "type": "object",
        "properties": {member.name: {**member.kind.json_schema(), "description": member.doc} for member in members},
    }
    required = [member.name for member in members if member.required]
    return {**schema, "required": required} if required else schema


def _table(record: type[Any]) -> Iterator[str]:
    yield "| member | what | says |"
    yield "| --- | --- | --- |"
    for member in list_members(record):
        yield f"| `{member.name}`{'' if member.required else ' ?'} | {_describe(member)} | {member.doc} |"


def _describe(member: Member) -> str:
    kind = member.kind
    if isinstance(kind, ListKind):
        return f"list of: {_describe_kind(kind.item)}"
    return _describe_kind(kind)


def _describe_kind(kind: Kind) -> str:
    match kind:
        case TextKind():
            return kind.what
        case ChoiceKind():
            return ", ".join(f"`{word}`" for word in kind.words)
        case RecordKind():
            return f"*{rule_name(kind.record)}*"
        case DigestSetKind():
            return "digests"
        case ObjectKind():
            return "object"
        case _:
            return {"boolean": "true or false", "integer": "integer"}[kind.json_schema()["type"]]


def _inner_kinds(record: type[Any]) -> Iterator[Kind]:
    for member in list_members(record):
        yield member.kind.item if isinstance(member.kind, ListKind) else member.kind
