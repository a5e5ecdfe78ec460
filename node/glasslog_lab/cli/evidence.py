"""``glasslog evidence``: originals kept outside the log, each by its digest."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from glasslog_lab.errors import ArtifactError
from glasslog_lab.evidence import EvidenceStore

EXIT_DAMAGED = 1
Store = Annotated[Path, typer.Option("--store", envvar="GLASSLOG_EVIDENCE", help="The folder of originals.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def add(
    files: Annotated[list[Path], typer.Argument(help="Files to keep a copy of.")],
    store: Store,
    media_type: Annotated[str | None, typer.Option(help="Their media type.")] = None,
    json: Json = False,
) -> None:
    """Keep originals and print how a statement names them."""
    kept = [EvidenceStore(store).add(path, media_type=media_type) for path in files]
    named = [f"{one.name}=sha256:{(one.digest or {})['sha256'].hex()}" for one in kept]  # type: ignore[union-attr]  # bytes, as add makes them
    if json:
        typer.echo(json_text.dumps({"evidence": named}))
        return
    for name in named:
        typer.echo(name)
    typer.echo(f"Next: glasslog attest ... --evidence {named[0]}", err=True)


def verify(store: Store, json: Json = False) -> None:
    """Digest every original again. Status: 0 all whole, 1 something is damaged or not ours."""
    found = EvidenceStore(store).verify()
    if json:
        facts = {"whole": len(found.whole), "damaged": list(found.damaged), "foreign": list(found.foreign)}
        typer.echo(json_text.dumps(facts))
    else:
        for digest in found.damaged:
            typer.echo(f"damaged: {digest}")
        for name in found.foreign:
            typer.echo(f"not an original: {name}")
        typer.echo(f"{len(found.whole)} whole, {len(found.damaged)} damaged, {len(found.foreign)} other files")
    if found.damaged or found.foreign:
        raise typer.Exit(EXIT_DAMAGED)


def erase(
    digest: Annotated[str, typer.Argument(help="SHA-256 of the original, in hexadecimal.")],
    store: Store,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: nothing brings it back.")] = False,
) -> None:
    """Delete an original. Statements that name it, and their proofs, stay as they are."""
    if not yes:
        raise ArtifactError("EVID-06", "erasing cannot be undone", "add --yes")
    if not EvidenceStore(store).erase(digest):
        raise ArtifactError("EVID-03", f"no original {digest} is in {store}", "it may have been erased before")
    typer.echo(f"{digest} erased. Its digest stays in the ledger and proves nothing any more")
