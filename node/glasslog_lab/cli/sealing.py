"""Secrecy from the command line: seal, open, disclose, erase, escrow, the clock (specs/secrecy.md)."""

from __future__ import annotations

import json as json_text
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from glasslog.bundle.disclosure import disclosure_statement
from glasslog.bundle.envelope import ENVELOPE_BYTES_MAX, Reader, ReaderKey
from glasslog.bundle.form import BUNDLE_BYTES_MAX
from glasslog.bundle.verifying import read_policy
from glasslog.policy import POLICY_BYTES_MAX
from glasslog.statement import JSON_BYTES_MAX, from_json, to_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.sealing import private_files
from glasslog_lab.sealing.envelopes import (
    disclose as make_disclosure,
)
from glasslog_lab.sealing.envelopes import (
    join_secret,
    new_reader_key,
    open_disclosure,
    open_share,
    split_secret,
)
from glasslog_lab.sealing.refusals import refusing
from glasslog_lab.sealing.seal_clock import PERIOD_SECONDS, queue_item, tick
from glasslog_lab.sealing.show_public import show_public
from glasslog_lab.sealing.vault import Vault, write_openings

VAULT_HELP = "The vault's folder."
_VAULT_LABEL = "vault"
VaultPath = Annotated[Path, typer.Option(help=VAULT_HELP)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def new_vault(vault: Annotated[Path, typer.Argument(help="A folder that is not there yet.")]) -> None:
    """Make an empty vault."""
    Vault.create(vault)
    typer.echo(f"{vault}: an empty vault. Next: glasslog escrow split, so that its key is not lost")


def list_vault(vault: Annotated[Path, typer.Argument(help=VAULT_HELP)]) -> None:
    """List what a vault can open, and what was erased."""
    opened = Vault.open(vault)
    for name in opened.names():
        typer.echo(f"{name} {opened.read(name).form}")
    for name, at in opened.erased().items():
        typer.echo(f"{name} erased {at}")


def seal(
    statement: Annotated[Path, typer.Argument(help="One in-toto statement, JSON.")],
    vault: VaultPath,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The item for the node: FILE.sealed.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="To be opened whole or not at all.")] = False,
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to seal-clock: one entry per period.")] = False,
    public: Annotated[bool, typer.Option("--show-public", help="Print what others will see, and stop.")] = False,
    author: Annotated[str, typer.Option(help="With --show-public: your member name.")] = "author",
    json: Json = False,
) -> None:
    """Seal a statement: content and salts go into the vault, 69 bytes go to the node."""
    with refusing():
        value = from_json(_read(statement, JSON_BYTES_MAX))
    if public:
        typer.echo(show_public([bytes.fromhex("825820") + bytes(66)], author))
        return
    if queue == (output is not None):
        raise ArtifactError("SEAL-29", "either -o or --queue", "name a file for the item, or leave it to the clock")
    opened = Vault.open(vault)
    name, item = opened.keep(value, whole=whole)
    if output is None:
        queue_item(opened, item)
    else:
        private_files.write(output, item)
    if json:
        typer.echo(json_text.dumps({"id": name, "item": None if output is None else str(output)}))
    else:
        step = "glasslog seal-clock" if output is None else f"glasslog submit {output} --key seal-{name}"
        typer.echo(f"sealed as {name}. Next: {step}")


def opening(
    entry: Annotated[str, typer.Argument(metavar="ID", help="What `seal` printed.")],
    vault: VaultPath,
    field: Annotated[list[str] | None, typer.Option(help="A field to open; all where none is named.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where; without it the names are listed.")
    ] = None,
) -> None:
    """Write what opens an entry, for `glasslog prove --opening`; without -o list its fields."""
    kept = Vault.open(vault).read(entry)
    if output is None:
        fields = getattr(kept.content, "fields", {})
        typer.echo("\n".join(fields) if fields else "sealed whole: it has no fields to open alone")
        return
    write_openings(output, kept.openings(field))
    typer.echo(f"{output}: whoever has it can read what it opens. Next: glasslog prove ENTRY --opening {output}")


def disclose(
    entry: Annotated[str, typer.Argument(metavar="ID", help="What `seal` printed.")],
    vault: VaultPath,
    bundle: Annotated[Path, typer.Option(help="The entry's bundle: glasslog prove.")],
    to: Annotated[Path, typer.Option(help="The auditor's public key.")],
    output: Output,
    receipt: Annotated[Path, typer.Option(help="Where to write the statement that says so, to be sealed.")],
    field: Annotated[list[str] | None, typer.Option(help="A field to open; all where none is named.")] = None,
) -> None:
    """Encrypt an entry's openings and bundle to one auditor, and write the statement that records it."""
    from glasslog.bundle.form import Bundle
    from glasslog.entry import read_prefix

    with refusing():
        reader = Reader.parse(_read_text(to))
    data = _read(bundle, BUNDLE_BYTES_MAX)
    made = make_disclosure(data, Vault.open(vault).read(entry).openings(field), reader)
    with refusing():
        leaf = Bundle.decode(data).entry
        _, author, number = read_prefix(leaf)
        said = disclosure_statement(made, author=author, number=number, entry=leaf, opened=field or [], at=_now())
    private_files.write(receipt, to_json(said).encode())
    private_files.write(output, made)
    print_key = reader.fingerprint.hex()[:16]
    typer.echo(f"{output}: for {reader.name} ({print_key}) only. Next: glasslog seal {receipt} --vault {vault}")


