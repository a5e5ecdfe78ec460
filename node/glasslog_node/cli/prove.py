"""``glasslog prove``: fetches the bundle of one entry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from glasslog.bundle.opening import OPENINGS_BYTES_MAX, decode_openings, open_bundle, select_opening
from glasslog_node.cli.connection import CONFIG_HELP, TOKEN_HELP, URL_HELP, connect
from glasslog_node.cli.output import print_json, print_line
from glasslog_node.errors import RequestError


def command(
    entry: Annotated[str, typer.Argument(metavar="ID", help="A log index, SUBMISSION, or SUBMISSION/POSITION.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the bundle.")],
    config: Annotated[Path | None, typer.Option(help=CONFIG_HELP)] = None,
    url: Annotated[str | None, typer.Option(help=URL_HELP)] = None,
    token_file: Annotated[Path | None, typer.Option(help=TOKEN_HELP)] = None,
    opening: Annotated[
        Path | None, typer.Option(help="A file that opens the sealed entry; goes into the bundle.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="With --opening of several fields: the one to show.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fetch the bundle that proves one entry: everything an offline verifier needs besides the policy."""
    submission, _, position = entry.partition("/")
    if entry.isdigit():
        path = f"/v1/bundles/{entry}"
    else:
        path = f"/v1/submissions/{quote(submission, safe='')}/bundles/{quote(position or '0', safe='')}"
    chosen = None if opening is None else select_opening(decode_openings(_read(opening)), field)
    with connect(config, url, token_file) as node:
        bundle = node.get(path).content
    if chosen is not None:
        bundle = open_bundle(bundle, chosen)
    _write(output, bundle)
    if json:
        print_json({"bundle": str(output), "bytes": len(bundle)})
    else:
        print_line(f"{output}: {len(bundle)} bytes. Next: glasslog verify {output} --policy POLICY")


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
