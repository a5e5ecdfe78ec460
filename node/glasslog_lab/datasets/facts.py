"""What is declared about a data set: by its owner in a TOML file, or by a Croissant description (D9).

Facts have the members, names and forms of the `dataset` predicate (specs/statements/dataset.md), without those that are
measured. What the owner says stands; what only Croissant says is marked as declared and unverified.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from glasslog.codec import Map
from glasslog.errors import DecodeError
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.schema import list_members, list_unknown
from glasslog_lab.datasets.croissant import Croissant
from glasslog_lab.datasets.refusals import quote, refusal, refuse
from glasslog_lab.formats.croissant import import_croissant
from glasslog_lab.formats.facts import Reference

Modality: TypeAlias = Literal["text", "image", "audio", "video", "tabular", "other"]
Facts: TypeAlias = dict[str, Any]  # as JSON: a predicate's members by their names in a statement

FACTS_BYTES_MAX = 1 << 20
MEASURED = frozenset(
    {
        "recordsRoot",
        "orderRoot",
        "blinded",
        "recordForm",
        "records",
        "bytes",
        "files",
        "manifest",
        "metadata",
        "declaredUnverified",
    }
)

# The template's ranges: upper end, and the range in its words. What is above the last has the last words.
_TOKENS = ((10**9, "less than 1 billion tokens"), (10**13, "1 billion to 10 trillion tokens"),
           (None, "more than 10 trillion tokens"))  # fmt: skip
_IMAGES = ((10**6, "less than 1 million images"), (10**9, "1 million to 1 billion images"),
           (None, "more than 1 billion images"))  # fmt: skip
_HOURS = ((10**4, "less than 10 000 hours"), (10**6, "10 000 to 1 million hours"),
          (None, "more than 1 million hours"))  # fmt: skip
# Ours, for what the template leaves to free text.
_BYTES = ((1 << 30, "less than 1 GiB"), (1 << 40, "1 GiB to 1 TiB"), (None, "more than 1 TiB"))
_BANDS: dict[str, tuple[str, tuple[tuple[int | None, str], ...]]] = {
    "text": ("tokens", _TOKENS),
    "image": ("images", _IMAGES),
    "audio": ("hours", _HOURS),
    "video": ("hours", _HOURS),
    "tabular": ("bytes", _BYTES),
    "other": ("bytes", _BYTES),
}


def size_band(modality: str, amount: Decimal) -> str:
    """Return the range of a quantity: tokens of text, images, hours of audio or video, bytes of anything else."""
    for end, words in _BANDS[modality][1]:
        if end is None or amount < end:
            return words
    raise AssertionError("the last range has no end")


def read_size(text: str) -> Facts:
    """Return the size band of ``text=1200000000``, a modality and its quantity; the quantity itself is not kept.

    Raises:
        ArtifactError: DATA-28 no modality, or no number from 0 on.
    """
    modality, _, number = text.partition("=")
    amount = _read_amount(number)
    if modality not in _BANDS or amount is None:
        refuse("DATA-28", f"{quote(text)} is no size such as text=1200000000, with one of {', '.join(_BANDS)}")
    return {"modality": modality, "band": size_band(modality, amount)}


def read_facts(path: Path) -> Facts:
    """Return the facts in a TOML file.

    Raises:
        ArtifactError: DATA-10 not readable; DATA-28 not TOML, a member that there is not, one that is measured, or a
            size whose band and number differ. What else a member may not be is found when the statement is made.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(FACTS_BYTES_MAX + 1)
    except OSError as error:
        raise refusal("DATA-10", f"{path} cannot be read: {error.strerror}") from error
    if len(data) > FACTS_BYTES_MAX:
        refuse("DATA-28", f"{path} is larger than {FACTS_BYTES_MAX} bytes")
    try:
        facts = cast("Facts", _as_json(tomllib.loads(data.decode()), str(path)))
    except UnicodeDecodeError as error:
        raise refusal("DATA-28", f"{path} is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise refusal("DATA-28", f"{path} is nested too deep") from error
    except ValueError as error:
        raise refusal("DATA-28", f"{path} is not TOML: {quote(str(error))}") from error
    if unknown := list_unknown(Dataset, cast("Map", facts)):
        refuse("DATA-28", f"{path} says {quote(unknown[0])}, which a data set has not")
    if measured := sorted(facts.keys() & MEASURED):
        refuse("DATA-28", f"{path} says {measured[0]}, which is measured and not declared")
    if isinstance(listed := facts.get("size"), list):
        facts["size"] = [_complete_size(one, path) for one in cast("list[object]", listed)]
    return facts


def read_croissant_facts(croissant: Croissant) -> tuple[Facts, list[str]]:
    """Return what a Croissant description says of its data set, and notes on what a statement cannot carry of it.

    Raises:
        ArtifactError: IMPORT-nn, it cannot be read.
    """
    imported = import_croissant(croissant.data, quote(croissant.name))
    notes, found = list(imported.notes), Facts()
    for said in imported.datasets[:1]:
        members: Facts = {
            "name": said.name, "version": said.version, "description": said.description, "license": said.license,
            "identifier": said.uri, "languages": list(said.languages),
            "derivedFrom": [_as_resource(one) for one in said.derived_from],
        }  # fmt: skip
        for member in list_members(Dataset):
            if not (value := members.get(member.name)):
                continue
            try:
                member.kind.load(value, member.name)
            except DecodeError:
                notes.append(
                    f"{member.name} {quote(str(value))} is left to the Croissant file: no statement can carry it"
                )
            else:
                found[member.name] = value
    return found, notes


def _complete_size(size: object, path: Path) -> object:
    """Return a size with the band that its exact number lies in."""
    if not isinstance(size, dict):
        return size
    facts = cast("Facts", size)
    modality, exact, band = facts.get("modality"), facts.get("exact"), facts.get("band")
    amount = _read_amount(cast("Facts", exact).get("amount")) if isinstance(exact, dict) else None
    if not isinstance(modality, str) or modality not in _BANDS or amount is None:
        return facts
    unit, _ = _BANDS[modality]
    if cast("Facts", exact).get("unit") != unit:
        return facts
    fits = size_band(modality, amount)
    if band is not None and band != fits:
        refuse("DATA-28", f"{path} says {quote(str(band))} of {amount} {unit}, which is {fits}")
    return {**facts, "band": fits}


def _read_amount(text: object) -> Decimal | None:
    try:
        amount = Decimal(text) if isinstance(text, str) else Decimal(-1)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < 10**40 else None


def _as_json(value: object, path: str) -> object:
    """Return a TOML value as JSON has it: days and times as RFC 3339 writes them, times in UTC to the second."""
    if isinstance(value, Mapping):
        return {name: _as_json(item, path) for name, item in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list):
        return [_as_json(item, path) for item in cast("list[object]", value)]
    if isinstance(value, datetime):
        if value.tzinfo is None:
            refuse("DATA-28", f"{path} says the time {value.isoformat()} without its zone")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str | bool | int | float):
        return value
    raise refusal("DATA-28", f"{path} holds {value}, a time without a day")


def _as_resource(reference: Reference) -> Facts:
    members = {"name": reference.name, "uri": reference.uri, "digest": dict(reference.digests) or None}
    return {name: value for name, value in members.items() if value is not None}
