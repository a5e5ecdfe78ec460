"""SLSA provenance v1 and verification summaries v1: read into runs, and written from them (M12).

A training is a build: code, data and initial weights are its dependencies, hyperparameters its external parameters. Its
``buildType`` is ours, ``urn:glasslog:buildtype:training:v1``; the predicates keep SLSA's own types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from glasslog.codec import Value
from glasslog.errors import DecodeError
from glasslog.predicates.base import Subject
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.values import Resource
from glasslog.statement import STATEMENT_TYPE, Statement, from_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.bill import hex_digests
from glasslog_lab.formats.dsse import dump_json
from glasslog_lab.formats.facts import Checked, Reference, RunFacts, declared
from glasslog_lab.formats.intoto import check_statement, read_digests, read_list, read_resource, resource
from glasslog_lab.formats.reading import Cursor, Json

PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
SUMMARY_TYPE = "https://slsa.dev/verification_summary/v1"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_URI = re.compile("[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_LEVEL = re.compile("[A-Z0-9_./:-]{1,100}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A verification summary: who found what of a resource, under which policy. ``time_verified`` is RFC 3339."""

    verifier: str
    time_verified: str
    resource_uri: str
    policy: Reference
    result: Literal["PASSED", "FAILED"]
    levels: tuple[str, ...]
    inputs: tuple[Reference, ...] = ()
    slsa_version: str = "1.1"


def read_provenance(statement: Cursor, checked: Checked = Checked.DECLARED) -> RunFacts:
    """Return the run that a provenance statement describes.

    Raises:
        ArtifactError: IMPORT-05, not SLSA provenance v1.
    """
    check_statement(statement)
    kind = statement.need("predicateType")
    if kind.text() != PROVENANCE_TYPE:
        raise kind.refuse(f"is not {PROVENANCE_TYPE}")
    predicate = statement.need("predicate")
    definition, details = predicate.need("buildDefinition"), predicate.need("runDetails")
    metadata = details.get("metadata")
    outputs = tuple(
        Reference(name=subject.text_of("name"), digests=read_digests(subject.need("digest")))
        for subject in read_list(statement, "subject")
    )
    internal = definition.get("internalParameters")
    places = {
        "build_type": "predicate.buildDefinition.buildType",
        "parameters": "predicate.buildDefinition.externalParameters",
        "dependencies": "predicate.buildDefinition.resolvedDependencies",
        "builder": "predicate.runDetails.builder.id", "outputs": "subject",
    }  # fmt: skip
    return RunFacts(
        name=outputs[0].name or "run", build_type=definition.need("buildType").text(),
        parameters=definition.need("externalParameters").members(),
        internal=internal.members() if internal is not None else {},
        dependencies=tuple(read_resource(one) for one in read_list(definition, "resolvedDependencies")),
        outputs=outputs, builder=details.need("builder").need("id").text(),
        invocation=metadata.text_of("invocationId") if metadata is not None else None,
        started=_time(metadata, "startedOn"), finished=_time(metadata, "finishedOn"),
        sources=declared(statement.file, places, checked),
    )  # fmt: skip


def run_of(subjects: Sequence[Subject], run: TrainingRun, *, builder: str, outputs: Sequence[Subject]) -> RunFacts:
    """Return the run that our training-run predicate describes, with the models that came out of it."""
    definition = run.build_definition
    named = [*definition.resolved_dependencies, *run.datasets, *([run.parent] if run.parent else [])]
    root = run.initial_weights
    weights = () if root is None else (Reference(name="initial weights", digests=hex_digests(root.digest)),)
    return RunFacts(
        name=run.name, build_type=definition.build_type, parameters=_plain(definition.external_parameters),
        internal=_plain(definition.internal_parameters or {}),
        dependencies=(*(reference_of(one) for one in named), *weights),
        outputs=tuple(Reference(name=one.name, digests=hex_digests(one.digest)) for one in outputs),
        builder=builder,
        invocation=next((value for one in subjects for value in hex_digests(one.digest).values()), None),
        started=run.started,
    )  # fmt: skip


