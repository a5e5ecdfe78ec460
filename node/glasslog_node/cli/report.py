"""``glasslog report``: what an audit came to, as a document; made again from its bundle; signed and verified."""

from __future__ import annotations

import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from glasslog.audit import Source, audit
from glasslog.audit.claims import Claims, judge_claims
from glasslog.audit.reporting import Order, ReportDocument, build_report, make_statement
from glasslog.bundle import read_policy
from glasslog.errors import ProtocolError
from glasslog.policy import NEXT_STEPS, POLICY_BYTES_MAX
from glasslog.statement import to_json
from glasslog_node.cli.output import EXIT_BROKEN, print_json, print_line
from glasslog_node.cli.verify import read_file, show_time
from glasslog_node.errors import ConfigError, OperatingError
from glasslog_node.reporting.bundle import REPLY_BYTES_MAX, REPORT_BYTES_MAX, TEXT_MAX, add_report, write_bundle
from glasslog_node.reporting.bundle import open_bundle as open_report_bundle
from glasslog_node.reporting.published_log import PublishedLog
from glasslog_node.reporting.signature import (
    SIGNATURE_BYTES_MAX,
    ExaminerKeys,
    make_examiner_keys,
    read_examiner_keys,
    verify_signature,
)
from glasslog_node.reporting.software import measure_software
from glasslog_node.sources import open_source

EXIT_DIFFERS = 3  # the report could be made again, and is not byte for byte the one before
_HELP = "see glasslog report --help"


class Format(StrEnum):
    """What a report is written as."""

    HTML = "html"
    PDF = "pdf"
    JSON = "json"


