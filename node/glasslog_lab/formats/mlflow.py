"""MLflow runs, DVC stages and W&B artifact manifests: claims about runs, with weak digests kept as claims (M14).

MLflow's store can be rewritten at any time, and the digests of all three are MD5 or shorter: none is an identity, none
becomes a subject. What they name has to be hashed again before it is attested.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from glasslog_lab.formats.facts import (
    Checked,
    DatasetFacts,
    Evidence,
    FileFact,
    Imported,
    ModelFacts,
    Reference,
    RunFacts,
    declared,
)
from glasslog_lab.formats.reading import Cursor, Json, load_json, read_document, refusal, show_decimal
from glasslog_lab.formats.yaml_reading import load_yaml

MLFLOW_BUILD_TYPE = "https://mlflow.org/docs/latest/tracking"
DVC_BUILD_TYPE = "https://dvc.org/doc/user-guide/project-structure/dvcyaml-files"
_VALUE_BYTES_MAX = 16 << 20
_ENTRIES_MAX = 10_000
_MILLISECONDS_MAX = 253_402_300_799_000  # the last moment of the year 9999
_DVC_DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")
_WEAK = "digests in it are MD5 or shorter: claims that name nothing; hash the files and attest those"


def import_run_folder(folder: Path) -> Imported:
    """Import a run of MLflow's file store: ``meta.yaml``, ``params/``, ``metrics/``, ``tags/``, ``inputs/``.

    Raises:
        ArtifactError: IMPORT-01 not readable, IMPORT-05 not a run, IMPORT-11 a link out of the folder, IMPORT-02/-03/
            -14 its YAML.
    """
    where = str(folder / "meta.yaml")
    data = _read_inside(folder, folder / "meta.yaml")
    meta = Cursor(where, "", load_yaml(data, where))
    run = meta.text_of("run_id") or meta.need("run_uuid").text()
    params = dict(_read_entries(folder / "params", folder))
    tags = dict(_read_entries(folder / "tags", folder))
    metrics = dict[str, str]()
    for name, text in _read_entries(folder / "metrics", folder):
        value = _last_metric(text, f"{folder}/metrics/{name}")
        if value is not None:
            metrics[name] = value
    facts = RunFacts(
        name=_run_name(meta.get("run_name"), tags, run), build_type=MLFLOW_BUILD_TYPE, parameters=params,
        internal={"tags": {**tags}}, invocation=run, metrics=metrics,
        started=_read_milliseconds(meta.get("start_time")), finished=_read_milliseconds(meta.get("end_time")),
        sources=declared(where, {"parameters": "params", "metrics": "metrics", "started": "start_time"}),
    )  # fmt: skip
    evidence = (Evidence.of(data, "application/yaml", where),)
    return _imported("mlflow", evidence, facts, _read_dataset_inputs(folder))


def import_run_json(data: bytes, where: str) -> Imported:
    """Import a run as MLflow's REST interface answers it (``runs/get``).

    Raises:
        ArtifactError: IMPORT-02, IMPORT-03, IMPORT-05.
    """
    run = Cursor(where, "", load_json(data, where)).need("run")
    info, content = run.need("info"), run.get("data")
    identifier = info.text_of("run_id") or info.need("run_uuid").text()
    params, tags, metrics = dict[str, str](), dict[str, str](), dict[str, str]()
    if content is not None:
        params = _pairs(content, "params")
        tags = _pairs(content, "tags")
        for metric in content.list("metrics"):
            value = show_decimal(metric.need("value").value)
            if value is not None:
                metrics[metric.need("key").text()] = value
    datasets = list[DatasetFacts]()
    inputs = run.get("inputs")
    for one in inputs.list("dataset_inputs") if inputs is not None else ():
        datasets.append(_dataset(one.need("dataset")))
    facts = RunFacts(
        name=_run_name(info.get("run_name"), tags, identifier), build_type=MLFLOW_BUILD_TYPE, parameters=params,
        internal={"tags": {**tags}}, invocation=identifier, metrics=metrics,
        started=_read_milliseconds(info.get("start_time")), finished=_read_milliseconds(info.get("end_time")),
        dependencies=tuple(Reference(name=one.name, uri=one.uri) for one in datasets),
        sources=declared(where, {"parameters": "run.data.params", "metrics": "run.data.metrics"}),
    )  # fmt: skip
    return _imported("mlflow", (Evidence.of(data, "application/json", where),), facts, tuple(datasets))


def import_dvc(data: bytes, where: str) -> Imported:
    """Import a ``.dvc`` file or a ``dvc.lock``.

    Raises:
        ArtifactError: IMPORT-02, IMPORT-03, IMPORT-05, IMPORT-11, IMPORT-14.
    """
    top = Cursor(where, "", load_yaml(data, where))
    evidence = (Evidence.of(data, "application/yaml", where),)
    stages = top.get("stages")
    if stages is None:
        files = tuple(_dvc_file(one) for one in top.need("outs").items())
        facts = DatasetFacts(name=Path(where).stem, files=files, sources=declared(where, {"files": "outs"}))
        return Imported(
            format="dvc", checked=Checked.DECLARED, evidence=evidence, datasets=(facts,), unchecked=(_WEAK,)
        )
    runs = list[RunFacts]()
    for name in stages.members():
        stage = stages.need(name)
        command = stage.get("cmd")
        params = stage.get("params")
        runs.append(
            RunFacts(
                name=name,
                build_type=DVC_BUILD_TYPE,
                parameters={
                    **({"cmd": command.value} if command is not None else {}),
                    **({"params": dict(params.members())} if params is not None else {}),
                },
                dependencies=tuple(Reference(name=_dvc_file(one).name) for one in stage.list("deps")),
                outputs=tuple(Reference(name=_dvc_file(one).name) for one in stage.list("outs")),
                sources=declared(where, {"parameters": f"stages.{name}"}),
            )
        )
    return Imported(format="dvc", checked=Checked.DECLARED, evidence=evidence, runs=tuple(runs), unchecked=(_WEAK,))


def import_wandb(data: bytes, where: str) -> Imported:
    """Import a W&B artifact manifest: files with MD5 in base64.

    Raises:
        ArtifactError: IMPORT-02, IMPORT-03, IMPORT-05, IMPORT-06, IMPORT-11.
    """
    from glasslog_lab.formats.oms_manifest import check_name

    top = Cursor(where, "", load_json(data, where))
    contents = top.need("contents")
    files = list[FileFact]()
    for name in contents.members():
        entry = contents.need(name)
        try:
            digest = base64.b64decode(entry.need("digest").text(), validate=True).hex()
        except (binascii.Error, ValueError) as error:
            raise entry.refuse("has a digest that is not base64", "IMPORT-06") from error
        size = entry.get("size")
        digests = {"md5": digest} if len(digest) == 32 else {}
        files.append(FileFact(name=check_name(name, entry.where), digests=digests, size=size.whole() if size else None))
    model = ModelFacts(name=Path(where).stem, files=tuple(files), sources=declared(where, {"files": "contents"}))
    evidence = (Evidence.of(data, "application/json", where),)
    return Imported(format="wandb", checked=Checked.DECLARED, evidence=evidence, models=(model,), unchecked=(_WEAK,))


def _imported(name: str, evidence: tuple[Evidence, ...], run: RunFacts, datasets: tuple[DatasetFacts, ...]) -> Imported:
    return Imported(
        format=name, checked=Checked.DECLARED, evidence=evidence, runs=(run,), datasets=datasets,
        unchecked=("everything: the store can be rewritten", _WEAK),
    )  # fmt: skip


def _read_entries(folder: Path, run: Path) -> list[tuple[str, str]]:
    """Read ``params``, ``metrics`` or ``tags``: one file a key, folders where a key holds slashes."""
    found = list[tuple[str, str]]()
    if not folder.is_dir():
        return found
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if len(found) >= _ENTRIES_MAX:
                raise refusal("IMPORT-03", str(folder), f"has over {_ENTRIES_MAX} entries")
            try:
                text = _read_inside(run, path).decode("utf-8")
            except UnicodeDecodeError as error:
                raise refusal("IMPORT-02", str(path), f"is not UTF-8 at byte {error.start}") from error
            found.append((path.relative_to(folder).as_posix(), text.rstrip("\n")))
    return found


def _read_inside(folder: Path, path: Path) -> bytes:
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise refusal("IMPORT-11", str(path), "is a link out of the run's folder", "copy the file in")
    if not real.is_file():
        raise refusal("IMPORT-01", str(path), "is no file", "give a run's folder, the one with meta.yaml")
    return read_document(real, _VALUE_BYTES_MAX)


def _read_dataset_inputs(run: Path) -> tuple[DatasetFacts, ...]:
    """Read the data sets of an experiment, of which a run's ``inputs`` name some by their identifier."""
    inputs, store = run / "inputs", run.parent / "datasets"
    if not inputs.is_dir() or not store.is_dir():
        return ()
    found = list[DatasetFacts]()
    for folder in sorted(inputs.iterdir()):
        where = str(folder / "meta.yaml")
        link = Cursor(where, "", load_yaml(_read_inside(run, folder / "meta.yaml"), where))
        if link.text_of("source_type") != "DATASET":
            continue
        identifier = link.need("source_id").text()
        if not identifier.isalnum():
            raise link.need("source_id").refuse("is no identifier", "IMPORT-11")
        place = store / identifier / "meta.yaml"
        found.append(_dataset(Cursor(str(place), "", load_yaml(_read_inside(store, place), str(place)))))
    return tuple(found)


