"""``glasslog import`` and ``glasslog export``: what others already publish, in and out (specs/formats.md)."""

from __future__ import annotations

import json as json_text
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast

import typer

from glasslog.errors import DecodeError
from glasslog.predicates.model import Model
from glasslog.statement import Statement, from_json, to_json
from glasslog_lab.cli.emit import (
    AsJson,
    AuthorName,
    Destination,
    NodeAddress,
    Output,
    ShowPublic,
    SpoolFolder,
    TokenFile,
    Wait,
    emit,
)
from glasslog_lab.errors import ArtifactError
from glasslog_lab.formats.facts import Imported
from glasslog_lab.formats.reading import printable


def import_(  # noqa: PLR0913, PLR0917  Typer's manner: an option is an argument
    path: Annotated[Path, typer.Argument(help="A document of another format, or the folder of an MLflow run.")],
    as_format: Annotated[
        str | None, typer.Option("--as", metavar="FORMAT", help="Which format it is. [default: told by its content]")
    ] = None,
    key: Annotated[list[Path] | None, typer.Option(help="A public key to verify with; may be given again.")] = None,
    root: Annotated[list[Path] | None, typer.Option(help="Certificates to trust, PEM; may be given again.")] = None,
    threshold: Annotated[int, typer.Option(min=1, help="How many of the keys have to have signed an envelope.")] = 1,
    folder: Annotated[Path | None, typer.Option(help="The files it is about: hashed here, and compared.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="The statement of the model it is about, as attest wrote it: to be filled.")
    ] = None,
    ignore_unsigned_files: Annotated[
        bool, typer.Option("--ignore-unsigned-files", help="Files in the folder that were not signed are no fault.")
    ] = False,
    evidence: Annotated[
        Path | None, typer.Option(help="A folder to keep the originals in, each under its sha256.")
    ] = None,
    output: Output = None,
    spool: SpoolFolder = None,
    node: NodeAddress = None,
    token_file: TokenFile = None,
    wait: Wait = False,
    show_public: ShowPublic = False,
    author: AuthorName = None,
    json: AsJson = False,
) -> None:
    """Import what is already published: verified as far as keys, roots and files are given, declared otherwise."""
    from glasslog_lab.formats.certificates import read_roots
    from glasslog_lab.formats.detect import Options, import_path
    from glasslog_lab.formats.keys import read_public_key
    from glasslog_lab.formats.oms import Trust
    from glasslog_lab.formats.reading import read_document
    from glasslog_lab.formats.statements import make_statements

    roots = [one for place in root or [] for one in read_roots(read_document(place), str(place))]
    trust = Trust(keys=[read_public_key(place) for place in key or []], roots=roots)
    options = Options(trust=trust, folder=folder, threshold=threshold, allow_extra=ignore_unsigned_files)
    measured = _read_model(model) if model is not None else None
    imported = import_path(path, options, as_format)
    statements = make_statements(imported, measured)
    if evidence is not None and not show_public:
        _keep_evidence(evidence, imported)
    for line in _summarise(imported):
        typer.echo(printable(line), err=True)
    to = Destination(
        show_public=show_public, as_json=json, output=output, spool=spool, node=node, wait=wait, token_file=token_file,
        author=author,
    )  # fmt: skip
    emit(statements, to)


def _summarise(imported: Imported) -> list[str]:
    """Return in words what was checked; the reference, the last of an import's statements, says the same."""
    return [
        f"{imported.format}: {imported.verdict()}",
        *(f"signed by key {one}" for one in imported.signers),
        *(f"whose certificate names {one}" for one in imported.identities),
        *(f"not checked: {one}" for one in imported.unchecked),
        *(f"note: {one}" for one in imported.notes),
        *(f"original {one.digest.hex()} {one.name}" for one in imported.evidence),
    ]


def export(  # noqa: PLR0913, PLR0917  Typer's manner: an option is an argument
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="oms, dsse, slsa, croissant, cyclonedx, spdx or card.")],
    inputs: Annotated[
        list[Path], typer.Argument(help="Statements as attest writes them; for oms the model's folder or file.")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to. [default: standard output]")] = None,
    key: Annotated[list[Path] | None, typer.Option(help="A private key to sign with, PEM (oms, dsse).")] = None,
    new_key: Annotated[Path | None, typer.Option(help="Make a P-256 key here and sign with it (oms, dsse).")] = None,
    certificate: Annotated[
        list[Path] | None, typer.Option(help="The key's certificate and its issuers, PEM, leaf first (oms).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the model is called (oms).")] = None,
    shards: Annotated[int | None, typer.Option(help="Bytes of a shard; whole files where not given (oms).")] = None,
    digest: Annotated[str, typer.Option(help="sha256, blake2b or blake3 (oms).")] = "sha256",
    allow_symlinks: Annotated[
        bool, typer.Option("--allow-symlinks", help="Follow links inside the folder (oms).")
    ] = False,
    ignore: Annotated[
        list[str] | None, typer.Option(help="A path to leave out, exact, may be given again (oms).")
    ] = None,
    version: Annotated[str, typer.Option(help="1.6 or 1.7 (cyclonedx).")] = "1.6",
    supplier: Annotated[str | None, typer.Option(help="Legal name of who supplies it (spdx).")] = None,
    created: Annotated[str | None, typer.Option(help="Time of the document, RFC 3339. [default: now] (spdx)")] = None,
    builder: Annotated[str, typer.Option(help="URI of who ran the training (slsa).")] = "urn:glasslog:entry-author",
) -> None:
    """Write statements, or the signature of a folder, in a format that others read."""
    keys = _signing_keys(key or [], new_key) if form in ("oms", "dsse") else []
    if form == "oms":
        data = _export_oms(
            inputs, output, keys, certificate or [], name, _serialization(shards, digest, allow_symlinks, ignore or [])
        )
    else:
        data = _export_statements(form, inputs, keys, version, supplier, created, builder)
    if output is None:
        typer.echo(data.decode(), nl=False)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ArtifactError(
            "EXPORT-02", f"{output} cannot be written: {reason}", "check the folder and its mode"
        ) from error


