"""Members of predicates as words on a command line: which can be said in one, and what a word says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from glasslog.predicates.schema import BoolKind, ChoiceKind, Kind, ListKind, Member, RecordKind, TextKind, UintKind
from glasslog.predicates.values import Commitment, Organisation, Resource
from glasslog_lab.errors import ArtifactError
from glasslog_lab.evidence import digest_file

_DIGEST = re.compile(r"(?:(?P<name>.+)=)?(?P<algorithm>[A-Za-z][A-Za-z0-9]*):(?P<digest>[0-9a-f]{32,})")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[!-~]+")


def is_sayable(kind: Kind) -> bool:
    """Whether a member can be an option: a word, a number, a resource by digest, an organisation by name."""
    if isinstance(kind, ListKind):
        return is_sayable(kind.item)
    if isinstance(kind, RecordKind):
        return kind.record in (Resource, Commitment, Organisation)
    return isinstance(kind, TextKind | ChoiceKind | UintKind | BoolKind)


def say(member: Member, given: Any) -> object:  # noqa: ANN401 - text, a list of it, or a truth: what Typer made of it
    """Return the JSON value that an option's text says.

    Raises:
        ArtifactError: ATTEST-02, it says none.
    """
    if isinstance(member.kind, ListKind):
        return [_say_one(member, member.kind.item, one) for one in given]
    return _say_one(member, member.kind, given)


def _say_one(member: Member, kind: Kind, given: Any) -> object:  # noqa: ANN401 - as ``say``
    if isinstance(kind, UintKind):
        if not (given.isascii() and given.isdigit() and len(given) < 20):
            raise ArtifactError("ATTEST-02", f"{member.name} is not a whole number: {given[:60]!r}", f"{member.doc}")
        return int(given)
    if isinstance(kind, RecordKind):
        if kind.record is Organisation:
            return {"name": given}
        named = say_resource(given)
        if kind.record is Commitment:
            if "digest" not in named:
                raise ArtifactError("ATTEST-02", f"{member.name} is no digest: {given[:60]!r}", "give ALGORITHM:HEX")
            return {"digest": named["digest"]}
        return named
    return given


def say_resource(text: str) -> dict[str, object]:
    """Return a resource: ``NAME=ALGORITHM:HEX``, ``ALGORITHM:HEX``, a file, which is digested, a URI, or a name.

    Raises:
        ArtifactError: ATTEST-02 a path where no file is; FILE-01 it cannot be read.
    """
    if found := _DIGEST.fullmatch(text):
        digest: dict[str, object] = {"digest": {found["algorithm"]: found["digest"]}}
        return digest if found["name"] is None else {"name": found["name"], **digest}
    path = Path(text)
    if path.is_file():
        return {"name": path.name, "digest": {"sha256": digest_file(path)}}
    if text.startswith(("/", "./", "../")) or path.is_dir():
        raise ArtifactError("ATTEST-02", f"{text} is no file", "give a file, NAME=sha256:HEX, a URI or a name")
    return {"uri": text} if _URI.fullmatch(text) else {"name": text}