def write_provenance(run: RunFacts) -> Statement:
    """Return a run as SLSA provenance v1.

    Raises:
        ArtifactError: EXPORT-03, its builder is no URI, it names no output by digest, or the statement is over a limit.
    """
    if run.builder is not None and not _URI.fullmatch(run.builder):
        raise ArtifactError("EXPORT-03", f"the builder {run.builder[:80]!r} is no URI", "name who ran it by a URI")
    subjects = [resource(one) for one in run.outputs if one.digests]
    if not subjects:
        raise ArtifactError(
            "EXPORT-03", f"the run {run.name} names no output by digest", "give the statement of the model it made"
        )
    metadata = {"invocationId": run.invocation, "startedOn": run.started, "finishedOn": run.finished}
    predicate: dict[str, object] = {
        "buildDefinition": {
            "buildType": run.build_type,
            "externalParameters": dict(run.parameters),
            **({"internalParameters": dict(run.internal)} if run.internal else {}),
            "resolvedDependencies": [resource(one) for one in run.dependencies],
        },
        "runDetails": {
            "builder": {"id": run.builder or "urn:glasslog:builder:unknown"},
            "metadata": {name: value for name, value in metadata.items() if value is not None},
            **({"byproducts": [_metrics(run.metrics)]} if run.metrics else {}),
        },
    }
    return _statement(subjects, PROVENANCE_TYPE, predicate)


def read_summary(statement: Cursor) -> Summary:
    """Return a verification summary.

    Raises:
        ArtifactError: IMPORT-05.
    """
    check_statement(statement)
    kind = statement.need("predicateType")
    if kind.text() != SUMMARY_TYPE:
        raise kind.refuse(f"is not {SUMMARY_TYPE}")
    predicate = statement.need("predicate")
    result = predicate.need("verificationResult")
    if result.text() not in {"PASSED", "FAILED"}:
        raise result.refuse("is neither PASSED nor FAILED")
    levels = tuple(one.text() for one in read_list(predicate, "verifiedLevels"))
    time = predicate.need("timeVerified")
    if not _TIME.fullmatch(time.text()):
        raise time.refuse("is no time as RFC 3339 writes it")
    return Summary(
        verifier=predicate.need("verifier").need("id").text(), time_verified=time.text(),
        resource_uri=predicate.need("resourceUri").text(), policy=read_resource(predicate.need("policy")),
        result="PASSED" if result.value == "PASSED" else "FAILED", levels=levels,
        inputs=tuple(read_resource(one) for one in read_list(predicate, "inputAttestations")),
        slsa_version=predicate.text_of("slsaVersion") or "1.0",
    )  # fmt: skip


def write_summary(summary: Summary, subjects: Sequence[Reference]) -> Statement:
    """Return a verification summary as a statement about the subjects.

    Raises:
        ArtifactError: EXPORT-03, a level or a time that SLSA does not have; no subject; over a limit.
    """
    if not all(_LEVEL.fullmatch(level) for level in summary.levels) or not _TIME.fullmatch(summary.time_verified):
        raise ArtifactError(
            "EXPORT-03",
            "a level or the time is not as SLSA writes it",
            "use SLSA_BUILD_LEVEL_1 and the like, and RFC 3339",
        )
    predicate: dict[str, object] = {
        "verifier": {"id": summary.verifier},
        "timeVerified": summary.time_verified,
        "resourceUri": summary.resource_uri,
        "policy": resource(summary.policy),
        **({"inputAttestations": [resource(one) for one in summary.inputs]} if summary.inputs else {}),
        "verificationResult": summary.result,
        "verifiedLevels": list(summary.levels),
        "slsaVersion": summary.slsa_version,
    }
    return _statement([resource(one) for one in subjects if one.digests], SUMMARY_TYPE, predicate)


def reference_of(one: Resource) -> Reference:
    """Return a resource of ours as a reference."""
    return Reference(name=one.name, uri=one.uri or one.download_location, digests=hex_digests(one.digest))


def _statement(subjects: list[dict[str, object]], kind: str, predicate: dict[str, object]) -> Statement:
    for number, subject in enumerate(subjects):
        subject.setdefault("name", f"output-{number + 1}")
        subject.pop("uri", None)
    value = {"_type": STATEMENT_TYPE, "subject": subjects, "predicateType": kind, "predicate": predicate}
    try:
        return from_json(dump_json(value))
    except DecodeError as error:
        raise ArtifactError(
            "EXPORT-03", f"it makes no statement: {error.code} {error.fact}", "shorten or split it"
        ) from error


def _metrics(metrics: Mapping[str, str]) -> dict[str, object]:
    return {"name": "metrics", "annotations": dict(metrics)}


def _time(metadata: Cursor | None, name: str) -> str | None:
    said = metadata.text_of(name) if metadata is not None else None
    if metadata is not None and said is not None and not _TIME.fullmatch(said):
        raise metadata.need(name).refuse("is no time as RFC 3339 writes it")
    return said


def _plain(value: Mapping[str, Value]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, item in value.items():
        found[name] = _plain_value(item)
    return found


def _plain_value(item: Value) -> Json:
    if isinstance(item, bytes):
        return item.hex()
    if isinstance(item, dict):
        return {str(name): _plain_value(one) for name, one in item.items()}
    if isinstance(item, list):
        return [_plain_value(one) for one in item]
    return item if isinstance(item, str | int | float | bool) else None
