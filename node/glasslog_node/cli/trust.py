"""``glasslog trust show``: a policy in words, to compare with what institutes publish by other means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glasslog.policy import POLICY_BYTES_MAX, Policy
from glasslog_node.cli.output import print_json, print_line
from glasslog_node.errors import ConfigError


def show(
    policy: Annotated[Path, typer.Argument(help="A policy file.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a policy's validators, jurisdictions, key fingerprints and quorum, in words."""
    bft = Policy.parse(read_policy(policy)).bft()
    validators = [
        {
            "name": member.name,
            "jurisdiction": member.jurisdiction,
            "log": cosigner.log.fingerprint,
            "ed25519": cosigner.ed25519.fingerprint,
            "mldsa44": cosigner.mldsa44.fingerprint,
        }
        for member, cosigner in zip(bft.members, bft.cosigners, strict=True)
    ]
    if json:
        value = {"origin": bft.origin, "network": bft.network, "quorum": bft.quorum, "validators": validators}
        print_json(value)
        return
    count, faulty = len(validators), len(validators) - bft.quorum
    print_line(f"Network {bft.network}, log {bft.origin}")
    print_line(f"A checkpoint is believed when {bft.quorum} of these {count} validators cosigned it,")
    print_line(f"so that up to {faulty} of them may be faulty, lying or silent.")
    for each in validators:
        print_line()
        print_line(f"  {each['name']} ({each['jurisdiction']})")
        print_line(f"    log signature  {each['log']}")
        print_line(f"    Ed25519        {each['ed25519']}")
        print_line(f"    ML-DSA-44      {each['mldsa44']}")
    print_line()
    print_line("Compare these fingerprints with what each institute publishes itself before you trust the file.")


def read_policy(path: Path) -> bytes:
    """Return a policy file's bytes.

    Raises:
        ConfigError: TRUST-01, it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(POLICY_BYTES_MAX + 1)
    except OSError as e:
        fact = f"{path}: {(e.strerror or str(e)).lower()}"
        raise ConfigError("TRUST-01", fact, "name a policy file") from e
