"""The demonstration's first act: a network comes up, a lab trains and attests a model, everybody checks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import trio

from glasslog_node.demo.commands import Answer, glasslog, run
from glasslog_node.demo.lineage import Lineage, follow
from glasslog_node.demo.screen import Screen
from glasslog_node.demo.submitting import PATIENCE_SECONDS, Published, submit
from glasslog_node.demo.training import Trained, replay, train
from glasslog_node.errors import OperatingError
from glasslog_node.fleet import Fleet, open_client
from glasslog_node.testnet import Testnet, new_testnet

REPLAYED_SEGMENTS = 2


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one replica stands at the end."""

    name: str
    jurisdiction: str
    height: int
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Audit:
    """One replica, audited."""

    path: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Story:
    """A training, from its data to its release, and what the ledger says of it."""

    trained: Trained
    replayed: str
    holder: str  # whose replica was asked
    lineage: Lineage
    released: Published

    def to_value(self) -> dict[str, object]:
        """Return the story as JSON."""
        return {
            "training": self.trained.to_value(), "replay": self.replayed, "lineage": self.lineage.to_value(),
        }  # fmt: skip


@dataclass(slots=True)
class Scene:
    """What the first act leaves behind."""

    testnet: Testnet
    model: Path
    bundle: Path
    index: int
    checkpoint: int
    seconds: float
    validators: list[Standing]
    verified: Answer
    audits: list[Audit]
    story: Story | None  # None where a model of the user's own was attested

    @property
    def held(self) -> bool:
        """Whether everything that was to be shown was shown."""
        equal = len({(standing.size, standing.root) for standing in self.validators}) == 1
        told = self.story is None or self.story.replayed == "exact"
        return equal and told and self.verified.status == 0 and all(audit.verdict == "intact" for audit in self.audits)

    def to_value(self) -> dict[str, object]:
        """Return the scene as the JSON object that ``demo --json`` prints."""
        return {
            "finalized": self.checkpoint >= self.index,
            "model": str(self.model),
            "index": self.index,
            "checkpoint": self.checkpoint,
            "seconds_to_published": round(self.seconds, 3),
            "validators": [
                {
                    "name": standing.name,
                    "jurisdiction": standing.jurisdiction,
                    "height": standing.height,
                    "size": standing.size,
                    "root": standing.root,
                }
                for standing in self.validators
            ],
            "bundle": str(self.bundle),
            "policy": str(self.testnet.policy_path),
            "bundle_verified": self.verified.status == 0,
            "audits": [{"path": audit.path, "verdict": audit.verdict} for audit in self.audits],
            **({} if self.story is None else self.story.to_value()),
        }


def found(folder: Path, validators: int) -> Testnet:
    """Found a network of validators in different jurisdictions, and one lab."""
    return new_testnet(folder, validators=validators, labs=1, time_ms=time.time_ns() // 1_000_000)


async def play(fleet: Fleet, model: Path | None, folder: Path, screen: Screen) -> Scene:
    """Play the first act on a running fleet: train a model, or attest the one at ``model``.

    Raises:
        OperatingError: DEMO-02 the training failed, DEMO-04 the model cannot be attested, DEMO-05 something was not
            published in time, DEMO-08 the lineage breaks, FLEET-nn.
    """
    testnet = fleet.testnet
    await fleet.wait_until_connected(PATIENCE_SECONDS)
    places = ", ".join(f"{node.name} ({node.jurisdiction})" for node in testnet.validators)
    screen.tell(f"{len(testnet.validators)} validators in as many places are connected: {places}")
    if model is None:
        story = await _train(fleet, folder, screen)
        model, published = story.trained.weights, story.released
    else:
        story, published = None, await _attest(testnet, model, screen)
    await fleet.wait_for_size(published.checkpoint, PATIENCE_SECONDS)
    index = published.indices[-1]
    validators = await _standings(fleet)
    bundle = folder / "bundle"
    await _prove(testnet, index, bundle)
    verified = await glasslog("verify", str(bundle), "--policy", str(testnet.policy_path), "--json")
    screen.tell(f"the bundle verifies offline: {verified.value.get('sentence') or verified.complaint}")
    audits = [await _audit(node.config.data, testnet.policy_path) for node in testnet.nodes]
    return Scene(
        testnet, model, bundle, index, published.checkpoint, published.seconds, validators, verified, audits, story
    )  # fmt: skip


async def _train(fleet: Fleet, folder: Path, screen: Screen) -> Story:
    """Train, replay a sample that the log's root chooses, and follow the weights back through a replica's copy."""
    testnet = fleet.testnet
    screen.tell(f"{testnet.labs[0].name} trains a model")
    trained = await train(testnet, folder / "training", screen)
    release = next(index for index, kind in trained.logged.items() if kind == "release")
    await fleet.wait_for_size(trained.checkpoint, PATIENCE_SECONDS)
    beacon = (await _standings(fleet))[0].root
    again = await replay(trained.folder, beacon, REPLAYED_SEGMENTS)
    if not again.value:
        raise OperatingError("DEMO-02", f"nothing could be replayed: {again.complaint}", "name a --model")
    published = await submit(testnet, [again.value["statement"]])
    await fleet.wait_for_size(published.checkpoint, PATIENCE_SECONDS)
    copy = folder / "replica"
    holder = testnet.validators[0]
    await glasslog("backup", str(copy), "--config", str(holder.config_path))
    lineage = await follow(trained.weights, copy, testnet.policy_path, folder / "bundles")
    released = Published([release], published.checkpoint, trained.seconds)
    return Story(trained, again.value["state"], holder.name, lineage, released)


async def _attest(testnet: Testnet, model: Path, screen: Screen) -> Published:
    answer = await run("glasslog_lab", ["attest", "model", str(model), "--json"])
    if answer.status or not answer.value:
        raise OperatingError("DEMO-04", f"{model} cannot be attested: {answer.complaint}", "name another --model")
    statement = answer.value["statements"][0]["statement"]
    described = f"{len(statement['subject'])} digests, {len(json.dumps(statement))} bytes of in-toto JSON"
    screen.tell(f"{testnet.labs[0].name} attests {model.name}: {described}")
    published = await submit(testnet, [statement])
    screen.tell(
        f"published after {published.seconds * 1000:.0f} ms: log index {published.indices[0]}, "
        f"checkpoint of size {published.checkpoint}"
    )
    return published


async def _prove(testnet: Testnet, index: int, path: Path) -> None:
    async with open_client(testnet.labs[0].config, timeout=10) as client:
        response = await client.get(f"/v1/bundles/{index}")
        response.raise_for_status()
        await trio.Path(path).write_bytes(response.content)


async def _standings(fleet: Fleet) -> list[Standing]:
    standings: list[Standing] = []
    for node in fleet.testnet.validators:
        status = await fleet.status(node)
        assert status is not None, "it answered a moment ago"
        place = (status["height"], status["size"], status["root"])
        standings.append(Standing(node.name, node.jurisdiction, *place))
    return standings


async def _audit(replica: Path, policy: Path) -> Audit:
    answer = await glasslog("audit", str(replica), "--policy", str(policy), "--json")
    return Audit(str(replica), str(answer.value.get("verdict") or answer.complaint))
