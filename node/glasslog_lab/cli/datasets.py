"""Data sets from the command line: attest one, prove one of its records in or out, verify such a proof."""

from __future__ import annotations

import json as json_text
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from glasslog.errors import ProtocolError
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.values import ORDER, RECORDS
from glasslog.records import (
    PROOF_BYTES_MAX,
    Inclusion,
    Placement,
    RecordProof,
    decode_proof,
    encode_proof,
    verify_proof,
)
from glasslog.statement import JSON_BYTES_MAX, from_json
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
from glasslog_lab.datasets.facts import Facts, read_croissant_facts, read_facts, read_size
from glasslog_lab.datasets.index import Index
from glasslog_lab.datasets.measure import FORMATS, Options, measure_dataset, open_blinding
from glasslog_lab.datasets.one_record import KINDS_BY_HAND, digest_files, digest_value, parse_digest
from glasslog_lab.datasets.refusals import refusal, refuse
from glasslog_lab.datasets.sources import EXPANSION_MAX
from glasslog_lab.datasets.statements import build_statement, make_manifest, needs_manifest
from glasslog_lab.errors import ArtifactError

Records = Annotated[list[Path] | None, typer.Argument(help="The record: a file; several are the parts of one sample.")]
Kind = Annotated[str, typer.Option("--as", help=f"What the record is: {', '.join(KINDS_BY_HAND)}.")]
Value = Annotated[str | None, typer.Option(help="The record itself instead of a file.")]
Digest = Annotated[str | None, typer.Option(help="The record's digest instead of a file: 64 hexadecimal digits.")]
Secret = Annotated[Path | None, typer.Option("--secret", help="The file of its secret. [default: INDEX.secret]")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def attest_dataset(  # noqa: PLR0913, PLR0917  Typer's manner: an option is an argument
    path: Annotated[Path, typer.Argument(help="A data set: a file or a folder.")],
    index: Annotated[
        Path | None, typer.Option(help="Where to write its index, for proofs later. [default: NAME.records here]")
    ] = None,
    format: Annotated[str, typer.Option(help=f"What records are: {', '.join(FORMATS)}.")] = "auto",  # noqa: A002  the option's name
    field: Annotated[str | None, typer.Option(help="Each record is this one field of a row.")] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="No secret: who has the data can compute the roots, and others can guess.")
    ] = False,
    secret: Secret = None,
    facts: Annotated[Path | None, typer.Option(help="What you declare about it, TOML.")] = None,
    croissant: Annotated[
        Path | None, typer.Option(help="Its Croissant description: digests in it are checked.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its title.")] = None,
    version: Annotated[str | None, typer.Option(help="Its version.")] = None,
    license: Annotated[str | None, typer.Option(help="Its licence, an SPDX expression.")] = None,  # noqa: A002  the option's name
    source: Annotated[list[str] | None, typer.Option(help="Where it comes from: public-dataset, crawled ...")] = None,
    size: Annotated[list[str] | None, typer.Option(help="text=TOKENS, image=COUNT ...: stated as a band.")] = None,
    consent: Annotated[str | None, typer.Option(help="On what ground data of people is in it.")] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Where its data comes from: DE, FR ...")] = None,
    language: Annotated[list[str] | None, typer.Option(help="A language in it: en, de ...")] = None,
    order: Annotated[bool, typer.Option(help="Commit to the order of the records too.")] = True,
    tmp: Annotated[Path | None, typer.Option(help="Folder for temporary files. [default: the system's]")] = None,
    expansion: Annotated[int, typer.Option(help="How often its size a compressed file may become.")] = EXPANSION_MAX,
    show_public: ShowPublic = False,
    output: Output = None,
    spool: SpoolFolder = None,
    node: NodeAddress = None,
    token_file: TokenFile = None,
    wait: Wait = False,
    author: AuthorName = None,
    as_json: AsJson = False,
) -> None:
    """Attest a data set: its records as a set and in order, its files, and what is declared about it."""
    if format not in FORMATS:
        refuse("DATA-13", f"there is no format {format}")
    if plain and secret is not None:
        refuse("DATA-30", "--plain and --secret exclude one another")
    declared = {} if facts is None else read_facts(facts)
    declared |= _read_options(
        name=name, version=version, license=license, sourceCategory=source, size=size, consent=consent,
        originGeography=origin, languages=language,
    )  # fmt: skip
    kept = index or Path(f"{path.resolve().name}.records")
    key = secret or Path(f"{kept}.secret")
    options = Options(format=format, field=field, order=order, tmp=tmp, expansion_max=expansion)
    new = not (plain or key.exists())
    blinding = None if plain else open_blinding(key, create=True)
    listed = Path(f"{kept}.files")
    apart = [one for one in (key, listed, facts, output) if one is not None]
    with _dropping(key if new else None):
        measured = measure_dataset(path, kept, options=options, blinding=blinding, croissant=croissant, apart=apart)
    said, notes = (None, list[str]()) if measured.croissant is None else read_croissant_facts(measured.croissant)
    statement = build_statement(measured, declared, said, blinding)
    notes += [f"{one.name}: {one.checked}" + (f" ({one.why})" if one.why else "") for one in measured.declared]
    typer.echo(
        f"{measured.records} records, {measured.distinct} of them distinct, in {len(measured.files)} file(s)", err=True
    )
    for note in notes:
        typer.echo(note, err=True)
    if needs_manifest(measured):
        _write(listed, make_manifest(measured.files, blinding))
        typer.echo(f"its files are listed in {listed}: keep it", err=True)
    secrecy = "" if blinding is None else f"its secret is {key}: keep it, and to yourself\n"
    typer.echo(f"{secrecy}Next, for one record: glasslog prove-record {kept} RECORD", err=True)
    to = Destination(show_public, as_json, output, spool, node, wait, token_file, author)
    emit([statement], to)


