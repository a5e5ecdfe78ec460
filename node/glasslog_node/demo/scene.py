"""The demonstration's first act: a network comes up, a lab attests a model, everybody checks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from glasslog.statement import from_json
from glasslog_node.cli.connection import read_token
from glasslog_node.demo.commands import Answer, glasslog, run
from glasslog_node.errors import OperatingError
from glasslog_node.fleet import Fleet, open_client
from glasslog_node.testnet import Testnet, new_testnet

PATIENCE_SECONDS = 60.0

Tell = Callable[[str], None]


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

    @property
    def held(self) -> bool:
        """Whether everything that was to be shown was shown."""
        equal = len({(standing.size, standing.root) for standing in self.validators}) == 1
        return equal and self.verified.status == 0 and all(audit.verdict == "intact" for audit in self.audits)

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
        }


def found(folder: Path, validators: int) -> Testnet:
    """Found a network of validators in different jurisdictions, and one lab."""
    return new_testnet(folder, validators=validators, labs=1, time_ms=time.time_ns() // 1_000_000)


async def play(fleet: Fleet, model: Path, folder: Path, tell: Tell) -> Scene:
    """Play the first act on a running fleet.

    Raises:
        OperatingError: DEMO-04 the model cannot be attested, DEMO-05 it was not published in time, FLEET-nn.
    """
    testnet = fleet.testnet
    await fleet.wait_until_connected(PATIENCE_SECONDS)
    places = ", ".join(f"{node.name} ({node.jurisdiction})" for node in testnet.validators)
    tell(f"{len(testnet.validators)} validators in as many places are connected: {places}")
    statement = await _attest(model)
    tell(f"{testnet.labs[0].name} attests {model.name}: {_describe(statement)}")
    index, checkpoint, seconds = await _submit(testnet, statement)
    tell(f"published after {seconds * 1000:.0f} ms: log index {index}, checkpoint of size {checkpoint}")
    await fleet.wait_for_size(checkpoint, PATIENCE_SECONDS)
    validators = await _standings(fleet)
    bundle = folder / "bundle"
    await _prove(testnet, index, bundle)
    verified = await glasslog("verify", str(bundle), "--policy", str(testnet.policy_path), "--json")
    tell(f"the bundle verifies offline: {verified.value.get('sentence') or verified.complaint}")
    audits = [await _audit(node.config.data, testnet.policy_path) for node in testnet.nodes]
    return Scene(testnet, model, bundle, index, checkpoint, seconds, validators, verified, audits)


async def _attest(model: Path) -> bytes:
    answer = await run("glasslog_lab", ["attest", str(model), "--json"])
    if answer.status:
        raise OperatingError("DEMO-04", f"{model} cannot be attested: {answer.complaint}", "name another --model")
    return json.dumps(answer.value).encode()


def _describe(statement: bytes) -> str:
    subjects = from_json(statement)["subject"]
    assert isinstance(subjects, list)
    return f"{len(subjects)} digests, {len(statement)} bytes of in-toto JSON"


async def _submit(testnet: Testnet, statement: bytes) -> tuple[int, int, float]:
    """Submit to the lab's own node and wait for the published checkpoint."""
    lab = testnet.labs[0]
    headers = {
        "authorization": f"Bearer {read_token(lab.config.token_path)}",
        "content-type": "application/json",
    }
    async with open_client(lab.config, timeout=PATIENCE_SECONDS + 5) as client:
        response = await client.post("/v1/submissions", content=statement, headers=headers)
        if response.status_code != 202:
            raise OperatingError("DEMO-05", f"the lab's node refused: {response.text[:200]}", "read its node.log")
        acknowledged = trio.current_time()
        follow = f"{response.headers['location']}?wait=published&timeout={PATIENCE_SECONDS:g}"
        state = (await client.get(follow)).json()
        if state.get("state") != "published":
            fact = f"nothing was published within {PATIENCE_SECONDS:g} s"
            raise OperatingError("DEMO-05", fact, f"read node.log in the folders of {testnet.folder}")
        return state["runs"][0]["index"], state["checkpoint"], trio.current_time() - acknowledged


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
