"""Copies of a replica that share what never changes: the step from one local state to the next must not touch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from types import FunctionType, NoneType
from typing import Any, TypeVar

from simulation.suite import CheapNotes

T = TypeVar("T")
Copier = Callable[[Any, dict[int, Any]], Any]


def clone(value: T) -> T:
    """Return a copy whose mutable parts are its own; frozen dataclasses, tuples and atoms are shared."""
    memo = dict[int, Any]()
    copied: T = _clone(value, memo)
    return copied


def _clone(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    copier = _COPIERS.get(kind)
    if copier is None:
        copier = _COPIERS[kind] = _choose(kind)
    return copier(value, memo)


def _share(value: Any, memo: dict[int, Any]) -> Any:
    return value


def _copy_dict(value: dict[Any, Any], memo: dict[int, Any]) -> dict[Any, Any]:
    return {key: _clone(each, memo) for key, each in value.items()}


def _copy_list(value: list[Any], memo: dict[int, Any]) -> list[Any]:
    return [_clone(each, memo) for each in value]


def _copy_set(value: set[Any], memo: dict[int, Any]) -> set[Any]:
    return set(value)


def _copy_object(value: Any, memo: dict[int, Any]) -> Any:
    found = memo.get(id(value))
    if found is None:
        found = memo[id(value)] = object.__new__(type(value))
        for name, each in vars(value).items():
            found.__dict__[name] = _clone(each, memo)
    return found


def _copy_slots(value: Any, memo: dict[int, Any]) -> Any:
    found = memo.get(id(value))
    if found is None:
        found = memo[id(value)] = object.__new__(type(value))
        for name in type(value).__slots__:
            setattr(found, name, _clone(getattr(value, name), memo))
    return found


def _choose(kind: type) -> Copier:
    frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # every dataclass has it
    if frozen or issubclass(kind, Enum):
        return _share
    assert kind.__module__.startswith(("glasslog.", "simulation.", "exhaustive.")), f"how to copy {kind}?"
    return _copy_slots if "__slots__" in vars(kind) else _copy_object


_COPIERS: dict[type, Copier] = {
    **dict.fromkeys((int, bool, str, bytes, float, NoneType, tuple, frozenset, FunctionType, CheapNotes), _share),
    dict: _copy_dict,
    list: _copy_list,
    set: _copy_set,
}
