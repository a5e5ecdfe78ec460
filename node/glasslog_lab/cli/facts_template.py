"""What a member may be, in words, an example of it as TOML, and a whole facts file to start from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from textwrap import wrap
from typing import Any, cast, get_args

from glasslog.predicates import values
from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import (
    BoolKind,
    ChoiceKind,
    DigestSetKind,
    Kind,
    ListKind,
    ObjectKind,
    RecordKind,
    TextKind,
    UintKind,
    list_members,
)

_HEX = "0123456789abcdef" * 4
_TEXTS: Mapping[str, str] = {
    get_args(alias)[1].what: example
    for alias, example in (
        (values.Text, "as you would say it"), (values.Name, "a-name"), (values.Uri, "https://lab.example/terms"),
        (values.Decimal, "0.913"), (values.Natural, "4711"), (values.Date, "2026-11-24"),
        (values.Time, "2026-11-24T05:00:00Z"), (values.Jurisdiction, "DE"), (values.Lei, "529900T8BM49AURSDO55"),
        (values.Domain, "lab.example"), (values.SpdxExpression, "Apache-2.0"), (values.Purl, "pkg:huggingface/lab/m@1"),
        (values.Language, "en"), (values.Base64, "AAAA"),
    )
}  # fmt: skip

_PLAIN: tuple[tuple[type[Kind], str, object], ...] = (
    (UintKind, "a whole number", 1),
    (BoolKind, "true or false", True),
    (DigestSetKind, "digests by algorithm, in hexadecimal", {"sha256": _HEX}),
    (ObjectKind, "an object", {"key": "value"}),
)


def describe_kind(kind: Kind) -> str:
    """Return in a few words what a value may be."""
    if isinstance(kind, TextKind):
        return kind.what
    if isinstance(kind, ChoiceKind):
        return "one of " + ", ".join(kind.words)
    if isinstance(kind, ListKind):
        return f"a list, each {describe_kind(kind.item)}"
    if isinstance(kind, RecordKind):
        if kind.record is values.Resource:
            return "a resource: digest, uri or name"
        return "members " + ", ".join(member.name for member in list_members(kind.record))
    return next(words for plain, words, _ in _PLAIN if isinstance(kind, plain))


def make_example(kind: Kind) -> Any:  # noqa: ANN401 - a JSON value
    """Return a value that the kind accepts."""
    if isinstance(kind, TextKind):
        return _TEXTS.get(kind.what, "example")
    if isinstance(kind, ChoiceKind):
        return kind.words[0]
    if isinstance(kind, ListKind):
        return [make_example(kind.item)]
    if isinstance(kind, RecordKind):
        if kind.record is values.Resource:
            return {"name": "a-name", "digest": {"sha256": _HEX}}
        return {member.name: make_example(member.kind) for member in list_members(kind.record) if member.required}
    return next(example for plain, _, example in _PLAIN if isinstance(kind, plain))


def show_example(kind: Kind) -> str:
    """Return the example as TOML on one line."""
    return _show(make_example(kind))


def print_template(predicate: type[Predicate]) -> str:
    """Return a facts file with every member explained; those that may be left out are commented out."""
    lines = [f"# {predicate.NAME}: {(predicate.__doc__ or '').strip().splitlines()[0]}"]
    for heading, text in (
        ("Shows", predicate.SHOWS), ("Does not show", predicate.DOES_NOT_SHOW), ("--subject", predicate.SUBJECTS),
    ):  # fmt: skip
        lines += wrap(f"{heading}: {text}", 110, initial_indent="# ", subsequent_indent="#   ")
    for member in list_members(predicate):
        needed = "" if member.required else "; may be left out"
        said = f"{member.doc} ({describe_kind(member.kind)}{needed})"
        lines += ["", *wrap(said, 110, initial_indent="# ", subsequent_indent="#   ")]
        lines.append(("" if member.required else "# ") + f"{member.name} = {show_example(member.kind)}")
    return "\n".join(lines) + "\n"


def _show(value: object) -> str:
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return "{ " + ", ".join(f"{name} = {_show(item)}" for name, item in members.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_show, cast("list[object]", value))) + "]"
    return json.dumps(value)