def _dataset(cursor: Cursor) -> DatasetFacts:
    source = cursor.text_of("source")
    is_uri = source is not None and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", source) is not None
    return DatasetFacts(
        name=cursor.need("name").text(), uri=source if is_uri else None,
        sources=declared(cursor.file, {"name": f"{cursor.path}.name".lstrip("."), "uri": "source"}),
    )  # fmt: skip


def _pairs(content: Cursor, name: str) -> dict[str, str]:
    pairs = dict[str, str]()
    for item in content.list(name):
        key = item.need("key").text()
        if key in pairs:
            raise item.refuse(f"{key[:60]!r} stands twice")
        pairs[key] = item.text_of("value") or ""
    return pairs


def _run_name(named: Cursor | None, tags: Mapping[str, str], run: str) -> str:
    return (named.text() if named is not None else "") or tags.get("mlflow.runName") or run


def _last_metric(text: str, where: str) -> str | None:
    """Return the last value of a metric file, whose lines are ``time value [step]``."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    if not 2 <= len(lines[-1]) <= 5:
        raise refusal("IMPORT-05", where, "is no line of time, value and step")
    value: Json = lines[-1][1]
    return show_decimal(value)


def _read_milliseconds(cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    value = cursor.value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16:
        value = int(value)
    if type(value) is not int or not 0 <= value <= _MILLISECONDS_MAX:
        raise cursor.refuse("is no time in milliseconds")
    return datetime.fromtimestamp(value // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _dvc_file(cursor: Cursor) -> FileFact:
    from glasslog_lab.formats.oms_manifest import check_name

    path, digest, size = cursor.need("path"), cursor.text_of("md5"), cursor.get("size")
    if digest is not None and not _DVC_DIGEST.fullmatch(digest):
        raise cursor.need("md5").refuse("is no MD5 as DVC writes it")
    plain = digest if digest is not None and len(digest) == 32 else None
    return FileFact(
        name=check_name(path.text(), path.where), digests={"md5": plain} if plain else {},
        size=size.whole() if size is not None else None,
    )  # fmt: skip
