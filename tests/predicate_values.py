"""Random predicates, made from the very declarations that are tested, and the ways to spoil one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from glasslog.codec import INT_MAX, Map, Value
from glasslog.predicates.base import Predicate, Subject
from glasslog.predicates.evaluation_bar import EvaluationBar, SealedBar
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
from glasslog.predicates.values import Period, Resource, is_date, is_lei

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
digest_sets = st.dictionaries(
    st.sampled_from(["sha256", "blake3", "glasslogTensorsV1", "gitCommit"]),
    st.binary(min_size=1, max_size=32),
    min_size=1,
)
objects = st.dictionaries(
    texts.filter(lambda name: name != "digest"),
    st.one_of(texts, st.integers(-9, 9), st.booleans(), st.none()),
    max_size=3,
)
dates = st.dates().map(str)
subjects = st.lists(st.builds(Subject, texts, digest_sets), min_size=1, max_size=3)


def leis(head: str) -> str:
    """The entity's 18 characters with the check digits that ISO 7064 gives them."""
    return f"{head}{98 - int(''.join(str(int(c, 36)) for c in head + '00')) % 97:02}"


def of_kind(kind: Kind) -> st.SearchStrategy[Any]:
    if isinstance(kind, TextKind):
        return of_text(kind)
    if isinstance(kind, UintKind):
        return st.one_of(st.sampled_from([kind.least, kind.most]), st.integers(kind.least, kind.most))
    if isinstance(kind, ChoiceKind):
        return st.sampled_from(kind.words)
    if isinstance(kind, ListKind):
        return st.lists(of_kind(kind.item), max_size=2).map(tuple)
    if isinstance(kind, RecordKind):
        return records(kind.record)
    return {BoolKind: st.booleans(), DigestSetKind: digest_sets, ObjectKind: objects}[type(kind)]


def of_text(kind: TextKind) -> st.SearchStrategy[str]:
    if kind.accepts is is_lei:
        return st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=18, max_size=18).map(leis)
    if kind.accepts is is_date:
        return dates
    if kind.accepts is not None:
        return st.builds("{}T{:02}:{:02}:{:02}Z".format, dates, *(st.integers(0, most) for most in (23, 59, 59)))
    if kind.pattern is None:
        return st.text(st.characters(codec="utf-8"), min_size=1, max_size=min(kind.most, 20))
    found = st.from_regex(kind.pattern, fullmatch=True, alphabet=st.characters(codec="ascii"))
    return found.filter(lambda text: 1 <= len(text) <= kind.most)


def records(record: type[Any]) -> st.SearchStrategy[Any]:
    """Instances of a record, optional members there or not."""
    if record is Period:
        pair = st.tuples(dates, st.none() | dates)
        return pair.filter(lambda days: days[1] is None or days[0] <= days[1]).map(
            lambda days: Period(start=days[0], end=days[1])
        )
    arguments = {}
    for member in list_members(record):
        value = of_kind(member.kind)
        empty: object = () if isinstance(member.kind, ListKind) else None
        arguments[member.field] = value if member.required else st.just(empty) | value
    if record is EvaluationBar:
        return bars(arguments)
    if record is Resource:
        arguments["name"] = of_kind(next(one.kind for one in list_members(record) if one.field == "name"))
    return st.builds(record, **arguments)


def bars(arguments: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[EvaluationBar]:
    whole = {name: value.filter(lambda item: item is not None) for name, value in arguments.items() if name != "sealed"}
    return st.builds(EvaluationBar, **whole) | st.builds(EvaluationBar, sealed=records(SealedBar))


def predicates(kinds: tuple[type[Predicate], ...]) -> st.SearchStrategy[Predicate]:
    return st.sampled_from(kinds).flatmap(records)


def list_paths(value: Value, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a predicate's value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        assert isinstance(key, str | int)
        yield from list_paths(item, (*path, key))


def spoil(value: Map, path: tuple[str | int, ...], new: Value) -> Map:
    """A copy of the value with another value at the path."""
    copy: Any = _copied(value)
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    assert isinstance(copy, dict)
    return copy


SPOILT: tuple[Value, ...] = (
    None,
    True,
    -1,
    INT_MAX,
    0.5,
    "",
    " ",
    "x",
    "2026-02-30",
    [],
    [None],
    {},
    {"digest": {}},
    b"\x00",
)


def _copied(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
