"""The in-toto statement inside an OMS bundle: read strictly, written the same bytes every time (M7, M9)."""

from __future__ import annotations

from pathlib import PurePosixPath

from glasslog.statement import STATEMENT_TYPE
from glasslog_lab.formats.dsse import dump_json
from glasslog_lab.formats.oms_manifest import (
    IGNORED_ALWAYS,
    SHARD_BYTES,
    Manifest,
    Serialization,
    check_ignored,
    check_name,
    hash_type_of,
    split_shard,
)
from glasslog_lab.formats.reading import Cursor, is_digest

OMS_TYPE = "https://model_signing/signature/v1.0"
OMS_TYPE_OLD = "https://model_signing/Digests/v0.1"
RESOURCES_MAX = 1_000_000


def write_statement(manifest: Manifest) -> bytes:
    """Return the statement's bytes: the same for the same files, name and options."""
    options = manifest.serialization
    serialization: dict[str, object] = {
        "method": options.method,
        "hash_type": options.hash_type,
        "allow_symlinks": options.allow_symlinks,
    }
    if options.method == "shards":
        serialization["shard_size"] = options.shard_size or SHARD_BYTES
    serialization["ignore_paths"] = sorted({*IGNORED_ALWAYS, *options.ignore_paths})
    resources = [
        {"name": name, "algorithm": options.hash_type, "digest": digest.hex()}
        for name, digest in sorted(manifest.resources.items())
    ]
    subject = {"name": manifest.name, "digest": {"sha256": manifest.root().hex()}}
    return dump_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject],
            "predicateType": OMS_TYPE,
            "predicate": {"resources": resources, "serialization": serialization},
        }
    )


def read_manifest(statement: Cursor) -> Manifest:
    """Return what a statement says was signed.

    Raises:
        ArtifactError: IMPORT-05 not an OMS statement, IMPORT-11 a path out of the folder, IMPORT-12 resources out of
            order, twice, or not those of the subject.
    """
    if statement.need("_type").text() != STATEMENT_TYPE:
        raise statement.need("_type").refuse(f"is not {STATEMENT_TYPE}")
    kind = statement.need("predicateType").text()
    if kind == OMS_TYPE_OLD:
        return _read_old(statement)
    if kind != OMS_TYPE:
        raise statement.need("predicateType").refuse(f"is not {OMS_TYPE}")
    _check_members(statement, {"_type", "subject", "predicateType", "predicate"})
    subjects = list(statement.need("subject").items())
    if len(subjects) != 1:
        raise statement.refuse(f"has {len(subjects)} subjects, one is allowed", "IMPORT-12")
    predicate = statement.need("predicate")
    _check_members(predicate, {"resources", "serialization"})
    serialization = _read_serialization(predicate.need("serialization"))
    resources = _read_resources(predicate.need("resources"), serialization)
    _check_order(list(resources), predicate, serialization)
    manifest = Manifest(subjects[0].need("name").text(), serialization, resources)
    stated = subjects[0].need("digest").need("sha256")
    if stated.text() != manifest.root().hex():
        raise stated.refuse(
            "is not the digest of the resources: subject and resources do not belong together", "IMPORT-12"
        )
    return manifest


def _read_serialization(cursor: Cursor) -> Serialization:
    _check_members(cursor, {"method", "hash_type", "shard_size", "allow_symlinks", "ignore_paths"})
    method = cursor.need("method").text()
    hash_type = hash_type_of(cursor.need("hash_type").text())
    links = cursor.need("allow_symlinks").value
    size = cursor.get("shard_size")
    ignored = tuple(check_ignored(one.text(), one.where) for one in cursor.list("ignore_paths"))
    if hash_type is None or not isinstance(links, bool):
        raise cursor.refuse("names an unknown hash, or does not say whether links were followed")
    if method == "files":
        # The reference implementation writes no shard_size here; the specification forbids one.
        if size is not None:
            raise size.refuse("stands in a manifest of whole files")
        return Serialization(hash_type=hash_type, allow_symlinks=links, ignore_paths=ignored)
    if method != "shards" or size is None or size.whole() == 0:
        raise cursor.refuse("is neither of files nor of shards of a stated size")
    return Serialization(
        method="shards", hash_type=hash_type, shard_size=size.whole(), allow_symlinks=links, ignore_paths=ignored
    )


def _read_resources(cursor: Cursor, serialization: Serialization) -> dict[str, bytes]:
    # Release 1.1.1 calls a shard's hash so; the specification has the hash alone.
    label = f"-sharded-{serialization.shard_size}" if serialization.method == "shards" else ""
    resources = dict[str, bytes]()
    for item in cursor.items():
        name, algorithm, digest = item.need("name").text(), item.need("algorithm").text(), item.need("digest").text()
        if len(resources) >= RESOURCES_MAX:
            raise item.refuse(f"is one resource more than {RESOURCES_MAX}", "IMPORT-03")
        algorithm = algorithm.removesuffix(label)
        if hash_type_of(algorithm) != serialization.hash_type or not is_digest(serialization.hash_type, digest):
            raise item.refuse(f"is no {serialization.hash_type} digest in lowercase hexadecimal", "IMPORT-12")
        _check_resource(name, item, serialization)
        if name in resources:
            raise item.refuse(f"{name[:80]!r} stands twice", "IMPORT-12")
        resources[name] = bytes.fromhex(digest)
    if not resources:
        raise cursor.refuse("lists no file", "IMPORT-12")
    return resources


def _check_resource(name: str, item: Cursor, serialization: Serialization) -> None:
    if serialization.method == "files":
        check_name(name, item.where)
        return
    step = serialization.shard_size or SHARD_BYTES
    try:
        path, start, end = split_shard(name)
    except ValueError as error:
        raise item.refuse(f"{name[:80]!r} is no path:start:end", "IMPORT-12") from error
    check_name(path, item.where)
    if start % step or not start < end <= start + step:
        raise item.refuse(f"{name[:80]!r} is no shard of {step} bytes", "IMPORT-12")


def _check_order(names: list[str], predicate: Cursor, serialization: Serialization) -> None:
    """Require the specification's order, or the one by path components that the reference implementation writes."""
    if names == sorted(names):
        return

    def key(name: str) -> tuple[tuple[str, ...], int]:
        path, start, _ = split_shard(name) if serialization.method == "shards" else (name, 0, 0)
        return PurePosixPath(path).parts, start

    if names != sorted(names, key=key):
        raise predicate.refuse("lists its resources out of order", "IMPORT-12")


def _read_old(statement: Cursor) -> Manifest:
    """Read ``Digests/v0.1`` of release 0.2, where the subjects are the files, and nothing says what was left out."""
    resources = dict[str, bytes]()
    for subject in statement.need("subject").items():
        name, digest = check_name(subject.need("name").text(), subject.where), subject.need("digest").need("sha256")
        if not is_digest("sha256", digest.value) or name in resources:
            raise digest.refuse("is no sha256 digest, or its file stands twice", "IMPORT-12")
        resources[name] = bytes.fromhex(digest.text())
    if not resources:
        raise statement.refuse("lists no file", "IMPORT-12")
    return Manifest("model of Digests/v0.1", Serialization(), resources)


def _check_members(cursor: Cursor, allowed: set[str]) -> None:
    if unknown := min(cursor.members().keys() - allowed, default=None):
        raise cursor.refuse(f"has the member {unknown[:60]!r}, which the format does not allow")