def _export_statements(
    form: str,
    inputs: list[Path],
    keys: list[object],
    version: str,
    supplier: str | None,
    created: str | None,
    builder: str,
) -> bytes:
    from glasslog_lab.formats.bill import gather
    from glasslog_lab.formats.cards import write_card
    from glasslog_lab.formats.croissant_writing import write_croissant
    from glasslog_lab.formats.cyclonedx_writing import Version, write_bom
    from glasslog_lab.formats.dsse import dump_json, make_envelope
    from glasslog_lab.formats.keys import PrivateKey
    from glasslog_lab.formats.slsa import run_of, write_provenance
    from glasslog_lab.formats.spdx_writing import write_document

    statements = [one for path in inputs for one in read_statements(path)]
    if form == "dsse":
        if len(statements) != 1:
            raise ArtifactError("EXPORT-01", f"{len(statements)} statements were given", "sign one statement at a time")
        payload = to_json(statements[0]).encode()
        return dump_json(make_envelope(payload, cast("list[PrivateKey]", keys)))
    bill = gather(statements)
    if form == "cyclonedx":
        return write_bom(bill, cast("Version", version))
    if form == "spdx":
        now = created or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return write_document(bill, created=now, supplier=supplier)
    if form == "card":
        metrics = tuple((one.dataset.name or "unnamed", one.metric, one.value) for _, one in bill.evaluations)
        return write_card(bill.need_model()[1], metrics)
    if form == "croissant" and len(bill.datasets) == 1:
        return write_croissant(*bill.datasets[0])
    if form == "slsa" and len(bill.runs) == 1:
        outputs = [subject for subjects, _ in bill.models for subject in subjects]
        run = run_of(*bill.runs[0], builder=builder, outputs=outputs)
        return (to_json(write_provenance(run)) + "\n").encode()
    raise ArtifactError(
        "EXPORT-01", f"these statements do not make one {form}",
        "choose oms, dsse, slsa, croissant, cyclonedx, spdx or card, and give one run or data set",
    )  # fmt: skip


