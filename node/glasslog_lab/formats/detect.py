"""Which format a document is, told by its content and never by its name alone, and its import (M1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.cards import import_card, import_pointer, read_pointer
from glasslog_lab.formats.croissant import import_croissant
from glasslog_lab.formats.cyclonedx import import_bom
from glasslog_lab.formats.dsse import read_envelope, read_payload
from glasslog_lab.formats.facts import Imported
from glasslog_lab.formats.intoto import import_envelope, import_statement
from glasslog_lab.formats.mlflow import import_dvc, import_run_folder, import_run_json, import_wandb
from glasslog_lab.formats.oms import Trust, import_bundle
from glasslog_lab.formats.reading import BYTE_ORDER_MARK, Cursor, Json, load_json, read_document, refusal
from glasslog_lab.formats.rehash import check_folder
from glasslog_lab.formats.slsa import read_summary
from glasslog_lab.formats.spdx import import_document
from glasslog_lab.formats.yaml_reading import load_yaml

FORMATS = (
    "oms", "dsse", "intoto", "slsa", "vsa", "croissant", "card", "lfs", "mlflow", "dvc", "wandb", "cyclonedx", "spdx",
)  # fmt: skip
_COMPARE_THEMSELVES = ("oms", "lfs")
_FRONT_MATTER = re.compile(rb"---\r?\n(?:.*\n)?---[ \t]*\r?(?:\n|\Z)", re.DOTALL)
_FORCE = "say which it is: --as " + ", ".join(FORMATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an import may use besides the document: whom to trust, and the files it is about."""

    trust: Trust
    folder: Path | None = None
    threshold: int = 1
    allow_extra: bool = False


def import_path(path: Path, options: Options, name: str | None = None) -> Imported:
    """Import a file, or the folder of an MLflow run.

    Raises:
        ArtifactError: IMPORT-01 not readable, IMPORT-04 of no known format or not of the one named, IMPORT-nn.
    """
    if path.is_dir():
        if name not in (None, "mlflow"):
            raise refusal("IMPORT-04", str(path), "is a folder, which only MLflow's runs are", _FORCE)
        return import_run_folder(path)
    data = read_document(path)
    return import_data(data, str(path), options, name or detect(data, str(path)))


def import_data(data: bytes, where: str, options: Options, name: str) -> Imported:
    """Import a document of a known format.

    Raises:
        ArtifactError: IMPORT-04 there is no such format, IMPORT-nn.
    """
    trust, place = options.trust, Path(where)
    readers: dict[str, Callable[[], Imported]] = {
        "oms": lambda: import_bundle(
            data, where, trust=trust, folder=options.folder, excluded=[place], allow_extra=options.allow_extra
        ),
        "dsse": lambda: import_envelope(data, where, trust.keys, options.threshold),
        "intoto": lambda: import_statement(data, where),
        "slsa": lambda: _import_slsa(data, where, options),
        "vsa": lambda: _import_summary(data, where, options),
        "croissant": lambda: import_croissant(data, where),
        "card": lambda: import_card(data, where),
        "lfs": lambda: import_pointer(data, where, options.folder),
        "mlflow": lambda: import_run_json(data, where),
        "dvc": lambda: import_dvc(data, where),
        "wandb": lambda: import_wandb(data, where),
        "cyclonedx": lambda: import_bom(data, where),
        "spdx": lambda: import_document(data, where),
    }
    if name not in readers:
        raise refusal("IMPORT-04", where, f"there is no format {name!r}", _FORCE)
    imported = readers[name]()
    return imported if name in _COMPARE_THEMSELVES else check_folder(imported, options.folder)


def detect(data: bytes, where: str = "the document") -> str:
    """Return the format of a document, told by its content alone.

    Raises:
        ArtifactError: IMPORT-02, IMPORT-03, IMPORT-14 not readable as what it seems, IMPORT-04 of no known format.
    """
    if read_pointer(data) is not None:
        return "lfs"
    plain = data.removeprefix(BYTE_ORDER_MARK)
    if _FRONT_MATTER.match(plain):
        return "card"
    is_json = plain.lstrip()[:1] in (b"{", b"[")
    found = _detect_json(load_json(data, where)) if is_json else _detect_yaml(data, where)
    if found is None:
        raise refusal("IMPORT-04", where, "is of no format that is known here", _FORCE)
    return found


_MARKS: Sequence[tuple[str, set[str]]] = (
    ("oms", {"mediaType", "verificationMaterial"}), ("dsse", {"payload", "payloadType"}),
    ("intoto", {"_type", "predicateType"}), ("cyclonedx", {"bomFormat"}), ("spdx", {"@context", "@graph"}),
    ("croissant", {"@context", "@type"}), ("mlflow", {"run"}), ("wandb", {"storagePolicy", "contents"}),
)  # fmt: skip


def _detect_json(value: Json) -> str | None:
    if not isinstance(value, dict):
        return None
    return next((name for name, members in _MARKS if members <= value.keys()), None)


def _detect_yaml(data: bytes, where: str) -> str | None:
    try:
        value = load_yaml(data, where)
    except ArtifactError as error:
        if error.code in ("IMPORT-14", "IMPORT-03", "EXTRA-01"):
            raise
        return None
    members = value.keys() if isinstance(value, dict) else set[str]()
    return "dvc" if members & {"outs", "stages"} else None


def _import_slsa(data: bytes, where: str, options: Options) -> Imported:
    imported = _import_any(data, where, options)
    if not imported.runs:
        raise refusal("IMPORT-04", where, "is no SLSA provenance v1", _FORCE)
    return imported


def _import_summary(data: bytes, where: str, options: Options) -> Imported:
    imported = _import_any(data, where, options)
    top = Cursor(where, "", load_json(data, where))
    read_summary(read_payload(read_envelope(top)) if "payloadType" in top.members() else top)
    return imported


def _import_any(data: bytes, where: str, options: Options) -> Imported:
    if detect(data, where) == "dsse":
        return import_envelope(data, where, options.trust.keys, options.threshold)
    return import_statement(data, where)
