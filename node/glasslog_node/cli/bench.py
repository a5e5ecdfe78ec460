"""``glasslog bench load``: what a real local network sustains, measured from outside."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import trio
import typer

from glasslog_node.bench.load import Load, Measured, measure
from glasslog_node.cli.output import print_error, print_json, print_line
from glasslog_node.fleet import open_fleet
from glasslog_node.testnet import new_testnet

START_SECONDS = 60.0


def command(
    validators: Annotated[int, typer.Option(min=4, help="Validators to run.")] = 4,
    labs: Annotated[int, typer.Option(min=1, help="Labs that submit.")] = 1,
    size: Annotated[int, typer.Option(help="Bytes of one entry.")] = 256,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Attestations a second, one a request; default: as many as go.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure, after a warm-up.")] = 30,
    keep: Annotated[Path | None, typer.Option(help="Keep the network in this new folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Put load on a real local network of processes and measure it from outside."""
    load = Load(size, rate, seconds)
    with tempfile.TemporaryDirectory(prefix="glasslog-bench-") as scratch:
        folder = keep or Path(scratch) / "network"
        measured = trio.run(_run, folder, validators, labs, load)
    if as_json:
        print_json({"validators": validators, "labs": labs, "size": size, "rate": rate, **asdict(measured)})
    else:
        _print(measured)


async def _run(folder: Path, validators: int, labs: int, load: Load) -> Measured:
    testnet = new_testnet(folder, validators=validators, labs=labs, time_ms=time.time_ns() // 1_000_000)
    tell = print_error if sys.stderr.isatty() else _tell_nobody
    tell(f"starting {validators} validators and {labs} labs in {folder}")
    async with open_fleet(testnet) as fleet:
        await fleet.wait_until_connected(START_SECONDS)
        return await measure(fleet, load, tell)


def _tell_nobody(_line: str) -> None:
    """Say nothing: nobody is watching."""


def _print(measured: Measured) -> None:
    print_line(f"{measured.attestations_per_second:,.0f} attestations/s over {measured.seconds:.0f} s")
    print_line(
        f"acknowledged to published: p50 {measured.p50_ms:.0f} ms, p90 {measured.p90_ms:.0f} ms, "
        f"p99 {measured.p99_ms:.0f} ms"
    )
    print_line(f"CPU: {measured.cpu_seconds_per_1000:.4f} s per 1,000 attestations, all processes together")
    print_line(f"sent: {measured.sent_bytes_per_attestation:,.0f} bytes per attestation, all processes together")
    print_line(f"disk: {measured.disk_bytes_per_attestation:,.0f} bytes per attestation, all replicas together")
    for name, rss in sorted(measured.peak_rss_bytes.items()):
        cpu = measured.cpu_by_process.get(name, 0.0)
        print_line(f"{name}: {rss / 2**20:.0f} MiB anonymous memory at most, {cpu:.1f} s CPU")
