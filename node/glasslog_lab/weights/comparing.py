"""Two models tensor by tensor: what differs, what only one has, what is the same under another name (K12)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from glasslog.tensors import Tensor
from glasslog_lab.weights.refusals import quote

CODE = "WEIGHTS-04"
_NAMED_MAX = 3


@dataclass(frozen=True)
class Difference:
    """How two models differ, each list bytewise by name. ``matching`` of ``total`` names have the same tensor.

    ``total`` counts the names that stand in either. ``renamed`` pairs a name of the first with the name of the second
    under which it has the same element type, shape and bytes; such names are in no other list.
    """

    matching: int
    total: int
    values: tuple[str, ...]
    shapes: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]

    @property
    def same(self) -> bool:
        """Whether the models have one content root."""
        return self.matching == self.total

    @property
    def line(self) -> str:
        """One line on it, ``WEIGHTS-04 layers.3.mlp differs; 211 of 212 tensors match``."""
        if self.same:
            return f"all {self.total} tensors match"
        differing = [*self.values, *self.shapes]
        parts = list[str]()
        if differing:
            parts.append(f"{_name(differing)} {'differs' if len(differing) == 1 else 'differ'}")
        if self.only_first:
            parts.append(f"only the first has {_name(self.only_first)}")
        if self.only_second:
            parts.append(f"only the second has {_name(self.only_second)}")
        if self.renamed:
            first, second = self.renamed[0]
            more = f", and {len(self.renamed) - 1} more are renamed" if len(self.renamed) > 1 else ""
            parts.append(f"{_show(first)} is named {_show(second)} in the second{more}")
        return f"{CODE} {'; '.join(parts)}; {self.matching} of {self.total} tensors match"


def compare_tensors(first: Iterable[Tensor], second: Iterable[Tensor]) -> Difference:
    """Return how the tensors of two models differ. Names of one model are unique."""
    one, other = {tensor.name: tensor for tensor in first}, {tensor.name: tensor for tensor in second}
    both = one.keys() & other.keys()
    differing = sorted((name for name in both if one[name] != other[name]), key=str.encode)
    shapes = {name for name in differing if _form(one[name]) != _form(other[name])}
    renamed = _pair_renamed([one[name] for name in one.keys() - both], [other[name] for name in other.keys() - both])
    firsts, seconds = {pair[0] for pair in renamed}, {pair[1] for pair in renamed}
    return Difference(
        matching=len(both) - len(differing),
        total=len(one.keys() | other.keys()),
        values=tuple(name for name in differing if name not in shapes),
        shapes=tuple(name for name in differing if name in shapes),
        only_first=tuple(sorted(one.keys() - both - firsts, key=str.encode)),
        only_second=tuple(sorted(other.keys() - both - seconds, key=str.encode)),
        renamed=tuple(renamed),
    )


def _pair_renamed(first: list[Tensor], second: list[Tensor]) -> list[tuple[str, str]]:
    """Pair tensors of one content, where it is one of each side alone: two alike say nothing about which is which."""
    found = defaultdict[tuple[str, tuple[int, ...], bytes], tuple[list[str], list[str]]](lambda: ([], []))
    for side, tensors in enumerate((first, second)):
        for tensor in tensors:
            found[(*_form(tensor), tensor.content)][side].append(tensor.name)
    pairs = [(names[0][0], names[1][0]) for names in found.values() if len(names[0]) == len(names[1]) == 1]
    return sorted(pairs, key=lambda pair: pair[0].encode())


def _form(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    return tensor.dtype, tensor.shape


def _name(names: Iterable[str]) -> str:
    listed = list(names)
    shown = [_show(name) for name in listed[:_NAMED_MAX]]
    if len(listed) > _NAMED_MAX:
        return f"{', '.join(shown)} and {len(listed) - _NAMED_MAX} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _show(name: str) -> str:
    return name if name.isprintable() and len(name) <= 100 and " " not in name and name else quote(name)