def read_statements(path: Path) -> list[Statement]:
    """Return the statements of a file: one in JSON, a list of them, or one a line, as ``-o`` writes them.

    Raises:
        ArtifactError: IMPORT-01, IMPORT-03 not readable, EXPORT-01 no statements.
    """
    from glasslog_lab.formats.reading import load_json, read_document

    data = read_document(path)
    try:
        if data.lstrip().startswith(b"["):
            listed = load_json(data, str(path))
            assert isinstance(listed, list), "what begins with a bracket is a list"
            return [from_json(json_text.dumps(one)) for one in listed]
        try:
            return [from_json(data)]
        except DecodeError:
            lines = [one for one in data.splitlines() if one.strip()]
            if len(lines) < 2:
                raise
            return [from_json(one) for one in lines]
    except DecodeError as error:
        raise ArtifactError(
            "EXPORT-01", f"{path} holds no statements: {error.code} {error.fact}", "give what attest printed"
        ) from error


def _read_model(path: Path) -> Statement:
    found = read_statements(path)
    if len(found) != 1 or found[0]["predicateType"] != Model.type_uri():
        raise ArtifactError("IMPORT-16", f"{path} is not one statement of a model", "give what attest model wrote")
    return found[0]


def _signing_keys(paths: list[Path], new_key: Path | None) -> list[object]:
    from glasslog_lab.formats.keys import make_signing_key, read_private_key

    if new_key is not None:
        made = make_signing_key(new_key)
        typer.echo(f"made {new_key} and {new_key}.pub, fingerprint {made.fingerprint}", err=True)
    found = [*paths, *([new_key] if new_key is not None else [])]
    if not found:
        raise ArtifactError("EXPORT-04", "there is no key to sign with", "give --key FILE, or --new-key FILE")
    return [read_private_key(place) for place in found]


def _serialization(shards: int | None, digest: str, links: bool, ignore: list[str]) -> object:
    from glasslog_lab.formats.oms_manifest import Serialization, check_ignored, hash_type_of

    hash_type = hash_type_of(digest)
    if hash_type is None or (shards is not None and shards < 1):
        raise ArtifactError(
            "EXPORT-03", f"{digest} or a shard of {shards} bytes is not in OMS", "use sha256, blake2b or blake3"
        )
    paths = tuple(check_ignored(one, "--ignore") for one in ignore)
    return Serialization(
        method="files" if shards is None else "shards",
        hash_type=hash_type,
        shard_size=shards,
        allow_symlinks=links,
        ignore_paths=paths,
    )


def _export_oms(
    inputs: list[Path], output: Path | None, keys: list[object], certificates: list[Path], name: str | None, how: object
) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    from glasslog_lab.formats.certificates import read_roots
    from glasslog_lab.formats.keys import PrivateKey
    from glasslog_lab.formats.oms import sign_folder
    from glasslog_lab.formats.oms_manifest import Serialization
    from glasslog_lab.formats.reading import read_document

    if len(inputs) != 1 or len(keys) != 1:
        raise ArtifactError("EXPORT-01", "OMS signs one folder or file with one key", "give one of each")
    chain = [one for place in certificates for one in read_roots(read_document(place), str(place))]
    return sign_folder(
        inputs[0], cast("PrivateKey", keys[0]), serialization=cast("Serialization", how), name=name, output=output,
        certificates=[one.public_bytes(Encoding.DER) for one in chain],
    )  # fmt: skip


def _keep_evidence(folder: Path, imported: Imported) -> None:
    """Write each original under its sha256."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in imported.evidence:
            (folder / one.digest.hex()).write_bytes(one.data)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ArtifactError(
            "EXPORT-02", f"{folder} cannot be written: {reason}", "check the folder and its mode"
        ) from error