def command(  # noqa: PLR0913, PLR0917 - Typer passes by name; a report states where every part of it came from
    target: Annotated[
        str | None, typer.Argument(metavar="PATH|URL", help="A replica, a folder of tiles, a URL.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="The policy: whose signatures you trust.")] = None,
    policy_source: Annotated[str | None, typer.Option(metavar="TEXT", help="How you obtained the policy.")] = None,
    question: Annotated[str | None, typer.Option(metavar="TEXT", help="What was asked.")] = None,
    scope: Annotated[str, typer.Option(metavar="TEXT", help="What was looked at, and what not.")] = "",
    model: Annotated[str | None, typer.Option(metavar="ROOT", help="A model's content root, to report on it.")] = None,
    examiner: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Who examines; repeat for more.")] = None,
    reply: Annotated[
        Path | None, typer.Option(help="What the other side says to it: a text file, enclosed whole.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.HTML,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write it.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Write too what anybody makes the same report from.")] = None,
    statement: Annotated[Path | None, typer.Option(help="Write too a statement for `glasslog submit`.")] = None,
    sign_key: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Sign it with the keys in this folder.")
    ] = None,
    new_keys: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Make examiner's keys, and end.")] = None,
    replay: Annotated[Path | None, typer.Option(metavar="BUNDLE", help="Make the report of a bundle again.")] = None,
    verify: Annotated[Path | None, typer.Option(metavar="FILE", help="Verify FILE.sig over a report as JSON.")] = None,
    key: Annotated[
        list[str] | None, typer.Option(metavar="SHA256", help="With --verify: a key that has to have signed.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a report of a replica. Status: that of the audit; with --replay, 3 where it comes out otherwise."""
    if new_keys is not None:
        _print_keys(make_examiner_keys(new_keys), json=json)
        return
    if verify is not None:
        _verify(verify, key or [], json=json)
        return
    keys = None if sign_key is None else read_examiner_keys(sign_key)
    if replay is not None:
        document, before = _replay(replay)
    else:
        if target is None or policy is None or policy_source is None or question is None:
            fact = "a report needs a replica, --policy, --policy-source and --question"
            raise ConfigError("REPORT-01", fact, _HELP)
        order = _take_order(policy, policy_source, question, scope, model, examiner, reply, keys)
        document, before = _make(target, order, bundle), None
    signature = None if keys is None else keys.sign(document.to_json())
    _write(document, form, output, signature, statement)
    again = None if before is None else before == document.to_json()
    _tell(document, output, again, json=json)
    status = {"intact": 0, "broken": 1, "unable": 3}[document.verdicts.ledger]
    raise typer.Exit(EXIT_DIFFERS if again is False else status)


# --- making -----------------------------------------------------------------------------------------


def _take_order(
    policy: Path,
    policy_source: str,
    question: str,
    scope: str,
    model: str | None,
    examiner: list[str] | None,
    reply: Path | None,
    keys: ExaminerKeys | None,
) -> Order:
    for text in (policy_source, question, scope, *(examiner or ())):
        if len(text) > TEXT_MAX or not _is_unicode(text):
            fact = f"a text given is not Unicode, or has more than {TEXT_MAX} characters"
            raise ConfigError("REPORT-01", fact, "shorten or correct it")
    if len(examiner or ()) > 16:
        raise ConfigError("REPORT-01", "more than 16 examiners", "name their organisation")
    said = None if reply is None else read_file(reply, REPLY_BYTES_MAX)
    if said is not None and (len(said) > REPLY_BYTES_MAX or not _is_utf8(said)):
        fact = f"{reply} is not a UTF-8 text of at most {REPLY_BYTES_MAX} bytes"
        raise ConfigError("REPORT-01", fact, "enclose a text, and keep other files beside the report")
    data = read_file(policy, POLICY_BYTES_MAX)
    try:
        read_policy(data).bft()
    except ProtocolError as error:
        raise ConfigError(error.code, f"{policy}: {error.fact}", NEXT_STEPS[error.code]) from error
    return Order(
        question=question,
        scope=scope or "the whole log at this size; nothing outside it",
        policy=data,
        policy_source=policy_source,
        model=None if model is None else _read_root(model),
        examiners=tuple(examiner or ()),
        keys=() if keys is None else keys.public,
        finished=show_time(int(time.time())),
        software=measure_software(),
        reply=said,
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_root(text: str) -> bytes:
    try:
        root = bytes.fromhex(text.rpartition(":")[2])
    except ValueError:
        root = b""
    if len(root) != 32:
        fact = f"{text[:80]!r} is no content root, which is 64 hexadecimal digits"
        raise ConfigError("REPORT-01", fact, "`glasslog attest model FILE` shows a file's, as glasslogTensorsV1")
    return root


def _make(target: str, order: Order, bundle: Path | None) -> ReportDocument:
    with open_source(target) as source:
        if bundle is None:
            return examine(PublishedLog(source), order)
        with _create(bundle) as file:
            write_bundle(file, order, source)
    # From the bundle and not from the replica: what is handed on is what was looked at.
    with open_report_bundle(bundle) as opened:
        document = examine(opened.log, opened.order)
    with bundle.open("r+b") as file:
        add_report(file, document.to_json())
    return document


def examine(log: Source, order: Order) -> ReportDocument:
    """Audit a published log under an order's policy, and return the report.

    Raises what ``log`` raises where it cannot be read.
    """
    claims = Claims()
    report = audit(log, read_policy(order.policy), listener=claims)
    return build_report(judge_claims(claims, report), order)


def _replay(path: Path) -> tuple[ReportDocument, bytes | None]:
    with open_report_bundle(path) as opened:
        try:
            read_policy(opened.order.policy).bft()
        except ProtocolError as error:
            fact = f"{path} is no report bundle: its policy is none ({error.code} {error.fact})"
            raise ConfigError("REPORT-03", fact, "get the bundle again from whoever made the report") from error
        now = measure_software()
        order = opened.order
        if order.software.digest != now.digest:
            print_line(
                f"NOTE  the report was made by software {order.software.digest[:16]}…; this is {now.digest[:16]}…"
            )
            print_line("      its JSON says so: member software differs")
            order = replace(order, software=now)
        return examine(opened.log, order), opened.report


# --- writing ----------------------------------------------------------------------------------------


def _write(
    document: ReportDocument, form: Format, output: Path | None, signature: bytes | None, statement: Path | None
) -> None:
    if output is not None:
        _save(output, _render(document, form, signature))
        if signature is not None:
            _save(output.with_name(output.name + ".sig"), signature)
    elif signature is not None:
        raise ConfigError("REPORT-01", "a signature needs a file to stand beside", "name one: -o FILE")
    if statement is not None:
        try:
            text = to_json(make_statement(document))
        except (ValueError, ProtocolError) as error:
            fact = f"no statement can be made of this report: {error}"
            raise ConfigError("REPORT-06", fact, "name an --examiner, of at most 255 characters") from error
        _save(statement, text.encode() + b"\n")


def _render(document: ReportDocument, form: Format, signature: bytes | None) -> bytes:
    try:
        match form:
            case Format.JSON:
                return document.to_json()
            case Format.HTML:
                from glasslog_node.reporting.page import render_page

                return render_page(document, signature)
            case Format.PDF:
                from glasslog_node.reporting.print import render_pdf

                return render_pdf(document, signature)
    except ModuleNotFoundError as error:
        fact = f"--format {form.value} needs {error.name}, which is not installed"
        raise ConfigError("REPORT-07", fact, "pip install 'glasslog[report]', or --format json") from error


def _create(path: Path) -> BinaryIO:
    try:
        return path.open("w+b")
    except OSError as e:
        raise _unwritable(path, e) from e


def _save(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as e:
        raise _unwritable(path, e) from e


def _unwritable(path: Path, error: OSError) -> OperatingError:
    return ConfigError(
        "REPORT-08", f"{path} cannot be written: {(error.strerror or str(error)).lower()}", "choose another"
    )


# --- telling ----------------------------------------------------------------------------------------


def _tell(document: ReportDocument, output: Path | None, again: bool | None, *, json: bool) -> None:
    digest, verdicts = document.digest.hex(), document.to_value()["verdicts"]
    if json:
        file = None if output is None else str(output)
        print_json({"report_sha256": digest, "verdicts": verdicts, "file": file, "identical": again})
        return
    for sentence in document.summary.outcome:
        print_line(sentence)
    print_line(f"report       {digest} (SHA-256 of its JSON)")
    if output is not None:
        print_line(f"written      {output}")
    if again is not None:
        print_line(
            "replay       identical, byte for byte" if again else "replay       DIFFERS from the bundle's report"
        )


def _print_keys(keys: ExaminerKeys, *, json: bool) -> None:
    if json:
        print_json({"keys": {key.algorithm: {"key": key.key, "sha256": key.fingerprint} for key in keys.public}})
        return
    for key in keys.public:
        print_line(f"{key.algorithm:<10} sha256 {key.fingerprint}")
    print_line("Next: publish these fingerprints where others would look for them; keep the folder to yourself")


def _verify(path: Path, expected: list[str], *, json: bool) -> None:
    beside = path.with_name(path.name + ".sig")
    report, signature = read_file(path, REPORT_BYTES_MAX), read_file(beside, SIGNATURE_BYTES_MAX)
    try:
        signers = verify_signature(report, signature, expected)
    except ConfigError as error:
        if error.code != "REPORT-05":
            raise
        if json:
            print_json({"verified": False, "code": error.code, "fact": error.fact})
        else:
            print_line(str(error))
        raise typer.Exit(EXIT_BROKEN) from error
    if json:
        keys = {signer.algorithm: signer.fingerprint for signer in signers}
        print_json({"verified": True, "keys": keys, "expected": bool(expected)})
    else:
        print_line(
            "VERIFIED" if expected else "VERIFIED, by keys that were compared with none you trust (--key SHA256)"
        )
        for signer in signers:
            print_line(f"  {signer.algorithm:<10} {signer.fingerprint}")
