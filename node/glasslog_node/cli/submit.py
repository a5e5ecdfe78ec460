"""``glasslog submit``: hands statements to a node and says what became of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from glasslog_node.cli.connection import CONFIG_HELP, TOKEN_HELP, URL_HELP, NodeClient, connect, locate
from glasslog_node.cli.output import print_json, print_line
from glasslog_node.errors import RequestError

POLL_SECONDS = 30
SENDERS = "glasslog.senders"  # entry points: what can be sent besides files of statements
_SUFFIXES = {
    ".cbor": "application/cbor",
    ".cose": "application/cose",
    ".sealed": "application/vnd.glasslog.sealed+cbor",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".json": "application/json",
}


def command(
    file: Annotated[
        str,
        typer.Argument(
            help="JSON, NDJSON (.jsonl), CBOR (.cbor), one COSE_Sign1 (.cose), or sealed items (.sealed); "
            "a spool's folder; - reads JSON."
        ),
    ],
    config: Annotated[Path | None, typer.Option(help=CONFIG_HELP)] = None,
    url: Annotated[str | None, typer.Option(help=URL_HELP)] = None,
    token_file: Annotated[Path | None, typer.Option(help=TOKEN_HELP)] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: sending again with it never submits twice.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until a published checkpoint covers it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Submit in-toto statements to your node: one, an array, one a line, or all that waits in a spool."""
    if Path(file).is_dir():
        if key is not None:
            raise RequestError("CLIENT-05", "a spool's files have their own keys", "leave --key out", status=0)
        address, token = locate(config, url, token_file)
        find_sender()(Path(file), address, token, wait=wait, json=json)
        return
    body, media_type = _read(file)
    headers = {"content-type": media_type, **({} if key is None else {"idempotency-key": key})}
    with connect(config, url, token_file, write=True) as node:
        answer: dict[str, Any] = node.post("/v1/submissions", body, headers).json()
        submission = str(answer["submission"])
        if wait:
            answer |= _wait(node, submission)
    if json:
        print_json(answer)
        return
    print_line(f"submission {submission}: {answer['count']} statement(s) durably taken")
    if wait:
        runs = ", ".join(f"{run['index']} (x{run['count']})" for run in answer["runs"])
        print_line(f"published by the checkpoint of size {answer['checkpoint']}; log index {runs}")
        print_line(f"Next: glasslog prove {submission}/0 -o bundle")


def find_sender() -> Callable[..., None]:
    """Return what sends a spool: the function that the lab's package names ``spool`` among its senders.

    Raises:
        RequestError: CLIENT-07, no such package is installed.
    """
    for point in entry_points(group=SENDERS, name="spool"):
        sender: Callable[..., None] = point.load()
        return sender
    raise RequestError("CLIENT-07", "nothing here can send a spool", "pip install 'glasslog[lab]'", status=0)


def _read(file: str) -> tuple[bytes, str]:
    if file == "-":
        return sys.stdin.buffer.read(), "application/json"
    path = Path(file)
    try:
        return path.read_bytes(), _SUFFIXES.get(path.suffix.lower(), "application/json")
    except OSError as e:
        fact = f"{path}: {(e.strerror or str(e)).lower()}"
        raise RequestError("CLIENT-04", fact, "name a file of in-toto statements", status=0) from e


def _wait(node: NodeClient, submission: str) -> dict[str, Any]:
    """Poll until published. Ctrl-C ends the waiting, not the submission."""
    path = f"/v1/submissions/{submission}?wait=published&timeout={POLL_SECONDS}"
    while True:
        state: dict[str, Any] = node.get(path, timeout=POLL_SECONDS + 10).json()
        if state["state"] == "published":
            return state
