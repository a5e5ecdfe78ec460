"""Facts files, subjects, and the statement that comes of them; every refusal names the member, its rule, an example."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from glasslog.errors import DecodeError, ProtocolError
from glasslog.predicates.base import Predicate, Subject, list_subjects
from glasslog.predicates.schema import Member, list_members
from glasslog.predicates.vocabulary import list_misspelt
from glasslog.statement import JSON_BYTES_MAX, STATEMENT_TYPE, Statement, from_json
from glasslog_lab.cli.facts_template import describe_kind, show_example
from glasslog_lab.cli.facts_words import say_resource
from glasslog_lab.errors import ArtifactError

_MEMBER = re.compile(r"predicate\.([A-Za-z0-9]+)")


def read_facts(path: Path) -> dict[str, Any]:
    """Return the members in a TOML or JSON file; TOML's own dates and times become text.

    Raises:
        ArtifactError: ATTEST-01, it cannot be read or is neither.
    """
    text = _read(path)
    try:
        value: object = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        if not isinstance(value, dict):
            raise ArtifactError("ATTEST-01", f"{path} holds no object", "see --template")
        return {name: _plain(item) for name, item in cast("dict[str, object]", value).items()}
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        fact = f"{path} is not {kind}: {str(error)[:200] or type(error).__name__}"
        raise ArtifactError("ATTEST-01", fact, "correct it; --template prints one to start from") from error


def read_subjects(words: Sequence[str], statements: Sequence[Path]) -> list[Subject]:
    """Return what a statement is about: resources with a digest, and the subjects of other statements.

    Raises:
        ArtifactError: ATTEST-01 to ATTEST-03.
    """
    found = list[Subject]()
    for word in words:
        named = say_resource(word)
        digest = cast("dict[str, str] | None", named.get("digest"))
        if digest is None:
            fact = f"the subject {word[:80]!r} is neither a digest nor a file"
            raise ArtifactError("ATTEST-03", fact, "give NAME=sha256:HEX or a file")
        subject = {"name": named.get("name", "unnamed"), "digest": digest}
        bare = {"_type": STATEMENT_TYPE, "subject": [subject], "predicateType": "urn:glasslog:none"}
        found.extend(list_subjects(from_json(json.dumps(bare))))
    for path in statements:
        try:
            found.extend(list_subjects(from_json(_read(path))))
        except ProtocolError as error:
            fact = f"{path} is no statement: {error.code} {error.fact}"
            raise ArtifactError("ATTEST-03", fact, "give what `glasslog attest` wrote with -o FILE.json") from error
    return found


def state(predicate: type[Predicate], subjects: Sequence[Subject], facts: dict[str, Any]) -> Statement:
    """Return the statement that says these facts about the subjects.

    Raises:
        ArtifactError: ATTEST-03 no subject, ATTEST-04 a member that the predicate has not, PRED-nn and STMT-nn.
    """
    if not subjects:
        raise ArtifactError("ATTEST-03", "no subject is given", f"add --subject. {predicate.SUBJECTS}".rstrip("."))
    subject: list[object] = [{"name": "any", "digest": {"sha256": "00"}}]
    whole = {"_type": STATEMENT_TYPE, "subject": subject, "predicateType": predicate.type_uri(), "predicate": facts}
    try:
        raw = from_json(json.dumps(whole, ensure_ascii=False))
        if unknown := list_misspelt(raw):
            raise _misspelt(predicate, unknown[0])
        return predicate.read(raw).statement(*subjects)
    except DecodeError as error:
        raise ArtifactError(error.code, error.fact, _advise(predicate, error.fact)) from error
    except (TypeError, ValueError) as error:
        raise ArtifactError("ATTEST-01", f"the facts are not JSON's: {error}", "see --template") from error


def _misspelt(predicate: type[Predicate], name: str) -> ArtifactError:
    last = name.rpartition(".")[2]
    near = get_close_matches(last, [member.name for member in list_members(predicate)], 1)
    step = f"write {near[0]}" if near and "." not in name else "see --template for the members there are"
    shown = name[:80] if name.isprintable() else ascii(name)[:80]
    return ArtifactError("ATTEST-04", f"{predicate.NAME} has no member {shown}", step)


def _advise(predicate: type[Predicate], fact: str) -> str:
    """Return what to do about a member that is missing or wrong: its rule and an example."""
    found = _MEMBER.search(fact)
    for member in list_members(predicate):
        if found is not None and member.name == found[1]:
            return _advise_on(member)
    return "see --template"


def _advise_on(member: Member) -> str:
    return (
        f"{member.doc.rstrip('.')} ({describe_kind(member.kind)}), such as {member.name} = {show_example(member.kind)}"
    )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(JSON_BYTES_MAX + 1)
        if len(data) > JSON_BYTES_MAX:
            raise ArtifactError("ATTEST-01", f"{path} has over {JSON_BYTES_MAX} bytes", "check the path")
        return data.decode("utf-8-sig")
    except OSError as error:
        fact = f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
        raise ArtifactError("ATTEST-01", fact, "check the path") from error
    except UnicodeDecodeError as error:
        raise ArtifactError("ATTEST-01", f"{path} is not UTF-8", "save it as UTF-8") from error


def _plain(value: object) -> object:
    """Return a value with TOML's dates and times as RFC 3339 text."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[object]", value)]
    return value
