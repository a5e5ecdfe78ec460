"""What imports yield and exports are made from: facts, and for each where it stands and whether it was checked.

A fact is *declared* until more is known: *signed* where a signature over it verified under a key that was given,
*enclosed* where only under a key the document itself brings, *rehashed* where the bytes it names were hashed here.
Nothing else may be called checked (specs/formats.md, M3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from glasslog.statement import Statement
from glasslog_lab.formats.reading import Json

Digests = Mapping[str, str]  # algorithm to lowercase hexadecimal, each of the length its algorithm has


class Checked(StrEnum):
    """How much a fact's origin was checked."""

    DECLARED = "declared"
    ENCLOSED = "enclosed-key"
    SIGNED = "signed"
    REHASHED = "rehashed"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a fact stands: the file, the place in it, and what was checked."""

    file: str
    place: str
    checked: Checked = Checked.DECLARED


Sources = Mapping[str, Source]  # by the fact's member


@dataclass(frozen=True, slots=True)
class Evidence:
    """A document as it came, byte for byte, kept by digest outside the log."""

    digest: bytes
    media_type: str
    data: bytes
    name: str

    @classmethod
    def of(cls, data: bytes, media_type: str, name: str) -> Evidence:
        """Return the evidence that these bytes are; ``digest`` is their SHA-256."""
        return cls(sha256(data).digest(), media_type, data, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFact:
    """A file by name, its digests as far as they are known, its size in bytes."""

    name: str
    digests: Digests = field(default_factory=dict[str, str])
    size: int | None = None
    uri: str | None = None
    media_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Another thing that is meant: by name, address or digest."""

    name: str | None = None
    uri: str | None = None
    digests: Digests = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a document says about a model."""

    name: str
    version: str | None = None
    description: str | None = None
    license: str | None = None
    architecture: str | None = None
    base_models: tuple[Reference, ...] = ()
    base_model_relation: str | None = None
    datasets: tuple[Reference, ...] = ()
    files: tuple[FileFact, ...] = ()
    digests: Digests = field(default_factory=dict[str, str])
    purl: str | None = None
    sources: Sources = field(default_factory=dict[str, Source])


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What a document says about a data set."""

    name: str
    version: str | None = None
    description: str | None = None
    license: str | None = None
    uri: str | None = None
    files: tuple[FileFact, ...] = ()
    digests: Digests = field(default_factory=dict[str, str])
    derived_from: tuple[Reference, ...] = ()
    languages: tuple[str, ...] = ()
    sources: Sources = field(default_factory=dict[str, Source])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a document says about a run: a training, a build, a stage of a pipeline. Times are RFC 3339 in UTC."""

    name: str
    build_type: str
    parameters: Mapping[str, Json] = field(default_factory=dict[str, Json])
    internal: Mapping[str, Json] = field(default_factory=dict[str, Json])
    dependencies: tuple[Reference, ...] = ()
    outputs: tuple[Reference, ...] = ()
    builder: str | None = None
    invocation: str | None = None
    started: str | None = None
    finished: str | None = None
    metrics: Mapping[str, str] = field(default_factory=dict[str, str])
    sources: Sources = field(default_factory=dict[str, Source])


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationFacts:
    """What a document says a model scored. ``value`` is a decimal without exponent."""

    model: Reference
    metric: str
    value: str
    dataset: Reference
    task: str | None = None
    sources: Sources = field(default_factory=dict[str, Source])


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """All that one document gave. ``unchecked`` says in words what nobody checked, ``notes`` what was passed over.

    ``identities`` are what certificates call their holders, for whoever imports: they may name persons, so they are
    never entered (V4).
    """

    format: str
    checked: Checked
    evidence: tuple[Evidence, ...]
    models: tuple[ModelFacts, ...] = ()
    datasets: tuple[DatasetFacts, ...] = ()
    runs: tuple[RunFacts, ...] = ()
    evaluations: tuple[EvaluationFacts, ...] = ()
    statements: tuple[Statement, ...] = ()
    signers: tuple[str, ...] = ()  # fingerprints of keys
    identities: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def verdict(self) -> str:
        """Return in words what the result may be called."""
        if self.checked is Checked.REHASHED:
            return "signed by a key you gave, and every file hashed here"
        if self.checked is Checked.SIGNED:
            return "signed by a key you gave; the files it names were not hashed here"
        if self.checked is Checked.ENCLOSED:
            return "consistent with a key that it brings itself; whose key that is was not checked"
        return "declared, unverified"


def declared(file: str, places: Mapping[str, str], checked: Checked = Checked.DECLARED) -> dict[str, Source]:
    """Return the provenance of members that stand at ``places`` of one file."""
    return {member: Source(file, place, checked) for member, place in places.items()}


def list_declared(members: Iterable[tuple[str, Source]]) -> list[str]:
    """Return the members that were not checked against bytes, sorted."""
    return sorted(member for member, source in members if source.checked is not Checked.REHASHED)
