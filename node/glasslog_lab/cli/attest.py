"""``glasslog attest evaluation`` and the like: each command is made from its predicate's own declaration.

``state_training_run`` is the command of ``training-run``: one option for every member that a word can say, a facts
file for the others, ``--template`` to print one with what each member means. No list of members stands here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from glasslog.predicates.base import Predicate
from glasslog.predicates.schema import BoolKind, Kind, ListKind, Member, RecordKind, list_members
from glasslog.predicates.vocabulary import PREDICATES
from glasslog_lab.cli import emit
from glasslog_lab.cli.facts import read_facts, read_subjects, state
from glasslog_lab.cli.facts_template import describe_kind, print_template
from glasslog_lab.cli.facts_words import is_sayable, say

_PREFIX = "state_"
_DESTINATION: Mapping[str, tuple[Any, object]] = {
    "show_public": (emit.ShowPublic, False),
    "as_json": (emit.AsJson, False),
    "output": (emit.Output, None),
    "spool": (emit.SpoolFolder, None),
    "node": (emit.NodeAddress, None),
    "wait": (emit.Wait, False),
    "token_file": (emit.TokenFile, None),
    "author": (emit.AuthorName, None),
}
_OWN: Mapping[str, tuple[Any, object]] = {
    "subject": (
        Annotated[
            list[str] | None,
            typer.Option(help="What it is about: NAME=sha256:HEX, or a file to be digested; again for more."),
        ],
        None,
    ),
    "about": (
        Annotated[list[Path] | None, typer.Option(help="A statement (JSON) whose subjects this one is about too.")],
        None,
    ),
    "facts": (Annotated[Path | None, typer.Option(help="Members from a file: TOML or JSON.")], None),
    "template": (Annotated[bool, typer.Option("--template", help="Print such a file, explained, and stop.")], False),
}


def __getattr__(name: str) -> Callable[..., None]:
    """Return the command of a predicate: ``state_`` and its name with underscores."""
    for predicate in PREDICATES:
        if name == _PREFIX + predicate.NAME.replace("-", "_"):
            return make_command(predicate)
    raise AttributeError(name)


def make_command(predicate: type[Predicate]) -> Callable[..., None]:
    """Return the function that Typer makes the predicate's command from."""
    said = {member.field: member for member in list_members(predicate) if is_sayable(member.kind)}

    def command(**options: Any) -> None:  # noqa: ANN401 - the signature below says what
        if options["template"]:
            typer.echo(print_template(predicate), nl=False)
            return
        facts = {} if options["facts"] is None else read_facts(options["facts"])
        for field, member in said.items():
            given = options[f"member_{field}"]
            if given not in (None, []):
                facts[member.name] = say(member, given)
        subjects = read_subjects(options["subject"] or [], options["about"] or [])
        destination = emit.Destination(**{name: options[name] for name in _DESTINATION})
        emit.emit([state(predicate, subjects, facts)], destination)

    parameters = [
        *(_parameter(name, *one) for name, one in _OWN.items()),
        *(_parameter(f"member_{field}", _option(member), None) for field, member in said.items()),
        *(_parameter(name, *one) for name, one in _DESTINATION.items()),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__doc__ = _describe(predicate)
    return command


def _parameter(name: str, annotation: Any, default: object) -> inspect.Parameter:  # noqa: ANN401 - any annotation
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option(member: Member) -> Any:  # noqa: ANN401 - an annotation
    name = "--" + member.field.replace("_", "-")
    several = isinstance(member.kind, ListKind)
    kind: Kind = member.kind.item if isinstance(member.kind, ListKind) else member.kind
    form = "; again for more" if several else ""
    text = f"{member.doc} ({describe_kind(kind)}{form})" + (" [needed]" if member.required else "")
    if isinstance(kind, BoolKind):
        return Annotated[bool | None, typer.Option(f"{name}/--no-{name[2:]}", help=text)]
    metavar = "RESOURCE" if isinstance(kind, RecordKind) else "TEXT"
    option = typer.Option(name, help=text, metavar=metavar)
    return Annotated[list[str] | None, option] if several else Annotated[str | None, option]


def _describe(predicate: type[Predicate]) -> str:
    shows = f"Shows: {predicate.SHOWS}\n\nDoes not show: {predicate.DOES_NOT_SHOW}\n\nSubjects: {predicate.SUBJECTS}"
    first = (predicate.__doc__ or predicate.NAME).strip().split("\n", maxsplit=1)[0]
    return f"State: {first}\n\n{shows}"
