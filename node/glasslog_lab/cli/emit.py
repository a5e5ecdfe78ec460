"""Where what a command states goes: onto the screen, into a file, into a spool, to a node; the same options everywhere.

A command of ``attest`` takes the options below under these names, puts them into a ``Destination`` and ends with
``emit``. Nothing leaves the machine unless a node is named, and with ``--show-public`` not even then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glasslog_lab.errors import ArtifactError

if TYPE_CHECKING:
    from glasslog.statement import Statement
    from glasslog_lab.client import Receipt

ShowPublic = Annotated[
    bool, typer.Option("--show-public", help="Print the exact bytes that others will see, and send nothing.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Write the statements to this file: .json, .jsonl, or .cbor as they are hashed."
    ),
]
SpoolFolder = Annotated[
    Path | None,
    typer.Option("--spool", envvar="GLASSLOG_SPOOL", help="Keep them in this folder, to be sent by `glasslog submit`."),
]
NodeAddress = Annotated[
    str | None,
    typer.Option(
        "--node",
        envvar="GLASSLOG_NODE",
        help="Send them to your node: http://127.0.0.1:8001, unix:/path, or its configuration file.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", envvar="GLASSLOG_TOKEN_FILE", help="With an address: the file of the node's token."),
]
Wait = Annotated[bool, typer.Option("--wait", help="With --node: wait until a published checkpoint covers them.")]
AuthorName = Annotated[
    str | None, typer.Option("--author", envvar="GLASSLOG_AUTHOR", help="With --show-public: your member name.")
]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where statements go. With none of ``output``, ``spool`` and ``node`` they are printed and nothing else."""

    show_public: bool = False
    as_json: bool = False
    output: Path | None = None
    spool: Path | None = None
    node: str | None = None
    wait: bool = False
    token_file: Path | None = None
    author: str | None = None


def emit(statements: Sequence[Statement], to: Destination, *, apart: bool = False) -> None:
    """Print statements, their ids and how to prove them; write, spool or submit them as the options say.

    With ``apart`` each is a submission of its own: some of them stated again later, beside others, enter nothing twice.

    Without ``--json`` standard output has the statement alone where it goes nowhere else, so that it can be piped;
    ids and next steps are on standard error then. With ``--json`` it has one object: ``statements``, each with its
    ``id``, its size in ``bytes`` of CBOR and the ``statement``; ``public`` with ``--show-public``; ``submission``,
    ``state`` and what is known of its place where it was spooled or sent.

    Raises:
        ArtifactError: EMIT-nn options that do not go together, a file that cannot be written, what is no statement;
            SPOOL-nn, CLIENT-nn or the node's own, where it could not be spooled or sent.
    """
    from glasslog.errors import ProtocolError
    from glasslog.statement import encode_statement

    _check_options(statements, to)
    try:
        items = [encode_statement(one) for one in statements]
    except ProtocolError as error:
        raise ArtifactError(error.code, error.fact, "correct what the statement is made from") from error
    if to.show_public:
        _show(statements, items, to)
        return
    if to.output is not None:
        _write(to.output, statements, items)
    receipts = _send(items, to, apart=apart)
    if to.as_json:
        typer.echo(json.dumps({"statements": _describe(statements, items), **_describe_sending(receipts, to)}))
        return
    here = to.output is None and not receipts
    if here:
        typer.echo(_text(statements))
    for line in _lines(items, receipts, to):
        typer.echo(line, err=here)


def _check_options(statements: Sequence[Statement], to: Destination) -> None:
    if not statements:
        raise ArtifactError("EMIT-01", "there is nothing to state", "name what it is about")
    if to.wait and to.node is None and not to.show_public:
        raise ArtifactError("EMIT-02", "--wait needs a node", "add --node ADDRESS, or leave --wait out")


def _show(statements: Sequence[Statement], items: Sequence[bytes], to: Destination) -> None:
    from glasslog_lab.sealing.show_public import show_public

    if to.as_json:
        shown = [show_public([item], to.author).partition("\n")[0] for item in items]
        described = [{**one, "public": text} for one, text in zip(_describe(statements, items), shown, strict=True)]
        typer.echo(json.dumps({"statements": described, "sent": False}))
        return
    for item in items:
        typer.echo(show_public([item], to.author))
        typer.echo(f"  id {_id(item)}; {len(item)} bytes and its place. Nothing was sent or written", err=True)


def _write(path: Path, statements: Sequence[Statement], items: Sequence[bytes]) -> None:
    from glasslog.statement import to_json
    from glasslog_lab.spool import write_whole

    suffix = path.suffix.lower()
    if suffix == ".cbor":
        data = b"".join(items)
    elif suffix in (".jsonl", ".ndjson"):
        data = "".join(to_json(one) + "\n" for one in statements).encode()
    else:
        texts = [to_json(one) for one in statements]
        data = (texts[0] if len(texts) == 1 else "[" + ",\n".join(texts) + "]").encode() + b"\n"
    try:
        write_whole(path, data)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ArtifactError("EMIT-03", f"{path} cannot be written: {reason}", "name another file with -o") from error


def _send(items: Sequence[bytes], to: Destination, *, apart: bool) -> list[Receipt]:
    if to.node is None and to.spool is None:
        return []
    from glasslog_lab.client import Client

    with Client(to.node, token_file=to.token_file, spool=to.spool) as client:
        return client.submit_encoded(items, wait=to.wait, apart=apart)


def _text(statements: Sequence[Statement]) -> str:
    """Return one statement over several lines, several as one a line: either can be submitted as it is."""
    from glasslog.statement import to_json

    if len(statements) == 1:
        return json.dumps(json.loads(to_json(statements[0])), indent=2, ensure_ascii=False)
    return "\n".join(to_json(one) for one in statements)


def _lines(items: Sequence[bytes], receipts: Sequence[Receipt], to: Destination) -> list[str]:
    if receipts:
        return [line for receipt in receipts for line in receipt.lines()]
    lines = [f"statement {_id(item)}" for item in items]
    if to.output is None:
        return [*lines, "Next: send it with --node ADDRESS, or keep it with --spool FOLDER; then glasslog prove ID"]
    return [*lines, f"Next: glasslog submit {to.output} --wait, then glasslog prove as it says"]


def _describe(statements: Sequence[Statement], items: Sequence[bytes]) -> list[dict[str, Any]]:
    from glasslog.statement import to_json

    return [
        {"id": _id(item), "bytes": len(item), "statement": json.loads(to_json(one))}
        for one, item in zip(statements, items, strict=True)
    ]


def _describe_sending(receipts: Sequence[Receipt], to: Destination) -> dict[str, Any]:
    described: dict[str, Any] = {"sent": any(receipt.taken for receipt in receipts)}
    if to.output is not None:
        described["output"] = str(to.output)
    if receipts:
        described["submissions"] = [receipt.describe() for receipt in receipts]
    return described


def _id(item: bytes) -> str:
    """Return a statement's id: SHA-256 of its canonical CBOR (specs/statements.md, V6)."""
    from hashlib import sha256

    return sha256(item).hexdigest()
