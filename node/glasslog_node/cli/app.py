"""The table of commands, and how one is found: by name, imported when it is called and not before.

``glasslog verify`` must start where only the base package is installed, and fast: nothing here may import trio,
libp2p, httpx or structlog. (Typer itself imports pydantic, once a command has options.) A test holds it to that.

Other packages add words through the entry-point group ``glasslog.commands``: each entry point is a table from word to
``(help, "module:function")``, or to ``(help, table)``, a group. It is looked at for ``--help`` and for words that are
not ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeAlias

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: the module that has its ``command`` function (or ``function``), and its line of help."""

    module: str
    help: str
    function: str = "command"


_CLI = "glasslog_node.cli."
TOP: Mapping[str, Entry] = {
    "demo": Entry(_CLI + "demo", "Watch a lab train a model and a network log it; with --tamper, see six lies caught."),
    "submit": Entry(_CLI + "submit", "Submit in-toto statements to your node."),
    "prove": Entry(_CLI + "prove", "Fetch the bundle that proves one entry."),
    "verify": Entry(_CLI + "verify", "Verify a bundle offline, against a policy."),
    "audit": Entry(_CLI + "audit", "Re-derive a whole replica from its leaves and signatures."),
    "compare": Entry(_CLI + "compare", "Compare replicas, mirrors or checkpoints: one history or two, and who signed."),
    "find": Entry(_CLI + "find", "Find everything a log says about weights or a digest."),
    "assess": Entry(_CLI + "assess", "Assess one model: its lineage, the rules, what is missing."),
    "lineage": Entry(_CLI + "lineage", "Show what a model comes from: text, SVG, PROV-JSON."),
    "report": Entry(_CLI + "report", "Write what an audit came to, for who has never seen a log; make it again."),
    "status": Entry(_CLI + "status", "Show where a node stands, and why it is not finalizing."),
    "backup": Entry(_CLI + "backup", "Copy a node's replica, also while it runs."),
}
GROUPS: Mapping[str, tuple[str, Mapping[str, Entry]]] = {
    "node": (
        "Run a node.",
        {
            "run": Entry(_CLI + "node", "Run one node in the foreground.", "run"),
            "serve-public": Entry(
                _CLI + "node", "Serve a node's replica read-only, in its own process.", "serve_public"
            ),
        },
    ),
    "testnet": (
        "A network on one machine, for trying things out.",
        {
            "new": Entry(_CLI + "testnet_new", "Make a network's keys, genesis, policy and configurations."),
            "up": Entry(_CLI + "testnet_up", "Run it until Ctrl-C."),
        },
    ),
    "mirror": (
        "Static copies of a log that any web server or bucket serves.",
        {
            "export": Entry(_CLI + "mirror", "Write a replica's published log as files.", "export"),
            "sync": Entry(_CLI + "mirror", "Bring a mirror up to what is published elsewhere.", "sync"),
        },
    ),
    "trust": (
        "Policies: whom you trust.",
        {"show": Entry(_CLI + "trust", "Show a policy's validators, keys and quorum, in words.", "show")},
    ),
    "bench": (
        "Measurements.",
        {"load": Entry(_CLI + "bench", "Put load on a real local network and measure it from outside.")},
    ),
}


ENTRY_POINTS = "glasslog.commands"
Words: TypeAlias = "Mapping[str, tuple[str, str | Words]]"

_WORDS = "demo testnet node submit prove verify audit compare find assess lineage report status backup mirror trust"
_ORDER = {name: place for place, name in enumerate((*_WORDS.split(), "bench"), 1)}


def _placeholder() -> None:
    """Stand in for a command in a list of commands; never called."""


def list_added() -> Words:
    """Return the words that installed packages add to ours; none of ours can be taken."""
    added: dict[str, tuple[str, str | Words]] = {}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        added |= point.load()
    return {word: entry for word, entry in added.items() if word not in TOP and word not in GROUPS}


class LazyGroup(TyperGroup):
    """A group that lists its commands from a table and imports the one that is called."""

    entries: Mapping[str, Entry] = {}
    takes_more = False

    def __init__(self, **attrs: Any) -> None:  # noqa: ANN401 - passed through to Typer as they come
        super().__init__(**attrs)
        for name, entry in self.entries.items():
            self.add_command(_as_command(name, _placeholder, entry.help), name)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - the type is Typer's private one
        """Return the commands in the order of use, groups among them; what other packages add comes last."""
        self._take_more()
        return sorted(super().list_commands(ctx), key=lambda name: (_ORDER.get(name, len(_ORDER) + 1), name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - the types are Typer's private ones
        """Return the command that ``args`` begins with, imported."""
        if args and args[0] not in self.commands:
            self._take_more()
        name, command, rest = super().resolve_command(ctx, args)
        entry = self.entries.get(name or "")
        if entry is not None:
            command = _as_command(name or "", getattr(import_module(entry.module), entry.function), entry.help)
        return name, command, rest

    def _take_more(self) -> None:
        if self.takes_more:
            self.takes_more = False
            more, groups = _split_words(list_added())
            self.entries = {**self.entries, **more}
            for name, entry in more.items():
                self.add_command(_as_command(name, _placeholder, entry.help), name)
            for name, (help_line, table) in groups.items():
                self.add_command(typer.main.get_command(_as_group(table, help_line)), name)


def _split_words(words: Words) -> tuple[dict[str, Entry], dict[str, tuple[str, Mapping[str, Entry]]]]:
    entries, groups = dict[str, Entry](), dict[str, tuple[str, Mapping[str, Entry]]]()
    for word, (help_line, what) in words.items():
        if isinstance(what, str):
            module, _, function = what.partition(":")
            entries[word] = Entry(module, help_line, function)
        else:
            groups[word] = (help_line, _split_words(what)[0])
    return entries, groups


def _as_group(table: Mapping[str, Entry], help_line: str | None = None) -> typer.Typer:
    group = typer.Typer(cls=_group_class(table), no_args_is_help=True, add_completion=False, rich_markup_mode=None)
    group.callback(help=help_line)(_placeholder)
    return group


def _as_command(name: str, function: Any, help_line: str) -> Any:  # noqa: ANN401 - any signature Typer understands
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name=name, help=function.__doc__ if function is not _placeholder else help_line)(function)
    return typer.main.get_command(single)


def _group_class(table: Mapping[str, Entry], *, takes_more: bool = False) -> type[LazyGroup]:
    return type("LazyGroup", (LazyGroup,), {"entries": table, "takes_more": takes_more})


def build_app() -> typer.Typer:
    """Return the whole command line."""
    app = typer.Typer(
        cls=_group_class(TOP, takes_more=True),
        help="A shared, append-only audit log for AI provenance.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_placeholder)
    for name, (help_line, table) in GROUPS.items():
        app.add_typer(_as_group(table), name=name, help=help_line)
    return app