def open_file(
    file: Annotated[Path, typer.Argument(help="A disclosure, as `disclose` writes it.")],
    key: Annotated[Path, typer.Option(help="Your private key.")],
    policy: Annotated[Path, typer.Option(help="The policy: whose signatures you trust.")],
    json: Json = False,
) -> None:
    """Decrypt a disclosure, verify all of it, and print what it opens."""
    disclosed = open_disclosure(_read(file, ENVELOPE_BYTES_MAX), _read_key(key))
    with refusing():
        verified, opened = disclosed.verify(read_policy(_read(policy, POLICY_BYTES_MAX)))
        statement = None if opened.statement is None else to_json(opened.statement)
    if json:
        value: dict[str, object] = {
            "author": verified.author, "entry": verified.number, "index": verified.index, "count": opened.count,
            "fields": {name: item.hex() if isinstance(item, bytes) else item for name, item in opened.fields.items()},
            "statement": None if statement is None else json_text.loads(statement),
        }  # fmt: skip
        typer.echo(json_text.dumps(value))
        return
    typer.echo(f"VERIFIED sealed entry {verified.number} of {verified.author}, leaf {verified.index}")
    typer.echo(opened.render())
    if statement is not None:
        typer.echo(statement)


def erase(
    entry: Annotated[str, typer.Argument(metavar="ID", help="What `seal` printed.")],
    vault: VaultPath,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: nothing brings it back.")] = False,
) -> None:
    """Destroy an entry's key and content. Its commitment stays in the ledger and proves nothing any more."""
    if not yes:
        raise ArtifactError("SEAL-29", "erasing cannot be undone", "add --yes")
    Vault.open(vault).erase(entry, at=_now())
    typer.echo(f"{entry} erased. Openings handed out before, and shares of its key in escrow, are not in our hands")


def reader_key(
    name: Annotated[str, typer.Argument(help="The reader's name: an auditor's or a custodian's.")],
    output: Output,
) -> None:
    """Make the key pair of an auditor or custodian: OUTPUT is private, OUTPUT.pub goes to labs."""
    key = new_reader_key(name)
    private_files.write(output, key.format().encode())
    private_files.write(output.with_name(output.name + ".pub"), key.public.format().encode())
    typer.echo(f"{output}.pub: fingerprint {key.public.fingerprint.hex()}. Next: tell it to the labs by another way")


def escrow_split(
    vault: VaultPath,
    needed: Annotated[int, typer.Option(help="How many shares are enough.")],
    to: Annotated[list[Path], typer.Option(help="A custodian's public key; once for each.")],
    folder: Annotated[Path, typer.Option(help="Where to write the envelopes.")],
    entry: Annotated[str | None, typer.Option(help="One entry's key instead of the vault's.")] = None,
) -> None:
    """Split a key among custodians: any --needed of them can give it back, fewer learn nothing."""
    opened = Vault.open(vault)
    with refusing():
        readers = [Reader.parse(_read_text(path)) for path in to]
    secret = opened.key if entry is None else opened.read_key(entry)
    private_files.make_folder(folder)
    for reader, envelope in zip(readers, split_secret(secret, entry or _VAULT_LABEL, needed, readers), strict=True):
        private_files.write(folder / f"{reader.name}.share", envelope)
    typer.echo(f"{folder}: {len(readers)} envelopes, {needed} needed. Next: give each to its custodian")


def escrow_open(
    file: Annotated[Path, typer.Argument(help="The envelope you were given.")],
    key: Annotated[Path, typer.Option(help="Your private key.")],
    output: Output,
) -> None:
    """Take a custodian's share out of its envelope."""
    private_files.write(output, open_share(_read(file, ENVELOPE_BYTES_MAX), _read_key(key)))
    typer.echo(f"{output}: give it to whoever joins the shares, and to nobody else")


def escrow_join(
    shares: Annotated[list[Path], typer.Argument(help="Opened shares.")],
    vault: VaultPath,
) -> None:
    """Join shares and put the key back where it belongs."""
    label, secret = join_secret([_read(path, 1 << 20) for path in shares])
    if label == _VAULT_LABEL:
        Vault.restore(vault, secret)
    else:
        Vault.open(vault).restore_key(label, secret)
    typer.echo(f"{vault}: the key of {label} is back")


def seal_clock(
    vault: VaultPath,
    outbox: Annotated[Path, typer.Option(help="Where the period's item goes, to be submitted at once.")],
    period: Annotated[int, typer.Option(help="Seconds.", min=60)] = PERIOD_SECONDS,
) -> None:
    """Seal the period's one entry, run or no run. Call it from a timer, a fixed time after each period begins."""
    private_files.make_folder(outbox)

    def send(item: bytes, key: str) -> None:
        private_files.write(outbox / f"{key}.sealed", item, replace=True)

    move = tick(Vault.open(vault), int(time.time()), send, period_seconds=period)
    typer.echo(move.value)


def _read(path: Path, size_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(size_max + 1)
    except OSError as error:
        fact = f"{path}: {(error.strerror or str(error)).lower()}"
        raise ArtifactError("SEAL-24", fact, "check the path") from error
    if len(data) > size_max:
        raise ArtifactError("SEAL-24", f"{path} has over {size_max} bytes", "check the path")
    return data


def _read_text(path: Path) -> str:
    return _read(path, 65_536).decode("utf-8", "replace")


def _read_key(path: Path) -> ReaderKey:
    data = private_files.read(path, 65_536)
    if data is None:
        raise ArtifactError("SEAL-24", f"{path}: no such file", "check the path")
    with refusing():
        return ReaderKey.parse(data.decode("utf-8", "replace"))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
