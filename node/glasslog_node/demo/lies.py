"""The second act: six lies of different kinds, told with real keys and real files, each caught by code and name."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import trio

from glasslog.agreement.evidence import decode_evidence, verify_evidence
from glasslog.agreement.messages import BlockBody, encode_message
from glasslog.block import Block, build_block
from glasslog.checkpoint import Checkpoint, Cosigner, CosignerKeys, cosignature_lines, format_checkpoint
from glasslog.entry import number_entry
from glasslog.errors import ProtocolError
from glasslog.identity import Ed25519Key, MlDsa44Key, verify_ed25519
from glasslog.ledger import Tip
from glasslog.merkle import hash_leaf
from glasslog.note import Note
from glasslog.policy import Policy
from glasslog.statement import STATEMENT_TYPE, encode_statement
from glasslog_node.config import split_address
from glasslog_node.demo.commands import glasslog, run
from glasslog_node.demo.scene import Scene
from glasslog_node.demo.submitting import PATIENCE_SECONDS
from glasslog_node.demo.training import replay
from glasslog_node.errors import OperatingError
from glasslog_node.fleet import Fleet
from glasslog_node.keys import Purpose, read_key
from glasslog_node.network.libp2p import Libp2pTransport
from glasslog_node.network.members import Endpoint, PeerAddress
from glasslog_node.network.transport import Lane, PeerConnected
from glasslog_node.store.store import Store
from glasslog_node.testnet import TestnetNode

LYING_PROGRAM = "glasslog_lab.example.lying"
LIED_STEPS, LIED_SEGMENTS, LIED_STEP = 60, 3, 33


@dataclass(frozen=True, slots=True)
class Lie:
    """One lie: who tells it, what caught it, and what that said. ``code`` is empty when nothing did."""

    name: str
    told: str
    code: str
    says: str

    @property
    def caught(self) -> bool:
        """Whether something did."""
        return bool(self.code)

    def to_value(self) -> dict[str, object]:
        """Return the lie as JSON."""
        return {"name": self.name, "told": self.told, "caught": self.caught, "code": self.code, "says": self.says}


async def tell_all(fleet: Fleet, scene: Scene, folder: Path) -> list[Lie]:
    """Tell the six lies, each on copies, and return what became of them."""
    return [
        await altered_replica(scene, folder),
        await forged_bundle(scene, folder),
        await loosened_policy(scene, folder),
        lone_fork(scene),
        await swapped_labels(scene, folder),
        await double_history(fleet, scene),
    ]


async def altered_replica(scene: Scene, folder: Path) -> Lie:
    """An operator changes one letter of an attestation in its own replica, on disk."""
    node = scene.testnet.validators[0]
    copy = folder / "altered-replica"
    await glasslog("backup", str(copy), "--config", str(node.config_path))
    data = copy / "data.mdb"
    content = data.read_bytes()
    name = scene.model.name.encode()
    data.write_bytes(content.replace(name, name[:-1] + b"?"))
    answer = await glasslog("audit", str(copy), "--policy", str(scene.testnet.policy_path), "--json")
    findings: list[dict[str, object]] = answer.value.get("findings") or [{}]
    says = f"leaf {findings[0].get('leaf')}: {findings[0].get('fact')}"
    code = str(findings[0].get("rule", "")) if answer.status == 1 else ""
    return Lie("altered-replica", f"{node.name} changes one letter of the attestation on its disk", code, says)


async def forged_bundle(scene: Scene, folder: Path) -> Lie:
    """A lab shows a bundle in which another model's name stands."""
    bundle = folder / "forged-bundle"
    name = scene.model.name.encode()
    bundle.write_bytes(scene.bundle.read_bytes().replace(name, name[:-1] + b"?"))
    answer = await glasslog("verify", str(bundle), "--policy", str(scene.testnet.policy_path))
    told = f"{scene.testnet.labs[0].name} shows a proof in which the model has another name"
    return Lie("forged-bundle", told, answer.code if answer.status else "", answer.fact)


async def loosened_policy(scene: Scene, folder: Path) -> Lie:
    """Somebody hands an auditor a policy in which two of four validators are enough."""
    policy = folder / "loosened-policy"
    quorum = scene.testnet.genesis.membership.quorum
    text = scene.testnet.policy_path.read_text()
    policy.write_text(text.replace(f"group bft {quorum} ", f"group bft {quorum - 1} "))
    answer = await glasslog("verify", str(scene.bundle), "--policy", str(policy))
    told = f"an auditor is handed a policy that asks for {quorum - 1} validators instead of {quorum}"
    return Lie("loosened-policy", told, answer.code if answer.status else "", answer.fact)


def lone_fork(scene: Scene) -> Lie:
    """One validator signs, with its real keys, a checkpoint of a history that only it has."""
    node = scene.testnet.validators[1]
    genesis = scene.testnet.genesis
    member = genesis.member(node.name)
    seeds = {purpose: read_key(node.config.keys, purpose, node.name).seed for purpose in Purpose}
    keys = CosignerKeys(
        f"{node.name}/{genesis.genesis.network}",
        Ed25519Key(seeds[Purpose.LOG]),
        Ed25519Key(seeds[Purpose.COSIGN_ED25519]),
        MlDsa44Key(seeds[Purpose.COSIGN_MLDSA44]),
    )
    public = (member.log_key or b"", member.cosign_ed25519 or b"", member.cosign_mldsa44 or b"")
    cosigner = Cosigner.build(genesis.genesis.origin, keys.name, log=public[0], ed25519=public[1], mldsa44=public[2])
    fork = Checkpoint(genesis.genesis.origin, scene.checkpoint, hash_leaf(b"another history"))
    now = int(time.time())
    log, ed25519, mldsa44 = keys.sign(fork, now)
    note = format_checkpoint(fork, [cosignature_lines(cosigner, time=now, log=log, ed25519=ed25519, mldsa44=mldsa44)])
    told = f"{node.name} signs a checkpoint of a history of its own"
    try:
        Policy.parse(scene.testnet.policy_path.read_bytes()).check(Note.parse(note))
    except ProtocolError as error:
        return Lie("lone-fork", told, error.code, error.fact)
    return Lie("lone-fork", told, "", "it was believed")


