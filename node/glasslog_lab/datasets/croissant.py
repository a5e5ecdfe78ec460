"""The files that a Croissant description names, and what becomes of the digests it declares (D10).

The description is read by ``glasslog_lab.formats.croissant``; here its files are held against bytes. Nothing is
fetched. A digest that is none (an address, another length, one digit over and over) is kept as declared.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from glasslog_lab.datasets.refusals import quote, refuse
from glasslog_lab.formats.croissant import DescribedFile, DescribedSet, Description, read_description

CROISSANT_BYTES_MAX = 16 << 20
_PATTERNS_MAX = 1_000


class Checked(StrEnum):
    """What became of a declared digest."""

    VERIFIED = "verified"
    VERIFIED_MD5 = "verified by MD5, which can be forged"
    MISMATCH = "mismatch"
    UNVERIFIED = "declared, unverified"


@dataclass(frozen=True, slots=True)
class DeclaredFile:
    """A file that a description declares, and what became of its digests; ``why`` says more where they do not match."""

    name: str
    address: str | None
    digests: tuple[tuple[str, str], ...]
    checked: Checked
    why: str | None


@dataclass(frozen=True, slots=True)
class Croissant:
    """A description, its bytes and the name of its file."""

    name: str
    data: bytes
    read: Description

    def select(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of the names, paths below the description, that are files of the data set."""
        paths = {one.path for one in self.read.files}
        return frozenset(
            name
            for name in names
            if name in paths
            or any(_matches(name, one.includes) and not _matches(name, one.excludes) for one in self.read.sets)
        )

    @property
    def wants_md5(self) -> frozenset[str]:
        """The files that only an MD5 is declared of."""
        return frozenset(one.path for one in self.read.files if one.path is not None and set(one.digests) == {"md5"})

    def check(self, read: Mapping[str, Mapping[str, bytes]]) -> tuple[DeclaredFile, ...]:
        """Return what became of every declared digest; ``read`` has the digests of the files read, by name."""
        return (
            *(_check(one, read.get(one.path) if one.path is not None else None) for one in self.read.files),
            *(_pass_over(one) for one in self.read.sets),
        )


def read_croissant(name: str, data: bytes) -> Croissant:
    """Return a description.

    Raises:
        ArtifactError: DATA-24 too large, too many patterns; IMPORT-nn as ``read_description``.
    """
    if len(data) > CROISSANT_BYTES_MAX:
        refuse("DATA-24", f"{quote(name)} is larger than {CROISSANT_BYTES_MAX} bytes")
    read = read_description(data, quote(name))
    if sum(len(one.includes) + len(one.excludes) for one in read.sets) > _PATTERNS_MAX:
        refuse("DATA-24", f"{quote(name)} has more than {_PATTERNS_MAX} patterns of file names")
    return Croissant(name, data, read)


def _check(one: DescribedFile, own: Mapping[str, bytes] | None) -> DeclaredFile:
    checked, why = _judge(one, own)
    return DeclaredFile(one.identifier, one.address, one.stated, checked, why)


def _judge(one: DescribedFile, own: Mapping[str, bytes] | None) -> tuple[Checked, str | None]:
    if one.path is None:
        return Checked.UNVERIFIED, "not a file beside the description"
    if own is None:
        return Checked.UNVERIFIED, "the file is not there"
    if not one.digests:
        return Checked.UNVERIFIED, "what is declared is no digest" if one.stated else "no digest is declared"
    for algorithm, text in one.digests.items():
        if algorithm in own and own[algorithm].hex() != text:
            return Checked.MISMATCH, f"the {algorithm} of the file is {own[algorithm].hex()}"
    return (Checked.VERIFIED if "sha256" in one.digests else Checked.VERIFIED_MD5), None


def _pass_over(one: DescribedSet) -> DeclaredFile:
    why = "a set of files, which Croissant has no digest for"
    return DeclaredFile(one.identifier, None, (), Checked.UNVERIFIED, why)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
