"""``glasslog verify``: a bundle against a policy, offline. Needs the base package only."""

from __future__ import annotations

from datetime import UTC, datetime
from json import loads
from pathlib import Path
from typing import Annotated

import typer

from glasslog.bundle import BUNDLE_BYTES_MAX, NEXT_STEPS, Verified, read_policy, verify_bundle
from glasslog.codec import Value
from glasslog.errors import ProtocolError
from glasslog.policy import NEXT_STEPS as POLICY_NEXT_STEPS
from glasslog.policy import POLICY_BYTES_MAX
from glasslog.statement import to_json
from glasslog_node.cli.output import EXIT_BROKEN, EXIT_UNABLE, print_error, print_json, print_line
from glasslog_node.errors import ConfigError, OperatingError

_NEXT = "fetch the bundle again: glasslog prove"


def command(
    bundle: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle, as `glasslog prove` writes it.")],
    policy: Annotated[Path, typer.Option(help="The policy: whose signatures you trust.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Verify a bundle offline, against a policy. Status: 0 verified, 1 it fails, 2 it cannot be read."""
    status, value, lines = verify(bundle, policy)
    if json:
        print_json(value)
    elif status == 0:
        for line in lines:
            print_line(line)
    else:
        print_error(lines[0])
    raise typer.Exit(status)


def verify(bundle: Path, policy: Path) -> tuple[int, dict[str, object], list[str]]:
    """Return exit status, JSON object and lines for people."""
    try:
        data, trusted = read_file(bundle, BUNDLE_BYTES_MAX), read_file(policy, POLICY_BYTES_MAX)
    except OperatingError as error:
        return EXIT_UNABLE, *_failure(EXIT_UNABLE, error.code, error.fact, error.next_step)
    try:
        verified = verify_bundle(data, read_policy(trusted))
    except ProtocolError as error:
        step = NEXT_STEPS.get(error.code) or POLICY_NEXT_STEPS.get(error.code) or _NEXT
        return EXIT_BROKEN, *_failure(EXIT_BROKEN, error.code, error.fact, step)
    return 0, verified_value(verified), _describe(verified)


def read_file(path: Path, size_max: int) -> bytes:
    """Return a file's bytes, one more than ``size_max`` at most.

    Raises:
        ConfigError: VERIFY-01, it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size_max + 1)
    except OSError as e:
        raise ConfigError("VERIFY-01", f"{path}: {(e.strerror or str(e)).lower()}", "check the path") from e


def _failure(status: int, code: str, fact: str, step: str) -> tuple[dict[str, object], list[str]]:
    value: dict[str, object] = {"verified": False, "status": status, "code": code, "fact": fact, "next": step}
    return value, [f"{code} {fact}. Next: {step}"]


def verified_value(verified: Verified) -> dict[str, object]:
    """Return what a bundle shows as a JSON object."""
    field = None if verified.field is None else {"name": verified.field[0], "value": _plain(verified.field[1])}
    return {
        "verified": True,
        "status": 0,
        "statement": None if verified.statement is None else loads(to_json(verified.statement)),
        "field": field,
        "kind": verified.kind.name.lower(),
        "author": verified.author,
        "author_jurisdiction": verified.author_jurisdiction,
        "entry": verified.number,
        "block": verified.block,
        "block_hash": verified.block_hash.hex(),
        "index": verified.index,
        "leaf": verified.leaf.hex(),
        "origin": verified.origin,
        "network": verified.network,
        "genesis_hash": verified.genesis_hash.hex(),
        "size": verified.size,
        "root": verified.root.hex(),
        "author_time": show_time(verified.author_time // 1_000),
        "no_later_than": show_time(verified.no_later_than),
        "finalized_by": [
            {"name": each.name, "jurisdiction": each.jurisdiction, "time": show_time(each.time)}
            for each in verified.finalized_by
        ],
        "quorum": verified.quorum,
        "validators": verified.validators,
        "sentence": verified.sentence(show_time(verified.no_later_than)),
    }


def _plain(value: Value) -> object:
    """Return an opened field's value as JSON can say it: bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _describe(verified: Verified) -> list[str]:
    names = ", ".join(f"{each.name} ({each.jurisdiction})" for each in verified.finalized_by)
    counted = f"{len(verified.finalized_by)} of {verified.validators} validators, {verified.quorum} needed"
    author = f"{verified.author} ({verified.author_jurisdiction}), entry {verified.number}, block {verified.block}"
    by_author, by_validators = show_time(verified.author_time // 1_000), show_time(verified.no_later_than)
    lines = [
        "VERIFIED",
        f"  author        {author}",
        f"  stated        no later than {by_validators}; at {by_author} by the author's own clock",
        f"  log           {verified.origin}, leaf {verified.index} of {verified.size}",
        f"  finalized by  {names}: {counted}",
    ]
    if verified.statement is not None:
        lines.append(f"  statement     {to_json(verified.statement)}")
    if verified.field is not None:
        lines.append(f"  field         {verified.field[0]} = {_plain(verified.field[1])}")
    return [*lines, verified.sentence(show_time(verified.no_later_than))]


def show_time(seconds: int) -> str:
    """Return a time as people read it (RFC 3339, UTC); as a number where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s since 1970"
