"""What ``glasslog submit SPOOL`` does: sends a spool's folder, wherever it was filled, once and for all."""

from __future__ import annotations

import json as json_text
import sys
from pathlib import Path

import typer

from glasslog_lab.client import Client, Drained, Receipt
from glasslog_lab.node_address import NodeAddress

PATIENCE_SECONDS = 60.0  # a spool may be larger than what the node takes at once
EXIT_LEFT = 1


def send_folder(folder: Path, address: str, token: str | None, *, wait: bool, json: bool) -> None:
    """Send a spool to a node and say what became of it. Status: 0 all sent, 1 something is damaged or refused.

    Raises:
        ArtifactError: SPOOL-01, SPOOL-02; CLIENT-nn, the node does not answer; what was sent until then stays so.
    """
    shown = not json

    def tell(receipt: Receipt) -> None:
        if shown and (receipt.state == "published" or not wait):
            for line in receipt.lines():
                typer.echo(line)

    with Client(NodeAddress(address, token), spool=folder, patience=PATIENCE_SECONDS) as client:
        drained = client.send_spool(wait=wait, on_receipt=tell)
    if json:
        typer.echo(json_text.dumps(_describe(drained)))
    else:
        for problem in drained.problems:
            sys.stderr.write(f"{problem}\n")
        typer.echo(f"{len(drained.receipts)} submission(s) sent, {len(drained.problems)} left; see {folder}/done")
    if drained.problems:
        raise typer.Exit(EXIT_LEFT)


def _describe(drained: Drained) -> dict[str, object]:
    return {
        "submissions": [receipt.describe() for receipt in drained.receipts],
        "problems": [{"code": one.code, "fact": one.fact, "next": one.next_step} for one in drained.problems],
    }
