"""``glasslog demo``: watch a lab train a model and a network log it; with ``--tamper``, see six lies caught."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import trio
import typer

from glasslog_node.cli.output import print_error, print_json, print_line
from glasslog_node.demo.lies import Lie, tell_all
from glasslog_node.demo.model import check_model
from glasslog_node.demo.scene import Scene, Story, found, play
from glasslog_node.demo.screen import Screen, Tell, is_terminal
from glasslog_node.errors import ConfigError
from glasslog_node.fleet import open_fleet

EXIT_NOT_HELD = 1


def command(
    model: Annotated[Path | None, typer.Option(help="Train nothing; attest this file or folder of your own.")] = None,
    validators: Annotated[int, typer.Option(min=4, max=32, help="Validators, each in another jurisdiction.")] = 4,
    once: Annotated[bool, typer.Option("--once", help="End after the checks; status 0 only if all held.")] = False,
    tamper: Annotated[bool, typer.Option("--tamper", help="Then tell six lies, and end.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Where to keep the files; a new folder. [default: made up]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; implies --once.")] = False,
) -> None:
    """Watch a lab train a small model, every update logged by a network of validators; follow it back and audit all."""
    chosen = check_model(model)
    folder = _folder(keep)
    tell = print_error if as_json else print_line
    screen = Screen(tell, live=not as_json and is_terminal())
    lies, scene = trio.run(_run, chosen, validators, folder, tamper, once or tamper or as_json, screen)
    held = scene.held and all(lie.caught for lie in lies)
    if as_json:
        value = scene.to_value()
        if tamper:
            value["lies"] = [lie.to_value() for lie in lies]
        print_json(value)
    if not held:
        sys.exit(EXIT_NOT_HELD)


def _folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="glasslog-demo-"))
    if keep.exists():
        raise ConfigError("DEMO-07", f"{keep} exists already", "name a folder that does not exist yet")
    keep.mkdir(parents=True)
    return keep


async def _run(
    model: Path | None, validators: int, folder: Path, tamper: bool, ends: bool, screen: Screen
) -> tuple[list[Lie], Scene]:
    tell = screen.tell
    testnet = found(folder / "network", validators)
    tell(f"starting {validators} validators and a lab as processes on this machine, in {folder}")
    async with open_fleet(testnet) as fleet:
        scene = await play(fleet, model, folder, screen)
        if scene.story is not None:
            _show_lineage(scene.story, tell)
        _show(scene, tell)
        lies: list[Lie] = []
        if tamper:
            lies = await tell_all(fleet, scene, folder)
            tell("")
            tell(f"{len(lies)} lies:")
            for number, lie in enumerate(lies, 1):
                tell(f"{number}. {lie.told}")
                tell(f"   {f'caught: {lie.code} {lie.name}' if lie.caught else f'NOT CAUGHT: {lie.name}'}. {lie.says}")
        if not ends:
            _invite(scene, tell)
            await trio.sleep_forever()
    return lies, scene


def _show_lineage(story: Story, tell: Tell) -> None:
    lineage = story.lineage
    width = shutil.get_terminal_size().columns
    tell("")
    tell(
        f"where {story.trained.weights.name} comes from, by its SHA-256 {lineage.file[:16]}…, as {story.holder} has it:"
    )
    for link in lineage.links:
        head = f"  {link.index:3}  {link.kind:12}  "
        line = f"{head}{link.says}; {link.shows}"
        if len(line) <= width:
            tell(line)
        else:
            tell(head + link.says)
            tell(" " * len(head) + link.shows)
    tell(f"  all {lineage.verified} bundles verify offline")
    tell(
        f"  steps 1 to {lineage.steps} in {lineage.segments} segments, head by head, down to the weights of the file: "
        "every update committed, 0 gaps"
    )


def _show(scene: Scene, tell: Tell) -> None:
    tell("")
    for standing in scene.validators:
        tell(
            f"{standing.name:28} {standing.jurisdiction}  height {standing.height}  size {standing.size}  "
            f"root {standing.root[:16]}…"
        )
    for audit in scene.audits:
        tell(f"audit of {Path(audit.path).parent.name}: {audit.verdict}")
    tell(f"bundle: {scene.bundle}")
    tell(f"policy: {scene.testnet.policy_path}")


def _invite(scene: Scene, tell: Tell) -> None:
    lab = scene.testnet.labs[0]
    tell("")
    tell("The network goes on until Ctrl-C. Try, in another terminal:")
    tell(f"  glasslog status --config {lab.config_path}")
    tell(f"  glasslog verify {scene.bundle} --policy {scene.testnet.policy_path}")
    tell(f"  glasslog audit http://{scene.testnet.validators[0].config.http.bind} --policy {scene.testnet.policy_path}")
