"""Croissant descriptions of data sets, read as plain JSON: what they declare, with nothing fetched or believed (M18).

The one reader of the format. ``read_description`` gives the document; whoever has the files checks them against it. The
context is neither fetched nor applied: names are taken without the prefixes of their vocabularies. Hashes are often
placeholders (addresses, strings of other lengths, one digit over and over): such a value is kept as it stands, and is
never a digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from glasslog_lab.formats.circles import find_circle
from glasslog_lab.formats.facts import (
    Checked,
    DatasetFacts,
    Digests,
    Evidence,
    FileFact,
    Imported,
    Reference,
    declared,
)
from glasslog_lab.formats.reading import Cursor, Json, is_digest, load_json, printable, refusal

MEDIA_TYPE = "application/ld+json"
RESOURCES_MAX = 100_000
_PREFIXES = (
    "http://mlcommons.org/croissant/", "https://schema.org/", "http://schema.org/", "http://www.w3.org/ns/prov#",
    "schema:", "prov:", "cr:", "sc:",
)  # fmt: skip
_OF_NETWORK = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:", re.IGNORECASE)
_BYTES = re.compile(r"([0-9]{1,18}) *B?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedFile:
    """A FileObject.

    ``path`` is its place below the description, None where it is of the network or inside of another. ``stated`` has
    what stands as sha256 and md5, whatever it is; ``digests`` those of them that are digests.
    """

    identifier: str
    name: str
    address: str | None
    path: str | None
    inside: tuple[str, ...]
    size: int | None
    media_type: str | None
    stated: tuple[tuple[str, str], ...]
    digests: Digests


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedSet:
    """A FileSet: patterns of files below the description, or inside of what ``inside`` names. It has no digest."""

    identifier: str
    includes: tuple[str, ...]
    excludes: tuple[str, ...]
    inside: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a Croissant file declares. Dates are as they stand; ``notes`` says what was passed over."""

    name: str
    version: str | None
    description: str | None
    url: str | None
    identifiers: tuple[str, ...]
    publishers: tuple[str, ...]
    licenses: tuple[str, ...]
    based_on: tuple[str, ...]
    derived_from: tuple[Reference, ...]
    languages: tuple[str, ...]
    conditions: tuple[str, ...]
    cite_as: str | None
    published: str | None
    created: str | None
    modified: str | None
    files: tuple[DescribedFile, ...] = ()
    sets: tuple[DescribedSet, ...] = ()
    notes: tuple[str, ...] = field(default=())


def read_description(data: bytes, where: str) -> Description:
    """Return what a Croissant file declares.

    Raises:
        ArtifactError: IMPORT-02, IMPORT-03 not JSON read alike by all; IMPORT-05 no data set; IMPORT-11 a path out of
            the description's folder; IMPORT-12 an identifier or a member twice; IMPORT-15 files inside one another in
            a circle.
    """
    top = Cursor(where, "", _strip(load_json(data, where), where))
    if "Dataset" not in _texts(top, "@type"):
        raise top.refuse("is no data set of schema.org")
    notes, files, sets = list[str](), list[DescribedFile](), list[DescribedSet]()
    for number, one in enumerate(top.each("distribution")):
        if number >= RESOURCES_MAX:
            raise one.refuse(f"is one resource more than {RESOURCES_MAX}", "IMPORT-03")
        kinds = _texts(one, "@type")
        if "FileObject" in kinds:
            files.append(_read_file(one, notes))
        elif "FileSet" in kinds:
            sets.append(_read_set(one))
        else:
            raise one.refuse("is neither a FileObject nor a FileSet")
    _check_places(top, [*files, *sets])
    return Description(
        name=top.need("name").text(), version=_text(top, "version"), description=_text(top, "description"),
        url=_text(top, "url"), identifiers=_names(top, "identifier"),
        publishers=(*_names(top, "publisher"), *_names(top, "creator")), licenses=_names(top, "license"),
        based_on=_names(top, "isBasedOn"), languages=_names(top, "inLanguage"),
        derived_from=tuple(_read_entity(one) for one in top.each("wasDerivedFrom")),
        conditions=(*_names(top, "conditionsOfAccess"), *_names(top, "usageInfo")),
        cite_as=_text(top, "citeAs") or _text(top, "citation"), published=_text(top, "datePublished"),
        created=_text(top, "dateCreated"), modified=_text(top, "dateModified"), files=tuple(files), sets=tuple(sets),
        notes=tuple(notes),
    )  # fmt: skip


def import_croissant(data: bytes, where: str) -> Imported:
    """Import a Croissant file as declared, unverified facts.

    Raises:
        ArtifactError: as ``read_description``.
    """
    read = read_description(data, where)
    files = tuple(
        FileFact(
            name=one.path or one.name, digests=one.digests, size=one.size, uri=one.address, media_type=one.media_type
        )
        for one in read.files
    )
    facts = DatasetFacts(
        name=read.name, version=read.version, description=read.description, license=" AND ".join(read.licenses) or None,
        uri=read.url, files=files, digests=_own_digests(read), derived_from=read.derived_from, languages=read.languages,
        sources=declared(where, {"name": "name", "license": "license", "files": "distribution", "uri": "url"}),
    )  # fmt: skip
    unhashed = (f"{len(read.sets)} file sets, which have no hash at all",) if read.sets else ()
    evidence = (Evidence.of(data, MEDIA_TYPE, where),)
    return Imported(
        format="croissant", checked=Checked.DECLARED, evidence=evidence, datasets=(facts,),
        unchecked=("everything it declares", *unhashed), notes=read.notes,
    )  # fmt: skip