async def swapped_labels(scene: Scene, folder: Path) -> Lie:
    """A lab trains one step on other labels than its record commits to; no record, head or statement shows it."""
    run_folder = folder / "swapped-labels"
    size = ["--steps", str(LIED_STEPS), "--every", str(LIED_STEPS // LIED_SEGMENTS)]
    trained = await run(LYING_PROGRAM, [str(run_folder), "--lie", str(LIED_STEP), *size])
    told = f"{scene.testnet.labs[0].name} records step {LIED_STEP} with the right labels and trains it on wrong ones"
    if trained.status:
        raise OperatingError("DEMO-02", f"the lie could not be told: {trained.complaint}", "name a --model")
    answer = await replay(run_folder, scene.validators[0].root, LIED_SEGMENTS)
    state, where = answer.value.get("state"), answer.value.get("first_diverged")
    says = f"{LIED_SEGMENTS} of {LIED_SEGMENTS} segments done again: {state} at step {where}"
    return Lie("swapped-labels", told, "C10" if (state, where) == ("diverged", LIED_STEP) else "", says)


async def double_history(fleet: Fleet, scene: Scene) -> Lie:
    """The lab signs two different blocks with one number and shows each to half of the validators."""
    lab = scene.testnet.labs[0]
    await fleet.kill(lab.name)
    genesis = scene.testnet.genesis
    with Store.open(lab.config.data, readonly=True) as store:
        tip = store.tip(lab.name)
    assert tip is not None, "the lab's attestation is final"
    blocks = [_block(scene, lab, tip, word) for word in ("clean", "scraped")]
    transport = _as_lab(scene, lab)
    told = f"{lab.name} signs two blocks number {tip.seq + 1}: to some its data is clean, to others scraped"
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        names = [node.name for node in scene.testnet.validators]
        with trio.fail_after(PATIENCE_SECONDS):
            connected: set[str] = set()
            async for event in transport.events:
                if isinstance(event, PeerConnected):
                    connected.add(event.peer)
                if connected >= set(names):
                    break
        nursery.start_soon(_repeat, transport, list(zip(blocks, (names[::2], names[1::2]), strict=True)))
        evidence = await _evidence(scene)
        nursery.cancel_scope.cancel()
    found = decode_evidence(evidence)
    verify_evidence(found, genesis.membership, verify_ed25519)
    says = f"the ledger holds evidence of {found.fault.value} against {found.accused}, for anybody to verify"
    return Lie("double-history", told, "A14", says)


async def _repeat(transport: Libp2pTransport, told: list[tuple[Block, list[str]]]) -> None:
    """Send each block to those it is for, again and again: a link that both sides dialled at once may be dropped."""
    while True:
        for block, peers in told:
            transport.send(peers, encode_message(BlockBody(block.leaf, block.entries)), Lane.BULK)
        await trio.sleep(1)


def _block(scene: Scene, lab: TestnetNode, tip: Tip, word: str) -> Block:
    statement = encode_statement(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": "training-data", "digest": {"sha256": hash_leaf(word.encode())}}],
            "predicateType": "urn:glasslog:demo:dataset",
            "predicate": {"source": word},
        }
    )
    return build_block(
        [number_entry(lab.name, tip.next_entry, statement)],
        genesis_hash=scene.testnet.genesis.hash,
        author=lab.name,
        seq=tip.seq + 1,
        prev=tip.hash,
        first=tip.next_entry,
        time=time.time_ns() // 1_000_000,
        sign=Ed25519Key(read_key(lab.config.keys, Purpose.AUTHOR, lab.name).seed).sign,
    )


def _as_lab(scene: Scene, lab: TestnetNode) -> Libp2pTransport:
    seed = read_key(lab.config.keys, Purpose.NETWORK, lab.name).seed
    members = {
        node.name: PeerAddress(
            scene.testnet.genesis.member(node.name).network_key or b"",
            Endpoint(*split_address(node.config.network.listen)),
        )
        for node in scene.testnet.nodes
    }
    listen = Endpoint(*split_address(lab.config.network.listen))
    return Libp2pTransport(lab.name, seed, listen, members, genesis_hash=scene.testnet.genesis.hash)


async def _evidence(scene: Scene) -> bytes:
    """Wait until a validator has evidence durable and the ledger has grown by the statement that carries it."""
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.open(node.config.data, readonly=True)) for node in scene.testnet.validators]
        with trio.move_on_after(PATIENCE_SECONDS):
            while True:
                evidence = [found for store in stores for found in store.evidence()]
                if evidence and all(store.size > scene.checkpoint for store in stores):
                    return evidence[0]
                await trio.sleep(0.1)
    fact = "the validators recorded no evidence"
    raise OperatingError("DEMO-06", fact, f"read node.log in the folders of {scene.testnet.folder}")
