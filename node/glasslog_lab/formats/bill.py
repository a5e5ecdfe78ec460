"""Statements of ours, sorted by what they say: what the exports are made from (M15)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar
from uuid import NAMESPACE_URL, uuid5

from glasslog.errors import DecodeError
from glasslog.predicates.base import Subject, list_subjects, statement_id
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.values import Resource
from glasslog.predicates.vocabulary import read_statement
from glasslog.statement import Statement
from glasslog_lab.errors import ArtifactError

_P = TypeVar("_P")


@dataclass(frozen=True, slots=True)
class Bill:
    """What statements say together: each predicate with its subjects. ``identity`` depends on all of them."""

    models: tuple[tuple[tuple[Subject, ...], Model], ...]
    datasets: tuple[tuple[tuple[Subject, ...], Dataset], ...]
    runs: tuple[tuple[tuple[Subject, ...], TrainingRun], ...]
    evaluations: tuple[tuple[tuple[Subject, ...], Evaluation], ...]
    releases: tuple[tuple[tuple[Subject, ...], Release], ...]
    identity: bytes

    def uuid(self) -> str:
        """Return a UUID of version 5 made from the identity: the same statements, the same number."""
        return str(uuid5(NAMESPACE_URL, f"urn:glasslog:bill:{self.identity.hex()}"))

    def need_model(self) -> tuple[tuple[Subject, ...], Model]:
        """Return the one model. Raises ArtifactError EXPORT-01 where there is none, or several."""
        if len(self.models) != 1:
            raise ArtifactError(
                "EXPORT-01",
                f"{len(self.models)} model statements were given, one is needed",
                "give one model statement",
            )
        return self.models[0]


def gather(statements: Iterable[Statement]) -> Bill:
    """Sort statements by predicate; those of other types are left out.

    Raises:
        ArtifactError: EXPORT-01, a predicate of ours that is not as declared, or none of a type that can be exported.
    """
    found: dict[type[object], list[tuple[tuple[Subject, ...], object]]] = {}
    identities = list[bytes]()
    for statement in statements:
        try:
            predicate = read_statement(statement)
            identities.append(statement_id(statement))
        except DecodeError as error:
            raise ArtifactError(
                "EXPORT-01",
                f"a statement cannot be read: {error.code} {error.fact}",
                "give statements as attest writes them",
            ) from error
        if predicate is not None:
            found.setdefault(type(predicate), []).append((tuple(list_subjects(statement)), predicate))
    identity = sha256(b"".join(sorted(identities))).digest()
    bill = Bill(
        _pick(found, Model), _pick(found, Dataset), _pick(found, TrainingRun), _pick(found, Evaluation),
        _pick(found, Release), identity,
    )  # fmt: skip
    if not (bill.models or bill.datasets or bill.runs or bill.evaluations or bill.releases):
        raise ArtifactError(
            "EXPORT-01", "no statement of a model, data set, run, evaluation or release was given", "give one"
        )
    return bill


def hex_digests(digests: Mapping[str, bytes | str] | None) -> dict[str, str]:
    """Return digests as text."""
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in (digests or {}).items()}


def slug(text: str) -> str:
    """Return a name as part of an identifier: letters, digits, dots and hyphens."""
    return re.sub("[^A-Za-z0-9.-]+", "-", text).strip("-.") or "unnamed"


def find_dataset(bill: Bill, wanted: Resource) -> int | None:
    """Return which data set's statement a resource means, by any digest of its subjects."""
    digests = set(hex_digests(wanted.digest).items())
    for number, (subjects, _) in enumerate(bill.datasets):
        if any(digests & set(hex_digests(one.digest).items()) for one in subjects):
            return number
    return None


def list_trained_on(bill: Bill) -> set[int]:
    """Return which of the data sets the runs say they train on. Without a run nothing says so."""
    found = (find_dataset(bill, one) for _, run in bill.runs for one in run.datasets)
    return {number for number in found if number is not None}


def list_tested_on(bill: Bill) -> set[int]:
    """Return which of the data sets the evaluations are on."""
    found = (find_dataset(bill, one.dataset) for _, one in bill.evaluations)
    return {number for number in found if number is not None}


def _pick(
    found: Mapping[type[object], list[tuple[tuple[Subject, ...], object]]], kind: type[_P]
) -> tuple[tuple[tuple[Subject, ...], _P], ...]:
    return tuple((subjects, one) for subjects, one in found.get(kind, ()) if isinstance(one, kind))
