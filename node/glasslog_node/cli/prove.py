"""``glasslog prove``: fetches the bundle of one entry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from glasslog_node.cli.connection import CONFIG_HELP, TOKEN_HELP, URL_HELP, connect
from glasslog_node.cli.output import print_json, print_line
from glasslog_node.errors import RequestError


def command(
    entry: Annotated[str, typer.Argument(metavar="ID", help="A log index, SUBMISSION, or SUBMISSION/POSITION.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the bundle.")],
    config: Annotated[Path | None, typer.Option(help=CONFIG_HELP)] = None,
    url: Annotated[str | None, typer.Option(help=URL_HELP)] = None,
    token_file: Annotated[Path | None, typer.Option(help=TOKEN_HELP)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fetch the bundle that proves one entry: everything an offline verifier needs besides the policy."""
    submission, _, position = entry.partition("/")
    if entry.isdigit():
        path = f"/v1/bundles/{entry}"
    else:
        path = f"/v1/submissions/{quote(submission, safe='')}/bundles/{quote(position or '0', safe='')}"
    with connect(config, url, token_file) as node:
        bundle = node.get(path).content
    _write(output, bundle)
    if json:
        print_json({"bundle": str(output), "bytes": len(bundle)})
    else:
        print_line(f"{output}: {len(bundle)} bytes. Next: glasslog verify {output} --policy POLICY")


def _write(path: Path, data: bytes) -> None:
    """Write the whole file or none: half a bundle would look like a forged one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as e:
        partial.unlink(missing_ok=True)
        fact = f"{path} cannot be written: {(e.strerror or str(e)).lower()}"
        raise RequestError("CLIENT-05", fact, "name another file with -o", status=0) from e