def _read_file(one: Cursor, notes: list[str]) -> DescribedFile:
    stated, digests = list[tuple[str, str]](), dict[str, str]()
    for algorithm in ("sha256", "md5"):
        member = one.get(algorithm)
        if member is None:
            continue
        text = member.value if isinstance(member.value, str) else str(member.value)
        stated.append((algorithm, text))
        if isinstance(member.value, str) and is_digest(algorithm, text.lower()) and len(set(text)) > 1:
            digests[algorithm] = text.lower()
        else:
            notes.append(f"{member.path}: {printable(text)[:80]!r} is no {algorithm} digest and was left out")
    identifier = _identifier(one)
    address, inside = _text(one, "contentUrl"), _references(one, "containedIn")
    size = _BYTES.fullmatch(_text(one, "contentSize") or "")
    return DescribedFile(
        identifier=identifier, name=_text(one, "name") or identifier, address=address,
        path=_local_path(one, address) if address is not None and not inside else None, inside=inside,
        size=int(size[1]) if size is not None else None, media_type=_text(one, "encodingFormat"), stated=tuple(stated),
        digests=digests,
    )  # fmt: skip


def _read_set(one: Cursor) -> DescribedSet:
    includes, inside = _texts(one, "includes"), _references(one, "containedIn")
    for pattern in includes:
        _local_path(one, pattern)
    return DescribedSet(identifier=_identifier(one), includes=includes, excludes=_texts(one, "excludes"), inside=inside)


def _local_path(one: Cursor, address: str) -> str | None:
    """Return an address as a path below the description, None where it is one of the network."""
    if _OF_NETWORK.match(address):
        return None
    path = PurePosixPath(address)
    if address.lower().startswith("file:") or path.is_absolute() or ".." in path.parts or "\\" in address:
        raise one.refuse(f"{address[:80]!r} is not below the description's folder", "IMPORT-11")
    return path.as_posix()


def _check_places(top: Cursor, resources: list[DescribedFile | DescribedSet]) -> None:
    inside = {one.identifier: one.inside for one in resources}
    if len(inside) != len(resources):
        raise top.refuse("gives two resources one identifier", "IMPORT-12")
    if circle := find_circle(inside):
        raise top.refuse(f"the resource {circle[:80]!r} contains itself", "IMPORT-15")


def _read_entity(one: Cursor) -> Reference:
    if isinstance(one.value, str):
        return Reference(uri=one.value)
    digest = one.get("glasslog:digest")
    known: Mapping[str, Json] = digest.members() if digest is not None else {}
    digests = {name: value for name, value in known.items() if isinstance(value, str) and is_digest(name, value)}
    return Reference(name=_text(one, "name"), uri=_text(one, "@id") or _text(one, "url"), digests=digests)


def _own_digests(read: Description) -> dict[str, str]:
    found = dict[str, str]()
    for one in read.identifiers:
        name, _, value = one.partition(":")
        if name.startswith("glasslog") and is_digest("sha256", value):
            found[name] = value
    return found


def _identifier(one: Cursor) -> str:
    found = _text(one, "@id") or _text(one, "name")
    if found is None:
        raise one.refuse("has neither @id nor name")
    return found


def _references(one: Cursor, member: str) -> tuple[str, ...]:
    return tuple(
        found
        for item in one.each(member)
        if (found := item.value if isinstance(item.value, str) else _text(item, "@id")) is not None
    )


def _text(cursor: Cursor, name: str) -> str | None:
    return next(_read_texts(cursor, name, ("@value", "@id", "url", "name")), None)


def _texts(cursor: Cursor, name: str) -> tuple[str, ...]:
    return tuple(one.value for one in cursor.each(name) if isinstance(one.value, str))


def _names(cursor: Cursor, name: str) -> tuple[str, ...]:
    """Return texts, and of objects the first of what they are known by."""
    return tuple(_read_texts(cursor, name, ("@value", "spdxId", "identifier", "name", "url", "@id")))


def _read_texts(cursor: Cursor, name: str, known_by: tuple[str, ...]) -> Iterator[str]:
    """Yield a member's texts, which JSON-LD lets be a text, a number, an object or a list of these."""
    for one in cursor.each(name):
        value = one.value
        if isinstance(value, dict):
            value = next((value[member] for member in known_by if isinstance(value.get(member), str)), None)
        if isinstance(value, str) and value:
            yield value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield str(value)


def _strip(value: Json, where: str) -> Json:
    """Return a value whose members and types are named without their vocabularies' prefixes."""
    if isinstance(value, list):
        return [_strip(item, where) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Json] = {}
    for name, item in value.items():
        bare = _bare(name)
        if bare in found:
            raise refusal("IMPORT-12", where, f"names {bare[:60]!r} twice in one object, once with a prefix")
        if bare == "@type":
            found[bare] = [_bare(one) for one in (item if isinstance(item, list) else [item]) if isinstance(one, str)]
        elif bare != "@context":
            found[bare] = _strip(item, where)
    return found


def _bare(word: str) -> str:
    return next((word.removeprefix(prefix) for prefix in _PREFIXES if word.startswith(prefix)), word)