def prove_record(  # noqa: PLR0913, PLR0917  Typer's manner: an option is an argument
    index: Annotated[Path, typer.Argument(help="The data set's index.")],
    record: Records = None,
    kind: Kind = "bytes",
    value: Value = None,
    digest: Digest = None,
    place: Annotated[int | None, typer.Option(help="Prove that it is this record in order, from 0.")] = None,
    secret: Secret = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the proof.")] = Path("record.proof"),
    json: Json = False,
) -> None:
    """Prove that one record is in a data set, or that it is not."""
    found = _read_record(record, kind, value, digest)
    with Index(index) as opened:
        key = secret or Path(f"{index}.secret")
        blinding = open_blinding(key) if opened.roots.keys_root is not None or secret is not None else None
        proof: RecordProof = (
            opened.prove(found, blinding) if place is None else opened.prove_place(place, found, blinding)
        )
        root = opened.roots.records if place is None else opened.roots.order
    _write(output, encode_proof(proof))
    _say(proof, found, root or b"", json=json)
    if not json:
        typer.echo(f"Next: glasslog verify-record {output} --statement STATEMENT RECORD")


def verify_record(
    proof: Annotated[Path, typer.Argument(help="What `prove-record` wrote.")],
    record: Records = None,
    statement: Annotated[Path | None, typer.Option(help="The data set's statement, JSON.")] = None,
    root: Annotated[str | None, typer.Option(help="Instead of it: the records root, or the order root.")] = None,
    kind: Kind = "bytes",
    value: Value = None,
    digest: Digest = None,
    json: Json = False,
) -> None:
    """Verify offline that a record is, or is not, in the data set that a statement is about."""
    if (statement is None) == (root is None):
        refuse("DATA-32", "one of --statement and --root says which data set is meant")
    found = _read_record(record, kind, value, digest)
    try:
        read = decode_proof(_read(proof, PROOF_BYTES_MAX))
        trusted = parse_digest(root) if root is not None else _read_root(cast("Path", statement), read)
        verify_proof(read, found, trusted)
    except ProtocolError as error:
        raise ArtifactError(
            error.code, error.fact, "ask whoever gave you the proof for one of this record and this data set"
        ) from error
    _say(read, found, trusted, json=json)


def _read_options(**said: str | list[str] | None) -> Facts:
    """Return what options declare, by the members' names."""
    found: Facts = {name: value for name, value in said.items() if value}
    if "size" in found:
        found["size"] = [read_size(one) for one in found["size"]]
    if "consent" in found:
        found["consent"] = {"basis": found["consent"]}
    return found


def _read_root(path: Path, proof: RecordProof) -> bytes:
    """Return the root that a statement gives for a proof of this kind."""
    dataset = Dataset.read(from_json(_read(path, JSON_BYTES_MAX)))
    commitment, name = (dataset.order_root, ORDER) if isinstance(proof, Placement) else (dataset.records_root, RECORDS)
    digest = None if commitment is None else commitment.digest.get(name)
    if not isinstance(digest, bytes):
        raise refusal("DATA-32", f"{path} gives no {name}, which the proof leads to")
    if dataset.records is not None and dataset.records != proof.total:
        refuse("DATA-32", f"{path} is of {dataset.records} records, the proof of {proof.total}")
    return digest


def _read_record(record: list[Path] | None, kind: str, value: str | None, digest: str | None) -> bytes:
    if sum((bool(record), value is not None, digest is not None)) != 1:
        refuse("DATA-31", "one of a file, --value and --digest says which record is meant")
    if kind not in KINDS_BY_HAND:
        refuse("DATA-31", f"a record is one of {', '.join(KINDS_BY_HAND)}, not {kind}")
    if digest is not None:
        return parse_digest(digest)
    if value is not None:
        return digest_value(value, kind)
    return digest_files(record or [], kind)


@contextmanager
def _dropping(secret: Path | None) -> Generator[None]:
    """Take a new secret away again where nothing came to be measured with it."""
    try:
        yield
    except BaseException:
        if secret is not None:
            secret.unlink(missing_ok=True)
        raise


def _read(path: Path, most: int) -> bytes:
    """Return a file's bytes, at most one more than may be."""
    try:
        with path.open("rb") as stream:
            return stream.read(most + 1)
    except OSError as error:
        raise refusal("DATA-10", f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise refusal("DATA-29", f"{path} cannot be written: {error.strerror}") from error


def _say(proof: RecordProof, digest: bytes, root: bytes, *, json: bool) -> None:
    match proof:
        case Inclusion():
            word, line = "in", f"in the data set, {proof.count} time(s), among {proof.total} records"
        case Placement():
            word, line = "at", f"record {proof.place} of {proof.total} in order"
        case _:
            word, line = "not-in", f"not in the data set of {proof.total} records"
    if json:
        facts: dict[str, Any] = {"record": digest.hex(), "verdict": word, "root": root.hex(), "total": proof.total}
        if isinstance(proof, Inclusion):
            facts["count"] = proof.count
        if isinstance(proof, Placement):
            facts["place"] = proof.place
        typer.echo(json_text.dumps(facts))
    else:
        typer.echo(f"record {digest.hex()[:16]}… is {line}")
