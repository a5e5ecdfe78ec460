"""``glasslog prove``: fetches the bundle of one entry."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from glasslog.bundle import make_bundle
from glasslog.bundle.opening import OPENINGS_BYTES_MAX, decode_openings, open_bundle, select_opening
from glasslog.errors import ProtocolError
from glasslog_node.cli.connection import CONFIG_HELP, TOKEN_HELP, URL_HELP, connect
from glasslog_node.cli.output import print_json, print_line
from glasslog_node.errors import RequestError
from glasslog_node.sources import open_source
from glasslog_node.sources.reader import SourceReader

_ID = re.compile("[0-9a-f]{64}")
_LOG_HELP = "No node: a replica's folder, a mirror, a URL. ID is an index, a statement's id or AUTHOR/NUMBER."


def command(  # noqa: PLR0913, PLR0917 - a command's options
    entry: Annotated[str, typer.Argument(metavar="ID", help="A log index, SUBMISSION, or SUBMISSION/POSITION.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the bundle.")],
    config: Annotated[Path | None, typer.Option(help=CONFIG_HELP)] = None,
    url: Annotated[str | None, typer.Option(help=URL_HELP)] = None,
    token_file: Annotated[Path | None, typer.Option(help=TOKEN_HELP)] = None,
    log: Annotated[str | None, typer.Option("--in", metavar="PATH|URL", help=_LOG_HELP)] = None,
    opening: Annotated[
        Path | None, typer.Option(help="A file that opens the sealed entry; goes into the bundle.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="With --opening of several fields: the one to show.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fetch the bundle that proves one entry: everything an offline verifier needs besides the policy.

    With --in it is made out of a copy of the log, without a node or a network.
    """
    submission, _, position = entry.partition("/")
    if entry.isdigit():
        path = f"/v1/bundles/{entry}"
    else:
        path = f"/v1/submissions/{quote(submission, safe='')}/bundles/{quote(position or '0', safe='')}"
    chosen = None if opening is None else select_opening(decode_openings(_read(opening)), field)
    if log is None:
        with connect(config, url, token_file) as node:
            bundle = node.get(path).content
    else:
        bundle = make_from_log(log, entry)
    if chosen is not None:
        bundle = open_bundle(bundle, chosen)
    _write(output, bundle)
    if json:
        print_json({"bundle": str(output), "bytes": len(bundle)})
    else:
        print_line(f"{output}: {len(bundle)} bytes. Next: glasslog verify {output} --policy POLICY")


def make_from_log(log: str, entry: str) -> bytes:
    """Return the bundle of an entry out of a log that no node serves.

    Raises:
        RequestError: PROVE-01, there is no such entry, or it is in no published block.
        OperatingError: the log cannot be read.
    """
    author, _, number = entry.rpartition("/")
    with open_source(log) as source:
        reader = SourceReader(source)
        if entry.isdecimal():
            index: int | None = int(entry)
        elif author and number.isdecimal():
            index = reader.search(author=author, number=int(number))
        elif _ID.fullmatch(entry):
            index = reader.search(statement=bytes.fromhex(entry))
        else:
            step = "give a log index, a statement's id (64 hexadecimal digits), or AUTHOR/NUMBER"
            raise RequestError("PROVE-01", f"{entry} names no entry of a log", step, status=0)
        if index is None:
            fact = f"none of the {source.size} leaves of {log} is {entry}"
            raise RequestError("PROVE-01", fact, "check the id, or look in a newer copy", status=0)
        try:
            return make_bundle(reader, index)
        except ProtocolError as error:
            step = "name an author's entry below the published size; glasslog audit says what is wrong with a log"
            raise RequestError("PROVE-01", error.fact, step, status=0) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(OPENINGS_BYTES_MAX + 1)
    except OSError as e:
        fact = f"{path}: {(e.strerror or str(e)).lower()}"
        raise RequestError("CLIENT-04", fact, "name a file that `glasslog opening` wrote", status=0) from e


def _write(path: Path, data: bytes) -> None:
    """Write the whole file or none: half a bundle would look like a forged one."""
    path = Path(os.path.realpath(path))  # a link stays, and what it leads to is written
    partial = path.with_name(f".{path.name or 'bundle'}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():  # a device or pipe is written into, never replaced
            path.write_bytes(data)
            return
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as e:
        partial.unlink(missing_ok=True)
        fact = f"{path} cannot be written: {(e.strerror or str(e)).lower()}"
        raise RequestError("CLIENT-05", fact, "name another file with -o", status=0) from e
