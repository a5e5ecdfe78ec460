"""Messages, certificates, evidence, founding leaves, and a whole replica that hears them."""

from __future__ import annotations

from functools import cache
from random import Random

from fuzz import specimens
from fuzz.mutators import mutate_cbor
from fuzz.target import Target, accepted, fields, texts
from glasslog import codec
from glasslog.agreement import messages as m
from glasslog.agreement.config import ReplicaConfig
from glasslog.agreement.cosigning import Cosigners
from glasslog.agreement.durable import Durable
from glasslog.agreement.effects import Broadcast, Effect, Now, PeerUp, Received, Send, Tick
from glasslog.agreement.evidence import decode_evidence, verify_evidence
from glasslog.agreement.replica import Replica
from glasslog.errors import DecodeError, ProtocolError
from glasslog.membership import read_genesis
from glasslog.merkle import hash_leaf, root
from simulation.suite import CheapNotes, signer, verify

WALL = 10_000_000


def run_message(data: bytes) -> None:
    message = m.decode_message(data)
    with accepted():
        assert m.encode_message(message) == data, "accepted, and encoded otherwise"


def run_certificate(data: bytes) -> None:
    assert m.encode_certificate(m.decode_certificate(data)) == data, "accepted, and encoded otherwise"


def run_proposal(data: bytes) -> None:
    proposal = m.decode_proposal(data)
    with accepted():
        assert proposal.encode() == data, "accepted, and encoded otherwise"
        assert len(proposal.digest) == 32


def run_evidence(data: bytes) -> None:
    """Whatever convicts was made by the accused: here, the specimens alone."""
    evidence = decode_evidence(data)
    assert evidence.encode() == data, "accepted, and encoded otherwise"
    verify_evidence(evidence, specimens.CHEAP.membership, verify)
    assert evidence in specimens.evidences(), f"{evidence.accused} is accused of what it did not sign"


def run_genesis_leaves(data: bytes) -> None:
    leaves = texts(codec.decode(data, size_max=1 << 20))
    if not leaves:
        return
    founded, membership = read_genesis(leaves)
    with accepted():
        assert membership.leaves() == tuple(leaves[1:])
        assert founded.membership_hash == root(b"".join(map(hash_leaf, leaves[1:])))
        assert membership.quorum > len(membership.validators) // 2


def commit_anew(data: bytes, rng: Random) -> bytes:
    """Change a member, then let the genesis leaf commit to what stands there."""
    try:
        leaves = texts(codec.decode(mutate_cbor(data, rng), size_max=1 << 20))
        genesis = codec.decode(leaves[0], size_max=1 << 12)
    except (DecodeError, IndexError):
        return mutate_cbor(data, rng)
    if not isinstance(genesis, list) or not genesis:
        return mutate_cbor(data, rng)
    committed = codec.encode([*genesis[:-1], root(b"".join(map(hash_leaf, leaves[1:])))])
    return codec.encode([committed, *leaves[1:]])


@cache
def _cosigners() -> Cosigners:
    world = specimens.world()
    return Cosigners(world.founded.origin, world.founded.network, world.membership.validators)


def run_published(data: bytes) -> None:
    for cosignature in _cosigners().read_note(data):
        # What a note holds is as well-formed as what a peer sends: its signatures have their lengths or do not verify.
        message = m.encode_message(cosignature) if _fits(cosignature) else b""
        assert not message or m.decode_message(message) == cosignature


def _fits(cosignature: m.Cosignature) -> bool:
    return (len(cosignature.log), len(cosignature.ed25519), len(cosignature.mldsa44)) == (64, 64, 2420)


# --- a replica ------------------------------------------------------------------------------------


@cache
def _durable() -> Durable:
    return Durable.fresh(specimens.CHEAP.genesis)


def _almost_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Takes most signatures, so that what lies behind them is reached; nobody's safety is judged here."""
    return signature[-1:] != b"\xff" or verify(public, message, signature)


def run_replica(data: bytes) -> None:
    """A new replica hears any messages from anybody: it never raises, and what it sends is itself well-formed."""
    validators = specimens.CHEAP.validators
    steps = [fields(codec.encode(step), int, bytes) for step in _list(data)]
    with accepted():
        notes = CheapNotes(validators)
        config = ReplicaConfig("v0", _almost_verify, notes, signer("v0", "vote"), b"n" * 16)
        replica = Replica(config, _durable())
        check_effects(replica.start(Now(0, WALL)))
        for peer in specimens.CHEAP.names[1:]:
            check_effects(replica.step(Now(0, WALL), PeerUp(peer)))
        clock = 0
        for wait, encoded in steps[:12]:
            assert isinstance(wait, int)
            assert isinstance(encoded, bytes)
            try:
                message = m.decode_message(encoded)
            except ProtocolError:
                continue
            peer = specimens.CHEAP.names[1 + abs(wait) % (len(specimens.CHEAP.names) - 1)]
            clock += abs(wait) >> 3 & 0x3FFF
            check_effects(replica.step(Now(clock, WALL + clock), Received(peer, message)))
            check_effects(replica.step(Now(clock, WALL + clock), Tick()))


def _list(data: bytes) -> list[codec.Value]:
    value = codec.decode(data, size_max=1 << 16)
    if not isinstance(value, list):
        raise DecodeError("FUZZ-01", "not a list of steps")
    return value


def check_effects(effects: list[Effect]) -> None:
    for effect in effects:
        if isinstance(effect, Send | Broadcast):
            encoded = m.encode_message(effect.message)
            assert m.decode_message(encoded) == effect.message, "sends what nobody can read"


def _replica_seeds() -> list[bytes]:
    messages = specimens.message_bytes()
    each: list[codec.Value] = [[number, data] for number, data in enumerate(messages) if len(data) < 2_000]
    first: list[codec.Value] = [[1, messages[6]], [1, messages[0]], [2, messages[1]], [3, messages[4]]]
    return [codec.encode(each[:6]), codec.encode(each[6:]), codec.encode(first)]


def _of_type(*types: type) -> list[bytes]:
    pairs = zip(specimens.messages(), specimens.message_bytes(), strict=True)
    return [data for message, data in pairs if isinstance(message, types)]


def _certificate_seeds() -> list[bytes]:
    return [m.encode_certificate(each) for each in specimens.messages() if isinstance(each, m.Certificate)]


def _proposal_seeds() -> list[bytes]:
    return [each.proposal.encode() for each in specimens.messages() if isinstance(each, m.SignedProposal)]


def _note_seeds() -> list[bytes]:
    note = specimens.world().note
    return [] if note is None else [note]


TARGETS = (
    Target("message", run_message, specimens.message_bytes, mutators=(mutate_cbor,), weight=2),
    Target("certificate", run_certificate, _certificate_seeds, mutators=(mutate_cbor,)),
    Target("proposal", run_proposal, _proposal_seeds, mutators=(mutate_cbor,)),
    Target(
        "evidence", run_evidence, lambda: [each.encode() for each in specimens.evidences()], mutators=(mutate_cbor,)
    ),
    Target(
        "genesis-leaves",
        run_genesis_leaves,
        lambda: [codec.encode(list(specimens.CHEAP.genesis))],
        mutators=(commit_anew, mutate_cbor),
        size_max=16_384,
    ),
    Target("published", run_published, _note_seeds, mutators=(), size_max=20_000),
    Target("replica", run_replica, _replica_seeds, mutators=(mutate_cbor,)),
)
